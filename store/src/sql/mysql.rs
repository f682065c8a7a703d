//! MySQL 8+ and MariaDB 10.6+: pools of connections on which a timeout or a dropped call leaves
//! nothing half-used.

mod connection;
mod migrate;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use mysql_async::{
    Conn, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, Row as MyRow, Value as MyValue,
    prelude::Queryable,
};
use tokio::time::timeout;

use super::{Insert, Lock, Migration, Newer, Row, Server, Sql, SqlError, Tx, Value, pending};
use crate::{
    cause::Cause,
    figures::{CallCount, DatabaseFigures, PoolUse},
};
use connection::{Held, classify};

/// How a pool behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Connections to one database, at most.
    pub connections_max: usize,
    /// How long a call waits for a connection, a new one included.
    pub acquire_timeout: Duration,
    /// How long a statement may take; then its connection is closed.
    pub statement_timeout: Duration,
    /// How long the server lets a statement wait for a row that somebody else holds. Shorter than
    /// `statement_timeout`, or its clear error is never seen.
    pub lock_wait: Duration,
    /// Whether many rows go to a MariaDB as one array for a statement of one row, which costs it
    /// about a quarter less than a statement of many rows. `false` for a proxy that does not pass
    /// arrays on. MySQL has no arrays and always gets statements of many rows.
    pub arrays: bool,
    /// Prepared statements kept per connection. The inserts and lists of fixed sizes are about ten
    /// each per order table; the server counts them all (`max_prepared_stmt_count`).
    pub statements_cached: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 8,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            lock_wait: Duration::from_secs(2),
            arrays: true,
            statements_cached: 256,
        }
    }
}

/// A migration may rebuild a table.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a process waits for another that migrates, in seconds.
const MIGRATION_LOCK_S: u64 = 120;
/// How long the server waits for a session's next statement, for the rest of one, and for its
/// results to be read; then it ends the session, which undoes its transaction and gives its locks
/// back, those of migrations too. So a process that freezes, or whose host vanishes, holds up its
/// successor so long and no longer. A sound one is never so slow: nothing is waited for within a
/// transaction but the database.
const SESSION_IDLE: Duration = Duration::from_secs(5);
/// Connections that nobody uses are closed after that, before the server ends them; busy ones,
/// whose prepared statements count, live on.
const IDLE_MAX: Duration = Duration::from_secs(3);
/// How often the pool looks for them.
const IDLE_LOOK: Duration = Duration::from_secs(1);
const _: () = assert!(IDLE_MAX.as_secs() + IDLE_LOOK.as_secs() < SESSION_IDLE.as_secs());
/// All are closed some time after that: a new address of the server is followed.
const AGE_MAX: Duration = Duration::from_secs(3600);
const AGE_JITTER: Duration = Duration::from_secs(600);
/// A dead peer is noticed by the system after some of these.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A MySQL or MariaDB server.
#[derive(Debug, Clone)]
pub struct MySqlServer {
    opts: Opts,
    settings: Settings,
}

impl MySqlServer {
    /// The server at `mysql://user:password@host:port`; a database in the URL is not used, its
    /// options are.
    ///
    /// # Errors
    /// [`SqlError::Broken`] for another URL.
    pub fn new(url: &str, settings: Settings) -> Result<Self, SqlError> {
        if settings.lock_wait >= settings.statement_timeout || settings.connections_max == 0 {
            return Err(SqlError::Broken(format!("these settings cannot work: {settings:?}").into()));
        }
        // The URL holds a password: the error does not repeat it.
        let opts = Opts::from_url(url)
            .map_err(|error| SqlError::Broken(Cause::new(format!("no URL of a MySQL server: {error}"), error)))?;
        Ok(Self { opts, settings })
    }

