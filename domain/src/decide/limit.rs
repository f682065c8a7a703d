//! R16: the limit per buyer of a lane changes at one place of the log. Reservations before it are
//! judged by the old limit, those after it by the new one.

use super::Deciding;
use crate::{
    id::{LaneId, Position},
    record::LimitChange,
};

/// A change of a lane's limit per buyer, for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitMove {
    /// The lane.
    pub lane: LaneId,
    /// Live units one buyer may hold from here on.
    pub limit: u32,
    /// Its packed position.
    pub changed_at: i64,
}

impl Deciding<'_> {
    /// R16: only after the change that it was made for, so each holds once. A lower limit holds
    /// only in the epoch in which the lane held to it before: under another one the lane was loaded
    /// with the ledger's, and has promised by it. The limit that is there may be asked for too: it
    /// gives back what a keeper lowered in the lane and never asked for.
    pub(super) fn limit(&mut self, at: Position, change: &LimitChange) {
        let Some(lane) = self.lanes.get(&change.lane) else {
            return self.undecidable(at, format!("lane {} has no ledger row", change.lane));
        };
        let Some(changed_at) = at.pack() else {
            return self.undecidable(at, format!("a limit of lane {} at a position beyond the last", change.lane));
        };
        let is_kept = change.limit >= lane.limit_per_buyer || change.epoch == lane.epoch;
        if is_kept && change.after == lane.limit_changed_at {
            self.out.limits.push(LimitMove { lane: change.lane, limit: change.limit, changed_at });
        }
    }
}
