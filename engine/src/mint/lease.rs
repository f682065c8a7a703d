//! The lease of the worker number: taken, prolonged, given back. Ends of leases are counted by the
//! monotonic clock from before the request was sent, so that no pause on the way makes a lease
//! longer. With each request goes the last millisecond that ids may carry until the next one.

use std::{future::Future, sync::Arc, time::Duration};

use kit::clock::Clock;
use store::{
    ledger::{LEASE_MS_MAX, Ledger, WorkerLease},
    sql::{Sql, SqlError},
};

use super::{AHEAD_MS_MAX, Mint};
use crate::moment::Moment;

/// How long a lease lives without being prolonged.
pub const LEASE_TTL: Duration = Duration::from_secs(30);
/// How often it is prolonged.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Minting ends so long before the lease does.
pub const MARGIN: Duration = Duration::from_secs(5);
/// An engine whose clock is further off the database's does not mint (R5). Where the database's
/// clock is the engine's, in the embedded deployment, there is nothing to be off.
const SKEW_MS_MAX: u64 = 60_000;
/// How far the wall clock may jump ahead between two renewals with ids minted at once; ids of a
/// longer jump wait for the next renewal, which asks for them.
pub const FOLLOW_MS_MAX: u64 = SKEW_MS_MAX;
/// Pause before a lease is asked for again, when there was none or the database failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const _: () = assert!(LEASE_TTL.as_secs() > RENEW_EVERY.as_secs() + MARGIN.as_secs());
const _: () = assert!(LEASE_TTL.as_millis() <= LEASE_MS_MAX as u128);

/// Where worker numbers come from.
pub trait WorkerLeases: Clone + Send + Sync + 'static {
    /// Leases a free number to `holder`; `None` when all are taken. Ids carry at most
    /// `ids_until_ms`, in epoch milliseconds.
    fn lease(
        &self,
        holder: &str,
        ttl_ms: u64,
        ids_until_ms: u64,
    ) -> impl Future<Output = Result<Option<WorkerLease>, SqlError>> + Send;

    /// Prolongs a lease; `None` when it is lost.
    fn renew(
        &self,
        held: &WorkerLease,
        ttl_ms: u64,
        ids_until_ms: u64,
    ) -> impl Future<Output = Result<Option<WorkerLease>, SqlError>> + Send;

    /// Gives a lease back, whose ids carry at most `ids_until_ms`.
    fn release(&self, held: &WorkerLease, ids_until_ms: u64) -> impl Future<Output = Result<(), SqlError>> + Send;
}

impl<Q: Sql> WorkerLeases for Ledger<Q> {
    async fn lease(&self, holder: &str, ttl_ms: u64, ids_until_ms: u64) -> Result<Option<WorkerLease>, SqlError> {
        self.lease_worker(holder, ttl_ms, ids_until_ms).await
    }

    async fn renew(&self, held: &WorkerLease, ttl_ms: u64, ids_until_ms: u64) -> Result<Option<WorkerLease>, SqlError> {
        self.renew_worker(held, ttl_ms, ids_until_ms).await
    }

    async fn release(&self, held: &WorkerLease, ids_until_ms: u64) -> Result<(), SqlError> {
        self.release_worker(held, ids_until_ms).await
    }
}

/// Where the fleet is reported to.
pub trait LeaseWatch: Send + Sync + 'static {
    /// So many engines are live, this one included.
    fn fleet(&self, engines: u32);

    /// Whether this engine mints now; and if not, why.
    fn minting(&self, minting: Result<(), &'static str>);
}

/// Keeps the mint supplied with a lease.
pub struct LeaseKeeper<W, C> {
    leases: W,
    clock: C,
    mint: Arc<Mint>,
    holder: String,
    held: Option<WorkerLease>,
}

impl<W: WorkerLeases, C: Clock> LeaseKeeper<W, C> {
    /// A keeper that holds nothing yet. `holder` MUST be a name no other process has.
    pub fn new(leases: W, clock: C, mint: Arc<Mint>, holder: String) -> Self {
        Self { leases, clock, mint, holder, held: None }
    }