    fn opts(&self, database: Option<&str>) -> Opts {
        let pool = PoolOpts::new()
            .with_constraints(PoolConstraints::new(0, self.settings.connections_max).unwrap_or_default())
            // A reset would throw the prepared statements away at each return.
            .with_reset_connection(false)
            .with_inactive_connection_ttl(IDLE_MAX)
            .with_ttl_check_interval(IDLE_LOOK)
            .with_abs_conn_ttl(Some(AGE_MAX))
            .with_abs_conn_ttl_jitter(Some(AGE_JITTER));
        let session = format!(
            "SET SESSION innodb_lock_wait_timeout = {}, time_zone = '+00:00', \
             sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
             wait_timeout = {idle}, net_read_timeout = {idle}, net_write_timeout = {idle}",
            self.settings.lock_wait.as_secs().max(1),
            idle = SESSION_IDLE.as_secs(),
        );
        OptsBuilder::from_opts(self.opts.clone())
            .db_name(database)
            .pool_opts(pool)
            .stmt_cache_size(self.settings.statements_cached)
            .client_found_rows(true)
            // One that is older is not given out, whether the pool has looked or not.
            .conn_ttl(IDLE_MAX)
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            .setup(vec![session, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".into()])
            .into()
    }

    /// A statement of the server itself, on a connection of its own.
    async fn run(&self, statement: &str) -> Result<Vec<MyRow>, SqlError> {
        let work = async {
            let mut connection = Conn::new(self.opts(None)).await?;
            let rows = connection.query(statement).await?;
            connection.disconnect().await?;
            Ok(rows)
        };
        let limit = MIGRATION_TIMEOUT;
        timeout(limit, work).await.map_err(|_| SqlError::Timeout(limit))?.map_err(classify)
    }
}

/// A database's name as an identifier.
fn quoted(database: &str) -> Result<String, SqlError> {
    let fits = !database.is_empty() && database.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits {
        Ok(format!("`{database}`"))
    } else {
        Err(SqlError::Broken(format!("{database:?} is no name of a database").into()))
    }
}

impl Server for MySqlServer {
    type Sql = MySql;

    async fn create(&self, database: &str) -> Result<(), SqlError> {
        let name = quoted(database)?;
        self.run(&format!("CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")).await?;
        Ok(())
    }

    fn open(&self, database: &str) -> MySql {
        let arrays = if self.settings.arrays { OnceLock::new() } else { OnceLock::from(false) };
        MySql {
            name: database.into(),
            pool: Pool::new(self.opts(Some(database))),
            settings: self.settings,
            arrays: Arc::new(arrays),
            statements: Arc::default(),
        }
    }

    async fn databases(&self, prefix: &str) -> Result<Vec<String>, SqlError> {
        let rows = self.run("SELECT schema_name FROM information_schema.schemata").await?;
        let names = rows.into_iter().map(|row| read(row)?.text());
        let names = names.collect::<Result<Vec<_>, _>>()?;
        Ok(names.into_iter().filter(|name| name.starts_with(prefix)).collect())
    }

    async fn destroy(&self, database: &str) -> Result<(), SqlError> {
        self.run(&format!("DROP DATABASE IF EXISTS {}", quoted(database)?)).await?;
        Ok(())
    }
}

/// One database and its pool. Belongs to the runtime that first used it.
#[derive(Debug, Clone)]
pub struct MySql {
    name: Arc<str>,
    pool: Pool,
    settings: Settings,
    /// Whether the server takes arrays of rows; unknown before the first insert of many.
    arrays: Arc<OnceLock<bool>>,
    statements: Arc<CallCount>,
}

impl MySql {
    async fn held(&self) -> Result<Held, SqlError> {
        Held::acquire(&self.pool, self.settings.acquire_timeout, &self.statements).await
    }

    async fn run<T>(&self, work: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>) -> Result<T, SqlError> {
        let mut held = self.held().await?;
        let result = held.run(self.settings.statement_timeout, work).await;
        held.give_back();
        result
    }
}

impl Sql for MySql {
    type Tx = MySqlTx;

    // NOW is the time at which the statement began; the session's zone is UTC.
    const NOW_MS: &'static str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
    // Programs of two versions run side by side in a rolling upgrade.
    const NEWER: Newer = Newer::RefusedWhenContracted;

    async fn rows(&self, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let params = bound(params);
        let rows: Vec<MyRow> = self.run(async |conn| conn.exec(query, params).await).await?;
        rows.into_iter().map(read).collect()
    }

    async fn exec(&self, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        let params = bound(params);
        self.run(async |conn| matched(conn, change, params).await).await
    }

    async fn insert_absent(&self, insert: &str, params: Vec<Value>) -> Result<bool, SqlError> {
        absent(self.exec(insert, params).await)
    }

    async fn begin(&self) -> Result<MySqlTx, SqlError> {
        let mut held = self.held().await?;
        let limit = self.settings.statement_timeout;
        held.run(limit, async |conn| conn.query_drop("START TRANSACTION").await).await?;
        Ok(MySqlTx { held, limit, arrays: self.arrays.clone() })
    }

    async fn migrate(&self, migrations: &[Migration]) -> Result<usize, SqlError> {
        // The lock belongs to the connection: whatever fails below closes it, and so gives the lock
        // back.
        let mut held = self.held().await?;
        let lock = format!("SELECT GET_LOCK(DATABASE(), {MIGRATION_LOCK_S})");
        let locked = held.run(MIGRATION_TIMEOUT, async |conn| conn.query_first::<Option<i64>, _>(lock).await).await?;
        if locked.flatten() != Some(1) {
            return Err(SqlError::LockWait("another process migrates this database".into()));
        }
        let applied = held.run(MIGRATION_TIMEOUT, migrate::prepare).await?;
        let pending = pending(migrations, &applied, Self::NEWER, &format!("the database {}", self.name))?;
        for migration in pending {
            held.run(MIGRATION_TIMEOUT, async |conn| migrate::run(conn, migration).await).await?;
        }
        let limit = self.settings.statement_timeout;
        held.run(limit, async |conn| conn.query_drop("DO RELEASE_LOCK(DATABASE())").await).await?;
        held.give_back();
        Ok(pending.len())
    }

    fn figures(&self) -> DatabaseFigures {
        let pool = self.pool.metrics();
        let read = |gauge: &AtomicUsize| u64::try_from(gauge.load(Relaxed)).unwrap_or(u64::MAX);
        DatabaseFigures {
            pool: PoolUse {
                in_use: read(&pool.connections_in_use),
                idle: read(&pool.connections_in_pool),
                waiting: read(&pool.active_wait_requests),
                max: u64::try_from(self.settings.connections_max).unwrap_or(u64::MAX),
            },
            statements: self.statements.read(),
        }
    }

    async fn close(&self) {
        // Waits for the calls that are under way, which are bounded; a failed goodbye is none of
        // the caller's business.
        let limit = self.settings.acquire_timeout + self.settings.statement_timeout;
        drop(timeout(limit, self.pool.clone().disconnect()).await);
    }
}

/// A transaction on a connection of its own.
#[derive(Debug)]
pub struct MySqlTx {
    held: Held,
    limit: Duration,
    arrays: Arc<OnceLock<bool>>,
}

impl MySqlTx {
    /// Asks the server what it is, once for all connections: the driver does not say.
    async fn takes_arrays(&mut self) -> Result<bool, SqlError> {
        if let Some(&known) = self.arrays.get() {
            return Ok(known);
        }
        let ask = async |conn: &mut Conn| conn.query_first::<String, _>("SELECT VERSION()").await;
        let version = self.held.run(self.limit, ask).await?;
        Ok(*self.arrays.get_or_init(|| version.is_some_and(|version| version.contains("MariaDB"))))
    }
}

impl Tx for MySqlTx {
    async fn rows(&mut self, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let params = bound(params);
        let rows: Vec<MyRow> = self.held.run(self.limit, async |conn| conn.exec(query, params).await).await?;
        rows.into_iter().map(read).collect()
    }

    async fn exec(&mut self, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        let params = bound(params);
        self.held.run(self.limit, async |conn| matched(conn, change, params).await).await
    }

    async fn insert(&mut self, insert: &Insert, values: Vec<Value>) -> Result<(), SqlError> {
        let arrays = self.takes_arrays().await?;
        let (count, columns) = (values.len(), insert.columns());
        let mut values = values.into_iter().map(bound_value);
        let mut next = |count| Params::Positional(values.by_ref().take(count).collect());
        if arrays {
            let rows: Vec<Params> = (0..count / columns).map(|_| next(columns)).collect();
            return self.held.run(self.limit, async |conn| conn.exec_batch(insert.single(), rows).await).await;
        }
        for (statement, count) in insert.statements(count) {
            let params = next(count);
            self.held.run(self.limit, async |conn| conn.exec_drop(statement, params).await).await?;
        }
        Ok(())
    }

    async fn insert_absent(&mut self, insert: &str, params: Vec<Value>) -> Result<bool, SqlError> {
        absent(self.exec(insert, params).await)
    }

    async fn upsert(&mut self, table: &str, key: &[&str], set: &[&str], values: Vec<Value>) -> Result<(), SqlError> {
        let columns = [key, set].concat();
        let marks = vec!["?"; columns.len()].join(", ");
        // VALUES() is old-fashioned in MySQL, but its successor is unknown to MariaDB.
        let set = set.iter().map(|column| format!("{column} = VALUES({column})")).collect::<Vec<_>>().join(", ");
        let columns = columns.join(", ");
        let upsert = format!("INSERT INTO {table} ({columns}) VALUES ({marks}) ON DUPLICATE KEY UPDATE {set}");
        self.exec(&upsert, values).await.map(drop)
    }

    async fn lock_rows(&mut self, query: &str, params: Vec<Value>, lock: Lock) -> Result<Vec<Row>, SqlError> {
        let lock = match lock {
            Lock::Wait => "FOR UPDATE",
            Lock::SkipLocked => "FOR UPDATE SKIP LOCKED",
        };
        self.rows(&format!("{query} {lock}"), params).await
    }

    async fn commit(mut self) -> Result<(), SqlError> {
        self.held.run(self.limit, async |conn| conn.query_drop("COMMIT").await).await?;
        self.held.give_back();
        Ok(())
    }

    async fn rollback(mut self) {
        if self.held.run(self.limit, async |conn| conn.query_drop("ROLLBACK").await).await.is_ok() {
            self.held.give_back();
        }
    }
}

async fn matched(conn: &mut Conn, change: &str, params: Params) -> mysql_async::Result<u64> {
    conn.exec_drop(change, params).await?;
    Ok(conn.affected_rows())
}

fn absent(inserted: Result<u64, SqlError>) -> Result<bool, SqlError> {
    match inserted {
        Ok(_) => Ok(true),
        Err(SqlError::KeyTaken(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn bound(params: Vec<Value>) -> Params {
    if params.is_empty() {
        return Params::Empty;
    }
    Params::Positional(params.into_iter().map(bound_value).collect())
}

fn bound_value(value: Value) -> MyValue {
    match value {
        Value::Null => MyValue::NULL,
        Value::Int(number) => MyValue::Int(number),
        Value::Text(text) => MyValue::Bytes(text.into_bytes()),
        Value::Bytes(bytes) => MyValue::Bytes(bytes.into()),
    }
}

fn read(row: MyRow) -> Result<Row, SqlError> {
    let values = row.unwrap().into_iter().map(|value| match value {
        MyValue::NULL => Ok(Value::Null),
        MyValue::Int(number) => Ok(Value::Int(number)),
        MyValue::UInt(number) => super::stored(number).map(Value::Int),
        MyValue::Bytes(bytes) => Ok(Value::Bytes(Bytes::from(bytes))),
        other => Err(SqlError::Broken(format!("a column of a type that is not used here: {other:?}").into())),
    });
    Ok(Row::new(values.collect::<Result<_, _>>()?))
}
