//! What measuring costs: one count or latency, written by one thread, and by two at the same time,
//! which is what front threads do. `shared` is the Prometheus library's own type, `spread` ours for
//! what every request writes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a benchmark: what fails ends it")]

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use kit::{
    clock::{Clock, SystemClock},
    metrics::{LATENCY_BUCKETS_S, Registry},
};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    let registry = Registry::new().unwrap();
    let counter = registry.counter("shared_total", "?").unwrap();
    let histogram = registry.histogram("shared_seconds", "?", LATENCY_BUCKETS_S).unwrap();
    let spread_counter = registry.spread_counters("spread_total", "?", [], &[[]]).unwrap().remove(0);
    let timing = registry.timings("spread_seconds", "?", [], &[[]]).unwrap().remove(0);
    let clock = SystemClock::new();
    let mut group = criterion.benchmark_group("metrics");
    group.throughput(Throughput::Elements(1));
    // A latency of 16 ms, as an accepted purchase has: the eighth bucket.
    let took = Duration::from_millis(16);
    for threads in [1, 2] {
        measured(&mut group, "count_shared", threads, || counter.inc());
        measured(&mut group, "count_spread", threads, || spread_counter.inc());
        measured(&mut group, "latency_shared", threads, || histogram.observe(took.as_secs_f64()));
        measured(&mut group, "latency_spread", threads, || timing.observe(took));
        measured(&mut group, "clock", threads, || {
            std::hint::black_box(clock.monotonic());
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("exposition");
    group.bench_function("render", |bencher| bencher.iter(|| registry.render().unwrap()));
    group.finish();
    criterion.final_summary();
}

/// The time of one write while this many threads write.
fn measured(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, threads: usize, write: impl Fn() + Sync) {
    group.bench_function(BenchmarkId::new(name, threads), |bencher| {
        bencher.iter_custom(|each| {
            let begin = Barrier::new(threads);
            let run = || {
                begin.wait();
                let started = Instant::now();
                (0..each).for_each(|_| write());
                started.elapsed()
            };
            thread::scope(|scope| {
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
                running.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
            })
        });
    });
}
