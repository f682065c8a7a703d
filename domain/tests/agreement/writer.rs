//! One order-writer: what it holds in memory, and its work in the smallest steps between which it
//! may sleep or die. The order of the steps is the protocol's: rows, settle, ledger, then load.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use domain::{
    decide::{self, Decided, Known, Lanes, Placed, decide, may_follow},
    id::{BatchId, Epoch, Generation, LaneId, OfferId},
    invariant::Invariant,
    order::{OrderRow, Release, Status},
    record::{AllotmentChange, LimitChange, Record},
    stock::{Gone, GoneWhy},
};

use crate::{
    checks::count,
    keeper::{Facts, Next},
    loads::{Loading, bound_rows},
    stores::{Mark, SHARDS, Written, shard_of},
    world::{Played, Violation, World, tell},
    wrong::{Wrong, follow_whatever_there_is},
};

/// A running writer. It holds nothing that it cannot read again.
#[derive(Debug)]
pub struct Process {
    pub number: usize,
    pub at: Mark,
    pub lanes: Lanes,
    pub facts: BTreeMap<LaneId, Facts>,
    pub todo: VecDeque<Todo>,
    /// Where the log ended when it started (R4).
    pub resumed_end: u64,
    /// Lanes that are loaded beside all else.
    pub loads: BTreeMap<LaneId, Loading>,
    /// Position at which it last looked at all lanes.
    pub looked_at: Option<u64>,
    pub progress: [Mark; SHARDS],
    span: Option<DecidedSpan>,
    /// A position in the log as it was at the last check (R10).
    pub anchor: Mark,
    /// Losses of the log at the last check, and how many checks there were since.
    pub checked: (u64, u32),
    /// The batches that a rebuild appended, and where.
    pub drained: Vec<(u64, BatchId)>,
    /// Its forerunner found the log to be another one.
    pub found_loss: bool,
}

#[derive(Debug)]
struct DecidedSpan {
    records: Vec<Placed>,
    next: Mark,
    decided: Decided,
    read: bool,
    key_taken: bool,
    fenced: bool,
}

/// The steps.
#[derive(Debug, Clone)]
pub enum Todo {
    ReadRow,
    ReadProgress,
    FindLoss,
    Raise(usize, Generation),
    CloseAll,
    Restart,
    Rewrite(usize),
    ReadLanes,
    DistrustClosed,
    NoteEnd,
    Fence(LaneId),
    StopIfStale,
    CheckLog,
    Look(LaneId),
    Looked,
    Close(LaneId, Next),
    Drain(LaneId, Epoch, Next),
    AppendBatch(BatchId, Bytes),
    Drained(LaneId, Epoch, Next),
    AppendChange(AllotmentChange),
    Write(usize),
    Written,
    Settle,
    Commit,
    Adjust(LaneId, OfferId),
    DrainForLimit(LimitChange),
    AppendLimit(LimitChange),
    TellLimit(LaneId),
}

/// Whether it can go on from what it holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    On,
    Halt,
    /// The log is another one.
    Lost,
}

impl Process {
    /// A writer that knows nothing yet. R4: what it reads must fit together before it decides
    /// anything.
    fn starting(number: usize, wrong: Option<Wrong>) -> Self {
        let known = [Todo::ReadRow, Todo::ReadProgress, Todo::FindLoss];
        let reads = known.into_iter().chain([Todo::ReadLanes, Todo::DistrustClosed, Todo::StopIfStale]);
        let fits = if wrong == Some(Wrong::LanesNewerThanPosition) { 5 } else { 6 };
        Self {
            number,
            at: Mark::start(Generation(0)),
            lanes: Lanes::new(),
            facts: BTreeMap::new(),
            todo: reads.take(fits).chain([Todo::NoteEnd]).collect(),
            resumed_end: u64::MAX,
            loads: BTreeMap::new(),
            looked_at: None,
            progress: [Mark::start(Generation(0)); SHARDS],
            span: None,
            anchor: Mark::start(Generation(0)),
            checked: (0, 0),
            drained: Vec::new(),
            found_loss: false,
        }
    }

