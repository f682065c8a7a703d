//! The keeper's part of a writer: look at the lanes, rebuild those that are not open, ask for
//! changes of allotment, load.

use std::collections::BTreeMap;

use domain::{
    id::{BatchId, Epoch, LaneId, OfferId},
    record::{AllotmentChange, LimitChange, Record},
    stock::{CloseAnswer, LaneAnswer, LaneLoad, LaneMachine, LaneMode, LaneView, OfferLoad},
};

use crate::{
    stores::SHARDS,
    world::{Played, World, tell},
    writer::{Flow, Process, Todo},
    wrong::Wrong,
};

/// What a keeper knows of a lane beside its numbers.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub distrusted: bool,
    strikes: u32,
    pub marker_seen: Epoch,
    pub rebuilding: Option<Epoch>,
    /// The version that was asked for, and the change it was to follow.
    asked: BTreeMap<OfferId, (u32, i64)>,
    pub told: BTreeMap<OfferId, (Epoch, i64)>,
    pub limit_asked: Option<LimitChange>,
}

/// What a lane is closed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To be opened under the next epoch.
    Open,
    /// To be retired under the next epoch.
    Retire,
    /// It is retired: what came back of it goes.
    Delete,
}

impl Facts {
    pub fn opened(&mut self) {
        (self.strikes, self.rebuilding, self.distrusted) = (0, None, false);
    }

    /// The next look that finds the lane closed rebuilds it.
    pub fn is_due(&mut self) {
        self.strikes = 2;
    }
}

impl Process {
    pub fn keep(&mut self, world: &mut World, todo: Todo) -> Played<Flow> {
        match todo {
            Todo::DistrustClosed => self.distrust_closed(world),
            Todo::Look(lane) => self.look(world, lane),
            Todo::Close(lane, next) => self.close(world, lane, next),
            Todo::Drain(lane, epoch, next) => self.drain(world, lane, epoch, next),
            Todo::AppendBatch(batch, payload) => {
                self.drained.push((world.log.end(), batch));
                world.log.append_batch(batch, payload);
            }
            Todo::Drained(lane, epoch, Next::Delete) => return Ok(self.delete(world, lane, epoch)),
            Todo::Drained(lane, epoch, next) => return Ok(self.append_epoch(world, lane, epoch, next)),
            Todo::AppendChange(change) => {
                let record = world.mint();
                world.log.append(record, &Record::AllotmentChanged(change));
                tell!(world, "writer {} appends {change:?}", self.number);
            }
            Todo::Adjust(lane, offer) => self.adjust(world, lane, offer),
            Todo::Fence(lane) => self.fence(world, lane),
            Todo::DrainForLimit(change) => self.drain_for_limit(world, change),
            Todo::AppendLimit(change) => return Ok(self.append_limit(world, change)),
            Todo::TellLimit(lane) => _ = self.tell_limit(world, lane, u32::MAX),
            _ => {}
        }
        Ok(Flow::On)
    }

    fn distrust_closed(&mut self, world: &mut World) {
        for (&lane, numbers) in &self.lanes {
            self.facts.entry(lane).or_default();
            let open = world.redis.inspect(lane).mode == (LaneMode::Open { epoch: numbers.epoch });
            if open && !self.facts[&lane].distrusted || world.over && numbers.is_retired {
                continue;
            }
            if world.is(Wrong::BootSetsStock) && numbers.epoch > Epoch(0) {
                let mut found = BTreeMap::new();
                (0..SHARDS).for_each(|shard| self.read_rows(world, lane, shard, &mut found));
                let load = self.lane_load(world, lane, found);
                let (machine, run) = world.redis.lane(lane);
                let _closed = machine.close(run, numbers.epoch);
                let _loaded = machine.load(run, numbers.epoch, &load);
            } else if world.is(Wrong::ReplayedEpochLoads) {
                self.todo.push_front(Todo::Close(lane, Next::Open));
            } else {
                // Before it decides anything: so in front of all else.
                self.todo.push_front(Todo::Fence(lane));
            }
        }
    }

    /// R4: what another writer began to load does not open any more. The rebuild comes when it has
    /// caught up.
    fn fence(&mut self, world: &mut World, lane: LaneId) {
        self.facts.entry(lane).or_default().is_due();
        let epoch = self.close_under_next(world, lane, Next::Open);
        tell!(world, "writer {} fences lane {lane}: {epoch:?}", self.number);
    }

