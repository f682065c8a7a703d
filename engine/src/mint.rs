//! Order ids: unique across threads, processes and steps of the clock, or none at all. The number of this engine is leased
//! (`lease`); without a lease nothing is minted.

mod lease;

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use domain::id::{OrderId, SEQUENCES, SLOTS, Slot, WorkerNumber};
use kit::metrics::SpreadCounter;

pub use lease::{LEASE_TTL, LeaseKeeper, LeaseWatch, MARGIN, RENEW_EVERY, WorkerLeases};

use crate::admission::Moment;

/// How far the ids of a slot may run ahead of the clock: a burst of 32 buyers of one slot in one millisecond takes the next one.
pub const AHEAD_MS_MAX: u64 = 100;

const SEQUENCE_BITS: u32 = SEQUENCES.trailing_zeros();
const WORKER_BITS: u32 = WorkerNumber::BITS;
const _: () = assert!(SEQUENCES.is_power_of_two());

/// Why there is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMinted {
    /// No lease, or one that ends too soon, or a clock that cannot be right.
    NoLease,
    /// The ids of this slot ran [`AHEAD_MS_MAX`] ahead of the clock.
    TooFast,
}

/// Mints order ids. One per process, shared by all threads.
pub struct Mint {
    /// Monotonic milliseconds until which may be minted, and the worker number in the low bits. 0: no lease.
    lease: AtomicU64,
    /// The latest wall time seen: a clock that steps back holds it. It moves every millisecond, the others hardly ever.
    latest_ms: CachePadded<AtomicU64>,
    /// Per slot, the next free (millisecond, sequence) in one word.
    slots: Box<[AtomicU64]>,
    minted: SpreadCounter,
}

impl Default for Mint {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        let latest_ms = CachePadded::new(AtomicU64::new(0));
        Self { lease: AtomicU64::new(0), latest_ms, slots, minted: SpreadCounter::default() }
    }
}

