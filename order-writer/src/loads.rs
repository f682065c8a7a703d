//! Loads of lanes as their worker sees them: it begins passes over the rows, goes on deciding while
//! they run, and opens a lane between two spans, with the numbers of that very moment (R4). The
//! winner of an epoch's commit loads, once; a worker that reads everything anew drops its loads
//! with all else it holds, and the lane's next epoch makes sure that none of them opens anything.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use domain::{
    id::{BuyerId, Epoch, LaneId, OrderId},
    stock::{Gone, GoneWhy, LaneOpening, LoadAnswer, OfferLoad},
};
use kit::clock::Clock;
use store::{sql::SqlError, stock::LaneKeeping};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    failpoint::Step,
    load::{Filled, Outcome, Pass, Prepared, prepare},
    partition::Partition,
    ports::{Halt, Ports},
    turn::{Turn, Waiting, next_pass},
};

/// Passes of a partition at the same time, of large lanes only one: small lanes go by.
const PASSES: usize = 2;
/// Lanes that are in place and wait for their worker; a pass waits where there are more.
const PREPARED: usize = 64;
/// How often a load that takes long is told of.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// The loads of a partition.
pub struct Loads {
    lanes: BTreeMap<LaneId, Loading>,
    passes: Vec<Running>,
    passes_begun: u64,
    prepared: Receiver<Prepared>,
    tell: Sender<Prepared>,
    rows: Arc<AtomicU64>,
    told: Duration,
}

/// A lane between the commit of its epoch and its opening.
struct Loading {
    epoch: Epoch,
    /// Nothing was sold from it before.
    first_opening: bool,
    alone: bool,
    /// The number of the pass that it is in.
    pass: Option<u64>,
    /// Releases committed since it is waiting.
    released: Vec<(BuyerId, OrderId)>,
}

struct Running {
    number: u64,
    is_large: bool,
    task: AbortOnDropHandle<()>,
}

impl Default for Loads {
    fn default() -> Self {
        let (tell, prepared) = channel(PREPARED);
        let (lanes, passes, rows) = (BTreeMap::new(), Vec::new(), Arc::default());
        Self { lanes, passes, passes_begun: 0, prepared, tell, rows, told: Duration::ZERO }
    }
}

impl Loads {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether the lane waits for its opening under this epoch.
    pub(crate) fn is_under_way(&self, lane: LaneId, epoch: Epoch) -> bool {
        self.lanes.get(&lane).is_some_and(|loading| loading.epoch == epoch)
    }

    /// A lane's epoch is committed. A load under an older one is dropped: the lane refuses it.
    pub(crate) fn add(&mut self, lane: LaneId, epoch: Epoch, first_opening: bool) {
        let (alone, pass, released) = (false, None, Vec::new());
        self.lanes.insert(lane, Loading { epoch, first_opening, alone, pass, released });
    }

    /// Releases are committed. The closed lane cannot be told, and its rows may have been read
    /// before.
    pub(crate) fn note_released(&mut self, gone: &[(LaneId, Gone)]) {
        if self.lanes.is_empty() {
            return;
        }
        for (lane, gone) in gone.iter().filter(|(_, gone)| matches!(gone.why, GoneWhy::Released { .. })) {
            if let Some(loading) = self.lanes.get_mut(lane) {
                loading.released.push((gone.buyer, gone.order));
            }
        }
    }
}

impl<P: Ports> Partition<P> {
    /// Opens the lanes that are in place and begins passes for those that wait, between two spans.
    pub(crate) async fn go_on_loading(&mut self) -> Result<(), Halt> {
        if self.loads.is_empty() {
            return Ok(());
        }
        let ended: Vec<u64> =
            self.loads.passes.iter().filter(|pass| pass.task.is_finished()).map(|pass| pass.number).collect();
        while let Ok(prepared) = self.loads.prepared.try_recv() {
            self.take(prepared).await?;
        }
        self.loads.passes.retain(|pass| !ended.contains(&pass.number));
        let is_left = |loading: &Loading| loading.pass.is_some_and(|pass| ended.contains(&pass));
        let left: Vec<LaneId> =
            self.loads.lanes.iter().filter(|(_, loading)| is_left(loading)).map(|(&lane, _)| lane).collect();
        for lane in left {
            tracing::error!(%lane, "the lane's load ended without a word, report this: it is rebuilt");
            self.give_up(lane);
        }
        self.begin_passes();
        self.tell_of_loads();
        Ok(())
    }

    fn begin_passes(&mut self) {
        while self.loads.passes.len() < PASSES {
            let (sales, now) = (self.shared.sales.borrow().clone(), self.shared.clock.now_ms());
            let waiting = self.loads.lanes.iter().filter(|(_, loading)| loading.pass.is_none());
            let waiting = waiting.map(|(&lane, loading)| Waiting {
                lane,
                turn: Turn::of(self.owner_of(&sales, lane).map(|sale| sale.window), now),
                has_rows: !loading.first_opening,
                alone: loading.alone,
                units: self.lanes.get(&lane).map_or(0, |lane| lane.offers.values().map(|offer| offer.sold).sum()),
            });
            let waiting: Vec<Waiting> = waiting.collect();
            let chosen = next_pass(waiting.clone(), self.loads.passes.iter().any(|pass| pass.is_large));
            if chosen.is_empty() {
                return;
            }
            self.begin_pass(&chosen, waiting.iter().any(|w| w.is_large() && chosen.contains(&w.lane)));
        }
    }

