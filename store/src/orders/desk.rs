//! The desk's side: changes of status by compare-and-set, each with its outbox row in the same
//! transaction (R1, R8), one order or many.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    id::OrderId,
    order::{OrderRow, Status, Transition, Units},
    shard::Home,
};

use super::{Marked, Orders, OutboxRow, find::read_all, outbox, row::status, texts::TableTexts};
use crate::sql::{Lock, SIZE_MAX, Sql, SqlError, Tx, Value, retried, stored};

/// Orders that are marked in one transaction, at most: their rows are locked meanwhile, for some
/// tens of milliseconds.
pub const MARKED_MAX: usize = 500;
const _: () = assert!(MARKED_MAX <= SIZE_MAX);

impl<S: Sql> Orders<S> {
    /// Takes an order through a transition, if its status is the one before it, and puts `out` into
    /// the shard's outbox in the same transaction: the release of a transition that gives units
    /// back.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; after [`SqlError::is_unknown`] read the row: it may be
    /// changed. `KeyTaken` for an outbox row whose id exists. `Broken` for a transition that makes
    /// a row, before anything happens.
    pub async fn mark(
        &self,
        order: OrderId,
        transition: Transition,
        out: Option<OutboxRow>,
    ) -> Result<Marked, SqlError> {
        let home = self.map.home_of_order(order);
        let (db, table) = (self.shard(home.shard)?, self.table(home)?);
        if out.as_ref().is_some_and(|row| row.order != order) {
            return Err(SqlError::Broken(format!("an outbox row of another order than {order}").into()));
        }
        before(transition)?;
        retried(async || self.try_mark(db, table, (order, transition), out.as_ref()).await).await
    }

    async fn try_mark(
        &self,
        db: &S,
        table: &TableTexts,
        (order, transition): (OrderId, Transition),
        out: Option<&OutboxRow>,
    ) -> Result<Marked, SqlError> {
        let mut tx = db.begin().await?;
        let marked = self.change_one(&mut tx, table, (order, transition), out).await;
        match marked {
            Ok(Marked::Done) => tx.commit().await?,
            _ => tx.rollback().await,
        }
        marked
    }

    /// After anything but [`Marked::Done`] the transaction is to be rolled back.
    pub(super) async fn change_one(
        &self,
        tx: &mut S::Tx,
        table: &TableTexts,
        (order, transition): (OrderId, Transition),
        out: Option<&OutboxRow>,
    ) -> Result<Marked, SqlError> {
        let params = vec![transition.to().stored().into(), order.stored().into(), before(transition)?.stored().into()];
        // First, because it locks the row: attempts to pay are made under that lock.
        if tx.exec(&table.mark, params).await? == 0 {
            let found = tx.rows(&table.status, vec![order.stored().into()]).await?.into_iter().next();
            return found.map_or(Ok(Marked::NotFound), |mut row| status(&mut row).map(Marked::Conflict));
        }
        if ends_unpaid(transition) && !self.held(tx, &[order.stored()]).await?.is_empty() {
            return Ok(Marked::Held);
        }
        if let Some(row) = out {
            let mut values = Vec::with_capacity(self.texts.outbox_insert.columns());
            outbox::push(&mut values, row);
            tx.exec(self.texts.outbox_insert.single(), values).await?;
        }
        Ok(Marked::Done)
    }

    /// Those of these orders that have an attempt which is not closed, of rows that are locked.
    async fn held(&self, tx: &mut S::Tx, orders: &[i64]) -> Result<BTreeSet<OrderId>, SqlError> {
        let mut held = BTreeSet::new();
        for (query, orders) in self.texts.held.padded(orders) {
            for mut row in tx.rows(query, orders.into_iter().map(Value::from).collect()).await? {
                held.insert(row.id(OrderId::new)?);
            }
        }
        Ok(held)
    }

    /// Takes those of one table's orders that can through a transition, each with its release in
    /// the shard's outbox, in one transaction. What became of each order, by its id: one that has
    /// another status is left as it is, and keeps none of the others.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails: nothing is marked, but after [`SqlError::is_unknown`]
    /// all may be; asking again tells. `Broken` for more than [`MARKED_MAX`] orders, for one of
    /// another table, and for a transition that gives no units back, before anything happens.
    pub async fn mark_all(
        &self,
        home: Home,
        transition: Transition,
        releases: &[OutboxRow],
    ) -> Result<BTreeMap<OrderId, Marked>, SqlError> {
        if releases.len() > MARKED_MAX || releases.iter().any(|row| self.map.home_of_order(row.order) != home) {
            let text = format!("mark at most {MARKED_MAX} orders of one table at once, not {} of some", releases.len());
            return Err(SqlError::Broken(text.into()));
        }
        if transition.units() != Units::GivenBack {
            return Err(SqlError::Broken(format!("{transition:?} gives no units back").into()));
        }
        if releases.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (db, table) = (self.shard(home.shard)?, self.table(home)?);
        before(transition)?;
        retried(async || self.try_mark_all(db, table, transition, releases).await).await
    }

