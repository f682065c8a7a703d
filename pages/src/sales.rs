//! What is on sale, as far as pages show it: the port, and a list of it for a service that keeps no
//! directory of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use domain::{
    id::{LaneId, OfferId, SaleId, TenantId},
    sale::{Lane, Offer, Sale},
};
use store::log::SalesFollower;

use crate::stock::{Coarse, StockSeen};

/// Sales that ended longer ago are shown to nobody.
pub const KEPT_AFTER_END_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Pause after a failed read of the topic.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// One version of a sale, with what is known of its stock.
pub trait Shown: Send + Sync + 'static {
    /// As it was published.
    fn sale(&self) -> &Sale;

    /// Whether all its lanes are retired (R14): there is no stock to ask for.
    fn is_retired(&self) -> bool;

    /// The offers that are sold, in the order of the sale, each with what its lane said last.
    fn offers(&self) -> impl Iterator<Item = (&Lane, &Offer, &Arc<StockSeen>)> + Send;

    /// What a page shows of the stock of each.
    fn stock(&self, monotonic_ms: u64) -> Vec<Option<Coarse>> {
        self.offers().map(|(_, offer, seen)| seen.coarse(offer.allotment, monotonic_ms)).collect()
    }
}

/// All that is on sale, at hand: no method waits, or asks anybody.
pub trait Sales: Send + Sync + 'static {
    /// Its sales.
    type Shown: Shown;

    /// Whether they are all known; before, one that is not there may exist.
    fn is_whole(&self) -> bool;

    /// The newest version of a sale.
    fn sale(&self, id: SaleId) -> Option<Arc<Self::Shown>>;

    /// The sales of a tenant, in no order.
    fn of_tenant(&self, tenant: TenantId) -> Vec<Arc<Self::Shown>>;

    /// Another number whenever something else may be on sale. MUST change after the sales, so that
    /// who reads it first knows what is no older.
    fn edition(&self) -> u64;
}

/// Whether shoppers may see a sale at this moment: from when its merchant shows it, and not long
/// after its end.
pub fn is_visible(sale: &Sale, now_ms: u64) -> bool {
    sale.is_visible(now_ms) && now_ms < sale.window.closes_at_ms.saturating_add(KEPT_AFTER_END_MS)
}

/// A sale of [`Followed`].
pub struct Item {
    sale: Sale,
    /// Of each offer, in the order of the sale.
    stock: Vec<Arc<StockSeen>>,
}

impl Shown for Item {
    fn sale(&self) -> &Sale {
        &self.sale
    }

    /// Lanes that are retired answer that they are not open, which tells nothing and harms nothing.
    fn is_retired(&self) -> bool {
        false
    }

    fn offers(&self) -> impl Iterator<Item = (&Lane, &Offer, &Arc<StockSeen>)> + Send {
        self.sale.offers().zip(&self.stock).map(|((lane, offer), seen)| (lane, offer, seen))
    }
}

/// The sales by their ids, and by their tenants.
#[derive(Default)]
struct Known {
    sales: HashMap<SaleId, Arc<Item>>,
    of_tenant: HashMap<TenantId, Vec<Arc<Item>>>,
}

/// All sales as the topic tells them. Reading takes no lock.
#[derive(Default)]
pub struct Followed {
    known: ArcSwap<Known>,
    edition: AtomicU64,
    /// The topic was read to its end.
    is_read: AtomicBool,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Sales for Followed {
    type Shown = Item;

    fn is_whole(&self) -> bool {
        self.is_read.load(Ordering::Acquire)
    }

    fn sale(&self, id: SaleId) -> Option<Arc<Item>> {
        self.known.load().sales.get(&id).cloned()
    }

    fn of_tenant(&self, tenant: TenantId) -> Vec<Arc<Item>> {
        self.known.load().of_tenant.get(&tenant).cloned().unwrap_or_default()
    }

    fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }
}

impl Followed {
    /// Takes in sales as they were published; the newest version of each stays.
    pub fn take_in(&self, sales: Vec<Sale>) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Known { sales: self.known.load().sales.clone(), of_tenant: HashMap::new() };
        for sale in sales {
            let old = next.sales.get(&sale.id);
            if sale.is_news_to(old.map(|old| &old.sale)) {
                let item = Item { stock: stock_of(&sale, old), sale };
                next.sales.insert(item.sale.id, Arc::new(item));
            }
        }
        for item in next.sales.values() {
            next.of_tenant.entry(item.sale.tenant).or_default().push(Arc::clone(item));
        }
        self.known.store(Arc::new(next));
        self.edition.fetch_add(1, Ordering::Release);
    }

    /// Follows the topic `sales` for ever.
    pub async fn follow(self: Arc<Self>, mut follower: impl SalesFollower) {
        loop {
            match follower.next().await {
                Ok(sales) if sales.is_empty() => self.is_read.store(true, Ordering::Release),
                Ok(sales) => self.take_in(sales),
                Err(error) => {
                    tracing::warn!(%error, "the topic of sales cannot be read; trying again");
                    tokio::time::sleep(FOLLOW_PAUSE).await;
                }
            }
        }
    }
}

/// What is known of the stock of its offers lives on, as long as they stay in their lanes.
fn stock_of(sale: &Sale, old: Option<&Arc<Item>>) -> Vec<Arc<StockSeen>> {
    let old = old.iter().filter(|old| old.sale.tenant == sale.tenant).flat_map(|old| old.offers());
    let old: HashMap<(LaneId, OfferId), &Arc<StockSeen>> =
        old.map(|(lane, offer, seen)| ((lane.id, offer.id), seen)).collect();
    let seen = |(lane, offer): (&Lane, &Offer)| old.get(&(lane.id, offer.id)).map(|seen| Arc::clone(seen));
    sale.offers().map(|offer| seen(offer).unwrap_or_default()).collect()
}
