//! The lanes in this process: pure lane machines, each behind a lock of its own, and nothing else;
//! no rule is written here. A start begins with no lane at all. All are missing, which is closed,
//! and the keeper opens them from ledger and rows as after any loss (R3 to R5).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId},
    stock::{
        CloseAnswer, Gone, LaneAnswer, LaneMachine, LaneOpening, LaneView, LoadAnswer, PreparedLoad, Purchase,
        ReserveAnswer, ReserveCall, ReserveRequest, RetireAnswer, RunId,
    },
};

use super::{LaneKeeping, LaneStock, StockError};
use crate::figures::{CallCount, Calls, PoolUse};

/// Is told that a lane has answered its n-th call, counted from 1: under the lane's lock, on the
/// thread of the caller and before it has its answer. So tests learn in which order calls that came
/// at once were decided. It must not ask the lane itself.
pub type Observer = Arc<dyn Fn(LaneId, u64) + Send + Sync>;

/// The engine's port. Clones share their lanes.
#[derive(Clone)]
pub struct LocalStock {
    lanes: Arc<Lanes>,
    calls: Arc<CallCount>,
}

impl LocalStock {
    /// No lanes yet. `run` must be another one at each start of the process.
    pub fn new(run: RunId) -> Self {
        Self::with(run, None)
    }

    /// The same with an observer of every call, for tests.
    pub fn observed(run: RunId, observer: Observer) -> Self {
        Self::with(run, Some(observer))
    }

    fn with(run: RunId, observer: Option<Observer>) -> Self {
        let lanes = Lanes { run, kept: RwLock::default(), staged: Mutex::default(), observer };
        Self { lanes: Arc::new(lanes), calls: Arc::default() }
    }

    /// The keeper's port on the same lanes. Its calls are counted apart, as its own.
    pub fn keeping(&self) -> LocalKeeping {
        LocalKeeping { lanes: Arc::clone(&self.lanes), calls: Arc::default() }
    }

    /// What came of the calls of this port and its clones, whenever it is asked.
    pub fn calls(&self) -> impl Fn() -> Calls + Send + Sync + 'static + use<> {
        let calls = Arc::clone(&self.calls);
        move || calls.read()
    }
}

/// The keeper's port. Clones share their lanes.
#[derive(Clone)]
pub struct LocalKeeping {
    lanes: Arc<Lanes>,
    calls: Arc<CallCount>,
}

impl LocalKeeping {
    /// It has no connections.
    pub fn pool(&self) -> PoolUse {
        PoolUse::default()
    }

    /// What came of its calls.
    pub fn calls(&self) -> Calls {
        self.calls.read()
    }
}

/// A lane, and how many calls it has answered while it was observed.
#[derive(Default)]
struct Kept {
    machine: LaneMachine,
    calls: u64,
}

/// A load that is under way, and its epoch.
type Staged = (Epoch, Arc<Mutex<PreparedLoad>>);

struct Lanes {
    run: RunId,
    /// Written when a lane is closed or retired, else only read: lanes do not wait for each other.
    kept: RwLock<HashMap<LaneId, Arc<Mutex<Kept>>>>,
    staged: Mutex<HashMap<LaneId, Staged>>,
    observer: Option<Observer>,
}

impl Lanes {
    /// A missing lane answers as a new one does, which is then forgotten: who asks for lanes that
    /// are not there costs no memory.
    fn ask<T>(&self, lane: LaneId, act: impl FnOnce(&mut LaneMachine, RunId) -> T) -> T {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&lane).map(Arc::clone);
        match kept {
            Some(kept) => self.ask_kept(lane, &kept, act),
            None => act(&mut LaneMachine::default(), self.run),
        }
    }

    /// The same for the one call that makes a lane. No lane is retired meanwhile: what it makes
    /// stays.
    fn ask_or_keep<T>(&self, lane: LaneId, act: impl FnOnce(&mut LaneMachine, RunId) -> T) -> T {
        let mut all = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        self.ask_kept(lane, all.entry(lane).or_default(), act)
    }

    /// R14: the lane leaves the map; its buyers are let go of while nobody waits. Who holds it
    /// still finds it missing.
    fn retire(&self, lane: LaneId, epoch: Epoch) -> RetireAnswer {
        let mut all = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = all.get(&lane) else { return RetireAnswer::Gone };
        let retired = self.ask_kept(lane, kept, |machine, run| machine.retire(run, epoch));
        if retired.is_some() {
            all.remove(&lane);
        }
        drop(all);
        if retired.is_some() {
            lock_staged(&self.staged).remove(&lane);
        }
        retired.map_or(RetireAnswer::Refused, |_| RetireAnswer::Gone)
    }

    /// R4: whether a load may go on: what it puts in place stands beside the lane until it opens,
    /// so this is no call of the lane's.
    fn is_closed_under(&self, lane: LaneId, epoch: Epoch) -> bool {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&lane).map(Arc::clone);
        kept.is_some_and(|kept| lock(&kept).machine.is_closed_under(self.run, epoch))
    }

    fn ask_kept<T>(&self, lane: LaneId, kept: &Mutex<Kept>, act: impl FnOnce(&mut LaneMachine, RunId) -> T) -> T {
        let mut kept = lock(kept);
        let answer = act(&mut kept.machine, self.run);
        if let Some(observer) = &self.observer {
            kept.calls += 1;
            observer(lane, kept.calls);
        }
        answer
    }
}

/// A lane that a panic may have left half changed is lost: it is missing from then on, and the
/// keeper rebuilds it.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(|poisoned| {
        kept.clear_poison();
        let mut half = poisoned.into_inner();
        half.machine = LaneMachine::default();
        half
    })
}

