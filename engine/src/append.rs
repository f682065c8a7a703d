//! From promise to log: the reservations of one call are one record. An acknowledged record means
//! accepted; anything else means pending, because nobody can know. Engines never release, whatever
//! the error says (R7): the journal holds the batch, and the sweeper appends it again.

mod acknowledged;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    id::{BatchId, PartitionId, RecordId},
    record::BATCH_TYPE,
};
use kit::clock::Clock;
use store::log::{Envelope, OrderLog};

pub use acknowledged::{ACKNOWLEDGED_MAX, Acknowledged};

use crate::{metrics::Metrics, moment::Moment, purchase::PurchaseState};

/// How long a buyer waits for the acknowledgement before the answer is "pending".
pub const ACCEPT_DEADLINE: Duration = Duration::from_secs(3);
/// How long an append may go on after that; then its task ends. The log's own deadline is shorter.
const APPEND_DEADLINE: Duration = Duration::from_secs(30);
const _: () = assert!(ACCEPT_DEADLINE.as_secs() < APPEND_DEADLINE.as_secs());

/// Appends batches and remembers what was acknowledged.
pub struct Appender<L, C> {
    log: L,
    clock: C,
    acknowledged: Arc<Acknowledged>,
    metrics: Arc<Metrics>,
}

impl<L: OrderLog, C: Clock> Appender<L, C> {
    /// An appender to this log, which adds to `acknowledged`.
    pub fn new(log: L, clock: C, acknowledged: Arc<Acknowledged>, metrics: Arc<Metrics>) -> Self {
        Self { log, clock, acknowledged, metrics }
    }

    /// Room for one record: a permit taken before units are promised, so that a full queue refuses
    /// before it promises (R7).
    pub fn room(&self) -> Option<L::Room> {
        self.log.room()
    }

    /// Batches whose acknowledgement this engine saw.
    pub fn acknowledged(&self) -> &Acknowledged {
        &self.acknowledged
    }

    /// Appends a batch, the same bytes that its journal entry holds. `report` is called once, with
    /// what its buyers are answered: when the log has answered, or at their deadline. The future
    /// goes on until the log has answered: an acknowledgement after the deadline still counts for
    /// the buyers' repeats (R12).
    pub async fn append(
        &self,
        partition: PartitionId,
        batch: BatchId,
        payload: Bytes,
        room: L::Room,
        report: impl FnOnce(PurchaseState),
    ) {
        let started = self.clock.monotonic();
        let mut appending = std::pin::pin!(self.acknowledge(partition, batch, payload, room));
        match tokio::time::timeout(ACCEPT_DEADLINE, &mut appending).await {
            Ok(state) => report(state),
            Err(_elapsed) => {
                report(PurchaseState::Pending);
                // Its end only feeds the memory of acknowledgements.
                let _ended = tokio::time::timeout(APPEND_DEADLINE, appending).await;
            }
        }
        self.metrics.append_seconds.observe(self.clock.monotonic().saturating_sub(started).as_secs_f64());
    }

    /// Appends a batch and says whether the log has it. The sweeper does this too.
    pub async fn acknowledge(
        &self,
        partition: PartitionId,
        batch: BatchId,
        payload: Bytes,
        room: L::Room,
    ) -> PurchaseState {
        let Ok(id) = RecordId::new(batch.get()) else { return PurchaseState::Pending };
        match self.log.append(partition, Envelope { id, kind: BATCH_TYPE, payload }, room).await {
            Ok(_offset) => {
                self.acknowledged.note(batch, Moment::of(&self.clock).monotonic_ms);
                PurchaseState::Accepted
            }
            Err(error) => {
                self.metrics.append_failures.inc();
                tracing::warn!(%error, %batch, "a batch was not acknowledged; the sweeper will append it");
                PurchaseState::Pending
            }
        }
    }
}
