//! A sale ends, its lanes are retired, and it may be prolonged (R14). Who asks again for an earlier
//! purchase is answered by the lane while it is open, else by the rows.

use std::collections::BTreeMap;

use domain::{
    id::{Epoch, LaneId},
    invariant::Invariant,
    order::{OrderRow, Status},
    stock::{CloseAnswer, LaneAnswer, LaneMode},
};

use crate::{
    buyers::Wish,
    keeper::Next,
    world::{Played, Violation, World, tell},
    writer::{Flow, Process, Todo},
    wrong::Wrong,
};

impl World {
    /// The sale's window is moved, or time passes its end.
    pub fn end_or_prolong(&mut self) {
        self.over = !self.over;
        tell!(self, "the sale is over: {}", self.over);
    }

    /// A repeat of some purchase after the end, by an engine whose clock is right.
    pub fn repeat_one(&mut self) -> Played {
        let asked: Vec<Wish> = self.buyers.purchases.keys().copied().collect();
        if asked.is_empty() {
            return Ok(());
        }
        let wish = self.rng.pick(&asked);
        let lane = self.buyers.promises[&self.buyers.purchases[&wish][0]].lane;
        self.repeat(lane, wish)
    }

    /// What the lane says of an earlier purchase; of a lane that is not open, what the rows say.
    /// That the lane is retired is known before the rows are read: then no row means that there is
    /// no order.
    pub fn repeat(&mut self, lane: LaneId, wish: Wish) -> Played {
        self.event("asked for after the end");
        let is_retired = self.ledger.lanes[&lane].is_retired || self.is(Wrong::RowsOfAClosedLaneSayNone);
        let (machine, run) = self.redis.lane(lane);
        if let LaneAnswer::Open(found) = machine.find(run, wish.buyer) {
            let found = found.iter().find(|(purchase, _)| (purchase.key, purchase.offer) == (wish.key, wish.offer));
            return found.map_or(Ok(()), |(purchase, _)| self.same_order(wish, purchase.order));
        }
        // A shard that lost its tail says nothing of what it lost, until that is written again.
        if !self.is_whole() {
            return Ok(());
        }
        let is_of = |row: &&OrderRow| (row.buyer, row.offer, row.key) == (wish.buyer, wish.offer, wish.key);
        let newest = self.tables.rows().filter(is_of).max_by_key(|row| row.order).map(|row| (row.order, row.status));
        tell!(self, "{wish:?} is asked for after the end: by the rows {newest:?}, retired {is_retired}");
        match newest {
            Some((order, status)) if status != Status::Rejected => self.same_order(wish, order),
            _ if is_retired => {
                self.event("none by the rows");
                self.buyers.deny(wish);
                Ok(())
            }
            // Its record may be under way.
            _ => Ok(()),
        }
    }

    /// R13: whoever was told that there is no order gets none for what was promised before.
    pub fn check_denied(&self, new: &[OrderRow]) -> Played {
        let denied = new.iter().find(|row| row.status != Status::Rejected && self.buyers.denied.contains(&row.order));
        denied.map_or(Ok(()), |row| {
            let what = format!("R14: order {} is accepted after its buyer was told that there is none", row.order);
            Err(Violation(Invariant::Inv5, what))
        })
    }

    /// INV-4 of a retired lane: nothing of it is left but ledger and rows, which agree.
    pub fn check_retired(&self, lane: LaneId) -> Played {
        let mut live: BTreeMap<_, u64> = BTreeMap::new();
        for row in self.tables.rows().filter(|row| row.is_live()) {
            *live.entry(row.offer).or_default() += u64::from(row.quantity);
        }
        for (offer, numbers) in &self.ledger.lanes[&lane].offers {
            if numbers.sold != live.get(offer).copied().unwrap_or(0) {
                let what = format!("R14: offer {offer} of a retired lane: live {live:?}, ledger {numbers:?}");
                return Err(Violation(Invariant::Inv4, what));
            }
        }
        Ok(())
    }

    /// Whether Redis holds nothing of a lane.
    pub fn is_gone(&self, lane: LaneId) -> bool {
        let view = self.redis.inspect(lane);
        (view.mode, view.buyers_len, view.journal_len) == (LaneMode::Missing, 0, 0)
    }
}

impl Process {
    /// A look at a lane whose sale is over: it is retired, and what is left of a retired one goes.
    pub fn look_at_ended(&mut self, world: &mut World, lane: LaneId) {
        let impatient = world.rng.once_in(8);
        if self.at.offset < self.resumed_end {
            return;
        }
        let (numbers, facts) = (&self.lanes[&lane], self.facts.entry(lane).or_default());
        if numbers.is_retired {
            facts.distrusted = false;
            if !world.is_gone(lane) {
                self.todo.push_back(Todo::Close(lane, Next::Delete));
            }
            return;
        }
        let is_asked = facts.rebuilding.is_some_and(|asked| numbers.epoch < asked) && !impatient;
        let is_open = world.redis.inspect(lane).mode == LaneMode::Open { epoch: numbers.epoch };
        // The settling time of one that is open passes between two looks, or does not yet.
        if !is_asked && (!is_open || world.ending || world.rng.once_in(3)) {
            self.todo.push_back(Todo::Close(lane, Next::Retire));
        }
    }

    /// R14, after the commit: the keys of a lane that is still closed for it.
    pub fn delete(&mut self, world: &mut World, lane: LaneId, epoch: Epoch) -> Flow {
        let blind = world.is(Wrong::KeysDeletedWhateverTheMarker);
        let (machine, run) = world.redis.lane(lane);
        let gone = if blind { Some(std::mem::take(machine)) } else { machine.retire(run, epoch) };
        world.event(if gone.is_some() { "keys deleted" } else { "deletion refused" });
        tell!(world, "writer {} deletes lane {lane} under {epoch}: {gone:?}", self.number);
        Flow::On
    }

    /// What a refused close tells of another keeper.
    pub fn note_refusal(&mut self, lane: LaneId, answer: CloseAnswer) {
        let facts = self.facts.entry(lane).or_default();
        match answer {
            CloseAnswer::Closed => {}
            CloseAnswer::RefusedMarker { marker } => facts.marker_seen = marker,
            CloseAnswer::RefusedOpen { epoch } => {
                facts.marker_seen = epoch.next();
                for todo in [Todo::StopIfStale, Todo::ReadLanes] {
                    self.todo.push_front(todo);
                }
            }
        }
    }
}
