//! One reserve call with its repetitions: the same batch id each time, so that nothing is promised
//! twice.

use std::{sync::Arc, time::Duration};

use domain::{
    id::OfferId,
    stock::{LaneAnswer, ReserveAnswer, ReserveCall, ReserveReply, ReserveRequest},
};
use kit::clock::Clock;
use store::{
    log::OrderLog,
    stock::{LaneStock, StockError},
};

use super::Reserver;
use crate::sales::Lane;

/// Everything together: then the outcome is unknown.
pub(super) const CALL_BUDGET: Duration = Duration::from_millis(1_500);
/// Tries after the first, when there was no answer.
pub(super) const RETRIES_MAX: u32 = 2;
/// Pause before the first of them; doubled before the next, and up to half as long again by chance.
const RETRY_PAUSE: Duration = Duration::from_millis(40);
const _: () = assert!(RETRY_PAUSE.as_millis() * 6 < CALL_BUDGET.as_millis());

/// What the lane decided.
pub(super) struct Decided {
    /// One per request.
    pub(super) replies: Vec<ReserveReply>,
    /// Units left per offer.
    pub(super) left: Vec<(OfferId, u64)>,
    /// An earlier try got no answer: it may have happened.
    pub(super) was_repeated: bool,
}

/// What became of a call.
pub(super) enum Asked {
    /// The lane was open.
    Decided(Decided),
    /// The log does not keep up: nothing was promised.
    JournalFull,
    /// The lane is closed, or its server cannot decide. Never "no".
    Closed,
    /// It never left this engine: nothing happened.
    Unsent,
    /// No answer came: it may have happened or not.
    Unknown,
}

impl Asked {
    /// The same when an earlier try of the call may have happened: what denies a promise speaks of
    /// the later try alone.
    fn after(self, retries: u32) -> Self {
        match self {
            Self::JournalFull | Self::Closed | Self::Unsent if retries > 0 => Self::Unknown,
            asked => asked,
        }
    }
}

impl<S: LaneStock, L: OrderLog, C: Clock> Reserver<S, L, C> {
    /// Asks until there is an answer, the tries are used up, or [`CALL_BUDGET`] is. `call` then
    /// holds the epoch that answered.
    pub(super) async fn ask(&self, lane: &Arc<Lane>, call: &mut ReserveCall, requests: &[ReserveRequest]) -> Asked {
        let started = self.clock.monotonic();
        let asked = tokio::time::timeout(CALL_BUDGET, self.ask_again(lane, call, requests)).await;
        self.metrics.reserve_seconds.observe(self.clock.monotonic().saturating_sub(started).as_secs_f64());
        let asked = asked.unwrap_or(Asked::Unknown);
        match asked {
            Asked::Closed => self.metrics.lanes_closed.inc(),
            Asked::Unsent => self.metrics.reserve_unsent.inc(),
            Asked::Unknown => self.metrics.reserve_unknown.inc(),
            Asked::Decided(_) | Asked::JournalFull => {}
        }
        asked
    }

    async fn ask_again(&self, lane: &Arc<Lane>, call: &mut ReserveCall, requests: &[ReserveRequest]) -> Asked {
        let (mut retries, mut has_followed) = (0, false);
        loop {
            match self.stock.reserve(*call, requests).await {
                Ok(LaneAnswer::Open(ReserveAnswer::Decided { replies, left })) if replies.len() == requests.len() => {
                    return Asked::Decided(Decided { replies, left, was_repeated: retries > 0 });
                }
                Ok(LaneAnswer::Open(ReserveAnswer::Decided { replies, .. })) => {
                    tracing::error!(
                        asked = requests.len(),
                        answered = replies.len(),
                        "a lane left requests unanswered"
                    );
                    return Asked::Unknown;
                }
                Ok(LaneAnswer::Open(ReserveAnswer::JournalFull)) => return Asked::JournalFull.after(retries),
                Ok(LaneAnswer::Closed { epoch }) if epoch > call.epoch && !has_followed => {
                    // Rebuilt under a later epoch: follow, once. A closed call did nothing, so this
                    // is no repetition.
                    has_followed = true;
                    lane.follow(epoch);
                    call.epoch = epoch;
                }
                Ok(LaneAnswer::Closed { .. }) => return Asked::Closed.after(retries),
                // Nothing happened, and the next connection is made meanwhile: the client's retry
                // finds it.
                Err(StockError::Unsent(error)) if retries == 0 => {
                    tracing::debug!(%error, lane = %lane.id, "the lane cannot be asked");
                    return Asked::Unsent;
                }
                Err(error) if error.is_retryable() && retries < RETRIES_MAX => {
                    tracing::debug!(%error, lane = %lane.id, "no answer from the lane; asking again");
                    retries += 1;
                    tokio::time::sleep(pause(retries, call)).await;
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, lane = %lane.id, "no answer from the lane; the outcome is unknown");
                    return Asked::Unknown;
                }
                Err(error) => {
                    tracing::error!(%error, lane = %lane.id, "the lane cannot decide");
                    return Asked::Closed.after(retries);
                }
            }
        }
    }
}

/// The pause before a retry. Its chance comes from the batch id: another for each call, the same in
/// a simulation.
fn pause(retry: u32, call: &ReserveCall) -> Duration {
    let base = RETRY_PAUSE * (1 << (retry - 1));
    let chance = (call.batch.get() ^ u64::from(retry)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    // 0 to 255 of 512: up to half as long again.
    base + base * u32::try_from(chance).unwrap_or(0) / 512
}
