//! Counts that every front thread writes for every request. A line of memory that two cores write
//! travels between them each time, so each thread has cells of its own, and whoever looks adds them
//! up. Writing is an addition or two: no lock, no label, no allocation.

use std::array;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam::utils::CachePadded;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::{LATENCY_BUCKETS_S, MetricsError, Registry, check, check_counter};

/// Stripes of one count. More threads than these share them, which costs time and loses nothing.
const STRIPES: usize = 16;
const NANOS_PER_S: f64 = 1e9;
const BUCKETS: usize = LATENCY_BUCKETS_S.len();

/// The stripe of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}

/// A count of events. Clones are the same count.
#[derive(Debug, Clone, Default)]
pub struct SpreadCounter(Arc<[CachePadded<AtomicU64>; STRIPES]>);

impl SpreadCounter {
    /// One more.
    pub fn inc(&self) {
        self.0[stripe()].fetch_add(1, Relaxed);
    }

    /// All threads' together.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.iter().map(|cell| cell.load(Relaxed)).sum()
    }
}

/// `N` counts that belong together and are taken away together, at short intervals; there may be
/// tens of thousands of such groups. A group that nobody ever counted in has no memory; the first
/// count gives it a line of 128 bytes for each core (two where `N` is above 32). After that a count
/// is one addition to a line that is this thread's own, as long as there are no more threads than
/// cores.
#[derive(Debug)]
pub struct SpreadCounts<const N: usize>(OnceLock<Box<[CachePadded<[AtomicU32; N]>]>>);

impl<const N: usize> Default for SpreadCounts<N> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<const N: usize> SpreadCounts<N> {
    /// So many more of the count at this place, which is below `N`. Below 2^32 between two takings.
    pub fn add(&self, at: usize, times: u32) {
        let stripes = self.0.get_or_init(|| (0..*CORES).map(|_| Self::zeros()).collect());
        if let Some(count) = stripes.get(stripe() % stripes.len()).and_then(|counts| counts.get(at)) {
            count.fetch_add(times, Relaxed);
        }
    }

    /// Takes all counts away; `None` when nothing was counted. Each addition is taken once.
    #[must_use]
    pub fn take(&self) -> Option<[u64; N]> {
        let mut taken = [0; N];
        for stripe in self.0.get()? {
            for (sum, count) in taken.iter_mut().zip(stripe.iter()) {
                // A look is cheap; only what changed is written.
                if count.load(Relaxed) > 0 {
                    *sum += u64::from(count.swap(0, Relaxed));
                }
            }
        }
        taken.iter().any(|&sum| sum > 0).then_some(taken)
    }

    fn zeros() -> CachePadded<[AtomicU32; N]> {
        CachePadded::new(array::from_fn(|_| AtomicU32::new(0)))
    }
}

/// Stripes of a [`SpreadCounts`].
static CORES: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, |cores| cores.get().min(STRIPES)));

/// Latencies over [`LATENCY_BUCKETS_S`]. Clones are the same distribution.
#[derive(Debug, Clone)]
pub struct Timing(Arc<Stripes>);

#[derive(Debug)]
struct Stripes {
    /// [`LATENCY_BUCKETS_S`] in nanoseconds.
    bounds_ns: [u64; BUCKETS],
    stripes: [CachePadded<Stripe>; STRIPES],
}

#[derive(Debug, Default)]
struct Stripe {
    buckets: [AtomicU64; BUCKETS],
    /// Beyond the last bucket.
    above: AtomicU64,
    sum_ns: AtomicU64,
}

impl Default for Timing {
    fn default() -> Self {
        let mut bounds_ns = [0; BUCKETS];
        for (bound, seconds) in bounds_ns.iter_mut().zip(LATENCY_BUCKETS_S) {
            *bound = (seconds * NANOS_PER_S).round() as u64;
        }
        Self(Arc::new(Stripes { bounds_ns, stripes: Default::default() }))
    }
}