    fn look(&mut self, world: &mut World, lane: LaneId) {
        if world.over {
            return self.look_at_ended(world, lane);
        }
        let view = world.redis.inspect(lane);
        let epoch = self.lanes[&lane].epoch;
        let impatient = world.rng.once_in(8);
        let behind = self.at.offset < self.resumed_end && !world.is(Wrong::ReplayedEpochLoads);
        let facts = self.facts.entry(lane).or_default();
        if behind || self.loads.get(&lane).is_some_and(|loading| loading.epoch == epoch) {
            return;
        }
        if let Some(asked) = facts.rebuilding {
            if epoch < asked && !impatient {
                return;
            }
            facts.rebuilding = None;
        }
        if view.mode == (LaneMode::Open { epoch }) && !facts.distrusted {
            facts.strikes = 0;
            self.keep_allotments(world, lane, epoch, &view);
            return self.keep_limit(world, lane, epoch, view.limit_per_buyer);
        }
        facts.strikes += 1;
        if (facts.distrusted || facts.strikes >= 2 || epoch == Epoch(0)) && !world.forged || epoch == Epoch(0) {
            self.todo.push_back(Todo::Close(lane, Next::Open));
        }
    }

    /// R3, step 1.
    fn close(&mut self, world: &mut World, lane: LaneId, next: Next) {
        self.facts.entry(lane).or_default().strikes = 0;
        let undrained = world.is(if next == Next::Open { Wrong::NoDrain } else { Wrong::RetiredUndrained });
        if let Some(epoch) = self.close_under_next(world, lane, next) {
            let drained = if undrained { Todo::Drained } else { Todo::Drain };
            self.todo.push_front(drained(lane, epoch, next));
        }
    }

    /// `None` when it was refused.
    fn close_under_next(&mut self, world: &mut World, lane: LaneId, next: Next) -> Option<Epoch> {
        let last = self.lanes[&lane].epoch;
        let marker_seen = self.facts.entry(lane).or_default().marker_seen;
        let epoch = if next == Next::Delete { last } else { last.next() }.max(marker_seen);
        let (machine, run) = world.redis.lane(lane);
        let answer = machine.close(run, epoch);
        tell!(world, "writer {} closes lane {lane} under {epoch} for {next:?}: {answer:?}", self.number);
        match answer {
            CloseAnswer::Closed => return Some(epoch),
            refused => self.note_refusal(lane, refused),
        }
        None
    }

    /// R3, step 2: from here on the journal cannot grow.
    fn drain(&mut self, world: &mut World, lane: LaneId, epoch: Epoch, next: Next) {
        let journal = world.redis.machine(lane).map(LaneMachine::journal).unwrap_or_default();
        tell!(world, "writer {} drains {} batches of lane {lane}", self.number, journal.len());
        self.todo.push_front(Todo::Drained(lane, epoch, next));
        self.drained.clear();
        for (batch, payload) in journal.into_iter().rev() {
            self.todo.push_front(Todo::AppendBatch(batch, payload));
        }
    }

    /// R3, step 3, and R14: the record that begins the lane's next epoch. One that stands in
    /// another log than the batches drained for it is set aside, and never decided.
    fn append_epoch(&mut self, world: &mut World, lane: LaneId, epoch: Epoch, next: Next) -> Flow {
        let id = world.mint();
        tell!(world, "writer {} appends {next:?} of lane {lane} under {epoch} at {}", self.number, world.log.end());
        let retired = Record::LaneRetired { lane, epoch };
        let record = if next == Next::Retire { retired } else { Record::EpochOpened { lane, epoch } };
        world.log.append(id, &record);
        world.event("rebuilt");
        self.facts.entry(lane).or_default().rebuilding = Some(epoch);
        if self.has_lost_drained(world) {
            world.skips.insert(id);
            return Flow::Lost;
        }
        Flow::On
    }

    /// Whether the log is another one than that into which a journal was drained.
    pub fn has_lost_drained(&self, world: &World) -> bool {
        let lacks = |&(at, batch): &(u64, BatchId)| at < self.at.offset || !world.log.has_batch(at, batch);
        self.drained.iter().any(lacks)
    }

