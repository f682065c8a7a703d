//! What operators watch.

use domain::id::PartitionId;
use kit::metrics::{IntCounterVec, IntGauge, IntGaugeVec, MetricsError, Registry};

/// What became of an event. A span that is done again counts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Evaluated,
    Waits,
    Parked,
}

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    events: IntCounterVec,
    behind: IntGaugeVec,
    stopped: IntGaugeVec,
    /// Seconds that the event has waited that waits longest; 0 when none does.
    pub(crate) waiting_seconds: IntGauge,
    /// Parked events and records.
    pub(crate) parked: IntGauge,
    /// Seconds that the payouts are overdue which are longest.
    pub(crate) maturing_lag_seconds: IntGauge,
}

impl Metrics {
    /// Declares them.
    ///
    /// # Errors
    /// When one is declared already.
    pub fn register(registry: &Registry) -> Result<Self, MetricsError> {
        Ok(Self {
            events: registry.counters(
                "commission_events_total",
                "Events of orders that commissions depend on, by what became of them.",
                &["outcome"],
            )?,
            behind: registry.gauges(
                "commission_records_behind",
                "Records of order-events that a partition's consumer has before it.",
                &["partition"],
            )?,
            stopped: registry.gauges(
                "commission_stopped",
                "Shops whose switch is off (earning, withdrawing), and open holds of people and orders.",
                &["what"],
            )?,
            waiting_seconds: registry
                .gauge("commission_events_waiting_seconds", "How long the oldest event waits for the one before it.")?,
            parked: registry.gauge("commission_events_parked", "Events and records that were put aside.")?,
            maturing_lag_seconds: registry.gauge(
                "commission_maturing_lag_seconds",
                "How long the oldest payout is overdue that should have matured.",
            )?,
        })
    }

    pub(crate) fn behind(&self, partition: PartitionId, records: u64) {
        let gauge = self.behind.with_label_values(&[partition.to_string()]);
        gauge.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    pub(crate) fn stopped(&self, stopped: &[(&'static str, i64)]) {
        for (what, count) in stopped {
            self.stopped.with_label_values(&[*what]).set(*count);
        }
    }

    pub(crate) fn count(&self, outcome: Outcome, events: usize) {
        let label = match outcome {
            Outcome::Evaluated => "evaluated",
            Outcome::Waits => "waits",
            Outcome::Parked => "parked",
        };
        self.events.with_label_values(&[label]).inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }
}
