//! What became of orders and money, in figures.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::CpuEach;
use crate::{life::Judgement, tally::Latency, timeline::CpuTimes};

/// What the lives of a run's orders came to.
#[derive(Debug)]
pub struct LifeOutcome {
    /// Orders that buyers were to place.
    pub orders: u64,
    /// What became of them.
    pub judgement: Judgement,
    /// Requests that were sent again.
    pub again: u64,
    /// What was answered that should not be, by step.
    pub wrong: BTreeMap<String, u64>,
    /// From the wish to pay until the bank's page is known, repetitions included.
    pub pay_latency: Option<Latency>,
    /// Stretches of time, in their order.
    pub phases: Vec<PhaseOutcome>,
    /// How many of the processes the deployment has.
    pub processes: usize,
}

/// A stretch of time.
#[derive(Debug)]
pub struct PhaseOutcome {
    /// What happened.
    pub title: &'static str,
    /// How long it took.
    pub lasted: Duration,
    /// CPU time by process.
    pub cpu: CpuTimes,
}

/// The same in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LifeFigures {
    /// Orders that buyers were to place.
    pub orders: u64,
    /// What became of them.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Requests that were sent again, because the answer passes or did not come.
    pub again: u64,
    /// What was answered that should not be, by step.
    pub unexpected_steps: BTreeMap<String, u64>,
    /// From the wish to pay until the bank's page is known, repetitions included, milliseconds.
    pub pay_latency_ms: Option<Latency>,
    /// CPU time of all phases by paid orders, microseconds.
    pub cpu_us_per_paid_order: CpuEach,
    /// Where it went.
    pub phases: Vec<Phase>,
}

/// A stretch of time, in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// What happened.
    pub title: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// Its CPU time by all paid orders, microseconds.
    pub cpu_us_per_paid_order: CpuEach,
}

impl From<LifeOutcome> for LifeFigures {
    fn from(outcome: LifeOutcome) -> Self {
        let LifeOutcome { orders, judgement, again, wrong, pay_latency, phases, processes } = outcome;
        let sum = |i: usize| phases.iter().map(|phase| phase.cpu[i]).sum::<Option<Duration>>();
        let each = |cpu: CpuTimes| CpuEach::of(cpu, processes, judgement.paid);
        Self {
            orders,
            again,
            unexpected_steps: wrong,
            pay_latency_ms: pay_latency,
            cpu_us_per_paid_order: each(std::array::from_fn(sum)),
            phases: phases
                .iter()
                .map(|PhaseOutcome { title, lasted, cpu }| Phase {
                    title,
                    seconds: lasted.as_secs_f64(),
                    cpu_us_per_paid_order: each(*cpu),
                })
                .collect(),
            judgement,
        }
    }
}
