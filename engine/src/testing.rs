//! A shop for tests: in-memory lanes, log and rows, a clock that moves by hand, faults on demand.
//! Paths begin with `engine::`, so that unit tests and `tests/` share this file.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{
        BatchId, BuyerId, Epoch, Generation, KeyHash, LaneId, OfferId, OrderId, PartitionId, Position, PurchaseNumber,
        SaleId, SkuId, TenantId,
    },
    money::Money,
    order::{OrderRow, Status},
    sale::{Lane, Offer, PAYMENT_WINDOW_S_DEFAULT, Sale, SubjectKind, Window},
    stock::{
        LaneAnswer, LaneLoad, LaneMachine, LaneView, LoadAnswer, OfferLoad, Purchase as LanePurchase, ReserveAnswer,
        ReserveCall, ReserveRequest, RunId,
    },
};
use engine::{
    admission::{Admission, TokenSeed},
    append::{Acknowledged, Appender},
    buy::Purchases,
    http::{Front, PreparedAnswers},
    limits::{Permits, Ticks},
    metrics::Metrics,
    mint::Mint,
    orders::{OrderRows, Orders, Reads},
    purchase::{Bought, Caller, Declined, Purchase, Quantity},
    reserve::{Lanes, Reserver},
    sales::{Directory, Promotion, TenantLimits},
};
use kit::{
    clock::{Clock, ManualClock},
    http::{Both, Origins, RequestMetrics, Router, Table},
    metrics::Registry,
    token::{BuyerClaims, Tenants, TokenKey, TokenSigner, TokenVerifier},
};
use pages::{checker::Checker, http::Reads as PageReads, metrics::Metrics as PageMetrics, shared::Pages};
use store::{
    sql::SqlError,
    stock::{LaneStock, StockError},
};
use tokio::{runtime::Handle, sync::watch};

// By its path, because tests include this file from another folder.
#[path = "testing/log.rs"]
mod log;

#[allow(unused_imports, reason = "each who includes this file uses a part")]
pub use log::{LogMode, MemoryLog};

/// The wall at the start of a test, in the middle of every sale.
pub const NOW_MS: u64 = 1_800_000_000_000;
/// Of every tenant.
pub const TENANT_RATE: u32 = 100_000;
/// Of every sale's buyers.
pub const BUYER_RATE: u32 = 50;
/// Permits of the engine.
pub const PERMITS: u32 = 2_000;
/// The worker number that mints.
pub const WORKER: u8 = 3;
/// Units of an offer.
pub const ALLOTMENT: u64 = 1_000;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

/// The tenant of all sales.
pub fn tenant() -> TenantId {
    TenantId::new(1).unwrap()
}

/// The only offer of sale `n`.
pub fn offer_id(n: u64) -> OfferId {
    OfferId::new(100 + n).unwrap()
}

/// Its lane.
pub fn lane_id(n: u64) -> LaneId {
    LaneId::new(200 + n).unwrap()
}

/// A buyer.
pub fn buyer(n: u64) -> BuyerId {
    BuyerId::new(n).unwrap()
}

/// A sale of one offer, open at [`NOW_MS`].
pub fn sale(n: u64) -> Sale {
    let offer = Offer {
        paused: false,
        id: offer_id(n),
        sku: SkuId::new(300 + n).unwrap(),
        title: "kettle".into(),
        price: Money { amount: 9_900, currency: "CNY".parse().unwrap() },
        allotment: ALLOTMENT,
        rate_per_s: 100_000,
    };
    let lane =
        Lane { paused: false, id: lane_id(n), partition: PartitionId(2), limit_per_buyer: 2, offers: vec![offer] };
    Sale {
        id: SaleId::new(n).unwrap(),
        tenant: tenant(),
        version: 1,
        title: "sale".into(),
        window: Window { opens_at_ms: NOW_MS - 3_600_000, closes_at_ms: NOW_MS + 3_600_000 },
        paused: false,
        buyer_rate_per_s: BUYER_RATE,
        shard_map_version: 1,
        limit_by: SubjectKind::Account,
        members_only: false,
        visible_from_ms: 0,
        orders: domain::sale::OrderTerms::default(),
        lanes: vec![lane],
    }
}

/// Metrics of nobody.
pub fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::register(&Registry::new().unwrap()).unwrap())
}

/// An empty directory on a clock that stands still.
pub fn directory() -> Arc<Directory> {
    directory_on(&ManualClock::new(NOW_MS), &metrics(), PERMITS, PERMITS)
}

fn directory_on(clock: &ManualClock, metrics: &Metrics, permits: u32, tenant_permits: u32) -> Arc<Directory> {
    let permits = Permits::new(permits, metrics.permits_in_use.clone());
    let limits =
        TenantLimits { rate_per_s: TENANT_RATE, permits_max: tenant_permits, pay_within_s: PAYMENT_WINDOW_S_DEFAULT };
    Arc::new(Directory::new(Ticks::of(clock), permits, limits))
}

