//! A running order service on empty databases, with orders as a writer leaves them, and a provider:
//! the simulated bank, or WeChat Pay or Alipay behind their HTTP interfaces.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    event::{OrderEvent, decode_events},
    id::{
        BuyerId, Epoch, Generation, KeyHash, LaneId, OfferId, OrderId, PartitionId, Position, PurchaseNumber, RecordId,
        SaleId, SkuId, Slot, TenantId,
    },
    money::Money,
    order::{OrderRow, Status},
    record::{ORDER_EVENTS_TYPE, Record, Released},
    shard::{ShardId, ShardMap},
};
use http_body_util::{BodyExt, Full};

use hyper_util::{client::legacy, rt::TokioExecutor};
use kit::{
    access::{Actor, Permission, Permissions, Who},
    api::Served,
    client::ClientLimits,
    clock::{Clock as _, ManualClock},
    http::{
        self, Both, Bytes, HeaderMap, Incoming, Limits, Method, Request, RequestMetrics, Response, Router, StatusCode,
        Table,
    },
    metrics::Registry,
    problem::{Code, Problem},
    random::SystemRandom,
    token::{BuyerClaims, Tenants, TokenKey, TokenSigner, TokenVerifier},
};
use orders::{
    follow::{self, Blocks, Following},
    life::{AllAccounts, Expiry, Kinds, Life, Metrics, Ports, Staff, Vault},
    payment::accounts::FileAccounts,
    simulator::{Bank, SimulatedAccounts, Simulator},
};
use serde_json::{Value, json};
use store::{
    ledger::{LaneRow, OfferRow},
    orders::{Progress, ShardWrite, Written},
    shards::{self, Namespace, Store},
};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use super::till::Till;
use super::{
    mortal::{Fate, Mortal, MortalServer},
    till::{Tills, serve},
};
use crate::place::{Db, Place};

/// Where the clock of the tests begins: 2026-11-11T00:00:00Z.
pub(crate) const BEGIN_MS: u64 = 1_794_355_200_000;
/// What a buyer has to pay.
pub(crate) const WINDOW_MS: u64 = 900_000;
/// Price of the three units of an order.
pub(crate) const TOTAL: i64 = 26_664;
pub(crate) const PARTITION: PartitionId = PartitionId(3);

/// What the process dies after, in what it asks of the provider: the answer never comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiesAfter {
    Create,
    Close,
    Refund,
}

/// Where the process dies next, and who waits for that.
#[derive(Debug, Default)]
pub(crate) struct Death {
    pub(crate) point: Mutex<Option<DiesAfter>>,
    pub(crate) reached: Notify,
}

/// Tokens such as `staff-7`, and `weak-7`, who may cancel and neither pay back nor read.
pub(crate) struct Names;

impl Staff for Names {
    async fn actor(&self, token: &str, _: &Method, _: &HeaderMap) -> Result<Actor, Box<Problem>> {
        let (name, tenant) = token.split_once('-').unwrap_or_default();
        let permissions = match name {
            "staff" => Permissions::of_tenant(),
            "weak" => Permissions::of(&[Permission::WriteOrders]),
            _ => return Err(Box::new(Problem::new(Code::Unauthenticated, "nobody"))),
        };
        Ok(Actor { who: Who::Key(1), tenant: tenant.parse().unwrap(), permissions })
    }
}

/// The kinds of the tests.
pub(crate) struct TestKinds;

impl Kinds for TestKinds {
    type Sql = Mortal<Db>;
    type Clock = ManualClock;
    type Random = SystemRandom;
    type Accounts = Tills;
    type Staff = Names;
}

pub(crate) fn token_key() -> TokenKey {
    TokenKey::new("test", &("BwcH".repeat(10) + "Bwc"), Tenants::All).unwrap()
}

