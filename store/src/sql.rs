//! The portable face of a relational database, on which every repository is written once: `?`
//! placeholders; ids, times and money as `i64`; bytes as blobs. What dialects say differently is a
//! named operation here, never an `if` in a repository. It knows no table.

mod error;
mod fixed;
mod migration;
#[cfg(feature = "production")]
pub mod mysql;
#[cfg(feature = "embedded")]
pub mod sqlite;
mod value;

use std::future::Future;

use crate::figures::DatabaseFigures;

pub use error::SqlError;
pub(crate) use error::retried;
pub(crate) use fixed::SIZE_MAX;
pub use fixed::{Fixed, Insert};
pub(crate) use futures_util::future::join_all as all;
pub use migration::{Migration, Newer, pending};
pub use value::{Row, Value, loaded, stored};

/// Whether [`Tx::lock_rows`] waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Waits for rows that others hold, then fails with [`SqlError::LockWait`].
    Wait,
    /// Leaves out rows that others hold.
    SkipLocked,
}

/// A place where databases are made and opened: one server, one folder.
pub trait Server: Clone + Send + Sync + 'static {
    /// A handle to one of its databases.
    type Sql: Sql;

    /// Makes the database, unless it is there. Text in it MUST compare by its bytes.
    fn create(&self, database: &str) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// A handle with a pool of its own. Connects when first used.
    fn open(&self, database: &str) -> Self::Sql;

    /// All databases whose name begins with this. For tests, as is the next.
    fn databases(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, SqlError>> + Send;

    /// Destroys the database and all that is in it.
    fn destroy(&self, database: &str) -> impl Future<Output = Result<(), SqlError>> + Send;
}

/// A handle to one database, with its pool. Every call is bounded by a timeout and takes a
/// connection of its own; a call that is dropped, or that fails with [`SqlError::is_unknown`], MUST
/// NOT leave a half-used connection in the pool.
pub trait Sql: Clone + Send + Sync + 'static {
    /// Its transactions.
    type Tx: Tx;

    /// SQL expression: the database's clock in epoch milliseconds, as an integer. Times that
    /// programs compare come from here.
    const NOW_MS: &'static str;

    /// Whether a database of a newer program is opened.
    const NEWER: Newer;

    /// The rows of a query, in a transaction of its own.
    fn rows(&self, query: &str, params: Vec<Value>) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send;

    /// One change in a transaction of its own. Returns how many rows its WHERE matched, changed or
    /// not.
    fn exec(&self, change: &str, params: Vec<Value>) -> impl Future<Output = Result<u64, SqlError>> + Send;

    /// A plain INSERT of one row in a transaction of its own; `false` when one of its unique keys
    /// exists. Every other error MUST stay one.
    fn insert_absent(&self, insert: &str, params: Vec<Value>) -> impl Future<Output = Result<bool, SqlError>> + Send;

    /// Begins a transaction, READ COMMITTED or stricter.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, SqlError>> + Send;

    /// Applies those of this list that were not applied yet, in its order, each once, while no
    /// other process does the same; a crash half way is gone on from. Give the whole list: a
    /// database that has a later one was made by a newer program, and is refused as [`Sql::NEWER`]
    /// says. Returns how many were applied.
    fn migrate(&self, migrations: &[Migration]) -> impl Future<Output = Result<usize, SqlError>> + Send;

    /// How its pool is used, and what came of its statements.
    fn figures(&self) -> DatabaseFigures;

    /// Closes the pool's connections. Calls made later fail.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A transaction. Dropped without [`Tx::commit`] it is rolled back.
pub trait Tx: Send {
    /// The rows of a query.
    fn rows(&mut self, query: &str, params: Vec<Value>) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send;

    /// One change. Returns how many rows its WHERE matched, changed or not.
    fn exec(&mut self, change: &str, params: Vec<Value>) -> impl Future<Output = Result<u64, SqlError>> + Send;

    /// Inserts rows whose values stand one after the other, in as few round trips as the database
    /// allows. After an error a part of them may stand: roll back.
    fn insert(&mut self, insert: &Insert, values: Vec<Value>) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// As [`Sql::insert_absent`]; after `false` the transaction goes on.
    fn insert_absent(
        &mut self,
        insert: &str,
        params: Vec<Value>,
    ) -> impl Future<Output = Result<bool, SqlError>> + Send;

    /// Puts a row: `values` are those of the `key` columns, which MUST be the table's only unique
    /// key, then of the `set` columns, which are overwritten where the key exists.
    fn upsert(
        &mut self,
        table: &str,
        key: &[&str],
        set: &[&str],
        values: Vec<Value>,
    ) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// The rows of a query, locked against others until the transaction ends. Query by primary key
    /// or in its order: rows that are only looked at may be locked too.
    fn lock_rows(
        &mut self,
        query: &str,
        params: Vec<Value>,
        lock: Lock,
    ) -> impl Future<Output = Result<Vec<Row>, SqlError>> + Send;

    /// Makes it durable. After [`SqlError::is_unknown`] it may be or not: look.
    fn commit(self) -> impl Future<Output = Result<(), SqlError>> + Send;

    /// Undoes it. Where that cannot be said to the database, the connection is closed, which undoes
    /// it too.
    fn rollback(self) -> impl Future<Output = ()> + Send;
}