/// What goes wrong with the next call of the lanes' server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It happens, and its answer is lost.
    LoseAnswer,
    /// It does not happen, and nobody says so.
    LoseCall,
    /// It is not sent, for want of a connection.
    NotSent,
    /// The server refuses the script.
    Break,
}

/// Lanes in memory: the pure machine behind the engine's port.
#[derive(Clone)]
pub struct MemoryStock {
    inner: Arc<Mutex<StockInner>>,
    held: Arc<watch::Sender<bool>>,
}

struct StockInner {
    lanes: BTreeMap<LaneId, LaneMachine>,
    run: RunId,
    faults: VecDeque<Fault>,
    calls: Vec<(BatchId, usize)>,
    inspected: usize,
    finds: usize,
}

impl Default for MemoryStock {
    fn default() -> Self {
        let (lanes, faults, calls) = (BTreeMap::new(), VecDeque::new(), Vec::new());
        let inner = StockInner { lanes, run: RunId(1), faults, calls, inspected: 0, finds: 0 };
        Self { inner: Arc::new(Mutex::new(inner)), held: Arc::new(watch::Sender::new(false)) }
    }
}

impl MemoryStock {
    /// Opens, or rebuilds, the lane of sale `n`.
    pub fn open(&self, n: u64, epoch: u64, left: u64) {
        let offers = vec![OfferLoad { offer: offer_id(n), left, allotment: ALLOTMENT, changed_at: 0 }];
        let load = LaneLoad { limit_per_buyer: 2, offers, purchases: vec![] };
        self.lane(n, |lane, run| {
            lane.close(run, Epoch(epoch));
            assert_eq!(lane.load(run, Epoch(epoch), &load), LoadAnswer::Loaded);
        });
    }

    /// Does something with the lane of sale `n`, as the keeper would.
    pub fn lane<T>(&self, n: u64, act: impl FnOnce(&mut LaneMachine, RunId) -> T) -> T {
        let mut inner = self.inner.lock().unwrap();
        let run = inner.run;
        act(inner.lanes.entry(lane_id(n)).or_default(), run)
    }

    /// Units left of the offer of sale `n`.
    pub fn left(&self, n: u64) -> u64 {
        self.lane(n, |lane, run| lane.inspect(run).offers[0].1)
    }

    /// The next calls go wrong like this, one after the other.
    pub fn fail(&self, faults: &[Fault]) {
        self.inner.lock().unwrap().faults.extend(faults);
    }

    /// Another run of the server: every lane is closed.
    pub fn restart(&self) {
        self.inner.lock().unwrap().run.0 += 1;
    }

    /// Reserve calls wait from now on, or no longer.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Batch id and size of each reserve call.
    pub fn calls(&self) -> Vec<(BatchId, usize)> {
        self.inner.lock().unwrap().calls.clone()
    }

    /// How often a lane was asked for its stock alone.
    pub fn inspected(&self) -> usize {
        self.inner.lock().unwrap().inspected
    }

    /// How often a buyer's entry was asked for.
    pub fn finds(&self) -> usize {
        self.inner.lock().unwrap().finds
    }

    fn act<T>(&self, lane: LaneId, act: impl FnOnce(&mut LaneMachine, RunId) -> T) -> Result<T, StockError> {
        let mut inner = self.inner.lock().unwrap();
        let run = inner.run;
        let lost = || StockError::Unknown("lost on purpose".into());
        match inner.faults.pop_front() {
            Some(Fault::LoseCall) => Err(lost()),
            Some(Fault::NotSent) => Err(StockError::Unsent("no connection on purpose".into())),
            Some(Fault::Break) => Err(StockError::Broken("broken on purpose".into())),
            fault => {
                let answer = act(inner.lanes.entry(lane).or_default(), run);
                if fault.is_none() { Ok(answer) } else { Err(lost()) }
            }
        }
    }
}

impl LaneStock for MemoryStock {
    async fn reserve(
        &self,
        call: ReserveCall,
        requests: &[ReserveRequest],
    ) -> Result<LaneAnswer<ReserveAnswer>, StockError> {
        self.inner.lock().unwrap().calls.push((call.batch, requests.len()));
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        self.act(call.lane, |lane, run| lane.reserve(run, call, requests))
    }

    async fn find(&self, lane: LaneId, buyer: BuyerId) -> Result<LaneAnswer<Vec<(LanePurchase, bool)>>, StockError> {
        self.inner.lock().unwrap().finds += 1;
        self.act(lane, |lane, run| lane.find(run, buyer))
    }