/// A service that listens, and what it stands on.
pub(crate) struct Rig {
    pub(crate) clock: ManualClock,
    pub(crate) bank: Bank<ManualClock>,
    pub(crate) life: Arc<Life<TestKinds>>,
    pub(crate) following: Arc<Following<TestKinds>>,
    pub(crate) store: Store<Mortal<Db>>,
    pub(crate) blocks: Blocks<Mortal<Db>>,
    /// At which write the process dies.
    pub(crate) fate: Arc<Fate>,
    pub(crate) death: Arc<Death>,
    pub(crate) till: Till,
    /// The accounts of the file, and its folder.
    pub(crate) real: (FileAccounts<ManualClock, SystemRandom>, TempDir),
    simulator: Arc<Simulator<ManualClock>>,
    pub(crate) url: String,
    pub(crate) client: legacy::Client<legacy::connect::HttpConnector, Full<Bytes>>,
    written: u64,
    _stop: DropGuard,
    pub(crate) place: Place,
}

/// All of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Answer {
    /// What is no JSON is a text; an empty body is null.
    fn of(status: StatusCode, body: &[u8]) -> Self {
        let text = || if body.is_empty() { Value::Null } else { String::from_utf8_lossy(body).into() };
        Self { status, body: serde_json::from_slice(body).unwrap_or_else(|_| text()) }
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> &Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        &self.body
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> &Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        body
    }
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_at(Till::Simulated).await
    }

    /// With another provider.
    pub(crate) async fn start_at(till: Till) -> Self {
        let place = Place::new();
        let namespace = Namespace::new(&place.namespace()).unwrap();
        let fate = Arc::<Fate>::default();
        let server = MortalServer(place.server(), Arc::clone(&fate));
        let store = shards::open(&server, &namespace, ShardMap::even(2, 2).unwrap()).await.unwrap();
        let clock = ManualClock::new(BEGIN_MS);
        let bank = Bank::new(clock.clone());
        let listener = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let accounts = SimulatedAccounts::new(bank.clone(), "master secret".parse().unwrap(), &url);
        let stop = CancellationToken::new();
        let simulator = till.simulator(&bank, &url, accounts.clone());
        let providers = serve(Arc::clone(&simulator), &clock, &stop);
        let real = till.accounts((&url, &providers), &clock);
        let all = AllAccounts { simulated: accounts, real: real.0.clone() };
        let death = Arc::<Death>::default();
        let registry = Registry::new().unwrap();
        let blocks = Blocks::new(follow::open(&server, &namespace).await.unwrap());
        let vault = Vault::new(&[7; 32]).unwrap();
        let life = Arc::new(Life::<TestKinds>::new(
            Ports {
                databases: store.clone(),
                blocks: blocks.clone(),
                vault: vault.clone(),
                clock: clock.clone(),
                random: SystemRandom::default(),
                accounts: Tills(all, Arc::clone(&death)),
                staff: Names,
                buyers: TokenVerifier::new(vec![token_key()]).unwrap(),
            },
            Metrics::register(&registry).unwrap(),
        ));
        let following = Arc::new(Following::<TestKinds>::new(follow::Ports {
            databases: store.clone(),
            blocks: blocks.clone(),
            vault,
            clock: clock.clone(),
            staff: Names,
            buyers: TokenVerifier::new(vec![token_key()]).unwrap(),
        }));
        let table = Arc::new(Table::of::<Both<Served<Life<TestKinds>>, Served<Following<TestKinds>>>>().unwrap());
        let requests = Arc::new(RequestMetrics::register(&registry, table.names()).unwrap());
        let served = Both(Served(Arc::clone(&life)), Served(Arc::clone(&following)));
        let router = Router::new(served, table, clock.clone(), requests);
        tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
        let client = legacy::Client::builder(TokioExecutor::new()).build_http();
        let mut rig = Self {
            clock,
            bank,
            life,
            following,
            store,
            blocks,
            fate,
            death,
            till,
            real,
            simulator,
            url,
            client,
            written: 0,
            _stop: stop.drop_guard(),
            place,
        };
        rig.add_lane().await;
        rig
    }

    async fn add_lane(&mut self) {
        let id = OfferId::new(8).unwrap();
        let offer = OfferRow::first(id, 100, 1);
        let lane = LaneRow {
            lane: LaneId::new(77).unwrap(),
            tenant: TenantId::new(7).unwrap(),
            sale: SaleId::new(6).unwrap(),
            partition: PARTITION,
            epoch: Epoch(0),
            is_retired: false,
            limit_per_buyer: 2,
            limit_changed_at: 0,
            first_order: None,
            offers: vec![offer],
        };
        assert!(self.store.ledger.add_lane(&lane, 1).await.unwrap());
        for shard in self.shards() {
            self.store.orders.begin_progress(shard, PARTITION, progress(0)).await.unwrap();
        }
    }

    pub(crate) fn shards(&self) -> Vec<ShardId> {
        (0..self.store.orders.map().shards()).map(ShardId).collect()
    }

    /// Unpaid orders of tenant 7, one of each of these buyers, written now.
    pub(crate) async fn buy(&mut self, buyers: impl IntoIterator<Item = u64>) -> Vec<OrderId> {
        self.buy_within(buyers, WINDOW_MS).await
    }

    /// The same with another time to pay.
    pub(crate) async fn buy_within(&mut self, buyers: impl IntoIterator<Item = u64>, window_ms: u64) -> Vec<OrderId> {
        let now_ms = self.clock.now_ms();
        let rows: Vec<OrderRow> = buyers.into_iter().map(|buyer| row(buyer, now_ms, window_ms)).collect();
        self.write(&rows).await;
        rows.iter().map(|row| row.order).collect()
    }

    /// Writes rows, as a writer does.
    pub(crate) async fn write(&mut self, rows: &[OrderRow]) {
        self.written += 1;
        for shard in self.shards() {
            let here = |row: &&OrderRow| self.store.orders.map().home_of_order(row.order).shard == shard;
            let write = ShardWrite {
                partition: PARTITION,
                expected: progress(self.written - 1),
                next: progress(self.written),
                rows: rows.iter().filter(here).cloned().collect(),
                released: vec![],
            };
            assert_eq!(self.store.orders.write(shard, write).await.unwrap(), Written::Done);
        }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        let (head, body) = self.open(path, token, &[]).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer::of(head.status, &body)
    }

    /// An answer whose body is still to come.
    pub(crate) async fn open(&self, path: &str, token: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let request = Request::get(format!("{}{path}", self.url)).header("authorization", format!("Bearer {token}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.client.request(request.body(Full::default()).unwrap()).await.unwrap()
    }

    pub(crate) async fn status(&self, order: OrderId) -> Status {
        self.store.orders.find(&[order]).await.unwrap()[&order].status
    }

    /// What stands in the outboxes: releases, and events.
    pub(crate) async fn outbox(&self) -> (Vec<Released>, Vec<OrderEvent>) {
        let (mut releases, mut events) = (Vec::new(), Vec::new());
        for shard in self.shards() {
            for row in self.store.orders.outbox(shard, 10_000).await.unwrap() {
                assert_eq!(row.partition, PARTITION);
                if row.kind == ORDER_EVENTS_TYPE {
                    events.extend(decode_events(ORDER_EVENTS_TYPE, row.payload).unwrap());
                } else if let Record::Released(released) = Record::decode(&row.kind, row.payload).unwrap() {
                    releases.push(released);
                }
            }
        }
        (releases, events)
    }

    /// What the timeline of an order says, in its order.
    pub(crate) async fn timeline(&self, order: OrderId) -> Vec<(String, String)> {
        let shard = self.store.orders.map().home_of_order(order).shard;
        let query = "SELECT who, what FROM timeline WHERE order_id = ? ORDER BY entry";
        let rows = self.store.orders.beside(shard, query, vec![order.stored().into()]).await.unwrap();
        rows.into_iter().map(|mut row| (row.text().unwrap(), row.text().unwrap())).collect()
    }

    /// Sends the notices that are due. How many were taken: a slow machine takes them too.
    pub(crate) async fn deliver(&self) -> usize {
        let patience = Duration::from_secs(60);
        let limits = ClientLimits { connect_deadline: patience, answer_deadline: patience, ..Default::default() };
        self.simulator.deliver(limits).await
    }

    /// Notices that are due, not sent.
    pub(crate) fn due_notices(&self) -> Vec<orders::simulator::Post> {
        self.simulator.due()
    }

    /// The work beside the requests, once.
    pub(crate) async fn work(&self) {
        for shard in self.shards() {
            self.life.look_at_attempts(shard).await.unwrap();
            self.life.give_turns(shard).await.unwrap();
        }
    }

    /// The expiry of all shards, as a process that starts now does it. How many.
    pub(crate) async fn expire(&self) -> u64 {
        let mut expired = 0;
        for shard in self.shards() {
            expired += Expiry::new(&self.life, shard).run(&self.life).await.unwrap();
        }
        expired
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    pub(crate) fn buyer_token(&self, tenant: u32, buyer: u64) -> String {
        let (now_ms, signer) = (self.clock.now_ms(), TokenSigner::new(token_key()));
        signer.sign(&BuyerClaims::new(tenant, buyer, now_ms + 3_600_000), now_ms).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, token: &str, key: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| Bytes::from(serde_json::to_vec(&body).unwrap()));
        self.post_raw(path, &[("authorization", &format!("Bearer {token}")), ("idempotency-key", key)], body).await
    }

    pub(crate) async fn post_raw(&self, path: &str, headers: &[(&str, &str)], body: Option<Bytes>) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        let mut request = Request::post(url);
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, body) =
            self.client.request(request.body(Full::new(body.unwrap_or_default())).unwrap()).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer::of(head.status, &body)
    }

    /// The buyer of an order asks to pay.
    pub(crate) async fn pay(&self, order: OrderId, buyer: u64) -> Answer {
        let path = format!("/v1/orders/{order}/pay");
        self.post(&path, &self.buyer_token(7, buyer), "k", Some(json!({"method": self.till.method()}))).await
    }

    /// The buyer pays at the bank, and the notice arrives.
    pub(crate) async fn paid(&self, order: OrderId, buyer: u64) {
        let number = self.pay(order, buyer).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
        self.bank.pay(self.till.account(), &number).unwrap();
        assert_eq!(self.deliver().await, 1);
        assert_eq!(self.status(order).await, Status::Paid);
    }

    pub(crate) async fn cancel(&self, order: OrderId, buyer: u64) -> Answer {
        self.post(&format!("/v1/orders/{order}/cancel"), &self.buyer_token(7, buyer), "k", None).await
    }

    pub(crate) async fn merchant_cancel(&self, order: OrderId, token: &str) -> Answer {
        self.post(&format!("/v1/merchant/orders/{order}/cancel"), token, "k", None).await
    }

    pub(crate) async fn refund(&self, order: OrderId, key: &str, amount: Option<i64>) -> Answer {
        let mut body = json!({"reason": "one was broken"});
        if let Some(amount) = amount {
            body["amount"] = amount.into();
        }
        self.post(&format!("/v1/merchant/orders/{order}/refunds"), "staff-7", key, Some(body)).await
    }

    /// What the bank has given back of an attempt.
    pub(crate) fn given_back(&self, order: OrderId, attempt: u32) -> i64 {
        self.bank.trade(self.till.account(), &format!("{order}_{attempt}").parse().unwrap()).unwrap().refunded
    }
}