impl Timing {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    /// Counts so many that took so long together.
    pub fn observe_many(&self, took: Duration, times: u64) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let stripe = &self.0.stripes[stripe()];
        let at = self.0.bounds_ns.iter().position(|bound| ns <= *bound);
        at.map_or(&stripe.above, |at| &stripe.buckets[at]).fetch_add(times, Relaxed);
        stripe.sum_ns.fetch_add(ns.saturating_mul(times), Relaxed);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.told().get_sample_count()
    }

    fn told(&self) -> Histogram {
        let sum = |cell: &dyn Fn(&Stripe) -> u64| self.0.stripes.iter().map(|stripe| cell(stripe)).sum::<u64>();
        let mut counted = 0;
        let buckets = LATENCY_BUCKETS_S.iter().enumerate().map(|(at, bound)| {
            counted += sum(&|stripe| stripe.buckets[at].load(Relaxed));
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(counted);
            bucket
        });
        let mut told = Histogram::default();
        told.set_bucket(buckets.collect());
        told.set_sample_count(counted + sum(&|stripe| stripe.above.load(Relaxed)));
        told.set_sample_sum(sum(&|stripe| stripe.sum_ns.load(Relaxed)) as f64 / NANOS_PER_S);
        told
    }
}

impl Registry {
    /// Counts of events that many threads write, one for each of these values of the labels.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken.
    pub fn spread_counters<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        values: &[[&str; N]],
    ) -> Result<Vec<SpreadCounter>, MetricsError> {
        check_counter(name)?;
        self.spread(MetricType::COUNTER, name, help, labels, values, |metric, counter: &SpreadCounter| {
            let mut told = Counter::default();
            told.set_value(counter.get() as f64);
            metric.set_counter(told);
        })
    }

    /// Latencies that many threads write, one distribution for each of these values of the labels.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken.
    pub fn timings<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        values: &[[&str; N]],
    ) -> Result<Vec<Timing>, MetricsError> {
        check(name)?;
        self.spread(MetricType::HISTOGRAM, name, help, labels, values, |metric, timing: &Timing| {
            metric.set_histogram(timing.told());
        })
    }

    fn spread<T: Clone + Default + Send + Sync + 'static, const N: usize>(
        &self,
        kind: MetricType,
        name: &str,
        help: &str,
        labels: [&str; N],
        values: &[[&str; N]],
        tell: fn(&mut Metric, &T),
    ) -> Result<Vec<T>, MetricsError> {
        let names = labels.iter().map(|&label| label.to_owned()).collect();
        let described = Desc::new(name.to_owned(), help.to_owned(), names, HashMap::new())?;
        let counts: Vec<T> = values.iter().map(|_| T::default()).collect();
        let children = counts.iter().zip(values).map(|(count, values)| {
            let pair = |(name, value): (&&str, &&str)| {
                let mut pair = LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value((*value).to_owned());
                pair
            };
            (labels.iter().zip(values).map(pair).collect(), count.clone())
        });
        let children = children.collect();
        self.register(Box::new(Family { kind, described, children, tell }))?;
        Ok(counts)
    }
}

/// The counts of one name.
struct Family<T> {
    kind: MetricType,
    described: Desc,
    children: Vec<(Vec<LabelPair>, T)>,
    tell: fn(&mut Metric, &T),
}

