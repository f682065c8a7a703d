//! The time of a request: both clocks read once, so that every step of it sees the same.

use kit::clock::Clock;

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
