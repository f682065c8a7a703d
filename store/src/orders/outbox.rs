//! The outbox: records on their way into the log (R8), read partition by partition, so that none
//! waits for another.

use std::collections::HashMap;

use domain::{
    id::{LaneId, OrderId, PartitionId, Position, RecordId},
    shard::ShardId,
};

use super::{Orders, OutboxRow, find::by_home};
use crate::sql::{Row, Sql, SqlError, Value, all, retried};

// A row without a kind is of a program that knew only releases.
macro_rules! columns {
    () => {
        "id, order_id, lane, partition_id, COALESCE(kind, 'flashsale.released.v1'), COALESCE(topic, 'orders'), payload"
    };
}
const OUTBOX: &str = concat!("SELECT ", columns!(), " FROM outbox ORDER BY id LIMIT ?");
// By the index (partition_id, id), as the next.
const OUTBOX_OF: &str =
    concat!("SELECT ", columns!(), " FROM outbox WHERE partition_id = ? AND id > ? ORDER BY id LIMIT ?");
const PARTITION_FROM: &str = "SELECT MIN(partition_id) FROM outbox WHERE partition_id >= ?";

impl<S: Sql> Orders<S> {
    /// What a shard's outbox holds, by record id: for who looks at all of it.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn outbox(&self, shard: ShardId, limit: u32) -> Result<Vec<OutboxRow>, SqlError> {
        let rows = self.shard(shard)?.rows(OUTBOX, vec![limit.into()]).await?;
        rows.into_iter().map(read).collect()
    }

    /// The partitions for which a shard's outbox holds rows, in order: one step in the index for
    /// each, however many rows there are.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn outbox_partitions(&self, shard: ShardId) -> Result<Vec<PartitionId>, SqlError> {
        let (db, mut found, mut from) = (self.shard(shard)?, Vec::new(), Some(0_u32));
        while let Some(least) = from {
            let row = db.rows(PARTITION_FROM, vec![least.into()]).await?.into_iter().next();
            let Some(next) = row.map(|mut row| row.int_or_null()).transpose()?.flatten() else { break };
            let next = u32::try_from(next).map_err(|_| SqlError::Broken(format!("{next} is no partition").into()))?;
            found.push(PartitionId(next));
            from = next.checked_add(1);
        }
        Ok(found)
    }

    /// A page of what a shard's outbox holds for one partition, by record id, after the last of the
    /// page before. A page of less than `limit` rows is the last.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn outbox_of(
        &self,
        shard: ShardId,
        partition: PartitionId,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, SqlError> {
        let params = vec![partition.0.into(), after.map_or(0, RecordId::stored).into(), limit.into()];
        self.shard(shard)?.rows(OUTBOX_OF, params).await?.into_iter().map(read).collect()
    }

    /// Where the releases of these orders stand in the log, of those that are decided.
    ///
    /// # Errors
    /// [`SqlError`] of the first table that fails.
    pub async fn releases_of(&self, orders: &[OrderId]) -> Result<HashMap<OrderId, Position>, SqlError> {
        let keys = by_home(orders.iter().map(|&order| (self.map.home_of_order(order), order.stored())));
        let tables = keys.iter().map(async |(home, keys)| {
            let (db, texts) = (self.shard(home.shard)?, self.table(*home)?);
            let mut found = Vec::with_capacity(keys.len());
            for (query, keys) in texts.released.padded(keys) {
                found.extend(db.rows(query, keys.into_iter().map(Value::from).collect()).await?);
            }
            Ok::<_, SqlError>(found)
        });
        let mut releases = HashMap::with_capacity(orders.len());
        for table in all(tables).await {
            for mut row in table? {
                releases.insert(row.id(OrderId::new)?, Position::unpack(row.int()?));
            }
        }
        Ok(releases)
    }

    /// Takes out of a shard's outbox what the ledger has passed (R8).
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn outbox_done(&self, shard: ShardId, ids: &[RecordId]) -> Result<(), SqlError> {
        let db = self.shard(shard)?;
        let mut ids: Vec<i64> = ids.iter().map(|id| id.stored()).collect();
        ids.sort_unstable();
        for (delete, ids) in self.texts.outbox_delete.padded(&ids) {
            let params: Vec<Value> = ids.into_iter().map(Value::from).collect();
            retried(async || db.exec(delete, params.clone()).await).await?;
        }
        Ok(())
    }
}

/// The values of a row, as `outbox_insert` has them.
pub(super) fn push(values: &mut Vec<Value>, row: &OutboxRow) {
    values.extend([
        row.id.stored().into(),
        row.order.stored().into(),
        row.lane.stored().into(),
        row.partition.0.into(),
        (&*row.kind).into(),
        (&*row.topic).into(),
        row.payload.clone().into(),
    ]);
}

fn read(mut row: Row) -> Result<OutboxRow, SqlError> {
    Ok(OutboxRow {
        id: row.id(RecordId::new)?,
        order: row.id(OrderId::new)?,
        lane: row.id(LaneId::new)?,
        partition: PartitionId(row.number()?),
        kind: row.text()?.into(),
        topic: row.text()?.into(),
        payload: row.bytes()?,
    })
}

#[cfg(test)]
mod tests {
    use domain::record::{RELEASED_TYPE, Topic};

    /// The names that stand in the statements.
    #[test]
    fn a_row_without_a_kind_is_a_release() {
        assert!(columns!().contains(&format!("COALESCE(kind, '{RELEASED_TYPE}')")));
        assert!(columns!().contains(&format!("COALESCE(topic, '{}')", Topic::Orders.name())));
    }
}
