//! The directory of offers: what is sold, by whom, in which lane, and what admission keeps of each.
//! Built from the topic `sales`; the newest version of a sale wins. It sells nothing and asks
//! nobody.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use domain::{
    id::{Epoch, LaneId, OfferId, PartitionId, SaleId, SkuId, TenantId},
    money::Money,
    sale::{Sale, Window},
};
use pages::{sales::KEPT_AFTER_END_MS, stock::StockSeen};
use store::log::SalesFollower;

use crate::{
    counts::OfferCounts,
    limits::{Bucket, BuyerBuckets, Permits, TenantShare, Ticks},
};

/// The directory is built anew for what came within this time: with ten thousand sales that takes
/// some 10 ms, however few of them are new.
const GATHER: Duration = Duration::from_millis(50);
/// Pause after a failed read of the topic.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// A lane as engines know it. One per lane and process, across versions of its sale.
#[derive(Debug)]
pub struct Lane {
    /// The id, which its sale chose.
    pub id: LaneId,
    /// The partition that orders it.
    pub partition: PartitionId,
    epoch: AtomicU64,
    /// The end of the sale after which it was retired, in epoch milliseconds; 0 while that is not
    /// known.
    retired_after_ms: AtomicU64,
}

impl Lane {
    /// The epoch that this engine believes in; 0 until the lane answered with one.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// Follows the lane to a later epoch.
    pub fn follow(&self, epoch: Epoch) {
        self.epoch.fetch_max(epoch.0, Ordering::Relaxed);
    }

    /// Whether the ledger says that it was retired after this window (R14): then every order of it
    /// has its row. `false` may be late, `true` is not.
    pub fn is_retired(&self, window: Window) -> bool {
        self.retired_after_ms.load(Ordering::Acquire) == window.closes_at_ms
    }

    /// Keeps the end of the sale after which it is retired; `None`: it is not.
    pub fn note_retired(&self, after_ms: Option<u64>) {
        self.retired_after_ms.store(after_ms.unwrap_or(0), Ordering::Release);
    }
}

/// A merchant's shop, as far as admission goes.
pub struct Tenant {
    /// Its share of the permits.
    pub share: Arc<TenantShare>,
    /// The tokens of all its purchases.
    pub bucket: Bucket,
}

/// One version of a sale, with what admission keeps of it.
pub struct Promotion {
    /// As it was published.
    pub sale: Sale,
    /// What admission keeps of its shop.
    pub tenant: Arc<Tenant>,
    /// Its buyers' buckets; they live on while the rate stays the same.
    pub buyers: Arc<BuyerBuckets>,
    /// Its offers, in the order of the sale.
    pub offers: Vec<Arc<Offered>>,
}

impl Promotion {
    /// Its offers as published, each with what is kept of it. Those that the directory left out are
    /// not sold here.
    pub fn offered(&self) -> impl Iterator<Item = (&domain::sale::Lane, &domain::sale::Offer, &Arc<Offered>)> {
        let mut kept = self.offers.iter().peekable();
        self.sale.offers().filter_map(move |(lane, offer)| {
            let offered = kept.next_if(|offered| offered.id == offer.id)?;
            Some((lane, offer, offered))
        })
    }
}

/// An offer: all the hot path needs, reached by one look-up.
pub struct Offered {
    /// Its id.
    pub id: OfferId,
    /// The merchant's article.
    pub sku: SkuId,
    /// The price of one unit.
    pub price: Money,
    /// Seconds that a buyer has to pay.
    pub pay_within_s: u32,
    /// The merchant stopped it or its lane for now.
    pub is_paused: bool,
    /// The shop that sells it.
    pub tenant: TenantId,
    /// The sale that it belongs to.
    pub sale: SaleId,
    /// The version of the sale that this is read from.
    pub sale_version: u32,
    /// The lane that orders it.
    pub lane: Arc<Lane>,
    /// What the lane said last of its stock.
    pub stock: Arc<StockSeen>,
    /// What became of its purchases.
    pub counts: Arc<OfferCounts>,
    /// Its bucket; lives on while rate and fleet stay the same.
    pub bucket: Arc<Bucket>,
    /// What admission keeps of its shop.
    pub shop: Arc<Tenant>,
}

impl Offered {
    /// Gives the tokens back that admitted a purchase which took nothing. The buyer's own is spent:
    /// it bounds what one buyer asks.
    pub fn give_back(&self) {
        self.bucket.give_back();
        self.shop.bucket.give_back();
    }
}

/// The directory at one moment.
#[derive(Default)]
pub struct Snapshot {
    offers: HashMap<OfferId, (Arc<Promotion>, Arc<Offered>)>,
    sales: HashMap<SaleId, Arc<Promotion>>,
    of_tenant: HashMap<TenantId, Vec<Arc<Promotion>>>,
    tenants: HashMap<TenantId, Arc<Tenant>>,
    lanes: HashMap<LaneId, Arc<Lane>>,
}

