//! The sale file: strict, every flaw at once, each with its line. It knows nothing of what is
//! published.

/// The tables of a file as fields: kinds, unknown keys, repeated ids, lines.
mod fields;

/// Reading the file itself, within its size.
mod load;

use std::collections::HashSet;

use domain::{
    id::{LaneId, ORDER_END_MS, OfferId, PartitionId, SaleId, TenantId},
    money::Money,
    sale::{Fulfilment, Lane, Offer, OrderTerms, Sale, SubjectKind, Window},
};
use toml::de::{DeTable, Error};

use self::fields::{Fields, Reader, stand_in_price};
use crate::flaw::{Flaw, Places, in_reading_order};

pub use self::load::load;

/// Bytes of a sale file, at most: every sale that may be published fits, as [`crate::render`]
/// writes it.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// Flaws of form that are told of one file, at most: who has more has no sale file.
pub const FLAWS_MAX: usize = 1_000;

const SALE_KEYS: &[&str] = &[
    "id",
    "tenant",
    "title",
    "version",
    "opens_at",
    "closes_at",
    "paused",
    "buyer_rate_per_s",
    "limit_by",
    "members_only",
    "visible_from",
    "payment_window_s",
    "fulfilment",
    "after_sale_days",
    "lanes",
];
const LANE_KEYS: &[&str] = &["id", "partition", "limit_per_buyer", "paused", "offers"];
const OFFER_KEYS: &[&str] = &["id", "sku", "title", "price", "allotment", "rate_per_s", "paused"];
const PRICE_KEYS: &[&str] = &["amount", "currency"];

/// A sale as its file asks for it: the version and the partitions may still be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its id.
    pub id: SaleId,
    /// Whose it is.
    pub tenant: TenantId,
    /// For people.
    pub title: String,
    /// `None`: the next one.
    pub version: Option<u32>,
    /// When it sells.
    pub window: Window,
    /// Stopped by the merchant for now.
    pub paused: bool,
    /// Purchase requests admitted a second from one buyer.
    pub buyer_rate_per_s: u32,
    /// What its limits count.
    pub limit_by: SubjectKind,
    /// Sells to members alone.
    pub members_only: bool,
    /// From when on shoppers may see it, in epoch milliseconds; 0 for always.
    pub visible_from_ms: u64,
    /// What holds for its orders.
    pub orders: OrderTerms,
    /// One or more.
    pub lanes: Vec<DraftLane>,
    pub(crate) places: Places,
}

/// A lane as the file asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftLane {
    /// Its id.
    pub id: LaneId,
    /// `None`: the published one, or for a new lane the partition with the fewest lanes.
    pub partition: Option<PartitionId>,
    /// Live units one buyer may hold in this lane.
    pub limit_per_buyer: u32,
    /// Stopped by the merchant for now.
    pub paused: bool,
    /// One or more.
    pub offers: Vec<Offer>,
}

impl Draft {
    /// The sale with this version, each lane on the partition given for it.
    pub(crate) fn to_sale(&self, version: u32, shard_map_version: u32, partitions: &[PartitionId]) -> Sale {
        let lanes = self.lanes.iter().zip(partitions).map(|(lane, partition)| Lane {
            id: lane.id,
            partition: *partition,
            limit_per_buyer: lane.limit_per_buyer,
            paused: lane.paused,
            offers: lane.offers.clone(),
        });
        Sale {
            id: self.id,
            tenant: self.tenant,
            version,
            title: self.title.clone(),
            window: self.window,
            paused: self.paused,
            buyer_rate_per_s: self.buyer_rate_per_s,
            shard_map_version,
            limit_by: self.limit_by,
            members_only: self.members_only,
            visible_from_ms: self.visible_from_ms,
            orders: self.orders,
            lanes: lanes.collect(),
        }
    }
}

impl Draft {
    /// The rules of a sale that need no knowledge of what is published.
    ///
    /// # Errors
    /// Every flaw at once, at the path of its field.
    pub(crate) fn flaws(&self) -> Result<(), Vec<domain::sale::Flaw>> {
        let partitions: Vec<_> = self.lanes.iter().map(|lane| lane.partition.unwrap_or(PartitionId(0))).collect();
        self.to_sale(1, 1, &partitions).validate(u32::MAX)
    }
}

