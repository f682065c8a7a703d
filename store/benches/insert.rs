//! The writer's transactions on a real MySQL or MariaDB, as `stack/` starts it (`. stack/env`
//! first), and on SQLite: the rows of a span into 2 databases of 4 tables, and the ledger's commit.
//! Each is durable when it is measured as done. Figures are per row, and per record.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is a benchmark: what fails ends it"
)]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/sql/folder.rs"]
mod folder;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/sql_live/server.rs"]
mod server;
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the tests")]
#[path = "../tests/sql_contract/suite.rs"]
mod suite;

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use domain::{
    decide::Movement,
    id::{Epoch, Generation, RecordId, SaleId, TenantId},
    order::OrderRow,
    shard::ShardId,
};
use store::{
    ledger::{Committed, LaneRow, LedgerCommit, OfferRow, PartitionRow},
    orders::{ShardWrite, Written},
};
use suite::support::{self, Adapter, Deployment, PARTITION, progress};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

const SHARDS: u16 = 2;
const TABLES: u16 = 4;
/// Rows of a span.
const SIZES: [usize; 5] = [1, 64, 512, 2048, 4096];
/// Records of a span.
const RECORDS: [u64; 3] = [1, 16, 64];
/// Reservations of a record.
const RESERVATIONS: u64 = 64;

fn main() {
    // As the order-writer's.
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(10)
        .configure_from_args();
    group(&mut criterion, &runtime, "mysql", &server::Live);
    group(&mut criterion, &runtime, "sqlite", &folder::Folder::new());
    criterion.final_summary();
}

fn group<A: Adapter>(criterion: &mut Criterion, runtime: &Runtime, name: &str, adapter: &A) {
    let mut group = criterion.benchmark_group(name);
    for size in SIZES {
        rows(&mut group, runtime, adapter, size);
    }
    for records in RECORDS {
        ledger(&mut group, runtime, adapter, records);
    }
    group.finish();
}

/// Databases of its own, dropped at the end, and how far they are written.
struct Rig<A: Adapter> {
    deployment: Deployment<A>,
    offset: u64,
    last: u64,
}

impl<A: Adapter> Rig<A> {
    async fn new(adapter: &A) -> Self {
        let deployment = support::deployment(adapter, SHARDS, TABLES).await;
        for shard in 0..SHARDS {
            deployment.orders.begin_progress(ShardId(shard), PARTITION, progress(1, 0)).await.unwrap();
        }
        let first = PartitionRow {
            partition: PARTITION,
            generation: Generation(1),
            log_id: 1,
            offset: 0,
            record: RecordId::new(1_000).ok(),
        };
        assert!(deployment.ledger.begin_partition(&first).await.unwrap());
        let units = 1 << 40;
        let offer = OfferRow::first(support::offer(8), units, 1);
        let lane = LaneRow {
            lane: support::lane(77),
            tenant: TenantId::new(5).unwrap(),
            sale: SaleId::new(6).unwrap(),
            partition: PARTITION,
            epoch: Epoch(1),
            is_retired: false,
            limit_per_buyer: 1,
            limit_changed_at: 0,
            first_order: None,
            offers: vec![offer],
        };
        assert!(deployment.ledger.add_lane(&lane, 1).await.unwrap());
        Self { deployment, offset: 0, last: 0 }
    }

    /// New rows without context, as a sale's usually are, for each shard.
    fn span(&mut self, size: usize) -> Vec<ShardWrite> {
        let shards = (0..SHARDS).map(|_| ShardWrite {
            partition: PARTITION,
            expected: progress(1, self.offset),
            next: progress(1, self.offset + 1),
            rows: Vec::with_capacity(size),
            released: Vec::new(),
        });
        let mut writes: Vec<_> = shards.collect();
        self.offset += 1;
        for n in self.last + 1..=self.last + size as u64 {
            let row = OrderRow { context: Bytes::new(), quantity: 1, ..support::row(n) };
            let home = self.deployment.orders.map().home_of_order(row.order);
            writes[usize::from(home.shard.0)].rows.push(row);
        }
        self.last += size as u64;
        writes
    }

    /// All shards at once, as the order-writer does it.
    async fn write(&self, writes: Vec<ShardWrite>) -> Duration {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for (shard, write) in (0..).zip(writes) {
            let orders = self.deployment.orders.clone();
            tasks.spawn(async move { orders.write(ShardId(shard), write).await.unwrap() });
        }
        let written = tasks.join_all().await;
        let took = started.elapsed();
        assert!(written.iter().all(|written| *written == Written::Done), "{written:?}");
        took
    }

    fn commit(&mut self, records: u64) -> LedgerCommit {
        let movements = (self.offset + 1..=self.offset + records).map(|offset| Movement {
            offset,
            lane: Some(support::lane(77)),
            units: vec![(support::offer(8), RESERVATIONS.cast_signed())],
            decisions: vec![1; RESERVATIONS as usize],
        });
        let commit = LedgerCommit {
            partition: PARTITION,
            generation: Generation(1),
            expected_offset: self.offset,
            next_offset: self.offset + records,
            next_record: RecordId::new(1_000 + self.offset + records).ok(),
            sold: vec![(support::offer(8), (records * RESERVATIONS).cast_signed())],
            epochs: vec![],
            retired_lanes: vec![],
            first_orders: vec![],
            allotments: vec![],
            limits: vec![],
            retired: vec![],
            movements: movements.collect(),
        };
        self.offset += records;
        commit
    }
}

fn rows<A: Adapter>(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, adapter: &A, size: usize) {
    group.throughput(Throughput::Elements(size as u64));
    let mut rig = None;
    group.bench_function(BenchmarkId::new("rows_of_a_span", size), |bencher| {
        bencher.iter_custom(|spans| {
            runtime.block_on(async {
                if rig.is_none() {
                    rig = Some(Rig::new(adapter).await);
                }
                let rig = rig.as_mut().unwrap();
                let mut took = Duration::ZERO;
                for _ in 0..spans {
                    let writes = rig.span(size);
                    took += rig.write(writes).await;
                }
                took
            })
        });
    });
}

fn ledger<A: Adapter>(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, adapter: &A, records: u64) {
    group.throughput(Throughput::Elements(records));
    let mut rig = None;
    group.bench_function(BenchmarkId::new("ledger_commit_records", records), |bencher| {
        bencher.iter_custom(|commits| {
            runtime.block_on(async {
                if rig.is_none() {
                    rig = Some(Rig::new(adapter).await);
                }
                let rig = rig.as_mut().unwrap();
                let mut took = Duration::ZERO;
                for _ in 0..commits {
                    let commit = rig.commit(records);
                    let started = Instant::now();
                    assert_eq!(rig.deployment.ledger.commit(&commit).await.unwrap(), Committed::Done);
                    took += started.elapsed();
                }
                took
            })
        });
    });
}
