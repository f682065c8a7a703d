//! What a service counts and measures. Each crate declares its own metrics, all in one place; this
//! file gives them their prefix, their exposition and the process's own cost.

/// What processes and threads have cost so far, from `/proc`.
mod process;

/// Figures that others keep, read at each look.
mod sampled;

/// Counts that many threads write.
mod spread;

use prometheus::{HistogramOpts, Opts, TextEncoder};

pub use self::process::{ProcessSample, process_cpu_time, thread_cpu_time};
pub use self::sampled::{Kind, Plain, Samples, Sources};
pub use self::spread::{SpreadCounter, SpreadCounts, Timing};
pub use prometheus::core::Collector;
pub use prometheus::{Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// What every metric name begins with, but for those of the process, whose names are standard.
pub const PREFIX: &str = "flashsale";

/// Media type of the exposition.
pub const CONTENT_TYPE_EXPOSITION: &str = prometheus::TEXT_FORMAT;

/// Buckets for latencies on the path of a request: 100 µs to 10 s.
pub const LATENCY_BUCKETS_S: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Buckets for the sizes of batches: powers of two up to 1024.
pub const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Why a metric could not be declared or shown.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The name breaks a rule of naming.
    #[error("metric `{name}`: {rule}")]
    Name {
        /// The name as given, without the prefix.
        name: String,
        /// The rule.
        rule: &'static str,
    },
    /// The library refused it: declared twice, or labels that are no labels.
    #[error(transparent)]
    Library(#[from] prometheus::Error),
}

/// The metrics of one process. Clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: prometheus::Registry,
}

impl Registry {
    /// An empty registry.
    ///
    /// # Errors
    ///
    /// When the library does not accept the prefix, which it does.
    pub fn new() -> Result<Self, MetricsError> {
        Ok(Self { inner: prometheus::Registry::new_custom(Some(PREFIX.to_owned()), None)? })
    }

    /// A count of events, starting at nothing. Its name ends in `_total`.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricsError> {
        check_counter(name)?;
        self.add(IntCounter::new(name, help)?)
    }

    /// Counts of events, told apart by labels. Labels take few values, known beforehand.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        check_counter(name)?;
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A value that goes up and down.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken.
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        check(name)?;
        self.add(IntGauge::new(name, help)?)
    }

    /// Values that go up and down, told apart by labels.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        check(name)?;
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A value that goes up and down in parts of its base unit, such as the age of something in
    /// seconds.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken.
    pub fn gauge_of_parts(&self, name: &str, help: &str) -> Result<Gauge, MetricsError> {
        check(name)?;
        self.add(Gauge::new(name, help)?)
    }

    /// A distribution over buckets.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken, or the buckets do not ascend.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, MetricsError> {
        check(name)?;
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    /// Distributions over the same buckets, told apart by labels.
    ///
    /// # Errors
    ///
    /// When the name breaks a rule or is taken, or the buckets do not ascend.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        check(name)?;
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    /// A collector of the caller's own. It gets the prefix too.
    ///
    /// # Errors
    ///
    /// When one of its names is taken.
    pub fn register(&self, collector: Box<dyn Collector>) -> Result<(), MetricsError> {
        Ok(self.inner.register(collector)?)
    }

    /// Everything in Prometheus text form, the process's own cost included.
    ///
    /// # Errors
    ///
    /// When a collector produced something that cannot be written.
    pub fn render(&self) -> Result<String, MetricsError> {
        let mut text = String::with_capacity(16 * 1024);
        TextEncoder::new().encode_utf8(&self.inner.gather(), &mut text)?;
        match ProcessSample::of_self() {
            Ok(sample) => sample.render_into(&mut text),
            // Not on this system, or no right to look: our own metrics are worth showing without
            // it.
            Err(error) => tracing::debug!(%error, "the process's own cost cannot be read"),
        }
        Ok(text)
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, MetricsError> {
        self.inner.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

fn check(name: &str) -> Result<(), MetricsError> {
    let broken = |rule| Err(MetricsError::Name { name: name.to_owned(), rule });
    if name.starts_with(PREFIX) {
        return broken("the prefix is added here, not by the caller");
    }
    if name.ends_with("_ms") || name.ends_with("_us") || name.ends_with("_millis") {
        return broken("times are in seconds");
    }
    Ok(())
}

fn check_counter(name: &str) -> Result<(), MetricsError> {
    check(name)?;
    if name.ends_with("_total") {
        Ok(())
    } else {
        Err(MetricsError::Name { name: name.to_owned(), rule: "a counter ends in `_total`" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_shown_under_the_prefix_and_the_process_without() {
        let registry = Registry::new().unwrap();
        registry.counter("orders_accepted_total", "Orders accepted.").unwrap().inc_by(3);
        registry.counters("declined_total", "Declined.", &["code"]).unwrap().with_label_values(&["sold_out"]).inc();
        registry.gauge("in_flight", "In flight.").unwrap().set(-2);
        registry.histogram("stage_seconds", "Stages.", LATENCY_BUCKETS_S).unwrap().observe(0.003);
        let text = registry.render().unwrap();
        for line in [
            "# TYPE flashsale_orders_accepted_total counter",
            "flashsale_orders_accepted_total 3",
            "flashsale_declined_total{code=\"sold_out\"} 1",
            "flashsale_in_flight -2",
            "flashsale_stage_seconds_bucket{le=\"0.005\"} 1",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing from:\n{text}");
        }
    }

    #[test]
    fn names_that_break_a_rule_are_refused_at_declaration() {
        let registry = Registry::new().unwrap();
        for name in ["flashsale_x_total", "orders", "wait_ms_total_ms"] {
            assert!(matches!(registry.counter(name, "?"), Err(MetricsError::Name { .. })), "{name}");
        }
        assert!(matches!(registry.gauge("wait_ms", "?"), Err(MetricsError::Name { .. })));
    }

    #[test]
    fn a_name_can_be_declared_once() {
        let registry = Registry::new().unwrap();
        registry.counter("x_total", "x").unwrap();
        assert!(matches!(registry.clone().counter("x_total", "x"), Err(MetricsError::Library(_))));
    }
}
