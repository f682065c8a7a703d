//! A pass over the rows: what some lanes start from is read and put in place, beside their worker,
//! which decides on and opens them (R4). Tables are read side by side. All rows of a buyer are in
//! one table, so a table's buyers are put in place as soon as it is read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use domain::{
    id::{BuyerId, Epoch, LaneId, OrderId},
    shard::{Home, ShardMap},
    stock::{Purchase, TOMBSTONES_MAX},
};
use store::{
    sql::SqlError,
    stock::{LaneKeeping, StockError},
};
use tokio::{sync::mpsc::Sender, task::JoinSet};

use crate::ports::{Ports, Shared};

/// Rows read at once.
const PAGE: u32 = 5_000;
/// Tables of a pass read at the same time: a deployment's databases have others to serve.
const READERS: usize = 2;

/// Purchases with their buyers: those of one buyer together, by age.
type Purchases = Vec<(BuyerId, Purchase)>;

/// What is read and put in place in one pass.
pub(crate) struct Pass {
    /// The lanes, each closed under its epoch.
    pub(crate) lanes: Vec<(LaneId, Epoch)>,
    /// The lowest order id that any of them has; `None`: they have no rows.
    pub(crate) from: Option<u64>,
    /// Counts the rows that were read.
    pub(crate) rows: Arc<AtomicU64>,
}

/// What came of a lane.
pub(crate) struct Prepared {
    pub(crate) lane: LaneId,
    pub(crate) epoch: Epoch,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// Its buyers are in place.
    Filled(Filled),
    /// It is not closed under this epoch any more.
    Refused,
    /// Some row of these lanes cannot be read.
    Unreadable(SqlError),
    /// What of it is in place is not known, or the rows could not be read now.
    Unclear(String),
}

/// The buyers of a lane. They stay in memory until it opens, about 56 bytes a purchase, because a
/// release may change their entries.
#[derive(Default)]
pub(crate) struct Filled {
    /// As many as the stock has.
    pub(crate) buyers: u64,
    by_home: HashMap<Home, Purchases>,
}

impl Filled {
    /// Purchases in it.
    pub(crate) fn len(&self) -> usize {
        self.by_home.values().map(Vec::len).sum()
    }

    /// R1, R6: releases that were decided since the rows were read leave tombstones. Returns the
    /// entries that change.
    pub(crate) fn release(&mut self, map: &ShardMap, released: &[(BuyerId, OrderId)]) -> Purchases {
        let mut changed: Purchases = Vec::new();
        let mut buyers: Vec<BuyerId> = Vec::new();
        for &(buyer, order) in released {
            let entry = self.entry(map, buyer);
            if let Some((_, purchase)) = entry.iter_mut().find(|(_, held)| held.order == order && held.number.is_some())
            {
                purchase.number = None;
                buyers.push(buyer);
            }
        }
        buyers.sort_unstable();
        buyers.dedup();
        for buyer in buyers {
            changed.extend_from_slice(self.entry(map, buyer));
        }
        forget_oldest_tombstones(&mut changed);
        changed
    }

    fn entry(&mut self, map: &ShardMap, buyer: BuyerId) -> &mut [(BuyerId, Purchase)] {
        let Some(purchases) = self.by_home.get_mut(&map.home_of_buyer(buyer)) else { return &mut [] };
        let begin = purchases.partition_point(|(of, _)| *of < buyer);
        let end = purchases.partition_point(|(of, _)| *of <= buyer);
        &mut purchases[begin..end]
    }
}

