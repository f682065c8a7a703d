//! What the consumers of this process have done so far, by name.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::figures::Figure;

/// Counts of one consumer, all its partitions.
#[derive(Debug, Default)]
pub(super) struct Counts {
    taken: AtomicU64,
    parked: AtomicU64,
    newer: AtomicU64,
}

/// One process has few consumers, each for as long as it runs.
static CONSUMERS: Mutex<BTreeMap<&'static str, Arc<Counts>>> = Mutex::new(BTreeMap::new());

impl Counts {
    pub(super) fn of(consumer: &'static str) -> Arc<Self> {
        let mut consumers = CONSUMERS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(consumers.entry(consumer).or_default())
    }

    pub(super) fn passed(&self, taken: usize, parked: usize) {
        self.taken.fetch_add(taken as u64, Relaxed);
        self.parked.fetch_add(parked as u64, Relaxed);
    }

    pub(super) fn waits(&self) {
        self.newer.fetch_add(1, Relaxed);
    }
}

/// What these consumers of this process have done so far, those that have not begun too, so that
/// their counts are seen to rise from zero.
pub fn figures(consumers: &[&'static str]) -> Vec<Figure> {
    let help = "Records of topics, by consumer and what became of them; a newer program's counts at each look.";
    let of_one = |&consumer: &&'static str| {
        let counts = Counts::of(consumer);
        let outcomes = [("taken", &counts.taken), ("parked", &counts.parked), ("newer", &counts.newer)];
        outcomes.map(|(outcome, count)| {
            let labels = [("consumer", consumer), ("outcome", outcome)];
            Figure::count("consumer_records_total", help, &labels, count.load(Relaxed))
        })
    };
    consumers.iter().flat_map(of_one).collect()
}
