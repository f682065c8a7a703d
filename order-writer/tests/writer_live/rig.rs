//! A deployment of one test's own with one lane, its worker, and hands to buy with.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
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
    record::{BATCH_TYPE, Batch, Reservation},
    sale::{Lane, Offer, Sale, SubjectKind, Window},
    shard::ShardMap,
    stock::{LaneAnswer, LaneMode, ReserveAnswer, ReserveCall, ReserveReply, ReserveRequest},
};
use kit::{
    clock::{Clock, SystemClock},
    metrics::Registry,
};
use order_writer::{
    consume::work,
    desk,
    failpoint::Failpoint,
    metrics::Metrics,
    ports::{Pace, Ports, Sales, Shared},
    relay::relay,
    rhythm::Busy,
    stalls::Stalls,
};
use rdkafka::{ClientConfig, admin::AdminClient, client::DefaultClientContext};
use store::{
    ledger::OfferRow,
    log::{
        Envelope, OrderLog,
        kafka::{KafkaLog, KafkaSettings, KafkaSource, ensure_topics},
    },
    shards::{self, Namespace, Store},
    sql::mysql::{MySql, MySqlServer, Settings},
    stock::{
        LaneKeeping, LaneStock,
        redis::{RedisKeeping, RedisSettings, RedisStock},
    },
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Gated};

pub(crate) const PARTITION: PartitionId = PartitionId(0);
/// Longer than a lane that is found closed waits for its retirement.
const SETTLING: Option<Duration> = Some(Duration::from_secs(300));
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Real;

impl Ports for Real {
    type Sql = MySql;
    type Stock = Gated<RedisKeeping>;
    type Log = KafkaLog;
    type Source = KafkaSource;
    type Clock = SystemClock;
}

pub(crate) struct Rig {
    pub(crate) namespace: String,
    pub(crate) store: Store<MySql>,
    pub(crate) keeping: RedisKeeping,
    pub(crate) gate: Gate,
    pub(crate) stock: RedisStock,
    pub(crate) kafka: KafkaSettings,
    pub(crate) log: KafkaLog,
    pub(crate) sales: watch::Sender<Sales>,
    pub(crate) lane: LaneId,
    pub(crate) offer: OfferId,
    worker: Option<(CancellationToken, JoinHandle<()>, JoinHandle<()>)>,
    minted: AtomicU64,
    /// So long before now orders are minted.
    pub(crate) minted_before_ms: u64,
    registry: Registry,
}

/// What a purchase was promised.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) order: OrderId,
    pub(crate) buyer: BuyerId,
    pub(crate) batch: Envelope,
}

pub(crate) fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set: stack/stack up, then . stack/env"))
}

pub(crate) fn buyer(number: u64) -> BuyerId {
    BuyerId::new(number).unwrap()
}

pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", env("FLASHSALE_KAFKA_BROKERS")).create().unwrap()
}

/// Waits until a condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not in time");
}

impl Rig {
    /// A published sale of `allotment` units, and a worker that keeps its lane.
    pub(crate) async fn open(allotment: u64, limit: u32) -> Self {
        Self::open_in(0, allotment, limit).await
    }

    /// The same with a sale that opens so much later, which lanes do not wait for.
    pub(crate) async fn open_in(opens_in_ms: u64, allotment: u64, limit: u32) -> Self {
        let mut rig = Self::closed(allotment, limit).await;
        rig.publish_opening(opens_in_ms, 1, allotment, limit);
        rig.start();
        rig.until_open(Epoch(1)).await;
        rig
    }