    /// Keeps a lease until `stop` ends, then gives it back.
    pub async fn keep(mut self, watch: impl LeaseWatch, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let pause = self.round(&watch).await;
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.mint.stop();
        let ids_until_ms = self.mint.carried_ms(duration_ms(self.clock.monotonic())).saturating_add(AHEAD_MS_MAX);
        if let Some(held) = self.held.take()
            && let Err(error) = self.leases.release(&held, ids_until_ms).await
        {
            tracing::warn!(%error, "the worker number was not given back; its lease will end by itself");
        }
    }

    /// Takes or prolongs the lease. Returns how long to wait for the next round.
    pub async fn round(&mut self, watch: &impl LeaseWatch) -> Duration {
        let ttl_ms = duration_ms(LEASE_TTL);
        let before = Moment::of(&self.clock);
        let ids_until_ms = self.mint.clock_ms(before).saturating_add(ttl_ms + FOLLOW_MS_MAX + AHEAD_MS_MAX);
        let answer = match &self.held {
            Some(held) => self.leases.renew(held, ttl_ms, ids_until_ms).await,
            None => self.leases.lease(&self.holder, ttl_ms, ids_until_ms).await,
        };
        match answer {
            Ok(Some(lease)) => {
                watch.fleet(lease.live);
                watch.minting(self.use_lease(&lease, before.monotonic_ms, ids_until_ms));
                self.held = Some(lease);
                RENEW_EVERY
            }
            Ok(None) => {
                self.mint.stop();
                let why =
                    if self.held.take().is_some() { "the worker number was lost" } else { "no worker number is free" };
                tracing::warn!(why, "minting no order ids");
                watch.minting(Err(why));
                RETRY_AFTER
            }
            Err(error) => {
                // The lease goes on to its known end, and minting ends before it by itself.
                tracing::warn!(%error, "the lease of the worker number was not prolonged");
                if !self.mint.is_minting(duration_ms(self.clock.monotonic())) {
                    watch.minting(Err("the lease of the worker number ended"));
                }
                RETRY_AFTER
            }
        }
    }

    fn use_lease(&self, lease: &WorkerLease, before_ms: u64, ids_until_ms: u64) -> Result<(), &'static str> {
        // The clocks themselves, not the ids': ids that are ahead, because both clocks were set
        // back, go on. The wall now is later than the database's by the way back, seconds at most.
        let ours = self.clock.now_ms();
        if ours.abs_diff(lease.database_now_ms) > SKEW_MS_MAX {
            self.mint.stop();
            tracing::error!(ours, database = lease.database_now_ms, "this clock and the database's differ too much");
            return Err("the clock is over a minute off the database's");
        }
        let until_ms = before_ms + lease.ttl_ms.saturating_sub(duration_ms(MARGIN));
        self.mint.lend(lease.number, until_ms, ids_until_ms);
        Ok(())
    }
}

