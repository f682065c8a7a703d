//! What a worker holds in memory of its partition: a copy of the ledger at one position, and
//! nothing that cannot be read again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{
    decide::{LaneLedger, Lanes, OfferLedger},
    id::{Epoch, LaneId, OfferId, PartitionId, RecordId},
    record::Record,
};
use store::{
    ledger::{LaneRow, PartitionRow},
    log::{Envelope, OrderLog, OrderLogSource, Unacknowledged},
    orders::Progress,
};

use crate::{
    keeper::Looks,
    loads::Loads,
    ports::{Halt, Ports, Shared},
    same_log::SameLog,
    stalls::Pulse,
};

/// The reader of a worker's source.
pub type Reader<P> = <<P as Ports>::Source as OrderLogSource>::Reader;

/// A worker's partition.
pub struct Partition<P: Ports> {
    /// The stores.
    pub shared: Arc<Shared<P>>,
    /// Which.
    pub id: PartitionId,
    /// Reads it.
    pub reader: Reader<P>,
    /// The ledger's row: generation, next offset, id of the record before it.
    pub row: PartitionRow,
    /// Progress of each shard, by its number.
    pub shards: Vec<Progress>,
    /// The lanes' numbers.
    pub lanes: Lanes,
    /// Where the log ended when this worker resumed. Before it has decided up to there, its numbers
    /// are of an older moment than what stands in the log: it closes no lane under a next epoch for
    /// good, and opens none (R4).
    pub resumed_high: u64,
    /// What else there is to know of each lane.
    pub facts: BTreeMap<LaneId, LaneFacts>,
    /// What the keeper remembers of its looks.
    pub looks: Looks,
    /// Lanes whose rows are read beside all else.
    pub loads: Loads,
    /// Records that an operator set aside: offset and id.
    pub skips: Vec<(u64, Option<RecordId>)>,
    /// Checks that the log stays the one that was resumed; `None` before that.
    pub same_log: Option<SameLog>,
    /// Where it reports that it moves.
    pub pulse: Arc<Pulse>,
}

/// What a keeper knows of a lane beside its numbers.
#[derive(Debug, Clone, Default)]
pub struct LaneFacts {
    /// Looks in a row at which it was not open at the ledger's epoch.
    pub strikes: u32,
    /// The marker of another keeper that was seen: the next rebuild asks for no lower epoch.
    pub marker_seen: Epoch,
    /// A rebuild that waits for its record to be decided: the epoch, and since when by the
    /// monotonic clock.
    pub rebuilding: Option<(Epoch, Duration)>,
    /// Allotment changes that were appended: the version of the sale, the position of the change
    /// that it follows, and when by the monotonic clock.
    pub asked: BTreeMap<OfferId, (u32, i64, Duration)>,
    /// The change of allotment that the lane was told last: the epoch, and its packed position.
    pub told: BTreeMap<OfferId, (Epoch, i64)>,
    /// Looks in a row at which it was open, its journal empty, and nothing of it decided since the
    /// look before.
    pub quiet: u32,
    /// Its last epoch is its first opening, so it has no rows.
    pub first_opening: bool,
    /// A promise did not hold: rebuild whatever it looks like.
    pub distrusted: bool,
    /// Its stock answers nonsense, or nothing: left alone until then, by the monotonic clock.
    pub aside_until: Option<Duration>,
    /// Its stock server does not answer, and others do: nothing is asked of it but whether it is
    /// back.
    pub is_away: bool,
}

impl<P: Ports> Partition<P> {
    /// Reads the lanes' numbers from the ledger. What the keeper knows of lanes it had already
    /// stays. Numbers that are newer than the position would count a replay twice and reject sound
    /// reservations for good: so the position is looked at again after them.
    pub async fn read_lanes(&mut self) -> Result<(), Halt> {
        for row in self.shared.ledger.lanes(self.id).await? {
            self.facts.entry(row.lane).or_default();
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
    let LaneRow { tenant, sale, epoch, is_retired, limit_per_buyer, first_order, .. } = *row;
    LaneLedger { tenant, sale, epoch, is_retired, limit_per_buyer, first_order, offers: offers.collect() }
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