    async fn closed(allotment: u64, limit: u32) -> Self {
        let namespace = format!("w{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let server = MySqlServer::new(&env("FLASHSALE_MYSQL_URL"), Settings::default()).unwrap();
        let map = ShardMap::even(2, 2).unwrap();
        let store = shards::open(&server, &Namespace::new(&namespace).unwrap(), map).await.unwrap();
        let kafka = KafkaSettings::new(env("FLASHSALE_KAFKA_BROKERS"), &namespace, 1);
        ensure_topics(&kafka).await.unwrap();
        let redis = RedisSettings::new(env("FLASHSALE_REDIS_URL"), &namespace);
        let (lane, offer) = (LaneId::new(5001).unwrap(), OfferId::new(9001).unwrap());
        let rig = Self {
            store,
            keeping: RedisKeeping::connect(&redis).await.unwrap(),
            gate: Gate::open(),
            stock: RedisStock::connect(&redis).await.unwrap(),
            log: KafkaLog::new(&kafka).unwrap(),
            kafka,
            namespace,
            sales: watch::channel(Sales::default()).0,
            lane,
            offer,
            worker: None,
            minted: AtomicU64::new(0),
            minted_before_ms: 0,
            registry: Registry::new().unwrap(),
        };
        rig.publish(1, allotment, limit);
        rig
    }

    /// Publishes a version of the sale.
    pub(crate) fn publish(&self, version: u32, allotment: u64, limit_per_buyer: u32) {
        self.publish_until(version, (allotment, limit_per_buyer), 3_600_000);
    }

    fn publish_opening(&self, opens_in_ms: u64, version: u32, allotment: u64, limit_per_buyer: u32) {
        let now = SystemClock::new().now_ms();
        let window = Window { opens_at_ms: now - 1_000 + opens_in_ms, closes_at_ms: now + 3_600_000 + opens_in_ms };
        self.publish_window(version, (allotment, limit_per_buyer), window);
    }

    /// The same, with an end so many milliseconds from now.
    pub(crate) fn publish_until(&self, version: u32, units: (u64, u32), ends_in_ms: i64) {
        let now = SystemClock::new().now_ms();
        let closes_at_ms = now.checked_add_signed(ends_in_ms).unwrap();
        self.publish_window(version, units, Window { opens_at_ms: now.min(closes_at_ms) - 1_000, closes_at_ms });
    }

    fn publish_window(&self, version: u32, (allotment, limit_per_buyer): (u64, u32), window: Window) {
        let price = Money { amount: 19_900, currency: "CNY".parse().unwrap() };
        let (sku, title, rate_per_s) = (SkuId::new(77).unwrap(), "Kettle".to_owned(), 1_000);
        let offer = Offer { paused: false, id: self.offer, sku, title, price, allotment, rate_per_s };
        let lane = Lane { paused: false, id: self.lane, partition: PARTITION, limit_per_buyer, offers: vec![offer] };
        let sale = Sale {
            id: SaleId::new(1001).unwrap(),
            tenant: TenantId::new(7).unwrap(),
            version,
            title: "Night".into(),
            window,
            paused: false,
            buyer_rate_per_s: 100,
            shard_map_version: 1,
            limit_by: SubjectKind::Account,
            members_only: false,
            visible_from_ms: 0,
            orders: domain::sale::OrderTerms::default(),
            lanes: vec![lane],
        };
        self.sales.send_replace(Arc::new(BTreeMap::from([(sale.id, sale)])));
    }

    /// Starts a worker and the relay.
    pub(crate) fn start(&mut self) {
        self.registry = Registry::new().unwrap();
        let shared = Arc::new(Shared::<Real> {
            orders: self.store.orders.clone(),
            ledger: self.store.ledger.clone(),
            stock: Gated::new(self.keeping.clone(), &self.gate),
            log: self.log.clone(),
            source: KafkaSource::new(&self.kafka),
            clock: SystemClock::new(),
            sales: self.sales.subscribe(),
            decided: Mutex::default(),
            stalls: Stalls::default(),
            metrics: Arc::new(Metrics::register(&self.registry).unwrap()),
            failpoint: Failpoint::none(),
            busy: Busy::default(),
            pace: Pace { look_every: Duration::from_millis(50), settling: SETTLING, ..Pace::default() },
        });
        let stop = CancellationToken::new();
        let worker = tokio::spawn(work(shared.clone(), PARTITION, stop.clone()));
        self.worker = Some((stop.clone(), worker, tokio::spawn(relay(shared, stop))));
    }

    /// Stops the worker where it is.
    pub(crate) async fn stop(&mut self) {
        if let Some((stop, worker, relay)) = self.worker.take() {
            stop.cancel();
            worker.await.unwrap();
            relay.await.unwrap();
        }
    }

    /// Whether the worker waits for a newer program.
    pub(crate) fn has_stopped(&self) -> bool {
        self.registry.render().unwrap().contains("flashsale_writer_halts_total{cause=\"newer_record\"} 1")
    }

    /// Whether the worker began anew for any cause.
    pub(crate) fn has_halted(&self) -> bool {
        self.registry.render().unwrap().contains("flashsale_writer_halts_total{")
    }

    /// A figure without labels, as it is shown.
    pub(crate) fn figure(&self, name: &str) -> String {
        let text = self.registry.render().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{text}")).to_owned()
    }

    /// Makes a buyer's entry in the lane such that no script can read it.
    pub(crate) async fn damage_entry(&self, buyer: BuyerId) {
        let key = format!("{}:{{{}}}:buyers", self.namespace, self.lane);
        let field = buyer.get().to_be_bytes();
        redis::cmd("HSET").arg(key).arg(&field[..]).arg("x").exec_async(&mut self.redis().await).await.unwrap();
    }

    /// Takes a buyer's entry out of the lane, as if it had never been there.
    pub(crate) async fn forget_buyer(&self, buyer: BuyerId) {
        let key = format!("{}:{{{}}}:buyers", self.namespace, self.lane);
        let field = buyer.get().to_be_bytes();
        redis::cmd("HDEL").arg(key).arg(&field[..]).exec_async(&mut self.redis().await).await.unwrap();
    }

    /// Waits until the lane is open at this epoch.
    pub(crate) async fn until_open(&self, epoch: Epoch) {
        until("the lane opens", || async {
            self.keeping.inspect(self.lane).await.unwrap().mode == LaneMode::Open { epoch }
        })
        .await;
    }

    /// Promises a unit to each of these buyers in one call; nothing goes into the log.
    pub(crate) async fn promise(&self, epoch: Epoch, buyers: &[u64]) -> Vec<Promise> {
        let requests: Vec<ReserveRequest> = buyers.iter().map(|&number| self.request(number, "key", 1)).collect();
        let batch = BatchId::new(requests[0].order.get()).unwrap();
        let replies = self.reserve(epoch, batch, &requests).await;
        let numbers: Vec<u8> = replies
            .iter()
            .map(|reply| match reply {
                ReserveReply::Reserved(number) => number.0,
                other => panic!("not reserved: {other:?}"),
            })
            .collect();
        let head = Batch::head(self.lane, batch, epoch);
        let payload = Batch::concatenate(&head, requests.iter().map(|request| &request.field[..]), &numbers);
        let envelope = Envelope { id: RecordId::new(batch.get()).unwrap(), kind: BATCH_TYPE, payload: payload.into() };
        let promise =
            |request: &ReserveRequest| Promise { order: request.order, buyer: request.buyer, batch: envelope.clone() };
        requests.iter().map(promise).collect()
    }

    /// One reserve call.
    pub(crate) async fn reserve(&self, epoch: Epoch, batch: BatchId, requests: &[ReserveRequest]) -> Vec<ReserveReply> {
        let now_ms = SystemClock::new().now_ms();
        let call = ReserveCall { lane: self.lane, epoch, batch, now_ms, sweep_after_ms: 60_000, journal_max: 1_000 };
        match self.stock.reserve(call, requests).await.unwrap() {
            LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) => replies,
            other => panic!("the lane answers {other:?}"),
        }
    }

