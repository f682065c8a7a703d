//! The queue of one lane on one thread: who waits, and how many calls are out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::record::BATCH_MAX;

use super::Queued;
use crate::purchase::Declined;

/// Calls of one lane and thread that are out at a time. One: Redis decides one call after the other
/// anyway, so a second would only split the batch that is collecting, and the larger a batch the
/// cheaper each of its orders. Appends are not counted.
pub const CALLS_OUT_MAX: usize = 1;
/// Requests of one lane and thread that wait, at most: sixteen calls' worth, so that the last of
/// them is still served in time.
pub const WAITING_MAX: usize = 16 * BATCH_MAX;
const _: () = assert!(CALLS_OUT_MAX >= 1 && WAITING_MAX >= BATCH_MAX);

/// Who waits for a lane.
#[derive(Default)]
pub(super) struct Queue(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    waiting: std::collections::VecDeque<Queued>,
    calls_out: usize,
}

impl Queue {
    /// Takes a place. `true`: the caller must drive, by a [`Driving`].
    pub(super) fn join(&self, queued: Queued) -> Result<bool, Declined> {
        let mut inner = self.lock();
        if inner.waiting.len() >= WAITING_MAX {
            queued.waiter.offered.counts.refused(&Declined::Overloaded);
            return Err(Declined::Overloaded);
        }
        inner.waiting.push_back(queued);
        let must_drive = inner.calls_out < CALLS_OUT_MAX;
        inner.calls_out += usize::from(must_drive);
        Ok(must_drive)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make calls, counted in `calls_out`. Dropped half way, it lets the next request
/// drive.
pub(super) struct Driving {
    queue: Arc<Queue>,
    is_over: bool,
}

impl Driving {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, is_over: false }
    }

    /// The next batch; `None` ends the driving, in the same moment in which the queue was seen
    /// empty.
    pub(super) fn next(&mut self) -> Option<Vec<Queued>> {
        let mut inner = self.queue.lock();
        if self.is_over {
            return None;
        }
        if inner.waiting.is_empty() {
            inner.calls_out -= 1;
            self.is_over = true;
            return None;
        }
        let size = inner.waiting.len().min(BATCH_MAX);
        Some(inner.waiting.drain(..size).collect())
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        if !self.is_over {
            self.queue.lock().calls_out -= 1;
        }
    }
}
