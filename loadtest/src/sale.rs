//! The sale of a run: fresh random ids, so that runs on one stack never meet; its sale file; where
//! its buyers go.

use domain::id::{BuyerId, InvalidId, LaneId, OfferId, PartitionId, SaleId, TenantId};
use rand::{Rng, RngExt};

/// Every id of a run has 15 digits, and so has every request one length. Counting up from a random
/// first one stays below the ceiling: there are fewer than 2^32 buyers.
const ID_FLOOR: u64 = 100_000_000_000_000;
const ID_FIRST_MAX: u64 = 999_999_999_999_999 - (1 << 32);
/// How long the window stands open before and after now.
const OPEN_BEFORE_MS: u64 = 60_000;
const OPEN_AFTER_MS: u64 = 86_400_000;
/// The load test measures the engine and not its rate limits: both stand above any load.
const RATE_PER_S: u32 = domain::sale::RATE_MAX;
const BUYER_RATE_PER_S: u32 = 1_000;
/// Live units that one buyer may hold: one order a buyer.
pub const LIMIT_PER_BUYER: u32 = 1;

/// One offer in a lane of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOffer {
    /// Its lane.
    pub lane: LaneId,
    /// The offer.
    pub offer: OfferId,
    /// Where its lane is ordered; `None`: the catalog chooses.
    pub partition: Option<PartitionId>,
    /// Units for sale.
    pub allotment: u64,
}

/// A sale to be published, and its buyers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSale {
    /// Its id.
    pub id: SaleId,
    /// Whose it is.
    pub tenant: TenantId,
    /// One for each lane.
    pub offers: Vec<LoadOffer>,
    /// Epoch milliseconds at which it opens.
    pub opens_at_ms: u64,
    /// Seconds in which a buyer has to pay; `None`: as the engine says.
    pub pay_within_s: Option<u32>,
    first_buyer: u64,
}

impl LoadSale {
    /// A sale of `units` units in `lanes` lanes, open since a minute. With a number of partitions
    /// its lanes are spread over them; else the catalog does it.
    ///
    /// # Errors
    /// [`InvalidId`] never, for ids are made in range.
    pub fn fresh(
        units: u64,
        lanes: u32,
        partitions: Option<u32>,
        now_ms: u64,
        random: &mut impl Rng,
    ) -> Result<Self, InvalidId> {
        let mut first = || random.random_range(ID_FLOOR..=ID_FIRST_MAX);
        let (sale, first_lane, first_offer, first_buyer) = (first(), first(), first(), first());
        let lanes = u64::from(lanes.max(1));
        let offers = (0..lanes).map(|i| {
            let partition = partitions.map(|count| (first_lane + i) % u64::from(count.max(1)));
            Ok(LoadOffer {
                lane: LaneId::new(first_lane + i)?,
                offer: OfferId::new(first_offer + i)?,
                partition: partition.map(|number| PartitionId(u32::try_from(number).unwrap_or(0))),
                allotment: units / lanes + u64::from(i < units % lanes),
            })
        });
        Ok(Self {
            id: SaleId::new(sale)?,
            offers: offers.collect::<Result<_, InvalidId>>()?,
            opens_at_ms: now_ms.saturating_sub(OPEN_BEFORE_MS),
            pay_within_s: None,
            first_buyer,
            tenant: TenantId::new(random.random_range(1..=u64::from(u32::MAX)))?,
        })
    }

    /// A sale that somebody else published, with buyers of its own.
    pub fn published(
        id: SaleId,
        tenant: TenantId,
        offers: Vec<LoadOffer>,
        opens_at_ms: u64,
        random: &mut impl Rng,
    ) -> Self {
        let pay_within_s = None;
        Self {
            id,
            tenant,
            offers,
            opens_at_ms,
            pay_within_s,
            first_buyer: random.random_range(ID_FLOOR..=ID_FIRST_MAX),
        }
    }

    /// The buyer with this index.
    ///
    /// # Errors
    /// [`InvalidId`] never, for ids are made in range.
    pub fn buyer(&self, index: u32) -> Result<BuyerId, InvalidId> {
        BuyerId::new(self.first_buyer + u64::from(index))
    }

    /// The index of a buyer of this sale.
    pub fn index_of(&self, buyer: BuyerId) -> Option<u32> {
        buyer.get().checked_sub(self.first_buyer).and_then(|index| u32::try_from(index).ok())
    }

    /// What the buyer with this index buys: buyers are dealt to the offers in turn.
    pub fn offer_of(&self, index: u32) -> &LoadOffer {
        &self.offers[index as usize % self.offers.len()]
    }

    /// Its lanes.
    pub fn lanes(&self) -> Vec<LaneId> {
        self.offers.iter().map(|offer| offer.lane).collect()
    }

