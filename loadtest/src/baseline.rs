//! What this machine gives without the engine, measured in the same run as the load, before it and
//! after it: a rate on a shared machine says little, a ratio to what the same machine did in the
//! same minute says more.

#[cfg(feature = "production")]
mod evalsha;
mod fixed;

use serde::Serialize;

#[cfg(feature = "production")]
pub use evalsha::{CONNECTIONS, EvalshaError, evalsha, redis_memory, rewrite_redis};
pub use fixed::{FixedError, fixed_answer};

/// One yardstick: a rate measured before the load and after it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Yardstick {
    /// A second, before the load.
    pub before: Option<f64>,
    /// A second, after it.
    pub after: Option<f64>,
}

impl Yardstick {
    /// Notes the next measurement.
    pub fn note(&mut self, rate: Option<f64>, side: Side) {
        match side {
            Side::Before => self.before = rate,
            Side::After => self.after = rate,
        }
    }

    /// Of what was measured.
    pub fn mean(&self) -> Option<f64> {
        match (self.before, self.after) {
            (Some(before), Some(after)) => Some(f64::midpoint(before, after)),
            (one, other) => one.or(other),
        }
    }

    /// How far before and after lie apart, in percent of their mean.
    pub fn spread_percent(&self) -> Option<f64> {
        let (before, after) = self.before.zip(self.after)?;
        self.mean().filter(|mean| *mean > 0.0).map(|mean| (before - after).abs() / mean * 100.0)
    }

    /// A rate by this one.
    pub fn ratio(&self, rate: Option<f64>) -> Option<Ratio> {
        let by = |yardstick: f64| rate.filter(|_| yardstick > 0.0).map(|rate| rate / yardstick);
        let sides = [self.before, self.after].into_iter().flatten().filter_map(by);
        let (low, high) = sides.fold((f64::INFINITY, 0.0_f64), |(low, high), side| (low.min(side), high.max(side)));
        Some(Ratio { mean: by(self.mean()?)?, range: [low, high] })
    }
}

/// A rate by a yardstick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// By the mean of before and after.
    pub mean: f64,
    /// By the higher and by the lower of the two: between these it lies.
    pub range: [f64; 2],
}

/// On which side of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Just before it.
    Before,
    /// Once everything is durable.
    After,
}

/// All yardsticks of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Baselines {
    /// Raw EVALSHA calls a second: one reservation a call, 50 connections, no pipelining. `None`:
    /// the deployment has no such calls.
    pub evalsha_per_s: Option<Yardstick>,
    /// Requests a second that plain hyper answers with a constant refusal, over the run's
    /// connections.
    pub fixed_answer_per_s: Yardstick,
    /// What could not be measured, and why.
    pub troubles: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_by_the_mean_and_lies_between_both_sides() {
        let yardstick = Yardstick { before: Some(50_000.0), after: Some(70_000.0) };
        assert_eq!(yardstick.mean(), Some(60_000.0));
        assert!((yardstick.spread_percent().unwrap() - 33.3).abs() < 0.1);
        let ratio = yardstick.ratio(Some(30_000.0)).unwrap();
        assert!((ratio.mean - 0.5).abs() < 1e-9);
        assert!((ratio.range[0] - 30.0 / 70.0).abs() < 1e-9 && (ratio.range[1] - 0.6).abs() < 1e-9, "{ratio:?}");
    }

    #[test]
    fn one_side_alone_is_a_yardstick_without_a_spread() {
        let mut yardstick = Yardstick::default();
        assert_eq!((yardstick.mean(), yardstick.ratio(Some(1.0))), (None, None));
        yardstick.note(Some(100.0), Side::After);
        assert_eq!((yardstick.mean(), yardstick.spread_percent()), (Some(100.0), None));
        assert_eq!(yardstick.ratio(Some(50.0)), Some(Ratio { mean: 0.5, range: [0.5, 0.5] }));
        assert_eq!(yardstick.ratio(None), None, "what did not happen has no ratio");
        yardstick.note(None, Side::After);
        yardstick.note(Some(0.0), Side::Before);
        assert_eq!(yardstick.ratio(Some(50.0)), None);
    }
}
