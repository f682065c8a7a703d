//! The lanes of a partition between the commit of their epoch and their opening, and the passes
//! over the rows that read them.

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
    stock::{Gone, GoneWhy},
};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::task::AbortOnDropHandle;

use crate::load::{Pass, Prepared};

/// Passes of a partition at the same time, of large lanes only one: small lanes go by.
const PASSES: usize = 2;
/// Lanes that are in place and wait for their worker; a pass waits where there are more.
const PREPARED: usize = 64;
/// How often a load that takes long is reported.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The loads of a partition.
pub(crate) struct Loads {
    lanes: BTreeMap<LaneId, Loading>,
    passes: Vec<Running>,
    passes_begun: u64,
    prepared: Receiver<Prepared>,
    sender: Sender<Prepared>,
    rows: Arc<AtomicU64>,
    /// When they were reported last, by the monotonic clock.
    reported: Duration,
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

/// A lane that no pass reads yet.
pub(crate) struct Unread {
    /// The lane.
    pub(crate) lane: LaneId,
    /// It was opened before.
    pub(crate) has_rows: bool,
    /// A pass with others failed on some lane's rows.
    pub(crate) alone: bool,
}

impl Default for Loads {
    fn default() -> Self {
        let (sender, prepared) = channel(PREPARED);
        let (lanes, passes, rows) = (BTreeMap::new(), Vec::new(), Arc::default());
        Self { lanes, passes, passes_begun: 0, prepared, sender, rows, reported: Duration::ZERO }
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

    /// The lane waits no longer; what was released meanwhile.
    pub(crate) fn remove(&mut self, lane: LaneId) -> Option<Vec<(BuyerId, OrderId)>> {
        self.lanes.remove(&lane).map(|loading| loading.released)
    }

    /// Releases are committed. The closed lane cannot take them, and its rows may have been read
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

    /// Passes that have ended. What they prepared is to be taken before they are forgotten.
    pub(crate) fn ended(&self) -> Vec<u64> {
        self.passes.iter().filter(|pass| pass.task.is_finished()).map(|pass| pass.number).collect()
    }

    /// The next lane that is in place.
    pub(crate) fn next_prepared(&mut self) -> Option<Prepared> {
        self.prepared.try_recv().ok()
    }

    /// Forgets passes that have ended; lanes of theirs of which nothing came.
    pub(crate) fn forget_passes(&mut self, ended: &[u64]) -> Vec<LaneId> {
        self.passes.retain(|pass| !ended.contains(&pass.number));
        let is_left = |loading: &Loading| loading.pass.is_some_and(|pass| ended.contains(&pass));
        self.lanes.iter().filter(|(_, loading)| is_left(loading)).map(|(&lane, _)| lane).collect()
    }

    /// Whether another pass may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.passes.len() < PASSES
    }

    /// Whether a large lane is being read.
    pub(crate) fn is_large_under_way(&self) -> bool {
        self.passes.iter().any(|pass| pass.is_large)
    }

    /// Lanes that no pass reads yet.
    pub(crate) fn unread(&self) -> impl Iterator<Item = Unread> {
        let waiting = self.lanes.iter().filter(|(_, loading)| loading.pass.is_none());
        waiting.map(|(&lane, loading)| Unread { lane, has_rows: !loading.first_opening, alone: loading.alone })
    }

    /// Puts these lanes, each with its lowest order id, into a pass of their own. `now`: by the
    /// monotonic clock.
    pub(crate) fn plan(&mut self, chosen: &[(LaneId, u64)], now: Duration) -> Pass {
        if self.passes.is_empty() {
            self.rows.store(0, Relaxed);
            self.reported = now;
        }
        self.passes_begun += 1;
        let (mut lanes, mut from) = (Vec::with_capacity(chosen.len()), None);
        for &(lane, rows_from) in chosen {
            let Some(loading) = self.lanes.get_mut(&lane) else { continue };
            loading.pass = Some(self.passes_begun);
            lanes.push((lane, loading.epoch));
            if !loading.first_opening {
                from = Some(from.map_or(rows_from, |from: u64| from.min(rows_from)));
            }
        }
        Pass { lanes, from, rows: Arc::clone(&self.rows) }
    }

    /// Where a pass sends the lanes that are in place.
    pub(crate) fn sender(&self) -> Sender<Prepared> {
        self.sender.clone()
    }

    /// The pass that was planned last runs as this task.
    pub(crate) fn run(&mut self, is_large: bool, task: AbortOnDropHandle<()>) {
        self.passes.push(Running { number: self.passes_begun, is_large, task });
    }

    /// A pass failed on some lane's rows: this lane is read again, by itself. `false`: it was, or
    /// it does not wait any more.
    pub(crate) fn read_alone(&mut self, lane: LaneId) -> bool {
        let Some(loading) = self.lanes.get_mut(&lane).filter(|loading| !loading.alone) else { return false };
        (loading.alone, loading.pass) = (true, None);
        true
    }

    /// Lanes that wait and rows that were read, when that is to be reported.
    pub(crate) fn report(&mut self, now: Duration) -> Option<(usize, u64)> {
        if self.lanes.is_empty() || now.saturating_sub(self.reported) < REPORT_EVERY {
            return None;
        }
        self.reported = now;
        Some((self.lanes.len(), self.rows.load(Relaxed)))
    }
}
