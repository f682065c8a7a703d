//! A running service on an empty database, and a topic of events that its consumer reads.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use distribution::{
    database,
    intake::{CONSUMER, Intake},
    metrics::Metrics,
    payouts::SimulatedPayouts,
    service::{Distribution, Kinds, Ports, Staff},
    share::ShareKey,
};
use domain::{
    event::{EventKind, OrderEvent, Purchased},
    id::{BuyerId, OfferId, OrderId, PartitionId, SaleId, SkuId, Slot, TenantId},
    money::Money,
    record::{ORDER_EVENTS_TYPE, Topic},
};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use kit::{
    access::{Actor, Permissions, Who},
    api::Served,
    clock::{Clock as _, ManualClock},
    http::{self, HeaderMap, Limits, Method, Request, RequestMetrics, Router, Table},
    metrics::Registry,
    problem::{Code, Problem},
    random::SystemRandom,
    token::{BuyerClaims, Tenants, TokenKey, TokenSigner, TokenVerifier},
};
use serde_json::{Value, json};
use store::{
    consumer::Consumer,
    log::{Entry, OrderLogSource, PartitionReader, ReadError, Watermarks},
    shards::Namespace,
    sql::Sql as _,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::place::{Db, Place};

/// Where the clock of the tests begins: 2026-11-11T00:00:00Z.
pub(crate) const BEGIN_MS: u64 = 1_794_355_200_000;
pub(crate) const PARTITION: PartitionId = PartitionId(3);
pub(crate) const TENANT: u64 = 7;
pub(crate) const SALE: u64 = 6;
pub(crate) const DAY_MS: u64 = 86_400_000;

/// A plan of two levels, which needs a sign-off.
pub(crate) const PLAN: &str = r#"plan "two" v1 profile CN-2 budget 15% {
  base net_paid where not tag(flash_sale)
  rule direct: on matured walk(referral, slots 2, rate [10%, 5%])
  settle cash after receipt+22d, channel transfer, clawback full
}"#;

/// Tokens: `user-5-7` is user 5 of tenant 7, `key-1-7` a program, `guest-1-7` may do nothing.
pub(crate) struct Names;

impl Staff for Names {
    async fn actor(&self, token: &str, _: &Method, _: &HeaderMap) -> Result<Actor, Box<Problem>> {
        let nobody = || Box::new(Problem::new(Code::Unauthenticated, "nobody"));
        let mut parts = token.split('-');
        let (name, number) = (parts.next().unwrap(), parts.next().and_then(|number| number.parse().ok()));
        let (number, tenant) = (number.ok_or_else(nobody)?, parts.next().ok_or_else(nobody)?.parse().unwrap());
        let (who, permissions) = match name {
            "user" => (Who::Person(number), Permissions::of_tenant()),
            "key" => (Who::Key(number), Permissions::of_tenant()),
            "guest" => (Who::Person(number), Permissions::NONE),
            _ => return Err(nobody()),
        };
        Ok(Actor { who, tenant, permissions })
    }
}

pub(crate) struct TestKinds;

impl Kinds for TestKinds {
    type Sql = Db;
    type Clock = ManualClock;
    type Random = SystemRandom;
    type Staff = Names;
    type Payouts = SimulatedPayouts;
}

fn token_key() -> TokenKey {
    TokenKey::new("test", &("BwcH".repeat(10) + "Bwc"), Tenants::All).unwrap()
}

/// A partition in memory.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Entry>>>);

/// A log, the next record, and how many are read at once at most.
pub(crate) struct Reader(Log, usize, usize);

impl Reader {
    pub(crate) fn at_most(&mut self, records: usize) {
        self.2 = records;
    }
}

impl PartitionReader for Reader {
    async fn watermarks(&mut self) -> Result<Watermarks, ReadError> {
        Ok(Watermarks { low: 0, high: self.0.0.lock().unwrap().len() as u64 })
    }

