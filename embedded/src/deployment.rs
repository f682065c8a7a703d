//! The stores of the embedded deployment, opened on a data folder, and how engine and order-writer
//! come to them. It makes no decision.

use std::{path::Path, sync::Arc};

use domain::{
    id::SaleId,
    shard::{InvalidShardMap, ShardMap},
    stock::RunId,
};
use kit::{clock::Clock, exit::Exit};
use store::{
    figures::Calls,
    log::sqlite::{SqliteLog, SqliteSalesFollower, SqliteSettings, SqliteSetupError, SqliteSource},
    mismatch::is_mismatch,
    orders::Orders,
    shards::{self, InvalidNamespace, Namespace, OpenError, Store},
    sql::{
        Sql as _, SqlError,
        sqlite::{Settings, Sqlite, SqliteServer},
    },
    stock::{
        StockError,
        local::{LocalKeeping, LocalStock},
    },
};

use crate::config::Config;

/// What the names of the databases' files begin with.
pub const NAMESPACE: &str = "shop";
/// The order log's file.
pub const LOG_FILE: &str = "log.db";

/// Why the stores do not open.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The log.
    #[error(transparent)]
    Log(#[from] SqliteSetupError),
    /// The databases.
    #[error(transparent)]
    Databases(#[from] OpenError),
    /// Their settings.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The settings make no map of shards.
    #[error(transparent)]
    Map(#[from] InvalidShardMap),
    /// [`NAMESPACE`] is none.
    #[error(transparent)]
    Namespace(#[from] InvalidNamespace),
}

impl DeploymentError {
    /// The status with which a program ends whose stores do not open.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Log(error) if is_mismatch(error) => Exit::Mismatch,
            Self::Databases(error) if is_mismatch(error) => Exit::Mismatch,
            Self::Log(SqliteSetupError::Foreign(_)) | Self::Databases(OpenError::Sql(SqlError::Broken(_))) => {
                Exit::Data
            }
            Self::Map(_) | Self::Namespace(_) => Exit::Usage,
            Self::Log(_) | Self::Databases(_) | Self::Sql(_) => Exit::Disk,
        }
    }
}

/// The open stores.
#[derive(Clone)]
pub struct Deployment<C> {
    /// Rows and ledger.
    pub databases: Store<Sqlite>,
    /// Tenants, people, products, stock.
    pub catalog: Sqlite,
    /// Commissions.
    pub distribution: Sqlite,
    /// The merchants' lists of orders.
    pub listing: Sqlite,
    /// The order log, to append.
    pub log: SqliteLog,
    /// The order log, to read.
    pub source: SqliteSource,
    /// Its partitions.
    pub partitions: u32,
    /// The lanes, as the engine asks them.
    pub stock: LocalStock,
    /// The lanes, as the keeper asks them.
    pub keeping: LocalKeeping,
    /// The time.
    pub clock: C,
}

impl<C: Clock> Deployment<C> {
    /// Opens the stores of a folder; makes what is missing. The lanes are empty, and so closed: the
    /// keeper derives them from ledger and log. `run` MUST be another one for each opening.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn open(folder: &Path, config: &Config, run: RunId, clock: C) -> Result<Self, DeploymentError> {
        let told = clock.clone();
        let now_ms: Arc<dyn Fn() -> u64 + Send + Sync> = Arc::new(move || told.now_ms());
        let partitions = config.log.partitions.into();
        let log = SqliteLog::open(&folder.join(LOG_FILE), &SqliteSettings::new(partitions, Arc::clone(&now_ms)))?;
        let map = ShardMap::even(config.databases.shards, config.databases.tables)?;
        let server = SqliteServer::new(folder.to_owned(), now_ms, Settings::default())?;
        let namespace = Namespace::new(NAMESPACE)?;
        let databases = shards::open(&server, &namespace, map).await?;
        let catalog = catalog::database::open(&server, &namespace).await?;
        let distribution = distribution::database::open(&server, &namespace).await?;
        let listing = orders::follow::open(&server, &namespace).await?;
        let (source, stock) = (SqliteSource::new(&log), LocalStock::new(run));
        let keeping = stock.keeping();
        Ok(Self { databases, catalog, distribution, listing, log, source, partitions, keeping, stock, clock })
    }

    /// Closes the connections to all databases.
    pub async fn close(&self) {
        self.databases.close().await;
        self.catalog.close().await;
        self.distribution.close().await;
        self.listing.close().await;
    }

    /// Follows the published sales from the first on.
    pub fn follow_sales(&self) -> SqliteSalesFollower {
        SqliteSalesFollower::new(&self.log)
    }
}

impl<C: Clock> engine::service::Ports for Deployment<C> {
    type Stock = LocalStock;
    type Log = SqliteLog;
    type Sql = Sqlite;
    type Clock = C;

    async fn stock(&self) -> Result<LocalStock, StockError> {
        Ok(self.stock.clone())
    }

    fn stock_calls(stock: &LocalStock) -> impl Fn() -> Calls + Send + Sync + 'static {
        stock.calls()
    }

    fn rows(&self) -> Orders<Sqlite> {
        self.databases.orders.clone()
    }

    fn log(&self) -> SqliteLog {
        self.log.clone()
    }

    fn clock(&self) -> C {
        self.clock.clone()
    }
}

