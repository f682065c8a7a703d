//! Figures that somebody else keeps, such as a pool of connections: they are asked for when the
//! registry is rendered, and cost nothing in between.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{MetricsError, Registry, check, check_counter};

/// What a sampled figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A count of events since the start.
    Counter,
    /// A value that goes up and down.
    Gauge,
}

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

/// What a reader found.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<&'static str, Family>);

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: &'static str,
    values: BTreeMap<Labels, f64>,
}

impl Samples {
    /// Adds a value. Values under the same name and labels are summed, so that each of several
    /// parts may tell its own.
    pub fn add(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let labels = labels.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        let family = self.0.entry(name).or_insert_with(|| Family { kind, help, values: BTreeMap::new() });
        *family.values.entry(labels).or_default() += value;
    }

    /// Adds figures that somebody keeps as plain values.
    pub fn add_all(&mut self, figures: impl IntoIterator<Item = impl Into<Plain>>) {
        for figure in figures {
            let (name, help, is_count, labels, value) = figure.into();
            self.add(if is_count { Kind::Counter } else { Kind::Gauge }, name, help, &labels, value);
        }
    }
}

/// A figure that is kept as plain values: name, help, whether it counts, labels, value.
pub type Plain = (&'static str, &'static str, bool, Vec<(&'static str, &'static str)>, f64);

type Read<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Parts of one thing, made by several threads and asked together. Clones are the same list.
pub struct Sources<T>(Arc<Mutex<Vec<Read<T>>>>);

impl<T> Clone for Sources<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Sources<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Default + AddAssign> Sources<T> {
    /// Adds a part, for ever.
    pub fn add(&self, read: impl Fn() -> T + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(read));
    }

    /// All parts now.
    #[must_use]
    pub fn sum(&self) -> T {
        let mut sum = T::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|read| sum += read());
        sum
    }
}

impl Registry {
    /// Figures that `read` tells whenever the registry is rendered. It MUST NOT wait for anybody,
    /// and MUST tell the same names, with the same labels, each time: those that it does not tell
    /// at once are not shown.
    ///
    /// # Errors
    ///
    /// When a name breaks a rule or is taken.
    pub fn sampled(&self, read: impl Fn(&mut Samples) + Send + Sync + 'static) -> Result<(), MetricsError> {
        let mut first = Samples::default();
        read(&mut first);
        let mut described = Vec::new();
        for (name, family) in &first.0 {
            match family.kind {
                Kind::Counter => check_counter(name)?,
                Kind::Gauge => check(name)?,
            }
            let labels = family.values.keys().next().into_iter().flatten().map(|&(name, _)| name.to_owned());
            described.push(Desc::new((*name).to_owned(), family.help.to_owned(), labels.collect(), HashMap::new())?);
        }
        self.register(Box::new(Sampled { described, read }))
    }
}

struct Sampled<F> {
    described: Vec<Desc>,
    read: F,
}

impl<F: Fn(&mut Samples) + Send + Sync> Collector for Sampled<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut samples = Samples::default();
        (self.read)(&mut samples);
        let told = self.described.iter().filter_map(|described| samples.0.get_key_value(described.fq_name.as_str()));
        told.map(|(name, family)| family.told(name)).collect()
    }
}

impl Family {
    fn told(&self, name: &str) -> MetricFamily {
        let mut told = MetricFamily::default();
        told.set_name(name.to_owned());
        told.set_help(self.help.to_owned());
        told.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        told.set_metric(self.values.iter().map(|(labels, value)| self.metric(labels, *value)).collect());
        told
    }

    fn metric(&self, labels: &Labels, value: f64) -> Metric {
        let labels = labels.iter().map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value(value.clone());
            label
        });
        let mut metric = Metric::from_label(labels.collect());
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        metric
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Read at each look, summed over the parts, those that came later too.
    #[test]
    fn what_somebody_else_counts_is_read_when_somebody_looks() {
        let registry = Registry::new().unwrap();
        let calls = Sources::default();
        let asked = calls.clone();
        let read = move |samples: &mut Samples| {
            samples.add(Kind::Counter, "calls_total", "Calls.", &[("outcome", "ok")], asked.sum());
            samples.add(Kind::Counter, "calls_total", "Calls.", &[("outcome", "lost")], 0.0);
            samples.add(Kind::Gauge, "depth", "Depth.", &[], 1.5);
        };
        registry.sampled(read).unwrap();
        let has = |line: &str| registry.render().unwrap().lines().any(|shown| shown == line);
        assert!(has("# TYPE flashsale_calls_total counter") && has("flashsale_calls_total{outcome=\"ok\"} 0"));
        assert!(has("flashsale_calls_total{outcome=\"lost\"} 0"));
        assert!(has("# TYPE flashsale_depth gauge") && has("flashsale_depth 1.5"));
        let one = Arc::new(AtomicU64::new(2));
        let counted = Arc::clone(&one);
        calls.add(move || counted.load(Ordering::Relaxed) as f64);
        calls.add(|| 3.0);
        assert!(has("flashsale_calls_total{outcome=\"ok\"} 5"));
        one.store(10, Ordering::Relaxed);
        assert!(has("flashsale_calls_total{outcome=\"ok\"} 13"));
    }

    #[test]
    fn sampled_figures_follow_the_rules_of_naming() {
        let registry = Registry::new().unwrap();
        let badly = registry.sampled(|samples| samples.add(Kind::Counter, "calls", "?", &[], 0.0));
        assert!(matches!(badly, Err(MetricsError::Name { .. })), "{badly:?}");
        registry.sampled(|samples| samples.add(Kind::Gauge, "depth", "?", &[], 0.0)).unwrap();
        assert!(matches!(registry.gauge("depth", "?"), Err(MetricsError::Library(_))));
    }
}
