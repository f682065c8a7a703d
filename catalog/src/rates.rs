//! How often a tenant may ask, and how many buyers' tokens it may have minted: token buckets of
//! this process. Several processes admit as many times the rate.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock as GovernorClock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use kit::{
    clock::Clock,
    problem::{Code, Problem, RateLimit},
};

/// The clock as governor wants it.
#[derive(Clone)]
struct Ticks<C>(C);

impl<C: Clock> GovernorClock for Ticks<C> {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

/// What a bucket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Policy {
    /// Requests of a tenant's people and keys.
    Requests,
    /// Buyers' tokens minted for a tenant.
    BuyerTokens,
}

impl Policy {
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "tenant",
            Self::BuyerTokens => "buyer_tokens",
        }
    }

    const fn counted(self) -> &'static str {
        match self {
            Self::Requests => "requests a second, of all your people and keys together",
            Self::BuyerTokens => "buyers' tokens a second, and as many at once",
        }
    }
}

struct Bucket<C: Clock> {
    per_s: NonZeroU32,
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticks<C>, NoOpMiddleware<Nanos>>,
}

/// The buckets of tenants that asked since the process began: as many as there are tenants and
/// policies, at most.
pub(crate) struct Rates<C: Clock> {
    ticks: Ticks<C>,
    buckets: Mutex<HashMap<(Policy, u32), Bucket<C>>>,
}

impl<C: Clock> Rates<C> {
    /// All buckets full.
    pub(crate) fn new(clock: &C) -> Self {
        Self { ticks: Ticks(clock.clone()), buckets: Mutex::default() }
    }

    /// Takes tokens of this tenant, who may have so many a second: a second's worth at once, then
    /// evenly. A rate that was changed begins with a full bucket.
    ///
    /// # Errors
    /// `rate_limited` when there are not as many: it says when there will be. More than a second's
    /// worth never are.
    pub(crate) fn take(
        &self,
        policy: Policy,
        tenant: u32,
        per_s: NonZeroU32,
        wanted: NonZeroU32,
    ) -> Result<(), Box<Problem>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full =
            || Bucket { per_s, limiter: RateLimiter::direct_with_clock(Quota::per_second(per_s), self.ticks.clone()) };
        let bucket = buckets.entry((policy, tenant)).or_insert_with(full);
        if bucket.per_s != per_s {
            *bucket = full();
        }
        match bucket.limiter.check_n(wanted) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => {
                let wait = until.wait_time_from(self.ticks.now());
                Err(Box::new(limited(policy, per_s, wait).with_retry_after(wait)))
            }
            Err(_more_than_ever) => Err(Box::new(limited(policy, per_s, Duration::from_secs(1)))),
        }
    }
}

fn limited(policy: Policy, per_s: NonZeroU32, wait: Duration) -> Problem {
    let detail = format!("your plan allows {per_s} {}", policy.counted());
    let reset_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let quota = per_s.get().into();
    let limit = RateLimit { policy: policy.name(), quota, window_s: 1, remaining: 0, reset_s };
    Problem::new(Code::RateLimited, detail).with_rate_limit(limit)
}

#[cfg(test)]
mod tests {
    use kit::clock::ManualClock;

    use super::*;

    fn take(
        rates: &Rates<ManualClock>,
        policy: Policy,
        tenant: u32,
        per_s: u32,
        wanted: u32,
    ) -> Result<(), Box<Problem>> {
        let [per_s, wanted] = [per_s, wanted].map(|number| NonZeroU32::new(number).unwrap());
        rates.take(policy, tenant, per_s, wanted)
    }

    #[test]
    fn a_tenant_takes_its_own_tokens_only() {
        let clock = ManualClock::new(0);
        let rates = Rates::new(&clock);
        let taken =
            |policy, tenant, per_s| (0..100).take_while(|_| take(&rates, policy, tenant, per_s, 1).is_ok()).count();
        assert_eq!((taken(Policy::Requests, 1, 10), taken(Policy::Requests, 2, 20)), (10, 20));
        assert_eq!(taken(Policy::BuyerTokens, 1, 30), 30, "each policy has its own");
        clock.advance(Duration::from_millis(500));
        assert_eq!((taken(Policy::Requests, 1, 10), taken(Policy::Requests, 2, 20)), (5, 10));
        assert_eq!(taken(Policy::Requests, 1, 30), 30, "another plan, another bucket");
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_back() {
        let rates = Rates::new(&ManualClock::new(0));
        take(&rates, Policy::BuyerTokens, 1, 10, 10).unwrap();
        let problem = take(&rates, Policy::BuyerTokens, 1, 10, 5).unwrap_err();
        assert_eq!((problem.code, problem.retry_after), (Code::RateLimited, Some(Duration::from_millis(500))));
        let limit = problem.rate_limit.unwrap();
        assert_eq!((limit.policy, limit.quota, limit.reset_s), ("buyer_tokens", 10, 1));
        let never = take(&rates, Policy::BuyerTokens, 2, 10, 11).unwrap_err();
        assert_eq!((never.code, never.retry_after), (Code::RateLimited, None), "coming back does not help");
        take(&rates, Policy::BuyerTokens, 2, 10, 10).unwrap();
    }
}
