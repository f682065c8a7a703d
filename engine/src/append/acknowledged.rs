//! Batches whose acknowledgement this engine saw. Only they, and settled ones, make a repeat
//! "accepted" (R12).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use domain::id::BatchId;

/// Batches remembered, at most; the oldest go first. About 12 MiB when full: a minute of 4,000
/// batches a second.
pub const ACKNOWLEDGED_MAX: usize = 1 << 18;

/// A memory of fixed size. Touched once a batch, not once an order.
#[derive(Debug)]
pub struct Acknowledged {
    inner: Mutex<Inner>,
    max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// Monotonic milliseconds of each acknowledgement.
    at: HashMap<BatchId, u64>,
    order: VecDeque<BatchId>,
}

impl Default for Acknowledged {
    fn default() -> Self {
        Self::bounded(ACKNOWLEDGED_MAX)
    }
}

impl Acknowledged {
    fn bounded(max: usize) -> Self {
        Self { inner: Mutex::default(), max }
    }

    /// Remembers that the log acknowledged this batch, at this monotonic millisecond.
    pub fn note(&self, batch: BatchId, monotonic_ms: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.at.insert(batch, monotonic_ms).is_some() {
            return;
        }
        inner.order.push_back(batch);
        if inner.order.len() > self.max
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.at.remove(&oldest);
        }
    }

    /// When this batch was last acknowledged, if that is remembered.
    pub fn at(&self, batch: BatchId) -> Option<u64> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).at.get(&batch).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let acknowledged = Acknowledged::bounded(2);
        let [one, two, three] = [1, 2, 3].map(|id| BatchId::new(id).unwrap());
        acknowledged.note(one, 10);
        acknowledged.note(two, 20);
        acknowledged.note(one, 30);
        assert_eq!(acknowledged.at(one), Some(30));
        acknowledged.note(three, 40);
        assert_eq!((acknowledged.at(one), acknowledged.at(two), acknowledged.at(three)), (None, Some(20), Some(40)));
    }
}
