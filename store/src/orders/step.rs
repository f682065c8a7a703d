//! Steps of one order by who keeps more about it than its row: a transaction of its shard, with the
//! row locked, in which the caller's own tables, the row and the outbox change together. What the
//! tables beside the row hold is the caller's; `migrations/orders/005-life.sql` and
//! `007-fulfilment.sql` make them.

use domain::{
    id::OrderId,
    order::{OrderRow, Transition},
    shard::ShardId,
};

use super::{Marked, Orders, OutboxRow, outbox, row::read};
use crate::sql::{Lock, Row, Sql, SqlError, Tx, Value, stored};

impl<S: Sql> Orders<S> {
    /// Begins a transaction in the shard of an order.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn begin(&self, order: OrderId) -> Result<S::Tx, SqlError> {
        self.shard(self.map.home_of_order(order).shard)?.begin().await
    }

    /// A shard's database, about the tables beside the rows.
    ///
    /// # Errors
    /// [`SqlError`] when there is no such shard.
    pub fn database(&self, shard: ShardId) -> Result<&S, SqlError> {
        self.shard(shard)
    }

    /// Begins a transaction in a shard, about the tables beside the rows.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn begin_in(&self, shard: ShardId) -> Result<S::Tx, SqlError> {
        self.shard(shard)?.begin().await
    }

    /// The row of an order, locked until the transaction ends; `None`: there is none.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn lock(&self, tx: &mut S::Tx, order: OrderId) -> Result<Option<OrderRow>, SqlError> {
        let table = self.table(self.map.home_of_order(order))?;
        let ids = [order.stored()];
        let Some((query, orders)) = table.find.padded(&ids).next() else { return Ok(None) };
        let rows = tx.lock_rows(query, orders.into_iter().map(Value::from).collect(), Lock::Wait).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// As [`Orders::mark`], within a transaction. After anything but [`Marked::Done`] the
    /// transaction is to be rolled back.
    ///
    /// # Errors
    /// As [`Orders::mark`].
    pub async fn step(
        &self,
        tx: &mut S::Tx,
        (order, transition): (OrderId, Transition),
        out: &OutboxRow,
    ) -> Result<Marked, SqlError> {
        let table = self.table(self.map.home_of_order(order))?;
        self.change_one(tx, table, (order, transition), Some(out)).await
    }

    /// Ends the time to pay of an unpaid order sooner, within a transaction. Whether it did.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn shorten(&self, tx: &mut S::Tx, order: OrderId, pay_by_ms: u64) -> Result<bool, SqlError> {
        let (table, pay_by) = (self.table(self.map.home_of_order(order))?, stored(pay_by_ms)?);
        let params = vec![pay_by.into(), order.stored().into(), pay_by.into()];
        Ok(tx.exec(&table.shorten, params).await? == 1)
    }

    /// Puts a record into the outbox that no transition makes.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn put_out(&self, tx: &mut S::Tx, out: &OutboxRow) -> Result<(), SqlError> {
        let mut values = Vec::with_capacity(self.texts.outbox_insert.columns());
        outbox::push(&mut values, out);
        tx.exec(self.texts.outbox_insert.single(), values).await.map(drop)
    }

    /// The rows of a query in a shard, about the tables beside the rows.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn beside(&self, shard: ShardId, query: &str, params: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        self.shard(shard)?.rows(query, params).await
    }

    /// One change in a shard, of the tables beside the rows. How many rows it matched.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn change_beside(&self, shard: ShardId, change: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        self.shard(shard)?.exec(change, params).await
    }
}
