//! The JSON of the buyer's surface. Field names and values here are public and never change.

use domain::sale::{Phase, SubjectKind};
use kit::clock::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    hint::Coarse,
    orders::{OrderState, OrderView},
    sales::Promotion,
};

/// The server's clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct Time {
    /// RFC 3339, UTC.
    #[schema(example = "2026-11-11T12:00:00.000Z")]
    pub server_time: String,
    /// The same in milliseconds since 1970.
    pub epoch_ms: u64,
}

/// An amount of money.
#[derive(Debug, Serialize, ToSchema)]
pub struct Price {
    /// Minor units by ISO 4217: 9900 is 99.00 CNY, 9900 JPY, 9.900 KWD. At most 2^53 - 1, also in
    /// totals.
    #[schema(example = 9900)]
    pub amount: i64,
    /// An active code of ISO 4217.
    #[schema(example = "CNY")]
    pub currency: String,
}

impl From<domain::money::Money> for Price {
    fn from(money: domain::money::Money) -> Self {
        Self { amount: money.amount, currency: money.currency.to_string() }
    }
}

/// A sale as the public sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sale {
    /// Its id.
    #[schema(example = "1001")]
    pub sale_id: String,
    /// For people.
    pub title: String,
    /// Raised by each publication.
    pub version: u32,
    /// `not_started`, `open`, `paused` or `ended`, by the server's clock.
    #[schema(example = "open")]
    pub state: &'static str,
    /// RFC 3339, UTC.
    pub opens_at: String,
    /// RFC 3339, UTC.
    pub closes_at: String,
    /// What its limits count, `phone` or `id_hash`: only tokens of that kind buy. Absent: accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "phone", nullable = false)]
    pub limit_by: Option<&'static str>,
    /// Whether it sells to members alone; absent: to everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub members_only: Option<bool>,
    /// What it offers.
    pub offers: Vec<Offer>,
}

impl Sale {
    /// A version of a sale at a moment: its phase, and the stock of its offers in their order.
    /// Nothing in it changes by itself.
    pub fn of(promotion: &Promotion, phase: Phase, stock: &[Option<Coarse>]) -> Self {
        let sale = &promotion.sale;
        let offers = promotion.offered().zip(stock).map(|((lane, offer, _), stock)| Offer {
            offer_id: offer.id.to_string(),
            sku_id: offer.sku.to_string(),
            title: offer.title.clone(),
            price: offer.price.into(),
            limit_per_buyer: lane.limit_per_buyer,
            stock: stock.map(Coarse::as_str),
        });
        Self {
            sale_id: sale.id.to_string(),
            title: sale.title.clone(),
            version: sale.version,
            state: phase.as_str(),
            opens_at: rfc3339(sale.window.opens_at_ms),
            closes_at: rfc3339(sale.window.closes_at_ms),
            limit_by: (sale.limit_by != SubjectKind::Account).then_some(sale.limit_by.as_str()),
            members_only: sale.members_only.then_some(true),
            offers: offers.collect(),
        }
    }
}

/// An offer as the public sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Offer {
    /// Its id, for `POST /v1/orders`.
    #[schema(example = "9001")]
    pub offer_id: String,
    /// What is sold.
    pub sku_id: String,
    /// For people.
    pub title: String,
    /// Of one unit.
    pub price: Price,
    /// Units one buyer may hold, of this offer and those that share its limit.
    pub limit_per_buyer: u32,
    /// `available`, `low` or `sold_out`, at most a second old; absent while nobody knows, as before
    /// the offer's stock is opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "available", nullable = false)]
    pub stock: Option<&'static str>,
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
