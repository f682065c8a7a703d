//! The handlers, each with what the OpenAPI document says of it. A handler reads as what happens to
//! its request; the document is made of the same functions and the same types.

use domain::id::{InvalidId, OfferId, OrderId, SaleId};
use kit::{
    clock::{Clock, rfc3339},
    http::{
        Asked, BODY_DEADLINE, Body, HeaderValue, PageAsked, Query, Response, StatusCode, bearer, check_json, header,
        idempotency_key, read_body, reply, wrong_parameter,
    },
    openapi::{IdempotencyKey, Responses, refusals},
    problem::{Code, Problem},
};
use store::{log::OrderLog, stock::LaneStock};
use utoipa::IntoResponses;

use super::{
    Front, answers, cursor,
    purchase::{PURCHASE_BYTES_MAX, PurchaseBody, PurchaseRequest},
    wire::{Bought, Order, OrderPage, Time},
};
use crate::{
    orders::{OrderRows, Unseen},
    purchase::{Purchase, PurchaseState},
};

/// The refusals of a purchase.
struct BuyRefused;

impl IntoResponses for BuyRefused {
    fn responses() -> Responses {
        refusals(&[
            (Code::InvalidRequest, ""),
            (Code::Unauthenticated, ""),
            (Code::Forbidden, ""),
            (Code::WrongSubject, "the sale counts another kind of subject than the token's"),
            (Code::MembersOnly, "the token is no member's"),
            (Code::PriceChanged, "the price is another one than expected; the answer shows it. Nothing was bought"),
            (Code::NotFound, "no such offer"),
            (Code::SoldOut, ""),
            (Code::LimitReached, "`orders` leads to the buyer's own that stand in the way"),
            (Code::NotStarted, ""),
            (Code::Ended, ""),
            (Code::Paused, ""),
            (Code::TooLarge, ""),
            (Code::UnsupportedMediaType, "not JSON, another charset than UTF-8, or a content coding"),
            (Code::IdempotencyMismatch, ""),
            (Code::RateLimited, ""),
            (Code::Overloaded, "this request did nothing"),
            (Code::TemporarilyUnavailable, "this request did nothing"),
            (Code::OutcomeUnknown, "whether it was taken is not known. Never a no: repeat with the same key"),
        ])
    }
}

/// The refusals of whoever reads orders.
struct ReadRefused;

impl IntoResponses for ReadRefused {
    fn responses() -> Responses {
        refusals(&[
            (Code::InvalidRequest, ""),
            (Code::Unauthenticated, ""),
            (Code::Forbidden, ""),
            (Code::RateLimited, ""),
            (Code::Overloaded, ""),
            (Code::TemporarilyUnavailable, ""),
        ])
    }
}

/// Besides, of one order.
struct OrderUnseen;

impl IntoResponses for OrderUnseen {
    fn responses() -> Responses {
        let lost = "none, or none of yours; or lost while pending, before it was written down";
        refusals(&[(Code::NotFound, lost)])
    }
}

/// Buy.
///
/// Promises units of an offer, at once or not at all. The same Idempotency-Key of the same buyer
/// and offer gets the same order at any time, whether the sale is open or not, and what became of
/// it; another quantity under it is refused.
#[utoipa::path(
    post, path = "/v1/orders", operation_id = "buy", tag = "orders", security(("buyer" = [])),
    request_body = PurchaseRequest<'static>,
    params(IdempotencyKey),
    responses(
        (status = 202, description = "Promised, now or by the first purchase of this key.", body = Bought,
            headers(("Location" = String, description = "Where its status is told."), ("Cache-Control" = String))),
        BuyRefused,
    )
)]
pub(crate) async fn buy<S: LaneStock, L: OrderLog, R: OrderRows, C: Clock>(
    front: &Front<S, L, R, C>,
    asked: Asked<'_>,
) -> Response<Body> {
    let Asked { head, body, .. } = asked;
    // Read before anything is refused, so that the connection can go on.
    let sent = match read_body(body, PURCHASE_BYTES_MAX, BODY_DEADLINE).await {
        Ok(sent) => sent,
        Err(error) => return front.refuse_and_close(&error.into()),
    };
    let key = match idempotency_key(&head.headers) {
        Ok(key) => key,
        Err(error) => return front.unreadable(&head.headers, &error.into()),
    };
    if let Err(problem) = check_json(&head.headers) {
        return front.unreadable(&head.headers, &problem);
    }
    let PurchaseBody { offer, quantity, expected_price, context } = match PurchaseBody::read(&sent) {
        Ok(read) => read,
        Err(problem) => return front.unreadable(&head.headers, &problem),
    };
    match front
        .purchases
        .buy(Purchase { token: bearer(&head.headers), offer, quantity, key, expected_price, context })
        .await
    {
        Ok(bought) => {
            match bought.state {
                PurchaseState::Accepted => front.metrics.accepted.inc(),
                PurchaseState::Pending => front.metrics.pending.inc(),
                // Nothing was bought: it is what became of an earlier order.
                PurchaseState::Over(_) => {}
            }
            answers::bought(bought)
        }
        Err(why) => front.declined_of(&why, offer),
    }
}

