//! The time as a value. What is decided or stored takes its time from here, so that the same code
//! runs in simulation. Only an adapter that measures its own wait looks at a clock itself
//! (`store::elapsed`); clippy.toml forbids it elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Where the time comes from.
pub trait Clock: Clone + Send + Sync + 'static {
    /// Wall time in milliseconds since 1970-01-01 UTC. MAY step in either direction when the
    /// machine's clock is set.
    fn now_ms(&self) -> u64;

    /// Time since some fixed moment of this clock. MUST NOT go back; says nothing about the wall.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
///
/// Wall time is read anew at each call, because servers must agree on when a sale opens and only
/// the machine's wall clock is kept in step with the others. Monotonic time counts from the moment
/// this value was made; clones share it.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    anchor: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the machine's monotonic clock is read here for everybody")]
    pub fn new() -> Self {
        Self { anchor: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the machine's wall clock is read here for everybody")]
    fn now_ms(&self) -> u64 {
        // A clock set before 1970 reads as 1970: sales are closed and tokens unexpired, neither of
        // which sells a unit.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.anchor.elapsed()
    }
}

/// The time of a request, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Epoch milliseconds; may step in either direction.
    pub wall_ms: u64,
    /// Milliseconds of the monotonic clock; never go back.
    pub monotonic_ms: u64,
}

impl Moment {
    /// Both clocks, now.
    pub fn of<C: Clock>(clock: &C) -> Self {
        let monotonic_ms = u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        Self { wall_ms: clock.now_ms(), monotonic_ms }
    }
}

/// A moment as RFC 3339, UTC, with milliseconds.
#[must_use]
pub fn rfc3339(epoch_ms: u64) -> String {
    let moment = i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // Beyond the year 9999 there is no such text; nothing of ours lies there.
    format!("{:.3}", moment.unwrap_or(Timestamp::MAX))
}

/// A clock that only moves when it is moved. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct ManualClock {
    hands: Arc<Hands>,
}

#[derive(Debug)]
struct Hands {
    wall_ms: AtomicU64,
    monotonic_ns: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `wall_ms` and has run for no time at all.
    #[must_use]
    pub fn new(wall_ms: u64) -> Self {
        Self { hands: Arc::new(Hands { wall_ms: AtomicU64::new(wall_ms), monotonic_ns: AtomicU64::new(0) }) }
    }

    /// Lets time pass on both hands. The wall shows whole milliseconds: parts of one that are
    /// passed are not saved up.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.hands.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.hands.monotonic_ns.fetch_add(ns, Ordering::SeqCst);
    }

    /// Sets the wall, forward or back, as an operator or NTP would. Monotonic time is not touched.
    pub fn set_wall(&self, wall_ms: u64) {
        self.hands.wall_ms.store(wall_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.hands.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.hands.monotonic_ns.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_always() {
        assert_eq!(rfc3339(1_735_689_600_000), "2025-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_735_689_600_120), "2025-01-01T00:00:00.120Z");
    }

    #[test]
    fn the_system_clock_shows_this_century_and_never_goes_back() {
        let clock = SystemClock::new();
        assert!(clock.now_ms() > 1_700_000_000_000);
        let first = clock.monotonic();
        let second = clock.clone().monotonic();
        assert!(second >= first);
    }

    #[test]
    fn a_manual_clock_moves_both_hands_and_clones_share_them() {
        let clock = ManualClock::new(1_000);
        let other = clock.clone();
        clock.advance(Duration::from_millis(250));
        assert_eq!(other.now_ms(), 1_250);
        assert_eq!(other.monotonic(), Duration::from_millis(250));
    }

    #[test]
    fn setting_the_wall_back_leaves_monotonic_time_alone() {
        let clock = ManualClock::new(5_000);
        clock.advance(Duration::from_secs(1));
        clock.set_wall(10);
        assert_eq!(clock.now_ms(), 10);
        assert_eq!(clock.monotonic(), Duration::from_secs(1));
    }
}
