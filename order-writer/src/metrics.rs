//! Everything that the order-writer shows to operators, in one place.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{
    decide::{Decided, LaneLedger},
    id::{LaneId, PartitionId},
    order::Decision,
    stock::{LaneMode, LaneView},
};
use kit::metrics::{
    BATCH_BUCKETS, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, LATENCY_BUCKETS_S, MetricsError,
    Registry, Timing,
};
use store::figures::{Calls, DatabaseFigures, PoolUse, ProducerFigures};

/// `span_stage_seconds`: where a span's time goes.
pub struct SpanStages {
    /// Decoding what was read.
    pub decode: Timing,
    /// Deciding the span, without any I/O.
    pub decide: Timing,
    /// The rows of all shards, durable.
    pub rows: Timing,
    /// Settling the lanes: journals, and units that go back.
    pub settle: Timing,
    /// What is left of the wait until its events are acknowledged, which begins before the
    /// settlement.
    pub events: Timing,
    /// The commit that moves the position.
    pub ledger: Timing,
}

/// Everything that an order-writer measures; registered once.
pub struct Metrics {
    decisions: IntCounterVec,
    span_reservations: Histogram,
    span_seconds: Histogram,
    rows: [IntCounter; 2],
    /// `span_stage_seconds`.
    pub stages: SpanStages,
    halts: IntCounterVec,
    next_offset: IntGaugeVec,
    lag: IntGaugeVec,
    stalled: IntGaugeVec,
    journal: IntGaugeVec,
    journal_overdue: IntGaugeVec,
    open: IntGaugeVec,
    drift: IntGaugeVec,
    oversold: IntGaugeVec,
    /// Lanes whose gauges are shown, by partition.
    shown: Mutex<BTreeMap<PartitionId, BTreeSet<LaneId>>>,
    /// Spans whose keys collided and that were decided again with their rows read.
    pub reread: IntCounter,
    /// Settlements that found their lane closed.
    pub settled_closed: IntCounter,
    /// Promises that did not hold under the current epoch.
    pub alarms: IntCounter,
    /// Records in the dead letters.
    pub parked: IntCounter,
    /// Lanes set aside because their stock answers nonsense.
    pub lanes_aside: IntCounter,
    /// New generations begun because a log lost records.
    pub recoveries: IntCounter,
    /// Rows written again because a shard lost its tail.
    pub rows_rewritten: IntCounter,
    /// Rows written again from the lanes, because the log does not hold their records any more.
    pub rows_rebuilt: IntCounter,
    lost_units: IntGaugeVec,
    /// Movements deleted because the log does not hold their records any more.
    pub movements_deleted: IntCounter,
    /// Lanes closed under a next epoch.
    pub rebuilds: IntCounter,
    /// Lanes whose retirement was committed.
    pub retirements: IntCounter,
    /// Releases appended by the relay.
    pub relayed: IntCounter,
    /// Releases that the relay gave up because they are parked.
    pub releases_parked: IntCounter,
    /// Versions of sales in the table `parked_sales`.
    pub sales_parked: IntGauge,
}

/// How many reservations of a span came to what, by [`Decision::packed`].
#[derive(Debug, Clone, Copy)]
pub struct Outcomes([u64; Decision::COUNT]);