    async fn entry_at(&mut self, _offset: u64) -> Result<Option<Entry>, ReadError> {
        Ok(None)
    }

    async fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        self.1 = offset as usize;
        Ok(())
    }

    async fn read(&mut self, records: usize, _: usize, _: Duration) -> Result<Vec<Entry>, ReadError> {
        let held = self.0.0.lock().unwrap();
        let found: Vec<Entry> = held.iter().skip(self.1).take(records.min(self.2)).cloned().collect();
        self.1 += found.len();
        Ok(found)
    }
}

impl OrderLogSource for Log {
    type Reader = Reader;

    fn reader(&self, _: PartitionId) -> Result<Reader, ReadError> {
        Ok(Reader(self.clone(), 0, usize::MAX))
    }
}

impl Log {
    pub(crate) fn append(&self, kind: &str, payload: impl Into<Bytes>) {
        let mut held = self.0.lock().unwrap();
        let offset = held.len() as u64;
        held.push(Entry { offset, id: None, kind: kind.into(), payload: payload.into() });
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader(self.clone(), 0, usize::MAX)
    }
}

/// All of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Value,
    /// As it came.
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> &Value {
        assert_eq!(self.status, status, "{}", self.body);
        &self.body
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> &Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        body
    }
}

pub(crate) struct Rig {
    pub(crate) clock: ManualClock,
    pub(crate) sql: Db,
    pub(crate) log: Log,
    pub(crate) payouts: SimulatedPayouts,
    pub(crate) service: Arc<Distribution<TestKinds>>,
    pub(crate) metrics: Arc<Metrics>,
    registry: Registry,
    url: String,
    client: legacy::Client<legacy::connect::HttpConnector, Full<Bytes>>,
    _stop: DropGuard,
    _place: Place,
}

impl Rig {
    /// An empty service.
    pub(crate) async fn empty() -> Self {
        let place = Place::new();
        let sql = database::open(&place.server(), &Namespace::new(&place.namespace()).unwrap()).await.unwrap();
        let clock = ManualClock::new(BEGIN_MS);
        let listener = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (payouts, registry) = (SimulatedPayouts::default(), Registry::new().unwrap());
        let metrics = Arc::new(Metrics::register(&registry).unwrap());
        let ports = Ports::<TestKinds> {
            sql: sql.clone(),
            clock: clock.clone(),
            random: SystemRandom::default(),
            staff: Names,
            payouts: payouts.clone(),
            buyers: TokenVerifier::new(vec![token_key()]).unwrap(),
            share: ShareKey::derive(b"a secret of the tests"),
        };
        let service = Arc::new(Distribution::new(ports, Arc::clone(&metrics)).unwrap());
        let table = Arc::new(Table::of::<Served<Distribution<TestKinds>>>().unwrap());
        let requests = Arc::new(RequestMetrics::register(&registry, table.names()).unwrap());
        let router = Router::new(Served(Arc::clone(&service)), table, clock.clone(), requests);
        let stop = CancellationToken::new();
        tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
        let client = legacy::Client::builder(TokioExecutor::new()).build_http();
        let (log, _stop) = (Log::default(), stop.drop_guard());
        Self { clock, sql, log, payouts, service, metrics, registry, url, client, _stop, _place: place }
    }