/// A load that a panic left half done does not have the buyers that it should: it is refused.
fn lock_staged<T>(staged: &Mutex<T>) -> MutexGuard<'_, T> {
    staged.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counted like every other adapter's answers; none of these fails.
fn answered<T>(calls: &CallCount, answer: T) -> Result<T, StockError> {
    let answer = Ok(answer);
    calls.note(&answer);
    answer
}

impl LaneStock for LocalStock {
    async fn reserve(
        &self,
        call: ReserveCall,
        requests: &[ReserveRequest],
    ) -> Result<LaneAnswer<ReserveAnswer>, StockError> {
        answered(&self.calls, self.lanes.ask(call.lane, |machine, run| machine.reserve(run, call, requests)))
    }

    async fn find(&self, lane: LaneId, buyer: BuyerId) -> Result<LaneAnswer<Vec<(Purchase, bool)>>, StockError> {
        answered(&self.calls, self.lanes.ask(lane, |machine, run| machine.find(run, buyer)))
    }

    async fn claim(
        &self,
        lane: LaneId,
        now_ms: u64,
        n: u32,
        backoff_ms: u64,
    ) -> Result<LaneAnswer<Vec<(BatchId, Bytes)>>, StockError> {
        answered(&self.calls, self.lanes.ask(lane, |machine, run| machine.claim(run, now_ms, n, backoff_ms)))
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        answered(&self.calls, self.lanes.ask(lane, |machine, run| machine.inspect(run)))
    }
}

impl LaneKeeping for LocalKeeping {
    async fn settle(
        &self,
        lane: LaneId,
        epoch: Epoch,
        batches: &[BatchId],
        gone: &[Gone],
    ) -> Result<LaneAnswer<()>, StockError> {
        answered(&self.calls, self.lanes.ask(lane, |machine, run| machine.settle(run, epoch, batches, gone)))
    }

    async fn close(&self, lane: LaneId, epoch: Epoch) -> Result<CloseAnswer, StockError> {
        let answer = self.lanes.ask_or_keep(lane, |machine, run| machine.close(run, epoch));
        if answer == CloseAnswer::Closed {
            let mut staged = lock_staged(&self.lanes.staged);
            if staged.get(&lane).is_some_and(|(of, _)| *of != epoch) {
                staged.remove(&lane);
            }
        }
        answered(&self.calls, answer)
    }

    async fn journal(&self, lane: LaneId) -> Result<Vec<(BatchId, Bytes)>, StockError> {
        answered(&self.calls, self.lanes.ask(lane, |machine, _| machine.journal()))
    }

    async fn clear(&self, lane: LaneId, epoch: Epoch) -> Result<bool, StockError> {
        let is_closed = self.lanes.is_closed_under(lane, epoch);
        if is_closed {
            lock_staged(&self.lanes.staged).insert(lane, (epoch, Arc::default()));
        }
        answered(&self.calls, is_closed)
    }

    async fn fill(
        &self,
        lane: LaneId,
        epoch: Epoch,
        purchases: &[(BuyerId, Purchase)],
    ) -> Result<Option<u64>, StockError> {
        let is_closed = self.lanes.is_closed_under(lane, epoch);
        let staged = lock_staged(&self.lanes.staged).get(&lane).filter(|(of, _)| is_closed && *of == epoch).cloned();
        // A million buyers are put in place while nobody waits for the lane.
        answered(&self.calls, staged.map(|(_, load)| lock_staged(&load).fill(purchases)))
    }

    async fn open(&self, lane: LaneId, epoch: Epoch, opening: &LaneOpening) -> Result<LoadAnswer, StockError> {
        let staged = {
            let mut all = lock_staged(&self.lanes.staged);
            if all.get(&lane).is_some_and(|(of, _)| *of == epoch) { all.remove(&lane) } else { None }
        };
        let load = staged.map(|(_, load)| std::mem::take(&mut *lock_staged(&load)));
        let ready = load.and_then(|load| load.ready(opening));
        // The buyers before them are let go of without the lane's lock.
        let before = self.lanes.ask(lane, |machine, run| machine.replace(run, epoch, ready?));
        answered(&self.calls, before.map_or(LoadAnswer::Refused, |_| LoadAnswer::Loaded))
    }

    async fn retire(&self, lane: LaneId, epoch: Epoch) -> Result<RetireAnswer, StockError> {
        answered(&self.calls, self.lanes.retire(lane, epoch))
    }

    async fn adjust(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> Result<LaneAnswer<()>, StockError> {
        let adjust = |machine: &mut LaneMachine, run| machine.adjust(run, epoch, offer, allotment, changed_at);
        answered(&self.calls, self.lanes.ask(lane, adjust))
    }

    async fn withhold(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        after: i64,
        units: u64,
    ) -> Result<LaneAnswer<u64>, StockError> {
        let withhold = |machine: &mut LaneMachine, run| machine.withhold(run, epoch, offer, after, units);
        answered(&self.calls, self.lanes.ask(lane, withhold))
    }

    async fn limit(
        &self,
        lane: LaneId,
        epoch: Epoch,
        limit: u32,
        changed_at: i64,
        most: u32,
    ) -> Result<LaneAnswer<Option<u32>>, StockError> {
        let tell = |machine: &mut LaneMachine, run| machine.limit(run, epoch, limit, changed_at, most);
        answered(&self.calls, self.lanes.ask(lane, tell))
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        answered(&self.calls, self.lanes.ask(lane, |machine, run| machine.inspect(run)))
    }

    async fn buyers(&self, lane: LaneId) -> Result<Vec<(BuyerId, Vec<Purchase>)>, StockError> {
        answered(&self.calls, self.lanes.ask(lane, |machine, _| machine.buyers()))
    }
}

#[cfg(test)]
mod tests;
