//! Records that an operator set aside: the writer parks them and goes on.

use domain::id::{PartitionId, RecordId};

use super::Ledger;
use crate::sql::{Sql, SqlError, stored};

const SKIPS: &str = "SELECT log_offset, record_id FROM skips WHERE partition_id = ?";

impl<S: Sql> Ledger<S> {
    /// Offset and id of every record of a partition that was set aside. There are few: each is a
    /// decision of a person.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn skips(&self, partition: PartitionId) -> Result<Vec<(u64, Option<RecordId>)>, SqlError> {
        let rows = self.db.rows(SKIPS, vec![partition.0.into()]).await?;
        rows.into_iter().map(|mut row| Ok((row.number()?, RecordId::new(row.number()?).ok()))).collect()
    }

    /// Sets a record aside, for ever; `false` if it is.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn skip(&self, partition: PartitionId, offset: u64, record: Option<RecordId>) -> Result<bool, SqlError> {
        let insert = format!(
            "INSERT INTO skips (partition_id, log_offset, record_id, skipped_at) VALUES (?, ?, ?, {})",
            S::NOW_MS
        );
        let record = record.map_or(0, RecordId::stored);
        self.db.insert_absent(&insert, vec![partition.0.into(), stored(offset)?.into(), record.into()]).await
    }
}
