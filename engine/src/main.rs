//! Composes the engine: settings, stores, admin port, service.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::{io::Write as _, net::SocketAddr, process::ExitCode};

use anyhow::Context;
use domain::shard::{ShardId, ShardMap};
use engine::{
    forwarded::Forwarded,
    openapi,
    service::{self, Engine, Options, Ports, REQUESTS_DEADLINE},
    settings::Settings,
};
use kit::{
    admin::{self, Readiness},
    client::Forward,
    clock::SystemClock,
    exit::Exit,
    http::{self, Limits},
    metrics::Registry,
    program,
    settings::usage_error_and_exit,
    shutdown::on_signals,
};
use store::{
    figures::Calls,
    log::kafka::{KafkaLog, KafkaSalesFollower, KafkaSettings, ensure_topics},
    mismatch::is_mismatch,
    orders::Orders as Rows,
    shards::{self, Namespace},
    sql::{
        Server,
        mysql::{self, MySql, MySqlServer},
    },
    stock::{
        StockError,
        redis::{RedisSettings, RedisStock},
    },
};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The stores of the production deployment.
#[derive(Clone)]
struct Production {
    redis: RedisSettings,
    mysql: MySqlServer,
    namespace: Namespace,
    map: ShardMap,
    log: KafkaLog,
    clock: SystemClock,
}

impl Ports for Production {
    type Stock = RedisStock;
    type Log = KafkaLog;
    type Sql = MySql;
    type Clock = SystemClock;

    async fn stock(&self) -> Result<RedisStock, StockError> {
        RedisStock::connect(&self.redis).await
    }

    fn stock_calls(stock: &RedisStock) -> impl Fn() -> Calls + Send + Sync + 'static {
        stock.calls()
    }

    fn rows(&self) -> Rows<MySql> {
        let shards = (0..self.map.shards()).map(|shard| self.mysql.open(&self.namespace.orders(ShardId(shard))));
        Rows::new(self.map.clone(), shards.collect())
    }

    fn log(&self) -> KafkaLog {
        self.log.clone()
    }

    fn clock(&self) -> SystemClock {
        self.clock
    }
}

fn main() -> ExitCode {
    program::end("engine", begin(), |error| Exit::of(error.as_ref(), is_mismatch))
}

fn begin() -> anyhow::Result<()> {
    if std::env::args_os().nth(1).is_some_and(|command| command == "openapi") {
        return Ok(std::io::stdout().write_all(openapi::document()?.as_bytes())?);
    }
    let settings = program::begin();
    Builder::new_current_thread().enable_all().build()?.block_on(run(settings))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let stop = on_signals()?;
    let descriptors = http::raise_descriptor_limit().context("raising the limit of open files")?;
    let limits = Limits { drain_deadline: REQUESTS_DEADLINE, ..Limits::sharing(descriptors, settings.front_threads()) };
    tracing::info!(descriptors, connections_max = limits.connections_max, "limits, connections per front thread");
    let (registry, readiness, admin_stop) = (Registry::new()?, Readiness::new(), CancellationToken::new());
    let listener =
        http::bind(settings.admin.admin_addr, false).with_context(|| cannot_listen(settings.admin.admin_addr))?;
    let hosts = settings.admin.hosts();
    let admin = tokio::spawn(admin::serve(listener, hosts, registry.clone(), readiness.clone(), admin_stop.clone()));
    // Before our own connections, one of which could be given this very port. Who comes early
    // waits.
    let listeners =
        service::bind(settings.listen, settings.front_threads()).with_context(|| cannot_listen(settings.listen))?;
    let engine = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        engine = start(&settings, &registry, readiness, stop.clone()) => Some(engine?),
    };
    if let Some(engine) = engine {
        engine.serve(listeners, limits, stop).await?;
    }
    admin_stop.cancel();
    admin.await??;
    Ok(())
}

fn cannot_listen(address: SocketAddr) -> String {
    format!("cannot listen on {address}; --listen and --admin-addr choose other addresses")
}

/// Opens the stores and starts what stands on them.
async fn start(
    settings: &Settings,
    registry: &Registry,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<Engine<Production, Forwarded>> {
    let args = &settings.stores;
    let behind = |url: &Option<String>| {
        let service = url.as_deref().map(Forward::new).transpose();
        service.unwrap_or_else(|error| usage_error_and_exit(&error)).map(|service| service.until(stop.clone()))
    };
    let forwarded = Forwarded { orders: behind(&settings.orders_url), commissions: behind(&settings.commissions_url) };
    let verifier = settings.tokens.verifier().unwrap_or_else(|error| usage_error_and_exit(&error));
    let kafka = KafkaSettings {
        replication: args.kafka.kafka_replication,
        min_insync: args.kafka.kafka_min_insync,
        linger_ms: settings.kafka_linger_ms,
        requests_in_flight: settings.kafka_requests_in_flight,
        ..KafkaSettings::new(&args.kafka.kafka_brokers, args.namespace.as_str(), args.partitions.into())
    };
    ensure_topics(&kafka).await.context("making the topics")?;
    let mysql = MySqlServer::new(args.mysql_url.expose(), mysql::Settings::default())?;
    let (namespace, map) = (args.namespace.clone(), ShardMap::even(args.shards, args.tables)?);
    let databases = shards::open(&mysql, &namespace, map.clone()).await.context("opening the databases")?;
    let production = Production {
        redis: RedisSettings::new(args.redis_url.expose(), args.namespace.as_str()),
        mysql,
        namespace,
        map,
        log: KafkaLog::new(&kafka)?,
        clock: SystemClock::new(),
    };
    let options = Options {
        permits: settings.permits,
        tenant_permits: settings.tenant_permits(),
        payment_window_s: settings.payment_window,
        tenant_rate_per_s: settings.tenant_rate_per_s,
        journal_max: settings.journal_max,
    };
    let stores = (production, databases.ledger, KafkaSalesFollower::new(&kafka)?);
    Ok(Engine::start(forwarded, stores, (options, verifier), registry, readiness).await?)
}
