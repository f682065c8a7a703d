//! A database in a folder that goes away with the test.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

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
    folder: PathBuf,
    _owned: Option<TempDir>,
    topic: Topic,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let owned = TempDir::new().unwrap();
        Self { folder: owned.path().to_owned(), _owned: Some(owned), topic: Topic::default() }
    }

    /// How another process names it.
    pub(crate) fn name(&self) -> String {
        self.folder.to_str().unwrap().to_owned()
    }

    /// The place of another process, which keeps it.
    pub(crate) fn of(name: &str) -> Self {
        Self { folder: name.into(), _owned: None, topic: Topic::default() }
    }

    /// All that stands in its files.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.folder.join("data")).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    /// The topic of its sales.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    fn server(&self) -> SqliteServer {
        let now_ms = Arc::new(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64);
        SqliteServer::new(self.folder.join("data"), now_ms, Settings::default()).unwrap()
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
