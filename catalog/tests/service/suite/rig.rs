//! A running service on an empty database, and a client that shows all of an answer.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use catalog::{
    outside::Outside,
    ports::{Given, LaneViews, Selling},
    service::{Catalog, Secrets},
    vault::Vault,
};
use domain::{
    id::{Epoch, LaneId},
    sale::Sale,
    stock::{LaneLoad, LaneView, OfferLoad, RunId},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use kit::{
    api::Served,
    clock::ManualClock,
    http::{self, Bytes, HeaderMap, Limits, Method, Request, RequestMetrics, Router, StatusCode, Table},
    metrics::Registry,
    random::SystemRandom,
    token::{Tenants, TokenKey},
};
use serde_json::{Value, json};
use store::{
    ledger::{LaneRow, Ledger},
    log::{SalesPublisher, Unacknowledged},
    sql::Sql as _,
    stock::{LaneKeeping as _, LaneStock as _, LoadAtOnce as _, StockError, local::LocalStock},
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::place::{Db, Place};

/// The secret of the deployment's operator.
pub(crate) const OPERATOR: &str = "operator-secret-of-the-tests";

/// Where the clock of the tests begins: 2026-11-11T00:00:00Z.
pub(crate) const BEGIN_MS: u64 = 1_794_355_200_000;

pub(crate) type TestCatalog = Catalog<Given<Db, ManualClock, SystemRandom, Topic>>;

/// By what buyers' tokens are signed.
pub(crate) fn token_key() -> TokenKey {
    TokenKey::new("test", &("BwcH".repeat(10) + "Bwc"), Tenants::All).unwrap()
}

/// The topic of sales, as a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topic {
    told: Arc<Mutex<Vec<Sale>>>,
    is_away: Arc<AtomicBool>,
}

impl Topic {
    /// All that was published, in its order.
    pub(crate) fn sales(&self) -> Vec<Sale> {
        self.told.lock().unwrap().clone()
    }

    /// Acknowledges nothing from now on, or again.
    pub(crate) fn go_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }
}

impl SalesPublisher for Topic {
    async fn publish(&self, sale: &Sale) -> Result<(), Unacknowledged> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Unacknowledged("away on purpose".into()));
        }
        self.told.lock().unwrap().push(sale.clone());
        Ok(())
    }
}

/// The lanes, whose server may be away.
#[derive(Clone)]
pub(crate) struct Lanes {
    pub(crate) stock: LocalStock,
    is_away: Arc<AtomicBool>,
}

impl Lanes {
    fn new() -> Self {
        Self { stock: LocalStock::new(RunId(1)), is_away: Arc::default() }
    }

    /// Answers nothing from now on, or again.
    pub(crate) fn go_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }
}

impl LaneViews for Lanes {
    fn view(&self, lane: LaneId) -> Pin<Box<dyn Future<Output = Result<LaneView, StockError>> + Send + '_>> {
        Box::pin(async move {
            match self.is_away.load(Ordering::Relaxed) {
                true => Err(StockError::Unsent("away on purpose".into())),
                false => self.stock.inspect(lane).await,
            }
        })
    }
}

fn secrets() -> Secrets {
    let vault = Vault::new(&[5; 32]).unwrap();
    Secrets { operator: Some(OPERATOR.to_owned()), vault, buyer_tokens: Some(token_key()) }
}

/// A service that listens, and what it stands on.
pub(crate) struct Rig {
    /// Moves the service's time.
    pub(crate) clock: ManualClock,
    /// The service itself, for what no route does.
    pub(crate) catalog: Arc<TestCatalog>,
    /// Its database.
    pub(crate) db: Db,
    /// Its ledger.
    pub(crate) ledger: Ledger<Db>,
    /// The lanes that it looks at.
    pub(crate) lanes: Lanes,
    pub(crate) url: String,
    client: legacy::Client<legacy::connect::HttpConnector, Full<Bytes>>,
    stop: CancellationToken,
    place: Arc<Place>,
}

/// All of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The answer's body, when its status is this one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Asserts a refusal: its status and its code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// The fields that a refusal names, sorted.
    pub(crate) fn wrong_fields(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let mut fields: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect();
        fields.sort();
        fields
    }
}

/// A request that is being written.
pub(crate) struct Ask<'r> {
    rig: &'r Rig,
    /// Where it goes: to its rig, unless it says another one.
    url: &'r str,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl<'r> Ask<'r> {
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With an Idempotency-Key that no other request has.
    pub(crate) fn fresh(self) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = format!("fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.key(&key)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = Bytes::from(serde_json::to_vec(body).unwrap());
        self.header("content-type", "application/json")
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// To the service of another process on the same database.
    pub(crate) fn to(self, url: &'r str) -> Self {
        Self { url, ..self }
    }

    pub(crate) async fn send(self) -> Answer {
        self.detach().await
    }

    /// The request apart from its rig, for one of many at once.
    pub(crate) fn detach(self) -> impl Future<Output = Answer> + Send + 'static {
        let answer = self.attempt();
        async move { answer.await.unwrap() }
    }

    /// The same of a service that may die meanwhile.
    pub(crate) fn attempt(self) -> impl Future<Output = Result<Answer, legacy::Error>> + Send + 'static {
        let mut request = Request::builder().method(self.method).uri(format!("{}{}", self.url, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let (client, request) = (self.rig.client.clone(), request.body(Full::new(self.body)).unwrap());
        async move {
            let (head, body) = client.request(request).await?.into_parts();
            Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() })
        }
    }
}

