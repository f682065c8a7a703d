//! A stock whose loads wait where a test wants them to: after a lane's rows were read, before its buyers are in place.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId},
    stock::{CloseAnswer, Gone, LaneAnswer, LaneOpening, LaneView, LoadAnswer, Purchase, RetireAnswer},
};
use store::stock::{LaneKeeping, StockError};
use tokio::sync::watch;

/// Which lanes' loads wait. Clones are one gate.
#[derive(Clone)]
pub(crate) struct Gate {
    held: Arc<watch::Sender<BTreeSet<LaneId>>>,
    waiting: Arc<AtomicUsize>,
}

impl Gate {
    /// Nothing waits.
    pub(crate) fn open() -> Self {
        Self { held: Arc::new(watch::channel(BTreeSet::new()).0), waiting: Arc::default() }
    }

    /// From now on the loads of this lane wait.
    pub(crate) fn hold(&self, lane: LaneId) {
        self.held.send_if_modified(|held| held.insert(lane));
    }

    /// They go on.
    pub(crate) fn let_go(&self, lane: LaneId) {
        self.held.send_if_modified(|held| held.remove(&lane));
    }

    /// Loads that came to the gate and wait, or were dropped there.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    async fn pass(&self, lane: LaneId) {
        let mut held = self.held.subscribe();
        if held.borrow().contains(&lane) {
            self.waiting.fetch_add(1, SeqCst);
        }
        held.wait_for(|held| !held.contains(&lane)).await.unwrap();
    }
}

/// The keeper's port behind the gate.
#[derive(Clone)]
pub(crate) struct Gated<K> {
    port: K,
    gate: Gate,
}

impl<K> Gated<K> {
    pub(crate) fn new(port: K, gate: &Gate) -> Self {
        Self { port, gate: gate.clone() }
    }
}

impl<K: LaneKeeping> LaneKeeping for Gated<K> {
    async fn settle(
        &self,
        lane: LaneId,
        epoch: Epoch,
        batches: &[BatchId],
        gone: &[Gone],
    ) -> Result<LaneAnswer<()>, StockError> {
        self.port.settle(lane, epoch, batches, gone).await
    }

    async fn close(&self, lane: LaneId, epoch: Epoch) -> Result<CloseAnswer, StockError> {
        self.port.close(lane, epoch).await
    }

    async fn retire(&self, lane: LaneId, epoch: Epoch) -> Result<RetireAnswer, StockError> {
        self.port.retire(lane, epoch).await
    }

    async fn journal(&self, lane: LaneId) -> Result<Vec<(BatchId, Bytes)>, StockError> {
        self.port.journal(lane).await
    }

    async fn clear(&self, lane: LaneId, epoch: Epoch) -> Result<bool, StockError> {
        self.port.clear(lane, epoch).await
    }

    async fn fill(
        &self,
        lane: LaneId,
        epoch: Epoch,
        purchases: &[(BuyerId, Purchase)],
    ) -> Result<Option<u64>, StockError> {
        self.gate.pass(lane).await;
        self.port.fill(lane, epoch, purchases).await
    }

    async fn open(&self, lane: LaneId, epoch: Epoch, opening: &LaneOpening) -> Result<LoadAnswer, StockError> {
        self.port.open(lane, epoch, opening).await
    }

    async fn adjust(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> Result<LaneAnswer<()>, StockError> {
        self.port.adjust(lane, epoch, offer, allotment, changed_at).await
    }

    async fn withhold(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        after: i64,
        units: u64,
    ) -> Result<LaneAnswer<u64>, StockError> {
        self.port.withhold(lane, epoch, offer, after, units).await
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        self.port.inspect(lane).await
    }

    async fn buyers(&self, lane: LaneId) -> Result<Vec<(BuyerId, Vec<Purchase>)>, StockError> {
        self.port.buyers(lane).await
    }
}
