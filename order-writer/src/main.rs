//! Composes the order-writer: settings, stores, workers, admin port, drain.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::{collections::BTreeMap, ops::ControlFlow, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use domain::shard::ShardMap;
use kit::{
    admin::{self, Readiness},
    clock::SystemClock,
    exit::Exit,
    http, metrics, program,
    settings::StoreArgs,
    shutdown, telemetry,
};
use order_writer::{
    desk::{self, DeskError},
    failpoint::CrashArgs,
    metrics::{Metrics, StoreFigures, show_stores},
    parked::{self, ParkedCommand, ParkedError},
    ports::{Pace, Ports, Sales, Shared},
    progress::Progress,
    rhythm::Busy,
    service,
    settings::{Command, Settings},
    stalls::Stalls,
};
use store::{
    controls,
    ledger::Ledger,
    log::kafka::{
        KafkaDeadLetters, KafkaLog, KafkaMembership, KafkaSalesFollower, KafkaSettings, KafkaSource, ensure_topics,
    },
    mismatch::is_mismatch,
    shards::{self, Store},
    sql::mysql::{MySql, MySqlServer},
    stock::redis::{RedisKeeping, RedisSettings},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A thread decides several hundred thousand orders a second: more threads than the databases can
/// follow only wake each other.
const CORES_PER_THREAD: usize = 4;
/// How long the producer may take to send what waits when the service ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

/// The stores of the production deployment.
#[derive(Clone)]
struct Production;

impl Ports for Production {
    type Sql = MySql;
    type Stock = RedisKeeping;
    type Log = KafkaLog;
    type Source = KafkaSource;
    type Clock = SystemClock;
}

fn main() -> ExitCode {
    program::end("order-writer", begin(), exit_of)
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if is_mismatch(error.as_ref()) {
        return Exit::Mismatch;
    }
    if let Some(ParkedError::Refused(_)) = error.downcast_ref() {
        return Exit::No;
    }
    match error.downcast_ref() {
        Some(DeskError::NotFound(_) | DeskError::Conflict { .. } | DeskError::Held(_)) => Exit::No,
        _ => Exit::of_chain(error.as_ref()).unwrap_or(Exit::Unavailable),
    }
}

fn begin() -> anyhow::Result<()> {
    let settings = program::begin();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = (cores / CORES_PER_THREAD).max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let databases = open_databases(&settings.stores).await?;
    match settings.command {
        Some(Command::Cancel { order }) => {
            desk::cancel(&databases.orders, &databases.ledger, order).await?;
            tracing::info!(%order, "cancelled; its units go back when its release is decided");
        }
        Some(Command::Expire { older_than }) => {
            let mut progress = Progress::begin();
            let watch = |done: &desk::Expiry| {
                progress.show(done);
                ControlFlow::Continue(())
            };
            let done = desk::expire(&databases.orders, &databases.ledger, older_than, watch).await?;
            progress.end(&done);
            tracing::info!("{}; their units go back when their releases are decided", done.told());
        }
        Some(Command::Parked(command)) => tell_parked(&settings.stores, &databases, command).await?,
        None => serve(settings, databases).await?,
    }
    Ok(())
}

async fn tell_parked(args: &StoreArgs, databases: &Store<MySql>, command: ParkedCommand) -> anyhow::Result<()> {
    let kafka = kafka_settings(args);
    let redis = RedisSettings::new(args.redis_url.expose(), args.namespace.as_str());
    let stores = parked::Stores {
        ledger: &databases.ledger,
        dead: &KafkaDeadLetters::new(&kafka),
        source: &KafkaSource::new(&kafka),
        log: &KafkaLog::new(&kafka)?,
        stock: &RedisKeeping::connect(&redis).await?,
        partitions: kafka.partitions,
    };
    let output = command.printed(stores.carry_out(command).await?);
    std::io::Write::write_all(&mut std::io::stdout(), output.as_bytes())?;
    Ok(())
}

fn kafka_settings(args: &StoreArgs) -> KafkaSettings {
    KafkaSettings::new(&args.kafka.kafka_brokers, args.namespace.as_str(), args.partitions.into())
        .with_copies(args.kafka.kafka_replication, args.kafka.kafka_min_insync)
}

async fn open_databases(args: &StoreArgs) -> anyhow::Result<Store<MySql>> {
    let server = MySqlServer::new(args.mysql_url.expose(), store::sql::mysql::Settings::default())?;
    let map = ShardMap::even(args.shards, args.tables)?;
    shards::open(&server, &args.namespace, map).await.context("opening the databases")
}

async fn serve(settings: Settings, databases: Store<MySql>) -> anyhow::Result<()> {
    let stop = shutdown::on_signals()?;
    let registry = metrics::Registry::new()?;
    let readiness = Readiness::new();
    let admin_stop = CancellationToken::new();
    let listener = http::bind(settings.admin.admin_addr, false).with_context(|| {
        format!("cannot listen on {}; --admin-addr chooses another address", settings.admin.admin_addr)
    })?;
    let hosts = settings.admin.hosts();
    let admin = tokio::spawn(admin::serve(listener, hosts, registry.clone(), readiness.clone(), admin_stop.clone()));

    let args = &settings.stores;
    let kafka = kafka_settings(args);
    ensure_topics(&kafka).await.context("making the topics")?;
    let metrics = Arc::new(Metrics::register(&registry)?);
    let (sales, are_read) = follow_sales(&kafka, &databases.ledger, &metrics)?;
    wait_for(are_read).await;
    let log = KafkaLog::new(&kafka)?;
    let stock = RedisKeeping::connect(&RedisSettings::new(args.redis_url.expose(), args.namespace.as_str())).await?;
    let (asked_databases, asked_stock, asked_log) = (databases.clone(), stock.clone(), log.clone());
    show_stores(&registry, move || StoreFigures {
        orders: asked_databases.orders.figures(),
        ledger: asked_databases.ledger.figures(),
        stock_pool: asked_stock.pool(),
        stock: asked_stock.calls(),
        producer: asked_log.figures(),
    })?;
    let shared = Arc::new(Shared::<Production> {
        orders: databases.orders.clone(),
        ledger: databases.ledger.clone(),
        stock,
        log: log.clone(),
        source: KafkaSource::new(&kafka),
        clock: SystemClock::new(),
        sales,
        decided: std::sync::Mutex::new(BTreeMap::new()),
        stalls: Stalls::new(readiness.clone()),
        metrics,
        failpoint: settings.crash.failpoint(),
        busy: Busy::default(),
        pace: Pace { settling: settings.lane_settling.0, ..Pace::default() },
    });
    tokio::spawn(controls::follow(databases.ledger.controls(), telemetry::set_filter));
    work(shared, &settings.crash, &kafka, readiness, stop).await?;

    use store::log::OrderLog;
    let unacknowledged = log.flush(FLUSH_DEADLINE).await;
    tracing::info!(unacknowledged, "drained");
    databases.close().await;
    admin_stop.cancel();
    admin.await??;
    Ok(())
}

/// Works until `stop` on the partitions that the group assigns; a contender of a crash test, on
/// all.
async fn work(
    shared: Arc<Shared<Production>>,
    crash: &CrashArgs,
    kafka: &KafkaSettings,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    match crash.contender(kafka.partitions) {
        Some(contender) => service::run(shared, contender, readiness, stop).await?,
        None => service::run(shared, KafkaMembership::join(kafka)?, readiness, stop).await?,
    }
    Ok(())
}

fn follow_sales(
    kafka: &KafkaSettings,
    ledger: &Ledger<MySql>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(watch::Receiver<Sales>, watch::Receiver<bool>)> {
    let (sales_sender, sales) = watch::channel(Sales::default());
    let (read_sender, are_read) = watch::channel(false);
    let following = (KafkaSalesFollower::new(kafka)?, ledger.clone(), Arc::clone(metrics));
    tokio::spawn(service::follow_sales(following, sales_sender, read_sender));
    Ok((sales, are_read))
}

/// Lanes of sales that ended are left alone: which ones these are must be known before the first
/// look.
async fn wait_for(mut are_read: watch::Receiver<bool>) {
    if are_read.wait_for(|are_read| *are_read).await.is_err() {
        tracing::warn!("the follower of the sales ended before it had read them");
    }
}