    /// With a plan of two levels, a sale that pays, and a chain of active distributors: 12 stands
    /// below 11, 11 below 10; buyer 20 below 12.
    pub(crate) async fn start() -> Self {
        let rig = Self::empty().await;
        rig.publish(PLAN).await.expect(201);
        rig.switch(SALE, true).await;
        let settings = json!({
            "joins_at_once": true, "share_days": 30, "protected_days": 10, "withdraw_least": 1,
            "withdraw_day_max": 1_000_000, "two_approve_from": 1_000
        });
        rig.merchant("PUT", "settings", Some(settings)).await.expect(200);
        for person in 10..=12 {
            rig.join(person).await;
        }
        rig.bind(11, 10).await.expect(200);
        rig.bind(12, 11).await.expect(200);
        rig.bind(20, 12).await.expect(200);
        rig.pass(5_000);
        rig
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    pub(crate) async fn publish(&self, plan: &str) -> Answer {
        self.merchant("POST", "plans", Some(json!({"text": plan, "sign_off": "counsel"}))).await
    }

    pub(crate) async fn switch(&self, sale: u64, enabled: bool) {
        self.merchant("PUT", &format!("sales/{sale}"), Some(json!({"enabled": enabled}))).await.expect(200);
    }

    pub(crate) async fn join(&self, person: u64) {
        self.own("POST", "join", person, None).await.expect(201);
    }

    pub(crate) async fn bind(&self, person: u64, parent: u64) -> Answer {
        let body = json!({"parent": parent.to_string(), "reason": "a test"});
        self.merchant("PUT", &format!("people/{person}/relations/referral"), Some(body)).await
    }

    pub(crate) async fn verify(&self, person: u64) {
        let body = json!({"kyc": true, "reason": "papers"});
        self.merchant("PATCH", &format!("people/{person}"), Some(body)).await.expect(200);
    }

    /// A call of user 5 of tenant 7, under a key of its own.
    pub(crate) async fn merchant(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call(method, &format!("merchant/commissions/{path}"), "user-5-7", body, &[]).await
    }

    /// A call of a buyer.
    pub(crate) async fn own(&self, method: &str, path: &str, buyer: u64, body: Option<Value>) -> Answer {
        self.call(method, &format!("commissions/{path}"), &self.buyer_token(7, buyer), body, &[]).await
    }

    pub(crate) fn buyer_token(&self, tenant: u32, buyer: u64) -> String {
        let (now_ms, signer) = (self.clock.now_ms(), TokenSigner::new(token_key()));
        signer.sign(&BuyerClaims::new(tenant, buyer, now_ms + 3_600_000), now_ms).unwrap()
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let key = format!("{:032x}", rand::random::<u128>());
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        if !headers.iter().any(|(name, _)| *name == "idempotency-key") {
            request = request.header("idempotency-key", key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map(|body| Bytes::from(serde_json::to_vec(&body).unwrap())).unwrap_or_default();
        let (head, body) = self.client.request(request.body(Full::new(body)).unwrap()).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let etag = head.headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        let text = String::from_utf8_lossy(&body).into_owned();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: head.status.as_u16(), etag, body, text }
    }

    pub(crate) fn intake(&self) -> Intake<ManualClock, SystemRandom> {
        Intake::new(self.clock.clone(), SystemRandom::default(), Arc::clone(&self.metrics))
    }

    /// The consumer takes in all that the topic holds.
    pub(crate) async fn consume(&self) {
        let reader = self.log.reader();
        let mut consumer = Consumer::new(self.sql.clone(), CONSUMER, Topic::OrderEvents, PARTITION, reader);
        let mut intake = self.intake();
        while consumer.step(&mut intake, Duration::ZERO).await.unwrap() > 0 {}
    }

    /// Each event as a record of its own, taken in one after the other.
    pub(crate) async fn feed(&self, events: &[OrderEvent]) {
        for event in events {
            self.log.append(ORDER_EVENTS_TYPE, bytes_of(&[*event]));
            self.consume().await;
        }
    }

    /// Pending, available, withdrawing, paid, owed.
    pub(crate) async fn balance(&self, person: u64) -> [i64; 5] {
        let account = self.own("GET", "me", person, None).await;
        let account = account.expect(200);
        ["pending", "available", "withdrawing", "paid", "owed"].map(|name| account[name].as_i64().unwrap())
    }

    /// Whether the entries sum to zero by column and to the parts of the balances.
    pub(crate) async fn sums_to_zero(&self) {
        let columns = "expense + pending + available + withdrawing + paid + receivable + fee + tax + breakage + pool";
        let bad = self.sql.rows(&format!("SELECT COUNT(*) FROM entries WHERE {columns} <> 0"), vec![]).await.unwrap();
        assert_eq!(bad.into_iter().next().unwrap().int().unwrap(), 0);
        let sum = |table: &str| {
            format!(
                "SELECT CAST(COALESCE(SUM(pending + available + withdrawing + paid + receivable), 0) AS SIGNED) FROM {table}"
            )
        };
        let mut sums = Vec::new();
        for table in ["entries", "sub_accounts"] {
            let row = self.sql.rows(&sum(table), vec![]).await.unwrap().into_iter().next();
            sums.push(row.unwrap().int().unwrap());
        }
        assert_eq!(sums[0], sums[1], "balances are the fold of the entries");
    }

    /// Events that were put aside, as operators count them.
    pub(crate) fn parked(&self) -> u64 {
        let text = self.registry.render().unwrap();
        let line = text.lines().find(|line| line.contains("commission_events_total{outcome=\"parked\"}"));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Changes rows behind the service.
    pub(crate) async fn change(&self, change: &str, params: Vec<store::sql::Value>) {
        assert!(self.sql.exec(change, params).await.unwrap() > 0, "{change}");
    }

    /// The first number of a query.
    pub(crate) async fn sql_int(&self, query: &str) -> i64 {
        let rows = self.sql.rows(query, vec![]).await.unwrap();
        rows.into_iter().next().expect(query).int().unwrap()
    }

    pub(crate) async fn pending(&self, person: u64) -> i64 {
        self.balance(person).await[0]
    }

    /// What all commissions have cost, as the account has it: negative.
    pub(crate) async fn expense(&self) -> i64 {
        let sum = "SELECT CAST(COALESCE(SUM(expense), 0) AS SIGNED) FROM entries";
        let rows = self.sql.rows(sum, vec![]).await.unwrap();
        rows.into_iter().next().unwrap().int().unwrap()
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let rows = self.sql.rows(&format!("SELECT COUNT(*) FROM {table}"), vec![]).await.unwrap();
        rows.into_iter().next().unwrap().int().unwrap()
    }
}

pub(crate) fn bytes_of(events: &[OrderEvent]) -> Vec<u8> {
    let mut payload = Vec::new();
    events.iter().for_each(|event| event.append(&mut payload));
    payload
}

/// An order of a buyer, made at this moment: three units for 99.99.
pub(crate) fn created(buyer: u64, at_ms: u64, sequence: u8) -> OrderEvent {
    let buyer = BuyerId::new(buyer).unwrap();
    let unit_price = Money { amount: 3_333, currency: "CNY".parse().unwrap() };
    OrderEvent {
        order: OrderId::compose(at_ms, Slot::of(buyer), 1, sequence).unwrap(),
        sequence: 1,
        kind: EventKind::Created,
        tenant: TenantId::new(TENANT).unwrap(),
        sale: SaleId::new(SALE).unwrap(),
        offer: OfferId::new(8).unwrap(),
        buyer,
        quantity: 3,
        purchased: Some(Purchased { sku: SkuId::new(5).unwrap(), sale_version: 1, unit_price, reserved_at_ms: at_ms }),
        reason: None,
        refunded: 0,
    }
}

/// A later event of the same order.
pub(crate) fn later(first: &OrderEvent, sequence: u8, kind: EventKind, refunded: i64) -> OrderEvent {
    OrderEvent { sequence, kind, refunded, purchased: None, ..*first }
}

/// Created, paid.
pub(crate) fn bought(buyer: u64, at_ms: u64, sequence: u8) -> [OrderEvent; 2] {
    let first = created(buyer, at_ms, sequence);
    [first, later(&first, 2, EventKind::Paid, 0)]
}