fn duration_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    };

    use domain::id::{BuyerId, Slot};
    use kit::clock::ManualClock;

    use super::*;
    use crate::testing::NOW_MS;

    /// A database of numbers, whose answers a test sets.
    #[derive(Clone)]
    struct Numbers {
        clock: ManualClock,
        answer: Arc<Mutex<Result<Option<u8>, SqlError>>>,
        takes: Duration,
        skew_ms: Arc<AtomicI64>,
        /// What the row says that ids carry at most.
        ids_until_ms: Arc<AtomicU64>,
        released: Arc<AtomicU32>,
    }

    impl Numbers {
        fn answer(&self, ids_until_ms: u64) -> Result<Option<WorkerLease>, SqlError> {
            let skew_ms = self.skew_ms.load(Ordering::Relaxed);
            let database_now_ms = self.clock.now_ms().checked_add_signed(skew_ms).unwrap();
            self.ids_until_ms.store(ids_until_ms, Ordering::Relaxed);
            self.clock.advance(self.takes);
            let number = self.answer.lock().unwrap().clone()?;
            Ok(number.map(|number| WorkerLease {
                number,
                holder: "me".into(),
                live: 3,
                database_now_ms,
                ttl_ms: 30_000,
            }))
        }
    }

    impl WorkerLeases for Numbers {
        async fn lease(&self, _holder: &str, _ttl_ms: u64, until: u64) -> Result<Option<WorkerLease>, SqlError> {
            self.answer(until)
        }
        async fn renew(&self, _held: &WorkerLease, _ttl_ms: u64, until: u64) -> Result<Option<WorkerLease>, SqlError> {
            self.answer(until)
        }
        async fn release(&self, _held: &WorkerLease, ids_until_ms: u64) -> Result<(), SqlError> {
            self.released.fetch_add(1, Ordering::Relaxed);
            self.ids_until_ms.store(ids_until_ms, Ordering::Relaxed);
            Ok(())
        }
    }

    #[derive(Default)]
    struct Reported(Mutex<Vec<Result<(), &'static str>>>, AtomicU32);

    impl LeaseWatch for Arc<Reported> {
        fn fleet(&self, engines: u32) {
            self.1.store(engines, Ordering::Relaxed);
        }
        fn minting(&self, minting: Result<(), &'static str>) {
            self.0.lock().unwrap().push(minting);
        }
    }

    fn setup(
        takes: Duration,
        skew_ms: i64,
    ) -> (Numbers, ManualClock, Arc<Mint>, LeaseKeeper<Numbers, ManualClock>, Arc<Reported>) {
        let clock = ManualClock::new(NOW_MS);
        let numbers = Numbers {
            clock: clock.clone(),
            answer: Arc::new(Mutex::new(Ok(Some(9)))),
            takes,
            skew_ms: Arc::new(AtomicI64::new(skew_ms)),
            ids_until_ms: Arc::default(),
            released: Arc::default(),
        };
        let mint = Arc::new(Mint::default());
        let keeper = LeaseKeeper::new(numbers.clone(), clock.clone(), Arc::clone(&mint), "me".into());
        (numbers, clock, mint, keeper, Arc::default())
    }

    fn ms(clock: &ManualClock) -> u64 {
        duration_ms(clock.monotonic())
    }

    fn slot() -> Slot {
        Slot::of(BuyerId::new(42).unwrap())
    }

    /// "An engine stops minting 5 s before its lease ends by the monotonic clock", counted from
    /// before the request.
    #[tokio::test]
    async fn minting_ends_before_the_lease_however_long_the_answer_took() {
        let (numbers, clock, mint, mut keeper, reported) = setup(Duration::from_secs(4), 0);
        keeper.round(&reported).await;
        assert_eq!(mint.worker(ms(&clock)), Some(9));
        assert_eq!(reported.1.load(Ordering::Relaxed), 3);
        *numbers.answer.lock().unwrap() = Err(SqlError::Unreachable("cut".into()));
        keeper.round(&reported).await;
        assert!(mint.is_minting(ms(&clock)), "a failed renewal changes nothing");
        clock.advance(Duration::from_secs(25 - 8) - Duration::from_millis(1));
        assert!(mint.is_minting(ms(&clock)));
        clock.advance(Duration::from_millis(1));
        assert!(!mint.is_minting(ms(&clock)), "25 s after the request was sent");
        keeper.round(&reported).await;
        assert_eq!(reported.0.lock().unwrap().last(), Some(&Err("the lease of the worker number ended")));
    }

    #[tokio::test]
    async fn a_lost_number_stops_the_mint_at_once() {
        let (numbers, clock, mint, mut keeper, reported) = setup(Duration::ZERO, 0);
        keeper.round(&reported).await;
        *numbers.answer.lock().unwrap() = Ok(None);
        keeper.round(&reported).await;
        assert!(!mint.is_minting(ms(&clock)));
        *numbers.answer.lock().unwrap() = Ok(Some(10));
        keeper.round(&reported).await;
        assert_eq!(mint.worker(ms(&clock)), Some(10));
    }

    /// R5: an engine whose clock is over a minute off the database's does not mint, and mints again
    /// when both are right, whichever of them was wrong, and by how much.
    #[tokio::test]
    async fn r5_a_clock_far_off_does_not_mint_and_heals_by_itself() {
        for wrong_ms in [60_001, -60_001, 3_600_000, -3_600_000, 400 * 24 * 3_600_000] {
            let (numbers, clock, mint, mut keeper, reported) = setup(Duration::ZERO, 0);
            keeper.round(&reported).await;
            assert!(mint.is_minting(ms(&clock)));
            numbers.skew_ms.store(wrong_ms, Ordering::Relaxed);
            keeper.round(&reported).await;
            assert!(
                !mint.is_minting(ms(&clock)) && reported.0.lock().unwrap().last().unwrap().is_err(),
                "the database's"
            );
            numbers.skew_ms.store(0, Ordering::Relaxed);
            keeper.round(&reported).await;
            assert!(mint.mint(slot(), Moment::of(&clock)).is_ok(), "right again");
            // The engine's own, while the database's goes on.
            clock.set_wall(NOW_MS.checked_add_signed(wrong_ms).unwrap());
            numbers.skew_ms.store(-wrong_ms, Ordering::Relaxed);
            keeper.round(&reported).await;
            assert!(!mint.is_minting(ms(&clock)), "the engine's");
            clock.set_wall(NOW_MS);
            numbers.skew_ms.store(0, Ordering::Relaxed);
            keeper.round(&reported).await;
            let minted = mint.mint(slot(), Moment::of(&clock)).unwrap();
            assert!(minted.minted_at_ms() < NOW_MS + AHEAD_MS_MAX, "nothing is left of the wrong clock");
        }
        let (_, clock, mint, mut keeper, reported) = setup(Duration::ZERO, 60_000);
        keeper.round(&reported).await;
        assert!(mint.is_minting(ms(&clock)));
    }

    /// Failure line 30, where engine and database have one clock: whatever it is set to, ids go on,
    /// and none carries more than the lease's row says, so that whoever has the number next begins
    /// after it.
    #[tokio::test]
    async fn one_clock_set_anywhere_mints_on_within_what_the_row_says() {
        const HOUR_MS: i64 = 3_600_000;
        let (numbers, clock, mint, mut keeper, reported) = setup(Duration::ZERO, 0);
        let mut last = None;
        for step in [0, HOUR_MS, -2 * HOUR_MS, 1_000, -100_000 * HOUR_MS, 24 * HOUR_MS, -1_000, 200_000 * HOUR_MS] {
            clock.set_wall(clock.now_ms().checked_add_signed(step).unwrap());
            for _ in 0..20 {
                keeper.round(&reported).await;
                for _ in 0..5 {
                    let minted = mint.mint(slot(), Moment::of(&clock)).unwrap();
                    assert!(Some(minted) > last, "after {step}");
                    assert!(minted.minted_at_ms() <= numbers.ids_until_ms.load(Ordering::Relaxed));
                    last = Some(minted);
                    clock.advance(Duration::from_secs(1));
                }
            }
        }
        keeper.keep(reported, std::future::ready(())).await;
        let row = numbers.ids_until_ms.load(Ordering::Relaxed);
        assert!(last.unwrap().minted_at_ms() <= row, "the row that is given back covers them all");
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_the_number_is_given_back() {
        let (numbers, clock, mint, keeper, reported) = setup(Duration::ZERO, 0);
        keeper.keep(reported, tokio::time::sleep(Duration::from_secs(12))).await;
        assert_eq!(numbers.released.load(Ordering::Relaxed), 1);
        assert!(!mint.is_minting(ms(&clock)));
    }
}
