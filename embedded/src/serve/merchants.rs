//! The merchants' service within this process: on the buyers' port, or, for a command on a folder
//! at rest, on a port of its own. The folder's control key is the secret of its operator.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use catalog::{
    funnel, house, jobs,
    outside::{ANSWER_DEADLINE, Outside, OutsideArgs},
    people::{FirstOwner, first_owner},
    ports::{Given, Selling},
    sales,
    service::{Catalog, Secrets},
    tenants,
    vault::Vault,
};
use domain::{id::PartitionId, record::Topic, stock::RunId};
use kit::{
    api::Served,
    clock::SystemClock,
    http::{self, Limits, RequestMetrics, Router, Table},
    metrics::Registry,
    random::SystemRandom,
};
use store::{
    log::{
        OrderLogSource as _,
        sqlite::{SqliteLog, SqliteSource},
    },
    sql::sqlite::Sqlite,
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::open;
use crate::{
    config::Config,
    demo::{DEMO_OWNER, DEMO_TENANT},
    deployment::Deployment,
    folder::Folder,
};

pub(super) type Service = Catalog<Given<Sqlite, SystemClock, SystemRandom, SqliteLog>>;

/// The service and its background work.
pub(super) struct Merchants {
    catalog: Arc<Service>,
    /// How the demo tenant's owner comes in.
    pub(super) owner: Option<FirstOwner>,
    stop: CancellationToken,
    work: JoinSet<()>,
}

impl Merchants {
    /// Starts the background work. Numbers of tenants whose sales are published are theirs. `demo`:
    /// makes the demo tenant with its owner. `drain`: no request comes after it.
    pub(super) async fn start(
        deployment: &Deployment<SystemClock>,
        folder: &Folder,
        (config, demo): (&Config, bool),
        drain: CancellationToken,
    ) -> anyhow::Result<Self> {
        let secrets = Secrets {
            operator: Some(folder.control_key()?),
            vault: Vault::new(&folder.vault_key()?)?,
            buyer_tokens: Some(folder.token_key()?),
        };
        let (sql, clock) = (deployment.catalog.clone(), deployment.clock);
        let logins =
            OutsideArgs { wechat_authority: named(&config.logins.wechat), sms_authority: named(&config.logins.sms) };
        let outside = Outside::new(&logins, ANSWER_DEADLINE).context("[logins] of the settings file")?;
        let (ledger, topic) = (deployment.databases.ledger.clone(), deployment.log.clone());
        let selling = Arc::new(Selling { ledger, topic, partitions: deployment.partitions });
        let catalog = Catalog::new(Given { sql, clock, random: SystemRandom::default(), selling }, secrets);
        let catalog = Arc::new(catalog.with_outside(outside).with_lanes(deployment.stock.clone()));
        let owner = match demo {
            true => first_owner(&catalog, (DEMO_TENANT, "Demo shop"), DEMO_OWNER).await?,
            false => None,
        };
        let published = deployment.databases.ledger.publications().all().await?;
        tenants::adopt(&catalog, &published.iter().map(|sale| sale.tenant.number()).collect()).await?;
        sales::adopt(&catalog).await?;
        let (stop, mut work) = (CancellationToken::new(), JoinSet::new());
        work.spawn(house::keep_house(Arc::clone(&catalog), stop.clone()));
        work.spawn(jobs::run(Arc::clone(&catalog), stop.clone()));
        let counts = SqliteSource::of(&deployment.log, Topic::Counts).reader(PartitionId(0))?;
        work.spawn(funnel::count(Arc::clone(&catalog), counts, (drain, stop.clone())));
        Ok(Self { catalog, owner, stop, work })
    }

    /// Shows what somebody has to look at.
    pub(super) fn show_alarms(&self, registry: &Registry) -> anyhow::Result<()> {
        Ok(self.catalog.alarms().show(registry)?)
    }

    /// Its routes.
    pub(super) fn served(&self) -> Served<Service> {
        Served(Arc::clone(&self.catalog))
    }

    /// The service itself, by which others of this process know the merchants' people.
    pub(super) fn service(&self) -> Arc<Service> {
        Arc::clone(&self.catalog)
    }

    /// Ends the background work, in order.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.work.join_next().await.is_some() {}
    }
}

fn named(authority: &str) -> Option<String> {
    (!authority.is_empty()).then(|| authority.to_owned())
}

/// The service of a folder that no server works on, for as long as a command asks it.
pub struct AtRest {
    /// Where it answers.
    pub address: SocketAddr,
    /// The secret of its operator.
    pub key: String,
    deployment: Deployment<SystemClock>,
    merchants: Merchants,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<http::DrainOutcome>>,
    /// Held, so that no server starts meanwhile.
    _folder: Folder,
}

impl AtRest {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// As [`serve`](super::serve()).
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let folder = Folder::open(&config.data)?;
        let deployment = open(&folder, config, RunId(0)).await?;
        let stop = CancellationToken::new();
        let merchants = Merchants::start(&deployment, &folder, (config, false), stop.clone()).await?;
        let listener = http::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).context("listening on a free port")?;
        let address = listener.local_addr()?;
        let table = Arc::new(Table::of::<Served<Service>>()?);
        let requests = Arc::new(RequestMetrics::register(&Registry::new()?, table.names())?);
        let router = Router::new(merchants.served(), table, deployment.clock, requests);
        let key = folder.control_key()?;
        let serving = tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
        Ok(Self { address, key, deployment, merchants, stop, serving, _folder: folder })
    }

    /// Ends it, in order.
    ///
    /// # Errors
    /// When its listener failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.serving.await??;
        self.merchants.stop().await;
        self.deployment.close().await;
        Ok(())
    }
}
