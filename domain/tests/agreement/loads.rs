//! What a lane starts from: units by the ledger, buyers by the rows, read while its writer decides
//! on.

use std::collections::BTreeMap;

use domain::{
    decide::{Decided, LaneLedger, Lanes, OfferLedger},
    id::{BuyerId, Epoch, LaneId, OrderId},
    invariant::Invariant,
    order::Status,
    stock::{Gone, GoneWhy, LaneLoad, LoadAnswer, OfferLoad, Purchase},
};

use crate::{
    stores::SHARDS,
    world::{Played, Violation, World, tell},
    writer::Process,
    wrong::Wrong,
};

/// A lane between the commit of its epoch and its opening: its rows are read shard by shard while
/// the writer decides on.
#[derive(Debug)]
pub struct Loading {
    pub epoch: Epoch,
    pub shards_read: usize,
    pub purchases: BTreeMap<(BuyerId, OrderId), Purchase>,
    /// Releases that were committed meanwhile.
    pub released: Vec<(BuyerId, OrderId)>,
}

/// R5: a lane's first opening says from where on its rows are looked for; an order below lowers it.
pub fn bound_rows(world: &World, lanes: &Lanes, decided: &mut Decided) {
    if world.is(Wrong::FirstOrderNotLowered) {
        decided.first_orders.clear();
    }
    for &(lane, _) in &decided.epochs {
        if lanes[&lane].was_never_open() {
            decided.first_orders.insert(lane, LaneLedger::first_order_at(world.clock_ms()).unwrap());
        }
    }
}

impl Process {
    /// After the commit of these.
    pub fn note_released(&mut self, world: &mut World, gone: &[(LaneId, Gone)]) {
        for (lane, gone) in gone {
            if let (GoneWhy::Released { .. }, Some(loading)) = (gone.why, self.loads.get_mut(lane)) {
                world.event("released during a load");
                loading.released.push((gone.buyer, gone.order));
            }
        }
    }

    /// R4: an epoch that the log held when this writer started loads nothing.
    pub fn begin_loads(&mut self, epochs: &[(LaneId, Epoch)], replayed: bool) {
        for &(lane, epoch) in epochs {
            if replayed {
                self.facts.entry(lane).or_default().is_due();
            } else {
                let (purchases, released) = (BTreeMap::new(), Vec::new());
                self.loads.insert(lane, Loading { epoch, shards_read: 0, purchases, released });
            }
        }
    }

    /// One more step of a load: a shard's rows, at any moment, or the opening, between two spans.
    pub fn go_on_loading(&mut self, world: &mut World) -> Played {
        let lanes: Vec<LaneId> = self.loads.keys().copied().collect();
        let lane = world.rng.pick(&lanes);
        let Some(mut loading) = self.loads.remove(&lane) else { return Ok(()) };
        if loading.shards_read < SHARDS {
            self.read_rows(world, lane, loading.shards_read, &mut loading.purchases);
            loading.shards_read += 1;
        } else if self.todo.is_empty() {
            let released = loading.released.iter().filter(|_| !world.is(Wrong::ReleasesDuringLoadForgotten));
            for purchase in released {
                loading.purchases.entry(*purchase).and_modify(|purchase| purchase.number = None);
            }
            let load = self.lane_load(world, lane, loading.purchases);
            return self.load(world, lane, loading.epoch, &load);
        }
        self.loads.insert(lane, loading);
        Ok(())
    }

    /// Buyers by the rows of one shard (R5, R6).
    pub fn read_rows(
        &self,
        world: &World,
        lane: LaneId,
        shard: usize,
        found: &mut BTreeMap<(BuyerId, OrderId), Purchase>,
    ) {
        let from = match world.wrong {
            Some(Wrong::RowsFromTheFirstPublishedOpening) => {
                OrderId::floor_at(world.first_opens_ms.saturating_sub(3_600_000))
            }
            _ => self.lanes[&lane].rows_from(),
        };
        let rows = world.tables.0[shard].rows.values().filter(|row| row.order.get() >= from);
        let empty = world.is(Wrong::ReopenedWithoutRows) && world.reopened.contains(&lane);
        for row in rows.filter(|row| row.lane == lane && row.status != Status::Rejected && !empty) {
            let forgotten = world.is(Wrong::CancelledIsNotLive) && row.status == Status::Cancelled;
            let tombstone = !row.is_live() && world.is(Wrong::NoTombstones);
            if !forgotten && !tombstone {
                let (order, offer, quantity, number, key) = (row.order, row.offer, row.quantity, row.number, row.key);
                found.insert((row.buyer, order), Purchase { order, offer, quantity, number, key, batch: None });
            }
        }
    }

    /// Units by the ledger at this moment.
    pub fn lane_load(&self, world: &World, lane: LaneId, found: BTreeMap<(BuyerId, OrderId), Purchase>) -> LaneLoad {
        let numbers = &self.lanes[&lane];
        let offers = numbers.offers.iter().map(|(&offer, numbers)| OfferLoad {
            offer,
            // A fault of its own: Redis is told one unit too many.
            left: numbers.allotment.saturating_sub(numbers.sold) + u64::from(world.forged),
            allotment: numbers.allotment,
            changed_at: numbers.changed_at,
        });
        LaneLoad {
            limit_per_buyer: numbers.limit_per_buyer,
            offers: offers.collect(),
            purchases: found.into_iter().map(|((buyer, _), purchase)| (buyer, purchase)).collect(),
        }
    }

    /// R4: by the winner of the epoch's commit, once.
    fn load(&mut self, world: &mut World, lane: LaneId, epoch: Epoch, load: &LaneLoad) -> Played {
        let (machine, run) = world.redis.lane(lane);
        let answer = machine.load(run, epoch, load);
        tell!(world, "writer {} loads lane {lane} under {epoch}: {answer:?} {load:?}", self.number);
        let facts = self.facts.entry(lane).or_default();
        match answer {
            LoadAnswer::Loaded => facts.opened(),
            LoadAnswer::Refused => world.event("load refused"),
        }
        for offer in load.offers.iter().filter(|_| answer == LoadAnswer::Loaded && !world.forged) {
            let OfferLedger { target, sold, .. } = self.lanes[&lane].offers[&offer.offer];
            if offer.left > target.saturating_sub(sold) {
                let what = format!("R9: loaded with {offer:?}, {sold} sold, target {target}");
                return Err(Violation(Invariant::Inv4, what));
            }
        }
        Ok(())
    }
}
