//! Permits: how many purchases may be under way, in the engine and of one tenant. A permit gives
//! itself back.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crossbeam::utils::CachePadded;
use kit::metrics::IntGauge;

/// The engine's permits. The gauge is the count.
#[derive(Debug)]
pub struct Permits {
    in_use: IntGauge,
    max: i64,
}

impl Permits {
    /// `max` permits, all free.
    pub fn new(max: u32, in_use: IntGauge) -> Arc<Self> {
        Arc::new(Self { in_use, max: max.into() })
    }
}

/// What one tenant may hold of the engine's permits, so that its rush leaves room for the others.
#[derive(Debug)]
pub struct TenantShare {
    permits: Arc<Permits>,
    /// Written by every front thread for every purchase, so on a line of its own.
    in_use: CachePadded<AtomicU32>,
    max: u32,
}

impl TenantShare {
    /// At most `max` of `permits`.
    pub fn new(permits: Arc<Permits>, max: u32) -> Arc<Self> {
        Arc::new(Self { permits, in_use: CachePadded::new(AtomicU32::new(0)), max })
    }

    /// Takes a permit out of both counts; `None` when either is used up. When two ask for the last
    /// one at the same moment, both may go without.
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        if self.in_use.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.in_use.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.permits.in_use.inc();
        let permit = Permit { share: Arc::clone(self) };
        // Dropping the permit takes it out of both counts again.
        (self.permits.in_use.get() <= self.permits.max).then_some(permit)
    }
}

/// Leave for one purchase to be under way.
#[derive(Debug)]
pub struct Permit {
    share: Arc<TenantShare>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.share.permits.in_use.dec();
        self.share.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_share_and_the_engine_its_maximum() {
        let gauge = IntGauge::new("permits", "test").unwrap();
        let permits = Permits::new(3, gauge.clone());
        let [one, two] = [2, 2].map(|max| TenantShare::new(Arc::clone(&permits), max));
        let held: Vec<_> = std::iter::from_fn(|| one.take()).collect();
        assert_eq!(held.len(), 2, "its share");
        let other = two.take();
        assert!(other.is_some() && two.take().is_none(), "the engine has no fourth");
        assert_eq!(gauge.get(), 3);
        drop(held);
        assert!(two.take().is_some());
        drop(other);
        assert_eq!(gauge.get(), 0, "every permit came back");
    }
}