impl Snapshot {
    /// An offer with its sale.
    pub fn offer(&self, id: OfferId) -> Option<(&Arc<Promotion>, &Arc<Offered>)> {
        self.offers.get(&id).map(|(promotion, offered)| (promotion, offered))
    }

    /// A sale that the directory shows.
    pub fn sale(&self, id: SaleId) -> Option<&Arc<Promotion>> {
        self.sales.get(&id)
    }

    /// The sales of a tenant, in the order of their ids.
    pub fn of_tenant(&self, id: TenantId) -> &[Arc<Promotion>] {
        self.of_tenant.get(&id).map_or(&[], Vec::as_slice)
    }

    /// All sales, in no order.
    pub fn sales(&self) -> impl Iterator<Item = &Arc<Promotion>> {
        self.sales.values()
    }
}

/// What a tenant may take of one engine, and what holds for its orders where a sale says nothing.
#[derive(Debug, Clone, Copy)]
pub struct TenantLimits {
    /// Requests a second, over the whole fleet.
    pub rate_per_s: u32,
    /// Permits of this engine.
    pub permits_max: u32,
    /// Seconds that a buyer has to pay.
    pub pay_within_s: u32,
}

/// Everything published, whether the directory shows it or not.
struct Published {
    /// The newest version of every sale, also of those that are left out of the directory.
    sales: BTreeMap<SaleId, Sale>,
    engines: u32,
    /// Epoch milliseconds, as of the last change.
    now_ms: u64,
}

impl Published {
    /// The sales that the directory shows. Those that ended long ago are left out: nobody buys
    /// there, and nobody looks at them here. Only left out, not forgotten: a clock that was far
    /// ahead for a while must not take running sales away.
    fn shown(&self) -> impl Iterator<Item = &Sale> {
        let is_shown = |sale: &&Sale| self.now_ms < sale.window.closes_at_ms.saturating_add(KEPT_AFTER_END_MS);
        self.sales.values().filter(is_shown)
    }
}

/// The directory. Reading it takes no lock; changing it builds it anew.
pub struct Directory {
    current: ArcSwap<Snapshot>,
    published: Mutex<Published>,
    ticks: Ticks,
    permits: Arc<Permits>,
    limits: TenantLimits,
    contradictions: AtomicU64,
    edition: AtomicU64,
}

impl Directory {
    /// An empty directory of a fleet of one.
    pub fn new(ticks: Ticks, permits: Arc<Permits>, limits: TenantLimits) -> Self {
        let published = Mutex::new(Published { sales: BTreeMap::new(), engines: 1, now_ms: 0 });
        let (contradictions, edition) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { current: ArcSwap::default(), published, ticks, permits, limits, contradictions, edition }
    }

    /// The directory as it is now. Never hold it across an await.
    pub fn now(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Another number whenever it was built anew.
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Takes in sales as they were published. A version that is not newer than the one at hand is
    /// passed over.
    pub fn take_in(&self, sales: Vec<Sale>, now_ms: u64) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        for sale in sales {
            if sale.is_news_to(published.sales.get(&sale.id)) {
                published.sales.insert(sale.id, sale);
            }
        }
        published.now_ms = now_ms;
        self.rebuild(&published);
    }

    /// Shows what this time shows: fewer sales as it goes on, more when a clock is corrected.
    pub fn keep_time(&self, now_ms: u64) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.now_ms = now_ms;
        let current = self.current.load();
        if published.shown().count() != current.sales.len()
            || published.shown().any(|sale| current.sale(sale.id).is_none())
        {
            self.rebuild(&published);
        }
    }

    /// Lanes and offers that are left out now because another sale has their ids.
    pub fn contradictions(&self) -> u64 {
        self.contradictions.load(Ordering::Relaxed)
    }

    /// Divides the rates by this many live engines from now on.
    pub fn share_among(&self, engines: u32) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.engines != engines.max(1) {
            published.engines = engines.max(1);
            self.rebuild(&published);
        }
    }

    /// Forgets buyers whose buckets are full again.
    pub fn forget_idle_buyers(&self) {
        for promotion in self.current.load_full().sales() {
            promotion.buyers.forget_idle();
        }
    }

    fn rebuild(&self, published: &Published) {
        let build = Build { directory: self, engines: published.engines, old: self.current.load_full() };
        let mut next = Snapshot::default();
        let left_out: u64 = published.shown().map(|sale| build.add(sale, &mut next)).sum();
        self.contradictions.store(left_out, Ordering::Relaxed);
        self.current.store(Arc::new(next));
        self.edition.fetch_add(1, Ordering::Release);
    }
}

/// A rebuild under way: what can live on of the old directory does.
struct Build<'a> {
    directory: &'a Directory,
    engines: u32,
    old: Arc<Snapshot>,
}