    /// R9: sends the lane what a crash kept from it, and asks for what a newer version of the sale
    /// wants.
    fn keep_allotments(&mut self, world: &mut World, lane: LaneId, epoch: Epoch, view: &LaneView) {
        for &(offer, ..) in &view.offers {
            let numbers = self.lanes[&lane].offers[&offer];
            let told = self.facts.entry(lane).or_default().told.get(&offer);
            if told != Some(&(epoch, numbers.changed_at)) && numbers.changed_at > 0 {
                self.adjust(world, lane, offer);
            }
        }
        let version = world.published.version;
        for (offer, numbers) in self.lanes[&lane].offers.clone() {
            let target = world.published.allotments[&offer];
            let unsold = numbers.excess() > 0 && numbers.allotment > numbers.sold;
            let free = unsold && !world.is(Wrong::FreeUnitsAreNotAsked);
            // A version that wants what is there is asked for too: it gives back what an unasked
            // reduction withheld.
            let newer = numbers.sale_version < version;
            let equal = numbers.allotment == target && world.is(Wrong::EqualIsNotAsked);
            if !(newer || free || numbers.target != target) || equal {
                continue;
            }
            let impatient = world.rng.once_in(8);
            let (asked, after) = (&mut self.facts.entry(lane).or_default().asked, numbers.changed_at);
            if asked.get(&offer) == Some(&(version, after)) && !impatient {
                continue;
            }
            asked.insert(offer, (version, after));
            let delta = target.cast_signed() - numbers.allotment.cast_signed();
            let (target, sale_version) = (Some(target), version);
            self.ask_for(world, AllotmentChange { lane, offer, sale_version, delta, target, epoch, after });
        }
    }

    fn ask_for(&mut self, world: &mut World, wanted: AllotmentChange) {
        let AllotmentChange { lane, offer, sale_version, delta, epoch, after, .. } = wanted;
        if world.is(Wrong::ReductionNotWithheld) || delta >= 0 {
            return self.todo.push_back(Todo::AppendChange(wanted));
        }
        let overlap = world.is(Wrong::ChangesOverlap);
        let (machine, run) = world.redis.lane(lane);
        let known = machine.state().and_then(|state| state.offers.get(&offer)).map_or(0, |stock| stock.changed_at);
        let after = if overlap { known } else { after };
        let answer = machine.withhold(run, epoch, offer, after, delta.unsigned_abs());
        tell!(
            world,
            "writer {} withholds {delta} of offer {offer} for version {sale_version}: {answer:?}",
            self.number
        );
        let numbers = self.lanes[&lane].offers[&offer];
        let again = (numbers.sale_version, Some(numbers.target)) == (sale_version, wanted.target);
        // Asked again, of what is promised and not decided nothing is taken.
        if let LaneAnswer::Open(units) = answer
            && !(again && units == 0)
        {
            self.todo.push_back(Todo::AppendChange(AllotmentChange { delta: -units.cast_signed(), ..wanted }));
        }
    }

    fn adjust(&mut self, world: &mut World, lane: LaneId, offer: OfferId) {
        let last = self.last_change(lane, offer);
        self.facts.entry(lane).or_default().told.insert(offer, last);
        let (epoch, numbers) = (self.lanes[&lane].epoch, self.lanes[&lane].offers[&offer]);
        let (machine, run) = world.redis.lane(lane);
        let answer = machine.adjust(run, epoch, offer, numbers.allotment, numbers.changed_at);
        tell!(world, "writer {} adjusts offer {offer} to {}: {answer:?}", self.number, numbers.allotment);
    }

    /// The last change of an offer, as a lane is told of it once in an epoch.
    pub fn last_change(&self, lane: LaneId, offer: OfferId) -> (Epoch, i64) {
        (self.lanes[&lane].epoch, self.lanes[&lane].offers[&offer].changed_at)
    }
}

impl World {
    /// The wrong answer to a lane whose keys are gone.
    pub fn open_as_full(&mut self) {
        for (lane, numbers) in self.ledger.lanes.clone() {
            let offers = numbers.offers.iter().map(|(&offer, numbers)| OfferLoad {
                offer,
                left: numbers.allotment,
                allotment: numbers.allotment,
                changed_at: numbers.changed_at,
            });
            let load =
                LaneLoad { limit_per_buyer: numbers.limit_per_buyer, offers: offers.collect(), purchases: Vec::new() };
            let (machine, run) = self.redis.lane(lane);
            let _closed = machine.close(run, numbers.epoch);
            let _loaded = machine.load(run, numbers.epoch, &load);
        }
    }
}
