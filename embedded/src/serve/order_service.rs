//! The order service within this process, on the buyers' port. Its provider is the simulated bank,
//! which forgets its trades when the process ends: what was not paid then expires.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use domain::{id::TenantId, record::Topic};
use kit::{
    access::Actor,
    api::{Api as _, Served},
    clock::SystemClock,
    http::{Both, HeaderMap, Method},
    metrics::Registry,
    problem::Problem,
    random::SystemRandom,
    token::TokenVerifier,
};
use orders::{
    follow::{self, Blocks, Following},
    life::{Kinds, Life, Ports, Staff, Vault, work},
    payment::notice::NoticeMetrics,
    simulator::{Bank, SimulatedAccounts, Simulator},
};
use store::{log::sqlite::SqliteSource, sql::sqlite::Sqlite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::merchants::{DEMO_TENANT, Service};
use crate::{deployment::Deployment, folder::Folder};

/// The merchants' people, as their service in this process knows them.
pub(super) struct People(Arc<Service>);

impl Staff for People {
    async fn actor(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        self.0.actor(token, method, headers).await
    }
}

/// The kinds of this deployment.
pub(super) struct Here;

impl Kinds for Here {
    type Sql = Sqlite;
    type Clock = SystemClock;
    type Random = SystemRandom;
    type Accounts = SimulatedAccounts<SystemClock>;
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
    /// Starts the background work. `listen`: where buyers reach this process. `demo`: the demo's
    /// shop is paid in play money; nobody else is.
    pub(super) fn start(
        deployment: &Deployment<SystemClock>,
        (folder, listen, demo): (&Folder, SocketAddr, bool),
        people: Arc<Service>,
        (registry, drain): (&Registry, CancellationToken),
    ) -> anyhow::Result<Self> {
        let (origin, bank) = (format!("http://{listen}"), Bank::new(deployment.clock));
        let master = folder.control_key()?.parse().context("the control key")?;
        let accounts = SimulatedAccounts::new(bank.clone(), master, &origin);
        let shops = demo.then(|| TenantId::new(DEMO_TENANT.into())).transpose()?;
        let accounts = accounts.only(shops.into_iter().collect());
        let known = accounts.clone();
        let has_account =
            move |tenant: u32| TenantId::new(tenant.into()).is_ok_and(|tenant| known.account(tenant).is_some());
        people.ask_accounts(has_account);
        let simulator = Simulator {
            bank,
            wechat: None,
            alipay: None,
            simulated: Vec::new(),
            accounts: Some(accounts.clone()),
            origin,
        };
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
            staff: People(people),
            buyers: TokenVerifier::new(vec![folder.token_key()?])?,
        }));
        let (life, simulator) = (Arc::new(Life::new(ports, NoticeMetrics::register(registry)?)), Arc::new(simulator));
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(work(Arc::clone(&life), stop.clone()));
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
