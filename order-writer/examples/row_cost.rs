//! What a durable row costs writer and database, by the number of rows that share a commit: the
//! writer's own transactions (all shards at once, then the ledger) without log and lanes. The sizes
//! take turns in one run, so that they meet the same tables.
//!
//!     . stack/env; cargo run --release -p order-writer --example row_cost [ROWS [SPAN...]]
//!
//! With `MYSQL_PID` the server's CPU is told too; with `ARRAYS=0` rows go in statements of many
//! rows, as to a MySQL. Everything happens in databases of its own, which are dropped at the end.

use std::{error::Error, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    decide::Movement,
    id::{
        BuyerId, Epoch, Generation, KeyHash, LaneId, OfferId, OrderId, PartitionId, Position, PurchaseNumber, RecordId,
        SaleId, SkuId, Slot, TenantId,
    },
    money::Money,
    order::{OrderRow, Status},
    shard::{ShardId, ShardMap},
};
use kit::clock::{Clock, SystemClock};
use store::{
    ledger::{Committed, LaneRow, LedgerCommit, OfferRow, PartitionRow},
    orders::{Progress, ShardWrite, Written},
    shards::{self, Namespace, Store},
    sql::mysql::{MySql, MySqlServer, Settings},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITION: PartitionId = PartitionId(0);
const GENERATION: Generation = Generation(1);
/// Rows of one size before the next size has its turn.
const TURN: usize = 16_384;
/// Reservations of one record, about as many as under load.
const RECORD: usize = 64;

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().as_deref().unwrap_or("300000").parse()?;
    let mut sizes = arguments.map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![256, 1024, 2048, 4096];
    }
    let arrays = std::env::var("ARRAYS").map_or(true, |arrays| arrays != "0");
    let server = MySqlServer::new(&std::env::var("FLASHSALE_MYSQL_URL")?, Settings { arrays, ..Settings::default() })?;
    let namespace = Namespace::new("row_cost")?;
    shards::drop_all(&server, &namespace).await?;
    let store = shards::open(&server, &namespace, ShardMap::even(2, 4)?).await?;
    let mut bench = Bench::new(store).await?;
    let pid = std::env::var("MYSQL_PID").ok();
    let mut totals = vec![Cost::default(); sizes.len()];
    bench.turn(4096).await?;
    for _ in 0..rows.div_ceil(TURN * sizes.len()) {
        for (&size, total) in sizes.iter().zip(&mut totals) {
            let (clock, before) = (SystemClock::new(), Cost::now(pid.as_deref())?);
            let start = clock.monotonic();
            bench.turn(size).await?;
            total.add(before, Cost::now(pid.as_deref())?, clock.monotonic().saturating_sub(start));
        }
    }
    let mut report = String::from("rows a span  writer µs  mysql µs  rows/s\n");
    for (size, total) in sizes.iter().zip(&totals) {
        let per_row = |time: Duration| time.as_secs_f64() * 1e6 / total.rows as f64;
        let rate = total.rows as f64 / total.wall.as_secs_f64();
        report += &format!("{size:11}  {:9.2}  {:8.2}  {rate:6.0}\n", per_row(total.own), per_row(total.server));
    }
    use std::io::Write as _;
    std::io::stdout().write_all(report.as_bytes())?;
    shards::drop_all(&server, &namespace).await?;
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Cost {
    own: Duration,
    server: Duration,
    wall: Duration,
    rows: usize,
}

impl Cost {
    fn now(pid: Option<&str>) -> Result<Self, Failure> {
        let server = pid.map_or(Ok(Duration::ZERO), cpu)?;
        Ok(Self { own: cpu("self")?, server, ..Self::default() })
    }

    fn add(&mut self, before: Self, after: Self, wall: Duration) {
        self.own += after.own.saturating_sub(before.own);
        self.server += after.server.saturating_sub(before.server);
        self.wall += wall;
        self.rows += TURN;
    }
}

/// All threads' time, to the nanosecond.
fn cpu(process: &str) -> Result<Duration, Failure> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let told = fs::read_to_string(task?.path().join("schedstat"))?;
        total += told.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

struct Bench {
    store: Arc<Store<MySql>>,
    progress: Vec<Progress>,
    offset: u64,
    buyer: u64,
}

