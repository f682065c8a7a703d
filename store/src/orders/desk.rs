//! The desk's side: changes of status by compare-and-set, each with its outbox row in the same transaction (R1, R8).

use domain::{
    id::{LaneId, OrderId, PartitionId, RecordId},
    order::{OrderRow, Status},
    shard::{Home, ShardId},
};

use super::{Marked, Orders, OutboxRow, find::read_all, row::status, texts::TableTexts};
use crate::sql::{Row, Sql, SqlError, Tx, Value, retried, stored};

const OUTBOX: &str = "SELECT id, order_id, lane, partition_id, payload FROM outbox ORDER BY id LIMIT ?";

impl<S: Sql> Orders<S> {
    /// Changes an order's status, if it is `from`, and puts `release` into the shard's outbox in the same transaction.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; after [`SqlError::is_unknown`] read the row: it may be changed. `KeyTaken` for an
    /// outbox row whose id exists.
    pub async fn mark(
        &self,
        order: OrderId,
        from: Status,
        to: Status,
        release: Option<OutboxRow>,
    ) -> Result<Marked, SqlError> {
        let home = self.map.home_of_order(order);
        let (db, table) = (self.shard(home.shard)?, self.table(home)?);
        if release.as_ref().is_some_and(|row| row.order != order) {
            return Err(SqlError::Broken(format!("an outbox row of another order than {order}")));
        }
        let change = (order, from, to);
        retried(async || self.try_mark(db, table, change, release.as_ref()).await).await
    }

    async fn try_mark(
        &self,
        db: &S,
        table: &TableTexts,
        (order, from, to): (OrderId, Status, Status),
        release: Option<&OutboxRow>,
    ) -> Result<Marked, SqlError> {
        let mut tx = db.begin().await?;
        let marked = async {
            let params = vec![to.stored().into(), order.stored().into(), from.stored().into()];
            if tx.exec(&table.mark, params).await? == 0 {
                let found = tx.rows(&table.status, vec![order.stored().into()]).await?.into_iter().next();
                return found.map_or(Ok(Marked::NotFound), |mut row| status(&mut row).map(Marked::Conflict));
            }
            if let Some(row) = release {
                tx.exec(&self.texts.outbox_insert, outbox_values(row)).await?;
            }
            Ok(Marked::Done)
        }
        .await;
        match marked {
            Ok(Marked::Done) => tx.commit().await?,
            _ => tx.rollback().await,
        }
        marked
    }

    /// Orders still to be paid that were minted before `reserved_before_ms`, by the database's clock; oldest first. Walks the table
    /// from its beginning: for a sweep every few minutes, not for a request.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn overdue(&self, home: Home, reserved_before_ms: u64, limit: u32) -> Result<Vec<OrderRow>, SqlError> {
        let params = vec![stored(OrderId::floor_at(reserved_before_ms))?.into(), limit.into()];
        read_all(self.shard(home.shard)?.rows(&self.table(home)?.overdue, params).await?)
    }

    /// What a shard's outbox holds, by record id.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn outbox(&self, shard: ShardId, limit: u32) -> Result<Vec<OutboxRow>, SqlError> {
        let rows = self.shard(shard)?.rows(OUTBOX, vec![limit.into()]).await?;
        rows.into_iter().map(read_outbox).collect()
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

fn outbox_values(row: &OutboxRow) -> Vec<Value> {
    vec![
        row.id.stored().into(),
        row.order.stored().into(),
        row.lane.stored().into(),
        row.partition.0.into(),
        row.payload.clone().into(),
    ]
}

fn read_outbox(mut row: Row) -> Result<OutboxRow, SqlError> {
    Ok(OutboxRow {
        id: row.id(RecordId::new)?,
        order: row.id(OrderId::new)?,
        lane: row.id(LaneId::new)?,
        partition: PartitionId(row.number()?),
        payload: row.bytes()?,
    })
}
