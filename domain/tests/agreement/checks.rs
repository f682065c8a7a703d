//! What must hold after every settlement and every write of rows.

use std::collections::BTreeMap;

use domain::{
    decide::{Decided, OfferLedger, Placed},
    id::{BuyerId, LaneId, OfferId, OrderId, Position},
    invariant::Invariant,
    order::{Decision, OrderRow, Status},
    record::Record,
    stock::{Gone, GoneWhy, LaneMachine},
};

use crate::world::{Played, Violation, World};

impl World {
    fn offer_of(&self, order: OrderId) -> Option<OfferId> {
        self.tables.row(order).map(|row| row.offer)
    }

    /// R9: while an allotment is above its target, units that come back lower it; only what is
    /// beyond the target is sold again.
    pub fn check_given_back(&self, lane: LaneId, before: &LaneMachine, gone: &[Gone]) -> Played {
        let Some(after) = self.redis.machine(lane) else { return Ok(()) };
        let left = |machine: &LaneMachine, offer| {
            machine.state().and_then(|state| state.offers.get(&offer)).map_or(0, |stock| stock.left)
        };
        let live = |machine: &LaneMachine| {
            let entries = machine.buyers().into_iter().flat_map(|(_, purchases)| purchases);
            entries.filter(|purchase| purchase.number.is_some()).map(|p| (p.order, p)).collect::<BTreeMap<_, _>>()
        };
        let (held, kept) = (live(before), live(after));
        for (&offer, numbers) in &self.ledger.lanes[&lane].offers {
            let (mut released, mut rejected) = (0, 0);
            for purchase in held.values().filter(|p| p.offer == offer && !kept.contains_key(&p.order)) {
                let why = gone.iter().find(|gone| gone.order == purchase.order).map(|gone| gone.why);
                let units = if matches!(why, Some(GoneWhy::Released { .. })) { &mut released } else { &mut rejected };
                *units += u64::from(purchase.quantity);
            }
            // What a settlement before a crash retired, the ledger has not committed yet.
            let settled = gone.iter().filter(|gone| !held.contains_key(&gone.order)).map(|gone| match gone.why {
                GoneWhy::Released { retired } if self.offer_of(gone.order) == Some(offer) => u64::from(retired),
                _ => 0,
            });
            let excess = numbers.allotment.saturating_sub(self.targets[&offer]).saturating_sub(settled.sum());
            let (was, is) = (left(before, offer), left(after, offer));
            if is > was + rejected + u64::saturating_sub(released, excess) {
                let what =
                    format!("R9: offer {offer}: {was} -> {is} on sale by {released} released, {excess} to retire");
                return Err(Violation(Invariant::Inv4, what));
            }
        }
        Ok(())
    }

    /// After every write of rows.
    pub fn check_rows(&self, new: &[OrderRow]) -> Played {
        for row in new.iter().filter(|row| row.status == Status::Rejected) {
            let lost = self.buyers.promises.get(&row.order).is_some_and(|promise| promise.lost);
            if !lost && !self.forged {
                let what = format!("order {} is rejected ({:?}) although Redis did not lose it", row.order, row.reason);
                return Err(Violation(Invariant::Inv3, what));
            }
        }
        self.check_denied(new)?;
        if !self.is_whole() {
            return Ok(());
        }
        let mut units: BTreeMap<OfferId, u64> = BTreeMap::new();
        let mut held: BTreeMap<(LaneId, BuyerId), u32> = BTreeMap::new();
        for row in self.tables.rows().filter(|row| row.is_live()) {
            *units.entry(row.offer).or_default() += u64::from(row.quantity);
            *held.entry((row.lane, row.buyer)).or_default() += row.quantity;
        }
        for (lane, numbers) in &self.ledger.lanes {
            for (offer, OfferLedger { allotment, .. }) in &numbers.offers {
                let live = units.get(offer).copied().unwrap_or(0);
                // A restored ledger knows the allotments of its own moment.
                if live > *allotment && !self.is_behind() {
                    let what = format!("offer {offer}: {live} live units of {allotment}");
                    return Err(Violation(Invariant::Inv1, what));
                }
            }
            for ((_, buyer), units) in held.iter().filter(|((of, _), _)| of == lane) {
                // Whoever held more when the limit fell keeps it.
                let most = self.limits_most[lane].max(numbers.limit_per_buyer);
                if *units > most {
                    let what = format!("buyer {buyer} holds {units} units of {most}");
                    return Err(Violation(Invariant::Inv2, what));
                }
            }
        }
        Ok(())
    }
}

/// What a span came to, for the events that a run must have seen.
pub fn count(world: &mut World, records: &[Placed], decided: &Decided, read: bool) {
    if !read {
        world.event("fast path");
    }
    for (placed, movement) in records.iter().zip(&decided.movements) {
        let written = |index: usize| {
            let at = Position { index: index as u8, offset: placed.offset, generation: placed.generation };
            decided.rows.iter().any(|row| row.position == at)
        };
        for (index, &byte) in movement.decisions.iter().enumerate() {
            let event = match (&placed.record, Decision::unpack(byte)) {
                (Record::Released(_), Some(Decision::Accepted)) => "released",
                (Record::Released(_), _) => "release repeated",
                (_, Some(Decision::Duplicate)) => "duplicate",
                (_, Some(Decision::Rejected(_))) => "superseded",
                (_, _) if written(index) => "accepted",
                _ => "replay",
            };
            world.event(event);
        }
    }
}
