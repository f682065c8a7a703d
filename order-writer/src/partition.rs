//! What a worker holds in memory of its partition: a copy of the ledger at one position, and
//! nothing that cannot be read again.

mod facts;
mod loads;
mod looks;

use std::sync::Arc;

use domain::{
    decide::{Decided, LaneLedger, Lanes, OfferLedger},
    id::{Generation, LaneId, PartitionId, RecordId},
    record::Record,
    shard::ShardId,
};
use store::{
    ledger::{LaneRow, PartitionRow},
    log::{Envelope, OrderLog, OrderLogSource, PartitionReader, ReadError, Unacknowledged},
    orders::Progress,
};

use crate::{
    ports::{Halt, Ports, Shared},
    same_log::SameLog,
    stalls::Pulse,
};

use facts::Facts;
use loads::Loads;
use looks::Looks;

pub(crate) use loads::Unread;
pub(crate) use looks::{Asking, Unproven};

/// The reader of a worker's source.
pub type Reader<P> = <<P as Ports>::Source as OrderLogSource>::Reader;

/// A worker's partition. Its position, and what is known at that position, change by the methods
/// here only; `facts`, `looks` and `loads` keep their own state likewise.
pub struct Partition<P: Ports> {
    /// The stores.
    pub(crate) shared: Arc<Shared<P>>,
    /// Which partition of the log it is.
    pub(crate) id: PartitionId,
    /// Reads it.
    pub(crate) reader: Reader<P>,
    /// Where it reports that it moves.
    pub(crate) pulse: Arc<Pulse>,
    /// What a keeper knows of each lane beside its numbers.
    pub(crate) facts: Facts,
    /// What the keeper remembers of its looks.
    pub(crate) looks: Looks,
    /// Lanes whose rows are read beside all else.
    pub(crate) loads: Loads,
    row: PartitionRow,
    shards: Vec<Progress>,
    lanes: Lanes,
    resumed_high: u64,
    skips: Vec<(u64, Option<RecordId>)>,
    /// Checks that the log stays the one that was resumed; `None` before that.
    same_log: Option<SameLog>,
}

