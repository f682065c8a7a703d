//! The report: the figures of a run with what they were measured on, as JSON for programs and as a
//! table for people.

mod cpu;
mod life;
mod table;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    audit::{Finding, Findings},
    baseline::{Baselines, Yardstick},
    fault::FaultReport,
    tally::{Figures, Latency, Percentile},
    timeline::CpuTimes,
};

pub use cpu::CpuEach;
pub use life::{LifeFigures, LifeOutcome, Phase, PhaseOutcome};
#[cfg(test)]
pub(crate) use tests::sample_report;

/// What was asked for, and on what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setup {
    /// Name of the scenario.
    pub scenario: String,
    /// Which adapters.
    pub deployment: String,
    /// Units over all lanes.
    pub units: u64,
    /// Lanes.
    pub lanes: u32,
    /// Connections.
    pub connections: u32,
    /// Threads of the generator.
    pub threads: u32,
    /// When sending of a measured part had to end, seconds.
    pub seconds: u32,
    /// Of the plan.
    pub seed: u64,
    /// The sale.
    pub sale: String,
    /// Cores of the machine.
    pub cores: usize,
    /// Git revision of the sources, where git knows it.
    pub revision: Option<String>,
}

/// What came of one part of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartFigures {
    /// Buyers.
    pub buyers: u32,
    /// Requests a second asked for; `null`: closed loop.
    pub rate: Option<f64>,
    /// `open` or `closed`.
    #[serde(rename = "loop")]
    pub loop_kind: &'static str,
    /// Rows decided for its buyers, whatever became of them later.
    pub orders_durable: u64,
    /// The same, over the time from the first request to the last row.
    pub orders_durable_per_s: Option<f64>,
    /// That time, seconds.
    pub durable_s: f64,
    /// How many orders there must be: as many as there are units for its buyers.
    pub orders_expected: u64,
    /// Accepted answers a second, to the last of them.
    pub accepted_per_s: Option<f64>,
    /// Refusals a second, from the first to the last of them.
    pub refused_per_s: Option<f64>,
    /// Requests written.
    pub sent: u64,
    /// Requests that time did not reach.
    pub unsent: u64,
    /// Of the sent ones, retries after the load, by buyers who did not know their outcome.
    pub retried: u64,
    /// Answers `202 accepted`.
    pub accepted: u64,
    /// Answers `202 pending`.
    pub pending: u64,
    /// All refusals.
    pub refused: u64,
    /// Refusals by code.
    pub refused_by_code: BTreeMap<String, u64>,
    /// Given up by the client, as planned.
    pub aborted: u64,
    /// Answers and faults that should not be, by name.
    pub unexpected: BTreeMap<String, u64>,
    /// Of accepted and pending answers, milliseconds.
    pub latency_ms: Option<Latency>,
    /// Of refusals, milliseconds.
    pub refused_latency_ms: Option<Latency>,
    /// CPU time of processes per durable order, microseconds. Processes that the deployment does
    /// not have are `null`.
    pub cpu_us_per_order: CpuEach,
    /// The same CPU time per request, microseconds.
    pub cpu_us_per_request: CpuEach,
    /// The generator's share of the CPU time of all processes, percent.
    pub generator_share_percent: Option<f64>,
    /// CPU time of the generator's threads per request, microseconds.
    pub generator_us_per_request: Option<f64>,
    /// What a fault amid it cost; only where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultReport>,
    /// For pictures: how latencies of promises, and of refusals, are distributed.
    #[serde(skip)]
    pub latency_curves: [Vec<Percentile>; 2],
}

/// A part with its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartReport {
    /// As the scenario calls it.
    pub title: &'static str,
    /// It counts.
    pub measured: bool,
    /// What came of it.
    #[serde(flatten)]
    pub figures: PartFigures,
}

