//! The reserve and settle scripts on a real Redis, as `stack/` starts it (`. stack/env` first),
//! beside what a usual front does: one request a call, by a naive script that only counts. Figures
//! are per reservation.
//!
//! Each case also prints how long the server itself ran scripts for a reservation, which the way
//! there and back does not blur.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is a benchmark: what fails ends it"
)]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/stock/sample.rs"]
mod sample;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/stock_live/support.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use domain::{
    id::{BatchId, Epoch, LaneId},
    stock::{CloseAnswer, LaneAnswer, LoadAnswer, ReserveAnswer, ReserveReply, ReserveRequest},
};
use redis::{Script, aio::MultiplexedConnection};
use store::stock::{
    LaneKeeping, LaneStock, LoadAtOnce,
    redis::{RedisKeeping, RedisSettings, RedisStock},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// Requests of one reserve call.
const SIZES: [usize; 4] = [1, 16, 64, 200];
/// Requests of the batches that are settled.
const SETTLED: usize = 64;
/// Connections of the naive front, one call under way on each.
const NAIVE_WIDTHS: [usize; 2] = [1, 50];
/// Buyers of a lane, after whom it is loaded anew: a benchmark must not fill the server.
const BUYERS_MAX: usize = 20_000;
const UNITS: u64 = 1 << 40;

/// What most seckill fronts run: no journal, no idempotency, no epoch.
const NAIVE: &str = "if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return 2 end \
                     if tonumber(redis.call('GET', KEYS[1])) < 1 then return 0 end \
                     redis.call('DECR', KEYS[1]) redis.call('SADD', KEYS[2], ARGV[1]) return 1";

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("redis");
    for size in SIZES {
        reserve(&mut group, &runtime, size, "accepted", UNITS);
        reserve(&mut group, &runtime, size, "sold_out", 0);
    }
    for batches in [1, 16, 64] {
        settle(&mut group, &runtime, batches);
    }
    for width in NAIVE_WIDTHS {
        naive(&mut group, &runtime, width);
    }
    group.finish();
    criterion.final_summary();
}

/// A lane of its own, deleted at the end.
struct Rig {
    settings: RedisSettings,
    stock: RedisStock,
    keeping: RedisKeeping,
    raw: MultiplexedConnection,
    units: u64,
    epoch: Epoch,
    /// Of everything that is numbered.
    last: u64,
    buyers: usize,
    server: Server,
}

impl Rig {
    async fn new(units: u64) -> Self {
        let settings = support::settings(&support::url());
        let (stock, keeping) = support::connect(&settings).await;
        let raw = support::raw(&settings.url).await;
        let epoch = Epoch(0);
        let mut rig =
            Self { settings, stock, keeping, raw, units, epoch, last: 0, buyers: 0, server: Server::default() };
        rig.open().await;
        rig
    }

    fn lane() -> LaneId {
        sample::lane(1)
    }

    /// Loads the lane under the next epoch, without buyers.
    async fn open(&mut self) {
        self.epoch = self.epoch.next();
        self.buyers = 0;
        assert_eq!(self.keeping.close(Self::lane(), self.epoch).await.unwrap(), CloseAnswer::Closed);
        let load = sample::fresh(1, &[self.units]);
        assert_eq!(self.keeping.load(Self::lane(), self.epoch, &load).await.unwrap(), LoadAnswer::Loaded);
    }

    fn requests(&mut self, size: usize) -> Vec<ReserveRequest> {
        self.last += size as u64;
        (self.last + 1 - size as u64..=self.last).map(|n| sample::request(n, n, 1, 1, 7)).collect()
    }

    /// One call; what it takes.
    async fn reserve(&mut self, requests: &[ReserveRequest]) -> (Duration, BatchId) {
        let call = sample::call(Self::lane(), self.epoch.0, self.last);
        let call = domain::stock::ReserveCall { journal_max: u32::MAX, ..call };
        let started = Instant::now();
        let answer = self.stock.reserve(call, requests).await.unwrap();
        let took = started.elapsed();
        let LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) = answer else { panic!("{answer:?}") };
        let expected = |reply: &ReserveReply| matches!(reply, ReserveReply::Reserved(_)) == (self.units > 0);
        assert!(replies.iter().all(expected), "{replies:?}");
        self.buyers += requests.len();
        (took, call.batch)
    }

    async fn settle(&self, batches: &[BatchId]) -> Duration {
        let started = Instant::now();
        let answer = self.keeping.settle(Self::lane(), self.epoch, batches, &[]).await.unwrap();
        assert_eq!(answer, LaneAnswer::Open(()));
        started.elapsed()
    }

    async fn delete(mut self) {
        support::delete(&mut self.raw, &support::keys(&self.settings, Self::lane())).await;
    }
}

/// The server's own account of its scripts.
#[derive(Default)]
struct Server {
    since_us: u64,
    spent_us: u64,
    reservations: u64,
}

impl Server {
    async fn begin(&mut self, raw: &mut MultiplexedConnection) {
        self.since_us = script_us(raw).await;
    }