/// Reads a sale file: its form, and all rules of a sale that need no knowledge of what is
/// published.
///
/// # Errors
/// Every flaw at once, in reading order (of form at most [`FLAWS_MAX`]); for text that is no TOML
/// only those of its syntax.
pub fn parse(text: &str) -> Result<Draft, Vec<Flaw>> {
    if text.len() > FILE_BYTES_MAX {
        return Err(vec![Flaw::of_file(format!("is larger than {FILE_BYTES_MAX} bytes"))]);
    }
    let mut reader = Reader::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(in_reading_order(errors.iter().map(|error| syntax_flaw(&reader, error)).collect()));
    }
    let draft = sale(&mut Fields::open(&mut reader, "", root.get_ref(), SALE_KEYS));
    let (mut flaws, places) = reader.finish();
    let Some(draft) = draft.map(|draft| Draft { places, ..draft }) else { return Err(in_reading_order(flaws)) };
    // Flawed fields hold stand-ins that are valid, so that this finds what else is wrong and blames
    // nothing twice.
    let blamed: HashSet<String> = flaws.iter().map(|flaw| flaw.field.clone()).collect();
    if let Err(found) = draft.flaws() {
        let fresh = found.iter().filter(|flaw| !blamed.contains(&flaw.field));
        flaws.extend(fresh.map(|flaw| draft.places.flaw(&flaw.field, &flaw.message)));
    }
    if flaws.is_empty() { Ok(draft) } else { Err(in_reading_order(flaws)) }
}

fn syntax_flaw(reader: &Reader, error: &Error) -> Flaw {
    let line = error.span().map(|span| reader.line_at(span.start));
    Flaw { line, field: String::new(), message: format!("is no TOML: {}", error.message()) }
}

fn sale(fields: &mut Fields<'_, '_>) -> Option<Draft> {
    let id = fields.id("id").or_else(|| fields.stand_in())?;
    let tenant: Option<TenantId> = fields.id("tenant");
    let version = fields.optional_whole("version");
    if version == Some(0) {
        fields.blame("version", "is 0; versions count from 1");
    }
    Some(Draft {
        id,
        tenant: tenant.or_else(|| fields.stand_in())?,
        title: fields.text("title").unwrap_or("-").to_owned(),
        version,
        window: Window {
            opens_at_ms: fields.moment_ms("opens_at").unwrap_or(0),
            closes_at_ms: fields.moment_ms("closes_at").unwrap_or(ORDER_END_MS),
        },
        paused: fields.optional_flag("paused").unwrap_or(false),
        buyer_rate_per_s: fields.whole("buyer_rate_per_s").unwrap_or(1),
        limit_by: limit_by(fields).unwrap_or_default(),
        members_only: fields.optional_flag("members_only").unwrap_or(false),
        visible_from_ms: fields.optional_moment_ms("visible_from").unwrap_or(0),
        orders: OrderTerms {
            payment_window_s: fields.optional_whole("payment_window_s").unwrap_or(0),
            fulfilment: fulfilment(fields).unwrap_or_default(),
            after_sale_days: fields.optional_whole("after_sale_days").unwrap_or(0),
        },
        lanes: fields.tables("lanes", LANE_KEYS, lane),
        places: Places::default(),
    })
}

fn limit_by(fields: &mut Fields<'_, '_>) -> Option<SubjectKind> {
    let name = fields.optional_text("limit_by")?;
    let names = SubjectKind::ALL.map(SubjectKind::as_str).join(", ");
    SubjectKind::named(name).or_else(|| fields.flaw("limit_by", format!("is {name:?}; give one of {names}")))
}

fn fulfilment(fields: &mut Fields<'_, '_>) -> Option<Fulfilment> {
    let name = fields.optional_text("fulfilment")?;
    let names = Fulfilment::ALL.map(Fulfilment::as_str).join(", ");
    Fulfilment::named(name).or_else(|| fields.flaw("fulfilment", format!("is {name:?}; give one of {names}")))
}

fn lane(fields: &mut Fields<'_, '_>) -> Option<DraftLane> {
    Some(DraftLane {
        id: fields.id_once("id", "lane", LaneId::get).or_else(|| fields.stand_in())?,
        partition: fields.optional_whole("partition").map(PartitionId),
        limit_per_buyer: fields.whole("limit_per_buyer").unwrap_or(1),
        paused: fields.optional_flag("paused").unwrap_or(false),
        offers: fields.tables("offers", OFFER_KEYS, offer),
    })
}

fn offer(fields: &mut Fields<'_, '_>) -> Option<Offer> {
    Some(Offer {
        id: fields.id_once("id", "offer", OfferId::get).or_else(|| fields.stand_in())?,
        sku: fields.id("sku").or_else(|| fields.stand_in())?,
        title: fields.text("title").unwrap_or("-").to_owned(),
        price: fields.table("price", PRICE_KEYS, price).or_else(stand_in_price)?,
        allotment: fields.whole("allotment").unwrap_or(1),
        rate_per_s: fields.whole("rate_per_s").unwrap_or(1),
        paused: fields.optional_flag("paused").unwrap_or(false),
    })
}

fn price(fields: &mut Fields<'_, '_>) -> Option<Money> {
    let stand_in = stand_in_price()?;
    let currency = fields.text("currency").and_then(|text| match text.parse() {
        Ok(currency) => Some(currency),
        Err(error) => fields.flaw("currency", format!("is {text:?}; {error}")),
    });
    Some(Money {
        amount: fields.whole("amount").unwrap_or(stand_in.amount),
        currency: currency.unwrap_or(stand_in.currency),
    })
}

#[cfg(test)]
mod tests;
