//! The terms of a sale: as a merchant asks for them, by his own codes, and as they are kept, with
//! the numbers by which buyers know its lanes and offers.

use async_graphql::Enum;
use domain::{
    id::{InvalidId, LaneId, OfferId, SaleId, SkuId, TenantId},
    money::Money,
    sale::{Fulfilment, Offer, OrderTerms, Sale, Window},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use store::sql::SqlError;
use utoipa::ToSchema;

use crate::{
    file::{Draft, DraftLane},
    limit_by::LimitBy,
    products::texts::{Code, CurrencyCode, Price, Title, decimal, moment},
};

/// How what was bought comes to the buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, Enum)]
#[graphql(name = "SaleFulfilment")]
#[serde(rename_all = "snake_case")]
#[schema(as = SaleFulfilment)]
pub(crate) enum FulfilBy {
    /// It is sent, in parcels.
    #[default]
    Express,
    /// It is fetched, by a code.
    Pickup,
    /// It is a code, one for each unit.
    Code,
}

impl From<FulfilBy> for Fulfilment {
    fn from(by: FulfilBy) -> Self {
        match by {
            FulfilBy::Express => Self::Express,
            FulfilBy::Pickup => Self::Pickup,
            FulfilBy::Code => Self::Code,
        }
    }
}

impl From<Fulfilment> for FulfilBy {
    fn from(kind: Fulfilment) -> Self {
        match kind {
            Fulfilment::Express => Self::Express,
            Fulfilment::Pickup => Self::Pickup,
            Fulfilment::Code => Self::Code,
        }
    }
}

/// A lane as it is asked for. Its offers share one limit per buyer.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedLane {
    /// One of its own in the sale; by it the lane is known again in a change.
    pub(super) code: Code,
    /// Live units that one buyer may hold of its offers together.
    #[schema(minimum = 1, maximum = 100)]
    pub(super) limit_per_buyer: u32,
    /// Stopped for now, with all its offers.
    #[serde(default)]
    pub(super) paused: bool,
    #[schema(min_items = 1, max_items = 64)]
    pub(super) offers: Vec<AskedOffer>,
}

/// An offer as it is asked for: a SKU, which stands once in its lane.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedOffer {
    /// The SKU's code.
    pub(super) sku: Code,
    /// The code of the warehouse whose stock it sells; left out, it is promised past all stock.
    #[schema(nullable = false)]
    pub(super) warehouse: Option<Code>,
    /// What buyers read; the product's title when it is left out.
    #[schema(nullable = false)]
    pub(super) title: Option<Title>,
    /// Of one unit; the SKU's own when it is left out.
    #[schema(nullable = false)]
    pub(super) price: Option<Price>,
    /// Units that it may sell.
    #[schema(minimum = 1, maximum = 100000000)]
    pub(super) allotment: u64,
    /// Purchases admitted a second, over all engines; 2,000 when it is left out.
    #[schema(minimum = 1, maximum = 1000000, nullable = false)]
    pub(super) rate_per_s: Option<u32>,
    /// Stopped for now, by itself.
    #[serde(default)]
    pub(super) paused: bool,
}

/// The terms of a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SaleTerms)]
pub(crate) struct Terms {
    pub(super) title: String,
    /// The first moment at which it sells; RFC 3339.
    #[serde(serialize_with = "moment", deserialize_with = "read_moment")]
    #[schema(value_type = String)]
    pub(super) opens_at: u64,
    /// The first moment at which it sells no more; RFC 3339.
    #[serde(serialize_with = "moment", deserialize_with = "read_moment")]
    #[schema(value_type = String)]
    pub(super) closes_at: u64,
    /// Stopped for now.
    pub(super) paused: bool,
    /// Purchases admitted a second from one buyer.
    pub(super) buyer_rate_per_s: u32,
    pub(super) limit_by: LimitBy,
    /// Sells to members alone.
    pub(super) members_only: bool,
    /// From when on shoppers may see it; RFC 3339. Missing: always.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_moment")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub(super) visible_from: Option<u64>,
    /// Seconds that a buyer has to pay; 0 for the deployment's default.
    #[serde(default)]
    pub(super) payment_window_s: u32,
    #[serde(default)]
    pub(super) fulfilment: FulfilBy,
    /// Days in which an order may be returned.
    #[serde(default)]
    pub(super) after_sale_days: u16,
    pub(super) lanes: Vec<LaneTerms>,
}

/// A lane of a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SaleLane)]
pub(crate) struct LaneTerms {
    /// Its number, as a decimal string.
    #[serde(serialize_with = "decimal", deserialize_with = "read_decimal")]
    #[schema(value_type = String)]
    pub(super) id: i64,
    pub(super) code: String,
    pub(super) limit_per_buyer: u32,
    /// Stopped for now, with all its offers.
    #[serde(default)]
    pub(super) paused: bool,
    pub(super) offers: Vec<OfferTerms>,
}

/// An offer of a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SaleOffer)]
pub(crate) struct OfferTerms {
    /// Its number, by which buyers buy, as a decimal string.
    #[serde(serialize_with = "decimal", deserialize_with = "read_decimal")]
    #[schema(value_type = String)]
    pub(super) id: i64,
    /// The SKU's code.
    pub(super) sku: String,
    #[serde(serialize_with = "decimal", deserialize_with = "read_decimal")]
    #[schema(value_type = String)]
    pub(super) sku_id: i64,
    /// The warehouse whose stock it sells.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) warehouse: Option<Source>,
    pub(super) title: String,
    pub(super) price: Price,
    /// Units that the merchant wants it to sell: while more are sold, returned units serve the
    /// reduction (R9).
    pub(super) allotment: u64,
    pub(super) rate_per_s: u32,
    /// Stopped for now, by itself.
    #[serde(default)]
    pub(super) paused: bool,
}

