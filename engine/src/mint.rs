//! Order ids: unique across threads, processes and steps of the clock, or none at all. The number
//! of this engine is leased (`lease`); without a lease nothing is minted.
//!
//! Ids carry a clock of their own: the wall clock, and where that steps back, the time that went by
//! since on the monotonic clock. So a clock that is set back, by a minute or a day, stops nobody.
//! How far ids may go stands in the lease's row before they go there: whoever gets the number next
//! begins after them.

mod lease;

use std::sync::atomic::{AtomicU64, Ordering};

use domain::id::{ORDER_END_MS, OrderId, SEQUENCES, SLOTS, Slot, WorkerNumber};
use kit::metrics::SpreadCounter;

pub use lease::{FOLLOW_MS_MAX, LEASE_TTL, LeaseKeeper, LeaseWatch, MARGIN, RENEW_EVERY, WorkerLeases};

use crate::moment::Moment;

/// How far the ids of a slot may run ahead of the clock: a burst of 32 buyers of one slot in one
/// millisecond takes the next one.
pub const AHEAD_MS_MAX: u64 = 100;

const SEQUENCE_BITS: u32 = SEQUENCES.trailing_zeros();
const WORKER_BITS: u32 = WorkerNumber::BITS;
const _: () = assert!(SEQUENCES.is_power_of_two());

/// Why there is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMinted {
    /// No lease, or one that ends too soon, or a clock past the time that the lease is for.
    NoLease,
    /// The ids of this slot ran [`AHEAD_MS_MAX`] ahead of the clock.
    TooFast,
}

/// Mints order ids. One per process, shared by all threads. Every field but the slots changes a few
/// times a minute at most.
pub struct Mint {
    /// Monotonic milliseconds until which may be minted, and the worker number in the low bits. 0:
    /// no lease.
    lease: AtomicU64,
    /// The last millisecond that ids may carry, as it stands in the lease's row.
    ids_until_ms: AtomicU64,
    /// Wall time less monotonic time, the most that an id was minted by.
    offset_ms: AtomicU64,
    /// Per slot, the next free (millisecond, sequence) in one word.
    slots: Box<[AtomicU64]>,
    minted: SpreadCounter,
}

impl Default for Mint {
    fn default() -> Self {
        Self {
            lease: AtomicU64::new(0),
            ids_until_ms: AtomicU64::new(0),
            offset_ms: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            minted: SpreadCounter::default(),
        }
    }
}

