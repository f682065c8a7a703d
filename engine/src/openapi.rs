//! The OpenAPI document of the buyer's surface. `engine/openapi.json` is generated from it:
//! `cargo run -p engine -- openapi`.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Components,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::http::wire::{Bought, FieldError, Order, OrderPage, Problem, PurchaseRequest, Sale, Time};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "flashsale: the buyer's surface",
        description = "Errors are application/problem+json with a stable `code`. Every answer carries `traceparent`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(buy, list_orders, get_order, get_sale, get_time),
    components(schemas(Problem, FieldError)),
    modifiers(&BuyerToken)
)]
struct Document;

struct BuyerToken;

impl Modify for BuyerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        scheme.description = Some("A buyer's token: HS256 with `kid`.".to_owned());
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("buyer", SecurityScheme::Http(scheme));
    }
}

/// Buy.
///
/// Promises units of an offer, at once or not at all. The same Idempotency-Key of the same buyer
/// and offer gets the same order at any time, whether the sale is open or not, and what became of
/// it; another quantity under it is refused.
#[utoipa::path(
    post, path = "/v1/orders", operation_id = "buy", tag = "orders", security(("buyer" = [])),
    request_body = PurchaseRequest,
    params(("Idempotency-Key" = String, Header, description = "Names this purchase: 1 to 255 visible ASCII characters. Between quotes it is the same key; a quoted one holds no quote and no backslash.")),
    responses(
        (status = 202, description = "Promised, now or by the first purchase of this key.", body = Bought,
            headers(("Location" = String, description = "Where its status is told."), ("Cache-Control" = String))),
        (status = 400, description = "`invalid_request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json",
            headers(("WWW-Authenticate" = String, description = "RFC 6750: what is wrong with the token that came."))),
        (status = 403, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: no such offer", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`sold_out`, `limit_reached`, `not_started`, `ended`, `paused`", body = Problem,
            content_type = "application/problem+json",
            headers(("Retry-After" = Option<u64>, description = "Of not_started alone: seconds until the sale opens."))),
        (status = 413, description = "`too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`: not JSON, another charset than UTF-8, or a content coding",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`idempotency_mismatch`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u64), ("RateLimit" = String), ("RateLimit-Policy" = String))),
        (status = 503, description = "`overloaded`, `temporarily_unavailable`: this request did nothing. `outcome_unknown`: whether it was taken is not known. Never a no: repeat with the same key",
            body = Problem, content_type = "application/problem+json", headers(("Retry-After" = u64))),
    )
)]
#[allow(dead_code, reason = "carries documentation only: http routes by hand")]
fn buy() {}

/// My orders.
///
/// A buyer's own orders of this shop, newest first. An order is listed once it has its row.
#[utoipa::path(
    get, path = "/v1/orders", operation_id = "listOrders", tag = "orders", security(("buyer" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; opaque, and this buyer's."),
        ("limit" = Option<u32>, Query, description = "1 to 100; 20 by default."),
    ),
    responses(
        (status = 200, description = "A page.", body = OrderPage, headers(("Cache-Control" = String))),
        (status = 400, description = "`invalid_request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json",
            headers(("WWW-Authenticate" = String, description = "RFC 6750: what is wrong with the token that came."))),
        (status = 403, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u64), ("RateLimit" = String), ("RateLimit-Policy" = String))),
        (status = 503, description = "`overloaded`, `temporarily_unavailable`", body = Problem,
            content_type = "application/problem+json", headers(("Retry-After" = u64))),
    )
)]
#[allow(dead_code, reason = "carries documentation only: http routes by hand")]
fn list_orders() {}

/// An order's status.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}", operation_id = "getOrder", tag = "orders", security(("buyer" = [])),
    params(
        ("order_id" = String, Path, description = "From the answer to the purchase."),
        ("offer_id" = Option<String>, Query, description = "The offer: needed until the order has its row."),
    ),
    responses(
        (status = 200, description = "The order.", body = Order, headers(("Cache-Control" = String))),
        (status = 400, description = "`invalid_request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json",
            headers(("WWW-Authenticate" = String, description = "RFC 6750: what is wrong with the token that came."))),
        (status = 403, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: none, or none of yours; or lost while pending, before it was written down", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u64), ("RateLimit" = String), ("RateLimit-Policy" = String))),
        (status = 503, description = "`overloaded`, `temporarily_unavailable`", body = Problem,
            content_type = "application/problem+json", headers(("Retry-After" = u64))),
    )
)]
#[allow(dead_code, reason = "carries documentation only: http routes by hand")]
fn get_order() {}

/// A sale.
///
/// Public. State by the server's clock, stock only roughly; right within a second. Nothing in it
/// changes without a new ETag: the clock is `/v1/time`.
#[utoipa::path(
    get, path = "/v1/sales/{sale_id}", operation_id = "getSale", tag = "sales",
    params(
        ("sale_id" = String, Path, description = "The sale."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer."),
    ),
    responses(
        (status = 200, description = "The sale.", body = Sale, headers(("ETag" = String))),
        (status = 304, description = "Unchanged."),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`overloaded`, `temporarily_unavailable`", body = Problem,
            content_type = "application/problem+json", headers(("Retry-After" = u64))),
    )
)]
#[allow(dead_code, reason = "carries documentation only: http routes by hand")]
fn get_sale() {}

/// The server's clock.
#[utoipa::path(
    get, path = "/v1/time", operation_id = "getTime", tag = "sales",
    responses((status = 200, description = "Now.", body = Time))
)]
#[allow(dead_code, reason = "carries documentation only: http routes by hand")]
fn get_time() {}

/// The document, as committed.
///
/// # Errors
/// When it cannot be written as JSON, which would be a fault of the generator.
pub fn document() -> Result<String, serde_json::Error> {
    Document::openapi().to_pretty_json().map(|json| json + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_up_to_date() {
        let committed = include_str!("../openapi.json");
        assert!(document().unwrap() == committed, "run: cargo run -p engine -- openapi > engine/openapi.json");
    }
}
