//! What answers show.

use domain::{id::OrderId, money::Money, order::OrderRow};
use kit::http::{Body, HeaderValue, Response, StatusCode, header, reply};
use serde::Serialize;
use utoipa::ToSchema;

/// The status of an order that has no row yet.
const PENDING: &str = "pending";

/// An answer that nobody keeps between us and who asked.
pub(super) fn secret(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct OrderNow {
    /// Its id, as a decimal string.
    pub(super) order_id: String,
    /// As `GET /v1/orders/{order_id}` names it.
    #[schema(value_type = String)]
    pub(super) status: &'static str,
}

impl OrderNow {
    pub(super) fn of(row: &OrderRow) -> Self {
        Self { order_id: row.order.to_string(), status: row.status.as_str() }
    }

    /// Of one that has no row yet.
    pub(super) fn pending(order: OrderId) -> Self {
        Self { order_id: order.to_string(), status: PENDING }
    }

    /// `200` with it.
    pub(super) fn ok(row: &OrderRow) -> Response<Body> {
        reply::json(StatusCode::OK, &Self::of(row))
    }
}

/// Money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Amount {
    /// In minor units.
    amount: i64,
    /// Three letters of ISO 4217.
    currency: String,
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self { amount: money.amount, currency: money.currency.as_str().to_owned() }
    }
}
