//! A database in a folder that goes away with the test.

use std::{sync::Arc, time::SystemTime};

use catalog::database;
use store::{
    ledger::Ledger,
    shards::{Namespace, open_ledger},
    sql::Server as _,
    sql::sqlite::{Settings, Sqlite, SqliteServer},
};
use tempfile::TempDir;

use crate::suite::Topic;

pub(crate) type Db = Sqlite;

/// The names of all tables.
pub(crate) const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table'";

/// Keeps the database for as long as it is held.
pub(crate) struct Place {
    folder: TempDir,
    topic: Topic,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), topic: Topic::default() }
    }

    /// All that stands in its files.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.folder.path().join("data")).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    /// The topic of its sales.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    fn server(&self) -> SqliteServer {
        let now_ms = Arc::new(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64);
        SqliteServer::new(self.folder.path().join("data"), now_ms, Settings::default()).unwrap()
    }

    /// The ledger's database.
    pub(crate) async fn ledger(&self) -> Ledger<Db> {
        open_ledger(&self.server(), &Namespace::new("shop").unwrap()).await.unwrap()
    }

    /// The same, for what no repository does.
    pub(crate) async fn ledger_db(&self) -> Db {
        self.server().open(&Namespace::new("shop").unwrap().ledger())
    }

    /// The database; each call is as another process would open it.
    pub(crate) async fn open(&self) -> Db {
        database::open(&self.server(), &Namespace::new("shop").unwrap()).await.unwrap()
    }
}
