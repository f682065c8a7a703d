//! Failed logins of an account, stored, and for how long it waits after them. An account that does
//! not exist fails and waits like one that does: a refusal tells nothing about who is there.

use std::time::Duration;

use store::sql::{Lock, Sql, SqlError, Tx, stored};

use crate::{memory::too_often, refused::Refused};

/// Failures without a wait.
const FREE: u32 = 4;
/// The first wait; each later one is twice as long.
const WAIT_MIN: Duration = Duration::from_secs(10);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(900);
/// An account without a failure for as long begins anew.
pub(super) const MEMORY: Duration = Duration::from_secs(24 * 3_600);

const LOOK: &str = "SELECT locked_until FROM login_failures WHERE tenant = ? AND email_digest = ?";
const FIRST: &str = "INSERT INTO login_failures (tenant, email_digest, failures, failed_at, locked_until) \
                     VALUES (?, ?, 0, ?, 0)";
const COUNTED: &str = "SELECT failures, failed_at FROM login_failures WHERE tenant = ? AND email_digest = ?";
const COUNT: &str = "UPDATE login_failures SET failures = ?, failed_at = ?, locked_until = ? \
                     WHERE tenant = ? AND email_digest = ?";
const CLEAR: &str = "DELETE FROM login_failures WHERE tenant = ? AND email_digest = ?";

/// An account as a login names it, whether there is one or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Its tenant; 0 where no tenant has the code.
    pub(super) tenant: u32,
    /// The keyed digest of its address.
    pub(super) email_digest: String,
}

/// Refuses while the account waits, also who knows its password.
///
/// # Errors
/// `rate_limited` that says until when.
pub(super) async fn check(db: &impl Sql, account: &Account, now_ms: u64) -> Result<(), Refused> {
    let rows = db.rows(LOOK, vec![account.tenant.into(), account.email_digest.as_str().into()]).await?;
    let Some(mut row) = rows.into_iter().next() else { return Ok(()) };
    let wait = row.number::<u64>()?.saturating_sub(now_ms);
    if wait == 0 {
        return Ok(());
    }
    Err(too_often("too many logins of this account failed; come back later", Duration::from_millis(wait)))
}

/// Counts a failure. Says how long the account waits now.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn count<T: Tx>(tx: &mut T, account: &Account, now_ms: u64) -> Result<Duration, SqlError> {
    let now = stored(now_ms)?;
    let key = || [account.tenant.into(), account.email_digest.as_str().into()];
    let [tenant, digest] = key();
    tx.insert_absent(FIRST, vec![tenant, digest, now.into()]).await?;
    let row = tx.lock_rows(COUNTED, key().into(), Lock::Wait).await?.into_iter().next();
    // Cleared between the two statements: the next try finds it or makes it.
    let mut row = row.ok_or_else(|| SqlError::LockWait("a count of failures vanished meanwhile".into()))?;
    let (failures, failed_at): (u32, u64) = (row.number()?, row.number()?);
    let is_old = now_ms.saturating_sub(failed_at) >= millis(MEMORY);
    let failures = if is_old { 1 } else { failures.saturating_add(1) };
    let wait = wait_after(failures);
    let until = if wait.is_zero() { 0 } else { stored(now_ms.saturating_add(millis(wait)))? };
    let [tenant, digest] = key();
    tx.exec(COUNT, vec![failures.into(), now.into(), until.into(), tenant, digest]).await?;
    Ok(wait)
}

/// Forgets the failures of an account whose person proved to be the right one.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn clear<T: Tx>(tx: &mut T, account: &Account) -> Result<(), SqlError> {
    tx.exec(CLEAR, vec![account.tenant.into(), account.email_digest.as_str().into()]).await.map(drop)
}

fn wait_after(failures: u32) -> Duration {
    let Some(waits) = failures.checked_sub(FREE + 1) else { return Duration::ZERO };
    (WAIT_MIN * (1 << waits.min(16))).min(WAIT_MAX)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_failure_waits_and_each_later_one_twice_as_long_up_to_a_bound() {
        let waits: Vec<u64> = (1..=13).map(|failures| wait_after(failures).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(wait_after(u32::MAX), WAIT_MAX);
    }
}