fn progress(offset: u64) -> Progress {
    Progress { generation: Generation(1), offset, record: RecordId::new(1_000 + offset).ok() }
}

/// An unpaid order of tenant 7.
pub(crate) fn row(buyer: u64, now_ms: u64, window_ms: u64) -> OrderRow {
    let buyer = BuyerId::new(buyer).unwrap();
    OrderRow {
        order: OrderId::compose(now_ms, Slot::of(buyer), (buyer.get() / 32 % 256) as u8, (buyer.get() % 32) as u8)
            .unwrap(),
        tenant: TenantId::new(7).unwrap(),
        buyer,
        lane: LaneId::new(77).unwrap(),
        number: Some(PurchaseNumber((now_ms % 100) as u8)),
        sale: SaleId::new(6).unwrap(),
        sale_version: 2,
        offer: OfferId::new(8).unwrap(),
        sku: SkuId::new(5).unwrap(),
        quantity: 3,
        unit_price: Money { amount: TOTAL / 3, currency: "CNY".parse().unwrap() },
        key: KeyHash([7; 16]),
        status: Status::PendingPayment,
        reason: None,
        position: Position { generation: Generation(1), offset: 0, index: 0 },
        released: None,
        reserved_at_ms: now_ms,
        context: Bytes::new(),
        pay_by_ms: Some(now_ms + window_ms),
    }
}
