//! The terms of a sale: as a merchant asks for them, by his own codes, and as they are kept, with
//! the numbers by which buyers know its lanes and offers.

use domain::{
    id::{InvalidId, LaneId, OfferId, SaleId, SkuId, TenantId},
    money::Money,
    sale::{Offer, Sale, SubjectKind, Window},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use store::sql::SqlError;
use utoipa::ToSchema;

use crate::{
    file::{Draft, DraftLane},
    products::texts::{Code, CurrencyCode, Price, Title, decimal, moment},
};

/// What the limits of a sale count: only tokens of this kind buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitBy {
    /// An account of the shop.
    #[default]
    Account,
    /// A phone number.
    Phone,
    /// The hash of an identity document.
    IdHash,
}

impl From<LimitBy> for SubjectKind {
    fn from(by: LimitBy) -> Self {
        match by {
            LimitBy::Account => Self::Account,
            LimitBy::Phone => Self::Phone,
            LimitBy::IdHash => Self::IdHash,
        }
    }
}

impl From<SubjectKind> for LimitBy {
    fn from(kind: SubjectKind) -> Self {
        match kind {
            SubjectKind::Account => Self::Account,
            SubjectKind::Phone => Self::Phone,
            SubjectKind::IdHash => Self::IdHash,
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

fn read_decimal<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Epoch milliseconds of a moment as RFC 3339.
pub(super) fn epoch_ms(text: &str) -> Option<u64> {
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
        }
    }
}
