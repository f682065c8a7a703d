//! One span of records: decide, rows, events, settle, ledger, in this order. Whatever fails, the
//! worker reads everything anew and does the span again: each step is idempotent, and the row's own
//! position tells a replay from a duplicate.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use domain::{
    decide::{self, Decided, Known, LaneLedger, Live, Movement, Placed, decide},
    id::{BatchId, LaneId, OfferId, RecordId},
    order::Status,
    record::{Record, Topic},
    shard::ShardId,
    stock::{Gone, LaneAnswer},
};
use kit::{clock::Clock, metrics::Timing};
use store::{
    ledger::{Committed, LedgerCommit},
    log::{Entry, Topics},
    orders::{Progress, ShardWrite, Written},
    sql::SqlError,
    stock::LaneKeeping,
};

use crate::{
    failpoint::Step,
    metrics::{Outcomes, SpanStages},
    partition::Partition,
    ports::{Halt, Ports},
};

/// Records that are decided together.
#[derive(Default)]
pub struct Span {
    /// The records in log order; none when all of them were damaged.
    pub records: Vec<Placed>,
    /// The entries they were read from, damaged ones too.
    pub entries: Vec<Entry>,
    /// Offsets of those that are no records, each with its cause.
    pub damaged: Vec<(u64, String)>,
    /// Reservations in it; other records count as several.
    pub weight: usize,
    /// One past the last entry's offset.
    pub next: u64,
    /// The last entry's id; `None` if it has none.
    pub last: Option<RecordId>,
}

impl<P: Ports> Partition<P> {
    /// Carries out one span.
    ///
    /// # Errors
    /// Any [`Halt`]: nothing is lost, the span is read again.
    pub async fn carry_out(&mut self, span: Span) -> Result<(), Halt> {
        match self.attempt(&span).await {
            Err(Halt::Sql(error)) if error.is_of_values() => self.take_apart(span, error).await,
            done => done,
        }
    }

    /// The span as a whole.
    pub(crate) async fn attempt(&mut self, span: &Span) -> Result<(), Halt> {
        let next = self.after(span);
        let started = self.shared.clock.monotonic();
        let decided = self.decide_and_write(&span.records, next).await?;
        self.conclude(decided, span, started).await
    }

    /// Where the partition stands after a span.
    pub(crate) const fn after(&self, span: &Span) -> Progress {
        Progress { generation: self.row().generation, offset: span.next, record: span.last }
    }

    /// What follows when the rows of all shards are durable.
    pub(crate) async fn conclude(&mut self, mut decided: Decided, span: &Span, started: Duration) -> Result<(), Halt> {
        self.shared.failpoint.reach(Step::Rows);
        self.park_undecided(&decided, span).await?;
        let mut at = self.shared.clock.monotonic();
        let log = self.shared.log.of(Topic::OrderEvents);
        let events = self.append_events(&log, &decided, span).await?;
        self.settle(&decided).await?;
        self.lap(&mut at, |stages| &stages.settle);
        self.shared.failpoint.reach(Step::Settled);
        let outcomes = Outcomes::of(&decided);
        self.bound_first_openings(&mut decided).await?;
        // From the ledger's commit on nobody tells them again.
        for acknowledgement in events {
            acknowledgement.await?;
        }
        self.lap(&mut at, |stages| &stages.events);
        self.commit(&mut decided, span).await?;
        self.lap(&mut at, |stages| &stages.ledger);
        self.pulse.moved(at);
        self.shared.failpoint.reach(Step::Ledger);
        self.shared.metrics.span(self.id, outcomes, at.saturating_sub(started));
        self.after_commit(&decided, span).await?;
        self.distrust_damaged(span).await
    }

    /// Counts the time since `at` as this stage's; the next one begins now.
    fn lap(&self, at: &mut Duration, stage: fn(&SpanStages) -> &Timing) {
        let now = self.shared.clock.monotonic();
        stage(&self.shared.metrics.stages).observe(now.saturating_sub(*at));
        *at = now;
    }

    pub(crate) fn decide(&self, records: &[Placed], known: &Known) -> Decided {
        let mut at = self.shared.clock.monotonic();
        let decided = decide(self.lanes(), records, known);
        self.lap(&mut at, |stages| &stages.decide);
        self.shared.failpoint.reach(Step::Decided);
        decided
    }

