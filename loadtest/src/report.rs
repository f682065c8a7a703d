//! The report: the figures of a run with what they were measured on, as JSON for programs and as a table for people.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::{
    audit::{Finding, Findings},
    tally::{Figures, Latency},
};

/// CPU time per durable order, microseconds, by process. Unknown (`null`) where `/proc` does not tell, or the process is not ours to
/// know.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CpuPerOrder {
    /// This program.
    pub generator: Option<f64>,
    /// The engine.
    pub engine: Option<f64>,
    /// Redis.
    pub redis: Option<f64>,
    /// The Kafka broker.
    pub kafka: Option<f64>,
    /// The order-writer.
    pub writer: Option<f64>,
    /// MySQL or MariaDB.
    pub mysql: Option<f64>,
}

impl CpuPerOrder {
    /// Each with its name.
    pub fn parts(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("generator", self.generator),
            ("engine", self.engine),
            ("redis", self.redis),
            ("kafka", self.kafka),
            ("writer", self.writer),
            ("mysql", self.mysql),
        ]
    }

    /// Of everything but the generator; unknown when a part is.
    pub fn system(&self) -> Option<f64> {
        self.parts()[1..].iter().map(|(_, us)| *us).sum()
    }
}

/// What was asked for, and on what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setup {
    /// Name of the scenario.
    pub scenario: String,
    /// Which adapters.
    pub deployment: String,
    /// Units over all lanes.
    pub units: u64,
    /// Buyers.
    pub buyers: u32,
    /// Lanes.
    pub lanes: u32,
    /// Connections.
    pub connections: u32,
    /// Threads of the generator.
    pub threads: u32,
    /// Requests a second asked for; `null`: closed loop.
    pub rate: Option<f64>,
    /// `open` or `closed`.
    #[serde(rename = "loop")]
    pub loop_kind: &'static str,
    /// When sending had to end, seconds.
    pub seconds: u32,
    /// Of the plan.
    pub seed: u64,
    /// The sale.
    pub sale: String,
    /// Cores of the machine.
    pub cores: usize,
    /// Git revision of the sources, where git tells.
    pub revision: Option<String>,
}

/// Everything a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was asked for.
    #[serde(flatten)]
    pub setup: Setup,
    /// Rows decided for their buyers, whatever became of them later.
    pub orders_durable: u64,
    /// The same, over the time from the first request to the last row.
    pub orders_durable_per_s: Option<f64>,
    /// That time, seconds.
    pub durable_s: f64,
    /// How many orders there must be: units, or buyers where they are fewer.
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
    /// Buyers who do not know their outcome even now.
    pub unknown: u64,
    /// Buyers who got two order ids for one key (R13).
    pub changed: u64,
    /// Buyers who were told both an order and a final no.
    pub promised_and_refused: u64,
    /// The audit, word by word.
    #[serde(flatten)]
    pub audit: AuditCounts,
    /// Of accepted and pending answers, milliseconds.
    pub latency_ms: Option<Latency>,
    /// Of refusals, milliseconds.
    pub refused_latency_ms: Option<Latency>,
    /// CPU time of processes per durable order.
    pub cpu_us_per_order: CpuPerOrder,
    /// CPU time of the generator's threads per request.
    pub generator_us_per_request: Option<f64>,
    /// The log was decided to its end and the journals were empty when the audit looked.
    pub at_rest: bool,
    /// What was not, if anything.
    pub outstanding: Vec<String>,
    /// Where to look, by word of the audit.
    pub examples: BTreeMap<&'static str, Vec<String>>,
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

