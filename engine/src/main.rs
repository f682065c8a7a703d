//! Composes the engine: settings, stores, front threads, background work, drain.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context;
use domain::shard::{ShardId, ShardMap};
use engine::{
    admission::{Admission, Permits, Ticks, TokenSeed},
    buy::Purchases,
    enqueue::{Acknowledged, Appender},
    http::{Front, PreparedAnswers},
    metrics::{Metrics, Stores},
    mint::{LeaseKeeper, Mint},
    openapi,
    orders::{Orders, READS_MAX},
    ready::{Conditions, probe_stock},
    reserve::{Desk, Lanes},
    sales::{self, Directory, TenantLimits},
    settings::Settings,
    sweep::Sweeper,
};
use kit::{
    admin::{self, Readiness},
    clock::{Clock, SystemClock},
    http::{self, ConnectionMetrics, DrainOutcome, Limits},
    metrics::Registry,
    settings::{parse_or_exit, usage_error_and_exit},
    shutdown::{drain_within, on_signals},
    telemetry,
};
use store::{
    log::{
        OrderLog,
        kafka::{KafkaLog, KafkaSalesFollower, KafkaSettings, ensure_topics},
    },
    orders::Orders as Rows,
    shards::{self, Namespace},
    sql::{
        Server,
        mysql::{self, MySql, MySqlServer},
    },
    stock::redis::{RedisSettings, RedisStock},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::{Notify, Semaphore, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tasks that a front thread runs before it looks for new input: answers leave in bursts of a batch, and a look costs a system call.
const TASKS_PER_POLL: u32 = 256;
/// Deadlines of the drain, one after the other: below the 30 s an orchestrator grants.
const REQUESTS_DEADLINE: Duration = Duration::from_secs(15);
const TASKS_DEADLINE: Duration = Duration::from_secs(4);
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
const LEASE_DEADLINE: Duration = Duration::from_secs(3);
/// Every so many seconds buyers whose buckets are full again are forgotten.
const FORGET_EVERY_S: u64 = 5;

fn main() -> anyhow::Result<()> {
    if std::env::args_os().nth(1).is_some_and(|command| command == "openapi") {
        return Ok(std::io::stdout().write_all(openapi::document()?.as_bytes())?);
    }
    let settings: Settings = parse_or_exit();
    telemetry::init()?;
    Builder::new_current_thread().enable_all().build()?.block_on(run(settings))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let stop = on_signals()?;
    let descriptors = http::raise_descriptor_limit().context("raising the limit of open files")?;
    let limits = Limits { drain_deadline: REQUESTS_DEADLINE, ..Limits::sharing(descriptors, settings.front_threads()) };
    tracing::info!(descriptors, connections_max = limits.connections_max, "limits, connections per front thread");
    let (registry, readiness, admin_stop) = (Registry::new()?, Readiness::new(), CancellationToken::new());
    let listener = http::bind(settings.admin.admin_addr, false).context("binding the admin port")?;
    let admin = tokio::spawn(admin::serve(listener, registry.clone(), readiness.clone(), admin_stop.clone()));
    // Before our own connections, one of which could be given this very port. Who comes early waits.
    let listeners = bind(settings.listen, settings.front_threads()).context("binding the buyers' address")?;
    let engine = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        engine = Engine::start(&settings, &registry, readiness) => Some(engine?),
    };
    if let Some(engine) = engine {
        engine.serve(listeners, limits, stop).await?;
    }
    admin_stop.cancel();
    admin.await??;
    Ok(())
}

/// One listener per front thread on the same address, all of them before any is served, or early connections crowd the first.
fn bind(mut address: SocketAddr, threads: usize) -> io::Result<Vec<TcpListener>> {
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
struct Shared {
    redis: RedisSettings,
    mysql: MySqlServer,
    namespace: Namespace,
    map: ShardMap,
    clock: SystemClock,
    admission: Arc<Admission<SystemClock>>,
    appender: Arc<Appender<KafkaLog, SystemClock>>,
    mint: Arc<Mint>,
    metrics: Arc<Metrics>,
    connections: ConnectionMetrics,
    stores: Stores,
    answers: PreparedAnswers,
    reads: Arc<Semaphore>,
    journal_max: u32,
}

/// Everything but the front threads, at work.
struct Engine {
    shared: Shared,
    log: KafkaLog,
    conditions: Arc<Conditions>,
    lease: JoinHandle<()>,
    lease_stop: CancellationToken,
}

impl Engine {
    /// Opens the stores, starts the background work, and waits until all sales are read: before, every offer is unknown.
    async fn start(settings: &Settings, registry: &Registry, readiness: Readiness) -> anyhow::Result<Self> {
        let (args, clock) = (&settings.stores, SystemClock::new());
        let verifier = settings.tokens.verifier().unwrap_or_else(|error| usage_error_and_exit(&error));
        let metrics = Arc::new(Metrics::register(registry)?);
        let kafka = KafkaSettings {
            replication: args.kafka.kafka_replication,
            min_insync: args.kafka.kafka_min_insync,
            linger_ms: settings.kafka_linger_ms,
            requests_in_flight: settings.kafka_requests_in_flight,
            ..KafkaSettings::new(&args.kafka.kafka_brokers, args.namespace.as_str(), args.partitions.into())
        };
        ensure_topics(&kafka).await.context("making the topics")?;
        let log = KafkaLog::new(&kafka)?;
        let mysql = MySqlServer::new(args.mysql_url.expose(), mysql::Settings::default())?;
        let (namespace, map) = (Namespace::new(args.namespace.as_str())?, ShardMap::even(args.shards, args.tables)?);
        let databases = shards::open(&mysql, &namespace, map.clone()).await.context("opening the databases")?;
        let permits = Permits::new(settings.permits, metrics.permits_in_use.clone());
        let limits = TenantLimits { rate_per_s: settings.tenant_rate_per_s, permits_max: settings.tenant_permits() };
        let directory = Arc::new(Directory::new(Ticks::of(&clock), permits, limits));
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let admission = Admission::new(clock, verifier, TokenSeed(high, low), Arc::clone(&directory));
        let acknowledged = Arc::new(Acknowledged::default());
        let shared = Shared {
            redis: RedisSettings::new(args.redis_url.expose(), args.namespace.as_str()),
            mysql,
            namespace,
            map,
            clock,
            admission: Arc::new(admission),
            appender: Arc::new(Appender::new(log.clone(), clock, acknowledged, Arc::clone(&metrics))),
            mint: Arc::default(),
            metrics,
            connections: ConnectionMetrics::register(registry)?,
            stores: Stores::default(),
            answers: PreparedAnswers::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            journal_max: settings.journal_max,
        };
        let (ledger, told) = (databases.ledger.clone(), log.clone());
        let (ledger, log_told) = (move || ledger.figures(), move || told.figures());
        shared.stores.show(registry, Arc::clone(&shared.admission), Arc::clone(&shared.mint), ledger, log_told)?;
        let conditions = Conditions::new(readiness, Arc::clone(&directory), Arc::clone(&shared.metrics));
        let lease_stop = CancellationToken::new();
        let holder = format!("engine-{}", Uuid::new_v4());
        let keeper = LeaseKeeper::new(databases.ledger, clock, Arc::clone(&shared.mint), holder);
        let lease = tokio::spawn(keeper.keep(Arc::clone(&conditions), lease_stop.clone().cancelled_owned()));
        shared.sweep(&directory, &conditions).await?;
        tokio::spawn(keep_house(Arc::clone(&directory), log.clone(), Arc::clone(&shared.metrics)));
        read_sales(KafkaSalesFollower::new(&kafka)?, &directory, &conditions, clock).await;
        Ok(Self { shared, log, conditions, lease, lease_stop })
    }

    /// Serves buyers until `stop`, then drains: requests, what they left under way, the producer, the lease.
    async fn serve(self, listeners: Vec<TcpListener>, limits: Limits, stop: CancellationToken) -> anyhow::Result<()> {
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
            outcomes.push(front.await.context("a front thread broke down")?);
        }
        let unacknowledged = self.log.flush(FLUSH_DEADLINE).await;
        self.lease_stop.cancel();
        drain_within("the worker number", LEASE_DEADLINE, self.lease).await.transpose()?;
        for outcome in outcomes {
            let DrainOutcome { finished, aborted } = outcome?;
            tracing::info!(finished, aborted, unacknowledged, "drained");
        }
        Ok(())
    }
}

impl Shared {
    /// Starts the sweeper and the first look at the lanes' server, over a connection of their own.
    async fn sweep(&self, directory: &Arc<Directory>, conditions: &Arc<Conditions>) -> anyhow::Result<()> {
        let stock = RedisStock::connect(&self.redis).await?;
        self.stores.stock.add(stock.calls());
        tokio::spawn(probe_stock(stock.clone(), Arc::clone(conditions)));
        let (appender, mint) = (Arc::clone(&self.appender), Arc::clone(&self.mint));
        let sweeper = Sweeper::new(stock, appender, Arc::clone(directory), mint, self.clock, Arc::clone(&self.metrics));
        tokio::spawn(sweeper.run());
        Ok(())
    }

    /// The front of this thread: its own connections, its own lanes.
    async fn front(self) -> anyhow::Result<Front<RedisStock, KafkaLog, Rows<MySql>, SystemClock>> {
        let stock = RedisStock::connect(&self.redis).await?;
        let shards = (0..self.map.shards()).map(|shard| self.mysql.open(&self.namespace.orders(ShardId(shard))));
        let rows = Rows::new(self.map.clone(), shards.collect());
        let asked = rows.clone();
        self.stores.orders.add(move || asked.figures());
        self.stores.stock.add(stock.calls());
        let directory = Arc::clone(self.admission.directory());
        let orders = Orders::new(rows, stock.clone(), directory, self.reads);
        let desk = Desk {
            stock,
            appender: self.appender,
            mint: self.mint,
            refused: Arc::clone(self.admission.refused()),
            clock: self.clock,
            metrics: Arc::clone(&self.metrics),
            journal_max: self.journal_max,
        };
        let lanes = Lanes::new(desk, Handle::current());
        let metrics = Arc::clone(&self.metrics);
        let purchases = Purchases { admission: self.admission, lanes, clock: self.clock, metrics };
        Ok(Front::new(purchases, orders, self.clock, self.metrics, self.answers))
    }
}

/// A front thread: one runtime, one listener, until `stop` and the drain after it.
fn front(
    shared: Shared,
    listener: TcpListener,
    limits: Limits,
    stop: CancellationToken,
) -> anyhow::Result<DrainOutcome> {
    Builder::new_current_thread().enable_all().event_interval(TASKS_PER_POLL).build()?.block_on(async {
        let connections = shared.connections.clone();
        let front = shared.front().await?;
        let tasks = front.purchases().lanes.tasks().clone();
        let outcome = http::serve_measured(listener, front, limits, connections, stop).await?;
        tasks.close();
        drain_within("calls and appends", TASKS_DEADLINE, tasks.wait()).await;
        Ok(outcome)
    })
}

/// Starts following the topic of sales; waits until what was there is read.
async fn read_sales(
    follower: KafkaSalesFollower,
    directory: &Arc<Directory>,
    conditions: &Arc<Conditions>,
    clock: SystemClock,
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
async fn keep_house(directory: Arc<Directory>, log: KafkaLog, metrics: Arc<Metrics>) {
    for second in 1_u64.. {
        tokio::time::sleep(Duration::from_secs(1)).await;
        metrics.log_records_in_flight.set(i64::try_from(log.in_flight()).unwrap_or(i64::MAX));
        if second % FORGET_EVERY_S == 0 {
            directory.forget_idle_buyers();
        }
    }
}
