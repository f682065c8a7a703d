//! Leases of worker numbers, 0 to 255: they make order ids unique. A lease's end is by the
//! database's clock. Beside it stands the last millisecond that ids of the number may carry, by the
//! clock of its holder: a number is free when both are past, so that no id is minted twice however
//! clocks were set.

use super::{Ledger, WorkerLease};
use crate::sql::{Lock, Row, Sql, SqlError, Tx, retried, stored};

/// Milliseconds after its end, and after its last id, until a number is given again: engines stop
/// minting before, by clocks that may be off.
pub const WORKER_REST_MS: u64 = 60_000;

#[derive(Debug)]
pub(super) struct LeaseTexts {
    free: String,
    take: String,
    renew: String,
    release: String,
    live: String,
}

impl LeaseTexts {
    pub(super) fn new(now: &str) -> Self {
        Self {
            // In the order of the primary key, so that only the row that is taken stays locked.
            free: format!(
                "SELECT number FROM workers WHERE ends_at <= {now} - {WORKER_REST_MS} \
                 AND ids_until <= {now} - {WORKER_REST_MS} ORDER BY number LIMIT 1"
            ),
            take: format!("UPDATE workers SET holder = ?, ends_at = {now} + ?, ids_until = ? WHERE number = ?"),
            // A lease that ended is lost, though nobody else may have it yet.
            renew: format!(
                "UPDATE workers SET ends_at = {now} + ?, ids_until = ? \
                 WHERE number = ? AND holder = ? AND ends_at > {now}"
            ),
            release: format!(
                "UPDATE workers SET ends_at = {now}, ids_until = ? WHERE number = ? AND holder = ? AND ends_at > {now}"
            ),
            // Who lives prolongs often: a lease that ends later than one of now was given before
            // this clock was set back.
            live: format!(
                "SELECT (SELECT ends_at FROM workers WHERE number = ?), COUNT(*) FROM workers \
                 WHERE ends_at > {now} AND ends_at <= {now} + ?"
            ),
        }
    }
}

impl<S: Sql> Ledger<S> {
    /// Leases a free number to `holder`, a name that no other process has. `None` when there is
    /// none: all 256 are leased, or ended less than [`WORKER_REST_MS`] ago, or have ids that are
    /// not past, or are just being leased.
    ///
    /// `ids_until_ms`, in epoch milliseconds: the holder MUST mint no id that carries a later one
    /// before it prolongs the lease.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn lease_worker(
        &self,
        holder: &str,
        ttl_ms: u64,
        ids_until_ms: u64,
    ) -> Result<Option<WorkerLease>, SqlError> {
        retried(async || self.try_lease(holder, ttl_ms, ids_until_ms).await).await
    }

    async fn try_lease(&self, holder: &str, ttl_ms: u64, ids_until_ms: u64) -> Result<Option<WorkerLease>, SqlError> {
        let texts = &self.texts.lease;
        let mut tx = self.db.begin().await?;
        let free = tx.lock_rows(&texts.free, vec![], Lock::SkipLocked).await?;
        let Some(mut row) = free.into_iter().next() else {
            tx.rollback().await;
            return Ok(None);
        };
        let number: u8 = row.number()?;
        let (ttl, ids_until) = (stored(ttl_ms)?, stored(ids_until_ms)?);
        tx.exec(&texts.take, vec![holder.into(), ttl.into(), ids_until.into(), number.into()]).await?;
        let live = tx.rows(&texts.live, vec![number.into(), ttl.into()]).await?;
        tx.commit().await?;
        lease(number, holder, ttl_ms, live).map(Some)
    }

    /// Prolongs a lease from now on; `None` when it is lost: ended, or released. `ids_until_ms` as
    /// in [`Ledger::lease_worker`]; it MUST NOT be earlier than what the holder's ids carry by now.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails: the lease then goes on to its known end.
    pub async fn renew_worker(
        &self,
        held: &WorkerLease,
        ttl_ms: u64,
        ids_until_ms: u64,
    ) -> Result<Option<WorkerLease>, SqlError> {
        let texts = &self.texts.lease;
        let (ttl, ids_until) = (stored(ttl_ms)?, stored(ids_until_ms)?);
        let params = vec![ttl.into(), ids_until.into(), held.number.into(), held.holder.as_str().into()];
        let matched = retried(async || self.db.exec(&texts.renew, params.clone()).await).await?;
        if matched == 0 {
            return Ok(None);
        }
        let live = self.db.rows(&texts.live, vec![held.number.into(), ttl.into()]).await?;
        lease(held.number, &held.holder, ttl_ms, live).map(Some)
    }

    /// Ends a lease now; its number is free again [`WORKER_REST_MS`] later, and not before the last
    /// of its ids, which carries at most `ids_until_ms`, is past by as much. Nothing happens if it
    /// is lost.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn release_worker(&self, held: &WorkerLease, ids_until_ms: u64) -> Result<(), SqlError> {
        let params = vec![stored(ids_until_ms)?.into(), held.number.into(), held.holder.as_str().into()];
        retried(async || self.db.exec(&self.texts.lease.release, params.clone()).await).await.map(drop)
    }
}

fn lease(number: u8, holder: &str, ttl_ms: u64, live: Vec<Row>) -> Result<WorkerLease, SqlError> {
    let mut row = live.into_iter().next().ok_or_else(|| SqlError::Broken("leases gave no row".into()))?;
    // The moment of the change, not of this query: the lease does not live longer than it says.
    let database_now_ms = row.number::<u64>()?.saturating_sub(ttl_ms);
    Ok(WorkerLease { number, holder: holder.into(), live: row.number()?, database_now_ms, ttl_ms })
}
