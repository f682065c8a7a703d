use domain::id::Slot;
use kit::{
    api::Call,
    clock::Clock as _,
    http::{Body, Response, wrong_parameter},
    problem::Problem,
};
use utoipa::OpenApi;

use super::{
    service::Following,
    shown::Read,
    watchers::{StatusNow, Told},
};
use crate::life::{Kinds, Refused};

/// How long after its promise an order may have no row and still be watched: a writer that is away
/// longer is a person's work.
const UNWRITTEN_MS: u64 = 3_600_000;

#[derive(OpenApi)]
#[openapi(paths(stream), components(schemas(Told)))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// What becomes of an order, as server-sent events.
///
/// Named `order`, each with `{"order_id", "status", "reason"}`: first how it stands, then each
/// change. `unwritten` is an order that nobody has written down yet: it is on its way, or it never
/// was; `GET /v1/orders/{order_id}?offer_id=` tells which. A client that comes again with
/// `Last-Event-ID` is not told again what it saw. A stream ends after ten minutes; a buyer has four
/// at most.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/stream", operation_id = "order_stream", tag = "orders",
    security(("buyer" = [])),
    params(
        ("order_id" = String, Path, description = "The order."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that came.",
            nullable = false, pattern = "^[0-9]{1,3}$"),
    ),
    responses((status = 200, body = String, content_type = "text/event-stream"), Read)
)]
pub(super) async fn stream<K: Kinds>(following: &Following<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    call.query(&[])?;
    let seen = last_event(call)?;
    let (buyer, order) = (following.buyer(call)?, Following::<K>::order(call)?);
    // A buyer's orders carry the buyer's slot: others are refused without asking anybody.
    if order.slot() != Slot::of(buyer.1) {
        return Err(Refused::not_found());
    }
    // Before the row is read: what happens meanwhile is not missed.
    let now = following.clock().monotonic();
    let response = following.watchers().open(buyer, order, (seen, now))?;
    let row = following.orders().find(&[order]).await?.remove(&order);
    // Another's order is like one that is not written: the same answer.
    let stands = match row.filter(|row| (row.tenant, row.buyer) == buyer) {
        Some(row) => StatusNow::of_row(&row),
        None if following.clock().now_ms().abs_diff(order.minted_at_ms()) < UNWRITTEN_MS => StatusNow::UNWRITTEN,
        None => return Err(Refused::not_found()),
    };
    following.watchers().begin(buyer, order, stands);
    Ok(response)
}

fn last_event(call: &Call<'_>) -> Result<Option<u8>, Box<Problem>> {
    let Some(sent) = call.headers().get("last-event-id") else { return Ok(None) };
    let digits = sent.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let wrong = || wrong_parameter("Last-Event-ID", "give the id of the last event, as it came");
    digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or_else(wrong)
}