/// Makes a pass and reports what came of each of its lanes. It may be dropped anywhere: its lanes
/// then stay closed.
pub(crate) async fn prepare<P: Ports>(shared: Arc<Shared<P>>, pass: Pass, report: Sender<Prepared>) {
    let mut lanes: BTreeMap<LaneId, (Epoch, Outcome)> = BTreeMap::new();
    for &(lane, epoch) in &pass.lanes {
        let outcome = match shared.stock.clear(lane, epoch).await {
            Ok(true) => Outcome::Filled(Filled::default()),
            Ok(false) => Outcome::Refused,
            Err(error) => Outcome::Unclear(error.to_string()),
        };
        lanes.insert(lane, (epoch, outcome));
    }
    let is_cleared = |(_, (_, outcome)): &(&LaneId, &(Epoch, Outcome))| matches!(outcome, Outcome::Filled(_));
    let cleared: Vec<(LaneId, Epoch)> =
        lanes.iter().filter(is_cleared).map(|(&lane, &(epoch, _))| (lane, epoch)).collect();
    if let (Some(from), false) = (pass.from, cleared.is_empty()) {
        let found = read_and_fill(&shared, Reading { lanes: cleared, from, rows: pass.rows }).await;
        merge(&mut lanes, found);
    }
    for (lane, (epoch, outcome)) in lanes {
        // Nobody listens: the worker reads everything anew.
        if report.send(Prepared { lane, epoch, outcome }).await.is_err() {
            return;
        }
    }
}

#[derive(Clone)]
struct Reading {
    lanes: Vec<(LaneId, Epoch)>,
    from: u64,
    rows: Arc<AtomicU64>,
}

/// A table's buyers of a lane, put in place.
struct OfTable {
    home: Home,
    lane: LaneId,
    purchases: Purchases,
    new: Result<Option<u64>, StockError>,
}

type Found = Result<Vec<OfTable>, SqlError>;

async fn read_and_fill<P: Ports>(shared: &Arc<Shared<P>>, reading: Reading) -> Vec<Found> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (shared, reading, next) = (Arc::clone(shared), reading.clone(), Arc::clone(&next));
        readers.spawn(async move {
            let mut found = Vec::new();
            while let Some(home) = shared.orders.map().all().nth(next.fetch_add(1, Relaxed)) {
                found.push(of_table(&shared, &reading, home).await);
            }
            found
        });
    }
    readers.join_all().await.into_iter().flatten().collect()
}

async fn of_table<P: Ports>(shared: &Shared<P>, reading: &Reading, home: Home) -> Found {
    let ids: Vec<LaneId> = reading.lanes.iter().map(|(lane, _)| *lane).collect();
    let mut of_lanes: BTreeMap<LaneId, Purchases> = BTreeMap::new();
    let mut from = reading.from;
    loop {
        let page = shared.orders.purchases(home, &ids, from, PAGE).await?;
        reading.rows.fetch_add(page.len().try_into().unwrap_or(u64::MAX), Relaxed);
        for found in &page {
            of_lanes.entry(found.lane).or_default().push((found.buyer, found.purchase));
        }
        match page.last() {
            Some(last) if page.len() >= PAGE as usize => from = last.purchase.order.get() + 1,
            _ => break,
        }
    }
    let mut found = Vec::with_capacity(of_lanes.len());
    for (&(lane, epoch), mut purchases) in
        reading.lanes.iter().filter_map(|of| Some((of, of_lanes.remove(&of.0)?))).collect::<Vec<_>>()
    {
        forget_oldest_tombstones(&mut purchases);
        let new = shared.stock.fill(lane, epoch, &purchases).await;
        found.push(OfTable { home, lane, purchases, new });
    }
    Ok(found)
}