    /// How many units so many buyers with one unit each can buy.
    pub fn sellable(&self, buyers: u32) -> u64 {
        let lanes = self.offers.len() as u64;
        let dealt = |i: u64| u64::from(buyers) / lanes + u64::from(i < u64::from(buyers) % lanes);
        (0..).zip(&self.offers).map(|(i, offer)| offer.allotment.min(dealt(i))).sum()
    }

    /// The sale file for `catalog publish`.
    ///
    /// # Errors
    /// [`jiff::Error`] for a clock outside the years that a date can show.
    pub fn to_toml(&self) -> Result<String, jiff::Error> {
        self.version(1, [self.opens_at_ms, self.opens_at_ms + OPEN_BEFORE_MS + OPEN_AFTER_MS])
    }

    /// The sale file of a version with its window, epoch milliseconds.
    ///
    /// # Errors
    /// As [`Self::to_toml`].
    pub fn version(&self, version: u32, window_ms: [u64; 2]) -> Result<String, jiff::Error> {
        let (opens, closes) = (rfc3339(window_ms[0])?, rfc3339(window_ms[1])?);
        let mut file = format!(
            "id = \"{}\"\ntenant = \"{}\"\ntitle = \"Load test\"\nversion = {version}\nopens_at = \"{opens}\"\n\
             closes_at = \"{closes}\"\nbuyer_rate_per_s = {BUYER_RATE_PER_S}\n",
            self.id, self.tenant
        );
        if let Some(seconds) = self.pay_within_s {
            file += &format!("payment_window_s = {seconds}\n");
        }
        for LoadOffer { lane, offer, partition, allotment } in &self.offers {
            let partition = partition.map_or_else(String::new, |number| format!("partition = {number}\n"));
            file += &format!(
                "\n[[lanes]]\nid = \"{lane}\"\n{partition}limit_per_buyer = {LIMIT_PER_BUYER}\n\n\
                 [[lanes.offers]]\nid = \"{offer}\"\nsku = \"{offer}\"\ntitle = \"Load test\"\n\
                 price = {{ amount = 19900, currency = \"CNY\" }}\nallotment = {allotment}\nrate_per_s = {RATE_PER_S}\n"
            );
        }
        Ok(file)
    }
}

fn rfc3339(epoch_ms: u64) -> Result<String, jiff::Error> {
    let epoch_ms = i64::try_from(epoch_ms).unwrap_or(i64::MAX);
    Ok(jiff::Timestamp::from_millisecond(epoch_ms)?.to_string())
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    fn sale(units: u64, lanes: u32) -> LoadSale {
        LoadSale::fresh(units, lanes, Some(4), 1_800_000_000_000, &mut SmallRng::seed_from_u64(3)).unwrap()
    }

    #[test]
    fn units_lanes_and_buyers_are_dealt_evenly() {
        let sale = sale(10, 4);
        let allotments: Vec<u64> = sale.offers.iter().map(|offer| offer.allotment).collect();
        assert_eq!(allotments, [3, 3, 2, 2]);
        let mut partitions: Vec<u32> = sale.offers.iter().map(|offer| offer.partition.unwrap().0).collect();
        partitions.sort_unstable();
        assert_eq!(partitions, [0, 1, 2, 3]);
        assert_eq!(sale.offer_of(5), &sale.offers[1]);
        assert_eq!(sale.sellable(100), 10);
        assert_eq!(sale.sellable(5), 5);
        assert_eq!(sale.sellable(9), 9, "3 + 2 + 2 + 2 buyers");
    }

    #[test]
    fn ids_have_one_length_and_buyers_are_found_again() {
        let sale = sale(10, 4);
        for id in [sale.id.get(), sale.offers[3].lane.get(), sale.buyer(9_999_999).unwrap().get()] {
            assert_eq!(id.to_string().len(), 15);
        }
        assert_eq!(sale.index_of(sale.buyer(77).unwrap()), Some(77));
    }

    /// What `catalog publish` makes of it is the sale that was meant.
    #[test]
    fn the_file_is_a_valid_sale_file() {
        let sale = LoadSale { pay_within_s: Some(60), ..sale(10, 2) };
        let draft = catalog::file::parse(&sale.to_toml().unwrap()).unwrap();
        let published = catalog::publish::plan(&draft, &[], 4, 1_800_000_000_000).unwrap();
        assert_eq!((published.id, published.tenant), (sale.id, sale.tenant));
        assert_eq!((published.window.opens_at_ms, published.orders.payment_window_s), (sale.opens_at_ms, 60));
        assert_eq!(published.phase(1_800_000_000_000), domain::sale::Phase::Open);
        let offers = published.offers().map(|(lane, offer)| LoadOffer {
            lane: lane.id,
            offer: offer.id,
            partition: Some(lane.partition),
            allotment: offer.allotment,
        });
        assert_eq!(offers.collect::<Vec<_>>(), sale.offers);
    }
}
