//! How often a code may be asked for, counted in windows that begin with the first of them. The
//! counts stand in the database, so that all processes share them; whom they count does not.

use std::{net::IpAddr, time::Duration};

use kit::{
    clock::Clock as _,
    problem::{Code, Problem},
};
use store::sql::{Lock, Sql as _, SqlError, Tx, stored};

use crate::{ports::Ports, refused::Refused, service::Catalog};

const MINUTE_MS: u64 = 60_000;

/// The longest window: older counts are removed.
const WINDOW_MS_MAX: u64 = 24 * 60 * MINUTE_MS;

const LOOK: &str = "SELECT begun_at, asked FROM login_rates WHERE tenant = ? AND subject = ?";
const FIRST: &str = "INSERT INTO login_rates (begun_at, asked, tenant, subject) VALUES (?, ?, ?, ?)";
const COUNT: &str = "UPDATE login_rates SET begun_at = ?, asked = ? WHERE tenant = ? AND subject = ?";
const PURGE: &str = "DELETE FROM login_rates WHERE begun_at < ?";

/// A bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// What is counted: a word of its own.
    name: &'static str,
    asked_max: i64,
    window_ms: u64,
}

/// Codes for one phone: a message takes a while, and costs.
pub(super) const PER_PHONE: [Rate; 2] = [
    Rate { name: "phone-minute", asked_max: 1, window_ms: MINUTE_MS },
    Rate { name: "phone-day", asked_max: 10, window_ms: WINDOW_MS_MAX },
];

/// Codes asked for from one address: a mobile network shows many buyers as one.
pub(super) const PER_ADDRESS: [Rate; 1] = [Rate { name: "address-hour", asked_max: 100, window_ms: 60 * MINUTE_MS }];

/// What is counted of an address: of IPv6 the network of 64 bits, which is one customer's.
pub(super) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

impl<P: Ports> Catalog<P> {
    /// Counts a request by each of these rates, within a transaction.
    ///
    /// # Errors
    /// `rate_limited` by the first one that is used up: roll back. The database's.
    pub(super) async fn count<T: Tx>(
        &self,
        tx: &mut T,
        (tenant, now_ms): (u32, u64),
        counted: &[(Rate, &str)],
    ) -> Result<(), Refused> {
        let mut rows: Vec<_> =
            counted.iter().map(|(rate, text)| (self.digest(tenant, rate.name, text), *rate)).collect();
        // Sorted: two calls wait for each other in one direction.
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (subject, rate) in rows {
            count_one(tx, (tenant, &subject), rate, now_ms).await?;
        }
        Ok(())
    }

    /// Removes counts that say nothing any more.
    pub(super) async fn purge_counts(&self) -> Result<(), SqlError> {
        let before = stored(self.clock().now_ms().saturating_sub(WINDOW_MS_MAX))?;
        self.sql().exec(PURGE, vec![before.into()]).await.map(|_rows| ())
    }
}

async fn count_one<T: Tx>(tx: &mut T, (tenant, subject): (u32, &str), rate: Rate, now_ms: u64) -> Result<(), Refused> {
    let known = tx.lock_rows(LOOK, vec![tenant.into(), subject.into()], Lock::Wait).await?.into_iter().next();
    let known = known.map(|mut row| Ok::<_, SqlError>((row.number::<u64>()?, row.int()?))).transpose()?;
    let is_new = known.is_none();
    // A clock that was set back does not lock anybody out for longer than the window.
    let current = known.filter(|(begun, _)| (*begun..begun.saturating_add(rate.window_ms)).contains(&now_ms));
    let (begun, asked) = current.unwrap_or((now_ms, 0));
    if asked >= rate.asked_max {
        let left_ms = begun.saturating_add(rate.window_ms).saturating_sub(now_ms);
        let problem = Problem::new(Code::RateLimited, "too many codes were asked for; come back later");
        return Err(problem.with_retry_after(Duration::from_millis(left_ms)).into());
    }
    let row = vec![stored(begun)?.into(), (asked + 1).into(), tenant.into(), subject.into()];
    if !is_new {
        tx.exec(COUNT, row).await?;
    } else if !tx.insert_absent(FIRST, row).await? {
        return Err(SqlError::LockWait("another call counts the same".into()).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_network_of_ipv6_is_counted_as_one() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!((of("203.0.113.7"), of("::ffff:203.0.113.7")), ("203.0.113.7".into(), "203.0.113.7".into()));
    }
}
