//! `catalog serve`: the merchants' service as a process of its own, over MySQL, and the pages of
//! sales beside it.

mod order_service;
mod reads;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use domain::{id::PartitionId, record::Topic};
use kit::{
    admin::{self, Readiness},
    api::Served,
    clock::SystemClock,
    http::{self, Both, ConnectionMetrics, Limits, RequestMetrics, Router, Table},
    metrics::Registry,
    random::SystemRandom,
    seal::key_of_setting,
    settings::{AdminArgs, DatabaseArgs, KafkaArgs, PartitionArgs, Secret, ServiceUrl, TokenArgs},
    shutdown::on_signals,
    telemetry,
};
use store::{
    consumer, controls,
    log::{
        OrderLogSource as _,
        kafka::{KafkaLog, KafkaReader, KafkaSettings, KafkaSource, ensure_topics},
    },
    shards,
    sql::mysql::{MySql, MySqlServer, Settings},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::order_service::Orders;
use crate::{
    database, funnel, house, jobs,
    outside::{ANSWER_DEADLINE, Outside, OutsideArgs},
    ports::{Given, Selling},
    sales,
    service::{Catalog, Secrets},
    tenants,
    vault::Vault,
};

type Production = Catalog<Given<MySql, SystemClock, SystemRandom, KafkaLog>>;

/// What the service is told.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address of the merchants' URL.
    #[arg(long, env = "FLASHSALE_CATALOG_LISTEN", default_value = "127.0.0.1:8082")]
    pub listen: SocketAddr,

    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,

    /// The log: sales are published and read there.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// How the order log is divided.
    #[command(flatten)]
    pub order_log: PartitionArgs,

    /// The secret of the deployment's operator, who makes tenants. By the environment, or
    /// `file:PATH`.
    #[arg(long, env = "FLASHSALE_OPERATOR_SECRET", hide_env_values = true)]
    pub operator_secret: Secret,

    /// Under which personal data is sealed: 32 bytes in base64url. Who loses it loses the data. By
    /// the environment, or `file:PATH`.
    #[arg(long, env = "FLASHSALE_VAULT_KEY", hide_env_values = true)]
    pub vault_key: Secret,

    /// Redis, or one node of a Redis Cluster: `redis://[user:password@]host:port`. Pages of sales
    /// show the stock of its lanes.
    #[arg(long, env = "FLASHSALE_REDIS_URL", hide_env_values = true)]
    pub redis_url: ServiceUrl,

    /// The keys of buyers' tokens; the first one signs those that shops ask for.
    #[command(flatten)]
    pub tokens: TokenArgs,

    /// The providers of buyers' logins.
    #[command(flatten)]
    pub outside: OutsideArgs,

    /// Where the order service is, such as `http://orders:8083`: it lists orders, and knows who can
    /// be paid.
    #[arg(long, env = "FLASHSALE_ORDERS_URL")]
    pub orders_url: Option<String>,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
}

impl ServeArgs {
    fn log(&self) -> KafkaSettings {
        let settings = KafkaSettings::new(
            &self.kafka.kafka_brokers,
            self.database.namespace.as_str(),
            self.order_log.partitions.into(),
        );
        settings.with_copies(self.kafka.kafka_replication, self.kafka.kafka_min_insync)
    }

    fn secrets(&self) -> anyhow::Result<Secrets> {
        let key = key_of_setting(self.vault_key.expose());
        let key =
            key.context("FLASHSALE_VAULT_KEY is not 32 bytes in base64url: `head -c 32 /dev/urandom | base64`")?;
        Ok(Secrets {
            operator: Some(self.operator_secret.expose().to_owned()),
            vault: Vault::new(&key)?,
            buyer_tokens: self.tokens.keys()?.into_iter().next(),
        })
    }
}

