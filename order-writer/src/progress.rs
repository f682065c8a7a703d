//! Shows a person at a terminal, or whoever reads standard error, how far an expiry is. It is the
//! commands' part; services log.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use kit::clock::{Clock, SystemClock};

use crate::desk::Expiry;

/// A terminal's line is written over this often; elsewhere a line is added less often.
const SHOWN_EVERY: Duration = Duration::from_millis(200);
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// A line on standard error.
pub struct Progress {
    clock: SystemClock,
    shown_at: Duration,
    is_terminal: bool,
}

impl Progress {
    /// Begins to count now.
    pub fn begin() -> Self {
        Self { clock: SystemClock::new(), shown_at: Duration::ZERO, is_terminal: io::stderr().is_terminal() }
    }

    /// Shows how far it is, if it did not just do so.
    pub fn show(&mut self, done: &Expiry) {
        let now = self.clock.monotonic();
        let pause = if self.is_terminal { SHOWN_EVERY } else { TOLD_EVERY };
        if now.saturating_sub(self.shown_at) >= pause {
            self.shown_at = now;
            let line = line(done, now);
            if self.is_terminal { write(&format!("\r{line}\u{1b}[K")) } else { write(&format!("{line}\n")) }
        }
    }

    /// Ends the line with what was done.
    pub fn end(&self, done: &Expiry) {
        if self.is_terminal && !self.shown_at.is_zero() {
            write(&format!("\r{}\u{1b}[K\n", line(done, self.clock.monotonic())));
        }
    }
}

fn write(text: &str) {
    let mut out = io::stderr().lock();
    // Whoever cannot read it misses a line, and nothing else.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Done, seen and a second's worth, in one line.
fn line(done: &Expiry, took: Duration) -> String {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.seen().saturating_mul(1_000) / ms;
    format!("{} of {} overdue orders expired, {rate}/s", done.expired, done.seen())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_done_seen_and_rate() {
        let done = Expiry { expired: 9_990, kept: 10, ..Expiry::default() };
        assert_eq!(line(&done, Duration::from_millis(500)), "9990 of 10000 overdue orders expired, 20000/s");
        assert_eq!(line(&Expiry::default(), Duration::ZERO), "0 of 0 overdue orders expired, 0/s");
        assert_eq!(done.told(), "9990 of 10000 overdue orders were expired; 10 were paid or cancelled meanwhile");
    }
}
