//! A transaction: a session of the thread that writes, alone with it until it ends.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    absent,
    file::OpenFile,
    threads::{Database, Job},
};
use crate::sql::{Insert, Lock, Row, SqlError, Tx, Value};

/// A transaction. Nobody else writes to the database while it lasts: be brief.
#[derive(Debug)]
pub struct SqliteTx {
    database: Arc<Database>,
    /// Dropped, it ends the transaction.
    session: Option<mpsc::Sender<Job>>,
}

impl SqliteTx {
    pub(super) async fn begin(database: &Arc<Database>) -> Result<Self, SqlError> {
        let session = database.begin().await?;
        Ok(Self { database: Arc::clone(database), session: Some(session) })
    }

    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut OpenFile) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, SqlError> {
        let ended = || SqlError::Unreachable("the transaction ended before, with a call that failed".into());
        // Taken out while the call lasts: a call that is dropped, or whose outcome nobody knows,
        // ends the transaction.
        let session = self.session.take().ok_or_else(ended)?;
        let result = self.database.run_in(&session, work).await;
        if !result.as_ref().is_err_and(SqlError::is_unknown) {
            self.session = Some(session);
        }
        result
    }
}

impl Tx for SqliteTx {
    async fn rows(&mut self, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let query = query.to_owned();
        self.run(move |file| file.rows(&query, &params)).await
    }

    async fn exec(&mut self, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        let change = change.to_owned();
        self.run(move |file| file.exec(&change, &params)).await
    }

    async fn insert(&mut self, insert: &Insert, values: Vec<Value>) -> Result<(), SqlError> {
        let (single, columns) = (insert.single().to_owned(), insert.columns());
        self.run(move |file| file.insert(&single, columns, &values)).await
    }

    async fn insert_absent(&mut self, insert: &str, params: Vec<Value>) -> Result<bool, SqlError> {
        absent(self.exec(insert, params).await)
    }

    async fn upsert(&mut self, table: &str, key: &[&str], set: &[&str], values: Vec<Value>) -> Result<(), SqlError> {
        let columns = [key, set].concat();
        let marks = vec!["?"; columns.len()].join(", ");
        let set = set.iter().map(|column| format!("{column} = excluded.{column}")).collect::<Vec<_>>().join(", ");
        let (columns, key) = (columns.join(", "), key.join(", "));
        let upsert =
            format!("INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {set}");
        self.exec(&upsert, values).await.map(drop)
    }

    // Whoever has begun is the only one who writes: every row is locked already, and none is held
    // by others.
    async fn lock_rows(&mut self, query: &str, params: Vec<Value>, _: Lock) -> Result<Vec<Row>, SqlError> {
        self.rows(query, params).await
    }

    async fn commit(mut self) -> Result<(), SqlError> {
        self.run(OpenFile::commit).await
    }

    async fn rollback(mut self) {
        let undo = |file: &mut OpenFile| {
            file.roll_back();
            Ok(())
        };
        // Where that cannot be said, the end of the session says it.
        drop(self.run(undo).await);
    }
}