impl Build<'_> {
    /// Adds a sale; returns how many of its offers are left out. An id stays with the sale that has
    /// it: the order-writer settles who that is and publishes what remains of the other, so this
    /// lasts a moment. Until then a unit of one is never sold as the other's, and no buyer meets
    /// the limit of another's lane.
    fn add(&self, sale: &Sale, next: &mut Snapshot) -> u64 {
        let tenant = Arc::clone(next.tenants.entry(sale.tenant).or_insert_with(|| self.tenant(sale.tenant)));
        let old = self.old.sale(sale.id);
        let buyers = old.filter(|old| old.buyers.is_for(sale.buyer_rate_per_s)).map(|old| Arc::clone(&old.buyers));
        let (mut offers, mut left_out) = (Vec::new(), 0);
        let lanes_of_others: Vec<LaneId> =
            sale.lanes.iter().map(|lane| lane.id).filter(|lane| next.lanes.contains_key(lane)).collect();
        for (of, offer) in sale.offers() {
            // Sales come in the order of their ids, so every engine keeps the same one.
            if next.offers.contains_key(&offer.id) || lanes_of_others.contains(&of.id) {
                tracing::error!(
                    offer = %offer.id, lane = %of.id, sale = %sale.id,
                    "an offer id or a lane id of another sale; this one is left out"
                );
                left_out += 1;
                continue;
            }
            let lane = Arc::clone(next.lanes.entry(of.id).or_insert_with(|| self.lane(of.id, of.partition)));
            let is_paused = of.paused || offer.paused;
            offers.push(Arc::new(self.offered(sale, &tenant, lane, (offer, is_paused))));
        }
        let buyers = buyers
            .unwrap_or_else(|| Arc::new(BuyerBuckets::new("buyer", sale.buyer_rate_per_s, &self.directory.ticks)));
        let promotion = Arc::new(Promotion { sale: sale.clone(), tenant, buyers, offers });
        for offered in &promotion.offers {
            next.offers.insert(offered.id, (Arc::clone(&promotion), Arc::clone(offered)));
        }
        next.of_tenant.entry(sale.tenant).or_default().push(Arc::clone(&promotion));
        next.sales.insert(sale.id, promotion);
        left_out
    }

    fn tenant(&self, id: TenantId) -> Arc<Tenant> {
        let TenantLimits { rate_per_s, permits_max, .. } = self.directory.limits;
        let old = self.old.tenants.get(&id);
        if let Some(old) = old.filter(|old| old.bucket.is_for(rate_per_s, self.engines)) {
            return Arc::clone(old);
        }
        // The share lives on in any case: permits that are out come back to it.
        let share = old.map(|old| Arc::clone(&old.share));
        let share = share.unwrap_or_else(|| TenantShare::new(Arc::clone(&self.directory.permits), permits_max));
        Arc::new(Tenant { share, bucket: Bucket::new("tenant", rate_per_s, self.engines, &self.directory.ticks) })
    }

    fn lane(&self, id: LaneId, partition: PartitionId) -> Arc<Lane> {
        let old = self.old.lanes.get(&id).filter(|old| old.partition == partition);
        old.map_or_else(
            || Arc::new(Lane { id, partition, epoch: AtomicU64::new(0), retired_after_ms: AtomicU64::new(0) }),
            Arc::clone,
        )
    }

    fn offered(
        &self,
        sale: &Sale,
        shop: &Arc<Tenant>,
        lane: Arc<Lane>,
        (offer, is_paused): (&domain::sale::Offer, bool),
    ) -> Offered {
        // An id that another sale or lane had is another offer: nothing that is known of the one is
        // true of the other (INV-7).
        let old = self.old.offer(offer.id).map(|(_, old)| old);
        let old = old.filter(|old| (old.tenant, old.sale, old.lane.id) == (sale.tenant, sale.id, lane.id));
        let bucket = old.filter(|old| old.bucket.is_for(offer.rate_per_s, self.engines)).map(|old| &old.bucket);
        let new_bucket = || Arc::new(Bucket::new("offer", offer.rate_per_s, self.engines, &self.directory.ticks));
        Offered {
            id: offer.id,
            sku: offer.sku,
            price: offer.price,
            pay_within_s: sale.orders.pay_within_s(self.directory.limits.pay_within_s),
            is_paused,
            tenant: sale.tenant,
            sale: sale.id,
            sale_version: sale.version,
            lane,
            stock: old.map(|old| Arc::clone(&old.stock)).unwrap_or_default(),
            counts: old.map(|old| Arc::clone(&old.counts)).unwrap_or_default(),
            bucket: bucket.map_or_else(new_bucket, Arc::clone),
            shop: Arc::clone(shop),
        }
    }
}

/// Follows the topic `sales` for ever; `at_end` is called once, when all that was there at the
/// start is taken in.
pub async fn follow<F: SalesFollower>(
    mut follower: F,
    directory: Arc<Directory>,
    now_ms: impl Fn() -> u64,
    at_end: impl Fn(),
) {
    let mut is_at_end = false;
    loop {
        match follower.next().await {
            Ok(sales) if sales.is_empty() => {
                is_at_end = true;
                at_end();
            }
            Ok(sales) => {
                tracing::info!(sales = sales.len(), "sales published");
                directory.take_in(sales, now_ms());
                if is_at_end {
                    tokio::time::sleep(GATHER).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the topic of sales cannot be read; trying again");
                tokio::time::sleep(FOLLOW_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