    async fn decide_and_write(&mut self, records: &[Placed], next: Progress) -> Result<Decided, Halt> {
        // A shard that is ahead of the ledger has rows of this span: they must be read, or they
        // would collide.
        let ahead = self.shards().iter().any(|shard| shard.offset > self.row().offset);
        if !ahead && !decide::must_read(self.lanes(), records) {
            let mut decided = self.decide(records, &Known::default());
            if self.write_rows(&mut decided, next).await? {
                return Ok(decided);
            }
            self.shared.metrics.reread.inc();
        }
        let known = self.read_known(records).await?;
        let mut decided = self.decide(records, &known);
        if self.write_rows(&mut decided, next).await? {
            return Ok(decided);
        }
        // Another writer would have moved the shard's progress: so a row that no reading finds
        // holds the key.
        Err(SqlError::KeyTaken("an order id or a purchase number".into()).into())
    }

    pub(crate) async fn read_known(&self, records: &[Placed]) -> Result<Known, Halt> {
        let mut orders = Vec::new();
        let mut buyers: BTreeMap<LaneId, Vec<_>> = BTreeMap::new();
        for placed in records {
            match &placed.record {
                Record::Batch(batch) => {
                    let of_lane = buyers.entry(batch.lane).or_default();
                    for (_, reservation) in &batch.reservations {
                        orders.push(reservation.order);
                        of_lane.push(reservation.buyer);
                    }
                }
                Record::Released(released) => orders.push(released.order),
                _ => {}
            }
        }
        orders.sort_unstable();
        orders.dedup();
        let rows = self.shared.orders.find(&orders).await?;
        let mut live = HashMap::new();
        for (lane, mut of_lane) in buyers {
            of_lane.sort_unstable();
            of_lane.dedup();
            for (buyer, purchases) in self.shared.orders.live_purchases(lane, &of_lane).await? {
                let held: &mut Live = live.entry((lane, buyer)).or_default();
                for (number, units) in purchases {
                    held.units = held.units.saturating_add(units);
                    held.numbers.push(number);
                }
            }
        }
        Ok(Known { rows, live, ..Known::default() })
    }