/// Everything a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was asked for.
    #[serde(flatten)]
    pub setup: Setup,
    /// What came of the last measured part.
    #[serde(flatten)]
    pub headline: PartFigures,
    /// Durable orders a second of the closed part of which the measured ones took a share.
    pub sustained_per_s: Option<f64>,
    /// Buyers of any part who do not know their outcome even now.
    pub unknown: u64,
    /// Buyers who got two order ids for one key (R13).
    pub changed: u64,
    /// Buyers who were answered with an order and with a final refusal.
    pub promised_and_refused: u64,
    /// The audit, word by word, over all parts.
    #[serde(flatten)]
    pub audit: AuditCounts,
    /// Accepted a second by raw EVALSHA calls a second.
    pub ratio_to_evalsha: Option<f64>,
    /// The same by the higher and the lower of both measurements.
    pub ratio_to_evalsha_range: Option<[f64; 2]>,
    /// Refused a second by fixed answers a second.
    pub ratio_to_fixed_answer: Option<f64>,
    /// The same by the higher and the lower of both measurements.
    pub ratio_to_fixed_answer_range: Option<[f64; 2]>,
    /// What the ratios are to.
    pub baselines: BaselineReport,
    /// Resident memory of the engine (embedded: the one process) when everything was durable.
    pub engine_memory_bytes: Option<u64>,
    /// The most it ever was.
    pub engine_memory_peak_bytes: Option<u64>,
    /// What was held after each sale of before; only where there were such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_sales: Vec<AfterSale>,
    /// The log was decided to its end and the journals were empty when each part ended and the
    /// audit looked.
    pub at_rest: bool,
    /// What was not, if anything.
    pub outstanding: Vec<String>,
    /// Where to look, by word of the audit.
    pub examples: BTreeMap<&'static str, Vec<String>>,
    /// What became of the orders and their money; only where they are paid.
    #[serde(flatten)]
    pub life: Option<LifeFigures>,
    /// Every part, in the order played.
    pub parts: Vec<PartReport>,
}

/// The yardsticks with what follows from them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BaselineReport {
    /// Raw EVALSHA calls a second; `null` in a deployment without such calls.
    pub evalsha_per_s: Option<YardstickReport>,
    /// Constant refusals of plain hyper a second.
    pub fixed_answer_per_s: YardstickReport,
    /// What could not be measured, and why.
    pub troubles: Vec<String>,
}

/// A yardstick in figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct YardstickReport {
    /// Before and after.
    #[serde(flatten)]
    pub sides: Yardstick,
    /// Of both.
    pub mean: Option<f64>,
    /// Between both, percent of the mean.
    pub spread_percent: Option<f64>,
}

impl From<Yardstick> for YardstickReport {
    fn from(sides: Yardstick) -> Self {
        Self { sides, mean: sides.mean(), spread_percent: sides.spread_percent() }
    }
}

/// How much the audit found, by its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs, reason = "the words are explained at `audit::Findings`")]
pub struct AuditCounts {
    pub lost: u64,
    pub doubled: u64,
    pub oversold: u64,
    pub leaked: u64,
    pub rejected_after_accepted: u64,
    pub over_limit: u64,
    pub pending_without_row: u64,
    pub refused_with_row: u64,
}

impl From<&Findings> for AuditCounts {
    fn from(findings: &Findings) -> Self {
        Self {
            lost: findings.lost.count,
            doubled: findings.doubled.count,
            oversold: findings.oversold.count,
            leaked: findings.leaked.count,
            rejected_after_accepted: findings.rejected_after_accepted.count,
            over_limit: findings.over_limit.count,
            pending_without_row: findings.pending_without_row.count,
            refused_with_row: findings.refused_with_row.count,
        }
    }
}

/// What one part brought, to be put into a report.
#[derive(Debug)]
pub struct PartOutcome {
    /// As the scenario calls it.
    pub title: &'static str,
    /// It counts.
    pub measured: bool,
    /// Buyers.
    pub buyers: u32,
    /// Requests a second; `None`: closed loop.
    pub rate: Option<f64>,
    /// Durable orders a second of a closed loop, by the ledger.
    pub sustained_per_s: Option<f64>,
    /// Rows that are not rejected.
    pub orders_durable: u64,
    /// How many there must be.
    pub orders_expected: u64,
    /// From the first request to the last row.
    pub durable_in: Duration,
    /// Counts of all answers; rates and latencies of the load itself.
    pub figures: Figures,
    /// Requests that time did not reach.
    pub unsent: u64,
    /// Retries after the load.
    pub retried: u64,
    /// CPU time of the generator's threads, and the requests they sent with it.
    pub generator: (Option<Duration>, u64),
    /// CPU time by process, from the first request until everything was durable.
    pub cpu: CpuTimes,
    /// How many of the processes the deployment has.
    pub processes: usize,
    /// What a fault amid it cost.
    pub fault: Option<FaultReport>,
}

/// Resident memory of a process, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// The most that ever was.
    pub peak: u64,
}

/// What is held after a sale of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AfterSale {
    /// Its number, from 1.
    pub sale: u32,
    /// Bytes that Redis holds.
    pub stock_bytes: Option<u64>,
    /// Resident memory of the engine (embedded: of the one process).
    pub engine_bytes: Option<u64>,
    /// Resident memory of the order-writer.
    pub writer_bytes: Option<u64>,
}

