use domain::{
    money::Money,
    order::{OrderRow, Reason},
};
use kit::{
    clock::rfc3339,
    openapi::{Responses, refusals},
    problem::Code,
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{IntoResponses, ToSchema};

/// The refusals of who looks.
pub(super) struct Read;

impl IntoResponses for Read {
    fn responses() -> Responses {
        refusals(&[
            (Code::InvalidRequest, "each wrong parameter is named"),
            (Code::Unauthenticated, ""),
            (Code::Forbidden, ""),
            (Code::NotFound, "none, or of another buyer or tenant"),
            (Code::RateLimited, ""),
            (Code::Overloaded, ""),
            (Code::TemporarilyUnavailable, ""),
            (Code::Internal, ""),
        ])
    }
}

/// What a request under an Idempotency-Key is refused by besides.
pub(super) struct Keyed;

impl IntoResponses for Keyed {
    fn responses() -> Responses {
        refusals(&[(Code::IdempotencyMismatch, "")])
    }
}

/// Money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = OrderAmount)]
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

/// An order, as its merchant sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MerchantOrder {
    /// Its id.
    pub(super) order_id: String,
    /// As `GET /v1/orders/{order_id}` names it.
    status: &'static str,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
    /// The buyer's number in this shop.
    buyer_id: String,
    sale_id: String,
    offer_id: String,
    sku_id: String,
    /// Units.
    quantity: u32,
    /// Of one unit.
    unit_price: Amount,
    /// Of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    total: Option<Amount>,
    /// RFC 3339, UTC.
    reserved_at: String,
    /// When it is to be paid at the latest, RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pay_by: Option<String>,
    /// Whether its units are on sale again.
    is_released: bool,
    /// What the purchase carried, as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Object>)]
    context: Option<Box<RawValue>>,
}

impl From<&OrderRow> for MerchantOrder {
    fn from(row: &OrderRow) -> Self {
        Self {
            order_id: row.order.to_string(),
            status: row.status.as_str(),
            reason: row.reason.map(Reason::as_str),
            buyer_id: row.buyer.to_string(),
            sale_id: row.sale.to_string(),
            offer_id: row.offer.to_string(),
            sku_id: row.sku.to_string(),
            quantity: row.quantity,
            unit_price: row.unit_price.into(),
            total: row.unit_price.times(row.quantity).map(Amount::from),
            reserved_at: rfc3339(row.reserved_at_ms),
            pay_by: row.pay_by_ms.map(rfc3339),
            is_released: row.released.is_some(),
            context: serde_json::from_slice(&row.context).ok(),
        }
    }
}
