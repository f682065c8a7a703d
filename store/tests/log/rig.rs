//! A log in a folder of its own, under a clock of its own.

use std::{
    future::Future,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use domain::record::Topic;
use store::log::sqlite::{SqliteLog, SqliteSalesFollower, SqliteSettings, SqliteSource};
use tempfile::TempDir;

use crate::contract::{FIRST, PARTITIONS, PATIENCE, Rig};

/// Milliseconds for which the tests' logs keep records.
pub(super) const RETENTION_MS: u64 = 1_000;

pub(super) struct Folder {
    folder: TempDir,
    now_ms: Arc<AtomicU64>,
}

impl Folder {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), now_ms: Arc::new(AtomicU64::new(1_800_000_000_000)) }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }

    pub(super) fn settings(&self) -> SqliteSettings {
        let now_ms = Arc::clone(&self.now_ms);
        let settings = SqliteSettings::new(PARTITIONS, Arc::new(move || now_ms.load(Relaxed)));
        SqliteSettings { retention_ms: RETENTION_MS, ..settings }
    }

    pub(super) fn open(&self) -> SqliteLog {
        SqliteLog::open(&self.path(), &self.settings()).unwrap()
    }

    /// Everything that is in the log becomes old.
    pub(super) fn pass_retention(&self) {
        self.pass(2 * RETENTION_MS);
    }

    /// So many milliseconds pass.
    pub(super) fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Relaxed);
    }
}

pub(super) struct SqliteRig {
    folder: Folder,
    log: SqliteLog,
}

impl Rig for SqliteRig {
    type Log = SqliteLog;
    type Source = SqliteSource;
    type Follower = SqliteSalesFollower;
    type Dead = SqliteLog;

    fn log(&self) -> SqliteLog {
        self.log.clone()
    }

    fn narrow_log(&self, records_max: usize, bytes_max: usize) -> SqliteLog {
        let settings =
            SqliteSettings { queue_records_max: records_max, queue_bytes_max: bytes_max, ..self.folder.settings() };
        SqliteLog::open(&self.folder.path(), &settings).unwrap()
    }

    fn source_of(&self, topic: Topic) -> SqliteSource {
        SqliteSource::of(&self.log, topic)
    }

    fn follower(&self) -> SqliteSalesFollower {
        SqliteSalesFollower::new(&self.log)
    }

    fn dead(&self) -> SqliteLog {
        self.log.clone()
    }

    async fn delete_before(&self, offset: u64) {
        self.folder.pass_retention();
        self.log.keep_from(FIRST, offset + 1);
        assert_eq!(self.log.purge().await.unwrap(), offset);
    }

    async fn damage_sales(&self) {
        let raw = rusqlite::Connection::open(self.folder.path()).unwrap();
        let damage =
            "INSERT INTO sales (sale_id, sequence, payload) SELECT 9, max(sequence) + 1, x'ffffffffff' FROM sales";
        assert_eq!(raw.execute(damage, ()).unwrap(), 1);
    }
}

async fn on_fresh_folder<F: Future<Output = ()>>(rule: impl FnOnce(SqliteRig) -> F) {
    let folder = Folder::new();
    let log = folder.open();
    tokio::time::timeout(PATIENCE, rule(SqliteRig { folder, log })).await.expect("the test ends in time");
}

contract!(on_fresh_folder);

/// The same for readers that find nothing in memory.
mod without_memory {
    use super::*;

    async fn on_fresh_folder<F: Future<Output = ()>>(rule: impl FnOnce(SqliteRig) -> F) {
        let folder = Folder::new();
        let settings = SqliteSettings { tail_bytes_max: 0, ..folder.settings() };
        let log = SqliteLog::open(&folder.path(), &settings).unwrap();
        tokio::time::timeout(PATIENCE, rule(SqliteRig { folder, log })).await.expect("the test ends in time");
    }

    contract!(on_fresh_folder);
}