impl<P: Ports> Partition<P> {
    /// A partition of which nothing is read but what an operator set aside.
    pub(crate) fn unread(
        shared: Arc<Shared<P>>,
        id: PartitionId,
        reader: Reader<P>,
        skips: Vec<(u64, Option<RecordId>)>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            shared,
            id,
            reader,
            pulse,
            facts: Facts::default(),
            looks: Looks::default(),
            loads: Loads::default(),
            row: PartitionRow { partition: id, generation: Generation(0), log_id: 0, offset: 0, record: None },
            shards: Vec::new(),
            lanes: Lanes::new(),
            resumed_high: u64::MAX,
            skips,
            same_log: None,
        }
    }

    /// The ledger's row: generation, next offset, id of the record before it.
    pub(crate) const fn row(&self) -> PartitionRow {
        self.row
    }

    /// Progress of each shard, by its number.
    pub(crate) fn shards(&self) -> &[Progress] {
        &self.shards
    }

    /// Progress of one of them.
    pub(crate) fn progress(&self, shard: ShardId) -> Progress {
        self.shards[usize::from(shard.0)]
    }

    /// The lanes' numbers at this position.
    pub(crate) const fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Where the log ended when this worker resumed. Before it has decided up to there, its numbers
    /// are of an older moment than what stands in the log: it closes no lane under a next epoch for
    /// good, and opens none (R4).
    pub(crate) const fn resumed_high(&self) -> u64 {
        self.resumed_high
    }

    /// Records that an operator set aside: offset and id.
    pub(crate) fn skips(&self) -> &[(u64, Option<RecordId>)] {
        &self.skips
    }

    /// As the ledger has them now.
    pub(crate) fn note_skips(&mut self, skips: Vec<(u64, Option<RecordId>)>) {
        self.skips = skips;
    }

    /// A shard's rows are durable up to there.
    pub(crate) fn note_progress(&mut self, shard: ShardId, next: Progress) {
        self.shards[usize::from(shard.0)] = next;
    }

    /// Of all shards, by number, as their databases have it.
    pub(crate) fn note_all_progress(&mut self, shards: Vec<Progress>) {
        self.shards = shards;
    }

    /// All shards begin a generation there.
    pub(crate) fn restart_shards(&mut self, start: Progress) {
        self.shards.fill(start);
    }

    /// The position is read anew, or a generation begins.
    pub(crate) const fn restart_at(&mut self, row: PartitionRow) {
        self.row = row;
    }

    /// A commit that this worker won: the position moves, and the lanes' numbers with it.
    pub(crate) fn note_committed(&mut self, next: Progress, decided: &Decided) {
        (self.row.offset, self.row.record) = (next.offset, next.record);
        self.shared.note_decided(self.id, next.offset);
        decided.apply(&mut self.lanes);
        self.loads.note_released(&decided.gone);
    }

    /// All is read: the reader goes to the position, and the log is checked to stay the same.
    pub(crate) async fn begin_deciding(&mut self) -> Result<(), Halt> {
        self.resumed_high = self.reader.watermarks().await?.high;
        self.reader.seek(self.row.offset).await?;
        self.looks = Looks::at(self.row.offset);
        self.same_log = Some(SameLog::watch(self.shared.source.clone(), self.row));
        Ok(())
    }

    /// Records that are not decided yet.
    ///
    /// # Errors
    /// [`Halt::Read`] when the log does not reach from its beginning to the position,
    /// [`Halt::LostRecords`] when it is another log.
    pub(crate) async fn undecided(&mut self) -> Result<u64, Halt> {
        let marks = self.reader.watermarks().await?;
        let offset = self.row.offset;
        if !(marks.low..=marks.high).contains(&offset) {
            return Err(ReadError::OutOfRange { partition: self.id, offset }.into());
        }
        if let Some(what) = self.same_log.as_ref().and_then(|same_log| same_log.note_decided(self.row)) {
            let (partition, generation) = (self.id, self.row.generation);
            return Err(Halt::LostRecords { partition, generation, what: what.to_owned() });
        }
        Ok(marks.high - offset)
    }

    /// Whether a lane is rebuilt whatever it looks like.
    pub(crate) fn is_distrusted(&self, lane: LaneId) -> bool {
        self.facts.get(lane).is_some_and(|facts| facts.is_distrusted())
    }

    /// Every lane that is not retired is rebuilt whatever it looks like.
    pub(crate) fn distrust_all(&mut self) {
        for (lane, facts) in self.facts.iter_mut() {
            facts.judge(self.lanes.get(&lane).is_none_or(|lane| !lane.is_retired));
        }
    }

    /// Reads the lanes' numbers from the ledger. What the keeper knows of lanes it had already
    /// stays. Numbers that are newer than the position would count a replay twice and reject sound
    /// reservations for good: so the position is looked at again after them.
    pub async fn read_lanes(&mut self) -> Result<(), Halt> {
        for row in self.shared.ledger.lanes(self.id).await? {
            // A lane that was met keeps what is known of it.
            self.facts.of(row.lane);
            self.lanes.insert(row.lane, lane_ledger(&row));
        }
        self.stop_if_stale().await
    }

    /// R4: whether everything is decided that the log held when this worker resumed.
    pub(crate) const fn has_caught_up(&self) -> bool {
        self.row.offset >= self.resumed_high
    }

    /// A worker that sleeps while another one takes its partition over must not go on with what it
    /// remembers.
    pub(crate) async fn stop_if_stale(&self) -> Result<(), Halt> {
        if self.shared.ledger.partition(self.id).await? == Some(self.row) { Ok(()) } else { Err(Halt::Fenced(self.id)) }
    }

    /// Appends a record to this partition and waits for the acknowledgement.
    pub async fn append(&self, record: &Record) -> Result<u64, Halt> {
        let payload = record.encode().into();
        self.append_raw(Envelope { id: random_record_id(), kind: record.kind(), payload }).await
    }

    /// Appends an envelope to this partition and waits for the acknowledgement.
    pub async fn append_raw(&self, envelope: Envelope) -> Result<u64, Halt> {
        let log = &self.shared.log;
        let room = log.room().ok_or_else(|| Unacknowledged("the producer's queue is full".into()))?;
        Ok(log.append(self.id, envelope, room).await?)
    }
}

/// The decision's view of a ledger row.
pub fn lane_ledger(row: &LaneRow) -> LaneLedger {
    let offers = row.offers.iter().map(|offer| {
        let numbers = OfferLedger {
            allotment: offer.allotment,
            target: offer.target,
            sold: offer.sold,
            sale_version: offer.sale_version,
            changed_at: offer.changed_at,
        };
        (offer.offer, numbers)
    });
    let LaneRow { tenant, sale, epoch, is_retired, limit_per_buyer, limit_changed_at, first_order, .. } = *row;
    let offers = offers.collect();
    LaneLedger { tenant, sale, epoch, is_retired, limit_per_buyer, limit_changed_at, first_order, offers }
}

/// A new identity for a record.
pub fn random_record_id() -> RecordId {
    loop {
        let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
        // One bit is dropped, since ids are stored signed; the number 0 is no id.
        if let Ok(id) = RecordId::new(high >> 1) {
            return id;
        }
    }
}
