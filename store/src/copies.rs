//! Tables of the ledger's database that are copies of what `catalog` decides in its own: services
//! that never ask catalog read them. Each is made whole again and again, so that nothing of it can
//! stay wrong.

use std::{collections::BTreeMap, time::Duration};

use crate::sql::{Row, Sql, SqlError, Tx, Value};

/// One such table.
pub trait Copied {
    /// By what its rows are found.
    type Key: Ord;
    /// What they say.
    type Value: PartialEq;
    /// What it is, in a message.
    const NAME: &'static str;
    /// All rows, by key.
    const ALL: &'static str;
    /// Adds a key with its value.
    const INSERT: &'static str;
    /// Sets the value of a key; the value comes first.
    const UPDATE: &'static str;
    /// Removes a key.
    const DELETE: &'static str;

    /// A row of `ALL`.
    ///
    /// # Errors
    /// [`SqlError`] when it is not what catalog writes.
    fn read(row: Row) -> Result<(Self::Key, Self::Value), SqlError>;

    /// A key as it is stored.
    fn key(key: &Self::Key) -> Value;

    /// A value as it is stored.
    fn value(value: &Self::Value) -> Value;
}

/// The repository of such a table.
#[derive(Debug, Clone)]
pub struct Copies<S, T> {
    db: S,
    table: std::marker::PhantomData<fn() -> T>,
}

impl<S: Sql, T: Copied> Copies<S, T> {
    /// The repository over the ledger's database.
    pub const fn new(db: S) -> Self {
        Self { db, table: std::marker::PhantomData }
    }

    /// All that it has.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn all(&self) -> Result<BTreeMap<T::Key, T::Value>, SqlError> {
        self.db.rows(T::ALL, vec![]).await?.into_iter().map(T::read).collect()
    }

    /// Makes it these and no others, in one transaction; returns how many rows changed. Of two who
    /// do so at once the later one counts, or fails and comes again: both copy one original.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails, or another did the same at this moment.
    pub async fn put(&self, wanted: &BTreeMap<T::Key, T::Value>) -> Result<usize, SqlError> {
        let known = self.all().await?;
        let mut changes = Vec::new();
        for key in known.keys().filter(|key| !wanted.contains_key(*key)) {
            changes.push((key, T::DELETE, vec![T::key(key)]));
        }
        for (key, value) in wanted.iter().filter(|(key, value)| known.get(*key) != Some(value)) {
            changes.push(match known.contains_key(key) {
                true => (key, T::UPDATE, vec![T::value(value), T::key(key)]),
                false => (key, T::INSERT, vec![T::key(key), T::value(value)]),
            });
        }
        if changes.is_empty() {
            return Ok(0);
        }
        // In one order for everybody, so that two wait for each other once at most.
        changes.sort_by_key(|(key, ..)| *key);
        let changed = changes.len();
        let mut tx = self.db.begin().await?;
        for (_, change, values) in changes {
            if let Err(error) = tx.exec(change, values).await {
                tx.rollback().await;
                return Err(error);
            }
        }
        tx.commit().await?;
        Ok(changed)
    }

    /// Gives what it has to `put`, for ever. While the database is away, what was known stays.
    pub async fn follow(self, every: Duration, put: impl Fn(BTreeMap<T::Key, T::Value>)) {
        let mut is_away = false;
        loop {
            let read = self.all().await;
            let was_away = std::mem::replace(&mut is_away, read.is_err());
            match read {
                Ok(all) => put(all),
                // Once: the database's own figures tell the rest.
                Err(error) if !was_away => {
                    tracing::warn!(%error, "{} cannot be read; those known stay", T::NAME);
                }
                Err(_) => {}
            }
            tokio::time::sleep(every).await;
        }
    }
}
