//! Stock as the lanes answered last: what pages show of it, and what admission repeats of it. Kept
//! by whoever asks the lanes, per offer, across the versions of its sale.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::{id::Epoch, sale::LIMIT_MAX};

/// How long an answer stands for what the lane would say.
pub const HINT_MS_MAX: u64 = 500;
/// How long an answer is shown while the lane gives no newer one, as while it is rebuilt. Then
/// nothing is known.
const SHOWN_MS_MAX: u64 = 10_000;

const LEFT_BITS: u32 = 8;
const TIME_BITS: u32 = 40;
/// More than anybody can ask for looks the same.
const LEFT_CAP: u64 = (1 << LEFT_BITS) - 1;
const _: () = assert!((LIMIT_MAX as u64) < LEFT_CAP);
const _: () = assert!(HINT_MS_MAX < SHOWN_MS_MAX);

/// Stock as a page shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coarse {
    /// A tenth or more is left.
    Available,
    /// Less than a tenth is left.
    Low,
    /// No unit is left.
    SoldOut,
}

impl Coarse {
    /// The stable name, as the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Low => "low",
            Self::SoldOut => "sold_out",
        }
    }
}

/// An offer's stock by the lane's last answer. Written once a batch, read by every request.
#[derive(Debug, Default)]
pub struct StockSeen {
    /// 16 bits of the epoch, 40 of the moment, 8 of what was left: one word, so that no reader
    /// mixes two answers. 0: none yet.
    hint: AtomicU64,
    /// Units left, in full, and one more: 0 means that none is known. For pages only.
    left: AtomicU64,
}

impl StockSeen {
    /// Keeps what the lane answered: units left, under which epoch and when.
    #[inline]
    pub fn note(&self, left: u64, epoch: Epoch, monotonic_ms: u64) {
        self.hint.store(packed(left, epoch, monotonic_ms), Ordering::Relaxed);
        self.left.store(left + 1, Ordering::Relaxed);
    }

    /// Whether the lane, under this epoch and at most [`HINT_MS_MAX`] ago, had less than `quantity`
    /// left.
    #[inline]
    pub fn has_less_than(&self, quantity: u32, epoch: Epoch, monotonic_ms: u64) -> bool {
        let hint = self.hint.load(Ordering::Relaxed);
        let (left, at, of) = (hint & LEFT_CAP, time_of(hint), hint >> (LEFT_BITS + TIME_BITS));
        hint != 0
            && left < u64::from(quantity)
            && of == epoch_bits(epoch)
            && time_bits(monotonic_ms).checked_sub(at).is_some_and(|age| age <= HINT_MS_MAX)
    }

    /// Whether the lane answered at most so long ago.
    pub fn is_known_since(&self, age_ms_max: u64, monotonic_ms: u64) -> bool {
        let hint = self.hint.load(Ordering::Relaxed);
        hint != 0 && time_bits(monotonic_ms).saturating_sub(time_of(hint)) <= age_ms_max
    }

    /// What a page shows; `None` while nothing is known, which is never guessed.
    pub fn coarse(&self, allotment: u64, monotonic_ms: u64) -> Option<Coarse> {
        if !self.is_known_since(SHOWN_MS_MAX, monotonic_ms) {
            return None;
        }
        Some(match self.left.load(Ordering::Relaxed).checked_sub(1)? {
            0 => Coarse::SoldOut,
            left if left < allotment.div_ceil(10) => Coarse::Low,
            _ => Coarse::Available,
        })
    }
}

fn packed(left: u64, epoch: Epoch, monotonic_ms: u64) -> u64 {
    // A moment of 0 would make an answer of the first millisecond look like none.
    let time = time_bits(monotonic_ms).max(1);
    (epoch_bits(epoch) << (LEFT_BITS + TIME_BITS)) | (time << LEFT_BITS) | left.min(LEFT_CAP)
}

const fn epoch_bits(epoch: Epoch) -> u64 {
    epoch.0 & 0xffff
}

const fn time_bits(monotonic_ms: u64) -> u64 {
    monotonic_ms & ((1 << TIME_BITS) - 1)
}

const fn time_of(hint: u64) -> u64 {
    (hint >> LEFT_BITS) & ((1 << TIME_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const E1: Epoch = Epoch(1);

    #[test]
    fn a_hint_lives_half_a_second_and_only_under_its_epoch() {
        let seen = StockSeen::default();
        assert!(!seen.has_less_than(100, Epoch(0), 0), "nothing is known yet");
        seen.note(2, E1, 10_000);
        assert!(seen.has_less_than(3, E1, 10_000) && seen.has_less_than(3, E1, 10_500));
        assert!(!seen.has_less_than(2, E1, 10_000), "two are left");
        assert!(!seen.has_less_than(3, E1, 10_501), "too old");
        assert!(!seen.has_less_than(3, Epoch(2), 10_000), "another epoch");
        assert!(!seen.has_less_than(3, E1, 9_999), "from the future of this reader");
        seen.note(1_000_000, E1, 10_001);
        assert!(!seen.has_less_than(100, E1, 10_001));
    }

    #[test]
    fn a_page_sees_coarse_stock() {
        let seen = StockSeen::default();
        assert_eq!(seen.coarse(100, 0), None, "no answer yet");
        seen.note(10, E1, 5);
        assert_eq!(seen.coarse(100, 5), Some(Coarse::Available));
        seen.note(9, E1, 5);
        assert_eq!(seen.coarse(100, 5), Some(Coarse::Low));
        seen.note(0, E1, 5);
        assert_eq!(seen.coarse(100, 5 + SHOWN_MS_MAX), Some(Coarse::SoldOut));
        assert_eq!(seen.coarse(100, 6 + SHOWN_MS_MAX), None, "old news");
        assert!(seen.is_known_since(7, 12) && !seen.is_known_since(7, 13));
    }
}