    /// Writes the rows of all shards at once, and takes them out of what is decided. `false`: a key
    /// was taken somewhere, read and decide again.
    pub(crate) async fn write_rows(&mut self, decided: &mut Decided, next: Progress) -> Result<bool, Halt> {
        let mut at = self.shared.clock.monotonic();
        let rows = decided.rows.len();
        let rejected = decided.rows.iter().filter(|row| row.status == Status::Rejected).count();
        let each = decided.rows.len() / self.shards().len().max(1);
        let mut writes: Vec<ShardWrite> = self
            .shards()
            .iter()
            .map(|&expected| ShardWrite {
                partition: self.id,
                expected,
                // A shard ahead of the ledger stays where it is: it holds rows up to there.
                next: if expected.offset > next.offset { expected } else { next },
                // Slots spread evenly: an eighth more than the mean is rarely passed.
                rows: Vec::with_capacity(each + each / 8),
                released: Vec::new(),
            })
            .collect();
        let map = self.shared.orders.map();
        for row in decided.rows.drain(..) {
            writes[usize::from(map.home_of_order(row.order).shard.0)].rows.push(row);
        }
        for release in decided.releases.drain(..) {
            writes[usize::from(map.home_of_order(release.order).shard.0)].released.push(release);
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (number, write) in (0u16..).zip(writes) {
            let (shared, shard, next) = (self.shared.clone(), ShardId(number), write.next);
            tasks.spawn(async move { (shard, next, shared.orders.write(shard, write).await) });
            if number == 0 && self.shared.failpoint.is(Step::FirstShard) {
                // A crash test wants the first shard durable and the others not.
                self.take_written(&mut tasks).await?;
                self.shared.failpoint.reach(Step::FirstShard);
            }
        }
        let is_done = self.take_written(&mut tasks).await?;
        self.lap(&mut at, |stages| &stages.rows);
        if is_done {
            self.shared.metrics.rows(count(rows.saturating_sub(rejected)), count(rejected));
        }
        Ok(is_done)
    }

    async fn take_written(
        &mut self,
        tasks: &mut tokio::task::JoinSet<(ShardId, Progress, Result<Written, SqlError>)>,
    ) -> Result<bool, Halt> {
        let (mut all, mut failed) = (true, None);
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok((shard, next, Ok(Written::Done))) => self.note_progress(shard, next),
                Ok((_, _, Ok(Written::KeyTaken))) => all = false,
                Ok((_, _, Ok(Written::Fenced))) => failed = Some(Halt::Fenced(self.id)),
                Ok((_, _, Err(error))) => failed = Some(error.into()),
                Err(error) => failed = Some(self.contradiction(format!("writing rows panicked: {error}"))),
            }
        }
        failed.map_or(Ok(all), Err)
    }

    pub(crate) fn contradiction(&self, what: String) -> Halt {
        Halt::Contradiction { partition: self.id, what }
    }

    async fn park_undecided(&self, decided: &Decided, span: &Span) -> Result<(), Halt> {
        let undecidable = decided.undecidable.iter().map(|undecidable| (undecidable.offset, &undecidable.cause));
        let damaged = span.damaged.iter().map(|(offset, cause)| (*offset, cause));
        for (offset, cause) in undecidable.chain(damaged) {
            if let Some(entry) = span.entries.iter().find(|entry| entry.offset == offset) {
                self.park(entry, cause).await?;
            }
        }
        Ok(())
    }

    /// Rows first, then Redis, then the ledger: a crash between repeats this, and repeating gives
    /// nothing back twice.
    async fn settle(&mut self, decided: &Decided) -> Result<(), Halt> {
        if !decided.gone.is_empty() {
            self.adjust_before_retiring(decided).await?;
        }
        let mut by_lane: BTreeMap<LaneId, (Vec<BatchId>, Vec<Gone>)> = BTreeMap::new();
        for &(lane, batch) in &decided.batches {
            by_lane.entry(lane).or_default().0.push(batch);
        }
        for &(lane, gone) in &decided.gone {
            by_lane.entry(lane).or_default().1.push(gone);
        }
        for (lane, (batches, gone)) in by_lane {
            if self.is_aside(lane) {
                // It is rebuilt from the rows before it is settled again.
                self.shared.metrics.settled_closed.inc();
                continue;
            }
            let epoch = match self.lanes().get(&lane) {
                Some(lane) => lane.epoch,
                None => return Err(self.contradiction(format!("lane {lane} was decided without a ledger row"))),
            };
            match self.shared.stock.settle(lane, epoch, &batches, &gone).await {
                Ok(LaneAnswer::Open(())) => {}
                // A closed lane is rebuilt from the rows, which are written: nothing is left to
                // give back.
                Ok(LaneAnswer::Closed { .. }) => self.shared.metrics.settled_closed.inc(),
                Err(error) => self.set_aside(lane, error).await?,
            }
        }
        Ok(())
    }

    /// R9: a lane hears of the last change before a release decided after it retires units there.
    /// Told later, with the allotment from before a release that is settled and not committed, it
    /// would put the retired units on sale.
    async fn adjust_before_retiring(&mut self, decided: &Decided) -> Result<(), Halt> {
        for &(lane, offer) in decided.retired.keys() {
            if self.is_adjusted(lane, offer) {
                continue;
            }
            match self.adjust(lane, offer).await {
                Err(Halt::Stock(error)) => self.set_aside(lane, error).await?,
                done => done?,
            }
        }
        Ok(())
    }

    /// R5: the commit of a lane's first opening says from which order on its rows are looked for.
    async fn bound_first_openings(&mut self, decided: &mut Decided) -> Result<(), Halt> {
        for &(lane, _) in &decided.epochs {
            let first_opening = self.lanes().get(&lane).is_some_and(LaneLedger::was_never_open);
            self.facts.of(lane).note_first_opening(first_opening);
            if first_opening {
                let now_ms = self.shared.ledger.now_ms().await?;
                decided.first_orders.extend(LaneLedger::first_order_at(now_ms).map(|order| (lane, order)));
            }
        }
        Ok(())
    }

    async fn commit(&mut self, decided: &mut Decided, span: &Span) -> Result<(), Halt> {
        let next = self.after(span);
        let mut movements = std::mem::take(&mut decided.movements);
        // Whatever decided nothing has an empty movement: so a missing one is told from it (R11).
        let nothing = |offset| Movement { offset, lane: None, units: Vec::new(), decisions: Vec::new() };
        movements.extend(span.damaged.iter().map(|(offset, _)| nothing(*offset)));
        let commit = LedgerCommit {
            partition: self.id,
            generation: self.row().generation,
            expected_offset: self.row().offset,
            next_offset: next.offset,
            next_record: next.record,
            sold: decided.sold.iter().map(|(&(_, offer), &units)| (offer, units)).collect(),
            epochs: decided.epochs.clone(),
            retired_lanes: decided.retired_lanes.clone(),
            first_orders: decided.first_orders.iter().map(|(&lane, &order)| (lane, order)).collect(),
            allotments: decided.allotments.clone(),
            limits: decided.limits.clone(),
            retired: decided.retired.iter().map(|(&(_, offer), &units)| (offer, units)).collect(),
            movements,
        };
        match self.shared.ledger.commit(&commit).await? {
            Committed::Done => {}
            Committed::Fenced => return Err(Halt::Fenced(self.id)),
        }
        self.note_committed(next, decided);
        Ok(())
    }

    /// What follows from a commit that this worker won, and only then.
    async fn after_commit(&mut self, decided: &Decided, span: &Span) -> Result<(), Halt> {
        let moved = decided.batches.iter().map(|&(lane, _)| lane).chain(decided.gone.iter().map(|&(lane, _)| lane));
        let changed = decided.allotments.iter().map(|change| change.lane);
        for lane in moved.chain(changed).chain(decided.limits.iter().map(|change| change.lane)) {
            self.facts.of(lane).note_decided();
        }
        for alarm in &decided.alarms {
            tracing::error!(lane = %alarm.lane, order = %alarm.order, reason = alarm.reason.as_str(),
                "a promise did not hold under the current epoch: the lane is rebuilt");
            self.shared.metrics.alarms.inc();
            self.facts.of(alarm.lane).distrust();
        }
        for change in &decided.allotments {
            // Lost on a crash here: the keeper's next look sends it again.
            match self.adjust(change.lane, change.offer).await {
                Err(Halt::Stock(error)) => self.set_aside(change.lane, error).await?,
                done => done?,
            }
        }
        for change in &decided.limits {
            self.shared.failpoint.reach(Step::LimitCommitted);
            match self.tell_limit(change.lane, change.limit).await {
                Err(Halt::Stock(error)) => self.set_aside(change.lane, error).await?,
                done => _ = done?,
            }
        }
        for &(lane, epoch) in &decided.epochs {
            self.shared.failpoint.reach(Step::EpochCommitted);
            self.await_load(lane, epoch, span.records.iter().any(|record| record.offset < self.resumed_high()));
        }
        for &(lane, epoch) in &decided.retired_lanes {
            self.retired(lane, epoch).await?;
        }
        Ok(())
    }

    /// Whether the lane has heard of an offer's last change in this epoch, or there is none.
    pub(crate) fn is_adjusted(&self, lane: LaneId, offer: OfferId) -> bool {
        let last = self.lanes().get(&lane).and_then(|lane| Some((lane.epoch, lane.offers.get(&offer)?.changed_at)));
        last.is_none_or(|last| last.1 == 0 || self.facts.get(lane).is_some_and(|facts| facts.is_adjusted(offer, last)))
    }

    /// R9: adjusts the lane to the ledger's allotment, and since when that holds.
    pub(crate) async fn adjust(&mut self, lane: LaneId, offer: OfferId) -> Result<(), Halt> {
        let Some((epoch, numbers)) =
            self.lanes().get(&lane).and_then(|lane| Some((lane.epoch, *lane.offers.get(&offer)?)))
        else {
            return Ok(());
        };
        if self.is_aside(lane) {
            // Its next load tells it.
            return Ok(());
        }
        let stock = &self.shared.stock;
        stock.adjust(lane, epoch, offer, numbers.allotment, numbers.changed_at).await?;
        self.facts.of(lane).note_adjusted(offer, (epoch, numbers.changed_at));
        Ok(())
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