    fn begin_pass(&mut self, chosen: &[LaneId], is_large: bool) {
        if self.loads.passes.is_empty() {
            self.loads.rows.store(0, Relaxed);
            self.loads.told = self.shared.clock.monotonic();
        }
        self.loads.passes_begun += 1;
        let number = self.loads.passes_begun;
        let (mut lanes, mut from) = (Vec::with_capacity(chosen.len()), None);
        for &lane in chosen {
            let Some(loading) = self.loads.lanes.get_mut(&lane) else { continue };
            loading.pass = Some(number);
            lanes.push((lane, loading.epoch));
            if !loading.first_opening {
                let rows_from = self.lanes.get(&lane).map_or(0, |lane| lane.rows_from());
                from = Some(from.map_or(rows_from, |from: u64| from.min(rows_from)));
            }
        }
        let pass = Pass { lanes, from, rows: Arc::clone(&self.loads.rows) };
        let preparing = prepare(Arc::clone(&self.shared), pass, self.loads.tell.clone());
        self.loads.passes.push(Running { number, is_large, task: AbortOnDropHandle::new(tokio::spawn(preparing)) });
    }

    async fn take(&mut self, prepared: Prepared) -> Result<(), Halt> {
        let Prepared { lane, epoch, outcome } = prepared;
        if !self.loads.is_under_way(lane, epoch) {
            return Ok(());
        }
        match outcome {
            Outcome::Filled(filled) => return self.open(lane, epoch, filled).await,
            Outcome::Unreadable(error) => self.unreadable(lane, &error),
            Outcome::Refused => {
                tracing::warn!(%lane, %epoch, "the lane refused its load: it is rebuilt under the next epoch");
                self.give_up(lane);
            }
            Outcome::Unclear(error) => {
                tracing::warn!(%lane, %epoch, error, "the lane's load is unclear: it is rebuilt under the next epoch");
                self.give_up(lane);
            }
        }
        Ok(())
    }

    /// A row that cannot be read stops its own lane only: the lanes of a pass are read again, each
    /// by itself.
    fn unreadable(&mut self, lane: LaneId, error: &SqlError) {
        let Some(loading) = self.loads.lanes.get_mut(&lane) else { return };
        if !std::mem::replace(&mut loading.alone, true) {
            loading.pass = None;
            return;
        }
        self.loads.lanes.remove(&lane);
        tracing::error!(%lane, %error, "the lane's rows cannot be read, so it stays closed: restore their database");
        let until = self.shared.clock.monotonic() + self.shared.pace.rebuild_patience;
        self.facts.entry(lane).or_default().aside_until = Some(until);
    }

    /// The keeper's next look asks for the next epoch: a load is not repeated.
    fn give_up(&mut self, lane: LaneId) {
        self.loads.lanes.remove(&lane);
        self.facts.entry(lane).or_default().is_due();
    }

    /// R4: units by the ledger at this moment; buyers by the rows, and by what was released since
    /// they were read.
    async fn open(&mut self, id: LaneId, epoch: Epoch, mut filled: Filled) -> Result<(), Halt> {
        let (Some(loading), Some(lane)) = (self.loads.lanes.remove(&id), self.lanes.get(&id)) else { return Ok(()) };
        let offers = lane.offers.iter().map(|(&offer, numbers)| OfferLoad {
            offer,
            left: numbers.allotment.saturating_sub(numbers.sold),
            allotment: numbers.allotment,
            changed_at: numbers.changed_at,
        });
        let (limit_per_buyer, offers) = (lane.limit_per_buyer, offers.collect());
        let stock = &self.shared.stock;
        let changed = filled.release(self.shared.orders.map(), &loading.released);
        let opened = async {
            if !changed.is_empty() && stock.fill(id, epoch, &changed).await?.is_none() {
                return Ok(LoadAnswer::Refused);
            }
            stock.open(id, epoch, &LaneOpening { buyers: filled.buyers, limit_per_buyer, offers }).await
        };
        match opened.await {
            Ok(LoadAnswer::Loaded) => {
                tracing::info!(lane = %id, %epoch, purchases = filled.len(), "lane open");
                let facts = self.facts.entry(id).or_default();
                let was_distrusted = facts.distrusted;
                facts.opened();
                if was_distrusted {
                    self.shared.ledger.trust(id).await?;
                }
                self.shared.failpoint.reach(Step::Loaded);
            }
            Ok(LoadAnswer::Refused) => {
                tracing::warn!(lane = %id, %epoch, "the lane refused its load: it is rebuilt under the next epoch");
                self.facts.entry(id).or_default().is_due();
            }
            Err(error) => {
                tracing::warn!(lane = %id, %epoch, %error, "the lane's load is unclear: it is rebuilt under the next epoch");
                self.facts.entry(id).or_default().is_due();
            }
        }
        Ok(())
    }

    /// R4: what follows from the commit of an epoch: a load, whatever the time is by now, because a
    /// lane that is left closed would be rebuilt again. An epoch that the log held already when
    /// this worker resumed may have sold since: its lane gets another.
    pub(crate) fn await_load(&mut self, lane: LaneId, epoch: Epoch, is_replayed: bool) {
        let facts = self.facts.entry(lane).or_default();
        if is_replayed {
            facts.is_due();
        } else {
            self.loads.add(lane, epoch, facts.first_opening);
        }
    }

    fn tell_of_loads(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let now = self.shared.clock.monotonic();
        if now.saturating_sub(self.loads.told) >= TELL_EVERY {
            self.loads.told = now;
            let (lanes, rows) = (self.loads.lanes.len(), self.loads.rows.load(Relaxed));
            tracing::info!(partition = %self.id, lanes, rows, "lanes are closed until their rows are read");
        }
    }
}