impl Mint {
    /// An id for a buyer of this slot.
    ///
    /// # Errors
    /// [`NotMinted`].
    pub fn mint(&self, slot: Slot, moment: Moment) -> Result<OrderId, NotMinted> {
        let worker = self.worker(moment.monotonic_ms).ok_or(NotMinted::NoLease)?;
        let now_ms = self.clock_ms(moment);
        // A wall clock that jumped this far ahead is followed when the lease's row says so.
        if now_ms.saturating_add(AHEAD_MS_MAX) > self.ids_until_ms.load(Ordering::Relaxed) {
            return Err(NotMinted::NoLease);
        }
        self.keep_offset(now_ms.saturating_sub(moment.monotonic_ms));
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

    /// Takes back an id that became nobody's order and nothing's name, so that the next buyer of
    /// its slot gets it. Only the last one of a slot comes back; any other is lost, which costs a
    /// 32nd of a millisecond.
    pub fn take_back(&self, order: OrderId) {
        let mine = (order.minted_at_ms() << SEQUENCE_BITS) | u64::from(order.sequence());
        let next = &self.slots[usize::from(order.slot().get())];
        let _taken = next.compare_exchange(mine + 1, mine, Ordering::Relaxed, Ordering::Relaxed);
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

    /// Mints under this number until that moment of the monotonic clock, no id that carries more
    /// than `ids_until_ms`, in epoch milliseconds.
    pub fn lend(&self, worker: WorkerNumber, until_monotonic_ms: u64, ids_until_ms: u64) {
        // Where ids end nothing is taken of the slots.
        self.ids_until_ms.store(ids_until_ms.min(ORDER_END_MS - 1), Ordering::Relaxed);
        self.lease.store((until_monotonic_ms << WORKER_BITS) | u64::from(worker), Ordering::Release);
    }

    /// Ids minted since the start.
    pub fn minted(&self) -> u64 {
        self.minted.get()
    }

    /// Mints no id until the next lease.
    pub fn stop(&self) {
        self.lease.store(0, Ordering::Release);
    }

    /// The time that an id of this moment carries at least.
    pub fn clock_ms(&self, moment: Moment) -> u64 {
        self.carried_ms(moment.monotonic_ms).max(moment.wall_ms)
    }

    /// No id minted until this moment of the monotonic clock carries more than this and
    /// [`AHEAD_MS_MAX`].
    pub fn carried_ms(&self, monotonic_ms: u64) -> u64 {
        monotonic_ms.saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }

    fn keep_offset(&self, offset_ms: u64) {
        // Looked at before it is written, so that the line stays shared.
        if self.offset_ms.load(Ordering::Relaxed) < offset_ms {
            self.offset_ms.fetch_max(offset_ms, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc, thread};

    use domain::id::BuyerId;

    use super::*;
    use crate::testing::NOW_MS;

    /// A moment right after the start.
    fn at(wall_ms: u64) -> Moment {
        Moment { wall_ms, monotonic_ms: 1 }
    }

    /// A moment so long after the start, at which the wall clock is so far off.
    fn off_by(minutes: i64, since_ms: u64) -> Moment {
        let wall_ms = (NOW_MS + since_ms).checked_add_signed(minutes * 60_000).unwrap();
        Moment { wall_ms, monotonic_ms: 1 + since_ms }
    }

    fn minting() -> Mint {
        let mint = Mint::default();
        mint.lend(7, 100_000_000, NOW_MS + 100_000_000);
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

    /// The 33rd id of a slot in a millisecond takes the next one; a hundred milliseconds ahead is
    /// too far.
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

    /// Failure line 30: ids go on from the last millisecond, and with the time that goes by,
    /// however long a clock is behind.
    #[test]
    fn a_clock_that_is_set_back_stops_no_ids() {
        let mint = minting();
        let mut last = mint.mint(slot(), off_by(0, 0)).unwrap();
        // Two hours back: as many ids a millisecond as ever, each above the one before, for two
        // hours.
        for since_ms in (0..7_200_000).step_by(60_000).chain([7_200_000]) {
            for _ in 0..u32::from(SEQUENCES) {
                let next = mint.mint(slot(), off_by(-120, since_ms)).unwrap();
                assert!(next > last && next.minted_at_ms() <= NOW_MS + since_ms + 1);
                last = next;
            }
        }
        let right = mint.mint(slot(), off_by(0, 7_300_000)).unwrap();
        assert_eq!(right.minted_at_ms(), NOW_MS + 7_300_000, "the clock is right again");
    }

    /// A clock that jumps ahead is followed only as far as the lease's row allows, and leaves
    /// nothing behind when it is corrected.
    #[test]
    fn a_clock_that_jumps_ahead_is_not_followed_beyond_the_lease() {
        let mint = Mint::default();
        mint.lend(7, 100_000_000, NOW_MS + 90_000);
        assert!(mint.mint(slot(), off_by(1, 0)).is_ok(), "a minute ahead");
        for minutes in [2, 60, 10 * 366 * 24 * 60, 10_000 * 366 * 24 * 60] {
            assert_eq!(mint.mint(slot(), off_by(minutes, 0)), Err(NotMinted::NoLease), "{minutes}");
        }
        let corrected = mint.mint(slot(), off_by(0, 5)).unwrap();
        assert_eq!(corrected.minted_at_ms(), NOW_MS + 60_005, "on from the last millisecond, not from another century");
        mint.lend(7, 100_000_000, u64::MAX);
        let no_id = Moment { wall_ms: u64::MAX, monotonic_ms: 1 };
        assert_eq!(mint.mint(slot(), no_id), Err(NotMinted::NoLease), "ids end in 2059");
        assert!(mint.mint(slot(), off_by(0, 6)).is_ok());
    }

    /// An id that came to nothing is the next one; one that others followed is not minted again.
    #[test]
    fn an_id_that_is_taken_back_is_minted_next() {
        let mint = minting();
        let next = || mint.mint(slot(), at(NOW_MS)).unwrap();
        let (first, second) = (next(), next());
        mint.take_back(second);
        assert_eq!(next(), second);
        mint.take_back(first);
        assert!(next() > second);
        let (third, fourth) = (next(), next());
        mint.take_back(fourth);
        mint.take_back(third);
        assert_eq!([next(), next()], [third, fourth]);
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
        mint.lend(0, 5, u64::MAX);
        assert!(mint.mint(slot(), at(NOW_MS)).is_ok(), "0 is a number too");
        assert_eq!(mint.mint(slot(), Moment { wall_ms: NOW_MS, monotonic_ms: 5 }), Err(NotMinted::NoLease));
        mint.lend(1, 50, u64::MAX);
        mint.stop();
        assert!(!mint.is_minting(1));
    }
}