impl Mint {
    /// An id for a buyer of this slot.
    ///
    /// # Errors
    /// [`NotMinted`].
    pub fn mint(&self, slot: Slot, moment: Moment) -> Result<OrderId, NotMinted> {
        let worker = self.worker(moment.monotonic_ms).ok_or(NotMinted::NoLease)?;
        let now_ms = self.latest(moment.wall_ms);
        // Slots are numbered below `SLOTS`, the length.
        let next = &self.slots[usize::from(slot.get())];
        let floor = now_ms << SEQUENCE_BITS;
        let mut taken = next.load(Ordering::Relaxed);
        loop {
            let mine = taken.max(floor);
            if (mine >> SEQUENCE_BITS) > now_ms + AHEAD_MS_MAX {
                return Err(NotMinted::TooFast);
            }
            match next.compare_exchange_weak(taken, mine + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.minted.inc();
                    let sequence = (mine & u64::from(SEQUENCES - 1)) as u8;
                    return OrderId::compose(mine >> SEQUENCE_BITS, slot, worker, sequence).ok_or(NotMinted::NoLease);
                }
                Err(other) => taken = other,
            }
        }
    }

    /// Whether ids are minted at this moment of the monotonic clock.
    pub fn is_minting(&self, monotonic_ms: u64) -> bool {
        self.worker(monotonic_ms).is_some()
    }

    /// The number under which ids are minted now.
    pub fn worker(&self, monotonic_ms: u64) -> Option<WorkerNumber> {
        let lease = self.lease.load(Ordering::Acquire);
        // The cast keeps the low bits, which are the number.
        (monotonic_ms < lease >> WORKER_BITS).then_some(lease as WorkerNumber)
    }

    /// Mints under this number until that moment of the monotonic clock.
    pub fn lend(&self, worker: WorkerNumber, until_monotonic_ms: u64) {
        self.lease.store((until_monotonic_ms << WORKER_BITS) | u64::from(worker), Ordering::Release);
    }

    /// Ids minted since the start.
    pub fn minted(&self) -> u64 {
        self.minted.get()
    }

    /// Mints nothing more.
    pub fn stop(&self) {
        self.lease.store(0, Ordering::Release);
    }

    /// The latest wall time that ids carry, or would carry now.
    pub fn latest(&self, wall_ms: u64) -> u64 {
        let latest = self.latest_ms.load(Ordering::Relaxed);
        if wall_ms <= latest { latest } else { self.latest_ms.fetch_max(wall_ms, Ordering::Relaxed).max(wall_ms) }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc, thread};

    use domain::id::BuyerId;

    use super::*;
    use crate::testing::NOW_MS;

    fn at(wall_ms: u64) -> Moment {
        Moment { wall_ms, monotonic_ms: 1 }
    }

    fn minting() -> Mint {
        let mint = Mint::default();
        mint.lend(7, 1_000_000);
        mint
    }

    fn slot() -> Slot {
        Slot::of(BuyerId::new(42).unwrap())
    }

    #[test]
    fn an_id_tells_its_slot_worker_and_time() {
        let id = minting().mint(slot(), at(NOW_MS)).unwrap();
        assert_eq!((id.slot(), id.worker(), id.minted_at_ms()), (slot(), 7, NOW_MS));
    }

    /// The 33rd id of a slot in a millisecond takes the next one; a hundred milliseconds ahead is too far.
    #[test]
    fn a_used_up_millisecond_moves_on_within_bounds() {
        let mint = minting();
        let ids: Vec<OrderId> = std::iter::from_fn(|| mint.mint(slot(), at(NOW_MS)).ok()).collect();
        assert_eq!(ids.len() as u64, u64::from(SEQUENCES) * (AHEAD_MS_MAX + 1));
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(ids[32].minted_at_ms(), NOW_MS + 1);
        assert_eq!(mint.mint(slot(), at(NOW_MS)), Err(NotMinted::TooFast));
        assert!(mint.mint(Slot::of(BuyerId::new(1).unwrap()), at(NOW_MS)).is_ok(), "another slot has its own");
        assert!(mint.mint(slot(), at(NOW_MS + 1)).is_ok());
    }

    /// Failure line 30: a clock that steps back holds the last millisecond.
    #[test]
    fn a_clock_that_steps_back_holds_the_last_millisecond() {
        let mint = minting();
        let first = mint.mint(slot(), at(NOW_MS)).unwrap();
        let second = mint.mint(slot(), at(NOW_MS - 60_000)).unwrap();
        assert_eq!(second.minted_at_ms(), NOW_MS);
        assert!(second > first);
        let elsewhere = mint.mint(Slot::of(BuyerId::new(1).unwrap()), at(NOW_MS - 60_000)).unwrap();
        assert_eq!(elsewhere.minted_at_ms(), NOW_MS);
    }

    #[test]
    fn threads_never_share_an_id() {
        let mint = Arc::new(minting());
        let threads: Vec<_> = (0..4)
            .map(|thread: u64| {
                let mint = Arc::clone(&mint);
                thread::spawn(move || {
                    // Each has its own wrong clock.
                    let ids = (0..20_000).map(|n| mint.mint(slot(), at(NOW_MS + n / 50 - thread * 3)));
                    ids.filter_map(Result::ok).collect::<Vec<_>>()
                })
            })
            .collect();
        let ids: Vec<OrderId> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(ids.len() > 10_000);
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn without_a_lease_nothing_is_minted() {
        let mint = Mint::default();
        assert_eq!(mint.mint(slot(), at(NOW_MS)), Err(NotMinted::NoLease));
        mint.lend(0, 5);
        assert!(mint.mint(slot(), at(NOW_MS)).is_ok(), "0 is a number too");
        assert_eq!(mint.mint(slot(), Moment { wall_ms: NOW_MS, monotonic_ms: 5 }), Err(NotMinted::NoLease));
        mint.lend(1, 50);
        mint.stop();
        assert!(!mint.is_minting(1));
    }
}
