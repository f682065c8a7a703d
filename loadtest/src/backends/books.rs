//! What the books say of payments: the tables beside the order rows, added up.

use domain::{id::TenantId, shard::ShardId};
use store::sql::{Sql, SqlError, Value, stored};

use super::{Backends, BackendsError, LaneWitness, of};
use crate::life::Books;

/// Rows of an amount and how often it is there: databases add up in types of their own.
/// Payments that came: attempts of state 3.
const PAID: &str =
    "SELECT amount, COUNT(*) FROM attempts WHERE tenant = ? AND order_id >= ? AND state = 3 GROUP BY amount";
/// Refunds of state 3: done.
const REFUNDED: &str =
    "SELECT amount, COUNT(*) FROM refunds WHERE tenant = ? AND order_id >= ? AND state = 3 GROUP BY amount";
/// What somebody is still to look at.
const WAITING: [&str; 2] = [
    "SELECT 0, COUNT(*) FROM attempts WHERE tenant = ? AND order_id >= ? AND next_at IS NOT NULL",
    "SELECT 0, COUNT(*) FROM refunds WHERE tenant = ? AND order_id >= ? AND next_at IS NOT NULL",
];
/// Releases on their way, of all tenants.
const OUTBOX: &str = "SELECT 0, COUNT(*) FROM outbox";

impl<S: Sql, W: LaneWitness> Backends<S, W> {
    /// What the books say of a tenant's payments for orders from this id on.
    ///
    /// # Errors
    /// [`BackendsError`] when the database does not answer.
    pub async fn books(&self, tenant: TenantId, since: u64) -> Result<Books, BackendsError> {
        let mut books = Books::default();
        for shard in (0..self.orders.map().shards()).map(ShardId) {
            let of_tenant = || vec![tenant.stored().into(), stored(since).unwrap_or(i64::MAX).into()];
            let (paid, received) = self.sum(shard, PAID, of_tenant()).await?;
            let (refunds, refunded) = self.sum(shard, REFUNDED, of_tenant()).await?;
            (books.paid, books.received) = (books.paid + paid, books.received + received);
            (books.refunds, books.refunded) = (books.refunds + refunds, books.refunded + refunded);
            for query in WAITING {
                books.waiting += self.sum(shard, query, of_tenant()).await?.0;
            }
            books.outbox += self.sum(shard, OUTBOX, Vec::new()).await?.0;
        }
        Ok(books)
    }

    /// How many, and their sum.
    async fn sum(&self, shard: ShardId, query: &str, params: Vec<Value>) -> Result<(u64, i64), BackendsError> {
        let of = of::<W, SqlError>(W::DATABASE);
        let (mut all, mut sum) = (0, 0);
        for mut row in self.orders.beside(shard, query, params).await.map_err(&of)? {
            let (amount, count) = (row.int().map_err(&of)?, row.int().map_err(&of)?);
            (all, sum) = (all + count.unsigned_abs(), sum + amount * count);
        }
        Ok((all, sum))
    }
}
