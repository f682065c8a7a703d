//! The stores of the embedded deployment, opened on a data folder, and how engine and order-writer come to them. It makes no decision.

use std::{path::Path, sync::Arc};

use domain::{
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
        SqlError,
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
    /// Opens the stores of a folder; makes what is missing. The lanes are empty, and so closed: the keeper derives them from ledger
    /// and log. `run` MUST be another one for each opening.
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
        let databases = shards::open(&server, &Namespace::new(NAMESPACE)?, map).await?;
        let (source, stock) = (SqliteSource::new(&log), LocalStock::new(run));
        Ok(Self { databases, log, source, partitions, keeping: stock.keeping(), stock, clock })
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
