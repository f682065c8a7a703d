//! Token buckets: of an offer, of a tenant, of each buyer of a sale. They count requests and know
//! no rule of a sale.

use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use crossbeam::utils::CachePadded;
use dashmap::DashMap;
use domain::id::BuyerId;
use governor::{
    Quota, RateLimiter, clock::Clock as GovernorClock, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use kit::clock::Clock;

/// Buyers that one sale's buckets remember, at most: ~64 MB. Those that are full again are
/// forgotten first.
pub const BUYERS_MAX: usize = 1_000_000;

/// Parts of the map of buyers. It grows part by part, and whoever adds a buyer to a full part waits
/// while all of it moves: the more parts, the shorter.
const SHARDS: usize = 128;

const NANOS_PER_S: u64 = 1_000_000_000;

type Keyed<K> = RateLimiter<K, DashMapStateStore<K>, Ticks, NoOpMiddleware<Nanos>>;

/// The clock as governor wants it. A closure, so that not every type between here and the clock
/// carries its parameter.
#[derive(Clone)]
pub struct Ticks(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Ticks {
    /// The monotonic hand of a clock.
    pub fn of<C: Clock>(clock: &C) -> Self {
        let clock = clock.clone();
        Self(Arc::new(move || clock.monotonic()))
    }
}

impl Ticks {
    fn now_ns(&self) -> u64 {
        u64::try_from((self.0)().as_nanos()).unwrap_or(u64::MAX)
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
    /// Whose bucket: `offer`, `buyer`, `buyer_reads` or `tenant`.
    pub policy: &'static str,
    /// What this engine admits a second.
    pub per_s: u32,
    /// When the next token drops.
    pub retry_after: Duration,
}

/// What one engine takes of a rate that is meant for the fleet: a second's worth at once, then
/// evenly. Nanoseconds from one token to the next, and the burst.
fn share(fleet_per_s: u32, engines: u32) -> (u64, NonZeroU32) {
    let (rate, engines) = (u64::from(fleet_per_s.max(1)), engines.max(1));
    // Rates below the number of engines still drop a token now and then: the period is exact, the
    // burst at least one.
    let period_ns = (NANOS_PER_S * u64::from(engines) / rate).max(1);
    (period_ns, NonZeroU32::new(fleet_per_s / engines).unwrap_or(NonZeroU32::MIN))
}

/// One bucket for all who come. What it holds is kept as one number (the generic cell rate
/// algorithm), so that a token can be given back: governor's limiters cannot take one.
pub struct Bucket {
    /// When it will be full, in nanoseconds of the monotonic clock. Written for every purchase, so
    /// on a line of its own.
    full_at_ns: CachePadded<AtomicU64>,
    ticks: Ticks,
    period_ns: u64,
    policy: &'static str,
    fleet_per_s: u32,
    engines: u32,
    per_s: u32,
}

impl Bucket {
    /// A full bucket: `fleet_per_s` divided by the live engines.
    pub fn new(policy: &'static str, fleet_per_s: u32, engines: u32, ticks: &Ticks) -> Self {
        let (period_ns, per_s) = share(fleet_per_s, engines);
        Self {
            full_at_ns: CachePadded::new(AtomicU64::new(0)),
            ticks: ticks.clone(),
            period_ns,
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
        let (now_ns, period_ns) = (self.ticks.now_ns(), self.period_ns);
        // Empty, it is full again after so long.
        let whole_ns = period_ns.saturating_mul(self.per_s.into());
        let without_one = |full_at_ns: u64| full_at_ns.max(now_ns).saturating_add(period_ns) - now_ns;
        let take = |full_at_ns| {
            let fills_in_ns = without_one(full_at_ns);
            (fills_in_ns <= whole_ns).then_some(now_ns + fills_in_ns)
        };
        let taken = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(drop).map_err(|full_at_ns| Limited {
            policy: self.policy,
            per_s: self.per_s,
            retry_after: Duration::from_nanos(without_one(full_at_ns) - whole_ns),
        })
    }

    /// Gives a token back that bought nothing. A bucket that is full meanwhile stays so.
    pub fn give_back(&self) {
        let with_one = |full_at_ns: u64| Some(full_at_ns.saturating_sub(self.period_ns));
        // Never refused, so there is always an answer.
        let _before = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_one);
    }
}

/// One bucket per buyer. Not divided by the engines: a buyer's connection stays with one of them,
/// and a share of a small rate would refuse an honest buyer there. Who spreads over n engines gains
/// n times the rate at most; the offer's bucket holds.
///
/// A buyer's id names a buyer only within a shop: `K` is that id where all buckets are of one shop,
/// as those of a sale are, and the shop with it elsewhere (INV-7).
pub struct BuyerBuckets<K: Hash + Eq + Clone = BuyerId> {
    limiter: ArcSwap<Keyed<K>>,
    ticks: Ticks,
    policy: &'static str,
    per_s: u32,
}

impl<K: Hash + Eq + Clone> BuyerBuckets<K> {
    /// No buyer known, all buckets full.
    pub fn new(policy: &'static str, per_s: u32, ticks: &Ticks) -> Self {
        Self { limiter: ArcSwap::from_pointee(keyed(per_s, ticks)), ticks: ticks.clone(), policy, per_s }
    }

    /// Whether it was made for this rate.
    pub fn is_for(&self, per_s: u32) -> bool {
        self.per_s == per_s
    }

    /// Takes a token of this buyer.
    ///
    /// # Errors
    /// [`Limited`] when there is none.
    pub fn take(&self, buyer: K) -> Result<(), Limited> {
        let limiter = self.limiter.load();
        limiter.check_key(&buyer).map_err(|until| Limited {
            policy: self.policy,
            per_s: self.per_s,
            retry_after: until.wait_time_from(self.ticks.now()),
        })
    }

    /// Forgets the buyers whose buckets are full again; everybody, when still more than
    /// [`BUYERS_MAX`] are left. To be called every few seconds: in between the number grows by the
    /// requests admitted.
    pub fn forget_idle(&self) {
        let limiter = self.limiter.load();
        limiter.retain_recent();
        limiter.shrink_to_fit();
        if limiter.len() > BUYERS_MAX {
            self.limiter.store(Arc::new(keyed(self.per_s, &self.ticks)));
        }
    }

    /// Buyers whose bucket is not known to be full.
    pub fn len(&self) -> usize {
        self.limiter.load().len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn keyed<K: Hash + Eq + Clone>(per_s: u32, ticks: &Ticks) -> Keyed<K> {
    let (period_ns, burst) = share(per_s, 1);
    // The period is not zero, so the default is never taken.
    let quota = Quota::with_period(Duration::from_nanos(period_ns)).unwrap_or(Quota::per_second(burst));
    Keyed::new(quota.allow_burst(burst), DashMap::with_shard_amount(SHARDS), ticks.clone())
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

    /// Tokens given back are there at once, and never more than the bucket holds.
    #[test]
    fn a_token_given_back_is_there_again_and_fills_no_more_than_the_bucket() {
        let clock = ManualClock::new(0);
        let bucket = Bucket::new("offer", 100, 1, &Ticks::of(&clock));
        bucket.give_back();
        assert_eq!(taken(&bucket), 100);
        bucket.give_back();
        bucket.give_back();
        assert_eq!(taken(&bucket), 2);
        (0..50).for_each(|_| bucket.give_back());
        clock.advance(Duration::from_secs(2));
        assert_eq!(taken(&bucket), 100);
    }

    #[test]
    fn buyers_do_not_take_each_others_tokens_and_are_forgotten_when_full_again() {
        let clock = ManualClock::new(0);
        let buckets = BuyerBuckets::new("buyer", 2, &Ticks::of(&clock));
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
