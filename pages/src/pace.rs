//! How fast pages of sales leave a process. A page may be megabytes, and whoever asks for it pays
//! nothing: without a bound a few clients would keep the front threads busy with sending. Who comes
//! too early waits for a turn, so that one who asks once is served beside others who ask all the
//! while; who would wait too long is answered to come back. While purchases are under way pages
//! yield to them: an answer of nothing but its head costs a front thread as much as a refused
//! purchase. At rest nobody else wants the threads, and pages may have them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What may leave.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// In a second, over all threads of the process.
    bytes_per_s: u64,
    /// What even the smallest answer costs.
    cost_min: u64,
}

/// A gigabit line, and 131,072 of the smallest answers: more than two cores can write.
const AT_REST: Rate = Rate { bytes_per_s: 128 << 20, cost_min: 1 << 10 };
/// While purchases are under way: a quarter of the line, and 2,048 of the smallest answers, each a
/// few percent of a core.
const SELLING: Rate = Rate { bytes_per_s: 32 << 20, cost_min: 16 << 10 };
/// So much may leave at once.
const BURST_US: u64 = 250_000;
/// Longest wait for a turn.
const WAIT_US_MAX: u64 = 1_000_000;

const US_PER_S: u64 = 1_000_000;

/// Turns, given in the order of asking.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When all that was let through so far has left at the full rate, in microseconds of the
    /// monotonic clock.
    free_at_us: AtomicU64,
}

impl Pace {
    /// How long an answer of so many bytes waits before it may leave; `None`: too long. `selling`:
    /// purchases are under way.
    pub(crate) fn turn(&self, bytes: usize, selling: bool, now: Duration) -> Option<Duration> {
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let Rate { bytes_per_s, cost_min } = if selling { SELLING } else { AT_REST };
        let cost = u64::try_from(bytes).unwrap_or(u64::MAX).max(cost_min);
        let cost_us = cost.saturating_mul(US_PER_S) / bytes_per_s;
        let wait_us = |free_at_us: u64| free_at_us.saturating_sub(now_us).saturating_sub(BURST_US);
        let take = |free_at_us: u64| {
            (wait_us(free_at_us) <= WAIT_US_MAX).then(|| free_at_us.max(now_us).saturating_add(cost_us))
        };
        let before = self.free_at_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Duration::from_micros(wait_us(before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: usize = 1 << 20;

    /// Each turn comes after those before it, at the full rate; who would wait longer than a second
    /// gets none, and takes none.
    #[test]
    fn turns_come_at_the_full_rate_and_not_later_than_a_second() {
        let (pace, now) = (Pace::default(), Duration::from_secs(1));
        let turns: Vec<Duration> = std::iter::from_fn(|| pace.turn(MEGABYTE, true, now)).collect();
        assert_eq!(turns.len(), 41, "a quarter of a second's bytes at once, a second's waiting");
        assert!(turns[..8].iter().all(Duration::is_zero) && turns.is_sorted());
        assert_eq!(pace.turn(1, true, now), None);
        let later = now + Duration::from_millis(500);
        assert_eq!(std::iter::from_fn(|| pace.turn(MEGABYTE, true, later)).count(), 16);
        assert_eq!(pace.turn(1, true, now + Duration::from_secs(9)), Some(Duration::ZERO));
    }

    /// A flood of the smallest answers takes a sixty-fourth of its turns once purchases are under
    /// way; at rest the 60,000 a second that two cores write find turns.
    #[test]
    fn small_answers_yield_to_purchases() {
        let turns = |selling| {
            let pace = Pace::default();
            std::iter::from_fn(|| pace.turn(0, selling, Duration::from_secs(1))).count()
        };
        assert_eq!(turns(true), 2_562);
        assert!(turns(false) > 131_072, "{}", turns(false));
    }
}
