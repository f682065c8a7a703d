//! The order service within this process, on the buyers' port. Its providers are WeChat Pay and
//! Alipay, for who has an account in the file of accounts, and for the demo's shop the simulated
//! bank, which forgets its trades when the process ends: what was not paid then expires.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
};

use anyhow::Context as _;
use catalog::ports::{Answering, Asker};
use domain::{id::TenantId, record::Topic};
use kit::{
    access::Actor,
    api::{Api as _, Served},
    clock::SystemClock,
    http::{Both, HeaderMap, Method},
    metrics::Registry,
    problem::{Code, Problem},
    random::SystemRandom,
    token::TokenVerifier,
};
use orders::{
    follow::{self, Blocks, Following},
    life::{AllAccounts, Kinds, Life, Metrics, Ports, Staff, Vault, work},
    payment::accounts::FileAccounts,
    simulator::{Bank, SimulatedAccounts, Simulator},
};
use serde_json::Value as Json;
use store::{log::sqlite::SqliteSource, sql::sqlite::Sqlite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::merchants::Service;
use crate::demo::DEMO_TENANT;
use crate::{config::Config, deployment::Deployment, folder::Folder};

/// The merchants' people, as their service in this process knows them.
pub(super) struct People(Arc<Service>);

impl Staff for People {
    async fn actor(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        self.0.actor(token, method, headers).await
    }
}

/// What the merchants' service asks this one. Not held: each of the two would keep the other.
struct Known {
    life: Weak<Life<Here>>,
    following: Weak<Following<Here>>,
}

/// It has ended before who asks.
fn ended() -> Problem {
    Problem::new(Code::TemporarilyUnavailable, "the order service has ended with this process")
}

impl catalog::ports::OrderService for Known {
    fn orders<'a>(&'a self, asker: &'a Asker, query: &'a str) -> Answering<'a, Result<Json, Box<Problem>>> {
        Box::pin(async move {
            let following = self.following.upgrade().ok_or_else(ended)?;
            let tenant = TenantId::new(asker.actor.tenant.into());
            let tenant = tenant.map_err(|_nobodys| Problem::new(Code::NotFound, "there is no such shop"))?;
            let page = following.orders_of(tenant, query).await?;
            serde_json::to_value(&page).map_err(|error| {
                tracing::error!(%error, "orders cannot be written as JSON");
                Problem::new(Code::Internal, "a fault of ours; the trace id finds it in the log").into()
            })
        })
    }

    fn has_account(&self, tenant: u32) -> Answering<'_, Result<bool, String>> {
        Box::pin(async move {
            let life = self.life.upgrade().ok_or_else(|| ended().detail.into_owned())?;
            Ok(TenantId::new(tenant.into()).is_ok_and(|tenant| !life.providers(tenant).is_empty()))
        })
    }
}

/// The kinds of this deployment.
pub(super) struct Here;

impl Kinds for Here {
    type Sql = Sqlite;
    type Clock = SystemClock;
    type Random = SystemRandom;
    type Accounts = AllAccounts<SimulatedAccounts<SystemClock>, SystemClock, SystemRandom>;
    type Staff = People;
}

/// What it answers on the buyers' port.
type Routes = Both<Both<Served<Life<Here>>, Served<Following<Here>>>, Arc<Simulator<SystemClock>>>;

/// The service and its background work.
pub(super) struct OrderService {
    life: Arc<Life<Here>>,
    following: Arc<Following<Here>>,
    simulator: Arc<Simulator<SystemClock>>,
    stop: CancellationToken,
    work: JoinSet<()>,
}

impl OrderService {
    /// Starts the background work. `listen`: where buyers reach this process. With the demo its
    /// shop is paid in play money; nobody else is.
    pub(super) fn start(
        deployment: &Deployment<SystemClock>,
        (folder, listen, config): (&Folder, SocketAddr, &Config),
        people: Arc<Service>,
        (registry, drain): (&Registry, CancellationToken),
    ) -> anyhow::Result<Self> {
        let (origin, bank) = (format!("http://{listen}"), Bank::new(deployment.clock));
        let master = folder.control_key()?.parse().context("the control key")?;
        let simulated = SimulatedAccounts::new(bank.clone(), master, &origin);
        let shops = config.demo.then(|| TenantId::new(DEMO_TENANT.into())).transpose()?;
        let simulated = simulated.only(shops.into_iter().collect());
        let real = FileAccounts::open(config.payments.file(), deployment.clock, SystemRandom::default())?;
        let accounts = AllAccounts { simulated: simulated.clone(), real: real.clone() };
        let simulator =
            Simulator { bank, wechat: None, alipay: None, simulated: Vec::new(), accounts: Some(simulated), origin };
        let vault = Vault::new(&folder.vault_key()?)?;
        let ports = Ports {
            databases: deployment.databases.clone(),
            blocks: Blocks::new(deployment.listing.clone()),
            vault: vault.clone(),
            clock: deployment.clock,
            random: SystemRandom::default(),
            accounts,
            staff: People(Arc::clone(&people)),
            buyers: TokenVerifier::new(vec![folder.token_key()?])?,
        };
        let following = Arc::new(Following::new(follow::Ports {
            databases: deployment.databases.clone(),
            blocks: Blocks::new(deployment.listing.clone()),
            vault,
            clock: deployment.clock,
            staff: People(Arc::clone(&people)),
            buyers: TokenVerifier::new(vec![folder.token_key()?])?,
        }));
        let (life, simulator) = (Arc::new(Life::new(ports, Metrics::register(registry)?)), Arc::new(simulator));
        life.show(registry)?;
        real.show(registry)?;
        people.ask_orders(Known { life: Arc::downgrade(&life), following: Arc::downgrade(&following) });
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(work(Arc::clone(&life), stop.clone()));
        tasks.spawn(real.watch(stop.clone()));
        let events = (SqliteSource::of(&deployment.log, Topic::OrderEvents), deployment.partitions);
        tasks.spawn(follow::follow(Arc::clone(&following), events, (drain, stop.clone())));
        let (notices, stopped) = (Arc::clone(&simulator), stop.clone());
        tasks.spawn(async move { notices.deliver_until(stopped).await });
        Ok(Self { life, following, simulator, stop, work: tasks })
    }

    /// Its routes, and those of the bank's cashier.
    pub(super) fn served(&self) -> Routes {
        let life = Both(Served(Arc::clone(&self.life)), Served(Arc::clone(&self.following)));
        Both(life, Arc::clone(&self.simulator))
    }

    /// Ends the background work, in order.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.work.join_next().await.is_some() {}
    }
}
