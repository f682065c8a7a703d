//! The failpoints of a program that is built for crash tests.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use clap::Args;

use super::{Contender, Step};

/// All steps with their names, in the order in which they happen.
pub const STEPS: [(&str, Step); 15] = [
    ("decided", Step::Decided),
    ("first-shard", Step::FirstShard),
    ("rows", Step::Rows),
    ("settled", Step::Settled),
    ("ledger", Step::Ledger),
    ("closed", Step::Closed),
    ("drained", Step::Drained),
    ("epoch-appended", Step::EpochAppended),
    ("epoch-committed", Step::EpochCommitted),
    ("loaded", Step::Loaded),
    ("limit-fenced", Step::LimitFenced),
    ("limit-appended", Step::LimitAppended),
    ("limit-committed", Step::LimitCommitted),
    ("retired-appended", Step::RetiredAppended),
    ("retired-committed", Step::RetiredCommitted),
];

/// Where to die and at which visit, as `step` or `step:visit`, counted from 1.
#[derive(Debug, Clone)]
pub struct Failpoint {
    step: Option<Step>,
    visits_left: Arc<AtomicU32>,
}

/// A text that names no failpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give a step, or step:visit with a visit from 1; the steps are {}", STEPS.map(|(name, _)| name).join(", "))]
pub struct UnknownFailpoint;

impl FromStr for Failpoint {
    type Err = UnknownFailpoint;
    fn from_str(text: &str) -> Result<Self, UnknownFailpoint> {
        let (name, visit) = text.split_once(':').unwrap_or((text, "1"));
        let (_, step) = STEPS.into_iter().find(|(known, _)| *known == name).ok_or(UnknownFailpoint)?;
        let visit: u32 = visit.parse().ok().filter(|&visit| visit > 0).ok_or(UnknownFailpoint)?;
        Ok(Self { step: Some(step), visits_left: Arc::new(AtomicU32::new(visit)) })
    }
}

/// For crash tests only.
#[derive(Debug, Args)]
pub struct CrashArgs {
    /// Die as by kill -9 at a step of the protocol: STEP or STEP:VISIT.
    #[arg(long, hide = true)]
    die_at: Option<Failpoint>,
    /// Work on every partition without asking the group: a zombie by intent.
    #[arg(long, hide = true)]
    contend: bool,
}

impl CrashArgs {
    /// The failpoint that was asked for.
    pub fn failpoint(&self) -> Failpoint {
        self.die_at.clone().unwrap_or_else(Failpoint::none)
    }

    /// Who works on all of these partitions, if that was asked for.
    pub fn contender(&self, partitions: u32) -> Option<Contender> {
        self.contend.then(|| Contender::new(partitions))
    }
}

impl Failpoint {
    /// No failpoint: the process lives.
    pub fn none() -> Self {
        Self { step: None, visits_left: Arc::default() }
    }

    /// Whether this step is the one.
    pub fn is(&self, step: Step) -> bool {
        self.step == Some(step)
    }

    /// Dies here if this is the step and the visit.
    pub fn reach(&self, step: Step) {
        if self.is(step) && self.visits_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::error!(?step, "failpoint reached: dying as a crash test asked");
            // Not exit(): no destructor may run, as none runs at kill -9.
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_names_step_and_visit() {
        assert!(STEPS.iter().all(|(name, step)| name.parse::<Failpoint>().unwrap().step == Some(*step)));
        assert_eq!("rows:3".parse::<Failpoint>().unwrap().visits_left.load(Ordering::Relaxed), 3);
        for bad in ["", "row", "rows:", "rows:0", "rows:x"] {
            assert_eq!(bad.parse::<Failpoint>().unwrap_err(), UnknownFailpoint, "{bad:?}");
        }
    }
}
