//! Handlers.

use domain::id::{OfferId, SaleId};
use jiff::Timestamp;
use kit::{
    api::Call,
    clock::{Clock as _, rfc3339},
    http::{Body, Query, Response, StatusCode, reply, wrong_parameter},
    problem::Problem,
};
use serde::Serialize;
use store::sql::Sql as _;
use utoipa::{OpenApi, ToSchema};

use super::{
    MINUTE, SECOND,
    shown::{self, Asked, OfferFunnel},
};
use crate::{document::Read, ports::Ports, refused::Refused, service::Catalog};

const SALE: &str = "SELECT sale FROM sales WHERE tenant = ? AND sale = ?";

/// Steps of a series, at most; and of all offers together.
const STEPS_MAX: u64 = 3_600;
const POINTS_MAX: u32 = 20_000;
/// Steps of a series where nobody says from when.
const STEPS_DEFAULT: u64 = 300;

/// How a sale sells.
#[derive(Debug, Serialize, ToSchema)]
struct Funnel {
    /// The sale's number.
    sale: String,
    /// Rises with each change; a stream goes on from it as `Last-Event-ID`.
    revision: i64,
    /// What a step of the series is: `1s` or `1m`.
    step: &'static str,
    /// Where the series begin, RFC 3339.
    from: String,
    /// Where they end.
    to: String,
    /// Those of which something is counted.
    offers: Vec<OfferFunnel>,
}

#[derive(OpenApi)]
#[openapi(paths(show, stream))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// How a sale sells.
///
/// Per offer: attempts by what became of them, as the engines counted; units accepted and released,
/// as the ledger decided. Totals stay for ever, minutes too, seconds for a day.
#[utoipa::path(
    get, path = "/v1/merchant/sales/{sale}/funnel", operation_id = "funnel", tag = "sales", security(("merchant" = [])),
    params(
        ("sale" = String, Path, description = "Its number."),
        ("step" = Option<String>, Query, description = "`1s`, or `1m`.", nullable = false, pattern = "^1[sm]$"),
        ("from" = Option<String>, Query, description = "Not before, RFC 3339; 300 steps before `to`.",
            nullable = false, max_length = 40),
        ("to" = Option<String>, Query, description = "Before, RFC 3339; now. At most 3600 steps after `from`.",
            nullable = false, max_length = 40),
        ("offer" = Option<String>, Query, description = "Only this one.", nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
    ),
    responses((status = 200, body = Funnel), Read)
)]
pub(super) async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["step", "from", "to", "offer"])?;
    let (step, width) = match query.get("step").unwrap_or("1s") {
        "1s" => ("1s", SECOND),
        "1m" => ("1m", MINUTE),
        _ => return Err(wrong_parameter("step", "give 1s or 1m").into()),
    };
    let now_s = catalog.clock().now_ms() / 1_000;
    // The step that is under way belongs to it.
    let to = moment(&query, "to")?.unwrap_or(now_s + 1);
    let from = moment(&query, "from")?.unwrap_or(to.saturating_sub(STEPS_DEFAULT * width));
    let from = from - from % width;
    if to < from || (to - from).div_ceil(width) > STEPS_MAX {
        return Err(wrong_parameter("from", format!("give a moment before `to`, at most {STEPS_MAX} steps")).into());
    }
    let offer = query.get("offer").map(str::parse::<OfferId>).transpose();
    let offer = offer.map_err(|error| wrong_parameter("offer", error.to_string()))?;
    let sale = own(catalog, call).await?;
    // Before what it is the revision of: a stream that goes on from it misses nothing.
    let revision = shown::revision(catalog.sql(), sale).await?;
    let asked = Asked { sale, width, from, to, offer: offer.map(OfferId::stored), points_max: POINTS_MAX };
    let offers = shown::offers(catalog.sql(), asked).await?;
    let offers = offers.ok_or_else(|| {
        wrong_parameter(
            "from",
            format!("there are more than {POINTS_MAX} steps of offers; give less time, or an offer"),
        )
    })?;
    let (from, to) = (rfc3339(from * 1_000), rfc3339(to * 1_000));
    let funnel = Funnel { sale: sale.to_string(), revision, step, from, to, offers };
    Ok(reply::json(StatusCode::OK, &funnel))
}

/// The same as server-sent events.
///
/// One a second, named `funnel`, while something changes: `{"sale", "revision", "offers":
/// [{"offer", "totals"}], "seconds": [{"offer", "at", ...}], "has_more"}`, with the figures as they
/// are now. The first one tells all totals and the newest seconds. A client that comes again with
/// `Last-Event-ID` gets what changed meanwhile. A stream ends after ten minutes.
#[utoipa::path(
    get, path = "/v1/merchant/sales/{sale}/funnel/stream", operation_id = "funnel_stream", tag = "sales",
    security(("merchant" = [])),
    params(
        ("sale" = String, Path, description = "Its number."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that came.",
            nullable = false, pattern = "^[0-9]{1,18}$"),
    ),
    responses((status = 200, body = String, content_type = "text/event-stream"), Read)
)]
pub(super) async fn stream<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    call.query(&[])?;
    let seen = last_event(call)?;
    let sale = own(catalog, call).await?;
    let db = catalog.sql().clone();
    catalog.memory().streams.open((call.actor.tenant, sale), seen, move |seen| {
        let db = db.clone();
        async move { shown::changes(&db, sale, seen).await }
    })
}

/// The number of a sale of the caller's tenant.
async fn own<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<i64, Refused> {
    let sale: SaleId = call.part("sale")?;
    let own = catalog.sql().rows(SALE, vec![call.actor.tenant.into(), sale.stored().into()]).await?;
    if own.is_empty() { Err(Refused::not_found("sale")) } else { Ok(sale.stored()) }
}

fn last_event(call: &Call<'_>) -> Result<Option<i64>, Box<Problem>> {
    let Some(sent) = call.headers().get("last-event-id") else { return Ok(None) };
    let digits = sent.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let wrong = || wrong_parameter("Last-Event-ID", "give the id of the last event, as it came");
    digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or_else(wrong)
}

/// A moment of the query, in seconds since 1970.
fn moment(query: &Query<'_>, name: &'static str) -> Result<Option<u64>, Box<Problem>> {
    let Some(value) = query.get(name) else { return Ok(None) };
    let moment = value.parse::<Timestamp>().ok().and_then(|moment| u64::try_from(moment.as_second()).ok());
    moment.map(Some).ok_or_else(|| wrong_parameter(name, "give it as in 2026-11-11T00:00:00Z"))
}
