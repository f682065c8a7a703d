//! Lanes that are to be rebuilt whatever they look like, also by whoever takes their partition
//! over.

use domain::id::{LaneId, PartitionId};

use super::Ledger;
use crate::sql::{Sql, SqlError};

const ADD: &str = "INSERT INTO distrusted_lanes (lane) VALUES (?)";
const OF_PARTITION: &str =
    "SELECT d.lane FROM distrusted_lanes d JOIN lanes l ON l.lane = d.lane WHERE l.partition_id = ? ORDER BY d.lane";
const REMOVE: &str = "DELETE FROM distrusted_lanes WHERE lane = ?";

impl<S: Sql> Ledger<S> {
    /// Notes that a lane is to be rebuilt, unless it is noted.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn distrust(&self, lane: LaneId) -> Result<(), SqlError> {
        self.db.insert_absent(ADD, vec![lane.stored().into()]).await.map(drop)
    }

    /// The lanes of a partition that are to be rebuilt, by id.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn distrusted(&self, partition: PartitionId) -> Result<Vec<LaneId>, SqlError> {
        let rows = self.db.rows(OF_PARTITION, vec![partition.0.into()]).await?;
        rows.into_iter().map(|mut row| row.id(LaneId::new)).collect()
    }

    /// The lane was loaded.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn trust(&self, lane: LaneId) -> Result<(), SqlError> {
        self.db.exec(REMOVE, vec![lane.stored().into()]).await.map(drop)
    }
}
