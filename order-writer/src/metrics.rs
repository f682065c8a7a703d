//! Everything that the order-writer shows to operators, in one place.

use std::time::Duration;

use domain::{
    decide::{Decided, LaneLedger},
    id::{LaneId, PartitionId},
    order::Decision,
    stock::{LaneMode, LaneView},
};
use kit::metrics::{
    BATCH_BUCKETS, Histogram, IntCounter, IntCounterVec, IntGaugeVec, LATENCY_BUCKETS_S, MetricsError, Registry,
};

/// The order-writer's metrics.
pub struct Metrics {
    decisions: IntCounterVec,
    span_reservations: Histogram,
    span_seconds: Histogram,
    halts: IntCounterVec,
    next_offset: IntGaugeVec,
    lag: IntGaugeVec,
    journal: IntGaugeVec,
    journal_overdue: IntGaugeVec,
    open: IntGaugeVec,
    drift: IntGaugeVec,
    oversold: IntGaugeVec,
    /// Spans whose keys collided and that were decided again with their rows read.
    pub reread: IntCounter,
    /// Settlements that found their lane closed.
    pub settled_closed: IntCounter,
    /// Promises that did not hold under the current epoch.
    pub alarms: IntCounter,
    /// Records in the dead letters.
    pub parked: IntCounter,
    /// New generations begun because a log lost records.
    pub recoveries: IntCounter,
    /// Rows written again because a shard lost its tail.
    pub rows_rewritten: IntCounter,
    /// Lanes closed under a next epoch.
    pub rebuilds: IntCounter,
    /// Releases appended by the relay.
    pub relayed: IntCounter,
}

/// How many reservations of a span came to what, by [`Decision::packed`].
#[derive(Debug, Clone, Copy)]
pub struct Outcomes([u64; 5]);

impl Outcomes {
    /// Counts them.
    pub fn of(decided: &Decided) -> Self {
        let mut counts = [0; 5];
        for &byte in decided.movements.iter().filter(|m| m.lane.is_some()).flat_map(|m| &m.decisions) {
            if let Some(count) = counts.get_mut(usize::from(byte)) {
                *count += 1;
            }
        }
        Self(counts)
    }
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// [`MetricsError`] if a name is taken or badly formed.
    pub fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let (lane, partition) = (&["lane"][..], &["partition"][..]);
        Ok(Self {
            decisions: registry.counters("decisions_total", "Reservations decided, by outcome.", &["outcome"])?,
            span_reservations: registry.histogram(
                "span_reservations",
                "Reservations decided together.",
                BATCH_BUCKETS,
            )?,
            span_seconds: registry.histogram("span_seconds", "From decide to ledger.", LATENCY_BUCKETS_S)?,
            halts: registry.counters("writer_halts_total", "Times a partition was read anew, by cause.", &["cause"])?,
            next_offset: registry.gauges("ledger_next_offset", "Next offset to decide.", partition)?,
            lag: registry.gauges("log_lag_records", "Records that are not decided.", partition)?,
            journal: registry.gauges("journal_batches", "Batches promised and not durable.", lane)?,
            journal_overdue: registry.gauges(
                "journal_overdue_seconds",
                "How long the oldest is due for the sweeper.",
                lane,
            )?,
            open: registry.gauges("lane_open", "1 when open at the ledger's epoch.", lane)?,
            drift: registry.gauges(
                "stock_drift_units",
                "At rest: |allotment - units left - sold|. Must be 0.",
                lane,
            )?,
            oversold: registry.gauges("oversold_units", "Units sold above the allotment. Must be 0.", lane)?,
            reread: registry.counter("spans_reread_total", "Spans decided again with their rows read.")?,
            settled_closed: registry.counter("settlements_closed_total", "Settlements that met a closed lane.")?,
            alarms: registry.counter("broken_promises_total", "Promises of Redis that did not hold. Must be 0.")?,
            parked: registry.counter("dead_letters_total", "Records parked with their cause.")?,
            recoveries: registry.counter("log_recoveries_total", "Generations begun after a log lost records.")?,
            rows_rewritten: registry
                .counter("rows_rewritten_total", "Rows written again after a shard lost its tail.")?,
            rebuilds: registry.counter("lane_rebuilds_total", "Lanes closed under a next epoch.")?,
            relayed: registry.counter("releases_relayed_total", "Releases appended by the relay.")?,
        })
    }

    /// A span is carried out.
    pub fn span(&self, partition: PartitionId, Outcomes(counts): Outcomes, took: Duration) {
        let reservations = counts.iter().sum::<u64>();
        for (byte, count) in (0u8..).zip(counts).filter(|(_, count)| *count > 0) {
            self.decisions.with_label_values(&[outcome(byte)]).inc_by(count);
        }
        self.span_reservations.observe(f64::from(u32::try_from(reservations).unwrap_or(u32::MAX)));
        self.span_seconds.observe(took.as_secs_f64());
        tracing::debug!(%partition, reservations, ?took, "span carried out");
    }

    /// A worker could not go on, for this cause.
    pub fn halted(&self, cause: &'static str) {
        self.halts.with_label_values(&[cause]).inc();
    }

    /// Where a partition stands.
    pub fn position(&self, partition: PartitionId, next_offset: u64, lag: u64) {
        let label = partition.to_string();
        self.next_offset.with_label_values(&[&label]).set(next_offset.cast_signed());
        self.lag.with_label_values(&[&label]).set(lag.cast_signed());
    }

    /// Where a lane stands. Drift is told only at rest: everything decided, nothing in flight.
    pub fn lane(&self, lane: LaneId, view: &LaneView, ledger: Option<&LaneLedger>, now_ms: u64, decided: bool) {
        let label = lane.to_string();
        let label = &[label.as_str()][..];
        self.journal.with_label_values(label).set(view.journal_len.cast_signed());
        let overdue = view.oldest_due_ms.map_or(0, |due| now_ms.saturating_sub(due) / 1000);
        self.journal_overdue.with_label_values(label).set(overdue.cast_signed());
        let Some(ledger) = ledger else { return };
        let open = view.mode == (LaneMode::Open { epoch: ledger.epoch });
        self.open.with_label_values(label).set(i64::from(open));
        let oversold: u64 = ledger.offers.values().map(|offer| offer.sold.saturating_sub(offer.allotment)).sum();
        self.oversold.with_label_values(label).set(oversold.cast_signed());
        if open && decided && view.journal_len == 0 {
            let drift: u64 = view
                .offers
                .iter()
                .filter_map(|(offer, left, _)| ledger.offers.get(offer).map(|numbers| (numbers, left)))
                .map(|(numbers, left)| numbers.allotment.abs_diff(left + numbers.sold))
                .sum();
            self.drift.with_label_values(label).set(drift.cast_signed());
        }
    }

    /// The partition is somebody else's: its figures are theirs.
    pub fn forget(&self, partition: PartitionId) {
        let label = partition.to_string();
        // Absent labels are no error: the worker may not have shown anything.
        let shown = [&self.next_offset, &self.lag].map(|gauge| gauge.remove_label_values(&[&label]).is_ok());
        tracing::debug!(%partition, ?shown, "figures forgotten");
    }
}

fn outcome(byte: u8) -> &'static str {
    match Decision::unpack(byte) {
        Some(Decision::Accepted) => "accepted",
        Some(Decision::Duplicate) => "duplicate",
        Some(Decision::Rejected(reason)) => reason.as_str(),
        None => "unknown",
    }
}