    async fn claim(
        &self,
        lane: LaneId,
        now_ms: u64,
        n: u32,
        backoff_ms: u64,
    ) -> Result<LaneAnswer<Vec<(BatchId, Bytes)>>, StockError> {
        self.act(lane, |lane, run| lane.claim(run, now_ms, n, backoff_ms))
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        self.inner.lock().unwrap().inspected += 1;
        self.act(lane, |lane, run| lane.inspect(run))
    }
}

/// Rows in memory.
#[derive(Clone, Default)]
pub struct MemoryRows {
    rows: Arc<Mutex<BTreeMap<OrderId, OrderRow>>>,
    /// Looks at a row that find nothing, though it is there.
    pub blind: Arc<Mutex<u32>>,
    /// Whether the database is away.
    pub is_away: Arc<Mutex<bool>>,
}

impl MemoryRows {
    /// Writes the row of an order, as the order-writer would.
    pub fn write(&self, order: OrderId, buyer: BuyerId, status: Status) {
        self.write_of_key(order, buyer, status, KeyHash([0; 16]));
    }

    /// The same of an order that was bought by this key.
    pub fn write_of_key(&self, order: OrderId, buyer: BuyerId, status: Status, key: KeyHash) {
        let row = OrderRow {
            order,
            tenant: tenant(),
            buyer,
            lane: lane_id(1),
            number: Some(PurchaseNumber(1)),
            sale: SaleId::new(1).unwrap(),
            sale_version: 1,
            offer: offer_id(1),
            sku: SkuId::new(301).unwrap(),
            quantity: 2,
            unit_price: Money { amount: 9_900, currency: "CNY".parse().unwrap() },
            key,
            status,
            reason: None,
            position: Position { generation: Generation(1), offset: 1, index: 0 },
            released: None,
            reserved_at_ms: NOW_MS,
            context: Bytes::new(),
            pay_by_ms: Some(NOW_MS + 900_000),
        };
        self.rows.lock().unwrap().insert(order, row);
    }

    fn check(&self) -> Result<(), SqlError> {
        if *self.is_away.lock().unwrap() { Err(SqlError::Unreachable("away on purpose".into())) } else { Ok(()) }
    }
}

impl OrderRows for MemoryRows {
    async fn find(&self, order: OrderId) -> Result<Option<OrderRow>, SqlError> {
        self.check()?;
        let mut blind = self.blind.lock().unwrap();
        if *blind > 0 {
            *blind -= 1;
            return Ok(None);
        }
        Ok(self.rows.lock().unwrap().get(&order).cloned())
    }

    async fn of_buyer(&self, caller: Caller, before: Option<OrderId>, limit: u32) -> Result<Vec<OrderRow>, SqlError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        let theirs = rows.values().rev().filter(|row| row.buyer == caller.buyer && row.tenant == caller.tenant);
        let page = theirs.filter(|row| before.is_none_or(|before| row.order < before)).take(limit as usize);
        Ok(page.cloned().collect())
    }

    async fn live_of_buyer(
        &self,
        caller: Caller,
        sale: SaleId,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderRow>, SqlError> {
        let all = self.of_buyer(caller, before, u32::MAX).await?.into_iter();
        Ok(all.filter(|row| row.sale == sale && row.is_live()).take(limit as usize).collect())
    }
}

/// An engine of one thread, and everything around it.
pub struct Shop {
    /// The time.
    pub clock: ManualClock,
    /// The lanes' server.
    pub stock: MemoryStock,
    /// The log.
    pub log: MemoryLog,
    /// The rows.
    pub rows: MemoryRows,
    /// What is sold.
    pub directory: Arc<Directory>,
    /// What was acknowledged.
    pub acknowledged: Arc<Acknowledged>,
    /// Order ids.
    pub mint: Arc<Mint>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The pages of its sales.
    pub pages: Arc<Pages<Promotion>>,
    /// What is counted of them.
    pub page_metrics: Arc<PageMetrics>,
    /// The origins whose pages may call.
    pub origins: Arc<Origins>,
    /// The gate.
    pub admission: Arc<Admission<ManualClock>>,
    /// What the engine under test buys with.
    pub purchases: Purchases<MemoryStock, MemoryLog, MemoryRows, ManualClock>,
    signer: TokenSigner,
}

impl Shop {
    /// A shop with sale 1 open, its lane loaded with `left` units under epoch 1. To be made inside
    /// a runtime.
    pub fn new(left: u64) -> Self {
        Self::bounded(left, PERMITS, PERMITS, 10_000)
    }