    /// A wish with a fresh order id.
    pub(crate) fn request(&self, number: u64, key: &str, quantity: u32) -> ReserveRequest {
        let buyer = buyer(number);
        let tenant = TenantId::new(7).unwrap();
        let minted = self.minted.fetch_add(1, Relaxed);
        let order =
            OrderId::compose(SystemClock::new().now_ms() - self.minted_before_ms + minted, Slot::of(buyer), 1, 0)
                .unwrap();
        let reservation = Reservation {
            tenant,
            sale: SaleId::new(1001).unwrap(),
            sale_version: 1,
            offer: self.offer,
            sku: SkuId::new(77).unwrap(),
            order,
            buyer,
            quantity,
            unit_price: Money { amount: 19_900, currency: "CNY".parse().unwrap() },
            key: KeyHash::of(tenant, buyer, self.offer, key),
            reserved_at_ms: SystemClock::new().now_ms(),
            context: Bytes::new(),
            pay_within_s: 0,
            trace: None,
        };
        let mut field = Vec::new();
        reservation.append_field(&mut field);
        ReserveRequest { order, buyer, offer: self.offer, quantity, key: reservation.key, field: field.into() }
    }

    /// Appends a record and waits for the acknowledgement.
    pub(crate) async fn append(&self, record: Envelope) {
        let room = self.log.room().unwrap();
        self.log.append(PARTITION, record, room).await.unwrap();
    }

    /// Promises and appends, as an engine does.
    pub(crate) async fn buy(&self, epoch: Epoch, buyers: &[u64]) -> Vec<Promise> {
        let promises = self.promise(epoch, buyers).await;
        self.append(promises[0].batch.clone()).await;
        promises
    }

    /// The row of an order, when there is one.
    pub(crate) async fn row(&self, order: OrderId) -> Option<OrderRow> {
        self.store.orders.find(&[order]).await.unwrap().remove(&order)
    }