fn merge(lanes: &mut BTreeMap<LaneId, (Epoch, Outcome)>, found: Vec<Found>) {
    for table in found {
        let tables = match table {
            Ok(tables) => tables,
            Err(error) => {
                let is_of_rows = matches!(error, SqlError::Broken(_) | SqlError::Unfit(_));
                for (_, outcome) in lanes.values_mut().filter(|(_, outcome)| matches!(outcome, Outcome::Filled(_))) {
                    *outcome = match is_of_rows {
                        true => Outcome::Unreadable(error.clone()),
                        false => Outcome::Unclear(error.to_string()),
                    };
                }
                continue;
            }
        };
        for OfTable { home, lane, purchases, new } in tables {
            let Some((_, outcome)) = lanes.get_mut(&lane) else { continue };
            let Outcome::Filled(filled) = outcome else { continue };
            match new {
                Ok(Some(new)) => {
                    filled.buyers += new;
                    filled.by_home.insert(home, purchases);
                }
                Ok(None) => *outcome = Outcome::Refused,
                Err(error) => *outcome = Outcome::Unclear(error.to_string()),
            }
        }
    }
}

/// Puts the purchases of one buyer together, by age. A lane keeps a bounded number of tombstones of
/// a buyer; the newest matter most.
fn forget_oldest_tombstones(purchases: &mut Purchases) {
    purchases.sort_unstable_by_key(|(buyer, purchase)| (*buyer, purchase.order));
    let (mut of, mut kept) = (None, 0);
    // From the newest on.
    purchases.reverse();
    purchases.retain(|(buyer, purchase)| {
        if of.replace(*buyer) != Some(*buyer) {
            kept = 0;
        }
        kept += usize::from(purchase.number.is_none());
        purchase.number.is_some() || kept <= TOMBSTONES_MAX
    });
    purchases.reverse();
}

#[cfg(test)]
mod tests {
    use domain::id::{KeyHash, OfferId, PurchaseNumber};

    use super::*;

    fn bought(buyer: u64, order: u64, number: Option<u8>) -> (BuyerId, Purchase) {
        let purchase = Purchase {
            order: OrderId::new(order).unwrap(),
            offer: OfferId::new(1).unwrap(),
            quantity: 1,
            number: number.map(PurchaseNumber),
            key: KeyHash([0; 16]),
            batch: None,
        };
        (BuyerId::new(buyer).unwrap(), purchase)
    }

    /// R6: of each buyer the newest tombstones are kept, and every live purchase however old; a
    /// buyer's purchases stand together, by age.
    #[test]
    fn r6_the_newest_tombstones_of_each_buyer_are_loaded() {
        let excess = 3;
        let last = 1 + u64::try_from(TOMBSTONES_MAX).unwrap() + excess;
        let mut purchases: Vec<_> = (2..=last).rev().map(|order| bought(2, order, None)).collect();
        purchases.extend([bought(2, 1, Some(1)), bought(3, 901, None), bought(1, 900, Some(1)), bought(1, 800, None)]);
        forget_oldest_tombstones(&mut purchases);
        let mut expected = vec![bought(1, 800, None), bought(1, 900, Some(1)), bought(2, 1, Some(1))];
        expected.extend((2 + excess..=last).map(|order| bought(2, order, None)));
        expected.push(bought(3, 901, None));
        assert_eq!(purchases, expected);
    }

    /// R1: a release that was decided after the rows were read takes the purchase out of its
    /// buyer's entry, whose whole entry is put in place again. One that the rows showed already
    /// changes nothing.
    #[test]
    fn r1_a_release_during_a_load_leaves_a_tombstone() {
        let map = ShardMap::even(1, 1).unwrap();
        let mut filled = Filled::default();
        let home = map.all().next().unwrap();
        let mut held =
            vec![bought(1, 10, Some(1)), bought(2, 11, Some(1)), bought(2, 12, Some(2)), bought(3, 13, None)];
        filled.by_home.insert(home, held.clone());
        let of = |buyer, order| (BuyerId::new(buyer).unwrap(), OrderId::new(order).unwrap());
        let changed = filled.release(&map, &[of(2, 11), of(3, 13), of(4, 14)]);
        assert_eq!(changed, [bought(2, 11, None), bought(2, 12, Some(2))]);
        held[1] = bought(2, 11, None);
        assert_eq!(filled.by_home[&home], held);
        assert_eq!(filled.release(&map, &[of(2, 11)]), []);
    }
}
