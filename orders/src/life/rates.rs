//! How often buyers may ask, each and those of a tenant together: token buckets of this process.
//! Several processes admit as many times the rate. Merchants' people and keys are limited by the
//! merchants' service, which says who they are.

use std::{hash::Hash, num::NonZeroU32, time::Duration};

use domain::id::{BuyerId, TenantId};
use governor::{
    Quota, RateLimiter, clock::Clock as GovernorClock, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use kit::{
    clock::Clock,
    problem::{Code, Problem, RateLimit},
};

/// So many a second, and so many at once.
#[derive(Debug, Clone, Copy)]
struct Rate {
    policy: &'static str,
    per_s: NonZeroU32,
    at_once: NonZeroU32,
}

const fn rate(policy: &'static str, per_s: u32, at_once: u32) -> Rate {
    let (Some(per_s), Some(at_once)) = (NonZeroU32::new(per_s), NonZeroU32::new(at_once)) else {
        return Rate { policy, per_s: NonZeroU32::MIN, at_once: NonZeroU32::MIN };
    };
    Rate { policy, per_s, at_once }
}

/// Of one buyer: a person and a page that asks again.
const BUYER: Rate = rate("buyer", 10, 60);
/// Of all buyers of a tenant.
const TENANT: Rate = rate("tenant", 20_000, 40_000);

/// The clock as governor wants it.
#[derive(Clone)]
struct Ticks<C>(C);

impl<C: Clock> GovernorClock for Ticks<C> {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

struct Buckets<K: Clone + Eq + Hash, C: Clock> {
    rate: Rate,
    ticks: Ticks<C>,
    limiter: RateLimiter<K, DashMapStateStore<K>, Ticks<C>, NoOpMiddleware<Nanos>>,
}

impl<K: Clone + Eq + Hash, C: Clock> Buckets<K, C> {
    fn new(rate: Rate, clock: &C) -> Self {
        let (quota, ticks) = (Quota::per_second(rate.per_s).allow_burst(rate.at_once), Ticks(clock.clone()));
        Self { rate, limiter: RateLimiter::dashmap_with_clock(quota, ticks.clone()), ticks }
    }

    fn take(&self, whose: &K) -> Result<(), Box<Problem>> {
        let until = match self.limiter.check_key(whose) {
            Ok(()) => return Ok(()),
            Err(until) => until.wait_time_from(self.ticks.now()),
        };
        let Rate { policy, per_s, .. } = self.rate;
        let reset_s = until.as_secs() + u64::from(until.subsec_nanos() > 0);
        let limit = RateLimit { policy, quota: per_s.get().into(), window_s: 1, remaining: 0, reset_s };
        let problem =
            Problem::new(Code::RateLimited, format!("{per_s} requests a second; nothing was done, come back"));
        Err(Box::new(problem.with_rate_limit(limit).with_retry_after(until.max(Duration::from_millis(1)))))
    }
}

/// The buckets of buyers and tenants that asked lately.
pub(super) struct Rates<C: Clock> {
    buyers: Buckets<(TenantId, BuyerId), C>,
    tenants: Buckets<TenantId, C>,
}

impl<C: Clock> Rates<C> {
    /// All buckets full.
    pub(super) fn new(clock: &C) -> Self {
        Self { buyers: Buckets::new(BUYER, clock), tenants: Buckets::new(TENANT, clock) }
    }

    /// Counts a request of a buyer. One that is refused costs its tenant nothing.
    ///
    /// # Errors
    /// `rate_limited`: it says when to come back.
    pub(super) fn take(&self, tenant: TenantId, buyer: BuyerId) -> Result<(), Box<Problem>> {
        self.buyers.take(&(tenant, buyer))?;
        self.tenants.take(&tenant)
    }

    /// Forgets whose buckets are full again.
    pub(super) fn forget_idle(&self) {
        self.buyers.limiter.retain_recent();
        self.tenants.limiter.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use kit::clock::ManualClock;

    use super::*;

    #[test]
    fn a_buyer_takes_its_own_tokens_only_and_is_told_when_to_come_back() {
        let clock = ManualClock::new(0);
        let rates = Rates::new(&clock);
        let (tenant, other) = (TenantId::new(7).unwrap(), TenantId::new(8).unwrap());
        let buyer = |number| BuyerId::new(number).unwrap();
        let taken = |tenant, number| (0..100).take_while(|_| rates.take(tenant, buyer(number)).is_ok()).count();
        assert_eq!((taken(tenant, 1), taken(tenant, 2), taken(other, 1)), (60, 60, 60));
        let refused = rates.take(tenant, buyer(1)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(Duration::from_millis(100))));
        assert_eq!(refused.rate_limit.unwrap().policy, "buyer");
        clock.advance(Duration::from_secs(1));
        assert_eq!(taken(tenant, 1), 10);
        clock.advance(Duration::from_secs(10));
        rates.forget_idle();
        assert_eq!(taken(tenant, 2), 60);
    }

    #[test]
    fn all_buyers_of_a_tenant_together_have_a_rate() {
        let rates = Rates::new(&ManualClock::new(0));
        let take = |tenant, number: u64| rates.take(TenantId::new(tenant).unwrap(), BuyerId::new(number).unwrap());
        let taken = (1..=50_000).take_while(|number| take(7, *number).is_ok()).count();
        assert_eq!(taken, 40_000);
        assert_eq!(take(7, 50_001).unwrap_err().rate_limit.unwrap().policy, "tenant");
        take(8, 1).unwrap();
    }
}