    /// Waits for the row of an order.
    pub(crate) async fn until_row(&self, order: OrderId) -> OrderRow {
        until("the row is there", || async { self.row(order).await.is_some() }).await;
        self.row(order).await.unwrap()
    }

    /// The ledger's numbers of the offer.
    pub(crate) async fn ledger(&self) -> OfferRow {
        self.store.ledger.lane(self.lane).await.unwrap().unwrap().offers.remove(0)
    }

    /// Units left in the lane.
    pub(crate) async fn left(&self) -> u64 {
        self.keeping.inspect(self.lane).await.unwrap().offers[0].1
    }

    /// Waits until everything is at rest with so many units sold, and checks INV-4.
    pub(crate) async fn until_at_rest(&self, sold: u64) {
        until(&format!("{sold} units are sold and all is settled"), || async {
            let view = self.keeping.inspect(self.lane).await.unwrap();
            let ledger = self.ledger().await;
            let left = view.offers.first().map(|offer| offer.1);
            ledger.sold == sold && view.journal_len == 0 && left == Some(ledger.allotment - sold)
        })
        .await;
    }

    /// Waits until the ledger has these numbers and the lane agrees.
    pub(crate) async fn until_numbers(&self, sold: u64, allotment: u64, target: u64) {
        until(&format!("{sold} sold, allotment {allotment}, target {target}"), || async {
            let (view, ledger) = (self.keeping.inspect(self.lane).await.unwrap(), self.ledger().await);
            (ledger.sold, ledger.allotment, ledger.target) == (sold, allotment, target)
                && view.offers.first() == Some(&(self.offer, allotment - sold, allotment))
        })
        .await;
    }

    /// Cancels these orders, as the desk does.
    pub(crate) async fn cancel(&self, orders: &[OrderId]) {
        for &order in orders {
            desk::cancel(&self.store.orders, &self.store.ledger, order).await.unwrap();
        }
    }

    /// What Redis holds under the lane's tag, key by key as the server dumps it.
    pub(crate) async fn keys(&self) -> Vec<(String, Vec<u8>)> {
        let mut connection = self.redis().await;
        let pattern = format!("{}:{{{}}}:*", self.namespace, self.lane);
        let mut dumps = Vec::new();
        let names: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
        for name in names {
            let dump: Option<Vec<u8>> = redis::cmd("DUMP").arg(&name).query_async(&mut connection).await.unwrap();
            dumps.extend(dump.map(|dump| (name, dump)));
        }
        dumps
    }

    /// Redis comes back from an old copy: these keys are there again.
    pub(crate) async fn restore(&self, keys: &[(String, Vec<u8>)]) {
        let mut connection = self.redis().await;
        for (name, dump) in keys {
            redis::cmd("RESTORE").arg(name).arg(0).arg(dump).exec_async(&mut connection).await.unwrap();
        }
    }

    /// Expires what is so old; how many that were.
    pub(crate) async fn expire(&self, older_than: Duration) -> u64 {
        let watch = |_: &desk::Expiry| ControlFlow::Continue(());
        desk::expire(&self.store.orders, &self.store.ledger, Some(older_than), watch).await.unwrap().expired
    }

    /// Deletes the lane's keys: Redis lost everything.
    pub(crate) async fn lose_lane(&self) {
        let mut connection = self.redis().await;
        for part in ["state", "buyers", "journal", "due"] {
            let key = format!("{}:{{{}}}:{part}", self.namespace, self.lane);
            redis::cmd("DEL").arg(key).exec_async(&mut connection).await.unwrap();
        }
    }

    /// As if Redis had restarted without losing anything: the lane was loaded under another run.
    pub(crate) async fn restart_run(&self) {
        let key = format!("{}:{{{}}}:state", self.namespace, self.lane);
        redis::cmd("HSET").arg(key).arg("r").arg("0123abcd").exec_async(&mut self.redis().await).await.unwrap();
    }

    pub(crate) async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(env("FLASHSALE_REDIS_URL")).unwrap();
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }

    /// Ends the test: everything of its own is dropped.
    pub(crate) async fn close(mut self) {
        self.stop().await;
        self.lose_lane().await;
        self.delete_topics().await;
        self.store.close().await;
        let server = MySqlServer::new(&env("FLASHSALE_MYSQL_URL"), Settings::default()).unwrap();
        shards::drop_all(&server, &Namespace::new(&self.namespace).unwrap()).await.unwrap();
    }

    /// Deletes the topics.
    pub(crate) async fn delete_topics(&self) {
        let topics = self.kafka.topics();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        admin().delete_topics(&topics, &Default::default()).await.unwrap();
    }
}