    fn take(&mut self, world: &mut World, todo: Todo) -> Played<Flow> {
        match todo {
            Todo::ReadRow => self.at = world.ledger.at,
            Todo::FindLoss => self.find_loss(world),
            Todo::CheckLog => return Ok(self.check_log(world)),
            Todo::Raise(shard, generation) => return Ok(self.raise(world, shard, generation)),
            Todo::CloseAll => self.close_all(world),
            Todo::Restart => return Ok(self.restart(world)),
            Todo::Rewrite(shard) => return Ok(self.rewrite(world, shard)),
            Todo::ReadProgress => self.progress = world.tables.0.each_ref().map(|shard| shard.progress),
            Todo::ReadLanes => self.lanes = world.ledger.lanes.clone(),
            Todo::StopIfStale => {
                if world.ledger.at != self.at {
                    return Ok(self.halt(world, "its memory is stale"));
                }
            }
            Todo::NoteEnd => self.resumed_end = world.log.end(),
            Todo::Looked => self.looked_at = Some(self.at.offset),
            Todo::Write(shard) => return self.write(world, shard),
            Todo::Written => return Ok(self.written(world)),
            Todo::Settle => self.settle(world)?,
            Todo::Commit => return self.commit(world),
            other => return self.keep(world, other),
        }
        Ok(Flow::On)
    }

    /// R10: the log lost records if it is not the one that ledger and shards were written from.
    fn find_loss(&mut self, world: &World) {
        self.anchor = self.at;
        let marks = || [self.at].into_iter().chain(self.progress);
        let lost = marks().any(|mark| world.log.has_lost(mark) || mark.generation != self.at.generation);
        let lost = lost || self.found_loss;
        let Some(highest) = marks().map(|mark| mark.generation).max().filter(|_| lost) else {
            return (0..SHARDS).for_each(|shard| self.todo.push_front(Todo::Rewrite(shard)));
        };
        let raise = |shard| Todo::Raise(shard, Generation(highest.0 + 1));
        for todo in [Todo::Restart, Todo::CloseAll, Todo::StopIfStale, Todo::ReadLanes, raise(1), raise(0)] {
            self.todo.push_front(todo);
        }
    }

    /// Fences zombies of older generations, before the rows are counted.
    fn raise(&mut self, world: &mut World, shard: usize, generation: Generation) -> Flow {
        let start = Mark::start(generation);
        if world.tables.0[shard].progress != self.progress[shard] {
            return self.halt(world, "another one raises the generation");
        }
        (world.tables.0[shard].progress, self.progress[shard]) = (start, start);
        Flow::On
    }

    /// No lane stays open over a lost log, whatever happens to this process: what was settled by
    /// that log alone is not in its stock.
    fn close_all(&mut self, world: &mut World) {
        for (&lane, numbers) in &self.lanes {
            if world.is(Wrong::LanesOpenOverALostLog) || numbers.is_retired {
                continue;
            }
            let (machine, run) = world.redis.lane(lane);
            let answer = machine.close(run, numbers.epoch.next());
            tell!(world, "writer {} closes lane {lane} over a lost log: {answer:?}", self.number);
        }
    }

    /// Units sold are derived from the rows, and every lane is rebuilt.
    fn restart(&mut self, world: &mut World) -> Flow {
        if world.ledger.at != self.at {
            return self.halt(world, "another one began the generation");
        }
        self.at = Mark::start(self.progress[0].generation);
        (world.ledger.at, self.anchor) = (self.at, self.at);
        world.ledger.movements.clear();
        for (offer, numbers) in world.ledger.lanes.values_mut().flat_map(|lane| &mut lane.offers) {
            let live = world.tables.rows().filter(|row| row.is_live() && row.offer == *offer);
            numbers.sold = live.map(|row| u64::from(row.quantity)).sum();
        }
        for (id, lane) in &mut world.ledger.lanes {
            let rows = world.tables.rows().filter(|row| row.lane == *id).map(|row| row.order);
            lane.first_order = rows.chain(lane.first_order).min();
        }
        for lane in world.ledger.lanes.keys() {
            self.facts.entry(*lane).or_default().distrusted = true;
        }
        world.event("generation begun");
        tell!(world, "writer {} begins generation {}", self.number, self.at.generation.0);
        Flow::On
    }

    pub fn halt(&self, world: &mut World, why: &str) -> Flow {
        world.event("writer fenced");
        tell!(world, "writer {} starts over: {why}", self.number);
        Flow::Halt
    }