impl<C: Clock> order_writer::ports::Ports for Deployment<C> {
    type Sql = Sqlite;
    type Stock = LocalKeeping;
    type Log = SqliteLog;
    type Source = SqliteSource;
    type Clock = C;
}

/// The version of each published sale of a folder, which a server may work on.
///
/// # Errors
/// [`DeploymentError`].
pub(crate) async fn published<C: Clock>(folder: &Path, clock: C) -> Result<Vec<(SaleId, u32)>, DeploymentError> {
    let server = SqliteServer::new(folder.to_owned(), Arc::new(move || clock.now_ms()), Settings::default())?;
    let ledger = shards::look_ledger(&server, &Namespace::new(NAMESPACE)?).await?;
    let sales = ledger.publications().all().await?;
    ledger.close().await;
    Ok(sales.iter().map(|sale| (sale.id, sale.version)).collect())
}

#[cfg(test)]
mod tests {
    //! Goal: one clock, and whatever it is set to, the shop goes on. Method: ids minted on a real
    //! folder by a clock that is set while it runs, over restarts that give their lease back and
    //! others that do not.

    use std::{
        collections::{BTreeMap, HashSet},
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use domain::id::{BuyerId, OrderId, Slot};
    use engine::{
        mint::{LeaseKeeper, LeaseWatch, Mint, RENEW_EVERY},
        moment::Moment,
    };
    use kit::clock::ManualClock;

    use super::*;

    const NOW_MS: u64 = 1_795_300_000_000;
    const HOUR_MS: i64 = 3_600_000;
    /// Longer than a lease lives.
    const RUN_S: u64 = 90;

    #[derive(Clone, Default)]
    struct Fleet(Arc<AtomicU32>);

    impl LeaseWatch for Fleet {
        fn fleet(&self, engines: u32) {
            self.0.store(engines, Ordering::Relaxed);
        }
        fn minting(&self, _minting: Result<(), &'static str>) {}
    }

    /// A run of the shop from this wall time on, whose clock is set by `step_ms` half way. Returns
    /// what it minted, and where its clock ended.
    async fn run(folder: &Path, number: u64, start_ms: u64, step_ms: i64) -> (Vec<OrderId>, u64) {
        let clock = ManualClock::new(start_ms);
        let deployment = Deployment::open(folder, &Config::default(), RunId(number), clock.clone()).await.unwrap();
        let (mint, fleet) = (Arc::new(Mint::default()), Fleet::default());
        let ledger = deployment.databases.ledger.clone();
        let mut keeper = LeaseKeeper::new(ledger, clock.clone(), Arc::clone(&mint), format!("run {number}"));
        let slots = [1, 2].map(|buyer| Slot::of(BuyerId::new(buyer).unwrap()));
        let (mut minted, mut newest, mut next_round, mut refused_s) = (Vec::new(), BTreeMap::new(), Duration::ZERO, 0);
        for second in 0..RUN_S {
            if second == RUN_S / 2 {
                clock.set_wall(clock.now_ms().checked_add_signed(step_ms).unwrap());
            }
            if clock.monotonic() >= next_round {
                next_round = clock.monotonic() + keeper.round(&fleet).await;
            }
            for slot in slots {
                let Ok(order) = mint.mint(slot, Moment::of(&clock)) else {
                    refused_s += 1;
                    continue;
                };
                assert!(newest.insert(slot, order) < Some(order), "run {number}: ids of a slot rise");
                minted.push(order);
            }
            clock.advance(Duration::from_secs(1));
        }
        let allowed_s = if step_ms > 0 { slots.len() as u64 * (RENEW_EVERY.as_secs() + 1) } else { 0 };
        assert!(refused_s <= allowed_s, "run {number}: a step of {step_ms} ms stopped ids for {refused_s} s");
        if number.is_multiple_of(2) {
            keeper.keep(fleet.clone(), std::future::ready(())).await;
        }
        if step_ms <= -HOUR_MS {
            assert_eq!(fleet.0.load(Ordering::Relaxed), 1, "run {number}: leases of another time are no engines");
        }
        deployment.databases.close().await;
        (minted, clock.now_ms())
    }

    /// Failure line 30, embedded: a clock that is set back two hours stops no ids, nor does a
    /// restart then; one that is set ahead does for a renewal at most. No id comes twice, although
    /// runs mint at the same times of the wall.
    #[tokio::test]
    async fn ids_go_on_whatever_the_clock_is_set_to_and_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let (mut all, mut wall_ms) = (HashSet::new(), NOW_MS);
        for (number, step_ms) in (0..).zip([0, -2 * HOUR_MS, 0, 0, HOUR_MS, -HOUR_MS, -90_000, 90_000, -60_000, 0]) {
            let (minted, end_ms) = run(folder.path(), number, wall_ms, step_ms).await;
            for order in minted {
                assert!(all.insert(order), "run {number}: order {order} is minted twice");
            }
            wall_ms = end_ms;
        }
    }
}
