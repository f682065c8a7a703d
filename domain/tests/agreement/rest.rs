//! Rest: everything appended, swept, decided and settled, lanes open; and what must hold then.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    id::{BuyerId, OfferId, OrderId, PurchaseNumber},
    invariant::Invariant,
    order::{OrderRow, Reason, Status},
    stock::LaneMode,
};

use crate::{
    world::{PROCESSES, Played, Violation, World, tell},
    writer::Process,
    wrong::Wrong,
};

/// Steps within which the world must come to rest.
const PATIENCE: u64 = 4_000;

impl World {
    /// Lets what was begun end, and checks what must hold at rest. No more faults, but what is
    /// paused goes on too.
    pub fn rest(&mut self) -> Played {
        tell!(self, "-- coming to rest");
        for _ in 0..PATIENCE {
            if self.is_at_rest() {
                return self.check_rest();
            }
            // Claims become due again.
            self.now_ms += 10;
            match self.rng.below(8) {
                0 => self.append_one(),
                1 => self.sweep(),
                2 => self.relay(),
                // Two writers that both go on fence each other for ever: the consumer group keeps
                // one.
                3 if self.rng.once_in(4) => self.processes[1] = None,
                _ => self.advance(0)?,
            }
        }
        Err(Violation(Invariant::Inv4, format!("no rest: {}", self.unrest())))
    }

    fn is_at_rest(&self) -> bool {
        self.unrest().is_empty()
    }

