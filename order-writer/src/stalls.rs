//! Which partitions of this process stand still although records wait, since when and why: for the
//! probe, a gauge and the log. Workers report, a clock asks; it decides nothing.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use domain::id::PartitionId;
use kit::admin::Readiness;

use crate::metrics::Metrics;

/// Records that wait longer than this without being decided are reported: longer than a restart of
/// a store takes to be noticed and a lane of a million buyers to be loaded, and short beside the
/// time in which an operator can act.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);

/// A partition as its worker reports it.
#[derive(Debug)]
pub struct Pulse {
    /// When it last moved, or was seen with nothing waiting: milliseconds of the monotonic clock.
    moved_at_ms: AtomicU64,
    is_reported: AtomicBool,
    cause: Mutex<Option<String>>,
}

impl Pulse {
    /// A span is decided, or nothing waits. One atomic store.
    pub fn moved(&self, now: Duration) {
        self.moved_at_ms.store(millis(now), Relaxed);
    }

    /// It moved since the last look, or nothing waits: what held it up before is over.
    pub(crate) fn well(&self) {
        *self.cause() = None;
    }

    /// The worker could not go on.
    pub(crate) fn halted(&self, why: &dyn Display) {
        *self.cause() = Some(why.to_string());
    }

    fn cause(&self) -> MutexGuard<'_, Option<String>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it has stood still; `None` while that is no longer than may be.
    fn stalled(&self, now: Duration) -> Option<Duration> {
        let still = now.saturating_sub(Duration::from_millis(self.moved_at_ms.load(Relaxed)));
        (still > STALLED_AFTER).then_some(still)
    }
}

/// The partitions of this process. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stalls {
    pulses: Arc<Mutex<BTreeMap<PartitionId, Arc<Pulse>>>>,
    readiness: Readiness,
}

impl Stalls {
    /// None yet. `readiness`: of the process, whose probe reports them.
    pub fn new(readiness: Readiness) -> Self {
        Self { readiness, ..Self::default() }
    }

    fn pulses(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Arc<Pulse>>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker begins with a partition, or begins anew after it failed.
    pub(crate) fn begin(&self, partition: PartitionId, now: Duration) -> Arc<Pulse> {
        let begins =
            || Pulse { moved_at_ms: millis(now).into(), is_reported: AtomicBool::new(false), cause: Mutex::default() };
        Arc::clone(self.pulses().entry(partition).or_insert_with(|| Arc::new(begins())))
    }

    /// The worker failed in a way that it could not report itself.
    pub(crate) fn failed(&self, partition: PartitionId, what: String) {
        if let Some(pulse) = self.pulses().get(&partition) {
            *pulse.cause() = Some(what);
        }
    }

    /// A worker has ended: the partition's figures go with it. The partition may have come back
    /// meanwhile, and its next worker hold the same pulse: then they are that one's.
    pub(crate) fn end(&self, partition: PartitionId, pulse: Arc<Pulse>, metrics: &Metrics) {
        let mut pulses = self.pulses();
        drop(pulse);
        if pulses.get(&partition).is_some_and(|kept| Arc::strong_count(kept) == 1) {
            pulses.remove(&partition);
            metrics.forget(partition);
        }
    }

    /// The partitions that stand still, a line each, with how long and why.
    pub fn report(&self, now: Duration) -> Vec<String> {
        let pulses = self.pulses();
        let stalled = pulses.iter().filter_map(|(id, pulse)| Some(line(*id, pulse, pulse.stalled(now)?)));
        stalled.collect()
    }

    /// Shows probe, gauges and log how the partitions stand.
    pub(crate) fn look(&self, now: Duration, metrics: &Metrics) {
        self.readiness.trouble(self.report(now));
        for (&partition, pulse) in self.pulses().iter() {
            let stalled = pulse.stalled(now);
            metrics.stalled(partition, stalled.map_or(0, |stalled| stalled.as_secs()));
            match (pulse.is_reported.swap(stalled.is_some(), Relaxed), stalled) {
                (false, Some(stalled)) => tracing::error!("{}", line(partition, pulse, stalled)),
                (true, None) => tracing::warn!("partition {partition} is decided again"),
                _ => {}
            }
        }
    }
}

fn line(partition: PartitionId, pulse: &Pulse, stalled: Duration) -> String {
    let cause = pulse.cause();
    let cause = cause.as_deref().unwrap_or("its worker waits for a call that does not end");
    format!("partition {partition} has not been decided for {} s: {cause}", stalled.as_secs())
}

fn millis(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use kit::metrics::Registry;

    use super::*;

    /// The probe, the gauge and the page show the partition and the cause of its halt, and stop
    /// when it moves again.
    #[test]
    fn a_partition_that_stands_still_is_reported_with_its_cause_until_it_moves() {
        let (readiness, registry) = (Readiness::new(), Registry::new().unwrap());
        readiness.ready();
        let (stalls, metrics) = (Stalls::new(readiness.clone()), Metrics::register(&registry).unwrap());
        let at = |ms| Duration::from_secs(100) + Duration::from_millis(ms);
        let (first, second) = (stalls.begin(PartitionId(0), at(0)), stalls.begin(PartitionId(3), at(0)));
        first.moved(at(4_000));
        second.halted(&"partition 3 was moved by another writer");
        stalls.look(at(5_000), &metrics);
        assert!(readiness.is_ready());
        stalls.look(at(5_001), &metrics);
        let line = "partition 3 has not been decided for 5 s: partition 3 was moved by another writer";
        assert_eq!((readiness.is_ready(), readiness.reason().as_ref()), (false, line));
        assert_eq!(stalls.report(at(5_001)), [line]);
        let gauge = |line: &str| registry.render().unwrap().lines().any(|shown| shown == line);
        assert!(gauge("flashsale_partition_stalled_seconds{partition=\"0\"} 0"));
        assert!(gauge("flashsale_partition_stalled_seconds{partition=\"3\"} 5"));
        second.moved(at(6_000));
        stalls.look(at(6_001), &metrics);
        assert!(readiness.is_ready() && gauge("flashsale_partition_stalled_seconds{partition=\"3\"} 0"));
        second.well();
        assert!(stalls.report(at(12_000))[1].ends_with("its worker waits for a call that does not end"));
        let again = stalls.begin(PartitionId(3), at(12_000));
        stalls.end(PartitionId(3), second, &metrics);
        assert_eq!(
            stalls.report(at(12_000)).len(),
            2,
            "its next worker has begun, and it has stood still since before"
        );
        stalls.end(PartitionId(3), again, &metrics);
        assert_eq!(stalls.report(at(12_000)).len(), 1);
        stalls.look(at(12_000), &metrics);
        assert!(!registry.render().unwrap().contains("partition=\"3\""), "its figures went with it");
    }
}
