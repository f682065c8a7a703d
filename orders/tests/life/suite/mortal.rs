//! A database whose client dies: at its n-th durable write, with nothing durable or with nobody
//! told. What it would have answered never comes; whoever waits is dropped, as a kill drops it, and
//! the database undoes what was not durable.

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use store::{
    figures::DatabaseFigures,
    sql::{Insert, Lock, Migration, Newer, Row, Server, Sql, SqlError, Tx, Value},
};
use tokio::sync::Notify;

/// When it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// All of the write is said, nothing is durable.
    Written,
    /// All of it is durable, nobody was told.
    Durable,
}

/// Which write is its last.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Writes until then, counted from 1.
    last: Mutex<Option<(u32, When)>>,
    pub(crate) met: Notify,
}

impl Fate {
    /// Dies at the n-th write from now.
    pub(crate) fn is(&self, nth: u32, when: When) {
        *self.last.lock().unwrap() = Some((nth, when));
    }

    /// Dies no more.
    pub(crate) fn is_averted(&self) {
        *self.last.lock().unwrap() = None;
    }

    /// Counts a write: how it ends, if it is the last.
    fn counted(&self) -> Option<When> {
        let mut last = self.last.lock().unwrap();
        let (left, when) = last.as_mut()?;
        *left = left.saturating_sub(1);
        (*left == 0).then_some(*when)
    }

    async fn over<T>(&self, write: impl Future<Output = T>) -> T {
        let when = self.counted();
        if when == Some(When::Written) {
            // What a transaction holds goes with its client.
            drop(write);
            self.met.notify_one();
            return pending().await;
        }
        let done = write.await;
        if when == Some(When::Durable) {
            self.met.notify_one();
            pending::<()>().await;
        }
        done
    }
}

/// A server of such databases.
#[derive(Clone)]
pub(crate) struct MortalServer<V>(pub(crate) V, pub(crate) Arc<Fate>);

impl<V: Server> Server for MortalServer<V> {
    type Sql = Mortal<V::Sql>;

    async fn create(&self, database: &str) -> Result<(), SqlError> {
        self.0.create(database).await
    }

    fn open(&self, database: &str) -> Mortal<V::Sql> {
        Mortal(self.0.open(database), Arc::clone(&self.1))
    }

    async fn databases(&self, prefix: &str) -> Result<Vec<String>, SqlError> {
        self.0.databases(prefix).await
    }

    async fn destroy(&self, database: &str) -> Result<(), SqlError> {
        self.0.destroy(database).await
    }
}

/// Such a database.
#[derive(Debug, Clone)]
pub(crate) struct Mortal<S>(S, Arc<Fate>);

/// A transaction of it.
pub(crate) struct MortalTx<T>(T, Arc<Fate>);

impl<S: Sql> Sql for Mortal<S> {
    type Tx = MortalTx<S::Tx>;

    const NOW_MS: &'static str = S::NOW_MS;
    const NEWER: Newer = S::NEWER;

    async fn rows(&self, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        self.0.rows(query, params).await
    }

    async fn exec(&self, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        self.1.over(self.0.exec(change, params)).await
    }

    async fn insert_absent(&self, insert: &str, params: Vec<Value>) -> Result<bool, SqlError> {
        self.1.over(self.0.insert_absent(insert, params)).await
    }

    async fn begin(&self) -> Result<Self::Tx, SqlError> {
        Ok(MortalTx(self.0.begin().await?, Arc::clone(&self.1)))
    }

    async fn migrate(&self, migrations: &[Migration]) -> Result<usize, SqlError> {
        self.0.migrate(migrations).await
    }

    fn figures(&self) -> DatabaseFigures {
        self.0.figures()
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

impl<T: Tx> Tx for MortalTx<T> {
    async fn rows(&mut self, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        self.0.rows(query, params).await
    }

    async fn exec(&mut self, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        self.0.exec(change, params).await
    }

    async fn insert(&mut self, insert: &Insert, values: Vec<Value>) -> Result<(), SqlError> {
        self.0.insert(insert, values).await
    }

    async fn insert_absent(&mut self, insert: &str, params: Vec<Value>) -> Result<bool, SqlError> {
        self.0.insert_absent(insert, params).await
    }

    async fn upsert(&mut self, table: &str, key: &[&str], set: &[&str], values: Vec<Value>) -> Result<(), SqlError> {
        self.0.upsert(table, key, set, values).await
    }

    async fn lock_rows(&mut self, query: &str, params: Vec<Value>, lock: Lock) -> Result<Vec<Row>, SqlError> {
        self.0.lock_rows(query, params, lock).await
    }

    async fn commit(self) -> Result<(), SqlError> {
        self.1.over(self.0.commit()).await
    }

    async fn rollback(self) {
        self.0.rollback().await;
    }
}
