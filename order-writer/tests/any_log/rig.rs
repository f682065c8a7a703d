//! A shop in one folder: a log with one partition, databases of two shards, lanes in this process,
//! and a worker.

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{
        BatchId, BuyerId, Epoch, KeyHash, LaneId, OfferId, OrderId, PartitionId, RecordId, SaleId, SkuId, Slot,
        TenantId,
    },
    money::Money,
    order::OrderRow,
    record::{BATCH_TYPE, Reservation},
    sale::{Lane, Offer, Sale, SubjectKind, Window},
    shard::ShardMap,
    stock::{LaneAnswer, LaneMode, LaneView, ReserveAnswer, ReserveCall, ReserveReply, ReserveRequest, RunId},
};
use kit::{
    admin::Readiness,
    clock::{Clock, SystemClock},
    metrics::Registry,
};
use order_writer::{
    failpoint::Failpoint,
    metrics::Metrics,
    ports::{Pace, Ports, Sales, Shared},
    rhythm::Busy,
    service,
    stalls::Stalls,
};
use store::{
    log::{
        Envelope, OrderLog, OrderLogSource, PartitionReader,
        sqlite::{SoleMember, SqliteLog, SqliteSettings, SqliteSource},
    },
    shards::{self, Namespace, Store},
    sql::sqlite::{Settings, Sqlite, SqliteServer},
    stock::{LaneKeeping, LaneStock, local::LocalKeeping, local::LocalStock},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Gated};

pub(crate) const PARTITION: PartitionId = PartitionId(0);
pub(crate) const TENANT: u64 = 7;
pub(crate) const SALE: u64 = 1001;
/// Lanes with their offers and limits.
pub(crate) const LANES: [u64; 2] = [5001, 5002];
/// Nobody names it falsely.
pub(crate) const SOUND_LANE: u64 = 5002;
/// Published late, beside sales that contradict those before.
pub(crate) const LATE_LANE: u64 = 5004;
/// Longer than a lane that is found closed waits for its retirement.
const SETTLING: Option<Duration> = Some(Duration::from_secs(300));
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const LEDGER_TABLES: [&str; 4] = ["partitions", "lanes", "offers", "movements"];

pub(crate) fn id<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: std::fmt::Debug,
{
    T::try_from(number).unwrap()
}

pub(crate) fn offer_of(lane: u64) -> u64 {
    lane + 4000
}

#[derive(Clone)]
pub(crate) struct Files;

impl Ports for Files {
    type Sql = Sqlite;
    type Stock = Gated<LocalKeeping>;
    type Log = SqliteLog;
    type Source = SqliteSource;
    type Clock = SystemClock;
}

/// What a purchase was promised.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) lane: u64,
    pub(crate) order: OrderId,
    pub(crate) buyer: BuyerId,
    pub(crate) reservation: Reservation,
}

pub(crate) struct Rig {
    folder: tempfile::TempDir,
    /// The partition of the second lane.
    pub(crate) last: PartitionId,
    pub(crate) store: Store<Sqlite>,
    pub(crate) log: SqliteLog,
    pub(crate) stock: LocalStock,
    pub(crate) keeping: LocalKeeping,
    pub(crate) gate: Gate,
    /// Of workers that start from now on.
    pub(crate) settling: Option<Duration>,
    pub(crate) readiness: Readiness,
    pub(crate) sales: watch::Sender<Sales>,
    registry: Registry,
    worker: Option<(CancellationToken, JoinHandle<()>)>,
    runs: u64,
    minted: u64,
}

/// Waits until a condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not in time");
}

pub(crate) fn sale() -> Sale {
    let now = SystemClock::new().now_ms();
    let price = Money { amount: 19_900, currency: "CNY".parse().unwrap() };
    let offer = |number, allotment| {
        let (sku, title, rate_per_s) = (id(77), "Kettle".to_owned(), 1_000);
        Offer { paused: false, id: id(number), sku, title, price, allotment, rate_per_s }
    };
    let lane = |number: u64, limit_per_buyer| {
        let offers = vec![offer(offer_of(number), 5_000), offer(offer_of(number) + 100, 20)];
        Lane { paused: false, id: id(number), partition: PARTITION, limit_per_buyer, offers }
    };
    Sale {
        id: id(SALE),
        tenant: id(TENANT),
        version: 1,
        title: "Night".into(),
        window: Window { opens_at_ms: now - 1_000, closes_at_ms: now + 3_600_000 },
        paused: false,
        buyer_rate_per_s: 100,
        shard_map_version: 1,
        limit_by: SubjectKind::Account,
        members_only: false,
        visible_from_ms: 0,
        orders: domain::sale::OrderTerms::default(),
        lanes: vec![lane(LANES[0], 3), lane(LANES[1], 100)],
    }
}

