//! Reads: each asks only the tables that can hold the rows, all of them at once.

use std::collections::HashMap;

use domain::{
    id::{BuyerId, LaneId, OrderId, PurchaseNumber, SaleId, TenantId},
    order::OrderRow,
    shard::Home,
};

use super::{Orders, row::read};
use crate::sql::{Row, SIZE_MAX, Sql, SqlError, Value, all, stored};

impl<S: Sql> Orders<S> {
    /// The rows with these ids, as many as there are.
    ///
    /// # Errors
    /// [`SqlError`] of the first table that fails.
    pub async fn find(&self, ids: &[OrderId]) -> Result<HashMap<OrderId, OrderRow>, SqlError> {
        let keys = by_home(ids.iter().map(|&id| (self.map.home_of_order(id), id.stored())));
        let tables = keys.iter().map(async |(home, keys)| {
            let (db, texts) = (self.shard(home.shard)?, self.table(*home)?);
            let mut found = Vec::with_capacity(keys.len());
            for (query, keys) in texts.find.padded(keys) {
                found.extend(db.rows(query, keys.into_iter().map(Value::from).collect()).await?);
            }
            read_all(found)
        });
        let mut rows = HashMap::with_capacity(ids.len());
        for table in all(tables).await {
            rows.extend(table?.into_iter().map(|row| (row.order, row)));
        }
        Ok(rows)
    }

    /// Live purchases in a lane, of those of these buyers who have any: each with its number and
    /// units.
    ///
    /// # Errors
    /// [`SqlError`] of the first table that fails.
    pub async fn live_purchases(
        &self,
        lane: LaneId,
        buyers: &[BuyerId],
    ) -> Result<HashMap<BuyerId, Vec<(PurchaseNumber, u32)>>, SqlError> {
        let keys = by_home(buyers.iter().map(|&buyer| (self.map.home_of_buyer(buyer), buyer.stored())));
        let tables = keys.iter().map(async |(home, keys)| {
            let (db, texts) = (self.shard(home.shard)?, self.table(*home)?);
            let mut found = Vec::new();
            for (query, keys) in texts.live_purchases.padded(keys) {
                let mut params: Vec<Value> = keys.into_iter().map(Value::from).collect();
                params.push(lane.stored().into());
                found.extend(db.rows(query, params).await?);
            }
            Ok::<_, SqlError>(found)
        });
        let mut purchases: HashMap<BuyerId, Vec<(PurchaseNumber, u32)>> = HashMap::new();
        for table in all(tables).await {
            for mut row in table? {
                let (buyer, number, units) = (row.id(BuyerId::new)?, row.number()?, row.number()?);
                purchases.entry(buyer).or_default().push((PurchaseNumber(number), units));
            }
        }
        Ok(purchases)
    }

    /// How many orders expired of those of these buyers who let any expire, in a shop, with ids
    /// from `from` on.
    ///
    /// # Errors
    /// [`SqlError`] of the first table that fails.
    pub async fn expired_of(
        &self,
        tenant: TenantId,
        buyers: &[BuyerId],
        from: u64,
    ) -> Result<HashMap<BuyerId, u64>, SqlError> {
        let keys = by_home(buyers.iter().map(|&buyer| (self.map.home_of_buyer(buyer), buyer.stored())));
        let from = stored(from)?;
        let tables = keys.iter().map(async |(home, keys)| {
            let (db, texts) = (self.shard(home.shard)?, self.table(*home)?);
            let mut found = Vec::new();
            for (query, keys) in texts.expired_of.padded(keys) {
                let mut params: Vec<Value> = keys.into_iter().map(Value::from).collect();
                params.extend([tenant.stored().into(), from.into()]);
                found.extend(db.rows(query, params).await?);
            }
            Ok::<_, SqlError>(found)
        });
        let mut expired = HashMap::new();
        for table in all(tables).await {
            for mut row in table? {
                expired.insert(row.id(BuyerId::new)?, row.number()?);
            }
        }
        Ok(expired)
    }

    /// A buyer's orders in a shop, newest first, at most `limit` of those before `before`.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn of_buyer(
        &self,
        tenant: TenantId,
        buyer: BuyerId,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderRow>, SqlError> {
        let home = self.map.home_of_buyer(buyer);
        let before = before.map_or(i64::MAX, OrderId::stored);
        let params = vec![buyer.stored().into(), tenant.stored().into(), before.into(), limit.into()];
        read_all(self.shard(home.shard)?.rows(&self.table(home)?.of_buyer, params).await?)
    }

    /// Those of them that take units of this sale.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn live_of_buyer(
        &self,
        (tenant, buyer, sale): (TenantId, BuyerId, SaleId),
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderRow>, SqlError> {
        let home = self.map.home_of_buyer(buyer);
        let before = before.map_or(i64::MAX, OrderId::stored);
        let ids = [buyer.stored(), tenant.stored(), sale.stored(), before].map(Value::from);
        let params = ids.into_iter().chain([limit.into()]).collect();
        read_all(self.shard(home.shard)?.rows(&self.table(home)?.live_of_buyer, params).await?)
    }

    /// A page of a table's rows in these lanes, by order id: from `from` on, a number of
    /// [`OrderId::floor_at`], and after `after`, the last row of the page before. A page of less
    /// than `limit` rows is the last.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn scan(
        &self,
        home: Home,
        lanes: &[LaneId],
        from: u64,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderRow>, SqlError> {
        let from = stored(after.map_or(from, |after| from.max(after.get() + 1)))?;
        let (db, scan) = (self.shard(home.shard)?, &self.table(home)?.scan);
        let lanes: Vec<i64> = lanes.iter().map(|lane| lane.stored()).collect();
        let mut rows = Vec::new();
        for (query, lanes) in scan.padded(&lanes) {
            let mut params: Vec<Value> = lanes.into_iter().map(Value::from).collect();
            params.extend([from.into(), limit.into()]);
            rows.extend(read_all(db.rows(query, params).await?)?);
        }
        if lanes.len() > SIZE_MAX {
            // A page per group of lanes: the first rows of all of them are the page.
            rows.sort_unstable_by_key(|row| row.order);
            rows.truncate(limit as usize);
        }
        Ok(rows)
    }
}

/// Keys grouped by the table that holds them.
pub(super) fn by_home(keys: impl Iterator<Item = (Home, i64)>) -> HashMap<Home, Vec<i64>> {
    let mut homes: HashMap<Home, Vec<i64>> = HashMap::new();
    keys.for_each(|(home, key)| homes.entry(home).or_default().push(key));
    // A buyer asked for twice in two lists would count twice.
    homes.values_mut().for_each(|keys| {
        keys.sort_unstable();
        keys.dedup();
    });
    homes
}

pub(super) fn read_all(rows: Vec<Row>) -> Result<Vec<OrderRow>, SqlError> {
    rows.into_iter().map(read).collect()
}
