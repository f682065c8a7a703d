//! What a person sees while it runs, on standard error: one live line on a terminal, plain lines
//! elsewhere. The report is not made here.

use std::{io::IsTerminal, time::Duration};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{durable::Snapshot, generator::Reading};

/// Between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The display of one phase after the other.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    last_line: Option<Duration>,
    last: Option<(Duration, Reading)>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Live on a terminal, lines elsewhere.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, last_line: None, last: None }
    }

    /// Nothing is shown.
    pub fn silent() -> Self {
        Self { bar: Some(ProgressBar::hidden()), last_line: None, last: None }
    }

    /// A phase begins.
    pub fn phase(&mut self, what: &str) {
        self.last_line = None;
        match &self.bar {
            Some(bar) if bar.is_hidden() => {}
            Some(bar) => bar.println(format!("  {what}")),
            None => eprintln!("{what}"),
        }
    }

    /// How far a phase is; `now`: since the run began.
    pub fn show(&mut self, now: Duration, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(message.to_owned());
                bar.tick();
            }
            None if self.last_line.is_none_or(|last| now.saturating_sub(last) >= LINE_EVERY) => {
                self.last_line = Some(now);
                eprintln!("{:6.1} s  {message}", now.as_secs_f64());
            }
            None => {}
        }
    }

    /// How far the load is.
    pub fn load(&mut self, now: Duration, reading: Reading, snapshot: Option<&Snapshot>, sends: usize) {
        let (then, before) = self.last.replace((now, reading)).unwrap_or_default();
        let message = describe(now.saturating_sub(then), before, reading, snapshot, sends);
        self.show(now, &message);
    }

    /// Takes the live line away.
    pub fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn describe(since: Duration, before: Reading, now: Reading, snapshot: Option<&Snapshot>, sends: usize) -> String {
    let per_s = |now: u64, before: u64| {
        let rate = now.saturating_sub(before) as f64 / since.as_secs_f64().max(0.001);
        HumanCount(rate as u64)
    };
    let mut line = format!(
        "sent {}/{}  accepted {}/s  refused {}/s",
        HumanCount(now.sent),
        HumanCount(sends as u64),
        per_s(now.accepted, before.accepted),
        per_s(now.refused, before.refused),
    );
    if let Some(Snapshot { sold, lag, journal, .. }) = snapshot {
        line += &format!("  durable {}  lag {lag}  journal {journal}", HumanCount(*sold));
    }
    for (what, count) in [
        ("pending", now.pending),
        ("aborted", now.aborted),
        ("unexpected", now.unexpected),
        ("failed connects", now.connect_failures),
    ] {
        if count > 0 {
            line += &format!("  {what} {}", HumanCount(count));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rates_since_the_last_one_and_only_troubles_that_are() {
        let before = Reading { sent: 1_000, accepted: 500, ..Reading::default() };
        let now = Reading { sent: 3_000, accepted: 2_000, refused: 100, unexpected: 7, ..Reading::default() };
        let snapshot = Snapshot { sold: 1_500, lag: 3, journal: 4, ..Snapshot::default() };
        let line = describe(Duration::from_millis(500), before, now, Some(&snapshot), 400_000);
        assert_eq!(
            line,
            "sent 3,000/400,000  accepted 3,000/s  refused 200/s  durable 1,500  lag 3  journal 4  unexpected 7"
        );
    }
}