impl<T: Send + Sync> Collector for Family<T> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.described]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = self.children.iter().map(|(labels, count)| {
            let mut metric = Metric::from_label(labels.clone());
            (self.tell)(&mut metric, count);
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.described.fq_name.clone());
        family.set_help(self.described.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(registry: &Registry) -> Vec<String> {
        registry.render().unwrap().lines().map(str::to_owned).collect()
    }

    /// However many threads write, nothing is lost.
    #[test]
    fn what_many_threads_count_is_added_up() {
        let registry = Registry::new().unwrap();
        let counters = registry.spread_counters("seen_total", "Seen.", ["what"], &[["a"], ["b"]]).unwrap();
        let timings = registry.timings("stage_seconds", "Stages.", ["stage"], &[["admit"]]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| {
                    for _ in 0..100 {
                        counters[1].inc();
                        timings[0].observe(Duration::from_micros(300));
                    }
                });
            }
        });
        let all = 200 * STRIPES as u64;
        assert_eq!((counters[0].get(), counters[1].get(), timings[0].count()), (0, all, all));
        let shown = lines(&registry);
        for line in [
            "# TYPE flashsale_seen_total counter".to_owned(),
            "flashsale_seen_total{what=\"a\"} 0".to_owned(),
            format!("flashsale_seen_total{{what=\"b\"}} {all}"),
            "# TYPE flashsale_stage_seconds histogram".to_owned(),
            "flashsale_stage_seconds_bucket{stage=\"admit\",le=\"0.00025\"} 0".to_owned(),
            format!("flashsale_stage_seconds_bucket{{stage=\"admit\",le=\"0.0005\"}} {all}"),
            format!("flashsale_stage_seconds_bucket{{stage=\"admit\",le=\"+Inf\"}} {all}"),
            format!("flashsale_stage_seconds_count{{stage=\"admit\"}} {all}"),
        ] {
            assert!(shown.contains(&line), "{line} is missing from:\n{shown:#?}");
        }
    }

    /// Whoever takes while others count gets each count once.
    #[test]
    fn what_is_taken_while_threads_count_adds_up() {
        let counts = SpreadCounts::<3>::default();
        assert_eq!(counts.take(), None);
        let mut sum = [0; 3];
        let mut gather = || {
            counts.take().into_iter().for_each(|taken| sum.iter_mut().zip(taken).for_each(|(sum, count)| *sum += count))
        };
        std::thread::scope(|scope| {
            let counting: Vec<_> = (0..2 * STRIPES)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..1_000 {
                            counts.add(0, 1);
                            counts.add(2, 100);
                        }
                    })
                })
                .collect();
            while counting.iter().any(|thread| !thread.is_finished()) {
                gather();
            }
        });
        gather();
        let all = 2_000 * STRIPES as u64;
        assert_eq!(sum, [all, 0, 100 * all]);
        assert_eq!(counts.take(), None);
    }

    /// A bound belongs to its bucket, as Prometheus has it; what is beyond all of them counts too.
    #[test]
    fn latencies_fall_into_the_buckets_of_their_bounds() {
        let registry = Registry::new().unwrap();
        let timing = registry.timings("x_seconds", "X.", [], &[[]]).unwrap().remove(0);
        for took in [Duration::from_micros(100), Duration::from_nanos(100_001), Duration::from_secs(3_600)] {
            timing.observe(took);
        }
        timing.observe_many(Duration::from_millis(4), 3);
        let shown = lines(&registry);
        for line in [
            "flashsale_x_seconds_bucket{le=\"0.0001\"} 1",
            "flashsale_x_seconds_bucket{le=\"0.00025\"} 2",
            "flashsale_x_seconds_bucket{le=\"0.0025\"} 2",
            "flashsale_x_seconds_bucket{le=\"0.005\"} 5",
            "flashsale_x_seconds_bucket{le=\"10\"} 5",
            "flashsale_x_seconds_bucket{le=\"+Inf\"} 6",
            "flashsale_x_seconds_count 6",
        ] {
            assert!(shown.iter().any(|shown| shown == line), "{line} is missing from:\n{shown:#?}");
        }
    }

    #[test]
    fn spread_names_follow_the_rules_of_naming() {
        let registry = Registry::new().unwrap();
        let named = registry.spread_counters("seen", "?", [], &[[]]);
        assert!(matches!(named, Err(MetricsError::Name { .. })), "{named:?}");
        assert!(matches!(registry.timings("x_ms", "?", [], &[[]]), Err(MetricsError::Name { .. })));
    }
}