impl Bench {
    async fn new(store: Store<MySql>) -> Result<Self, Failure> {
        let start = Progress { generation: GENERATION, offset: 0, record: None };
        let shards = store.orders.map().shards();
        for shard in 0..shards {
            store.orders.begin_progress(ShardId(shard), PARTITION, start).await?;
        }
        let row = PartitionRow { partition: PARTITION, generation: GENERATION, log_id: 1, offset: 0, record: None };
        store.ledger.begin_partition(&row).await?;
        let offer = OfferRow::first(OfferId::new(8)?, 1 << 40, 1);
        let lane = LaneRow {
            lane: LaneId::new(7)?,
            tenant: TenantId::new(5)?,
            sale: SaleId::new(6)?,
            partition: PARTITION,
            epoch: Epoch(1),
            is_retired: false,
            limit_per_buyer: 1,
            limit_changed_at: 0,
            first_order: None,
            offers: vec![offer],
        };
        store.ledger.add_lane(&lane, 1).await?;
        Ok(Self { store: Arc::new(store), progress: vec![start; shards.into()], offset: 0, buyer: 1 })
    }

    async fn turn(&mut self, size: usize) -> Result<(), Failure> {
        let mut left = TURN;
        while left > 0 {
            self.span(size.min(left)).await?;
            left = left.saturating_sub(size);
        }
        Ok(())
    }

    async fn span(&mut self, size: usize) -> Result<(), Failure> {
        let records = size.div_ceil(RECORD);
        let next_offset = self.offset + records as u64;
        let record = RecordId::new(1_000 + next_offset).ok();
        let next = Progress { generation: GENERATION, offset: next_offset, record };
        let mut writes: Vec<ShardWrite> = self
            .progress
            .iter()
            .map(|&expected| ShardWrite { partition: PARTITION, expected, next, rows: vec![], released: vec![] })
            .collect();
        for at in 0..size {
            let row = self.row(at)?;
            let home = self.store.orders.map().home_of_order(row.order);
            writes[usize::from(home.shard.0)].rows.push(row);
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (shard, write) in (0u16..).zip(writes) {
            let store = self.store.clone();
            tasks.spawn(async move { store.orders.write(ShardId(shard), write).await });
        }
        for written in tasks.join_all().await {
            assert_eq!(written?, Written::Done);
        }
        self.progress.fill(next);
        let movements = (0..records).map(|record| Movement {
            offset: self.offset + record as u64,
            lane: LaneId::new(7).ok(),
            units: vec![],
            decisions: vec![1; RECORD],
        });
        let commit = LedgerCommit {
            partition: PARTITION,
            generation: GENERATION,
            expected_offset: self.offset,
            next_offset,
            next_record: record,
            sold: vec![(OfferId::new(8)?, size as i64)],
            epochs: vec![],
            retired_lanes: vec![],
            first_orders: vec![],
            allotments: vec![],
            limits: vec![],
            retired: vec![],
            movements: movements.collect(),
        };
        assert_eq!(self.store.ledger.commit(&commit).await?, Committed::Done);
        self.offset = next_offset;
        Ok(())
    }

    fn row(&mut self, at: usize) -> Result<OrderRow, Failure> {
        self.buyer += 1;
        // A permutation of 2^40: buyers do not come in the order of their ids.
        let buyer = BuyerId::new(1 + (self.buyer.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24))?;
        let reserved_at_ms = 1_767_225_600_000 + self.buyer / 32;
        let order = OrderId::compose(reserved_at_ms, Slot::of(buyer), 3, (self.buyer % 32) as u8);
        Ok(OrderRow {
            order: order.ok_or("no order id")?,
            tenant: TenantId::new(5)?,
            buyer,
            lane: LaneId::new(7)?,
            number: Some(PurchaseNumber(1)),
            sale: SaleId::new(6)?,
            sale_version: 1,
            offer: OfferId::new(8)?,
            sku: SkuId::new(9)?,
            quantity: 1,
            unit_price: Money { amount: 9_900, currency: "CNY".parse()? },
            key: KeyHash(u128::from(self.buyer).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()),
            status: Status::PendingPayment,
            reason: None,
            position: Position {
                generation: GENERATION,
                offset: self.offset + (at / RECORD) as u64,
                index: (at % RECORD) as u8,
            },
            released: None,
            reserved_at_ms,
            context: Bytes::new(),
            pay_by_ms: None,
        })
    }
}
