//! The shop of one seed: a sale of its own with one lane, in a tenant of its own. All of it follows
//! from the seed.

use domain::{
    id::{BuyerId, LaneId, OfferId, PartitionId, SaleId, SkuId, TenantId},
    money::Money,
    order::OrderRow,
    sale::{Lane, Offer, RATE_MAX, Sale, SubjectKind, Window},
};

/// Offers of a seed, at most.
pub(crate) const OFFERS: usize = 3;
/// Buyers of a seed.
pub(crate) const BUYERS: u8 = 5;
/// How long a sale has been open: a lane that opened within the last minute is looked at every
/// time, which many seeds would pay for.
const OPEN_SINCE_MS: u64 = 600_000;
const OPEN_FOR_MS: u64 = 86_400_000;

/// splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// `stream` tells the uses of one seed apart.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ stream);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// From `first` to `last`.
    pub(crate) fn within(&mut self, first: u8, last: u8) -> u8 {
        first + u8::try_from(self.below(usize::from(last - first) + 1)).unwrap()
    }

    pub(crate) fn of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.below(all.len())].clone()) }
    }
}

/// The shop of a seed.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    pub(crate) seed: u64,
    pub(crate) tenant: TenantId,
    pub(crate) sale: SaleId,
    pub(crate) lane: LaneId,
    pub(crate) partition: PartitionId,
    pub(crate) limit: u32,
    /// Each with its allotment.
    pub(crate) offers: Vec<(OfferId, u64)>,
}

impl Seed {
    pub(crate) fn of(seed: u64, partitions: u32) -> Self {
        let mut random = Random::new(seed, 1);
        let offers = (0..u64::from(random.within(1, 3)))
            .map(|n| (OfferId::new(8 * seed + n + 1).unwrap(), u64::from(random.within(1, 7))));
        Self {
            seed,
            offers: offers.collect(),
            limit: random.within(1, 4).into(),
            tenant: TenantId::new(seed % 1_000_000 + 1).unwrap(),
            sale: SaleId::new(seed + 1).unwrap(),
            lane: LaneId::new(seed + 1).unwrap(),
            partition: PartitionId(u32::try_from(seed % u64::from(partitions)).unwrap()),
        }
    }

    /// The same with other allotments.
    pub(crate) fn with_units(&self, units: [u64; OFFERS]) -> Self {
        let offers = self.offers.iter().zip(units).map(|(&(offer, _), units)| (offer, units));
        Self { offers: offers.collect(), ..self.clone() }
    }

    /// The sale as it is first published.
    pub(crate) fn to_sale(&self, now_ms: u64) -> Sale {
        let offers = self.offers.iter().map(|&(id, allotment)| Offer {
            paused: false,
            id,
            sku: sku(id),
            title: "Kettle".into(),
            price: price(),
            allotment,
            rate_per_s: RATE_MAX,
        });
        Sale {
            id: self.sale,
            tenant: self.tenant,
            version: 1,
            title: "Night".into(),
            window: Window { opens_at_ms: now_ms - OPEN_SINCE_MS, closes_at_ms: now_ms + OPEN_FOR_MS },
            paused: false,
            buyer_rate_per_s: RATE_MAX,
            shard_map_version: 1,
            limit_by: SubjectKind::Account,
            members_only: false,
            visible_from_ms: 0,
            orders: domain::sale::OrderTerms::default(),
            lanes: vec![Lane {
                paused: false,
                id: self.lane,
                partition: self.partition,
                limit_per_buyer: self.limit,
                offers: offers.collect(),
            }],
        }
    }

    /// Buyers are numbered from 0. No two seeds share one.
    pub(crate) fn buyer(&self, number: u8) -> BuyerId {
        BuyerId::new(16 * self.seed + u64::from(number) + 1).unwrap()
    }

    pub(crate) fn number_of(&self, buyer: BuyerId) -> u64 {
        buyer.get().wrapping_sub(16 * self.seed + 1)
    }

    pub(crate) fn offer(&self, number: u8) -> OfferId {
        self.offers[usize::from(number)].0
    }

    pub(crate) fn number_of_offer(&self, offer: OfferId) -> Option<usize> {
        self.offers.iter().position(|(id, _)| *id == offer)
    }

    /// Whether what admission froze stands in the row.
    pub(crate) fn is_row_right(&self, row: &OrderRow) -> bool {
        (row.tenant, row.sale, row.lane) == (self.tenant, self.sale, self.lane)
            && row.sku == sku(row.offer)
            && row.unit_price == price()
    }
}

pub(crate) fn sku(offer: OfferId) -> SkuId {
    SkuId::new(offer.get() + 1_000).unwrap()
}

pub(crate) fn price() -> Money {
    Money { amount: 19_900, currency: "CNY".parse().unwrap() }
}