    /// The same with other limits: permits of the engine and of a tenant, entries of a journal.
    pub fn bounded(left: u64, permits: u32, tenant_permits: u32, journal_max: u32) -> Self {
        let (clock, metrics) = (ManualClock::new(NOW_MS), metrics());
        // So that time before the start differs from no time at all.
        clock.advance(Duration::from_secs(1));
        clock.set_wall(NOW_MS);
        let directory = directory_on(&clock, &metrics, permits, tenant_permits);
        directory.take_in(vec![sale(1)], NOW_MS);
        let (stock, log, mint) = (MemoryStock::default(), MemoryLog::default(), Arc::new(Mint::default()));
        stock.open(1, 1, left);
        // Known from earlier calls, so that tests count their own.
        directory.now().offer(offer_id(1)).unwrap().1.lane.follow(Epoch(1));
        mint.lend(WORKER, u64::MAX >> 8, u64::MAX);
        let key = TokenKey::new("k", SECRET, Tenants::All).unwrap();
        let verifier = TokenVerifier::new(vec![key.clone()]).unwrap();
        let admission = Arc::new(Admission::new(clock.clone(), verifier, TokenSeed(1, 2), Arc::clone(&directory)));
        let acknowledged = Arc::new(Acknowledged::default());
        let appender =
            Arc::new(Appender::new(log.clone(), clock.clone(), Arc::clone(&acknowledged), Arc::clone(&metrics)));
        let reserver = Reserver {
            stock: stock.clone(),
            appender,
            mint: Arc::clone(&mint),
            refused: Arc::clone(admission.refused()),
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            journal_max,
        };
        let (lanes, gate) = (Lanes::new(reserver, Handle::current()), Arc::clone(&admission));
        let (rows, signer) = (MemoryRows::default(), TokenSigner::new(key));
        let reads = Arc::new(Reads::new(&Ticks::of(&clock)));
        let orders = Arc::new(Orders::new(rows.clone(), stock.clone(), Arc::clone(&directory), reads));
        let (counted, of) = (Arc::clone(&metrics), clock.clone());
        let purchases = Purchases { admission: gate, lanes, orders, clock: of, metrics: counted };
        let page_metrics = Arc::new(PageMetrics::register(&Registry::new().unwrap()).unwrap());
        let origins = Arc::default();
        Self {
            clock,
            stock,
            log,
            rows,
            directory,
            acknowledged,
            mint,
            metrics,
            pages: Pages::new(1),
            page_metrics,
            origins,
            admission,
            purchases,
            signer,
        }
    }

    /// A token of a buyer.
    pub fn token(&self, buyer: u64) -> String {
        self.token_of(tenant(), buyer)
    }

    /// A token of a buyer of any shop.
    pub fn token_of(&self, tenant: TenantId, buyer: u64) -> String {
        self.signed(&BuyerClaims::new(tenant.number(), buyer, self.clock.now_ms() + 86_400_000))
    }

    /// A token that says this.
    pub fn signed(&self, claims: &BuyerClaims) -> String {
        self.signer.sign(claims, self.clock.now_ms()).unwrap()
    }

    /// A buyer of sale 1 buys.
    pub async fn buy(&self, buyer: u64, key: &str, quantity: u32) -> Result<Bought, Declined> {
        let token = self.token(buyer);
        self.purchases.buy(purchase(&token, key, quantity)).await
    }

    /// Orders as this shop's buyers see them.
    pub fn orders(&self) -> Orders<MemoryStock, MemoryRows> {
        let reads = Arc::new(Reads::new(&Ticks::of(&self.clock)));
        Orders::new(self.rows.clone(), self.stock.clone(), Arc::clone(&self.directory), reads)
    }

    /// The whole engine, to be served.
    pub fn into_front(self) -> Router<MemoryFront, ManualClock> {
        let (pages, table) = (self.pages, Table::of::<MemoryFront>().unwrap());
        let (stock, of) = (self.stock, (Arc::clone(&pages), Arc::clone(&self.directory)));
        tokio::spawn(Checker::new(of.0, of.1, stock, self.clock.clone(), self.page_metrics).run());
        let requests = Arc::new(RequestMetrics::register(&Registry::new().unwrap(), table.names()).unwrap());
        let (directory, under_way) = (self.directory, self.metrics.permits_in_use.clone());
        let reads = PageReads::new(directory, pages, self.clock.clone(), under_way);
        let measures = (self.metrics, Arc::clone(&requests));
        let front = Front::new(self.purchases, self.clock.clone(), measures, PreparedAnswers::default());
        Router::new(Both(front, reads), Arc::new(table), self.clock, requests).with_origins(self.origins)
    }
}

/// The routes of a shop.
pub type MemoryFront = Both<Front<MemoryStock, MemoryLog, MemoryRows, ManualClock>, PageReads<Directory, ManualClock>>;

/// A purchase of the offer of sale 1.
pub fn purchase<'a>(token: &'a str, key: &'a str, quantity: u32) -> Purchase<'a> {
    let quantity = Quantity::new(quantity).unwrap();
    let context = Bytes::from_static(b"{\"a\":1}");
    Purchase { token: Some(token), offer: offer_id(1), quantity, key, expected_price: None, context }
}
