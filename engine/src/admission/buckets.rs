//! Token buckets: of an offer, of a tenant, of each buyer of a sale. They count requests and know no rule of a sale.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use domain::id::BuyerId;
use governor::{
    Quota, RateLimiter,
    clock::Clock as GovernorClock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};
use kit::clock::Clock;

/// Buyers that one sale's buckets remember, at most: ~64 MB. Those that are full again are forgotten first.
pub const BUYERS_MAX: usize = 1_000_000;

/// Parts of the map of buyers. It grows part by part, and whoever adds a buyer to a full part waits while all of it moves: the more
/// parts, the shorter.
const SHARDS: usize = 128;

const NANOS_PER_S: u64 = 1_000_000_000;

type Direct = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>;
type Keyed = RateLimiter<BuyerId, DashMapStateStore<BuyerId>, Ticks, NoOpMiddleware<Nanos>>;

/// The clock as governor wants it. A closure, so that not every type between here and the clock carries its parameter.
#[derive(Clone)]
pub struct Ticks(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Ticks {
    /// The monotonic hand of a clock.
    pub fn of<C: Clock>(clock: &C) -> Self {
        let clock = clock.clone();
        Self(Arc::new(move || clock.monotonic()))
    }
}

impl GovernorClock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        (self.0)().into()
    }
}

/// A bucket was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Whose bucket: `offer`, `buyer` or `tenant`.
    pub policy: &'static str,
    /// What this engine admits a second.
    pub per_s: u32,
    /// When the next token drops.
    pub retry_after: Duration,
}

/// What one engine takes of a rate that is meant for the fleet: a second's worth at once, then evenly.
fn share(fleet_per_s: u32, engines: u32) -> (Quota, NonZeroU32) {
    let (rate, engines) = (u64::from(fleet_per_s.max(1)), engines.max(1));
    // Rates below the number of engines still drop a token now and then: the period is exact, the burst at least one.
    let period = Duration::from_nanos((NANOS_PER_S * u64::from(engines) / rate).max(1));
    let per_s = NonZeroU32::new(fleet_per_s / engines).unwrap_or(NonZeroU32::MIN);
    // The period is not zero, so the default is never taken.
    (Quota::with_period(period).unwrap_or(Quota::per_second(per_s)).allow_burst(per_s), per_s)
}

/// One bucket for all who come.
pub struct Bucket {
    limiter: Direct,
    policy: &'static str,
    fleet_per_s: u32,
    engines: u32,
    per_s: u32,
}

impl Bucket {
    /// A full bucket: `fleet_per_s` divided by the live engines.
    pub fn new(policy: &'static str, fleet_per_s: u32, engines: u32, ticks: &Ticks) -> Self {
        let (quota, per_s) = share(fleet_per_s, engines);
        Self {
            limiter: Direct::direct_with_clock(quota, ticks.clone()),
            policy,
            fleet_per_s,
            engines,
            per_s: per_s.get(),
        }
    }

    /// Whether it was made for this rate and fleet. Only then may it live on: a new one is full.
    pub fn is_for(&self, fleet_per_s: u32, engines: u32) -> bool {
        (self.fleet_per_s, self.engines) == (fleet_per_s, engines)
    }

    /// Takes a token.
    ///
    /// # Errors
    /// [`Limited`] when there is none.
    pub fn take(&self) -> Result<(), Limited> {
        self.limiter.check().map_err(|until| Limited {
            policy: self.policy,
            per_s: self.per_s,
            retry_after: until.wait_time_from(self.limiter.clock().now()),
        })
    }
}

/// One bucket per buyer. Not divided by the engines: a buyer's connection stays with one of them, and a share of a small rate
/// would refuse an honest buyer there. Who spreads over n engines gains n times the rate at most; the offer's bucket holds.
pub struct BuyerBuckets {
    limiter: ArcSwap<Keyed>,
    ticks: Ticks,
    per_s: u32,
}

impl BuyerBuckets {
    /// No buyer known, all buckets full.
    pub fn new(per_s: u32, ticks: &Ticks) -> Self {
        Self { limiter: ArcSwap::from_pointee(keyed(per_s, ticks)), ticks: ticks.clone(), per_s }
    }

    /// Whether it was made for this rate.
    pub fn is_for(&self, per_s: u32) -> bool {
        self.per_s == per_s
    }

    /// Takes a token of this buyer.
    ///
    /// # Errors
    /// [`Limited`] when there is none.
    pub fn take(&self, buyer: BuyerId) -> Result<(), Limited> {
        let limiter = self.limiter.load();
        limiter.check_key(&buyer).map_err(|until| Limited {
            policy: "buyer",
            per_s: self.per_s,
            retry_after: until.wait_time_from(self.ticks.now()),
        })
    }

    /// Forgets the buyers whose buckets are full again; everybody, when still more than [`BUYERS_MAX`] are left. To be called
    /// every few seconds: in between the number grows by the requests admitted.
    pub fn forget_idle(&self) {
        let limiter = self.limiter.load();
        limiter.retain_recent();
        limiter.shrink_to_fit();
        if limiter.len() > BUYERS_MAX {
            self.limiter.store(Arc::new(keyed(self.per_s, &self.ticks)));
        }
    }

    /// Buyers remembered.
    pub fn len(&self) -> usize {
        self.limiter.load().len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn keyed(per_s: u32, ticks: &Ticks) -> Keyed {
    Keyed::new(share(per_s, 1).0, DashMap::with_shard_amount(SHARDS), ticks.clone())
}

#[cfg(test)]
mod tests {
    use kit::clock::ManualClock;

    use super::*;

    fn taken(bucket: &Bucket) -> usize {
        (0..1_000_000).take_while(|_| bucket.take().is_ok()).count()
    }

    /// "Admission rates are for the fleet: each engine takes rate / live leases."
    #[test]
    fn an_engine_takes_its_share_of_the_rate() {
        let clock = ManualClock::new(0);
        let bucket = Bucket::new("offer", 1_000, 4, &Ticks::of(&clock));
        assert_eq!(taken(&bucket), 250, "a second's worth at once");
        let limited = bucket.take().unwrap_err();
        assert_eq!((limited.policy, limited.per_s), ("offer", 250));
        assert!(limited.retry_after > Duration::ZERO && limited.retry_after <= Duration::from_millis(4));
        clock.advance(Duration::from_millis(100));
        assert_eq!(taken(&bucket), 25);
    }

    #[test]
    fn a_rate_below_the_number_of_engines_is_still_shared() {
        let clock = ManualClock::new(0);
        let bucket = Bucket::new("offer", 1, 4, &Ticks::of(&clock));
        assert_eq!(taken(&bucket), 1);
        clock.advance(Duration::from_millis(3_900));
        assert_eq!(taken(&bucket), 0);
        clock.advance(Duration::from_millis(200));
        assert_eq!(taken(&bucket), 1, "one in four seconds");
    }

    #[test]
    fn buyers_do_not_take_each_others_tokens_and_are_forgotten_when_full_again() {
        let clock = ManualClock::new(0);
        let buckets = BuyerBuckets::new(2, &Ticks::of(&clock));
        let [one, two] = [1, 2].map(|id| BuyerId::new(id).unwrap());
        assert!(buckets.take(one).is_ok() && buckets.take(one).is_ok());
        assert_eq!(buckets.take(one).unwrap_err().policy, "buyer");
        assert!(buckets.take(two).is_ok());
        buckets.forget_idle();
        assert_eq!(buckets.len(), 2);
        clock.advance(Duration::from_secs(3));
        buckets.forget_idle();
        assert!(buckets.is_empty());
    }
}
