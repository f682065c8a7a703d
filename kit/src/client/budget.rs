//! How many requests are sent again: a tenth of those that are sent for the first time, and a few.
//! When the other service fails for all, repetitions must not become the load that keeps it down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a first attempt pays in.
const DEPOSIT: u32 = 1;
/// What a repetition costs.
const COST: u32 = 10;
/// Most that is saved: as many repetitions at once.
const SAVED_MAX: u32 = 10 * COST;

/// Clones share one.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<AtomicU32>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(SAVED_MAX)))
    }
}

impl Budget {
    /// Says that a request is sent for the first time.
    pub(super) fn deposit(&self) {
        let add = |saved: u32| (saved < SAVED_MAX).then_some(saved + DEPOSIT);
        // Nothing changes where it is full.
        let _full = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Whether one may be sent again; if so, it is paid.
    pub(super) fn withdraw(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(COST)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_requests_may_be_repeated_and_ten_at_once() {
        let budget = Budget::default();
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10);
        let repeated = (0..1_000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert_eq!(repeated.count(), 100);
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10, "no more than that is saved");
    }
}
