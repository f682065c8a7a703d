//! The engine as a whole: what all its threads share, its front threads, its background work and
//! its drain. The stores come in as [`Ports`], so that every deployment runs this very code.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::Duration,
};

use domain::record::Topic;
use kit::{
    admin::Readiness,
    clock::Clock,
    http::{
        self, Both, ConnectionMetrics, DrainOutcome, Limits, Origins, RequestMetrics, RouteError, Router, Service,
        Table,
    },
    metrics::{MetricsError, Registry},
    shutdown::drain_within,
    telemetry,
    token::TokenVerifier,
};
use pages::{checker::Checker, http::Reads, metrics::Metrics as PageMetrics, origins, shared::Pages};
use store::{
    controls,
    figures::Calls,
    ledger::Ledger,
    log::{OrderLog, SalesFollower, Topics},
    orders::Orders as Rows,
    sql::Sql,
    stock::{LaneStock, StockError},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    admission::{Admission, TokenSeed},
    append::{Acknowledged, Appender},
    buy::Purchases,
    counting::Counting,
    ended,
    figures::Stores,
    http::{Front, PreparedAnswers},
    limits::{Permits, Ticks},
    metrics::Metrics,
    mint::{LeaseKeeper, Mint},
    orders::{Orders, Reads as OrderReads},
    presence::Presence,
    ready::{Conditions, probe_stock},
    reserve::{Lanes, Reserver},
    sales::{self, Directory, Promotion, TenantLimits},
    sweep::Sweeper,
};

/// Tasks that a front thread runs before it looks for new input: answers leave in bursts of a
/// batch, and a look costs a system call.
const TASKS_PER_POLL: u32 = 256;
/// Deadlines of the drain, one after the other: below the 30 s an orchestrator grants.
pub const REQUESTS_DEADLINE: Duration = Duration::from_secs(15);
const TASKS_DEADLINE: Duration = Duration::from_secs(4);
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
const COUNTS_DEADLINE: Duration = Duration::from_secs(1);
const LEASE_DEADLINE: Duration = Duration::from_secs(3);
/// How often the rates of tenants' plans are read. With the round of catalog's copy (3 s) a change
/// holds in 6 s.
const RATES_EVERY: Duration = Duration::from_secs(3);
/// Every so many seconds buyers whose buckets are full again are forgotten.
const FORGET_EVERY_S: u64 = 5;

/// The kinds of stores a deployment has, and how a thread comes to its own.
pub trait Ports: Clone + Send + Sync + 'static {
    /// Lanes.
    type Stock: LaneStock;
    /// Appending.
    type Log: OrderLog + Topics;
    /// Databases.
    type Sql: Sql;
    /// Time.
    type Clock: Clock;

    /// The lanes, for the runtime that asks: what they keep open belongs to it.
    fn stock(&self) -> impl Future<Output = Result<Self::Stock, StockError>> + Send;

    /// What came of the calls of a stock and its clones, whenever it is asked.
    fn stock_calls(stock: &Self::Stock) -> impl Fn() -> Calls + Send + Sync + 'static;

    /// The order rows, for the runtime that asks.
    fn rows(&self) -> Rows<Self::Sql>;

    /// The log, for all threads.
    fn log(&self) -> Self::Log;

    /// The time.
    fn clock(&self) -> Self::Clock;
}

/// Sizes and rates of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Purchases under way at one time; more are refused as overload.
    pub permits: u32,
    /// How many of them one tenant may hold.
    pub tenant_permits: u32,
    /// Seconds that a buyer has to pay, of a sale that says nothing.
    pub payment_window_s: u32,
    /// Purchases a second that one tenant may ask of the whole fleet.
    pub tenant_rate_per_s: u32,
    /// Batches in a lane's journal above which it promises nothing more.
    pub journal_max: u32,
}

/// Threads that answer buyers: as many as asked for, else one per core.
pub fn front_threads(asked_for: Option<u16>) -> usize {
    let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    asked_for.map_or_else(cores, usize::from)
}

/// Permits of one tenant: its share of all of them in percent, at least one.
pub fn tenant_permits(permits: u32, percent: u8) -> u32 {
    let share = u64::from(permits) * u64::from(percent) / 100;
    u32::try_from(share).unwrap_or(u32::MAX).max(1)
}

