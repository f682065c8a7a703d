//! From promise to log: the reservations of one call are one record. Acknowledged means accepted;
//! everything else means pending, because nobody can know. Engines never release, whatever the
//! error says (R7): the journal holds the batch, and the sweeper appends it again.

mod acknowledged;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    id::{BatchId, PartitionId, RecordId},
    record::BATCH_TYPE,
};
use kit::clock::Clock;
use store::log::{Envelope, OrderLog};
use tokio::sync::SetOnce;

pub use acknowledged::{ACKNOWLEDGED_MAX, Acknowledged};

use crate::{
    admission::Moment,
    buy::{Bought, Standing},
    metrics::Metrics,
    reserve::Reserved,
};

/// How long a buyer waits for the acknowledgement before the answer is "pending".
pub const ACCEPT_DEADLINE: Duration = Duration::from_secs(3);
/// How long an append may go on after that; then its task ends. The log's own deadline is shorter.
const APPEND_DEADLINE: Duration = Duration::from_secs(30);
const _: () = assert!(ACCEPT_DEADLINE.as_secs() < APPEND_DEADLINE.as_secs());

/// What becomes of one record; shared by the reservations in it.
#[derive(Debug, Default)]
pub struct Fate(SetOnce<Standing>);

impl Fate {
    /// A record whose fate is known.
    pub fn known(standing: Standing) -> Arc<Self> {
        Arc::new(Self(SetOnce::new_with(Some(standing))))
    }

    /// Decides it, once: what a buyer was told stays told.
    fn decide(&self, standing: Standing) {
        // Decided already, by the deadline: an acknowledgement that comes later changes no answer.
        let _late = self.0.set(standing);
    }

    /// Waits until it is decided.
    pub async fn wait(&self) -> Standing {
        *self.0.wait().await
    }
}

/// Waits until the log has the reservation's record, or until nobody waits any longer. Nothing can
/// be declined here.
pub async fn enqueue(reserved: Reserved) -> Bought {
    let (order, offer, fate) = reserved.into_parts();
    Bought { order, offer, standing: fate.wait().await }
}

/// Appends batches and remembers what was acknowledged.
pub struct Appender<L, C> {
    log: L,
    clock: C,
    acknowledged: Arc<Acknowledged>,
    metrics: Arc<Metrics>,
}

impl<L: OrderLog, C: Clock> Appender<L, C> {
    /// An appender to this log.
    pub fn new(log: L, clock: C, acknowledged: Arc<Acknowledged>, metrics: Arc<Metrics>) -> Self {
        Self { log, clock, acknowledged, metrics }
    }

    /// Room for one record: a permit taken before units are promised, so that a full queue refuses
    /// before it promises (R7).
    pub fn room(&self) -> Option<L::Room> {
        self.log.room()
    }

    /// What was acknowledged.
    pub fn acknowledged(&self) -> &Acknowledged {
        &self.acknowledged
    }

    /// Appends a batch, the same bytes that its journal entry holds, and decides its fate. Ends
    /// when the log has answered: an acknowledgement after the buyers' deadline still counts for
    /// their repeats (R12).
    pub async fn append(&self, partition: PartitionId, batch: BatchId, payload: Bytes, room: L::Room, fate: &Fate) {
        let started = self.clock.monotonic();
        let mut appending = std::pin::pin!(self.acknowledge(partition, batch, payload, room));
        if tokio::time::timeout(ACCEPT_DEADLINE, &mut appending).await.map(|standing| fate.decide(standing)).is_err() {
            fate.decide(Standing::Pending);
            // Its end only feeds the memory of acknowledgements.
            let _ended = tokio::time::timeout(APPEND_DEADLINE, appending).await;
        }
        self.metrics.append_seconds.observe(self.clock.monotonic().saturating_sub(started).as_secs_f64());
    }

    /// Appends a batch and says whether the log has it. The sweeper does this too.
    pub async fn acknowledge(&self, partition: PartitionId, batch: BatchId, payload: Bytes, room: L::Room) -> Standing {
        let Ok(id) = RecordId::new(batch.get()) else { return Standing::Pending };
        match self.log.append(partition, Envelope { id, kind: BATCH_TYPE, payload }, room).await {
            Ok(_offset) => {
                self.acknowledged.note(batch, Moment::of(&self.clock).monotonic_ms);
                Standing::Accepted
            }
            Err(error) => {
                self.metrics.append_failures.inc();
                tracing::warn!(%error, %batch, "a batch was not acknowledged; the sweeper will append it");
                Standing::Pending
            }
        }
    }
}
