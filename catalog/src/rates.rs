//! How often a tenant may ask: a token bucket for each, in this process. Several processes admit as
//! many times the rate.

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

struct Bucket<C: Clock> {
    per_s: NonZeroU32,
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticks<C>, NoOpMiddleware<Nanos>>,
}

/// The buckets of tenants that asked since the process began: as many as there are tenants, at
/// most.
pub(crate) struct Rates<C: Clock> {
    ticks: Ticks<C>,
    buckets: Mutex<HashMap<u32, Bucket<C>>>,
}

impl<C: Clock> Rates<C> {
    /// All buckets full.
    pub(crate) fn new(clock: &C) -> Self {
        Self { ticks: Ticks(clock.clone()), buckets: Mutex::default() }
    }

    /// Takes a token of this tenant, who may ask so often: a second's worth at once, then evenly. A
    /// rate that was changed begins with a full bucket.
    ///
    /// # Errors
    /// `rate_limited` when there is none; it says when the next one drops.
    pub(crate) fn take(&self, tenant: u32, per_s: NonZeroU32) -> Result<(), Box<Problem>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full =
            || Bucket { per_s, limiter: RateLimiter::direct_with_clock(Quota::per_second(per_s), self.ticks.clone()) };
        let bucket = buckets.entry(tenant).or_insert_with(full);
        if bucket.per_s != per_s {
            *bucket = full();
        }
        bucket.limiter.check().map_err(|until| limited(per_s, until.wait_time_from(self.ticks.now())))
    }
}

fn limited(per_s: NonZeroU32, wait: Duration) -> Box<Problem> {
    let detail = format!("your plan allows {per_s} requests a second, of all your people and keys together");
    let reset_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let quota = per_s.get().into();
    let limit = RateLimit { policy: "tenant", quota, window_s: 1, remaining: 0, reset_s };
    Box::new(Problem::new(Code::RateLimited, detail).with_retry_after(wait).with_rate_limit(limit))
}

#[cfg(test)]
mod tests {
    use kit::clock::ManualClock;

    use super::*;

    fn per_s(rate: u32) -> NonZeroU32 {
        NonZeroU32::new(rate).unwrap()
    }

    #[test]
    fn a_tenant_takes_its_own_tokens_only() {
        let clock = ManualClock::new(0);
        let rates = Rates::new(&clock);
        let taken = |tenant, rate| (0..100).take_while(|_| rates.take(tenant, per_s(rate)).is_ok()).count();
        assert_eq!((taken(1, 10), taken(2, 20)), (10, 20));
        clock.advance(Duration::from_millis(500));
        assert_eq!((taken(1, 10), taken(2, 20)), (5, 10));
        assert_eq!(taken(1, 30), 30, "another plan, another bucket");
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_back() {
        let rates = Rates::new(&ManualClock::new(0));
        rates.take(1, per_s(1)).unwrap();
        let problem = rates.take(1, per_s(1)).unwrap_err();
        assert_eq!((problem.code, problem.retry_after), (Code::RateLimited, Some(Duration::from_secs(1))));
        let limit = problem.rate_limit.unwrap();
        assert_eq!((limit.policy, limit.quota, limit.reset_s), ("tenant", 1, 1));
    }
}
