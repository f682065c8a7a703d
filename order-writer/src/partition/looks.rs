//! What a keeper remembers of its looks at a partition.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use domain::{
    id::{LaneId, RecordId},
    record::Record,
};
use tokio_util::task::AbortOnDropHandle;

use crate::ports::Sales;

/// A lane at rest is looked at once in so many looks: yesterday's sales would cost as much as
/// today's.
const RESTING_LOOK: u64 = 8;
/// How long one look may rebuild lanes while records wait to be decided.
const LOOK_MAX: Duration = Duration::from_millis(100);
/// Retired lanes that a round looks at: a stock server restored from a copy brings their keys back.
const ROUND: usize = 16;
/// A round is made once in so many looks.
const ROUND_EVERY: u64 = 8;

/// Lanes that are asked whether they are back, and which of them answered.
#[derive(Debug)]
pub(crate) struct Asking {
    /// All that were asked.
    pub(crate) lanes: BTreeSet<LaneId>,
    /// Those that answered.
    pub(crate) answered: AbortOnDropHandle<BTreeSet<LaneId>>,
}

/// An epoch in the log that is not proven yet.
pub(crate) struct Unproven {
    pub(crate) id: RecordId,
    pub(crate) offset: u64,
    pub(crate) record: Record,
    /// What was drained for it, with its offsets as they were acknowledged; not empty.
    pub(crate) drained: Vec<(u64, RecordId)>,
}

impl Unproven {
    /// Of what was drained, the lowest offset.
    pub(crate) fn first(&self) -> u64 {
        self.drained.iter().map(|&(offset, _)| offset).min().unwrap_or(self.offset)
    }
}

/// What a keeper remembers of its looks.
#[derive(Default)]
pub(crate) struct Looks {
    count: u64,
    /// Where the partition stood at the last look.
    offset: u64,
    /// A lane was not open: a server that restarted closes all of them, so the next look spares
    /// none.
    wary: bool,
    /// The sales at the last look: a new version may ask a lane at rest for another allotment.
    sales: Option<Sales>,
    /// Lanes were left out, because rebuilding others took long: records are decided first, then
    /// the next look goes on.
    is_unfinished: bool,
    /// Time that this look has spent on rebuilding.
    rebuilding: Duration,
    /// Lanes that the ledger did not take, with the version of their sale.
    refused: BTreeSet<(LaneId, u32)>,
    /// The last retired lane that was looked at.
    retired_seen: Option<LaneId>,
    /// Whether lanes that are left out are back.
    asking: Option<Asking>,
    /// Epochs that this look has appended.
    unproven: Vec<Unproven>,
}

impl Looks {
    /// None yet; the partition stands at `offset`.
    pub(crate) fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// Begins a look. Returns whether it spares no lane: one was closed, or a sale has changed.
    pub(crate) fn begin(&mut self, sales: &Sales) -> bool {
        let is_wary = std::mem::take(&mut self.wary);
        let is_new = !self.sales.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, sales));
        self.sales = Some(Arc::clone(sales));
        self.count += 1;
        (self.is_unfinished, self.rebuilding) = (false, Duration::ZERO);
        is_wary || is_new
    }

    /// The partition stands at `offset` now. Returns whether it moved since the last look.
    pub(crate) const fn note_position(&mut self, offset: u64) -> bool {
        let has_moved = offset > self.offset;
        self.offset = offset;
        has_moved
    }

    /// A lane was looked at; whether it was open as the ledger has it.
    pub(crate) const fn note_lane(&mut self, is_open: bool) {
        self.wary |= !is_open;
    }

    /// This look spent so long on rebuilding a lane.
    pub(crate) fn note_rebuilt(&mut self, took: Duration) {
        self.rebuilding += took;
    }

    /// Ends a look that has rebuilt for long; the next one goes on, and spares no lane.
    pub(crate) fn end_if_late(&mut self) -> bool {
        let is_late = self.rebuilding > LOOK_MAX;
        self.is_unfinished |= is_late;
        self.wary |= is_late;
        is_late
    }

    /// Whether the last look came to all lanes.
    pub(crate) const fn is_done(&self) -> bool {
        !self.is_unfinished
    }

    /// Whether a lane at rest is looked at in this look: they take turns.
    pub(crate) fn is_turn_of(&self, lane: LaneId) -> bool {
        self.count.wrapping_add(lane.get()).is_multiple_of(RESTING_LOOK)
    }

    /// Whether the ledger did not take this lane of this version of its sale.
    pub(crate) fn is_refused(&self, lane: LaneId, version: u32) -> bool {
        self.refused.contains(&(lane, version))
    }

    /// The ledger did not take it.
    pub(crate) fn note_refused(&mut self, lane: LaneId, version: u32) {
        self.refused.insert((lane, version));
    }

    /// The retired lanes to look at in this look, none in most. `retired`: all of them, by id. At
    /// the end of the list the next round begins anew.
    pub(crate) fn next_round(&mut self, retired: &[LaneId]) -> Vec<LaneId> {
        if !self.count.is_multiple_of(ROUND_EVERY) {
            return Vec::new();
        }
        let begin = retired.partition_point(|lane| Some(*lane) <= self.retired_seen);
        let round: Vec<LaneId> = retired[begin..].iter().take(ROUND).copied().collect();
        self.retired_seen = round.last().copied();
        round
    }

    /// An epoch was appended in this look.
    pub(crate) fn note_unproven(&mut self, epoch: Unproven) {
        self.unproven.push(epoch);
    }

    /// The epochs that were appended since this was asked.
    pub(crate) fn take_unproven(&mut self) -> Vec<Unproven> {
        std::mem::take(&mut self.unproven)
    }

    /// Whether lanes are being asked whether they are back.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| !asking.answered.is_finished())
    }

    /// Lanes are asked whether they are back.
    pub(crate) fn ask(&mut self, asking: Asking) {
        self.asking = Some(asking);
    }

    /// What was asked last, once.
    pub(crate) const fn take_asked(&mut self) -> Option<Asking> {
        self.asking.take()
    }
}