impl Rig {
    /// A service on an empty database.
    pub(crate) async fn start() -> Self {
        Self::start_with(Outside::default()).await
    }

    /// The same with these providers of buyers' logins.
    pub(crate) async fn start_with(outside: Outside) -> Self {
        Self::start_at(Arc::new(Place::new().await), ManualClock::new(BEGIN_MS), outside).await
    }

    /// Where its database is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// A service that has tenants of these numbers, for tests in which the operator acts for them.
    /// They stand in the database alone: no log and no kept answer tells of them.
    pub(crate) async fn with_tenants(numbers: &[u32]) -> Self {
        let rig = Self::start().await;
        let insert = "INSERT INTO tenants (tenant, code, name, state, plan, branding, version, created_at) \
                      VALUES (?, ?, 'Shop', 'open', 'unlimited', '{}', 1, 0)";
        for number in numbers {
            rig.db.exec(insert, vec![(*number).into(), format!("shop-{number}").as_str().into()]).await.unwrap();
        }
        rig
    }

    /// The same service after its process died: what is in memory is gone.
    pub(crate) async fn restart(self) -> Self {
        let (clock, place) = (self.clock.clone(), Arc::clone(&self.place));
        drop(self);
        Self::start_at(place, clock, Outside::default()).await
    }

    /// Another process of the same service, on the same database.
    pub(crate) async fn another(&self) -> Self {
        Self::start_at(Arc::clone(&self.place), self.clock.clone(), Outside::default()).await
    }

    pub(crate) async fn start_at(place: Arc<Place>, clock: ManualClock, outside: Outside) -> Self {
        let db = place.open().await;
        let ledger = place.ledger().await;
        let selling = Arc::new(Selling { ledger: ledger.clone(), topic: place.topic().clone(), partitions: 4 });
        let ports = Given { sql: db.clone(), clock: clock.clone(), random: SystemRandom::default(), selling };
        let table = Arc::new(Table::of::<Served<TestCatalog>>().unwrap());
        let requests = Arc::new(RequestMetrics::register(&Registry::new().unwrap(), table.names()).unwrap());
        let lanes = Lanes::new();
        let catalog = Catalog::new(ports, secrets()).with_outside(outside).with_lanes(lanes.clone());
        let catalog = Arc::new(catalog);
        let router = Router::new(Served(Arc::clone(&catalog)), table, clock.clone(), requests);
        let listener = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
        let client = legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { clock, catalog, db, ledger, lanes, url, client, stop, place }
    }

    /// As the keeper adds them: a ledger row for each lane of a published sale, and its stock.
    pub(crate) async fn add_lanes(&self, sale: &Sale) {
        let ledger = self.place().ledger().await;
        for lane in &sale.lanes {
            let row = LaneRow { epoch: Epoch(1), ..LaneRow::first(sale, lane) };
            assert!(ledger.add_lane(&row, sale.window.opens_at_ms).await.unwrap());
            let offers = row.offers.iter().map(|offer| OfferLoad {
                offer: offer.offer,
                left: offer.allotment,
                allotment: offer.allotment,
                changed_at: 0,
            });
            let load = LaneLoad { limit_per_buyer: lane.limit_per_buyer, offers: offers.collect(), purchases: vec![] };
            let keeping = self.lanes.stock.keeping();
            keeping.close(lane.id, Epoch(1)).await.unwrap();
            let loaded = keeping.load(lane.id, Epoch(1), &load).await.unwrap();
            assert_eq!(format!("{loaded:?}"), "Loaded");
        }
    }

    /// A connection of its own, for what no client does.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).await.unwrap()
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { rig: self, url: &self.url, method, path: path.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    /// A POST with an Idempotency-Key of its own; `key` gives another one.
    pub(crate) fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Ask<'_> {
        self.ask(Method::PATCH, path)
    }

    pub(crate) fn put(&self, path: &str) -> Ask<'_> {
        self.ask(Method::PUT, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Ask<'_> {
        self.ask(Method::DELETE, path)
    }

    /// A tenant with this code, on the plan `unlimited`: its number.
    pub(crate) async fn tenant(&self, code: &str) -> String {
        self.tenant_on(code, "unlimited").await
    }

    /// A tenant with this code, on this plan.
    pub(crate) async fn tenant_on(&self, code: &str, plan: &str) -> String {
        let body = json!({ "code": code, "name": code, "plan": plan });
        let made = self.post("/v1/tenants").token(OPERATOR).fresh().json(&body).send().await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// An API key of this tenant with these permissions: a bearer token.
    pub(crate) async fn key_of(&self, tenant: &str, permissions: &[&str]) -> String {
        let body = json!({ "name": "tests", "permissions": permissions });
        let ask = self.post("/v1/keys").token(OPERATOR).header("flashsale-tenant", tenant).json(&body);
        let made = ask.fresh().send().await.expect(201);
        made["token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