    /// Takes the next records and decides them.
    fn begin_span(&mut self, world: &mut World) -> Played<Flow> {
        if self.at.offset > world.log.end() {
            return Ok(self.halt(world, "its position is out of range"));
        }
        let mut records: Vec<Placed> = Vec::new();
        let wanted = world.rng.below(4) + 1;
        let mut next = self.at.offset;
        while let Some(placed) = world.log.read(self.at.generation, next).filter(|_| records.len() < wanted) {
            if records.last().is_some_and(|last| !may_follow(&last.record, &placed.record)) {
                break;
            }
            records.push(world.without_skipped(placed));
            next += 1;
        }
        let Some(last) = records.last() else { return Ok(Flow::On) };
        let next = Mark { offset: next, record: Some(last.id), ..self.at };
        if world.is(Wrong::LateRecordsAccepted) {
            self.forget_epochs(&mut records);
        }
        // A shard ahead of the ledger has rows of this span: they must be read.
        let read = self.progress.iter().any(|progress| progress.offset > self.at.offset)
            || decide::must_read(&self.lanes, &records);
        let decided = self.decide(world, &records, read)?;
        self.span = Some(DecidedSpan { records, next, decided, read, key_taken: false, fenced: false });
        let first = world.rng.below(SHARDS);
        let rows = [Todo::Write(first), Todo::Write(1 - first), Todo::Written];
        let order = match world.wrong {
            Some(Wrong::SettleAfterLedger) => [&rows[..], &[Todo::Commit, Todo::Settle]].concat(),
            Some(Wrong::PositionBeforeRows) => [&[Todo::Commit], &rows[..], &[Todo::Settle]].concat(),
            _ => [&rows[..], &[Todo::Settle, Todo::Commit]].concat(),
        };
        self.todo.extend(order);
        Ok(Flow::On)
    }

    fn forget_epochs(&self, records: &mut [Placed]) {
        for placed in records {
            if let Record::Batch(batch) = &mut placed.record {
                batch.epoch = self.lanes[&batch.lane].epoch;
            }
        }
    }

    fn decide(&self, world: &mut World, records: &[Placed], read: bool) -> Played<Decided> {
        let mut known = if read { world.tables.known(records) } else { Known::default() };
        let stored: Vec<_> = known.rows.keys().copied().collect();
        match world.wrong {
            Some(Wrong::ReplayDecidedAnew) => known.rows.retain(|_, row| row.position.offset < self.at.offset),
            Some(Wrong::DuplicateCounts) => known.rows.retain(|_, row| row.position.offset >= self.at.offset),
            Some(Wrong::EveryReleaseCounts) => known.rows.values_mut().for_each(|row| row.released = None),
            _ => {}
        }
        let mut records = records.to_vec();
        self.read_limits_wrongly(world, &mut records);
        if world.wrong == Some(Wrong::ChangesOverlap) {
            records.iter_mut().for_each(|placed| follow_whatever_there_is(&self.lanes, &mut placed.record));
        }
        let mut lanes = self.lanes.clone();
        if world.is(Wrong::RetiredKeepsItsEpoch) {
            lanes.values_mut().for_each(|lane| lane.is_retired = false);
        }
        let mut decided = decide(&lanes, &records, &known);
        if world.is(Wrong::RetiredKeepsItsEpoch) {
            decided.retired_lanes.iter_mut().for_each(|(lane, epoch)| *epoch = self.lanes[lane].epoch);
        }
        match world.wrong {
            Some(Wrong::ReplayDecidedAnew | Wrong::DuplicateCounts) => {
                decided.rows.retain(|row| !stored.contains(&row.order));
            }
            Some(Wrong::RejectionWithoutRow) => decided.rows.retain(|row| row.status != Status::Rejected),
            _ => {}
        }
        self.decide_allotments_wrongly(world, &records, &mut decided);
        tell!(
            world,
            "writer {} decides {}..: rows {:?}, releases {:?}, sold {:?}, epochs {:?}, allotments {:?}",
            self.number,
            self.at.offset,
            decided.rows.iter().map(|row| (row.order.get(), row.reason)).collect::<Vec<_>>(),
            decided.releases.iter().map(|one| (one.order.get(), one.at.offset)).collect::<Vec<_>>(),
            decided.sold.values().collect::<Vec<_>>(),
            decided.epochs,
            decided.allotments.iter().map(|change| (change.sale_version, change.delta)).collect::<Vec<_>>()
        );
        count(world, &records, &decided, read);
        match decided.undecidable.first() {
            Some(undecidable) => Err(Violation(Invariant::Inv3, format!("undecidable: {undecidable:?}"))),
            None => Ok(decided),
        }
    }

