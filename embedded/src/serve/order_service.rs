//! The order service within this process, on the buyers' port. Its provider is the simulated bank,
//! which forgets its trades when the process ends: what was not paid then expires.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use domain::id::TenantId;
use kit::{
    access::Actor,
    api::{Api as _, Served},
    client::ClientLimits,
    clock::SystemClock,
    http::{Both, HeaderMap, Method},
    metrics::Registry,
    problem::Problem,
    random::SystemRandom,
    token::TokenVerifier,
};
use orders::{
    life::{Kinds, Life, Ports, Staff, work},
    payment::notice::NoticeMetrics,
    simulator::{Bank, SimulatedAccounts, Simulator},
};
use store::sql::sqlite::Sqlite;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::merchants::{DEMO_TENANT, Service};
use crate::{deployment::Deployment, folder::Folder};

/// How often the bank looks for notices to send.
const NOTICES_EVERY: Duration = Duration::from_millis(200);

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

/// The service and its background work.
pub(super) struct OrderService {
    life: Arc<Life<Here>>,
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
        registry: &Registry,
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
        let ports = Ports {
            databases: deployment.databases.clone(),
            clock: deployment.clock,
            random: SystemRandom::default(),
            accounts,
            staff: People(people),
            buyers: TokenVerifier::new(vec![folder.token_key()?])?,
        };
        let (life, simulator) = (Arc::new(Life::new(ports, NoticeMetrics::register(registry)?)), Arc::new(simulator));
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(work(Arc::clone(&life), stop.clone()));
        tasks.spawn(send_notices(Arc::clone(&simulator), stop.clone()));
        Ok(Self { life, simulator, stop, work: tasks })
    }

    /// Its routes, and those of the bank's cashier.
    pub(super) fn served(&self) -> Both<Served<Life<Here>>, Arc<Simulator<SystemClock>>> {
        Both(Served(Arc::clone(&self.life)), Arc::clone(&self.simulator))
    }

    /// Ends the background work, in order.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.work.join_next().await.is_some() {}
    }
}

async fn send_notices(simulator: Arc<Simulator<SystemClock>>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(NOTICES_EVERY)).await.is_some() {
        simulator.deliver(ClientLimits::default()).await;
    }
}
