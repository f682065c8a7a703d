//! R16: limits per buyer that change while lanes sell.

use domain::{
    decide::{LimitMove, Placed},
    id::{Epoch, LaneId},
    record::{LimitChange, Record},
    stock::{LaneAnswer, LaneMachine},
};

use crate::{
    world::{Mixture, World, tell},
    writer::{Flow, Process, Todo},
    wrong::Wrong,
};

impl Mixture {
    /// A merchant who changes limits too.
    pub fn with_limits(mut self, wanted: bool) -> Self {
        if wanted {
            (self.limits, self.publish) = (true, self.publish.max(4));
        }
        self
    }
}

impl World {
    pub fn publish_limits(&mut self) {
        if self.mixture.limits {
            for limit in self.published.limits.values_mut() {
                *limit = u32::try_from(self.rng.range(1, 3)).unwrap();
            }
            tell!(self, "limits {:?}", self.published.limits);
        }
    }

    /// What a commit changed, and what its winner has to do.
    pub fn note_limits(&mut self, limits: &[LimitMove]) -> Vec<Todo> {
        for change in limits {
            let most = self.limits_most.entry(change.lane).or_default();
            let raised = change.limit > *most;
            *most = change.limit.max(*most);
            self.event(if raised { "limit raised" } else { "limit lowered" });
        }
        limits.iter().map(|change| Todo::TellLimit(change.lane)).collect()
    }
}

impl Process {
    /// `held`: what the lane holds to.
    pub fn keep_limit(&mut self, world: &mut World, lane: LaneId, epoch: Epoch, held: u32) {
        let (limit, after) = (self.lanes[&lane].limit_per_buyer, self.lanes[&lane].limit_changed_at);
        let wanted = world.published.limits[&lane];
        if wanted == limit && (held == limit || world.is(Wrong::LimitNotGivenBack)) {
            return;
        }
        let change = LimitChange { lane, limit: wanted, epoch, after };
        let asked = self.facts.entry(lane).or_default().limit_asked;
        if asked == Some(change) && !world.rng.once_in(8) {
            return;
        }
        let most = if world.is(Wrong::LowerLimitDecidedFirst) { limit } else { wanted.min(limit) };
        let Some(held) = self.tell_limit(world, lane, most) else { return };
        if (held, wanted) == (limit, limit) {
            return;
        }
        if wanted > limit && world.is(Wrong::HigherLimitToldFirst) {
            let (machine, run) = world.redis.lane(lane);
            let _told = machine.limit(run, epoch, wanted, after + 1, wanted);
        }
        self.facts.entry(lane).or_default().limit_asked = Some(change);
        let is_drained = wanted < limit && !world.is(Wrong::LowerLimitNotDrained);
        self.todo.push_back(if is_drained { Todo::DrainForLimit(change) } else { Todo::AppendLimit(change) });
    }

    /// Answers what the lane holds to then.
    pub fn tell_limit(&self, world: &mut World, lane: LaneId, most: u32) -> Option<u32> {
        let numbers = &self.lanes[&lane];
        let (machine, run) = world.redis.lane(lane);
        let answer = machine.limit(run, numbers.epoch, numbers.limit_per_buyer, numbers.limit_changed_at, most);
        tell!(
            world,
            "writer {} tells lane {lane} the limit {}, {most} at most: {answer:?}",
            self.number,
            numbers.limit_per_buyer
        );
        match answer {
            LaneAnswer::Open(held) => held,
            LaneAnswer::Closed { .. } => None,
        }
    }

    /// All that the lane promised before it held to the lower limit comes before the record.
    pub fn drain_for_limit(&mut self, world: &World, change: LimitChange) {
        let journal = world.redis.machine(change.lane).map(LaneMachine::journal).unwrap_or_default();
        self.drained.clear();
        self.todo.push_front(Todo::AppendLimit(change));
        for (batch, payload) in journal.into_iter().rev() {
            self.todo.push_front(Todo::AppendBatch(batch, payload));
        }
    }

    pub fn append_limit(&mut self, world: &mut World, change: LimitChange) -> Flow {
        let id = world.mint();
        tell!(world, "writer {} appends {change:?} at {}", self.number, world.log.end());
        world.log.append(id, &Record::LimitChanged(change));
        let is_lower = change.limit < self.lanes[&change.lane].limit_per_buyer;
        if is_lower && !world.is(Wrong::LowerLimitNotDrained) && self.has_lost_drained(world) {
            world.skips.insert(id);
            return Flow::Lost;
        }
        Flow::On
    }

    pub fn read_limits_wrongly(&self, world: &World, records: &mut [Placed]) {
        for placed in records {
            let Record::LimitChanged(change) = &mut placed.record else { continue };
            match world.wrong {
                Some(Wrong::LimitFollowsWhatever) => change.after = self.lanes[&change.lane].limit_changed_at,
                Some(Wrong::LowerLimitOfAnyEpoch) => change.epoch = self.lanes[&change.lane].epoch,
                _ => {}
            }
        }
    }
}
