//! What answers show.

use domain::{money::Money, order::OrderRow};
use kit::http::{Body, Response, StatusCode, reply};
use serde::Serialize;
use utoipa::ToSchema;

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