/// Why an engine cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A metric cannot be registered.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The routes of the services that share the buyers' port cannot be told apart.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// The lanes' server refuses its settings.
    #[error(transparent)]
    Stock(#[from] StockError),
    /// A thread or a listener failed.
    #[error("a front thread cannot work: {0}")]
    Front(#[from] io::Error),
    /// A front thread ended without an outcome.
    #[error("a front thread broke down; its panic is in the log")]
    BrokeDown,
    /// The keeper of the worker number ended without an outcome.
    #[error("the keeper of the worker number broke down; its panic is in the log")]
    Lease,
}

/// One listener per front thread on the same address, all of them before any is served, or early
/// connections crowd the first.
///
/// # Errors
/// When the address is taken, or not of this machine.
pub fn bind(mut address: SocketAddr, threads: usize) -> io::Result<Vec<TcpListener>> {
    let listeners = (0..threads).map(|_| {
        let listener = http::bind(address, true)?;
        // With port 0 the first one chooses.
        address = listener.local_addr()?;
        Ok(listener)
    });
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    tracing::info!(%address, threads, "listening");
    Ok(listeners)
}

/// What the front threads share.
#[derive(Clone)]
struct Shared<P: Ports, B: Service> {
    ports: P,
    /// The service that shares the buyers' port.
    beside: B,
    table: Arc<TableOf<P, B>>,
    requests: Arc<RequestMetrics>,
    clock: P::Clock,
    admission: Arc<Admission<P::Clock>>,
    appender: Arc<Appender<P::Log, P::Clock>>,
    mint: Arc<Mint>,
    metrics: Arc<Metrics>,
    connections: ConnectionMetrics,
    stores: Stores,
    answers: PreparedAnswers,
    reads: Arc<OrderReads>,
    pages: Arc<Pages<Promotion>>,
    origins: Arc<Origins>,
    journal_max: u32,
}

/// What this thread answers with.
type FrontOf<P> = Front<<P as Ports>::Stock, <P as Ports>::Log, Rows<<P as Ports>::Sql>, <P as Ports>::Clock>;

/// All services of the buyers' port.
type PortOf<P, B> = Both<Both<FrontOf<P>, Reads<Directory, <P as Ports>::Clock>>, B>;

/// Their routes.
type TableOf<P, B> = Table<<PortOf<P, B> as Service>::Route>;

/// Everything but the front threads, at work.
pub struct Engine<P: Ports, B: Service = ()> {
    shared: Shared<P, B>,
    log: P::Log,
    conditions: Arc<Conditions>,
    lease: JoinHandle<()>,
    lease_stop: CancellationToken,
    counting: JoinHandle<()>,
    counting_stop: CancellationToken,
}

impl<P: Ports, B: Service + Clone> Engine<P, B> {
    /// Starts the background work and waits until all sales are read: before, every offer is
    /// unknown. `beside` shares the buyers' port; `()` where the engine has it for itself.
    ///
    /// # Errors
    /// [`ServiceError`] when a metric's name is taken, the lanes' server refuses its settings, or
    /// `beside` has a route of the engine's.
    pub async fn start(
        beside: B,
        (ports, ledger, follower): (P, Ledger<P::Sql>, impl SalesFollower),
        (options, verifier): (Options, TokenVerifier),
        registry: &Registry,
        readiness: Readiness,
    ) -> Result<Self, ServiceError> {
        let (log, clock) = (ports.log(), ports.clock());
        let table = Arc::new(TableOf::<P, B>::of::<PortOf<P, B>>()?);
        let requests = Arc::new(RequestMetrics::register(registry, table.names())?);
        let metrics = Arc::new(Metrics::register(registry)?);
        let permits = Permits::new(options.permits, metrics.permits_in_use.clone());
        let limits = TenantLimits {
            rate_per_s: options.tenant_rate_per_s,
            permits_max: options.tenant_permits,
            pay_within_s: options.payment_window_s,
        };
        let directory = Arc::new(Directory::new(Ticks::of(&clock), permits, limits));
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let admission = Admission::new(clock.clone(), verifier, TokenSeed(high, low), Arc::clone(&directory));
        let acknowledged = Arc::new(Acknowledged::default());
        let appender = Appender::new(log.clone(), clock.clone(), acknowledged, Arc::clone(&metrics));
        let shared = Shared {
            ports,
            beside,
            table,
            requests,
            clock: clock.clone(),
            admission: Arc::new(admission),
            appender: Arc::new(appender),
            mint: Arc::default(),
            metrics,
            connections: ConnectionMetrics::register(registry)?,
            stores: Stores::default(),
            answers: PreparedAnswers::default(),
            reads: Arc::new(OrderReads::new(&Ticks::of(&clock))),
            pages: Pages::new(high ^ low),
            origins: Arc::default(),
            journal_max: options.journal_max,
        };
        let (figures, producer, lanes) = (ledger.clone(), log.clone(), ledger.clone());
        let (figures, producer) = (move || figures.figures(), move || producer.figures());
        shared.stores.show(registry, Arc::clone(&shared.admission), Arc::clone(&shared.mint), figures, producer)?;
        let conditions = Conditions::new(readiness, Arc::clone(&directory), Arc::clone(&shared.metrics));
        let lease_stop = CancellationToken::new();
        let holder = format!("engine-{}", Uuid::new_v4());
        let keeper = LeaseKeeper::new(ledger.clone(), clock.clone(), Arc::clone(&shared.mint), holder.clone());
        let lease = tokio::spawn(keeper.keep(Arc::clone(&conditions), lease_stop.clone().cancelled_owned()));
        let limited = Arc::clone(&directory);
        tokio::spawn(ledger.tenant_rates().follow(RATES_EVERY, move |rates| limited.limit_tenants(rates)));
        tokio::spawn(controls::follow(ledger.controls(), telemetry::set_filter));
        tokio::spawn(origins::follow(ledger.shop_domains(), Arc::clone(&shared.origins)));
        shared.sweep(PageMetrics::register(registry)?, &directory, &conditions).await?;
        let counting_stop = CancellationToken::new();
        let (counted, measured) = (Arc::clone(&directory), Arc::clone(&shared.metrics));
        let counting =
            Counting::new(log.of(Topic::Counts), clock.clone(), counted, measured, Uuid::new_v4().as_u64_pair().1);
        let counting = tokio::spawn(counting.run(counting_stop.clone()));
        tokio::spawn(keep_house(shared.clone(), log.clone()));
        let presence = Presence::new(lanes.clone(), clock.clone(), Arc::clone(&shared.mint), holder);
        tokio::spawn(presence.tell(Arc::clone(&directory)));
        tokio::spawn(ended::follow(lanes, Arc::clone(&directory), clock.clone()));
        read_sales(follower, &directory, &conditions, clock).await;
        Ok(Self { shared, log, conditions, lease, lease_stop, counting, counting_stop })
    }

    /// Serves buyers until `stop`, then drains: requests, what they left under way, the producer,
    /// the lease. The deadline of the requests is that of `limits`.
    ///
    /// # Errors
    /// [`ServiceError`] when a front thread cannot work: one that cannot serve ends all.
    pub async fn serve(
        self,
        listeners: Vec<TcpListener>,
        limits: Limits,
        stop: CancellationToken,
    ) -> Result<(), ServiceError> {
        let mut fronts = Vec::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            let (shared, stop, (ended, end)) = (self.shared.clone(), stop.clone(), oneshot::channel());
            thread::Builder::new().name(format!("front-{number}")).spawn(move || {
                let outcome = front(shared, listener, limits, stop.clone());
                // One front that cannot serve ends all: half an engine would look like a whole one.
                stop.cancel();
                let _nobody_waits = ended.send(outcome);
            })?;
            fronts.push(end);
        }
        stop.cancelled().await;
        self.conditions.drain();
        let mut outcomes = Vec::new();
        for front in fronts {
            outcomes.push(front.await.map_err(|_| ServiceError::BrokeDown)?);
        }
        self.counting_stop.cancel();
        let _counts_of_the_last_second = drain_within("the last counts", COUNTS_DEADLINE, self.counting).await;
        let unacknowledged = self.log.flush(FLUSH_DEADLINE).await;
        self.lease_stop.cancel();
        let given_back = drain_within("the worker number", LEASE_DEADLINE, self.lease).await;
        given_back.transpose().map_err(|_| ServiceError::Lease)?;
        for outcome in outcomes {
            let DrainOutcome { finished, aborted } = outcome?;
            tracing::info!(finished, aborted, unacknowledged, "drained");
        }
        Ok(())
    }
}

