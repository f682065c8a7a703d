//! A deployment of its own for each test, and rows to put into it.

use std::{ops::Deref, time::Duration};

use bytes::Bytes;
use domain::{
    id::{
        BuyerId, Generation, KeyHash, LaneId, OfferId, OrderId, PartitionId, Position, PurchaseNumber, RecordId,
        SaleId, SkuId, Slot, TenantId,
    },
    money::Money,
    order::{OrderRow, Reason, Status},
    shard::{ShardId, ShardMap},
};
use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};
use store::{
    orders::{Orders, Progress, ShardWrite, Written},
    shards::{self, Namespace, Store},
    sql::mysql::{MySql, MySqlServer, Settings},
};

pub(super) const PARTITION: PartitionId = PartitionId(3);
/// 2026-01-01, when the test's orders are minted.
pub(super) const MINTED_AT_MS: u64 = 1_767_225_600_000;

pub(super) fn url() -> String {
    std::env::var("FLASHSALE_MYSQL_URL").expect("FLASHSALE_MYSQL_URL; stack/stack up, then . stack/env")
}

/// Short, so that tests of timeouts are.
pub(super) fn settings() -> Settings {
    Settings { lock_wait: Duration::from_secs(1), statement_timeout: Duration::from_secs(5), ..Settings::default() }
}

pub(super) fn server() -> MySqlServer {
    MySqlServer::new(&url(), settings()).unwrap()
}

/// A namespace whose databases are dropped with it, also when the test fails.
pub(super) struct Space(pub(super) Namespace);

impl Space {
    pub(super) fn new() -> Self {
        Self(Namespace::new(&format!("t{:016x}", rand::random::<u64>())).unwrap())
    }

    pub(super) fn ledger(&self) -> String {
        self.0.ledger()
    }

    pub(super) fn orders(&self, shard: u16) -> String {
        self.0.orders(ShardId(shard))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // The test's own runtime is busy dropping us: work on another one, and wait for it.
        let space = self.0.clone();
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(shards::drop_all(&server(), &space)).unwrap();
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("the databases of {:?} were not dropped", self.0);
        }
    }
}

/// An open deployment.
pub(super) struct Deployment {
    pub(super) store: Store<MySql>,
    pub(super) space: Space,
}

impl Deref for Deployment {
    type Target = Store<MySql>;
    fn deref(&self) -> &Store<MySql> {
        &self.store
    }
}

pub(super) async fn deployment(shards: u16, tables: u16) -> Deployment {
    deployment_on(&server(), shards, tables).await
}

pub(super) async fn deployment_on(server: &MySqlServer, shards: u16, tables: u16) -> Deployment {
    let space = Space::new();
    let map = ShardMap::even(shards, tables).unwrap();
    let store = shards::open(server, &space.0, map).await.unwrap();
    Deployment { store, space }
}

/// Sends many rows in statements of many rows, as every MySQL gets them.
pub(super) fn server_without_arrays() -> MySqlServer {
    MySqlServer::new(&url(), Settings { arrays: false, ..settings() }).unwrap()
}

/// A raw connection to one of the deployment's databases: the fault's hand.
pub(super) async fn raw(database: &str) -> Conn {
    let opts = OptsBuilder::from_opts(Opts::from_url(&url()).unwrap()).db_name(Some(database)).prefer_socket(false);
    Conn::new(opts).await.unwrap()
}

pub(super) async fn count(database: &str, from: &str) -> i64 {
    let mut raw = raw(database).await;
    let count = raw.query_first(format!("SELECT COUNT(*) FROM {from}")).await.unwrap().unwrap();
    raw.disconnect().await.unwrap();
    count
}

pub(super) fn lane(n: u64) -> LaneId {
    LaneId::new(n).unwrap()
}

pub(super) fn offer(n: u64) -> OfferId {
    OfferId::new(n).unwrap()
}

pub(super) fn at(offset: u64, index: u8) -> Position {
    Position { generation: Generation(1), offset, index }
}

pub(super) fn progress(generation: u16, offset: u64) -> Progress {
    Progress { generation: Generation(generation), offset, record: RecordId::new(1_000 + offset).ok() }
}

/// The order of buyer `n`, minted `n` milliseconds after the others began, decided at offset 1.
pub(super) fn row(n: u64) -> OrderRow {
    let buyer = BuyerId::new(n).unwrap();
    OrderRow {
        order: OrderId::compose(MINTED_AT_MS + n, Slot::of(buyer), 7, 0).unwrap(),
        tenant: TenantId::new(5).unwrap(),
        buyer,
        lane: lane(77),
        number: Some(PurchaseNumber(1)),
        sale: SaleId::new(6).unwrap(),
        sale_version: 2,
        offer: offer(8),
        sku: SkuId::new(i64::MAX.cast_unsigned()).unwrap(),
        quantity: 2,
        unit_price: Money { amount: 9_900, currency: "CNY".parse().unwrap() },
        key: KeyHash([n as u8; 16]),
        status: Status::PendingPayment,
        reason: None,
        position: at(1, n as u8),
        released: None,
        reserved_at_ms: MINTED_AT_MS + n,
        context: Bytes::from(vec![0xff; (n % 257) as usize]),
    }
}

pub(super) fn rejected(n: u64) -> OrderRow {
    OrderRow { status: Status::Rejected, reason: Some(Reason::Stock), number: None, ..row(n) }
}

/// Another order of the same buyer.
pub(super) fn later(row: &OrderRow, ms: u64, number: u8) -> OrderRow {
    let order = OrderId::compose(row.order.minted_at_ms() + ms, row.order.slot(), 7, 0).unwrap();
    OrderRow { order, number: Some(PurchaseNumber(number)), ..row.clone() }
}

/// Begins the partition on every shard and writes rows and releases as a writer would, from record `offset` - 1 to `offset`.
pub(super) async fn write(
    orders: &Orders<MySql>,
    offset: u64,
    rows: &[OrderRow],
    released: &[(OrderId, Position)],
) -> Vec<Written> {
    let mut written = Vec::new();
    for shard in 0..orders.map().shards() {
        let shard = ShardId(shard);
        orders.begin_progress(shard, PARTITION, progress(1, 0)).await.unwrap();
        let here = |order: OrderId| orders.map().home_of_order(order).shard == shard;
        let write = ShardWrite {
            partition: PARTITION,
            expected: progress(1, offset - 1),
            next: progress(1, offset),
            rows: rows.iter().filter(|row| here(row.order)).cloned().collect(),
            released: released.iter().copied().filter(|&(order, _)| here(order)).collect(),
        };
        written.push(orders.write(shard, write).await.unwrap());
    }
    written
}
