//! What a merchant sells: sale, lane, offer, window. The hot path knows only offers. What makes a
//! sale valid stands in `valid`.

use crate::{
    id::{LaneId, OfferId, PartitionId, SaleId, SkuId, TenantId},
    money::{AMOUNT_MAX, Money},
};

/// Units one buyer may hold in a lane, at most: a purchase number is one byte.
pub const LIMIT_MAX: u32 = 100;
/// Units an offer may sell, at most.
pub const ALLOTMENT_MAX: u64 = 100_000_000;
/// Offers that may share one lane.
pub const OFFERS_PER_LANE_MAX: usize = 64;
/// Lanes of a sale.
pub const LANES_MAX: usize = 1_000;
/// Seconds that a buyer may have to pay, at least and at most.
pub const PAYMENT_WINDOW_S: std::ops::RangeInclusive<u32> = 60..=30 * 86_400;
/// The same of a deployment that sets nothing else, for sales that say nothing.
pub const PAYMENT_WINDOW_S_DEFAULT: u32 = 15 * 60;
const _: () = assert!(*PAYMENT_WINDOW_S.start() <= PAYMENT_WINDOW_S_DEFAULT);
/// Days in which an order may be returned, at most.
pub const AFTER_SALE_DAYS_MAX: u16 = 366;
/// Admission rate of an offer, at most.
pub const RATE_MAX: u32 = 1_000_000;
/// Offers of a sale, in all its lanes.
pub const OFFERS_MAX: usize = 12_000;
/// Bytes of a sale's record: the log takes records of 1 MiB, and the rest is for their headers.
pub const SALE_BYTES_MAX: usize = 1_000_000;
/// The highest price of one unit, in minor units: a total of [`LIMIT_MAX`] units passes
/// [`AMOUNT_MAX`] nowhere.
pub const PRICE_MAX: i64 = AMOUNT_MAX / LIMIT_MAX as i64;
const _: () = assert!(LIMIT_MAX <= u8::MAX as u32);
const _: () = assert!(LANES_MAX <= OFFERS_MAX && OFFERS_PER_LANE_MAX <= OFFERS_MAX);

/// When a sale sells, by the server's clock: from `opens_at_ms` until just before `closes_at_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment at which it sells, in epoch milliseconds.
    pub opens_at_ms: u64,
    /// The first moment at which it sells no more, in epoch milliseconds.
    pub closes_at_ms: u64,
}

/// Where a moment lies in a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the window: nothing is sold yet.
    NotStarted,
    /// In the window, and not paused.
    Open,
    /// Stopped by the merchant for now.
    Paused,
    /// After the window: nothing is sold any more.
    Ended,
}

impl Phase {
    /// The stable name, as the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// What the buyer of a token is, and so what a sale's limits count. Each kind has numbers of its
/// own: one person is another buyer as an account than as a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SubjectKind {
    /// An account of the shop.
    #[default]
    Account,
    /// A phone number.
    Phone,
    /// The hash of an identity document.
    IdHash,
}

impl SubjectKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Account, Self::Phone, Self::IdHash];

    /// The stable name, as sale files, tokens and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Phone => "phone",
            Self::IdHash => "id_hash",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How what was bought comes to the buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fulfilment {
    /// It is sent, in parcels.
    #[default]
    Express,
    /// It is fetched, by a code.
    Pickup,
    /// It is a code, one for each unit.
    Code,
}

impl Fulfilment {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Express, Self::Pickup, Self::Code];

    /// The stable name, as sale files and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Express => "express",
            Self::Pickup => "pickup",
            Self::Code => "code",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What holds for each order of a sale after it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OrderTerms {
    /// Seconds that a buyer has to pay, from the reservation on; 0 for the deployment's default.
    pub payment_window_s: u32,
    /// How what was bought comes to the buyer.
    pub fulfilment: Fulfilment,
    /// Days in which it may be returned, from its receipt on.
    pub after_sale_days: u16,
}