/// What a run brought, to be put into a report.
#[derive(Debug)]
pub struct Outcome {
    /// Counts of all answers; rates and latencies of the load itself.
    pub figures: Figures,
    /// Requests that time did not reach.
    pub unsent: usize,
    /// Retries after the load.
    pub retried: u64,
    /// Buyers without a known outcome.
    pub unknown: usize,
    /// Buyers with two orders for one key.
    pub changed: usize,
    /// Buyers told both.
    pub promised_and_refused: usize,
    /// Rows that are not rejected.
    pub orders_durable: u64,
    /// How many there must be.
    pub orders_expected: u64,
    /// From the first request to the last row.
    pub durable_in: Duration,
    /// The audit.
    pub findings: Findings,
    /// CPU time by process over that time, in the order of [`CpuPerOrder::parts`].
    pub cpu: [Option<Duration>; 6],
    /// CPU time of the generator's threads, and the requests they sent with it.
    pub generator: (Option<Duration>, u64),
    /// Everything is durable.
    pub at_rest: bool,
    /// What is not.
    pub outstanding: Vec<String>,
}

impl Report {
    /// Puts figures to words.
    pub fn new(setup: Setup, outcome: Outcome) -> Self {
        let orders = outcome.orders_durable;
        let seconds = outcome.durable_in.as_secs_f64();
        let [generator, engine, redis, kafka, writer, mysql] = outcome.cpu.map(|cpu| micros_each(cpu?, orders));
        let Figures { latency, refused_latency, .. } = outcome.figures;
        let examples = outcome.findings.words().into_iter().filter(|(_, finding)| finding.count > 0);
        Self {
            setup,
            orders_durable: orders,
            orders_durable_per_s: (orders > 0 && seconds > 0.0).then(|| orders as f64 / seconds),
            durable_s: seconds,
            orders_expected: outcome.orders_expected,
            accepted_per_s: outcome.figures.accepted_per_s,
            refused_per_s: outcome.figures.refused_per_s,
            sent: outcome.figures.sent,
            unsent: outcome.unsent as u64,
            retried: outcome.retried,
            accepted: outcome.figures.accepted,
            pending: outcome.figures.pending,
            refused: outcome.figures.refused(),
            refused_by_code: outcome.figures.refused_by_code,
            aborted: outcome.figures.aborted,
            unexpected: outcome.figures.unexpected,
            unknown: outcome.unknown as u64,
            changed: outcome.changed as u64,
            promised_and_refused: outcome.promised_and_refused as u64,
            audit: AuditCounts::from(&outcome.findings),
            latency_ms: latency,
            refused_latency_ms: refused_latency,
            cpu_us_per_order: CpuPerOrder { generator, engine, redis, kafka, writer, mysql },
            generator_us_per_request: outcome.generator.0.and_then(|cpu| micros_each(cpu, outcome.generator.1)),
            at_rest: outcome.at_rest,
            outstanding: outcome.outstanding,
            examples: examples.map(|(word, Finding { examples, .. })| (word, examples.clone())).collect(),
        }
    }

    /// Nothing lost, doubled, oversold or leaked, and everything durable.
    pub fn is_clean(&self) -> bool {
        let AuditCounts { lost, doubled, oversold, leaked, .. } = self.audit;
        self.at_rest && [lost, doubled, oversold, leaked] == [0; 4]
    }
}

fn micros_each(cpu: Duration, count: u64) -> Option<f64> {
    (count > 0).then(|| cpu.as_secs_f64() * 1e6 / count as f64)
}

/// The table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { scenario, deployment, units, buyers, lanes, connections, threads, .. } = &self.setup;
        writeln!(
            f,
            "{scenario} ({deployment}): {units} units, {buyers} buyers, {lanes} lane(s), {connections} connections, {}",
            match self.setup.rate {
                Some(rate) => format!("open loop at {rate} requests/s"),
                None => "closed loop".into(),
            }
        )?;
        let revision = self.setup.revision.as_deref().unwrap_or("unknown");
        let (sale, cores, seed) = (&self.setup.sale, self.setup.cores, self.setup.seed);
        writeln!(f, "sale {sale}, seed {seed}, {cores} cores, {threads} generator thread(s), revision {revision}\n")?;
        self.write_rates(f)?;
        self.write_answers(f)?;
        self.write_cpu(f)?;
        self.write_audit(f)
    }
}

