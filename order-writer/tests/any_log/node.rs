//! The lanes of this process as if they stood on several nodes, some of which do not answer: one dead node of a cluster.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId},
    stock::{CloseAnswer, Gone, LaneAnswer, LaneOpening, LaneView, LoadAnswer, Purchase, RetireAnswer},
};
use store::stock::{LaneKeeping, StockError, local::LocalKeeping};

/// How long a call waits for a node that does not answer.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Nodes {
    lanes: LocalKeeping,
    dead: Arc<Mutex<Dead>>,
    /// Calls that waited for [`SILENCE`] to its end.
    pub(crate) waited: Arc<AtomicU64>,
}

/// Which lanes do not answer.
#[derive(Default)]
pub(crate) enum Dead {
    #[default]
    None,
    These(BTreeSet<LaneId>),
    All,
}

impl Nodes {
    pub(crate) fn new(lanes: LocalKeeping) -> Self {
        Self { lanes, dead: Arc::default(), waited: Arc::default() }
    }

    pub(crate) fn die(&self, dead: Dead) {
        *self.dead.lock().unwrap() = dead;
    }

    async fn reach(&self, lane: LaneId) -> Result<&LocalKeeping, StockError> {
        let is_dead = match &*self.dead.lock().unwrap() {
            Dead::None => false,
            Dead::These(lanes) => lanes.contains(&lane),
            Dead::All => true,
        };
        if !is_dead {
            return Ok(&self.lanes);
        }
        tokio::time::sleep(SILENCE).await;
        self.waited.fetch_add(1, Relaxed);
        Err(StockError::Unknown("its node is dead on purpose".into()))
    }
}

impl LaneKeeping for Nodes {
    async fn settle(
        &self,
        lane: LaneId,
        epoch: Epoch,
        batches: &[BatchId],
        gone: &[Gone],
    ) -> Result<LaneAnswer<()>, StockError> {
        self.reach(lane).await?.settle(lane, epoch, batches, gone).await
    }

    async fn close(&self, lane: LaneId, epoch: Epoch) -> Result<CloseAnswer, StockError> {
        self.reach(lane).await?.close(lane, epoch).await
    }

    async fn retire(&self, lane: LaneId, epoch: Epoch) -> Result<RetireAnswer, StockError> {
        self.reach(lane).await?.retire(lane, epoch).await
    }

    async fn journal(&self, lane: LaneId) -> Result<Vec<(BatchId, Bytes)>, StockError> {
        self.reach(lane).await?.journal(lane).await
    }

    async fn clear(&self, lane: LaneId, epoch: Epoch) -> Result<bool, StockError> {
        self.reach(lane).await?.clear(lane, epoch).await
    }

    async fn fill(
        &self,
        lane: LaneId,
        epoch: Epoch,
        purchases: &[(BuyerId, Purchase)],
    ) -> Result<Option<u64>, StockError> {
        self.reach(lane).await?.fill(lane, epoch, purchases).await
    }

    async fn open(&self, lane: LaneId, epoch: Epoch, opening: &LaneOpening) -> Result<LoadAnswer, StockError> {
        self.reach(lane).await?.open(lane, epoch, opening).await
    }

    async fn adjust(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> Result<LaneAnswer<()>, StockError> {
        self.reach(lane).await?.adjust(lane, epoch, offer, allotment, changed_at).await
    }

    async fn withhold(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        after: i64,
        units: u64,
    ) -> Result<LaneAnswer<u64>, StockError> {
        self.reach(lane).await?.withhold(lane, epoch, offer, after, units).await
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        self.reach(lane).await?.inspect(lane).await
    }

    async fn buyers(&self, lane: LaneId) -> Result<Vec<(BuyerId, Vec<Purchase>)>, StockError> {
        self.reach(lane).await?.buyers(lane).await
    }
}
