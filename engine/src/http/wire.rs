//! The JSON of the buyer's surface. Field names and values here are public and never change.

use kit::clock::rfc3339;
use pages::wire::Price;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::orders::{OrderState, OrderView};

/// The server's clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct Time {
    /// RFC 3339, UTC.
    #[schema(example = "2026-11-11T12:00:00.000Z")]
    pub server_time: String,
    /// The same in milliseconds since 1970.
    pub epoch_ms: u64,
}

/// The price that holds.
#[derive(Debug, Serialize)]
pub(super) struct Priced {
    /// Of one unit.
    pub(super) price: Price,
}

/// An order as its buyer sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Order {
    /// Its id.
    #[schema(example = "249300234895360")]
    pub order_id: String,
    /// `pending`, `pending_payment`, `paid`, `fulfilled`, `completed`, `cancelled`, `expired`,
    /// `rejected`, `refunding` or `refunded`.
    #[schema(example = "pending_payment")]
    pub status: &'static str,
    /// Why it was rejected: `superseded`, `limit`, `stock`, or `foreign` (the lane belongs to
    /// another sale).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<&'static str>,
    /// The sale.
    pub sale_id: String,
    /// The offer.
    pub offer_id: String,
    /// What is sold; absent while the status is `pending`, as prices are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sku_id: Option<String>,
    /// Units.
    pub quantity: u32,
    /// Of one unit, as it was at the purchase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub unit_price: Option<Price>,
    /// Of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub total: Option<Price>,
    /// RFC 3339, UTC.
    pub reserved_at: String,
    /// When it is to be paid at the latest, RFC 3339, UTC; of an order that is `pending_payment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pay_by: Option<String>,
    /// What the purchase carried, as it was sent; absent while the status is `pending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Object>)]
    pub context: Option<Box<RawValue>>,
}

impl From<&OrderView> for Order {
    fn from(view: &OrderView) -> Self {
        let (status, reason) = match view.state {
            OrderState::Pending => ("pending", None),
            OrderState::Row(status, reason) => (status.as_str(), reason.map(|reason| reason.as_str())),
        };
        // A published price times the largest quantity fits: it was checked when the sale was
        // published.
        let total = view.unit_price.and_then(|price| price.times(view.quantity));
        Self {
            order_id: view.order.to_string(),
            status,
            reason,
            sale_id: view.sale.to_string(),
            offer_id: view.offer.to_string(),
            sku_id: view.sku.map(|sku| sku.to_string()),
            quantity: view.quantity,
            unit_price: view.unit_price.map(Price::from),
            total: total.map(Price::from),
            reserved_at: rfc3339(view.reserved_at_ms),
            pay_by: view.pay_by_ms.map(rfc3339),
            context: serde_json::from_slice(&view.context).ok(),
        }
    }
}

/// A page of a buyer's orders, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderPage {
    /// The orders.
    pub orders: Vec<Order>,
    /// For the next page, to be given back as it is; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next_cursor: Option<String>,
}

/// A promised order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bought {
    /// Its id; of a repeated key, that of the first order.
    #[schema(example = "249300234895360")]
    pub order_id: String,
    /// `accepted`: the order log holds it. `pending`: promised, and not yet confirmed by the log;
    /// ask for its status. Of a repeated key whose order is over, its status: `cancelled`,
    /// `expired`, `rejected`, `refunding` or `refunded`.
    #[schema(example = "accepted")]
    pub status: String,
}
