//! How long an adapter has waited. The one place of this crate that reads a clock by itself: what
//! is stored or decided takes its time from the caller. It is tokio's clock, so that a test with
//! paused time moves it.

use std::time::Duration;

use tokio::time::Instant;

/// A moment to measure from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since(Instant);

impl Since {
    /// From now on.
    #[allow(clippy::disallowed_methods, reason = "measures waits of the adapters, as the module says")]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// The time since then.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The time since then; measures from now on.
    #[cfg(feature = "embedded")]
    pub(crate) fn restart(&mut self) -> Duration {
        let now = Self::now();
        let elapsed = now.0 - self.0;
        *self = now;
        elapsed
    }
}
