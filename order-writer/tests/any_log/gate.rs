//! A stock in a test's hands. Loads wait where it wants them to: after a lane's rows were read,
//! before its buyers are in place. And lanes stand as if on several nodes, some of which do not
//! answer: one dead node of a cluster.
#![allow(dead_code, reason = "two test binaries share it, and one of them uses a part")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId},
    stock::{CloseAnswer, Gone, LaneAnswer, LaneOpening, LaneView, LoadAnswer, Purchase, RetireAnswer},
};
use store::stock::{LaneKeeping, StockError};
use tokio::sync::watch;

/// How long a call waits for a node that does not answer.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// Which lanes do not answer.
#[derive(Default)]
pub(crate) enum Dead {
    #[default]
    None,
    These(BTreeSet<LaneId>),
    All,
}

/// Which lanes' loads wait, and which lanes do not answer. Clones are one gate.
#[derive(Clone)]
pub(crate) struct Gate {
    held: Arc<watch::Sender<BTreeSet<LaneId>>>,
    waiting: Arc<AtomicUsize>,
    dead: Arc<Mutex<Dead>>,
    /// Calls that waited for [`SILENCE`] to its end.
    pub(crate) silent: Arc<AtomicU64>,
}

impl Gate {
    /// Nothing waits.
    pub(crate) fn open() -> Self {
        let held = Arc::new(watch::channel(BTreeSet::new()).0);
        Self { held, waiting: Arc::default(), dead: Arc::default(), silent: Arc::default() }
    }

    /// From now on these do not answer, and all others do.
    pub(crate) fn die(&self, dead: Dead) {
        *self.dead.lock().unwrap() = dead;
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

    async fn reach(&self, lane: LaneId) -> Result<&K, StockError> {
        let is_dead = match &*self.gate.dead.lock().unwrap() {
            Dead::None => false,
            Dead::These(lanes) => lanes.contains(&lane),
            Dead::All => true,
        };
        if !is_dead {
            return Ok(&self.port);
        }
        tokio::time::sleep(SILENCE).await;
        self.gate.silent.fetch_add(1, SeqCst);
        Err(StockError::Unknown("its node is dead on purpose".into()))
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
        self.gate.pass(lane).await;
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

    async fn limit(
        &self,
        lane: LaneId,
        epoch: Epoch,
        limit: u32,
        changed_at: i64,
        most: u32,
    ) -> Result<LaneAnswer<Option<u32>>, StockError> {
        self.reach(lane).await?.limit(lane, epoch, limit, changed_at, most).await
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        self.reach(lane).await?.inspect(lane).await
    }

    async fn buyers(&self, lane: LaneId) -> Result<Vec<(BuyerId, Vec<Purchase>)>, StockError> {
        self.reach(lane).await?.buyers(lane).await
    }
}
