//! A folder of databases, and a clock that stands still unless it is turned.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use store::sql::sqlite::{Settings, SqliteServer};
use tempfile::TempDir;

use crate::suite::support::Adapter;

/// Short, so that tests of waiting are.
pub(super) fn settings() -> Settings {
    Settings { lock_wait: Duration::from_secs(1), statement_timeout: Duration::from_secs(30), ..Settings::default() }
}

#[derive(Clone)]
pub(super) struct Folder {
    root: Arc<TempDir>,
    pub(super) now_ms: Arc<AtomicU64>,
}

impl Folder {
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now_ms = Arc::new(AtomicU64::new(now.as_millis() as u64));
        Self { root: Arc::new(TempDir::new().unwrap()), now_ms }
    }

    /// Where the databases are. Made by the first of them.
    pub(super) fn path(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(super) fn file(&self, database: &str) -> PathBuf {
        self.path().join(format!("{database}.db"))
    }

    pub(super) fn server_in(&self, path: PathBuf) -> SqliteServer {
        let clock = Arc::clone(&self.now_ms);
        SqliteServer::new(path, Arc::new(move || clock.load(Relaxed)), settings()).unwrap()
    }
}

impl Adapter for Folder {
    type Server = SqliteServer;

    fn server(&self) -> SqliteServer {
        self.server_in(self.path())
    }
}
