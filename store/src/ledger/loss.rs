//! Rows that a shard lost and the log cannot give back: noted before anything is done about them,
//! so that a crash forgets none, and kept for people.

use domain::{
    id::{Generation, OfferId, OrderId, PartitionId},
    shard::ShardId,
};

use super::Ledger;
use crate::sql::{Row, Sql, SqlError, stored};

const OPEN: &str = "SELECT generation, shard, from_offset, to_offset FROM losses \
                    WHERE partition_id = ? AND done_at = 0 ORDER BY generation, shard, from_offset";
const UNITS: &str = "SELECT offer, units FROM lost_orders WHERE partition_id = ? AND order_id = 0";
const FORGET_UNITS: &str = "DELETE FROM lost_orders WHERE partition_id = ? AND offer = ? AND order_id = 0";

/// Rows of one shard whose records the log does not hold any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The partition whose records are gone.
    pub partition: PartitionId,
    /// The generation whose offsets these are.
    pub generation: Generation,
    /// The shard that lost their rows.
    pub shard: ShardId,
    /// The shard's progress: rows of the records before this offset are there.
    pub from: u64,
    /// Rows of the records from this offset on can be written again from the log.
    pub to: u64,
}

/// What stays lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostOrder {
    /// The offer whose units are missing.
    pub offer: OfferId,
    /// The order; `None` for units that no row tells of.
    pub order: Option<OrderId>,
    /// Units that no row holds any more.
    pub units: u64,
    /// Why they are lost, in a sentence for operators.
    pub cause: String,
}

impl<S: Sql> Ledger<S> {
    /// Notes a loss; `false` if it is noted.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn note_loss(&self, loss: Loss) -> Result<bool, SqlError> {
        let insert = format!(
            "INSERT INTO losses (partition_id, generation, shard, from_offset, to_offset, found_at, done_at, rebuilt) \
             VALUES (?, ?, ?, ?, ?, {}, 0, 0)",
            S::NOW_MS
        );
        let params = vec![
            loss.partition.0.into(),
            loss.generation.0.into(),
            loss.shard.0.into(),
            stored(loss.from)?.into(),
            stored(loss.to)?.into(),
        ];
        self.db.insert_absent(&insert, params).await
    }

    /// The losses of a partition about which nothing was done yet.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn open_losses(&self, partition: PartitionId) -> Result<Vec<Loss>, SqlError> {
        let read = |mut row: Row| {
            let (generation, shard) = (Generation(row.number()?), ShardId(row.number()?));
            Ok(Loss { partition, generation, shard, from: row.number()?, to: row.number()? })
        };
        self.db.rows(OPEN, vec![partition.0.into()]).await?.into_iter().map(read).collect()
    }

    /// Notes what stays lost. Of the units of an offer the last that was told counts; 0 takes it
    /// back.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn note_lost(&self, partition: PartitionId, lost: &LostOrder) -> Result<(), SqlError> {
        let insert = format!(
            "INSERT INTO lost_orders (partition_id, offer, order_id, units, cause, found_at) VALUES (?, ?, ?, ?, ?, {})",
            S::NOW_MS
        );
        if lost.order.is_none() {
            self.db.exec(FORGET_UNITS, vec![partition.0.into(), lost.offer.stored().into()]).await?;
        }
        if lost.units == 0 {
            return Ok(());
        }
        let params = vec![
            partition.0.into(),
            lost.offer.stored().into(),
            lost.order.map_or(0, OrderId::stored).into(),
            stored(lost.units)?.into(),
            lost.cause.as_str().into(),
        ];
        self.db.insert_absent(&insert, params).await.map(drop)
    }

    /// A loss is dealt with: so many of its rows were written again.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn close_loss(&self, loss: Loss, rebuilt: u64) -> Result<(), SqlError> {
        let update = format!(
            "UPDATE losses SET done_at = {}, rebuilt = ? \
             WHERE partition_id = ? AND generation = ? AND shard = ? AND from_offset = ?",
            S::NOW_MS
        );
        let params = vec![
            stored(rebuilt)?.into(),
            loss.partition.0.into(),
            loss.generation.0.into(),
            loss.shard.0.into(),
            stored(loss.from)?.into(),
        ];
        self.db.exec(&update, params).await.map(drop)
    }

    /// Units of each offer of a partition that are sold and that no row tells of.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn lost_units(&self, partition: PartitionId) -> Result<Vec<(OfferId, u64)>, SqlError> {
        let rows = self.db.rows(UNITS, vec![partition.0.into()]).await?;
        rows.into_iter().map(|mut row| Ok((row.id(OfferId::new)?, row.number()?))).collect()
    }
}
