//! `distribution serve`: the service of commissions as a process of its own. Any number of them
//! work side by side.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use domain::{id::TenantId, record::Topic};
use kit::{
    access::Actor,
    api::Served,
    clock::SystemClock,
    http::{HeaderMap, Method},
    merchants::Merchants,
    ports::{SecondPort, listen},
    problem::Problem,
    random::SystemRandom,
    settings::{AdminArgs, DatabaseArgs, KafkaArgs, PartitionArgs, Secret, TokenArgs},
    shutdown::on_signals,
};
use store::{
    consumer,
    log::kafka::{KafkaSettings, KafkaSource, ensure_topics},
    sql::{
        Sql as _,
        mysql::{MySql, MySqlServer, Settings},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    database,
    intake::Intakes,
    metrics::Metrics,
    payouts::{Bill, BillState, NoAnswer, Payouts, SimulatedPayouts},
    service::{Distribution, Kinds, Ports, Staff, work},
    share::ShareKey,
};

/// The kinds of the production deployment.
struct Production;

impl Kinds for Production {
    type Sql = MySql;
    type Clock = SystemClock;
    type Random = SystemRandom;
    type Staff = Merchants;
    type Payouts = PlayMoney;
}

impl Staff for Merchants {
    async fn actor(&self, token: &str, _method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        Self::actor(self, token, headers).await
    }
}

/// The simulated channel, for the shops that are paid in play money; no other has one.
#[derive(Debug)]
struct PlayMoney {
    tenants: Vec<TenantId>,
    simulated: SimulatedPayouts,
}

impl Payouts for PlayMoney {
    fn serves(&self, tenant: TenantId) -> bool {
        self.tenants.contains(&tenant)
    }

    async fn send(&self, bill: &Bill) -> Result<BillState, NoAnswer> {
        // A shop that was taken off the list keeps its bills where they are.
        if self.serves(bill.tenant) { self.simulated.send(bill).await } else { Err(NoAnswer) }
    }
}

/// What the service is told.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address at which engines reach it. Not for buyers.
    #[arg(long, env = "FLASHSALE_DISTRIBUTION_LISTEN", default_value = "127.0.0.1:8085")]
    pub listen: SocketAddr,

    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,

    /// The log: what becomes of orders is read there.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// How the order log is divided.
    #[command(flatten)]
    pub order_log: PartitionArgs,

    /// The keys of buyers' tokens: distributors are buyers.
    #[command(flatten)]
    pub tokens: TokenArgs,

    /// Where the merchants' service is: it knows people and keys.
    #[arg(long, env = "FLASHSALE_CATALOG_URL", default_value = "http://127.0.0.1:8082")]
    pub catalog_url: String,

    /// Under which share codes are signed; another one makes all that were given out void. By the
    /// environment, or `file:PATH`.
    #[arg(long, env = "FLASHSALE_SHARE_SECRET", hide_env_values = true)]
    pub share_secret: Secret,

    /// Tenants whose distributors are paid in play money, separated by commas. Others have no
    /// channel yet, and no withdrawal of theirs is taken.
    #[arg(long, env = "FLASHSALE_PLAY_PAYOUT_TENANTS", value_delimiter = ',')]
    pub play_payout_tenants: Vec<TenantId>,

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
}

/// Serves until a signal, then drains.
///
/// # Errors
/// What a person can do about each stands in its text.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let stop = on_signals()?;
    let (buyers, staff) = (args.tokens.verifier()?, Merchants::at(&args.catalog_url)?);
    let second = SecondPort::open(&args.admin)?;
    second.registry.sampled(|samples| samples.add_all(consumer::figures(&[crate::intake::CONSUMER])))?;
    let listener = listen(args.listen)?;
    let server = MySqlServer::new(args.database.mysql_url.expose(), Settings::default())?;
    let sql = database::open(&server, &args.database.namespace).await.context("opening the database of commissions")?;
    let log = args.log();
    ensure_topics(&log).await.context("the topics of the log")?;
    let (clock, random) = (SystemClock::new(), SystemRandom::default());
    let metrics = Arc::new(Metrics::register(&second.registry)?);
    let ports: Ports<Production> = Ports {
        sql: sql.clone(),
        clock,
        random: random.clone(),
        staff,
        payouts: PlayMoney { tenants: args.play_payout_tenants, simulated: SimulatedPayouts::default() },
        buyers,
        share: ShareKey::derive(args.share_secret.expose().as_bytes()),
    };
    let service = Arc::new(Distribution::new(ports, Arc::clone(&metrics))?);
    let work_stop = CancellationToken::new();
    let intakes = Intakes { sql: sql.clone(), clock, random, metrics };
    let source = KafkaSource::of(&log, Topic::OrderEvents);
    let intake = tokio::spawn(intakes.run(source, log.partitions, work_stop.clone()));
    let work = tokio::spawn(work(Arc::clone(&service), work_stop.clone()));
    second.serve(listener, Served(service), stop).await?;
    work_stop.cancel();
    work.await?;
    intake.await?;
    sql.close().await;
    Ok(second.close().await?)
}