    /// What is still going on.
    fn unrest(&self) -> &'static str {
        // A keeper's look heals what a crash kept from a lane.
        let has_looked = |process: &Process| process.looked_at == Some(self.log.end());
        let is_done = |process: &Process| process.todo.is_empty() && process.loads.is_empty();
        let idle = |process: &Process| is_done(process) && has_looked(process) && process.has_checked(self.losses);
        let writer_idle = self.processes[0].as_ref().is_some_and(idle);
        let others = self.processes[1..PROCESSES].iter().any(Option::is_some);
        let lanes_kept = self.ledger.lanes.iter().all(|(&lane, numbers)| {
            if self.over {
                return numbers.is_retired && self.is_gone(lane);
            }
            let view = self.redis.inspect(lane);
            view.mode == LaneMode::Open { epoch: numbers.epoch } && view.journal_len == 0
        });
        let version = self.published.version;
        let allotments = self.ledger.lanes.values().flat_map(|lane| &lane.offers).all(|(offer, numbers)| {
            let equal = numbers.allotment == self.published.allotments[offer];
            // What is free above the target is asked for, too.
            let settled = numbers.allotment == numbers.target.max(numbers.sold);
            numbers.sale_version >= version && settled || equal && self.is(Wrong::EqualIsNotAsked)
        });
        let limits = self.ledger.lanes.iter().all(|(lane, numbers)| {
            let (held, published) = (self.redis.inspect(*lane).limit_per_buyer, self.published.limits[lane]);
            (held, numbers.limit_per_buyer) == (published, published)
        });
        let distrusted =
            self.processes.iter().flatten().any(|process| process.facts.values().any(|facts| facts.distrusted));
        let checks = [
            (self.buyers.is_idle(), "batches are held"),
            (self.ledger.at.offset == self.log.end(), "records are undecided"),
            (lanes_kept, "a lane is closed or its journal is not empty, or it is over and not retired"),
            (self.tables.0.iter().all(|shard| shard.outbox.is_empty()), "releases are on their way"),
            (writer_idle && !others, "writers are at work"),
            (!distrusted || self.forged, "a lane is distrusted"),
            (allotments || self.over, "allotments are to change"),
            (limits || self.over, "limits are to change"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or("", |(_, what)| what)
    }

    fn check_rest(&mut self) -> Played {
        tell!(self, "-- at rest");
        self.check_promises()?;
        self.check_purchases()?;
        self.check_units()?;
        self.check_entries()
    }

    /// INV-3: each promise became one row, or was lost by Redis; an accepted one by the log and
    /// Redis together.
    fn check_promises(&self) -> Played {
        for (order, promise) in &self.buyers.promises {
            let purged = self.is(Wrong::ReleasedRowsPurged);
            let row = self.tables.row(*order);
            let is_due = promise.accepted && !self.fallen.contains(&promise.batch) || !promise.lost;
            if row.is_none() && !purged && is_due {
                let what = format!("order {order} has no row; accepted {}, lost {}", promise.accepted, promise.lost);
                return Err(Violation(Invariant::Inv3, what));
            }
        }
        Ok(())
    }

    /// INV-5: of all orders for one purchase at most one was ever accepted.
    fn check_purchases(&self) -> Played {
        for (wish, orders) in &self.buyers.purchases {
            let accepted =
                |order: &&OrderId| self.tables.row(**order).is_some_and(|row| row.status != Status::Rejected);
            let accepted: Vec<_> = orders.iter().filter(accepted).collect();
            if accepted.len() > 1 {
                return Err(Violation(Invariant::Inv5, format!("{wish:?} was accepted as {accepted:?}")));
            }
        }
        Ok(())
    }

    /// INV-4: allotment - units left = sold = live units; and whatever is cancelled has given back.
    fn check_units(&self) -> Played {
        let mut live: BTreeMap<OfferId, u64> = BTreeMap::new();
        if let Some(row) = self.tables.rows().find(|row| row.released.is_some() && !row.status.gives_back()) {
            let what = format!("R8: order {} gave back and is {}", row.order, row.status.as_str());
            return Err(Violation(Invariant::Inv3, what));
        }
        for row in self.tables.rows().filter(|row| row.is_live()) {
            if row.status == Status::Cancelled {
                let what = format!("order {} is cancelled and never gave back", row.order);
                return Err(Violation(Invariant::Inv4, what));
            }
            *live.entry(row.offer).or_default() += u64::from(row.quantity);
        }
        for (&lane, numbers) in &self.ledger.lanes {
            if self.over {
                self.check_retired(lane)?;
            }
            for (offer, left, known) in self.redis.inspect(lane).offers {
                let (numbers, live) = (numbers.offers[&offer], live.get(&offer).copied().unwrap_or(0));
                let promised = left + live;
                // A unit too many is still there, or was promised in vain and given back to nobody.
                let in_vain = |row: &OrderRow| row.offer == offer && row.reason == Some(Reason::Stock);
                let surplus = u64::from(self.forged && !self.tables.rows().any(in_vain));
                let holds = promised == numbers.allotment + surplus;
                let target = self.published.allotments[&offer];
                if (numbers.target, numbers.allotment) != (target, target.max(live)) && !self.is(Wrong::EqualIsNotAsked)
                {
                    let what = format!("R9: offer {offer}: live {live}, published {target}, ledger {numbers:?}");
                    return Err(Violation(Invariant::Inv4, what));
                }
                if !holds || numbers.sold != live || known != numbers.allotment {
                    let what = format!("offer {offer}: left {left}, live {live}, known {known}, ledger {numbers:?}");
                    return Err(Violation(Invariant::Inv4, what));
                }
            }
        }
        Ok(())
    }

    /// INV-4: buyers' live entries = live rows.
    fn check_entries(&self) -> Played {
        type Entry = (BuyerId, OrderId, OfferId, u32, Option<PurchaseNumber>);
        for &lane in self.ledger.lanes.keys().filter(|_| !self.over) {
            let buyers = self.redis.machine(lane).map(|machine| machine.buyers()).unwrap_or_default();
            let entries = buyers.iter().flat_map(|(buyer, purchases)| {
                let live = purchases.iter().filter(|purchase| purchase.number.is_some());
                live.map(|p| (*buyer, p.order, p.offer, p.quantity, p.number))
            });
            let entries: BTreeSet<Entry> = entries.collect();
            let rows = self.tables.rows().filter(|row| row.lane == lane && row.is_live());
            let rows: BTreeSet<Entry> =
                rows.map(|row| (row.buyer, row.order, row.offer, row.quantity, row.number)).collect();
            if entries != rows {
                return Err(Violation(
                    Invariant::Inv4,
                    format!("lane {lane}: entries {entries:?}, live rows {rows:?}"),
                ));
            }
        }
        Ok(())
    }
}
