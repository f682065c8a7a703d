//! A deployment of its own for each test, and rows to put into it.

use std::ops::Deref;

use bytes::Bytes;
use domain::{
    id::{
        BuyerId, Generation, KeyHash, LaneId, OfferId, OrderId, PartitionId, Position, PurchaseNumber, RecordId,
        SaleId, SkuId, Slot, TenantId,
    },
    money::Money,
    order::{OrderRow, Reason, Release, Status},
    shard::{ShardId, ShardMap},
};
use store::{
    orders::{Orders, Progress, ShardWrite, Written},
    shards::{self, Namespace, OpenError, Store},
    sql::{Server, Sql},
};

pub(crate) const PARTITION: PartitionId = PartitionId(3);
/// 2026-01-01, when the test's orders are minted.
pub(crate) const MINTED_AT_MS: u64 = 1_767_225_600_000;

/// A technology under test. Its clones work in one place.
pub(crate) trait Adapter: Clone + Send + Sync + 'static {
    type Server: Server;

    fn server(&self) -> Self::Server;
}

pub(crate) type SqlOf<A> = <<A as Adapter>::Server as Server>::Sql;

/// A namespace whose databases are dropped with it, also when the test fails.
pub(crate) struct Space<A: Adapter> {
    pub(crate) name: Namespace,
    pub(crate) adapter: A,
}

impl<A: Adapter> Space<A> {
    pub(crate) fn new(adapter: &A) -> Self {
        let name = Namespace::new(&format!("t{:016x}", rand::random::<u64>())).unwrap();
        Self { name, adapter: adapter.clone() }
    }

    pub(crate) fn ledger(&self) -> String {
        self.name.ledger()
    }

    pub(crate) fn orders(&self, shard: u16) -> String {
        self.name.orders(ShardId(shard))
    }

    pub(crate) async fn open(&self, shards: u16, tables: u16) -> Result<Store<SqlOf<A>>, OpenError> {
        shards::open(&self.adapter.server(), &self.name, ShardMap::even(shards, tables).unwrap()).await
    }

    /// The test's own hand on one of the databases.
    pub(crate) fn hand(&self, database: &str) -> SqlOf<A> {
        self.adapter.server().open(database)
    }

    pub(crate) async fn count(&self, database: &str, from: &str) -> i64 {
        let hand = self.hand(database);
        let rows = hand.rows(&format!("SELECT COUNT(*) FROM {from}"), vec![]).await.unwrap();
        hand.close().await;
        rows.into_iter().next().unwrap().int().unwrap()
    }
}

impl<A: Adapter> Drop for Space<A> {
    fn drop(&mut self) {
        // The test's own runtime is busy dropping us: work on another one, and wait for it.
        let (adapter, name) = (self.adapter.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(shards::drop_all(&adapter.server(), &name)).unwrap();
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("the databases of {:?} were not dropped", self.name);
        }
    }
}

/// An open deployment.
pub(crate) struct Deployment<A: Adapter> {
    pub(crate) store: Store<SqlOf<A>>,
    pub(crate) space: Space<A>,
}

impl<A: Adapter> Deref for Deployment<A> {
    type Target = Store<SqlOf<A>>;
    fn deref(&self) -> &Self::Target {
        &self.store
    }
}

pub(crate) async fn deployment<A: Adapter>(adapter: &A, shards: u16, tables: u16) -> Deployment<A> {
    let space = Space::new(adapter);
    let store = space.open(shards, tables).await.unwrap();
    Deployment { store, space }
}

pub(crate) fn lane(n: u64) -> LaneId {
    LaneId::new(n).unwrap()
}

pub(crate) fn offer(n: u64) -> OfferId {
    OfferId::new(n).unwrap()
}

pub(crate) fn at(offset: u64, index: u8) -> Position {
    Position { generation: Generation(1), offset, index }
}

pub(crate) fn progress(generation: u16, offset: u64) -> Progress {
    Progress { generation: Generation(generation), offset, record: RecordId::new(1_000 + offset).ok() }
}

/// The order of buyer `n`, minted `n` milliseconds after the others began, decided at offset 1.
pub(crate) fn row(n: u64) -> OrderRow {
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
        // Rows of older programs say none.
        pay_by_ms: (n % 5 != 0).then_some(MINTED_AT_MS + 900_000 + n % 3),
    }
}

pub(crate) fn rejected(n: u64) -> OrderRow {
    OrderRow { status: Status::Rejected, reason: Some(Reason::Stock), number: None, ..row(n) }
}

/// A release whose record stands at this offset.
pub(crate) fn release(order: OrderId, offset: u64, became: Option<Status>) -> Release {
    Release { order, at: at(offset, 0), became }
}

/// Another order of the same buyer.
pub(crate) fn later(row: &OrderRow, ms: u64, number: u8) -> OrderRow {
    let order = OrderId::compose(row.order.minted_at_ms() + ms, row.order.slot(), 7, 0).unwrap();
    OrderRow { order, number: Some(PurchaseNumber(number)), ..row.clone() }
}

/// Begins the partition on every shard and writes rows and releases as a writer would, from record
/// `offset` - 1 to `offset`.
pub(crate) async fn write<S: Sql>(
    orders: &Orders<S>,
    offset: u64,
    rows: &[OrderRow],
    released: &[Release],
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
            released: released.iter().copied().filter(|release| here(release.order)).collect(),
        };
        written.push(orders.write(shard, write).await.unwrap());
    }
    written
}