impl Report {
    fn write_rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |rate: Option<f64>| rate.map_or("-".into(), |rate| format!("{rate:.0}/s"));
        let durable = rate(self.orders_durable_per_s);
        let (orders, expected, seconds) = (self.orders_durable, self.orders_expected, self.durable_s);
        line(f, "durable orders", &format!("{durable}   {orders} of {expected} rows in {seconds:.2} s"))?;
        line(f, "accepted", &format!("{}   {}", rate(self.accepted_per_s), latency(self.latency_ms)))?;
        line(f, "refused", &format!("{}   {}", rate(self.refused_per_s), latency(self.refused_latency_ms)))?;
        if self.setup.rate.is_none() {
            line(f, "", "(closed loop: latency counts from the send, and slow answers slow the load down)")?;
        }
        Ok(())
    }

    fn write_answers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, accepted, pending, refused) = (self.sent, self.accepted, self.pending, self.refused);
        line(f, "requests", &format!("{sent} sent: {accepted} accepted, {pending} pending, {refused} refused"))?;
        for (code, count) in &self.refused_by_code {
            line(f, "", &format!("refused {code}: {count}"))?;
        }
        for (what, count) in [
            ("aborted by the client, as planned", self.aborted),
            ("of them retries after the load, outcome unknown till then", self.retried),
            ("not sent in time", self.unsent),
        ] {
            if count > 0 {
                line(f, "", &format!("{what}: {count}"))?;
            }
        }
        for (what, count) in &self.unexpected {
            line(f, "UNEXPECTED", &format!("{what}: {count}"))?;
        }
        for (what, count) in [
            ("buyers without a known outcome", self.unknown),
            ("buyers with two orders for one key (R13)", self.changed),
            ("buyers promised an order and refused", self.promised_and_refused),
        ] {
            if count > 0 {
                line(f, "UNEXPECTED", &format!("{what}: {count}"))?;
            }
        }
        Ok(())
    }

    fn write_cpu(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |us: Option<f64>| us.map_or("?".into(), |us| format!("{us:.1}"));
        let parts: Vec<String> =
            self.cpu_us_per_order.parts().iter().map(|(name, cpu)| format!("{name} {}", us(*cpu))).collect();
        let system = us(self.cpu_us_per_order.system());
        line(f, "CPU µs/order", &format!("{}; all but the generator {system}", parts.join(", ")))?;
        line(f, "generator", &format!("{} µs of CPU per request", us(self.generator_us_per_request)))
    }

    fn write_audit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AuditCounts { lost, doubled, oversold, leaked, .. } = self.audit;
        writeln!(f)?;
        line(f, "AUDIT", &format!("lost {lost}, doubled {doubled}, oversold {oversold}, leaked {leaked}"))?;
        let AuditCounts { rejected_after_accepted, over_limit, pending_without_row, refused_with_row, .. } = self.audit;
        line(f, "", &format!("rejected after accepted {rejected_after_accepted}, over limit {over_limit}"))?;
        line(f, "", &format!("pending without row {pending_without_row}, refused with row {refused_with_row}"))?;
        for (word, examples) in &self.examples {
            examples.iter().try_for_each(|example| line(f, "", &format!("{word}: {example}")))?;
        }
        if !self.at_rest {
            line(f, "NOT AT REST", "not everything became durable in time; the audit may have looked too early")?;
            self.outstanding.iter().try_for_each(|what| line(f, "", what))?;
        }
        line(f, "verdict", if self.is_clean() { "clean" } else { "DAMAGED" })
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "{name:<16}{text}")
}

fn latency(latency: Option<Latency>) -> String {
    match latency {
        Some(Latency { p50, p99, p999, max }) => {
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, max {max:.1} ms")
        }
        None => "no answers".into(),
    }
}

#[cfg(test)]
mod tests;
