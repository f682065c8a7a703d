//! The embedded deployment: its own opening of a folder, with a stock that tells each lane's count.

use std::{path::Path, sync::Arc};

use domain::{id::LaneId, stock::RunId};
use embedded::{
    config::{Config, Databases, Log},
    deployment::Deployment,
};
use kit::clock::SystemClock;
use store::{
    log::sqlite::{SoleMember, SqliteLog, SqliteSalesFollower, SqliteSource},
    shards::Store,
    sql::sqlite::Sqlite,
    stock::local::{LocalKeeping, LocalStock},
};
use tempfile::TempDir;

use super::{
    notes::{Call, Noted, note_answered},
    parts::{PARTITIONS, Stores},
    wave::{Back, Rig},
};

#[derive(Clone)]
pub(crate) struct EmbeddedStores(Deployment<SystemClock>);

impl Stores for EmbeddedStores {
    type Sql = Sqlite;
    type Stock = LocalStock;
    type Keeping = LocalKeeping;
    type Log = SqliteLog;
    type Source = SqliteSource;
    type Member = SoleMember;
    type Follower = SqliteSalesFollower;

    fn databases(&self) -> &Store<Sqlite> {
        &self.0.databases
    }

    fn stock(&self) -> LocalStock {
        self.0.stock.clone()
    }

    fn keeping(&self) -> LocalKeeping {
        self.0.keeping.clone()
    }

    fn log(&self) -> &SqliteLog {
        &self.0.log
    }

    fn source(&self) -> SqliteSource {
        self.0.source.clone()
    }

    fn member(&self) -> SoleMember {
        SoleMember::new(&self.0.log)
    }

    fn follower(&self) -> SqliteSalesFollower {
        self.0.follow_sales()
    }
}

/// A data folder, open.
pub(crate) struct EmbeddedRig {
    folder: TempDir,
    open: Option<EmbeddedStores>,
    runs: u64,
}

impl EmbeddedRig {
    async fn open(folder: &Path, run: RunId) -> EmbeddedStores {
        let config = Config {
            log: Log { partitions: PARTITIONS.try_into().unwrap() },
            databases: Databases { shards: 2, tables: 1 },
            ..Config::default()
        };
        let mut deployment = Deployment::open(folder, &config, run, SystemClock::new()).await.unwrap();
        begin_run(&mut deployment, run);
        EmbeddedStores(deployment)
    }
}

/// An empty stock, as a process begins with.
fn begin_run(deployment: &mut Deployment<SystemClock>, run: RunId) {
    deployment.stock = LocalStock::observed(run, Arc::new(note_answered));
    deployment.keeping = deployment.stock.keeping();
}

impl Rig for EmbeddedRig {
    type Stores = EmbeddedStores;
    const NAME: &'static str = "embedded";
    const PARTS_OUTLIVE_SERVERS: bool = false;

    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = Some(Self::open(folder.path(), RunId(1)).await);
        Self { folder, open, runs: 1 }
    }

    fn stores(&self) -> EmbeddedStores {
        self.open.clone().unwrap()
    }

    /// Another run of the process always, and with the servers the files are closed and opened too.
    async fn restart(&mut self, what: Back) {
        self.runs += 1;
        let run = RunId(self.runs);
        if what == Back::Servers {
            self.open.take().unwrap().0.databases.close().await;
            self.open = Some(Self::open(self.folder.path(), run).await);
        } else {
            begin_run(&mut self.open.as_mut().unwrap().0, run);
        }
    }

    fn order(&self, _lane: LaneId, mut noted: Vec<Noted>) -> Result<Vec<Call>, String> {
        noted.sort_unstable_by_key(|noted| noted.sequence);
        Ok(noted.into_iter().map(|noted| noted.call).collect())
    }

    async fn close(self) {
        self.open.unwrap().0.databases.close().await;
    }
}
