//! Appending to a log in a file, and to a real Kafka, as `stack/` starts it (`. stack/env` first):
//! batches of reservations, acknowledged when they are on the disk or by all in-sync replicas, many
//! records under way. Figures are per reservation; what the file's log tells of itself stands on
//! the error stream. `-- sqlite` needs no server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of this is a benchmark: what fails ends it")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use domain::{
    id::{
        BatchId, BuyerId, Epoch, KeyHash, LaneId, OfferId, OrderId, PartitionId, PurchaseNumber, RecordId, SaleId,
        SkuId, TenantId,
    },
    money::Money,
    record::{BATCH_TYPE, Batch, Record, Reservation},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use store::{
    figures::ProducerFigures,
    log::{
        Envelope, OrderLog,
        kafka::{KafkaLog, KafkaSettings, ensure_topics},
        sqlite::{SqliteLog, SqliteSettings},
    },
};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// Reservations of a record.
const SIZES: [u64; 3] = [1, 64, 256];
/// Records under way at one time: what two lanes' calls leave there within a linger.
const UNDER_WAY: u64 = 64;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(10)
        .configure_from_args();
    measure(&mut criterion, &runtime, "kafka", || KafkaRig::new(&runtime));
    measure(&mut criterion, &runtime, "sqlite", SqliteRig::new);
    criterion.final_summary();
}

/// One adapter on an empty log of its own, which goes with it.
trait Rig {
    type Log: OrderLog;
    fn log(&self) -> &Self::Log;
}

fn measure<R: Rig>(criterion: &mut Criterion, runtime: &Runtime, name: &str, fresh: impl Fn() -> R) {
    let mut group = criterion.benchmark_group(name);
    for size in SIZES {
        group.throughput(Throughput::Elements(UNDER_WAY * size));
        let mut rig = None;
        let (payload, mut last) = (payload(size), 0);
        group.bench_function(BenchmarkId::new("append_batches_of", size), |bencher| {
            bencher.iter_custom(|rounds| {
                let rig = rig.get_or_insert_with(&fresh);
                runtime.block_on(append_rounds(rig.log(), &payload, &mut last, rounds))
            });
        });
    }
    group.finish();
}

/// So many times [`UNDER_WAY`] records at once, then their acknowledgements.
async fn append_rounds(log: &impl OrderLog, payload: &Bytes, last: &mut u64, rounds: u64) -> Duration {
    let started = Instant::now();
    for _ in 0..rounds {
        let mut appends = JoinSet::new();
        for _ in 0..UNDER_WAY {
            *last += 1;
            let id = RecordId::new(*last).unwrap();
            let record = Envelope { id, kind: BATCH_TYPE, payload: payload.clone() };
            let log = log.clone();
            appends.spawn(async move { log.append(PartitionId(0), record, log.room().unwrap()).await });
        }
        for appended in appends.join_all().await {
            appended.unwrap();
        }
    }
    started.elapsed()
}

/// A file in a folder of its own, on the disk of the build's folder: `/tmp` may be memory.
struct SqliteRig {
    log: SqliteLog,
    _folder: TempDir,
}

impl SqliteRig {
    fn new() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let settings = SqliteSettings::new(1, Arc::new(|| 1_800_000_000_000));
        Self { log: SqliteLog::open(&folder.path().join("log.db"), &settings).unwrap(), _folder: folder }
    }
}

impl Rig for SqliteRig {
    type Log = SqliteLog;

    fn log(&self) -> &SqliteLog {
        &self.log
    }
}

impl Drop for SqliteRig {
    fn drop(&mut self) {
        let ProducerFigures { appended, client, .. } = self.log.figures();
        eprintln!(
            "{} records in {} commits; a commit takes {:.0} us, one of a hundred {:.0} us",
            appended.acknowledged,
            client.produce_requests,
            client.round_trip_p50_s * 1e6,
            client.round_trip_p99_s * 1e6
        );
    }
}

/// Topics of its own, deleted at the end.
struct KafkaRig<'a> {
    runtime: &'a Runtime,
    settings: KafkaSettings,
    log: KafkaLog,
}

impl<'a> KafkaRig<'a> {
    fn new(runtime: &'a Runtime) -> Self {
        let settings = KafkaSettings::new(brokers(), format!("bench-{:016x}", rand::random::<u64>()), 1);
        runtime.block_on(ensure_topics(&settings)).unwrap();
        let log = KafkaLog::new(&settings).unwrap();
        Self { runtime, settings, log }
    }
}

impl Rig for KafkaRig<'_> {
    type Log = KafkaLog;

    fn log(&self) -> &KafkaLog {
        &self.log
    }
}

impl Drop for KafkaRig<'_> {
    fn drop(&mut self) {
        let settings = &self.settings;
        let topics = settings.topics();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
        self.runtime.block_on(admin.delete_topics(&topics, &AdminOptions::new())).unwrap();
    }
}

fn brokers() -> String {
    std::env::var("FLASHSALE_KAFKA_BROKERS").expect("FLASHSALE_KAFKA_BROKERS; stack/stack up, then . stack/env")
}

/// A batch as engines append it.
fn payload(size: u64) -> Bytes {
    let reservations = (1..=size).map(|n| (PurchaseNumber(1), reservation(n)));
    let (lane, id) = (LaneId::new(7).unwrap(), BatchId::new(9).unwrap());
    Record::Batch(Batch { lane, id, epoch: Epoch(1), reservations: reservations.collect() }).encode().into()
}

fn reservation(n: u64) -> Reservation {
    Reservation {
        tenant: TenantId::new(1).unwrap(),
        sale: SaleId::new(5).unwrap(),
        sale_version: 1,
        offer: OfferId::new(42).unwrap(),
        sku: SkuId::new(77).unwrap(),
        order: OrderId::new(249_300_234_895_360 + n).unwrap(),
        buyer: BuyerId::new(n).unwrap(),
        quantity: 1,
        unit_price: Money { amount: 9_900, currency: "CNY".parse().unwrap() },
        key: KeyHash([7; 16]),
        reserved_at_ms: 1_800_000_000_000,
        context: Bytes::new(),
        pay_within_s: 0,
        trace: None,
    }
}