impl Outcomes {
    /// Counts what a span decided, by outcome.
    pub fn of(decided: &Decided) -> Self {
        let mut counts = [0; Decision::COUNT];
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
            rows: rows(registry)?,
            stages: stages(registry)?,
            halts: registry.counters("writer_halts_total", "Times a partition was read anew, by cause.", &["cause"])?,
            next_offset: registry.gauges("ledger_next_offset", "Next offset to decide.", partition)?,
            lag: registry.gauges("log_lag_records", "Records that are not decided.", partition)?,
            stalled: registry.gauges(
                "partition_stalled_seconds",
                "How long records wait that are not decided; 0 while the partition moves or nothing waits.",
                partition,
            )?,
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
            shown: Mutex::default(),
            reread: registry.counter("spans_reread_total", "Spans decided again with their rows read.")?,
            settled_closed: registry.counter("settlements_closed_total", "Settlements that met a closed lane.")?,
            alarms: registry.counter("broken_promises_total", "Promises of Redis that did not hold. Must be 0.")?,
            parked: registry.counter("dead_letters_total", "Records parked with their cause.")?,
            lanes_aside: registry.counter("lanes_set_aside_total", "Times a lane was left alone for a while.")?,
            recoveries: registry.counter("log_recoveries_total", "Generations begun after a log lost records.")?,
            rows_rewritten: registry
                .counter("rows_rewritten_total", "Rows written again after a shard lost its tail.")?,
            rows_rebuilt: registry
                .counter("rows_rebuilt_total", "Rows written again from the lanes: the log had forgotten their records.")?,
            lost_units: registry.gauges(
                "lost_units",
                "Units sold that no row tells of any more, see the table lost_orders of the ledger. Must be 0.",
                partition,
            )?,
            movements_deleted: registry
                .counter("movements_deleted_total", "Stock movements deleted with the records that they belong to.")?,
            rebuilds: registry.counter("lane_rebuilds_total", "Lanes closed under a next epoch.")?,
            retirements: registry.counter("lane_retirements_total", "Lanes retired after their sale's end.")?,
            relayed: registry.counter("releases_relayed_total", "Releases appended by the relay.")?,
            releases_parked: registry
                .counter("releases_parked_total", "Releases in the dead letters: their units did not go back. Must be 0.")?,
            sales_parked: registry.gauge(
                "sales_parked",
                "Versions of sales that came past the ledger and contradicted it, see the table parked_sales. Must be 0.",
            )?,
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

    /// Rows are durable: so many of accepted orders, so many of rejected ones.
    pub fn rows(&self, accepted: u64, rejected: u64) {
        let [of_accepted, of_rejected] = &self.rows;
        of_accepted.inc_by(accepted);
        of_rejected.inc_by(rejected);
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

    /// Units of a partition that are sold and that no row holds.
    pub fn lost(&self, partition: PartitionId, units: u64) {
        self.lost_units.with_label_values(&[&partition.to_string()]).set(units.cast_signed());
    }

    /// How long a partition's records wait without being decided.
    pub fn stalled(&self, partition: PartitionId, seconds: u64) {
        self.stalled.with_label_values(&[&partition.to_string()]).set(seconds.cast_signed());
    }

    /// Where a lane stands. Drift is shown only at rest: everything decided, nothing in flight.
    pub fn lane(
        &self,
        (partition, lane): (PartitionId, LaneId),
        view: &LaneView,
        ledger: Option<&LaneLedger>,
        now_ms: u64,
        decided: bool,
    ) {
        self.shown().entry(partition).or_default().insert(lane);
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

    /// The partition is somebody else's: its figures and those of its lanes are theirs. To be
    /// called when its worker has ended, or it would show them again.
    pub fn forget(&self, partition: PartitionId) {
        let label = partition.to_string();
        [&self.next_offset, &self.lag, &self.stalled, &self.lost_units]
            .into_iter()
            .for_each(|gauge| remove(gauge, &label));
        let lanes = self.shown().remove(&partition).unwrap_or_default();
        lanes.into_iter().for_each(|lane| self.remove_lane(lane));
    }

    /// The lane is retired: there is nothing to show of it.
    pub fn forget_lane(&self, partition: PartitionId, lane: LaneId) {
        if self.shown().get_mut(&partition).is_some_and(|lanes| lanes.remove(&lane)) {
            self.remove_lane(lane);
        }
    }

    fn remove_lane(&self, lane: LaneId) {
        let label = lane.to_string();
        let gauges = [&self.journal, &self.journal_overdue, &self.open, &self.drift, &self.oversold];
        gauges.into_iter().for_each(|gauge| remove(gauge, &label));
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<PartitionId, BTreeSet<LaneId>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Absent labels are no error: nothing may have been shown.
fn remove(gauge: &IntGaugeVec, label: &str) {
    if let Err(absent) = gauge.remove_label_values(&[label]) {
        tracing::debug!(label, %absent, "a figure that was not shown is forgotten");
    }
}

/// What the stores count, asked when somebody looks.
pub struct StoreFigures {
    /// The order tables' pools.
    pub orders: DatabaseFigures,
    /// Pool and statements of the ledger's database.
    pub ledger: DatabaseFigures,
    /// The pool of connections to the lanes' server.
    pub stock_pool: PoolUse,
    /// Calls of that server.
    pub stock: Calls,
    /// What the log's producer reports.
    pub producer: ProducerFigures,
}

/// Shows the stores' figures.
///
/// # Errors
/// [`MetricsError`] if a name is taken.
pub fn show_stores(
    registry: &Registry,
    read: impl Fn() -> StoreFigures + Send + Sync + 'static,
) -> Result<(), MetricsError> {
    registry.sampled(move |samples| {
        let StoreFigures { orders, ledger, stock_pool, stock, producer } = read();
        samples.add_all(orders.figures("orders"));
        samples.add_all(ledger.figures("ledger"));
        samples.add_all(stock_pool.figures("stock"));
        samples.add_all(stock.stock_figures());
        samples.add_all(producer.figures());
    })
}

fn rows(registry: &Registry) -> Result<[IntCounter; 2], MetricsError> {
    let rows = registry.counters("rows_written_total", "Order rows written, by what they say.", &["outcome"])?;
    Ok(["accepted", "rejected"].map(|outcome| rows.with_label_values(&[outcome])))
}

fn stages(registry: &Registry) -> Result<SpanStages, MetricsError> {
    let help = "Where a span's time goes, in the order of its steps.";
    let names = [["decode"], ["decide"], ["rows"], ["settle"], ["events"], ["ledger"]];
    let mut stages = registry.timings("span_stage_seconds", help, ["stage"], &names)?.into_iter();
    // One for each name.
    let mut next = || stages.next().unwrap_or_default();
    Ok(SpanStages { decode: next(), decide: next(), rows: next(), settle: next(), events: next(), ledger: next() })
}

fn outcome(byte: u8) -> &'static str {
    match Decision::unpack(byte) {
        Some(Decision::Accepted) => "accepted",
        Some(Decision::Duplicate) => "duplicate",
        Some(Decision::Rejected(reason)) => reason.as_str(),
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use store::figures::Appended;

    use super::*;

    fn shown(registry: &Registry, line: &str) {
        let text = registry.render().unwrap();
        assert!(text.lines().any(|shown| shown == line), "{line} is missing from:\n{text}");
    }

    #[test]
    fn rows_and_stages_of_spans_are_shown() {
        let registry = Registry::new().unwrap();
        let metrics = Metrics::register(&registry).unwrap();
        shown(&registry, "flashsale_rows_written_total{outcome=\"rejected\"} 0");
        metrics.rows(4_000, 96);
        metrics.stages.settle.observe(Duration::from_millis(2));
        for line in [
            "flashsale_rows_written_total{outcome=\"accepted\"} 4000",
            "flashsale_rows_written_total{outcome=\"rejected\"} 96",
            "flashsale_span_stage_seconds_count{stage=\"decode\"} 0",
            "flashsale_span_stage_seconds_count{stage=\"decide\"} 0",
            "flashsale_span_stage_seconds_count{stage=\"rows\"} 0",
            "flashsale_span_stage_seconds_bucket{stage=\"settle\",le=\"0.0025\"} 1",
            "flashsale_span_stage_seconds_count{stage=\"ledger\"} 0",
        ] {
            shown(&registry, line);
        }
    }

    /// The stores are asked at each look.
    #[test]
    fn the_stores_tell_at_each_look() {
        let registry = Registry::new().unwrap();
        let acknowledged = std::sync::atomic::AtomicU64::new(0);
        show_stores(&registry, move || StoreFigures {
            orders: DatabaseFigures {
                pool: PoolUse { in_use: 2, max: 16, ..PoolUse::default() },
                ..Default::default()
            },
            ledger: DatabaseFigures::default(),
            stock_pool: PoolUse { idle: 1, max: 8, ..PoolUse::default() },
            stock: Calls { unknown: 3, ..Calls::default() },
            producer: ProducerFigures {
                appended: Appended {
                    acknowledged: acknowledged.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                    ..Appended::default()
                },
                ..ProducerFigures::default()
            },
        })
        .unwrap();
        // Once at the registration, to learn the names.
        shown(&registry, "flashsale_log_records_total{outcome=\"acknowledged\"} 1");
        for line in [
            "flashsale_log_records_total{outcome=\"acknowledged\"} 2",
            "flashsale_log_records_total{outcome=\"acknowledged\"} 3",
        ] {
            shown(&registry, line);
        }
        for line in [
            "flashsale_pool_connections{pool=\"orders\",state=\"in_use\"} 2",
            "flashsale_pool_connections_max{pool=\"stock\"} 8",
            "flashsale_pool_waiting{pool=\"ledger\"} 0",
            "flashsale_stock_calls_total{outcome=\"unknown\"} 3",
            "flashsale_sql_statements_total{database=\"ledger\",outcome=\"broken\"} 0",
        ] {
            shown(&registry, line);
        }
    }
}