impl<P: Ports, B: Service> Shared<P, B> {
    /// Starts the sweeper, the checker of pages and the first look at the lanes' server, over a
    /// connection of their own.
    async fn sweep(
        &self,
        page_metrics: PageMetrics,
        directory: &Arc<Directory>,
        conditions: &Arc<Conditions>,
    ) -> Result<(), StockError> {
        let stock = self.ports.stock().await?;
        self.stores.stock.add(P::stock_calls(&stock));
        tokio::spawn(probe_stock(stock.clone(), Arc::clone(conditions)));
        let (pages, clock, metrics) = (Arc::clone(&self.pages), self.clock.clone(), Arc::new(page_metrics));
        tokio::spawn(Checker::new(pages, Arc::clone(directory), stock.clone(), clock, metrics).run());
        let (appender, mint) = (Arc::clone(&self.appender), Arc::clone(&self.mint));
        let (clock, metrics) = (self.clock.clone(), Arc::clone(&self.metrics));
        let sweeper = Sweeper::new(stock, appender, Arc::clone(directory), mint, clock, metrics);
        tokio::spawn(sweeper.run());
        Ok(())
    }

    /// What this thread serves: its own connections, its own lanes, and the service beside them.
    async fn front(self) -> Result<Router<PortOf<P, B>, P::Clock>, StockError> {
        let stock = self.ports.stock().await?;
        let rows = self.ports.rows();
        let asked = rows.clone();
        self.stores.orders.add(move || asked.figures());
        self.stores.stock.add(P::stock_calls(&stock));
        let directory = Arc::clone(self.admission.directory());
        let under_way = self.metrics.permits_in_use.clone();
        let reads = Reads::new(Arc::clone(&directory), self.pages, self.clock.clone(), under_way);
        let orders = Orders::new(rows, stock.clone(), directory, self.reads);
        let reserver = Reserver {
            stock,
            appender: self.appender,
            mint: self.mint,
            refused: Arc::clone(self.admission.refused()),
            clock: self.clock.clone(),
            metrics: Arc::clone(&self.metrics),
            journal_max: self.journal_max,
        };
        let lanes = Lanes::new(reserver, Handle::current());
        let metrics = Arc::clone(&self.metrics);
        let (admission, orders) = (self.admission, Arc::new(orders));
        let purchases = Purchases { admission, lanes, orders, clock: self.clock.clone(), metrics };
        let measures = (self.metrics, Arc::clone(&self.requests));
        let front = Front::new(purchases, self.clock.clone(), measures, self.answers);
        let port = Both(Both(front, reads), self.beside);
        Ok(Router::new(port, self.table, self.clock, self.requests).with_origins(self.origins))
    }
}

