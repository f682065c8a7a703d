//! Everything this crate measures, in one place. Handles are kept, so that a request looks no label
//! up, and what every request writes is counted by each thread for itself.

use kit::metrics::{
    BATCH_BUCKETS, Gauge, Histogram, IntCounter, IntGauge, LATENCY_BUCKETS_S, MetricsError, Registry, SpreadCounter,
    Timing,
};

/// Buckets whose refusals are counted apart: [`Limited::policy`](crate::limits::Limited).
const POLICIES: [&str; 4] = ["buyer", "buyer_reads", "tenant", "offer"];

/// `stage_seconds`: where a purchase's time goes.
#[derive(Debug)]
pub struct Stages {
    /// All tests of admission, refused purchases included.
    pub admit: Timing,
    /// From admission to the lane's answer: waiting for the call, and the call.
    pub reserve: Timing,
    /// From the promise to the log's answer for its record.
    pub append: Timing,
}

/// `token_checks_total`: whether a valid token was remembered.
#[derive(Debug, Default)]
pub struct TokenChecks {
    /// It was: no signature was computed.
    pub remembered: SpreadCounter,
    /// Its signature was computed.
    pub computed: SpreadCounter,
}

/// The metrics of an engine.
#[derive(Debug)]
pub struct Metrics {
    rate_limited: Vec<SpreadCounter>,
    /// `stage_seconds`.
    pub stages: Stages,
    /// `accepted_total`.
    pub accepted: SpreadCounter,
    /// `pending_total`.
    pub pending: SpreadCounter,
    /// `permits_in_use`: purchases under way.
    pub permits_in_use: IntGauge,
    /// `reserve_batch_size`.
    pub batch_size: Histogram,
    /// `reserve_seconds`: a call, its repetitions included.
    pub reserve_seconds: Histogram,
    /// `reserve_unsent_total`.
    pub reserve_unsent: IntCounter,
    /// `reserve_unknown_total`.
    pub reserve_unknown: IntCounter,
    /// `lanes_closed_total`.
    pub lanes_closed: IntCounter,
    /// `log_full_total`.
    pub log_full: IntCounter,
    /// `journal_full_total`.
    pub journal_full: IntCounter,
    /// `append_seconds`.
    pub append_seconds: Histogram,
    /// `append_failures_total`.
    pub append_failures: IntCounter,
    /// `counts_unacknowledged_total`.
    pub counts_unacknowledged: IntCounter,
    /// `sweep_claimed_total`.
    pub sweep_claimed: IntCounter,
    /// `sweep_appended_total`.
    pub sweep_appended: IntCounter,
    /// `sweep_oldest_age_seconds`.
    pub sweep_oldest_age: Gauge,
    /// `engines_live`.
    pub engines_live: IntGauge,
    /// `log_records_in_flight`.
    pub log_records_in_flight: IntGauge,
}

impl Metrics {
    /// Declares all of them.
    ///
    /// # Errors
    /// [`MetricsError`] when a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let counter = |name, help| registry.counter(name, help);
        let spread = |name, help| Ok::<_, MetricsError>(registry.spread_counters(name, help, [], &[[]])?.remove(0));
        let limits = POLICIES.map(|policy| [policy]);
        Ok(Self {
            rate_limited: registry.spread_counters(
                "rate_limited_total",
                "Requests refused for want of a token, by whose bucket was empty.",
                ["policy"],
                &limits,
            )?,
            stages: stages(registry)?,
            accepted: spread("accepted_total", "Purchases answered 202 accepted: the log acknowledged.")?,
            pending: spread(
                "pending_total",
                "Purchases answered 202 pending: promised, and not acknowledged by the log.",
            )?,
            permits_in_use: registry.gauge("permits_in_use", "Purchases under way.")?,
            batch_size: registry.histogram("reserve_batch_size", "Requests in one reserve call.", BATCH_BUCKETS)?,
            reserve_seconds: registry.histogram(
                "reserve_seconds",
                "A reserve call, its repetitions included.",
                LATENCY_BUCKETS_S,
            )?,
            reserve_unsent: counter(
                "reserve_unsent_total",
                "Reserve calls that never left the engine, for want of a connection.",
            )?,
            reserve_unknown: counter("reserve_unknown_total", "Reserve calls whose outcome is unknown.")?,
            lanes_closed: counter("lanes_closed_total", "Reserve calls that found their lane closed.")?,
            log_full: counter("log_full_total", "Batches refused because the producer had no room.")?,
            journal_full: counter("journal_full_total", "Batches refused because the journal was at its limit.")?,
            append_seconds: registry.histogram(
                "append_seconds",
                "From append to acknowledgement or its failure.",
                LATENCY_BUCKETS_S,
            )?,
            append_failures: counter("append_failures_total", "Batches that were not acknowledged.")?,
            counts_unacknowledged: counter(
                "counts_unacknowledged_total",
                "Records of the topic counts that were not acknowledged; they are appended again.",
            )?,
            sweep_claimed: counter("sweep_claimed_total", "Batches the sweeper claimed.")?,
            sweep_appended: counter("sweep_appended_total", "Batches the sweeper appended again.")?,
            sweep_oldest_age: registry
                .gauge_of_parts("sweep_oldest_age_seconds", "Age of the oldest batch of the last sweep; 0 for none.")?,
            engines_live: registry.gauge("engines_live", "Live engines of the fleet, by their leases.")?,
            log_records_in_flight: registry
                .gauge("log_records_in_flight", "Records that have room in the producer's queue.")?,
        })
    }

    /// Counts a request that found the bucket of this policy empty.
    pub fn rate_limited(&self, policy: &str) {
        if let Some(at) = POLICIES.iter().position(|known| *known == policy) {
            self.rate_limited[at].inc();
        }
    }
}

fn stages(registry: &Registry) -> Result<Stages, MetricsError> {
    let help = "Where a purchase's time goes: admission, waiting for the lane's answer, waiting for the log.";
    let names = [["admit"], ["reserve"], ["append"]];
    let mut stages = registry.timings("stage_seconds", help, ["stage"], &names)?.into_iter();
    // One for each name.
    let mut next = || stages.next().unwrap_or_default();
    Ok(Stages { admit: next(), reserve: next(), append: next() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_policy_and_stage_has_its_own_count() {
        let registry = Registry::new().unwrap();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.rate_limited("tenant");
        metrics.stages.reserve.observe(Duration::from_millis(1));
        let shown = registry.render().unwrap();
        for line in [
            "flashsale_rate_limited_total{policy=\"buyer\"} 0",
            "flashsale_rate_limited_total{policy=\"tenant\"} 1",
            "flashsale_stage_seconds_count{stage=\"admit\"} 0",
            "flashsale_stage_seconds_bucket{stage=\"reserve\",le=\"0.001\"} 1",
            "flashsale_stage_seconds_count{stage=\"append\"} 0",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }
}