impl Rig {
    /// Both lanes are open.
    pub(crate) async fn open() -> Self {
        Self::open_with(sale()).await
    }

    /// The same; the second lane is in a partition of its own.
    pub(crate) async fn open_over_two() -> Self {
        let mut sale = sale();
        sale.lanes[1].partition = PartitionId(1);
        Self::open_with(sale).await
    }

    /// The same, by another first version of the sale.
    pub(crate) async fn open_with(sale: Sale) -> Self {
        // The last lane is in the last partition.
        let last = sale.lanes.last().map_or(PARTITION, |lane| lane.partition);
        let folder = tempfile::tempdir().unwrap();
        let now_ms: Arc<dyn Fn() -> u64 + Send + Sync> = Arc::new(|| SystemClock::new().now_ms());
        let log = SqliteLog::open(&folder.path().join("log.db"), &SqliteSettings::new(last.0 + 1, Arc::clone(&now_ms)))
            .unwrap();
        let server = SqliteServer::new(folder.path().to_owned(), now_ms, Settings::default()).unwrap();
        let map = ShardMap::even(2, 1).unwrap();
        let store = shards::open(&server, &Namespace::new("shop").unwrap(), map).await.unwrap();
        let stock = LocalStock::new(RunId(1));
        let mut rig = Self {
            last,
            store,
            log,
            keeping: stock.keeping(),
            gate: Gate::open(),
            stock,
            readiness: Readiness::new(),
            sales: watch::channel(Arc::new(BTreeMap::from([(sale.id, sale)]))).0,
            registry: Registry::new().unwrap(),
            worker: None,
            runs: 1,
            minted: 0,
            settling: SETTLING,
            folder,
        };
        rig.start();
        for lane in LANES {
            rig.until_open(lane).await;
        }
        rig
    }

    /// What a worker stands on, with figures of its own.
    pub(crate) fn shared(&mut self) -> Arc<Shared<Files>> {
        self.registry = Registry::new().unwrap();
        Arc::new(Shared::<Files> {
            orders: self.store.orders.clone(),
            ledger: self.store.ledger.clone(),
            stock: Gated::new(self.stock.keeping(), &self.gate),
            log: self.log.clone(),
            source: SqliteSource::new(&self.log),
            clock: SystemClock::new(),
            sales: self.sales.subscribe(),
            decided: Mutex::default(),
            stalls: Stalls::new(self.readiness.clone()),
            metrics: Arc::new(Metrics::register(&self.registry).unwrap()),
            failpoint: Failpoint::none(),
            busy: Busy::default(),
            pace: Pace {
                look_every: Duration::from_millis(20),
                gather: Duration::ZERO,
                settling: self.settling,
                ..Pace::default()
            },
        })
    }

    pub(crate) fn start(&mut self) {
        let shared = self.shared();
        let stop = CancellationToken::new();
        let running = service::run(shared, SoleMember::new(&self.log), self.readiness.clone(), stop.clone());
        self.worker = Some((stop, tokio::spawn(async { running.await.unwrap() })));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((stop, worker)) = self.worker.take() {
            stop.cancel();
            worker.await.unwrap();
        }
    }