/// A warehouse whose stock is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SaleWarehouse)]
pub(crate) struct Source {
    #[serde(serialize_with = "decimal", deserialize_with = "read_decimal")]
    #[schema(value_type = String)]
    pub(super) id: i64,
    pub(super) code: String,
}

fn read_moment<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    epoch_ms(&text).ok_or_else(|| D::Error::custom("no moment"))
}

/// A moment that may be missing.
mod optional_moment {
    use kit::clock::rfc3339;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde gives the field as it is")]
    pub(super) fn serialize<S: Serializer>(at_ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match at_ms {
            Some(at_ms) => serializer.serialize_str(&rfc3339(*at_ms)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| super::epoch_ms(&text).ok_or_else(|| D::Error::custom("no moment"))).transpose()
    }
}

fn read_decimal<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Epoch milliseconds of a moment as RFC 3339.
pub(crate) fn epoch_ms(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()
}

impl Terms {
    /// All offers, with the places of lane and offer.
    pub(super) fn offers(&self) -> impl Iterator<Item = &OfferTerms> {
        self.lanes.iter().flat_map(|lane| &lane.offers)
    }

    /// The sale that these terms publish; `version`: as which.
    ///
    /// # Errors
    /// [`SqlError::Broken`] for numbers and prices that no row of ours has.
    pub(super) fn draft(&self, (tenant, sale): (u32, i64), version: Option<u32>) -> Result<Draft, SqlError> {
        self.try_draft((tenant, sale), version)
            .map_err(|what| SqlError::Broken(format!("sale {sale} of tenant {tenant}: {what}").into()))
    }

    fn try_draft(&self, (tenant, sale): (u32, i64), version: Option<u32>) -> Result<Draft, String> {
        let told = |error: InvalidId| error.to_string();
        let lanes = self.lanes.iter().map(|lane| {
            Ok(DraftLane {
                id: LaneId::new(lane.id.cast_unsigned()).map_err(told)?,
                partition: None,
                limit_per_buyer: lane.limit_per_buyer,
                paused: lane.paused,
                offers: lane.offers.iter().map(OfferTerms::to_offer).collect::<Result<_, String>>()?,
            })
        });
        Ok(Draft {
            id: SaleId::new(sale.cast_unsigned()).map_err(told)?,
            tenant: TenantId::new(tenant.into()).map_err(told)?,
            title: self.title.clone(),
            version,
            window: Window { opens_at_ms: self.opens_at, closes_at_ms: self.closes_at },
            paused: self.paused,
            buyer_rate_per_s: self.buyer_rate_per_s,
            limit_by: self.limit_by.into(),
            members_only: self.members_only,
            visible_from_ms: self.visible_from.unwrap_or(0),
            orders: OrderTerms {
                payment_window_s: self.payment_window_s,
                fulfilment: self.fulfilment.into(),
                after_sale_days: self.after_sale_days,
            },
            lanes: lanes.collect::<Result<_, String>>()?,
            places: crate::flaw::Places::default(),
        })
    }

    /// What is published, as terms. Codes and warehouses are those of `known`, where it has the
    /// number; a lane or SKU that was never asked for here has its number for a code.
    pub(super) fn of(sale: &Sale, known: Option<&Self>) -> Self {
        let lanes = sale.lanes.iter().map(|lane| {
            let id = lane.id.stored();
            let known = known.and_then(|known| known.lanes.iter().find(|lane| lane.id == id));
            LaneTerms {
                id,
                code: known.map_or_else(|| id.to_string(), |known| known.code.clone()),
                limit_per_buyer: lane.limit_per_buyer,
                paused: lane.paused,
                offers: lane.offers.iter().map(|offer| OfferTerms::of(offer, known)).collect(),
            }
        });
        Self {
            title: sale.title.clone(),
            opens_at: sale.window.opens_at_ms,
            closes_at: sale.window.closes_at_ms,
            paused: sale.paused,
            buyer_rate_per_s: sale.buyer_rate_per_s,
            limit_by: sale.limit_by.into(),
            members_only: sale.members_only,
            visible_from: (sale.visible_from_ms > 0).then_some(sale.visible_from_ms),
            payment_window_s: sale.orders.payment_window_s,
            fulfilment: sale.orders.fulfilment.into(),
            after_sale_days: sale.orders.after_sale_days,
            lanes: lanes.collect(),
        }
    }
}

impl OfferTerms {
    fn to_offer(&self) -> Result<Offer, String> {
        let told = |error: InvalidId| error.to_string();
        let Price { amount, currency: CurrencyCode(currency) } = &self.price;
        Ok(Offer {
            id: OfferId::new(self.id.cast_unsigned()).map_err(told)?,
            sku: SkuId::new(self.sku_id.cast_unsigned()).map_err(told)?,
            title: self.title.clone(),
            price: Money { amount: *amount, currency: currency.parse().map_err(|_| format!("currency {currency}"))? },
            allotment: self.allotment,
            rate_per_s: self.rate_per_s,
            paused: self.paused,
        })
    }

    fn of(offer: &Offer, lane: Option<&LaneTerms>) -> Self {
        let (id, sku_id) = (offer.id.stored(), offer.sku.stored());
        let known = lane.and_then(|lane| lane.offers.iter().find(|offer| offer.id == id));
        Self {
            id,
            sku: known.map_or_else(|| sku_id.to_string(), |known| known.sku.clone()),
            sku_id,
            warehouse: known.and_then(|known| known.warehouse.clone()),
            title: offer.title.clone(),
            price: Price { amount: offer.price.amount, currency: CurrencyCode(offer.price.currency.to_string()) },
            allotment: offer.allotment,
            rate_per_s: offer.rate_per_s,
            paused: offer.paused,
        }
    }
}