    /// Rows and progress of one shard in one transaction.
    fn write(&mut self, world: &mut World, shard: usize) -> Played<Flow> {
        let Some(span) = &self.span else { return Ok(Flow::On) };
        let rows: Vec<&OrderRow> = span.decided.rows.iter().filter(|row| shard_of(row.buyer) == shard).collect();
        let carried = !world.is(Wrong::MarkNotTaken);
        let releases = span.decided.releases.iter();
        let released: Vec<_> = releases.map(|one| Release { became: one.became.filter(|_| carried), ..*one }).collect();
        let expected = self.progress[shard];
        let next = if expected.offset > span.next.offset { expected } else { span.next };
        let new: Vec<OrderRow> = rows.iter().map(|&row| row.clone()).collect();
        let written = self.write_shard(world, shard, (expected, next), &rows, &released);
        let Some(span) = &mut self.span else { return Ok(Flow::On) };
        match written {
            Written::Done => self.progress[shard] = next,
            Written::KeyTaken => span.key_taken = true,
            Written::Fenced => span.fenced = true,
        }
        tell!(world, "writer {} writes shard {shard} up to {}: {written:?}", self.number, next.offset);
        world.check_rows(if written == Written::Done { &new } else { &[] })?;
        Ok(Flow::On)
    }

    fn written(&mut self, world: &mut World) -> Flow {
        let Some(mut span) = self.span.take() else { return Flow::Halt };
        if span.fenced || (span.key_taken && span.read) {
            return self.halt(world, "its rows are fenced");
        }
        if span.key_taken {
            // A replay or a duplicate after all: read, and decide again.
            match self.decide(world, &span.records, true) {
                Ok(decided) => span.decided = decided,
                Err(violation) => return self.halt(world, &violation.to_string()),
            }
            (span.read, span.key_taken) = (true, false);
            for todo in [Todo::Written, Todo::Write(1), Todo::Write(0)] {
                self.todo.push_front(todo);
            }
        }
        self.span = Some(span);
        Flow::On
    }

    /// A lane hears of a change before a release that is decided after it retires units there: else
    /// an adjustment that comes later, with an allotment from before the release, would put them on
    /// sale.
    fn tells_first(&mut self) -> bool {
        let Some(span) = &self.span else { return false };
        let untold: Vec<(LaneId, OfferId)> = (span.decided.retired.keys().copied())
            .filter(|_| !span.decided.gone.is_empty())
            .filter(|&(lane, offer)| {
                let told = self.facts.get(&lane).and_then(|facts| facts.told.get(&offer));
                told != Some(&self.last_change(lane, offer))
            })
            .collect();
        if untold.is_empty() {
            return false;
        }
        self.todo.push_front(Todo::Settle);
        untold.into_iter().for_each(|(lane, offer)| self.todo.push_front(Todo::Adjust(lane, offer)));
        true
    }

    /// Journal entries go, gone orders give back. A closed lane is rebuilt from the rows instead.
    fn settle(&mut self, world: &mut World) -> Played {
        if self.tells_first() {
            return Ok(());
        }
        let Some(span) = &self.span else { return Ok(()) };
        let mut by_lane: BTreeMap<LaneId, (Vec<BatchId>, Vec<Gone>)> = BTreeMap::new();
        for &(lane, batch) in &span.decided.batches {
            by_lane.entry(lane).or_default().0.push(batch);
        }
        for &(lane, mut gone) in &span.decided.gone {
            gone.why = match (gone.why, world.wrong) {
                (GoneWhy::Released { .. }, Some(Wrong::NoTombstones))
                | (GoneWhy::RejectedForStock, Some(Wrong::StockRejectionGivesBack)) => GoneWhy::Rejected,
                (why, _) => why,
            };
            by_lane.entry(lane).or_default().1.push(gone);
        }
        for (lane, (batches, gone)) in by_lane {
            let (machine, run) = world.redis.lane(lane);
            let before = machine.clone();
            let settled = machine.settle(run, self.lanes[&lane].epoch, &batches, &gone);
            tell!(world, "writer {} settles lane {lane}: batches {batches:?}, gone {gone:?}: {settled:?}", self.number);
            world.check_given_back(lane, &before, &gone)?;
        }
        Ok(())
    }