    async fn try_mark_all(
        &self,
        db: &S,
        table: &TableTexts,
        transition: Transition,
        releases: &[OutboxRow],
    ) -> Result<BTreeMap<OrderId, Marked>, SqlError> {
        let mut tx = db.begin().await?;
        match self.change_all(&mut tx, table, transition, releases).await {
            Ok(marked) => tx.commit().await.map(|()| marked),
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    async fn change_all(
        &self,
        tx: &mut S::Tx,
        table: &TableTexts,
        transition: Transition,
        releases: &[OutboxRow],
    ) -> Result<BTreeMap<OrderId, Marked>, SqlError> {
        let (from, to) = (before(transition)?, transition.to());
        let mut marked: BTreeMap<OrderId, Marked> = releases.iter().map(|row| (row.order, Marked::NotFound)).collect();
        let orders: Vec<i64> = marked.keys().map(|order| order.stored()).collect();
        // Rows are locked by primary key, as writers lock theirs, and those that are not `from` are
        // not touched.
        for (lock, orders) in table.lock.padded(&orders) {
            for mut row in tx.lock_rows(lock, orders.into_iter().map(Value::from).collect(), Lock::Wait).await? {
                let (order, now) = (row.id(OrderId::new)?, status(&mut row)?);
                marked.insert(order, if now == from { Marked::Done } else { Marked::Conflict(now) });
            }
        }
        if ends_unpaid(transition) {
            for order in self.held(tx, &orders).await? {
                marked.entry(order).and_modify(|marked| {
                    if *marked == Marked::Done {
                        *marked = Marked::Held;
                    }
                });
            }
        }
        let is_done = |order: &OrderId| marked.get(order) == Some(&Marked::Done);
        let orders: Vec<i64> = marked.keys().filter(|order| is_done(order)).map(|order| order.stored()).collect();
        for (update, orders) in table.mark_all.padded(&orders) {
            let mut params = vec![to.stored().into()];
            params.extend(orders.into_iter().map(Value::from));
            tx.exec(update, params).await?;
        }
        let mut values = Vec::with_capacity(orders.len() * self.texts.outbox_insert.columns());
        releases.iter().filter(|row| is_done(&row.order)).for_each(|row| outbox::push(&mut values, row));
        if !values.is_empty() {
            tx.insert(&self.texts.outbox_insert, values).await?;
        }
        Ok(marked)
    }

    /// Times to pay, in milliseconds, of a table's unpaid orders with ids above `after`, each with
    /// the lowest of them: there are few, since a sale or an engine's setting gives them.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn pay_windows(&self, home: Home, after: u64) -> Result<Vec<(u64, OrderId)>, SqlError> {
        let rows = self.shard(home.shard)?.rows(&self.table(home)?.pay_windows, vec![stored(after)?.into()]).await?;
        rows.into_iter().map(|mut row| Ok((row.number()?, row.id(OrderId::new)?))).collect()
    }

    /// The times to pay, in ms, of the newest rows of a table that are still to be paid, with ids
    /// above `after`: those of `limit` rows at most.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn newest_pay_windows(&self, home: Home, after: u64, limit: u32) -> Result<Vec<u64>, SqlError> {
        let params = vec![stored(after)?.into(), limit.into()];
        let rows = self.shard(home.shard)?.rows(&self.table(home)?.newest_pay_windows, params).await?;
        rows.into_iter().map(|mut row| row.number()).collect()
    }

    /// Orders of a table still to be paid whose time to pay ended at `now_ms` or before, by id,
    /// with ids above `after` and below `before`.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn due_between(
        &self,
        home: Home,
        (after, before): (u64, u64),
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<OrderRow>, SqlError> {
        let params = vec![stored(after)?.into(), stored(before)?.into(), stored(now_ms)?.into(), limit.into()];
        read_all(self.shard(home.shard)?.rows(&self.table(home)?.due_between, params).await?)
    }

    /// Orders of a table still to be paid that were minted before `reserved_before_ms`, by the
    /// database's clock; oldest first, after the last of the page before. The first page walks the
    /// table from its beginning: for a sweep every few minutes, not for a request.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn overdue(
        &self,
        home: Home,
        after: Option<OrderId>,
        reserved_before_ms: u64,
        limit: u32,
    ) -> Result<Vec<OrderRow>, SqlError> {
        let before = stored(OrderId::floor_at(reserved_before_ms))?;
        let params = vec![after.map_or(0, OrderId::stored).into(), before.into(), limit.into()];
        read_all(self.shard(home.shard)?.rows(&self.table(home)?.overdue, params).await?)
    }

    /// Orders of a table still to be paid whose time to pay ended at `now_ms` or before, by id,
    /// after the last of the page before. All pages together are one pass over the table.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn past_pay_by(
        &self,
        home: Home,
        after: Option<OrderId>,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<OrderRow>, SqlError> {
        let params = vec![after.map_or(0, OrderId::stored).into(), stored(now_ms)?.into(), limit.into()];
        read_all(self.shard(home.shard)?.rows(&self.table(home)?.past_pay_by, params).await?)
    }
}

/// Whether the buyer can no longer pay then: an attempt that is not closed forbids it.
const fn ends_unpaid(transition: Transition) -> bool {
    matches!(transition, Transition::Cancel | Transition::Expire)
}

/// The status that a row must have for the transition.
pub(super) fn before(transition: Transition) -> Result<Status, SqlError> {
    transition.from().ok_or_else(|| SqlError::Broken(format!("{transition:?} makes a row, and marks none").into()))
}
