//! The JSON of pages and lists. Field names and values here are public and never change.

use domain::{
    money::Money,
    sale::{Fulfilment, OrderTerms, Phase, SubjectKind},
};
use kit::clock::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{sales::Shown, stock::Coarse};

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

impl From<Money> for Price {
    fn from(money: Money) -> Self {
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
    /// Seconds that a buyer has to pay; absent: as the shop usually gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub payment_window_s: Option<u32>,
    /// How what was bought comes to the buyer, `pickup` or `code`; absent: in parcels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "pickup", nullable = false)]
    pub fulfilment: Option<&'static str>,
    /// Days in which an order may be returned; absent: as the law has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub after_sale_days: Option<u16>,
    /// What it offers.
    pub offers: Vec<Offer>,
}

impl Sale {
    /// A version of a sale at a moment: its phase, and the stock of its offers in their order.
    /// Nothing in it changes by itself.
    pub fn of(shown: &impl Shown, phase: Phase, stock: &[Option<Coarse>]) -> Self {
        let sale = shown.sale();
        let OrderTerms { payment_window_s, fulfilment, after_sale_days } = sale.orders;
        let offers = shown.offers().zip(stock).map(|((lane, offer, _), stock)| Offer {
            offer_id: offer.id.to_string(),
            sku_id: offer.sku.to_string(),
            title: offer.title.clone(),
            price: offer.price.into(),
            limit_per_buyer: lane.limit_per_buyer,
            paused: (lane.paused || offer.paused).then_some(true),
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
            payment_window_s: Some(payment_window_s).filter(|seconds| *seconds > 0),
            fulfilment: (fulfilment != Fulfilment::Express).then_some(fulfilment.as_str()),
            after_sale_days: Some(after_sale_days).filter(|days| *days > 0),
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
    /// Stopped by the merchant for now, by itself; absent: it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub paused: Option<bool>,
    /// `available`, `low` or `sold_out`, at most a second old; absent while nobody knows, as before
    /// the offer's stock is opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "available", nullable = false)]
    pub stock: Option<&'static str>,
}

/// A sale in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedSale {
    /// Its id.
    #[schema(example = "1001")]
    pub sale_id: String,
    /// For people.
    pub title: String,
    /// `not_started`, `open`, `paused` or `ended`, by the server's clock.
    #[schema(example = "open")]
    pub state: &'static str,
    /// RFC 3339, UTC.
    pub opens_at: String,
    /// RFC 3339, UTC.
    pub closes_at: String,
    /// While it is open: `available`, `low` or `sold_out`, the best of its offers, a few seconds
    /// old; absent while nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "available", nullable = false)]
    pub stock: Option<&'static str>,
    /// The lowest price of one unit; absent where its offers have several currencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub price_from: Option<Price>,
    /// The highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub price_to: Option<Price>,
}

impl ListedSale {
    /// A version of a sale at a moment.
    pub fn of(shown: &impl Shown, phase: Phase, stock: Option<Coarse>) -> Self {
        let sale = shown.sale();
        let prices = range(shown.offers().map(|(_, offer, _)| offer.price));
        let (price_from, price_to) = prices.map(|(from, to)| (from.into(), to.into())).unzip();
        Self {
            sale_id: sale.id.to_string(),
            title: sale.title.clone(),
            state: phase.as_str(),
            opens_at: rfc3339(sale.window.opens_at_ms),
            closes_at: rfc3339(sale.window.closes_at_ms),
            stock: stock.map(Coarse::as_str),
            price_from,
            price_to,
        }
    }
}

/// The lowest and the highest, if they can be compared.
fn range(mut prices: impl Iterator<Item = Money>) -> Option<(Money, Money)> {
    let first = prices.next()?;
    prices.try_fold((first, first), |(from, to), price| {
        let grown =
            (if price.amount < from.amount { price } else { from }, if price.amount > to.amount { price } else { to });
        (price.currency == first.currency).then_some(grown)
    })
}

/// A page of a tenant's sales: those that are open, then those to come, then those that ended
/// lately.
#[derive(Debug, Serialize, ToSchema)]
pub struct SaleList {
    /// The sales.
    pub sales: Vec<ListedSale>,
    /// For the next page, to be given back as it is; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next_cursor: Option<String>,
}