    /// The ledger moves by compare-and-set; what follows is the winner's.
    fn commit(&mut self, world: &mut World) -> Played<Flow> {
        let Some(span) = &mut self.span else { return Ok(Flow::Halt) };
        bound_rows(world, &self.lanes, &mut span.decided);
        for &(lane, _) in span.decided.epochs.iter().filter(|(lane, _)| self.lanes[lane].is_retired) {
            world.event("lane reopened");
            world.reopened.insert(lane);
        }
        if !world.ledger.commit(self.at, span.next, &span.decided) {
            return Ok(self.halt(world, "the ledger has moved"));
        }
        tell!(world, "writer {} commits {}..{}", self.number, self.at.offset, span.next.offset);
        if let Some(alarm) = span.decided.alarms.first().filter(|_| !world.forged) {
            let what = format!("a promise did not hold: order {} ({:?})", alarm.order, alarm.reason);
            return Err(Violation(Invariant::Inv3, what));
        }
        let replayed = self.at.offset < self.resumed_end && !world.is(Wrong::ReplayedEpochLoads);
        self.at = span.next;
        span.decided.apply(&mut self.lanes);
        if !span.decided.retired.is_empty() {
            let is_epoch = !span.decided.epochs.is_empty() || !span.decided.retired_lanes.is_empty();
            world.event(if is_epoch { "unsold retired" } else { "retired" });
        }
        if world.is(Wrong::TargetForgottenAtARebuild) {
            for (lane, _) in &span.decided.epochs {
                for lanes in [&mut world.ledger.lanes, &mut self.lanes] {
                    let offers = lanes.get_mut(lane).into_iter().flat_map(|lane| lane.offers.values_mut());
                    offers.for_each(|numbers| numbers.target = numbers.allotment);
                }
            }
        }
        for change in &span.decided.allotments {
            world.event("allotment changed");
            world.targets.insert(change.offer, world.published.history[&change.sale_version][&change.offer]);
            self.todo.push_back(Todo::Adjust(change.lane, change.offer));
        }
        self.todo.extend(world.note_limits(&span.decided.limits));
        for &(lane, epoch) in &span.decided.retired_lanes {
            world.event("lane retired");
            self.todo.push_back(Todo::Drained(lane, epoch, Next::Delete));
        }
        let (gone, epochs) = (span.decided.gone.clone(), span.decided.epochs.clone());
        self.note_released(world, &gone);
        self.begin_loads(&epochs, replayed);
        world.back_up();
        world.check_rows(&[])?;
        Ok(Flow::On)
    }
}

impl World {
    /// One step of one writer; a dead one starts.
    pub fn advance(&mut self, number: usize) -> Played {
        let Some(mut process) = self.processes[number].take() else {
            tell!(self, "writer {number} starts");
            self.processes[number] = Some(Process::starting(number, self.wrong));
            return Ok(());
        };
        // It loads in pieces, and sleeps between the commit of a retirement and the deletion.
        let deletes = matches!(process.todo.front(), Some(Todo::Drained(.., Next::Delete)));
        if !process.loads.is_empty() && self.rng.once_in(2) {
            process.go_on_loading(self)?;
            self.processes[number] = Some(process);
            return Ok(());
        }
        if deletes && !self.ending && !self.rng.once_in(24) {
            self.processes[number] = Some(process);
            return Ok(());
        }
        let flow = match process.todo.pop_front() {
            Some(todo) => process.take(self, todo)?,
            None => {
                // Lanes that are closed wait for it to have caught up.
                let due = process.looked_at.is_none() && process.at.offset >= process.resumed_end;
                if due || self.rng.once_in(4) {
                    process.todo.extend([Todo::StopIfStale, Todo::CheckLog]);
                    process.todo.extend(process.lanes.keys().map(|&lane| Todo::Look(lane)));
                    process.todo.push_back(Todo::Looked);
                    Flow::On
                } else {
                    process.begin_span(self)?
                }
            }
        };
        let found_loss = flow == Flow::Lost;
        self.processes[number] = Some(match flow {
            Flow::On => process,
            Flow::Halt | Flow::Lost => Process { found_loss, ..Process::starting(number, self.wrong) },
        });
        Ok(())
    }
}
