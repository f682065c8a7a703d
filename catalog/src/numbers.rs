//! Numbers that this service gives: of tenants, people, products, all that has one. A process takes
//! them in blocks, so that a bulk import does not wait for a row per number; a gap means nothing.

use std::{collections::HashMap, ops::Range, sync::Arc};

use store::sql::{Lock, Sql, SqlError, Tx};
use tokio::sync::Mutex;

/// Numbers of a block.
const BLOCK: i64 = 100;

const LOOK: &str = "SELECT next_number FROM numbers WHERE kind = ?";
const FIRST: &str = "INSERT INTO numbers (kind, next_number) VALUES (?, 1)";
const RAISE: &str = "UPDATE numbers SET next_number = ? WHERE kind = ? AND next_number < ?";
const MOVE: &str = "UPDATE numbers SET next_number = ? WHERE kind = ?";

/// What has numbers. Each kind counts from 1 by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Numbered(pub &'static str);

/// Gives numbers. Clones share their blocks.
#[derive(Debug, Clone)]
pub struct Numbers<S> {
    db: S,
    left: Arc<Mutex<HashMap<Numbered, Range<i64>>>>,
}

impl<S: Sql> Numbers<S> {
    /// Numbers of this database.
    pub fn new(db: S) -> Self {
        Self { db, left: Arc::default() }
    }

    /// A number that nothing of this kind ever had.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; no number is lost by it that matters.
    pub async fn take(&self, kind: Numbered) -> Result<i64, SqlError> {
        Ok(self.take_many(kind, 1).await?.start)
    }

    /// So many numbers one after the other.
    ///
    /// # Errors
    /// As [`Numbers::take`].
    pub async fn take_many(&self, kind: Numbered, count: u32) -> Result<Range<i64>, SqlError> {
        let count = i64::from(count);
        let mut left = self.left.lock().await;
        let block = left.entry(kind).or_insert(0..0);
        if block.end - block.start < count {
            *block = self.fetch(kind, count.max(BLOCK)).await?;
        }
        let taken = block.start..block.start + count;
        block.start = taken.end;
        Ok(taken)
    }

    /// Gives no number below this one from now on: what is below has its number from elsewhere.
    ///
    /// # Errors
    /// As [`Numbers::take`].
    pub async fn begin_at(&self, kind: Numbered, first: i64) -> Result<(), SqlError> {
        let mut left = self.left.lock().await;
        let mut tx = self.db.begin().await?;
        tx.insert_absent(FIRST, vec![kind.0.into()]).await?;
        tx.exec(RAISE, vec![first.into(), kind.0.into(), first.into()]).await?;
        tx.commit().await?;
        // A block above it stays: what comes from elsewhere wastes no numbers.
        if left.get(&kind).is_some_and(|block| block.start < first) {
            left.remove(&kind);
        }
        Ok(())
    }

    async fn fetch(&self, kind: Numbered, count: i64) -> Result<Range<i64>, SqlError> {
        let mut tx = self.db.begin().await?;
        let fetched = async {
            tx.insert_absent(FIRST, vec![kind.0.into()]).await?;
            let rows = tx.lock_rows(LOOK, vec![kind.0.into()], Lock::Wait).await?;
            let row = rows.into_iter().next();
            let next = row.ok_or_else(|| SqlError::Broken("a row of numbers vanished".into()))?.int()?;
            tx.exec(MOVE, vec![(next + count).into(), kind.0.into()]).await?;
            Ok(next..next + count)
        }
        .await;
        match fetched {
            Ok(block) => tx.commit().await.map(|()| block),
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }
}
