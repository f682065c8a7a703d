//! A walk over a table's rows, for who makes lists of orders.

use domain::{
    id::{OfferId, OrderId, SaleId, TenantId},
    shard::Home,
};

use super::Orders;
use crate::sql::{Sql, SqlError, stored};

/// What a list is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The order.
    pub order: OrderId,
    /// Whose shop.
    pub tenant: TenantId,
    /// The sale.
    pub sale: SaleId,
    /// The offer.
    pub offer: OfferId,
}

impl<S: Sql> Orders<S> {
    /// A table's orders with ids above `after` and below `before`, by id. A page of less than
    /// `limit` is the last.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn listed(&self, home: Home, (after, before): (u64, u64), limit: u32) -> Result<Vec<Listed>, SqlError> {
        let params = vec![stored(after)?.into(), stored(before)?.into(), limit.into()];
        let rows = self.shard(home.shard)?.rows(&self.table(home)?.listed, params).await?;
        let read = rows.into_iter().map(|mut row| {
            Ok(Listed {
                order: row.id(OrderId::new)?,
                tenant: row.id(TenantId::new)?,
                sale: row.id(SaleId::new)?,
                offer: row.id(OfferId::new)?,
            })
        });
        read.collect()
    }
}
