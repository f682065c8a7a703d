//! Databases in a folder that goes away with the test.

use std::{sync::Arc, time::SystemTime};

use store::sql::sqlite::{Settings, Sqlite, SqliteServer};
use tempfile::TempDir;

pub(crate) type Db = Sqlite;

/// Whether several write at the same time.
pub(crate) const IS_SERVER: bool = false;

/// Keeps the databases for as long as it is held.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn server(&self) -> SqliteServer {
        let now_ms = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
        SqliteServer::new(self.0.path().join("data"), Arc::new(now_ms), Settings::default()).unwrap()
    }

    pub(crate) fn namespace(&self) -> String {
        "shop".to_owned()
    }
}