/// Serves until a signal, then drains.
///
/// # Errors
/// What a person can do about each stands in its text.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let stop = on_signals()?;
    let secrets = args.secrets()?;
    let outside = Outside::new(&args.outside, ANSWER_DEADLINE)?;
    let orders = args.orders_url.as_deref().map(|url| Orders::at(url, args.operator_secret.clone())).transpose()?;
    let descriptors = http::raise_descriptor_limit().context("raising the limit of open files")?;
    let (registry, readiness, admin_stop) = (Registry::new()?, Readiness::new(), CancellationToken::new());
    let listen = |address: SocketAddr| {
        http::bind(address, false)
            .with_context(|| format!("cannot listen on {address}; --listen and --admin-addr choose other addresses"))
    };
    let (pages, listener) = (listen(args.admin.admin_addr)?, listen(args.listen)?);
    let hosts = args.admin.hosts();
    let pages = tokio::spawn(admin::serve(pages, hosts, registry.clone(), readiness.clone(), admin_stop.clone()));
    let server = MySqlServer::new(args.database.mysql_url.expose(), Settings::default())?;
    let sql = database::open(&server, &args.database.namespace).await.context("opening the catalog's database")?;
    let (clock, random) = (SystemClock::new(), SystemRandom::default());
    let ledger =
        shards::open_ledger(&server, &args.database.namespace).await.context("opening the ledger's database")?;
    let published = ledger.publications().all().await?;
    let log = args.log();
    let topic = KafkaLog::new(&log).context("making the Kafka client")?;
    let selling = Arc::new(Selling { ledger, topic, partitions: args.order_log.partitions.into() });
    let catalog = Catalog::new(Given { sql, clock, random, selling }, secrets);
    let stock = reads::stock(&args).await?;
    let catalog: Arc<Production> = Arc::new(catalog.with_outside(outside).with_lanes(stock.clone()));
    orders.into_iter().for_each(|orders| catalog.ask_orders(orders));
    catalog.alarms().show(&registry)?;
    registry.sampled(|samples| samples.add_all(consumer::figures(&[funnel::CONSUMER])))?;
    tenants::adopt(&catalog, &published.iter().map(|sale| sale.tenant.number()).collect()).await?;
    sales::adopt(&catalog).await?;
    let mut work = JoinSet::new();
    let work_stop = CancellationToken::new();
    work.spawn(house::keep_house(Arc::clone(&catalog), work_stop.clone()));
    work.spawn(jobs::run(Arc::clone(&catalog), work_stop.clone()));
    let counts = KafkaSource::of(&log, Topic::Counts).reader(PartitionId(0))?;
    work.spawn(count(Arc::clone(&catalog), (log, counts), (stop.clone(), work_stop.clone())));
    tokio::spawn(controls::follow(catalog.selling().ledger.controls(), telemetry::set_filter));
    let domains = catalog.selling().ledger.shop_domains();
    let (pages_of_sales, origins) = reads::start(&args, (stock, domains), clock, &registry).await?;
    let port = Both(Served(catalog), pages_of_sales);
    let table = Arc::new(Table::of::<Both<Served<Production>, reads::PageReads>>()?);
    let requests = Arc::new(RequestMetrics::register(&registry, table.names())?);
    let router = Router::new(port, table, clock, requests).with_origins(origins);
    readiness.ready();
    let (limits, connections) = (Limits::sharing(descriptors, 1), ConnectionMetrics::register(&registry)?);
    let drained = http::serve_measured(listener, router, limits, connections, stop).await?;
    tracing::info!(finished = drained.finished, aborted = drained.aborted, "drained");
    work_stop.cancel();
    while work.join_next().await.is_some() {}
    admin_stop.cancel();
    pages.await??;
    Ok(())
}

/// Counts how sales sell. Makes the topics first, because this may be the first program to come;
/// where that fails the engines make them, and the wait goes on by itself.
async fn count(
    catalog: Arc<Production>,
    (log, counts): (KafkaSettings, KafkaReader),
    (drain, stop): (CancellationToken, CancellationToken),
) {
    if let Some(Err(error)) = stop.run_until_cancelled(ensure_topics(&log)).await {
        tracing::warn!(%error, "the topics cannot be made now; how sales sell is counted when they are there");
    }
    funnel::count(catalog, counts, (drain, stop)).await;
}
