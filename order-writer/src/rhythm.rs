//! How far apart the spans of a partition begin. A span costs its statements, commits and
//! settlement however little it carries, so under load the partitions of a process take turns:
//! together they begin one span in [`Pace::gather`](crate::ports::Pace).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// Turns that a partition waits, at most: its rows are late by so many times the pause, and no
/// more.
const TURNS_MAX: u32 = 4;

/// Partitions of this process whose spans follow each other closely. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Busy(Arc<AtomicUsize>);

/// The rhythm of one partition. It goes on when a partition is read anew.
#[derive(Debug)]
pub struct Rhythm {
    busy: Busy,
    gather: Duration,
    is_busy: bool,
    /// When the last span began, by the monotonic clock.
    begun: Option<Duration>,
    is_behind: bool,
}

impl Rhythm {
    /// A partition that has nothing to do yet. `gather`: the pause when it alone is busy.
    pub fn new(busy: Busy, gather: Duration) -> Self {
        Self { busy, gather, is_busy: false, begun: None, is_behind: false }
    }

    /// How long the next span waits from `now` on for more to share its cost. A lone record waits
    /// for nothing: it comes long after the span before it. Neither does a partition that is
    /// behind.
    pub fn rest(&self, now: Duration) -> Duration {
        match self.begun {
            Some(begun) if !self.is_behind => (begun + self.pause()).saturating_sub(now),
            _ => Duration::ZERO,
        }
    }

    /// A span began. `is_behind`: more than it could take was there.
    pub fn begins(&mut self, now: Duration, is_behind: bool) {
        let follows = self.begun.is_some_and(|begun| now.saturating_sub(begun) <= self.pause() * 2);
        self.count(follows);
        (self.begun, self.is_behind) = (Some(now), is_behind);
    }

    /// Nothing came for long: this partition counts as busy no more.
    pub fn mark_idle(&mut self) {
        self.count(false);
    }

    fn pause(&self) -> Duration {
        let turns = u32::try_from(self.busy.0.load(Relaxed)).unwrap_or(u32::MAX);
        self.gather * turns.clamp(1, TURNS_MAX)
    }

    fn count(&mut self, is_busy: bool) {
        match (self.is_busy, is_busy) {
            (false, true) => self.busy.0.fetch_add(1, Relaxed),
            (true, false) => self.busy.0.fetch_sub(1, Relaxed),
            _ => return,
        };
        self.is_busy = is_busy;
    }
}

impl Drop for Rhythm {
    fn drop(&mut self) {
        self.count(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATHER: Duration = Duration::from_millis(40);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_lone_record_waits_for_nothing() {
        let mut rhythm = Rhythm::new(Busy::default(), GATHER);
        assert_eq!(rhythm.rest(at(5)), Duration::ZERO);
        rhythm.begins(at(5), false);
        assert_eq!(rhythm.rest(at(1_000)), Duration::ZERO);
    }

    #[test]
    fn spans_that_follow_each_other_begin_a_pause_apart() {
        let mut rhythm = Rhythm::new(Busy::default(), GATHER);
        rhythm.begins(at(0), false);
        assert_eq!(rhythm.rest(at(10)), at(30));
    }

    #[test]
    fn a_partition_that_is_behind_does_not_wait() {
        let mut rhythm = Rhythm::new(Busy::default(), GATHER);
        rhythm.begins(at(0), true);
        assert_eq!(rhythm.rest(at(1)), Duration::ZERO);
    }

    /// However many partitions are busy, the process begins one span in a pause, until rows would
    /// be too late.
    #[test]
    fn busy_partitions_take_turns() {
        let busy = Busy::default();
        let mut partitions: Vec<_> = (0..9).map(|_| Rhythm::new(busy.clone(), GATHER)).collect();
        for (count, expected) in [(1, 40), (3, 120), (9, 160)] {
            for partition in &mut partitions[..count] {
                partition.begins(at(0), false);
                partition.begins(at(40), false);
            }
            assert_eq!(partitions[0].rest(at(40)), at(expected), "{count} busy");
        }
        partitions.truncate(2);
        assert_eq!(partitions[0].rest(at(40)), at(80), "those that went count no more");
        partitions[1].mark_idle();
        assert_eq!(partitions[0].rest(at(40)), at(40));
    }
}