impl OrderTerms {
    /// Seconds that a buyer has to pay, `default_s` of a sale that says nothing.
    pub const fn pay_within_s(&self, default_s: u32) -> u32 {
        if self.payment_window_s == 0 { default_s } else { self.payment_window_s }
    }
}

/// One SKU put into one sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id; the hot path knows no other.
    pub id: OfferId,
    /// The merchant's article.
    pub sku: SkuId,
    /// What buyers read.
    pub title: String,
    /// The price of one unit.
    pub price: Money,
    /// Units it may sell, ever.
    pub allotment: u64,
    /// Requests admitted a second, over the whole fleet.
    pub rate_per_s: u32,
    /// Stopped by the merchant for now, by itself.
    pub paused: bool,
}

/// The offers that share one limit per buyer, one Redis hash tag and one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Unique among all that were ever published.
    pub id: LaneId,
    /// The partition of the order log that orders it.
    pub partition: PartitionId,
    /// Live units one buyer may hold in this lane.
    pub limit_per_buyer: u32,
    /// Stopped by the merchant for now, with all its offers.
    pub paused: bool,
    /// One offer or more, all under the lane's one limit.
    pub offers: Vec<Offer>,
}

/// A promotion with a time window: one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// Its id.
    pub id: SaleId,
    /// The shop that it belongs to.
    pub tenant: TenantId,
    /// Raised by each publication.
    pub version: u32,
    /// For people.
    pub title: String,
    /// The time in which it sells.
    pub window: Window,
    /// Stopped by the merchant for now.
    pub paused: bool,
    /// Purchase requests admitted a second from one buyer.
    pub buyer_rate_per_s: u32,
    /// The slot map this sale was published for.
    pub shard_map_version: u32,
    /// What its limits count: only tokens of this kind buy.
    pub limit_by: SubjectKind,
    /// Sells to members alone.
    pub members_only: bool,
    /// From when on shoppers may see it, in epoch milliseconds: before, there is no such sale. 0
    /// for always.
    pub visible_from_ms: u64,
    /// What holds for its orders.
    pub orders: OrderTerms,
    /// One lane or more.
    pub lanes: Vec<Lane>,
}