/// A front thread: one runtime, one listener, until `stop` and the drain after it.
fn front<P: Ports, B: Service>(
    shared: Shared<P, B>,
    listener: TcpListener,
    limits: Limits,
    stop: CancellationToken,
) -> Result<DrainOutcome, ServiceError> {
    Builder::new_current_thread().enable_all().event_interval(TASKS_PER_POLL).build()?.block_on(async {
        let connections = shared.connections.clone();
        let front = shared.front().await?;
        let Both(Both(engine, _), _) = front.service();
        let tasks = engine.purchases().lanes.tasks().clone();
        let outcome = http::serve_measured(listener, front, limits, connections, stop).await?;
        tasks.close();
        drain_within("calls and appends", TASKS_DEADLINE, tasks.wait()).await;
        Ok(outcome)
    })
}

/// Starts following the topic of sales; waits until what was there is read.
async fn read_sales<C: Clock>(
    follower: impl SalesFollower,
    directory: &Arc<Directory>,
    conditions: &Arc<Conditions>,
    clock: C,
) {
    let read = Arc::new(Notify::new());
    let at_end = {
        let (conditions, read) = (Arc::clone(conditions), Arc::clone(&read));
        move || {
            conditions.sales_are_read();
            read.notify_one();
        }
    };
    tokio::spawn(sales::follow(follower, Arc::clone(directory), move || clock.now_ms(), at_end));
    read.notified().await;
}

/// What is done every few seconds, whoever buys.
async fn keep_house<P: Ports, B: Service>(shared: Shared<P, B>, log: P::Log) {
    for second in 1_u64.. {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let in_flight = i64::try_from(log.in_flight()).unwrap_or(i64::MAX);
        shared.metrics.log_records_in_flight.set(in_flight);
        shared.admission.directory().keep_time(shared.clock.now_ms());
        if second % FORGET_EVERY_S == 0 {
            shared.admission.directory().forget_idle_buyers();
            shared.reads.forget_idle_buyers();
        }
    }
}