/// What a run brought, to be put into a report.
#[derive(Debug)]
pub struct Outcome {
    /// In the order played; at least one.
    pub parts: Vec<PartOutcome>,
    /// Buyers without a known outcome.
    pub unknown: usize,
    /// Buyers with two orders for one key.
    pub changed: usize,
    /// Buyers with both.
    pub promised_and_refused: usize,
    /// The audit.
    pub findings: Findings,
    /// What the machine gave without the engine.
    pub baselines: Baselines,
    /// Of the engine, once everything was durable.
    pub engine_memory: Option<Memory>,
    /// What was held after each sale of before.
    pub after_sales: Vec<AfterSale>,
    /// Everything is durable.
    pub at_rest: bool,
    /// What is not.
    pub outstanding: Vec<String>,
    /// What became of the orders and their money.
    pub life: Option<LifeOutcome>,
}

impl From<PartOutcome> for PartReport {
    fn from(part: PartOutcome) -> Self {
        let (orders, seconds) = (part.orders_durable, part.durable_in.as_secs_f64());
        let refused = part.figures.refused();
        let Figures { sent, accepted, pending, aborted, refused_by_code, unexpected, .. } = part.figures;
        let figures = PartFigures {
            buyers: part.buyers,
            rate: part.rate,
            loop_kind: if part.rate.is_some() { "open" } else { "closed" },
            orders_durable: orders,
            orders_durable_per_s: (orders > 0 && seconds > 0.0).then(|| orders as f64 / seconds),
            durable_s: seconds,
            orders_expected: part.orders_expected,
            accepted_per_s: part.figures.accepted_per_s,
            refused_per_s: part.figures.refused_per_s,
            sent,
            unsent: part.unsent,
            retried: part.retried,
            accepted,
            pending,
            refused,
            refused_by_code,
            aborted,
            unexpected,
            latency_ms: part.figures.latency,
            refused_latency_ms: part.figures.refused_latency,
            cpu_us_per_order: CpuEach::of(part.cpu, part.processes, orders),
            cpu_us_per_request: CpuEach::of(part.cpu, part.processes, sent),
            generator_share_percent: cpu::generator_share_percent(&part.cpu[..part.processes]),
            generator_us_per_request: part.generator.0.and_then(|cpu| cpu::micros_each(cpu, part.generator.1)),
            fault: part.fault,
            latency_curves: [part.figures.latency_curve, part.figures.refused_latency_curve],
        };
        Self { title: part.title, measured: part.measured, figures }
    }
}

impl Report {
    /// Puts figures to words. `None` when nothing was played.
    pub fn new(setup: Setup, outcome: Outcome) -> Option<Self> {
        let Outcome { findings, baselines, engine_memory, .. } = outcome;
        let sustained_per_s = outcome.parts.iter().filter(|part| !part.measured).find_map(|part| part.sustained_per_s);
        let parts: Vec<PartReport> = outcome.parts.into_iter().map(PartReport::from).collect();
        let headline = parts.iter().rev().find(|part| part.measured).or(parts.last())?.figures.clone();
        let evalsha = baselines.evalsha_per_s.and_then(|yardstick| yardstick.ratio(headline.accepted_per_s));
        let fixed = baselines.fixed_answer_per_s.ratio(headline.refused_per_s);
        let examples = findings.words().into_iter().filter(|(_, finding)| finding.count > 0);
        Some(Self {
            setup,
            headline,
            sustained_per_s,
            unknown: outcome.unknown as u64,
            changed: outcome.changed as u64,
            promised_and_refused: outcome.promised_and_refused as u64,
            audit: AuditCounts::from(&findings),
            ratio_to_evalsha: evalsha.map(|ratio| ratio.mean),
            ratio_to_evalsha_range: evalsha.map(|ratio| ratio.range),
            ratio_to_fixed_answer: fixed.map(|ratio| ratio.mean),
            ratio_to_fixed_answer_range: fixed.map(|ratio| ratio.range),
            baselines: BaselineReport {
                evalsha_per_s: baselines.evalsha_per_s.map(YardstickReport::from),
                fixed_answer_per_s: baselines.fixed_answer_per_s.into(),
                troubles: baselines.troubles,
            },
            engine_memory_bytes: engine_memory.map(|memory| memory.now),
            engine_memory_peak_bytes: engine_memory.map(|memory| memory.peak),
            after_sales: outcome.after_sales,
            at_rest: outcome.at_rest,
            outstanding: outcome.outstanding,
            life: outcome.life.map(LifeFigures::from),
            examples: examples.map(|(word, Finding { examples, .. })| (word, examples.clone())).collect(),
            parts,
        })
    }

    /// Nothing lost, doubled, oversold or leaked, everything durable, and every cent accounted for.
    pub fn is_clean(&self) -> bool {
        let AuditCounts { lost, doubled, oversold, leaked, .. } = self.audit;
        let accounts_agree = self.life.as_ref().is_none_or(|life| life.judgement.damage.is_empty());
        self.at_rest && accounts_agree && [lost, doubled, oversold, leaked] == [0; 4]
    }
}
