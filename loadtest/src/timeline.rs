//! How a run went from moment to moment: counts so far, by the run's own clock. What is shown of it
//! is `picture`'s business.

use std::time::Duration;

use crate::{durable::Snapshot, generator::Reading};

/// CPU times are kept in the order of [`PROCESSES`].
pub type CpuTimes = [Option<Duration>; PROCESSES.len()];

/// The processes whose CPU time is reported, in this order everywhere.
pub const PROCESSES: [&str; 8] = ["generator", "engine", "redis", "kafka", "writer", "mysql", "orders", "bank"];

/// How many of them there are where nobody pays: the last two are those who are asked to.
pub const UNPAID_PROCESSES: usize = 6;

/// How many of them there are where one process is the whole server: it stands in the engine's
/// place.
pub const ONE_PROCESS: usize = 2;

/// How it stood at one moment. All counts are of the whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Since the first part began.
    pub at: Duration,
    /// Number of the part, from 1.
    pub part: usize,
    /// Answers `202`, accepted ones.
    pub accepted: u64,
    /// Refusals.
    pub refused: u64,
    /// Units sold by the ledger; unknown while a store is away.
    pub durable: Option<u64>,
    /// Records of the log that are not decided.
    pub lag: Option<u64>,
    /// CPU time so far.
    pub cpu: CpuTimes,
}

/// All samples of a run.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// In order of time.
    pub samples: Vec<Sample>,
    /// When each part began, and what it is called.
    pub parts: Vec<(Duration, &'static str)>,
    /// Answers of the loads before.
    base: Reading,
    /// Of the load under way.
    last: Reading,
}

impl Timeline {
    /// A part begins.
    pub fn part(&mut self, at: Duration, title: &'static str) {
        self.parts.push((at, title));
    }

    /// A load ended: the next one counts from zero.
    pub fn load_ended(&mut self, reading: Reading) {
        self.base.accepted += reading.accepted;
        self.base.refused += reading.refused;
        self.last = Reading::default();
    }

    /// Notes how it stands. `reading`: of the load under way, if one is.
    pub fn note(&mut self, at: Duration, reading: Option<Reading>, snapshot: Option<&Snapshot>, cpu: CpuTimes) {
        self.last = reading.unwrap_or(self.last);
        self.samples.push(Sample {
            at,
            part: self.parts.len(),
            accepted: self.base.accepted + self.last.accepted,
            refused: self.base.refused + self.last.refused,
            durable: snapshot.map(|snapshot| snapshot.sold),
            lag: snapshot.map(|snapshot| snapshot.lag),
            cpu,
        });
    }

    /// When the ledger's count of units was seen to have grown, from this moment of the run on, as
    /// times since then.
    pub fn growth_since(&self, from: Duration) -> Vec<Duration> {
        let seen = self.samples.iter().filter(|sample| sample.at >= from);
        let counts: Vec<(Duration, u64)> = seen.filter_map(|sample| Some((sample.at, sample.durable?))).collect();
        let grown = counts.windows(2).filter(|two| two[1].1 > two[0].1);
        grown.map(|two| two[1].0.saturating_sub(from)).collect()
    }

    /// When it was last noted how it stands.
    pub fn last_noted(&self) -> Option<Duration> {
        self.samples.last().map(|sample| sample.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_run_on_over_loads() {
        let mut timeline = Timeline::default();
        let reading = |accepted, refused| Reading { accepted, refused, ..Reading::default() };
        let snapshot = Snapshot { sold: 9, lag: 1, ..Snapshot::default() };
        timeline.note(Duration::from_secs(1), Some(reading(5, 1)), Some(&snapshot), [None; PROCESSES.len()]);
        timeline.load_ended(reading(10, 2));
        timeline.note(Duration::from_secs(2), None, None, [None; PROCESSES.len()]);
        timeline.note(Duration::from_secs(3), Some(reading(3, 3)), None, [None; PROCESSES.len()]);
        let counts: Vec<_> = timeline.samples.iter().map(|s| (s.accepted, s.refused, s.durable, s.lag)).collect();
        assert_eq!(counts, [(5, 1, Some(9), Some(1)), (10, 2, None, None), (13, 5, None, None)]);
        assert_eq!(timeline.last_noted(), Some(Duration::from_secs(3)));
        for (at, sold) in [(4, 9), (5, 12), (6, 12), (7, 13)] {
            let snapshot = Snapshot { sold, ..Snapshot::default() };
            timeline.note(Duration::from_secs(at), None, Some(&snapshot), [None; PROCESSES.len()]);
        }
        assert_eq!(timeline.growth_since(Duration::from_secs(2)), [3, 5].map(Duration::from_secs));
    }
}
