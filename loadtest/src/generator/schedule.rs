//! Which send is next, and when it was meant to go. With a rate the times are fixed before the
//! first answer comes, so that a slow engine cannot slow its own measurement down (no coordinated
//! omission).

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use kit::clock::Clock;

/// Timers fire on whole milliseconds and up to one late: aimed half of one early, a send goes
/// within half of one of its intended time, on average neither early nor late.
const AIM_EARLY: Duration = Duration::from_micros(500);

/// A send that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// Index in the plan.
    pub(super) send: usize,
    /// From when latency counts: the intended time, or now, whichever is earlier.
    pub(super) since: Duration,
}

/// Deals the sends `first`, `first + step`, ... of a plan to whoever is free.
#[derive(Debug)]
pub(super) struct Schedule {
    first: usize,
    step: usize,
    sends: usize,
    rate: Option<f64>,
    open: Range<Duration>,
    claimed: AtomicUsize,
}

impl Schedule {
    pub(super) fn new(first: usize, step: usize, sends: usize, rate: Option<f64>, open: Range<Duration>) -> Self {
        Self { first, step, sends, rate, open, claimed: AtomicUsize::new(0) }
    }

    /// When sending ends.
    pub(super) fn end(&self) -> Duration {
        self.open.end
    }

    /// Waits for the next send to be due. `None` when the plan is through or the time is over.
    ///
    /// A free connection takes the next send at once and waits for its time; when all are busy, the
    /// send is taken late and its latency counts from when it was meant to go.
    pub(super) async fn next(&self, clock: &impl Clock) -> Option<Turn> {
        let mut now = clock.monotonic();
        if now >= self.open.end {
            return None;
        }
        let send = self.first + self.step * self.claimed.fetch_add(1, Ordering::Relaxed);
        if send >= self.sends {
            return None;
        }
        let intended = match self.rate {
            Some(rate) => self.open.start + Duration::from_secs_f64(send as f64 / rate),
            None => now.max(self.open.start),
        };
        if intended >= self.open.end {
            // Later ones are later still: nobody needs to ask again.
            self.claimed.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let aim = intended.saturating_sub(AIM_EARLY);
        if aim > now {
            tokio::time::sleep(aim - now).await;
            now = clock.monotonic();
        }
        Some(Turn { send, since: intended.min(now) })
    }

    /// Sends that nobody took.
    pub(super) fn unclaimed(&self) -> usize {
        let share = self.sends.saturating_sub(self.first).div_ceil(self.step);
        share.saturating_sub(self.claimed.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use kit::clock::ManualClock;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test]
    async fn two_threads_share_one_plan_and_its_times() {
        let clock = ManualClock::new(0);
        clock.advance(ms(1_000));
        for first in 0..2 {
            // 1,000 sends a second from 900 ms on: all of these are late already.
            let schedule = Schedule::new(first, 2, 7, Some(1_000.0), ms(900)..ms(2_000));
            let mut turns = Vec::new();
            while let Some(turn) = schedule.next(&clock).await {
                turns.push((turn.send, turn.since));
            }
            let expected: Vec<_> = (first..7).step_by(2).map(|send| (send, ms(900 + send as u64))).collect();
            assert_eq!(turns, expected, "latency counts from the intended time");
            assert_eq!(schedule.unclaimed(), 0);
        }
    }

    #[tokio::test]
    async fn without_a_rate_a_send_is_due_when_somebody_is_free() {
        let clock = ManualClock::new(0);
        clock.advance(ms(50));
        let schedule = Schedule::new(0, 1, 2, None, ms(0)..ms(100));
        assert_eq!(schedule.next(&clock).await, Some(Turn { send: 0, since: ms(50) }));
        clock.advance(ms(60));
        assert_eq!(schedule.next(&clock).await, None, "the time is over");
        assert_eq!(schedule.unclaimed(), 1);
    }

    #[tokio::test]
    async fn a_plan_longer_than_the_time_stops_at_the_time() {
        let clock = ManualClock::new(0);
        clock.advance(ms(99));
        let schedule = Schedule::new(0, 1, 1_000, Some(100.0), ms(0)..ms(100));
        let mut taken = 0;
        while schedule.next(&clock).await.is_some() {
            taken += 1;
        }
        assert_eq!((taken, schedule.unclaimed()), (10, 990), "sends at 0, 10, .. 90 ms");
    }
}