    async fn end(&mut self, raw: &mut MultiplexedConnection, reservations: u64) {
        self.spent_us += script_us(raw).await - self.since_us;
        self.reservations += reservations;
    }

    fn show(&self, name: &str) {
        if self.reservations > 0 {
            let each = self.spent_us as f64 / self.reservations as f64;
            eprintln!("redis/{name}: the server ran scripts for {each:.2} us per reservation");
        }
    }
}

/// Microseconds that the server has spent in EVALSHA since it started.
async fn script_us(raw: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(raw).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let usec = line.and_then(|line| line.split(',').find_map(|part| part.strip_prefix("usec=")));
    usec.map_or(0, |usec| usec.parse().unwrap())
}

fn reserve(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, size: usize, name: &str, units: u64) {
    group.throughput(Throughput::Elements(size as u64));
    let mut rig = None;
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(async {
                if rig.is_none() {
                    rig = Some(Rig::new(units).await);
                }
                let rig = rig.as_mut().unwrap();
                let mut took = Duration::ZERO;
                rig.server.begin(&mut rig.raw).await;
                let mut counted = 0;
                for _ in 0..calls {
                    if rig.buyers >= BUYERS_MAX {
                        rig.server.end(&mut rig.raw, counted).await;
                        rig.open().await;
                        rig.server.begin(&mut rig.raw).await;
                        counted = 0;
                    }
                    let requests = rig.requests(size);
                    took += rig.reserve(&requests).await.0;
                    counted += size as u64;
                }
                rig.server.end(&mut rig.raw, counted).await;
                took
            })
        });
    });
    if let Some(rig) = rig {
        rig.server.show(&format!("{name}/{size}"));
        runtime.block_on(rig.delete());
    }
}

fn settle(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, batches: usize) {
    group.throughput(Throughput::Elements((batches * SETTLED) as u64));
    let mut rig = None;
    group.bench_function(BenchmarkId::new("settle_batches_of_64", batches), |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(async {
                if rig.is_none() {
                    rig = Some(Rig::new(UNITS).await);
                }
                let rig = rig.as_mut().unwrap();
                let mut took = Duration::ZERO;
                for _ in 0..calls {
                    if rig.buyers >= BUYERS_MAX {
                        rig.open().await;
                    }
                    let mut promised = Vec::new();
                    for _ in 0..batches {
                        let requests = rig.requests(SETTLED);
                        promised.push(rig.reserve(&requests).await.1);
                    }
                    took += rig.settle(&promised).await;
                }
                took
            })
        });
    });
    if let Some(rig) = rig {
        runtime.block_on(rig.delete());
    }
}

/// The naive front's connections and keys.
struct Naive {
    connections: Vec<MultiplexedConnection>,
    keys: [String; 2],
    last: u64,
}

impl Naive {
    async fn new(width: usize) -> Self {
        let namespace = support::settings(&support::url()).namespace;
        let mut connections = Vec::new();
        for _ in 0..width {
            connections.push(support::raw(&support::url()).await);
        }
        let keys = ["stock", "buyers"].map(|part| format!("{namespace}:{{naive}}:{part}"));
        Self { connections, keys, last: 0 }
    }

    /// So many calls on every connection, one after the other there.
    async fn calls(&mut self, each: u64) -> Duration {
        self.delete().await;
        redis::cmd("SET").arg(&self.keys[0]).arg(UNITS).exec_async(&mut self.connections[0]).await.unwrap();
        let script = Arc::new(Script::new(NAIVE));
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for connection in &self.connections {
            let (mut connection, script, keys) = (connection.clone(), Arc::clone(&script), self.keys.clone());
            let buyers = self.last + 1..=self.last + each;
            self.last += each;
            tasks.spawn(async move {
                for buyer in buyers {
                    let mut call = script.key(&keys[0]);
                    let accepted: u64 = call.key(&keys[1]).arg(buyer).invoke_async(&mut connection).await.unwrap();
                    assert_eq!(accepted, 1);
                }
            });
        }
        tasks.join_all().await;
        started.elapsed()
    }

    async fn delete(&mut self) {
        redis::cmd("DEL").arg(&self.keys).exec_async(&mut self.connections[0]).await.unwrap();
    }
}

fn naive(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, width: usize) {
    group.throughput(Throughput::Elements(width as u64));
    let (mut rig, mut server) = (None, Server::default());
    group.bench_function(BenchmarkId::new("naive_one_a_call", width), |bencher| {
        bencher.iter_custom(|each| {
            runtime.block_on(async {
                if rig.is_none() {
                    rig = Some(Naive::new(width).await);
                }
                let rig = rig.as_mut().unwrap();
                server.begin(&mut rig.connections[0]).await;
                let took = rig.calls(each).await;
                server.end(&mut rig.connections[0], each * width as u64).await;
                took
            })
        });
    });
    if let Some(mut rig) = rig {
        server.show(&format!("naive_one_a_call/{width}"));
        runtime.block_on(rig.delete());
    }
}