/// What is wrong with one field of a sale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Flaw {
    /// Path of the field, as in the sale file.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Sale {
    /// Where `now_ms`, in epoch milliseconds, lies with regard to window and pause.
    pub const fn phase(&self, now_ms: u64) -> Phase {
        if now_ms >= self.window.closes_at_ms {
            Phase::Ended
        } else if now_ms < self.window.opens_at_ms {
            Phase::NotStarted
        } else if self.paused {
            Phase::Paused
        } else {
            Phase::Open
        }
    }

    /// Whether shoppers may see it at this moment, in epoch milliseconds.
    pub const fn is_visible(&self, now_ms: u64) -> bool {
        now_ms >= self.visible_from_ms
    }

    /// Whether it is to be kept in the place of `known`, the version at hand: the newest wins, and
    /// of two that are equally new the first.
    pub fn is_news_to(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| known.version < self.version)
    }

    /// All offers with their lanes.
    pub fn offers(&self) -> impl Iterator<Item = (&Lane, &Offer)> {
        self.lanes.iter().flat_map(|lane| lane.offers.iter().map(move |offer| (lane, offer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::ORDER_END_MS, record::encode_sale};

    fn sale() -> Sale {
        let price = Money { amount: 19_900, currency: "CNY".parse().unwrap() };
        let offer = |id| Offer {
            paused: false,
            id: OfferId::new(id).unwrap(),
            sku: SkuId::new(1).unwrap(),
            title: "red".into(),
            price,
            allotment: 1,
            rate_per_s: 1,
        };
        let lane = |id, offers| Lane {
            paused: false,
            id: LaneId::new(id).unwrap(),
            partition: PartitionId(0),
            limit_per_buyer: 1,
            offers,
        };
        Sale {
            id: SaleId::new(1).unwrap(),
            tenant: TenantId::new(1).unwrap(),
            version: 1,
            title: "sale".into(),
            window: Window { opens_at_ms: 10, closes_at_ms: 20 },
            paused: false,
            buyer_rate_per_s: 1,
            shard_map_version: 1,
            limit_by: SubjectKind::Account,
            members_only: false,
            visible_from_ms: 0,
            orders: crate::sale::OrderTerms::default(),
            lanes: vec![lane(1, vec![offer(1), offer(2)]), lane(2, vec![offer(3)])],
        }
    }

    fn flaws(harm: impl FnOnce(&mut Sale)) -> Vec<String> {
        let mut sale = sale();
        harm(&mut sale);
        sale.validate(4).err().unwrap_or_default().into_iter().map(|flaw| flaw.field).collect()
    }

    #[test]
    fn a_sale_sells_from_its_opening_until_just_before_its_close() {
        let phases = |sale: &Sale| [9, 10, 19, 20].map(|now| sale.phase(now));
        assert_eq!(phases(&sale()), [Phase::NotStarted, Phase::Open, Phase::Open, Phase::Ended]);
        let paused = Sale { paused: true, ..sale() };
        assert_eq!(phases(&paused), [Phase::NotStarted, Phase::Paused, Phase::Paused, Phase::Ended]);
    }

    /// Each bound by itself, at its field's path, on both sides.
    #[test]
    fn each_flaw_is_told_at_its_field() {
        assert_eq!(flaws(|_| ()), [""; 0]);
        assert_eq!(flaws(|s| s.title = " ".into()), ["title"]);
        assert_eq!(flaws(|s| s.lanes[0].offers[1].title = "\u{200b}".into()), ["lanes[0].offers[1].title"]);
        assert_eq!(flaws(|s| s.window.closes_at_ms = 10), ["closes_at"]);
        assert_eq!(flaws(|s| s.window.closes_at_ms = ORDER_END_MS), [""; 0]);
        assert_eq!(flaws(|s| s.window.closes_at_ms = ORDER_END_MS + 1), ["closes_at"]);
        assert_eq!(flaws(|s| s.buyer_rate_per_s = 0), ["buyer_rate_per_s"]);
        assert_eq!(flaws(|s| s.visible_from_ms = 10), [""; 0]);
        assert_eq!(flaws(|s| s.visible_from_ms = 11), ["visible_from"]);
        assert_eq!(flaws(|s| s.orders.payment_window_s = 60), [""; 0]);
        assert_eq!(flaws(|s| s.orders.payment_window_s = 59), ["payment_window_s"]);
        assert_eq!(flaws(|s| s.orders.payment_window_s = 30 * 86_400 + 1), ["payment_window_s"]);
        assert_eq!(flaws(|s| s.orders.after_sale_days = AFTER_SALE_DAYS_MAX + 1), ["after_sale_days"]);
        assert_eq!(flaws(|s| s.lanes.clear()), ["lanes"]);
        assert_eq!(flaws(|s| s.lanes[1].limit_per_buyer = 0), ["lanes[1].limit_per_buyer"]);
        assert_eq!(flaws(|s| s.lanes[1].limit_per_buyer = LIMIT_MAX), [""; 0]);
        assert_eq!(flaws(|s| s.lanes[1].limit_per_buyer = LIMIT_MAX + 1), ["lanes[1].limit_per_buyer"]);
        assert_eq!(flaws(|s| s.lanes[1].offers.clear()), ["lanes[1].offers"]);
        assert_eq!(flaws(|s| s.lanes[0].partition = PartitionId(4)), ["lanes[0].partition"]);
        assert_eq!(flaws(|s| s.lanes[0].offers[1].allotment = 0), ["lanes[0].offers[1].allotment"]);
        assert_eq!(flaws(|s| s.lanes[0].offers[1].allotment = ALLOTMENT_MAX + 1), ["lanes[0].offers[1].allotment"]);
        assert_eq!(flaws(|s| s.lanes[0].offers[1].rate_per_s = RATE_MAX + 1), ["lanes[0].offers[1].rate_per_s"]);
        assert_eq!(flaws(|s| s.lanes[0].offers[1].price.amount = -1), ["lanes[0].offers[1].price.amount"]);
        assert_eq!(
            flaws(|s| s.lanes[0].offers[1].price.currency = "ZZZ".parse().unwrap()),
            ["lanes[0].offers[1].price.currency"]
        );
        assert_eq!(flaws(|s| s.lanes[1].offers[0].id = s.lanes[0].offers[0].id), ["lanes"], "an offer twice");
        assert_eq!(flaws(|s| s.lanes[1].id = s.lanes[0].id), ["lanes"], "a lane twice");
    }

    /// Money in JSON: the dearest order, of the most units one buyer may hold, is a number that a
    /// browser reads exactly.
    #[test]
    fn the_largest_total_is_read_exactly_by_a_browser() {
        assert_eq!(AMOUNT_MAX, 9_007_199_254_740_991);
        let dearest = Money { amount: PRICE_MAX, currency: "CNY".parse().unwrap() };
        assert!(dearest.times(LIMIT_MAX).unwrap().amount <= AMOUNT_MAX);
        assert_eq!(flaws(|s| s.lanes[0].offers[1].price.amount = PRICE_MAX), [""; 0]);
        for amount in [PRICE_MAX + 1, i64::MAX] {
            assert_eq!(flaws(|s| s.lanes[0].offers[1].price.amount = amount), ["lanes[0].offers[1].price.amount"]);
        }
    }

    /// A sale of `lanes` times `offers`, each with this title.
    fn large(lanes: usize, offers: usize, title: &str) -> Sale {
        let mut sale = sale();
        let (offer, mut number) = (sale.lanes[0].offers[0].clone(), 0);
        let mut next = || {
            number += 1;
            number
        };
        let lane = |next: &mut dyn FnMut() -> u64| Lane {
            paused: false,
            id: LaneId::new(next()).unwrap(),
            partition: PartitionId(0),
            limit_per_buyer: 1,
            offers: (0..offers)
                .map(|_| Offer { id: OfferId::new(next()).unwrap(), title: title.into(), ..offer.clone() })
                .collect(),
        };
        sale.lanes = (0..lanes).map(|_| lane(&mut next)).collect();
        sale
    }

    /// A sale that may be published fits into a record of the log, whatever its lanes, offers and
    /// titles.
    #[test]
    fn a_sale_that_no_record_holds_is_refused() {
        assert_eq!(large(240, 50, "kettle").validate(4), Ok(()));
        assert!(encode_sale(&large(240, 50, "kettle")).len() <= SALE_BYTES_MAX);
        let many = large(240, 51, "kettle").validate(4).unwrap_err();
        assert_eq!(many.len(), 1);
        assert!(many[0].message.contains("12240 offers; give at most 12000"), "{}", many[0]);
        let wordy = large(200, 50, &"元".repeat(crate::title::TITLE_MAX)).validate(4).unwrap_err();
        assert!(wordy.len() == 1 && wordy[0].message.contains("at most 1000000"), "{wordy:?}");
    }

    #[test]
    fn kinds_of_subjects_are_found_by_their_names() {
        assert_eq!(SubjectKind::ALL.map(SubjectKind::as_str), ["account", "phone", "id_hash"]);
        assert_eq!(SubjectKind::ALL.map(|kind| SubjectKind::named(kind.as_str())), SubjectKind::ALL.map(Some));
        assert_eq!((SubjectKind::named("Account"), SubjectKind::default()), (None, SubjectKind::Account));
    }

    #[test]
    fn all_flaws_are_told_at_once() {
        let told = flaws(|s| {
            s.title.clear();
            s.window.closes_at_ms = 0;
            s.lanes[0].limit_per_buyer = 0;
        });
        assert_eq!(told, ["title", "closes_at", "lanes[0].limit_per_buyer"]);
    }
}
