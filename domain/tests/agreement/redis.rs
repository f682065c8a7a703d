//! The lanes' server: every operation may be the last that a restart remembers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::{
    id::{BatchId, LaneId},
    stock::{LaneMachine, LaneView, RunId},
};

/// Operations that a restart may lose, at most.
const LOST_MAX: usize = 10;

/// All lanes on one server.
#[derive(Debug)]
pub struct Redis {
    run: RunId,
    lanes: BTreeMap<LaneId, LaneMachine>,
    /// The state before each of the last operations, oldest first.
    history: VecDeque<BTreeMap<LaneId, LaneMachine>>,
    /// Whether this run restarts it at all.
    remembers: bool,
}

impl Redis {
    pub fn new(restarts: bool) -> Self {
        Self { run: RunId(1), lanes: BTreeMap::new(), history: VecDeque::new(), remembers: restarts }
    }

    /// A lane that is about to change, and the server's run id.
    pub fn lane(&mut self, lane: LaneId) -> (&mut LaneMachine, RunId) {
        if self.remembers {
            if self.history.len() == LOST_MAX {
                self.history.pop_front();
            }
            self.history.push_back(self.lanes.clone());
        }
        (self.lanes.entry(lane).or_default(), self.run)
    }

    pub fn inspect(&self, lane: LaneId) -> LaneView {
        self.lanes
            .get(&lane)
            .map_or_else(|| LaneMachine::default().inspect(self.run), |machine| machine.inspect(self.run))
    }

    pub fn machine(&self, lane: LaneId) -> Option<&LaneMachine> {
        self.lanes.get(&lane)
    }

    /// Batches in any journal.
    pub fn journaled(&self) -> BTreeSet<BatchId> {
        self.lanes.values().flat_map(LaneMachine::journal).map(|(batch, _)| batch).collect()
    }

    pub fn history_len(&self) -> usize {
        self.history.len()
    }

    /// Restarts without the last `lost` operations; with `None` everything is gone.
    pub fn restart(&mut self, lost: Option<usize>, keeps_run: bool) {
        let kept = lost.and_then(|lost| self.history.len().checked_sub(lost));
        match kept {
            None => self.lanes.clear(),
            Some(at) if at < self.history.len() => self.lanes = self.history.swap_remove_back(at).unwrap_or_default(),
            Some(_) => {}
        }
        self.history.clear();
        if !keeps_run {
            self.run = RunId(self.run.0 + 1);
        }
    }
}
