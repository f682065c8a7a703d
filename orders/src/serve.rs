//! `orders serve`: the order service as a process of its own, and `orders bank`: the simulated bank
//! as one. Any number of the first work side by side.

mod bank;
mod staff;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use domain::{id::TenantId, record::Topic, shard::ShardMap};
use kit::{
    api::Served,
    client::{Client, ClientLimits, Forward},
    clock::SystemClock,
    http::Both,
    merchants::Merchants,
    ports::{SecondPort, listen},
    random::SystemRandom,
    seal::key_of_setting,
    settings::{AdminArgs, Secret, StoreArgs, TokenArgs},
    shutdown::on_signals,
    telemetry,
};
use store::{
    consumer, controls,
    log::kafka::{KafkaSettings, KafkaSource, ensure_topics},
    shards,
    sql::{
        Sql as _,
        mysql::{MySql, MySqlServer, Settings},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    follow::{self, Blocks, Following},
    life::{AllAccounts, Kinds, Life, Metrics, Ports, Vault, work},
    payment::accounts::FileAccounts,
    simulator::RemoteAccounts,
};

pub use bank::{BankServeArgs, serve_bank};

use bank::Cashier;

/// The kinds of the production deployment.
struct Production;

impl Kinds for Production {
    type Sql = MySql;
    type Clock = SystemClock;
    type Random = SystemRandom;
    type Accounts = AllAccounts<Option<RemoteAccounts>, SystemClock, SystemRandom>;
    type Staff = Merchants;
}

/// What the service is told.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address at which engines reach it. Not for buyers.
    #[arg(long, env = "FLASHSALE_ORDERS_LISTEN", default_value = "127.0.0.1:8083")]
    pub listen: SocketAddr,

    /// The stores.
    #[command(flatten)]
    pub stores: StoreArgs,

    /// The keys of buyers' tokens.
    #[command(flatten)]
    pub tokens: TokenArgs,

    /// Where the merchants' service is: it knows people and keys.
    #[arg(long, env = "FLASHSALE_CATALOG_URL", default_value = "http://127.0.0.1:8082")]
    pub catalog_url: String,

    /// The file of tenants' accounts at WeChat Pay and Alipay; `orders accounts` prints one that
    /// explains itself. Without it nobody is paid there.
    #[arg(long, env = "FLASHSALE_PAYMENT_ACCOUNTS")]
    pub payment_accounts: Option<PathBuf>,

    /// Under which personal data and redeem codes are sealed, the key of the merchants' service: 32
    /// bytes in base64url. Who loses it loses the data. By the environment, or `file:PATH`.
    #[arg(long, env = "FLASHSALE_VAULT_KEY", hide_env_values = true)]
    pub vault_key: Secret,

    /// The simulated bank, if shops shall be paid in play money.
    #[command(flatten)]
    pub bank: BankArgs,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// The simulated bank, and whom it pays.
#[derive(Debug, Args)]
pub struct BankArgs {
    /// Where `orders bank` is. Without it nobody is paid in play money.
    #[arg(long, env = "FLASHSALE_BANK_URL", requires = "bank_secret")]
    pub bank_url: Option<String>,

    /// The bank's secret, as the bank has it. By the environment, or `file:PATH`.
    #[arg(long, env = "FLASHSALE_BANK_SECRET", hide_env_values = true)]
    pub bank_secret: Option<Secret>,

    /// Tenants whose orders are paid in play money, separated by commas; no others are.
    #[arg(long, env = "FLASHSALE_BANK_TENANTS", value_delimiter = ',')]
    pub bank_tenants: Vec<TenantId>,
}

impl BankArgs {
    fn accounts(&self) -> anyhow::Result<Option<RemoteAccounts>> {
        let Some((url, secret)) = self.bank_url.as_ref().zip(self.bank_secret.clone()) else { return Ok(None) };
        let bank = Client::new(url, ClientLimits::default())?;
        Ok(Some(RemoteAccounts::new(bank, secret, self.bank_tenants.clone())))
    }

    fn cashier(&self) -> anyhow::Result<Cashier> {
        Ok(Cashier(self.bank_url.as_deref().map(Forward::new).transpose()?))
    }
}

/// Serves until a signal, then drains.
///
/// # Errors
/// What a person can do about each stands in its text.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let stop = on_signals()?;
    let (buyers, simulated, cashier) = (args.tokens.verifier()?, args.bank.accounts()?, args.bank.cashier()?);
    let (clock, random) = (SystemClock::new(), SystemRandom::default());
    let real = FileAccounts::open(args.payment_accounts.clone(), clock, random.clone())?;
    let accounts = AllAccounts { simulated, real: real.clone() };
    let staff = Merchants::at(&args.catalog_url)?;
    let vault = key_of_setting(args.vault_key.expose());
    let vault =
        vault.context("FLASHSALE_VAULT_KEY is not 32 bytes in base64url: `head -c 32 /dev/urandom | base64`")?;
    let vault = Vault::new(&vault)?;
    let second = SecondPort::open(&args.admin)?;
    second.registry.sampled(|samples| samples.add_all(consumer::figures(&[follow::CONSUMER])))?;
    let listener = listen(args.listen)?;
    let server = MySqlServer::new(args.stores.mysql_url.expose(), Settings::default())?;
    let map = ShardMap::even(args.stores.shards, args.stores.tables)?;
    let databases = shards::open(&server, &args.stores.namespace, map).await.context("opening the databases")?;
    let listing = follow::open(&server, &args.stores.namespace).await.context("opening the database of lists")?;
    let log = log(&args.stores);
    ensure_topics(&log).await.context("the topics of the log")?;
    let following = Arc::new(Following::<Production>::new(follow::Ports {
        databases: databases.clone(),
        blocks: Blocks::new(listing.clone()),
        vault: vault.clone(),
        clock,
        staff: Merchants::at(&args.catalog_url)?,
        buyers: args.tokens.verifier()?,
    }));
    let (databases_of_life, blocks) = (databases.clone(), Blocks::new(listing.clone()));
    let ports: Ports<Production> =
        Ports { databases: databases_of_life, blocks, vault, clock, random, accounts, staff, buyers };
    let life = Arc::new(Life::new(ports, Metrics::register(&second.registry)?));
    life.show(&second.registry)?;
    tokio::spawn(controls::follow(databases.ledger.controls(), telemetry::set_filter));
    real.show(&second.registry)?;
    let work_stop = CancellationToken::new();
    let work = tokio::spawn(work(Arc::clone(&life), work_stop.clone()));
    let watch = tokio::spawn(real.watch(work_stop.clone()));
    let events = (KafkaSource::of(&log, Topic::OrderEvents), log.partitions);
    let follow = follow::follow(Arc::clone(&following), events, (stop.clone(), work_stop.clone()));
    let follow = tokio::spawn(follow);
    let served = Both(Both(Served(life), Served(following)), cashier);
    second.serve(listener, served, stop).await?;
    work_stop.cancel();
    work.await?;
    watch.await?;
    follow.await?;
    databases.close().await;
    listing.close().await;
    Ok(second.close().await?)
}

fn log(args: &StoreArgs) -> KafkaSettings {
    KafkaSettings::new(&args.kafka.kafka_brokers, args.namespace.as_str(), args.partitions.into())
        .with_copies(args.kafka.kafka_replication, args.kafka.kafka_min_insync)
}

#[cfg(test)]
mod tests {
    use kit::http::Table;

    use super::*;

    #[test]
    fn the_cashier_stands_beside_the_routes_of_orders() {
        let table =
            Table::of::<Both<Both<Served<Life<Production>>, Served<Following<Production>>>, Cashier>>().unwrap();
        let has = |name| table.names().contains(&name);
        assert!(has("pay_order") && has("order_stream") && has("cashier"));
    }
}