    /// As a process that ends and starts: no lane is there.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.runs += 1;
        self.stock = LocalStock::new(RunId(self.runs));
        self.keeping = self.stock.keeping();
        self.start();
    }

    pub(crate) async fn close(mut self) {
        self.stop().await;
        self.store.close().await;
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A statement on one of the folder's files, beside those who work on it.
    pub(crate) fn sql(&self, file: &str, statement: &str) -> usize {
        let connection = rusqlite::Connection::open(self.file(file)).unwrap();
        connection.busy_timeout(Duration::from_secs(60)).unwrap();
        connection.execute(statement, ()).unwrap()
    }

    /// Keeps a copy of the ledger as it is.
    pub(crate) fn back_ledger_up(&self) {
        for table in LEDGER_TABLES {
            self.sql("shop_ledger.db", &format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"));
        }
    }

    /// The ledger is again as it was when the copy was made.
    pub(crate) fn restore_ledger(&self) {
        for table in LEDGER_TABLES {
            self.sql("shop_ledger.db", &format!("DELETE FROM {table}"));
            self.sql("shop_ledger.db", &format!("INSERT INTO {table} SELECT * FROM kept_{table}"));
        }
    }

    /// The causes of all parked records.
    pub(crate) fn parked(&self) -> Vec<String> {
        let connection = rusqlite::Connection::open(self.file("log.db")).unwrap();
        let mut causes = connection.prepare("SELECT cause FROM dead ORDER BY sequence").unwrap();
        let causes = causes.query_map((), |row| row.get(0)).unwrap();
        causes.collect::<Result<_, _>>().unwrap()
    }

    /// The page of metrics.
    pub(crate) fn metrics(&self) -> String {
        self.registry.render().unwrap()
    }

    /// A figure without labels, as it is shown.
    pub(crate) fn figure(&self, name: &str) -> String {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{text}")).to_owned()
    }

    /// A figure with its labels; 0 where it is not shown.
    pub(crate) fn figure_of(&self, series: &str) -> u64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |figure| figure.parse().unwrap())
    }

    /// Publishes the next version of the sale, which ends so many milliseconds from now.
    pub(crate) fn publish_end(&self, in_ms: i64) {
        let now = SystemClock::new().now_ms();
        self.sales.send_modify(|known| {
            let sale = Arc::make_mut(known).get_mut(&id(SALE)).unwrap();
            sale.version += 1;
            sale.window.closes_at_ms = now.checked_add_signed(in_ms).unwrap();
            sale.window.opens_at_ms = sale.window.opens_at_ms.min(sale.window.closes_at_ms - 1);
        });
    }

    /// The lines of the metrics that tell of halts.
    pub(crate) fn halts(&self) -> String {
        let text = self.registry.render().unwrap();
        text.lines().filter(|line| line.starts_with("flashsale_writer_halts_total{")).collect()
    }

    pub(crate) async fn view(&self, lane: u64) -> LaneView {
        self.keeping.inspect(id(lane)).await.unwrap()
    }

    /// Whether the lane is open as the ledger has it, and at which epoch.
    pub(crate) async fn is_open(&self, lane: u64) -> Option<Epoch> {
        let ledger = self.store.ledger.lane(id(lane)).await.unwrap()?;
        (self.view(lane).await.mode == LaneMode::Open { epoch: ledger.epoch }).then_some(ledger.epoch)
    }

    pub(crate) async fn until_open(&self, lane: u64) {
        until("the lane opens", || async { self.is_open(lane).await.is_some() }).await;
    }

    pub(crate) async fn position(&self) -> u64 {
        self.store.ledger.partition(PARTITION).await.unwrap().map_or(0, |row| row.offset)
    }

    pub(crate) async fn high(&self) -> u64 {
        SqliteSource::new(&self.log).reader(PARTITION).unwrap().watermarks().await.unwrap().high
    }

    /// Publishes, as if nobody had looked at them before: a sale of another tenant that names the
    /// first lane with its offers, in a version that wants other units of them, and under a lower
    /// id than the owner's; one whose lane takes an offer of the first; and a sound one.
    pub(crate) fn publish_contradictions(&self) {
        let other = |number: u64, lane: u64, offer: u64| {
            let mut sale = sale();
            (sale.id, sale.tenant, sale.version) = (id(number), id(8), 9);
            sale.lanes.truncate(1);
            sale.lanes[0].id = id(lane);
            sale.lanes[0].offers.truncate(1);
            (sale.lanes[0].offers[0].id, sale.lanes[0].offers[0].allotment) = (id(offer), 6_000);
            sale
        };
        let first = offer_of(LANES[0]);
        let sales = [other(900, LANES[0], first), other(901, 5003, first), other(1004, LATE_LANE, offer_of(LATE_LANE))];
        self.sales.send_modify(|known| Arc::make_mut(known).extend(sales.map(|sale| (sale.id, sale))));
    }

    /// Waits until the log is decided to its end.
    pub(crate) async fn until_decided(&self) {
        until("the log is decided to its end", || async { self.position().await == self.high().await }).await;
    }

    /// Waits until everything is decided and settled, and the lanes are open.
    pub(crate) async fn until_rest(&self) {
        for lane in LANES {
            until("the lane is open and its journal empty", || async {
                self.is_open(lane).await.is_some() && self.view(lane).await.journal_len == 0
            })
            .await;
        }
        self.until_decided().await;
    }

    pub(crate) async fn row(&self, order: OrderId) -> Option<OrderRow> {
        self.store.orders.find(&[order]).await.unwrap().remove(&order)
    }

    pub(crate) async fn append(&self, envelope: Envelope) {
        self.append_to(PARTITION, envelope).await;
    }

    pub(crate) async fn append_to(&self, partition: PartitionId, envelope: Envelope) {
        let room = self.log.room().unwrap();
        self.log.append(partition, envelope, room).await.unwrap();
    }

    pub(crate) fn reservation(&mut self, lane: u64, buyer: BuyerId) -> Reservation {
        self.minted += 1;
        let (tenant, offer) = (id::<TenantId>(TENANT), id::<OfferId>(offer_of(lane)));
        let now_ms = SystemClock::new().now_ms();
        Reservation {
            tenant,
            sale: id::<SaleId>(SALE),
            sale_version: 1,
            offer,
            sku: id::<SkuId>(77),
            order: OrderId::compose(now_ms + self.minted, Slot::of(buyer), 1, 0).unwrap(),
            buyer,
            quantity: 1,
            unit_price: Money { amount: 19_900, currency: "CNY".parse().unwrap() },
            key: KeyHash::of(tenant, buyer, offer, &self.minted.to_string()),
            reserved_at_ms: now_ms,
            context: Bytes::new(),
            pay_within_s: 900,
            trace: None,
        }
    }

    /// Promises in one call, whatever bytes the fields have. Empty when the lane is not open. What
    /// was reserved, and the record.
    pub(crate) async fn promise(
        &mut self,
        lane: u64,
        wishes: Vec<(Reservation, Bytes)>,
    ) -> Option<(Vec<Promise>, Envelope)> {
        let epoch = self.is_open(lane).await?;
        let request = |(r, field): &(Reservation, Bytes)| ReserveRequest {
            order: r.order,
            buyer: r.buyer,
            offer: r.offer,
            quantity: r.quantity,
            key: r.key,
            field: field.clone(),
        };
        let requests: Vec<ReserveRequest> = wishes.iter().map(request).collect();
        let (lane_id, batch) = (id::<LaneId>(lane), id::<BatchId>(requests[0].order.get()));
        let call =
            ReserveCall { lane: lane_id, epoch, batch, now_ms: 1, sweep_after_ms: 60_000, journal_max: 1_000_000 };
        let LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) =
            self.stock.reserve(call, &requests).await.unwrap()
        else {
            return None;
        };
        let reserved = wishes.into_iter().zip(replies).filter(|(_, reply)| matches!(reply, ReserveReply::Reserved(_)));
        let promised = reserved.map(|((reservation, _), _)| Promise {
            lane,
            order: reservation.order,
            buyer: reservation.buyer,
            reservation,
        });
        let promised: Vec<Promise> = promised.collect();
        let journal = self.keeping.journal(lane_id).await.unwrap();
        let (_, payload) = journal.into_iter().find(|(id, _)| *id == batch)?;
        Some((promised, Envelope { id: id::<RecordId>(batch.get()), kind: BATCH_TYPE, payload }))
    }

    /// Promises a unit and appends it, as an engine does; now and then twice, as a sweeper does.
    pub(crate) async fn buy(&mut self, lane: u64, buyer: u64, twice: bool) -> Vec<Promise> {
        let reservation = self.reservation(lane, id(buyer));
        let mut field = Vec::new();
        reservation.append_field(&mut field);
        let Some((promised, envelope)) = self.promise(lane, vec![(reservation, field.into())]).await else {
            return Vec::new();
        };
        let partition = if lane == SOUND_LANE { self.last } else { PARTITION };
        self.append_to(partition, envelope.clone()).await;
        if twice {
            self.append_to(partition, envelope).await;
        }
        promised
    }

    /// Buys as soon as the lane sells.
    pub(crate) async fn until_buys(&mut self, lane: u64) -> Promise {
        let begun = std::time::Instant::now();
        loop {
            if let Some(promise) = self.buy(lane, 900, false).await.pop() {
                return promise;
            }
            assert!(begun.elapsed() < PATIENCE, "lane {lane} does not sell: {:?}", self.view(lane).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
