//! SQLite: one file per database in one folder. A thread owns the connection that writes and
//! carries out one transaction after the other; some threads read beside it. Nothing of a call that
//! timed out or was dropped stays half done.

mod copy;
mod fault;
mod file;
mod threads;
mod tx;

use std::{
    fmt,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use super::{Migration, Newer, Row, Server, Sql, SqlError, Value};
use crate::{cause::Cause, figures::DatabaseFigures};
pub use copy::copy_file;
use file::OpenFile;
use threads::{Database, Queue};
pub use tx::SqliteTx;

/// The clock of all databases: epoch milliseconds.
pub type NowMs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a database is kept open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Threads that read, each with a connection of its own.
    pub readers: usize,
    /// Calls that wait for a thread's attention; more wait for room among them.
    pub queue: usize,
    /// How long a call waits for its turn; then nothing of it happened. A transaction waits as
    /// long, all its tries together, for another process that writes to the file.
    pub lock_wait: Duration,
    /// How long a statement may take once it has its turn; then it is interrupted.
    pub statement_timeout: Duration,
    /// Prepared statements kept per connection.
    pub statements_cached: usize,
    /// Memory for pages of the connection that writes, in KiB, at most.
    pub writer_cache_kib: u32,
    /// The same, of each that reads: the system keeps the file's pages in memory too.
    pub reader_cache_kib: u32,
    /// Pages of 4 KiB that the write-ahead log holds until they are copied into the file. More: a
    /// page that changes often is copied less often.
    pub checkpoint_pages: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            readers: 2,
            queue: 256,
            lock_wait: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            statements_cached: 256,
            writer_cache_kib: 8 * 1024,
            reader_cache_kib: 1024,
            checkpoint_pages: 4_000,
        }
    }
}

impl Settings {
    /// How long one try waits for another process.
    fn busy_wait(&self) -> Duration {
        self.lock_wait / super::error::TRIES_MAX
    }
}

/// A migration may rebuild a table.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);

/// Files next to a database's own: its write-ahead log, and the index of that.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// A folder of databases.
#[derive(Clone)]
pub struct SqliteServer {
    folder: PathBuf,
    now_ms: NowMs,
    settings: Settings,
}

impl fmt::Debug for SqliteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteServer").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl SqliteServer {
    /// The databases in this folder, which is made when the first of them is. It MUST be on a disk
    /// of this machine: the index of a write-ahead log is shared memory. `now_ms` is the clock that
    /// their statements see.
    ///
    /// # Errors
    /// [`SqlError::Broken`] for settings that cannot work.
    pub fn new(folder: PathBuf, now_ms: NowMs, settings: Settings) -> Result<Self, SqlError> {
        if settings.readers == 0 || settings.queue == 0 {
            let text = format!("these settings cannot work, give at least one reader and a queue of one: {settings:?}");
            return Err(SqlError::Broken(text.into()));
        }
        Ok(Self { folder, now_ms, settings })
    }

    fn path(&self, database: &str) -> Result<PathBuf, SqlError> {
        let fits = !database.is_empty() && database.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if fits {
            Ok(self.folder.join(format!("{database}.db")))
        } else {
            Err(SqlError::Broken(
                format!("{database:?} is no name of a database: use letters, digits and underscores").into(),
            ))
        }
    }
}

/// Work on files, away from the runtime's threads.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, SqlError> + Send + 'static) -> Result<T, SqlError> {
    spawn_blocking(work)
        .await
        .map_err(|error| SqlError::Broken(Cause::new(format!("work on files ended early: {error}"), error)))?
}

/// The file, and its name in the folder for good.
fn create(folder: &Path, path: &Path) -> Result<(), SqlError> {
    // Two connections that make one file at the same moment refuse each other. Two processes do not
    // share a data folder.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let synced = |folder: &Path| File::open(folder).and_then(|folder| folder.sync_all());
    if !folder.is_dir() {
        fs::create_dir_all(folder).map_err(|error| fault::of_system(folder, &error))?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        synced(parent.unwrap_or(Path::new("."))).map_err(|error| fault::of_system(folder, &error))?;
    }
    OpenFile::create(path)?;
    synced(folder).map_err(|error| fault::of_system(folder, &error))
}

fn remove(path: &Path) -> Result<(), SqlError> {
    let companions = COMPANIONS.map(|suffix| {
        let mut companion = path.as_os_str().to_owned();
        companion.push(suffix);
        PathBuf::from(companion)
    });
    for path in [path.to_owned()].iter().chain(&companions) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fault::of_system(path, &error)),
            _ => {}
        }
    }
    Ok(())
}

fn names(folder: &Path, prefix: &str) -> Result<Vec<String>, SqlError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| fault::of_system(folder, &error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| fault::of_system(folder, &error))?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".db")).map(str::to_owned));
    }
    names.retain(|name| name.starts_with(prefix));
    Ok(names)
}

impl Server for SqliteServer {
    type Sql = Sqlite;

    async fn create(&self, database: &str) -> Result<(), SqlError> {
        let (folder, path) = (self.folder.clone(), self.path(database)?);
        aside(move || create(&folder, &path)).await
    }

    fn open(&self, database: &str) -> Sqlite {
        // A name that is none opens no file, and each call says so.
        Sqlite { database: Arc::new(Database::new(self.path(database), self.now_ms.clone(), self.settings)) }
    }

    async fn databases(&self, prefix: &str) -> Result<Vec<String>, SqlError> {
        let (folder, prefix) = (self.folder.clone(), prefix.to_owned());
        aside(move || names(&folder, &prefix)).await
    }

    async fn destroy(&self, database: &str) -> Result<(), SqlError> {
        let path = self.path(database)?;
        aside(move || remove(&path)).await
    }
}

/// One database and its threads, which start with the first call and end with the last handle.
#[derive(Debug, Clone)]
pub struct Sqlite {
    database: Arc<Database>,
}

impl Sql for Sqlite {
    type Tx = SqliteTx;

    // A function of ours, so that a simulation may turn the clock.
    const NOW_MS: &'static str = "now_ms()";
    // One process has the folder: a newer program used it and is gone.
    const NEWER: Newer = Newer::Refused;

    async fn rows(&self, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let query = query.to_owned();
        self.database.run(Queue::Readers, move |file| file.rows(&query, &params)).await
    }

    async fn exec(&self, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        let change = change.to_owned();
        self.database.run(Queue::Writer, move |file| file.exec(&change, &params)).await
    }

    async fn insert_absent(&self, insert: &str, params: Vec<Value>) -> Result<bool, SqlError> {
        absent(self.exec(insert, params).await)
    }

    async fn begin(&self) -> Result<SqliteTx, SqlError> {
        SqliteTx::begin(&self.database).await
    }

    async fn migrate(&self, migrations: &[Migration]) -> Result<usize, SqlError> {
        let migrations = migrations.to_vec();
        self.database.run_for(Queue::Writer, MIGRATION_TIMEOUT, move |file| file.migrate(&migrations)).await
    }

    fn figures(&self) -> DatabaseFigures {
        self.database.figures()
    }

    async fn close(&self) {
        // What is under way ends first, and is bounded; what does not end in time is none of the
        // caller's business.
        let Settings { lock_wait, statement_timeout, .. } = self.database.settings();
        if let Some(ended) = self.database.close() {
            drop(timeout(lock_wait + statement_timeout, ended).await);
        }
    }
}

fn absent(inserted: Result<u64, SqlError>) -> Result<bool, SqlError> {
    match inserted {
        Ok(_) => Ok(true),
        Err(SqlError::KeyTaken(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