/// My orders.
///
/// A buyer's own orders of this shop, newest first. An order is listed once it has its row.
/// `live_in_sale` leaves those that take units of one sale: with `limit_reached` they stand in the
/// way. One that is `pending_payment` is paid by `POST /v1/orders/{order_id}/pay`.
#[utoipa::path(
    get, path = "/v1/orders", operation_id = "listOrders", tag = "orders", security(("buyer" = [])),
    params(
        PageAsked,
        ("live_in_sale" = Option<String>, Query, description = "Only those that take units of this sale.",
            nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
    ),
    responses(
        (status = 200, description = "A page.", body = OrderPage, headers(("Cache-Control" = String))),
        ReadRefused,
    )
)]
pub(super) async fn list_orders<S: LaneStock, L: OrderLog, R: OrderRows, C: Clock>(
    front: &Front<S, L, R, C>,
    asked: Asked<'_>,
) -> Response<Body> {
    let caller = match front.caller(asked.headers()) {
        Ok(caller) => caller,
        Err(why) => return front.declined(&why),
    };
    let (PageAsked { cursor, limit }, live_in) = match orders_asked(asked.query()) {
        Ok(asked) => asked,
        Err(problem) => return front.refuse(&problem),
    };
    let before = match cursor.map(|sent| cursor::read(caller, &sent).ok_or_else(PageAsked::wrong_cursor)).transpose() {
        Ok(before) => before,
        Err(problem) => return front.refuse(&problem),
    };
    match front.purchases.orders.page((caller, live_in), before, limit).await {
        Ok(list) => answers::page(&list, caller),
        Err(why) => front.unseen(why),
    }
}

/// An order's status.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}", operation_id = "getOrder", tag = "orders", security(("buyer" = [])),
    params(
        ("order_id" = String, Path, description = "From the answer to the purchase."),
        ("offer_id" = Option<String>, Query, description = "The offer: needed until the order has its row.",
            nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
    ),
    responses(
        (status = 200, description = "The order.", body = Order, headers(("Cache-Control" = String))),
        ReadRefused,
        OrderUnseen,
    )
)]
pub(super) async fn get_order<S: LaneStock, L: OrderLog, R: OrderRows, C: Clock>(
    front: &Front<S, L, R, C>,
    asked: Asked<'_>,
) -> Response<Body> {
    let caller = match front.caller(asked.headers()) {
        Ok(caller) => caller,
        Err(why) => return front.declined(&why),
    };
    let offer = match offer_asked(asked.query()) {
        Ok(offer) => offer,
        Err(problem) => return front.refuse(&problem),
    };
    // An id that does not parse is answered like one that does not exist.
    let Ok(id) = asked.part("order_id").parse::<OrderId>() else { return front.unseen(Unseen::NotFound) };
    match front.purchases.orders.status(caller, id, offer).await {
        Ok(view) => answers::order(&view),
        Err(why) => front.unseen(why),
    }
}

/// The server's clock.
#[utoipa::path(
    get, path = "/v1/time", operation_id = "getTime", tag = "sales",
    responses((status = 200, description = "Now.", body = Time))
)]
pub(super) fn get_time<S: LaneStock, L: OrderLog, R: OrderRows, C: Clock>(front: &Front<S, L, R, C>) -> Response<Body> {
    let now_ms = front.clock.now_ms();
    let body = Time { server_time: rfc3339(now_ms), epoch_ms: now_ms };
    let mut response = reply::json(StatusCode::OK, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn orders_asked(query: Option<&str>) -> Result<(PageAsked, Option<SaleId>), Box<Problem>> {
    let query = Query::parse(query, &["cursor", "limit", "live_in_sale"])?;
    let sale = query.get("live_in_sale").map(str::parse).transpose();
    let sale = sale.map_err(|error: InvalidId| wrong_parameter("live_in_sale", error.to_string()))?;
    Ok((PageAsked::of(&query)?, sale))
}

fn offer_asked(query: Option<&str>) -> Result<Option<OfferId>, Box<Problem>> {
    let offer = Query::parse(query, &["offer_id"])?.get("offer_id").map(str::parse).transpose();
    offer.map_err(|error: InvalidId| wrong_parameter("offer_id", error.to_string()))
}
