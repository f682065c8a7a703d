//! Everything this crate measures, in one place. Handles are kept, so that a request looks no label up.

use hyper::StatusCode;
use kit::{
    metrics::{BATCH_BUCKETS, Gauge, Histogram, IntCounter, IntGauge, LATENCY_BUCKETS_S, MetricsError, Registry},
    problem::Code,
};

use crate::http::Route;

/// First digits of a status.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// One route.
#[derive(Debug)]
pub struct RouteMetrics {
    requests: [IntCounter; CLASSES.len()],
    seconds: Histogram,
}

impl RouteMetrics {
    /// Counts a request.
    pub fn observe(&self, status: StatusCode, seconds: f64) {
        let class = usize::from(status.as_u16() / 100).clamp(2, CLASSES.len() + 1) - 2;
        self.requests[class].inc();
        self.seconds.observe(seconds);
    }
}

/// The metrics of an engine.
#[derive(Debug)]
pub struct Metrics {
    routes: Vec<RouteMetrics>,
    refusals: Vec<IntCounter>,
    /// `accepted_total`.
    pub accepted: IntCounter,
    /// `pending_total`.
    pub pending: IntCounter,
    /// `permits_in_use`: purchases under way.
    pub permits_in_use: IntGauge,
    /// `reserve_batch_size`.
    pub batch_size: Histogram,
    /// `reserve_seconds`: a call, its repetitions included.
    pub reserve_seconds: Histogram,
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
        let requests =
            registry.counters("requests_total", "Requests by route and status class.", &["route", "status"])?;
        let seconds = registry.histograms(
            "request_seconds",
            "From a request's head to its answer, by route.",
            &["route"],
            LATENCY_BUCKETS_S,
        )?;
        let refusals = registry.counters("refusals_total", "Requests refused, by the problem's code.", &["code"])?;
        let counter = |name, help| registry.counter(name, help);
        Ok(Self {
            routes: Route::ALL
                .iter()
                .map(|route| RouteMetrics {
                    requests: CLASSES.map(|class| requests.with_label_values(&[route.as_str(), class])),
                    seconds: seconds.with_label_values(&[route.as_str()]),
                })
                .collect(),
            refusals: Code::ALL.iter().map(|code| refusals.with_label_values(&[code.as_str()])).collect(),
            accepted: counter("accepted_total", "Purchases answered 202 accepted: the log acknowledged.")?,
            pending: counter("pending_total", "Purchases answered 202 pending: nobody knows yet.")?,
            permits_in_use: registry.gauge("permits_in_use", "Purchases under way.")?,
            batch_size: registry.histogram("reserve_batch_size", "Requests in one reserve call.", BATCH_BUCKETS)?,
            reserve_seconds: registry.histogram(
                "reserve_seconds",
                "A reserve call, its repetitions included.",
                LATENCY_BUCKETS_S,
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
            sweep_claimed: counter("sweep_claimed_total", "Batches the sweeper claimed.")?,
            sweep_appended: counter("sweep_appended_total", "Batches the sweeper appended again.")?,
            sweep_oldest_age: registry
                .gauge_of_parts("sweep_oldest_age_seconds", "Age of the oldest batch of the last sweep; 0 for none.")?,
            engines_live: registry.gauge("engines_live", "Live engines of the fleet, by their leases.")?,
            log_records_in_flight: registry
                .gauge("log_records_in_flight", "Records that have room in the producer's queue.")?,
        })
    }

    /// The metrics of a route.
    pub fn route(&self, route: Route) -> &RouteMetrics {
        // One per route, in the order of their numbers.
        &self.routes[route as usize]
    }

    /// Counts a refusal.
    pub fn refused(&self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|known| *known == code) {
            self.refusals[at].inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_class_and_code_has_its_own_count() {
        let registry = Registry::new().unwrap();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.route(Route::Buy).observe(StatusCode::ACCEPTED, 0.001);
        metrics.route(Route::Sale).observe(StatusCode::NOT_MODIFIED, 0.001);
        metrics.route(Route::Other).observe(StatusCode::CONTINUE, 0.001);
        metrics.route(Route::Other).observe(StatusCode::SERVICE_UNAVAILABLE, 0.001);
        metrics.refused(Code::SoldOut);
        let shown = registry.render().unwrap();
        for line in [
            "flashsale_requests_total{route=\"buy\",status=\"2xx\"} 1",
            "flashsale_requests_total{route=\"sale\",status=\"3xx\"} 1",
            "flashsale_requests_total{route=\"other\",status=\"2xx\"} 1",
            "flashsale_requests_total{route=\"other\",status=\"5xx\"} 1",
            "flashsale_request_seconds_count{route=\"buy\"} 1",
            "flashsale_refusals_total{code=\"sold_out\"} 1",
            "flashsale_refusals_total{code=\"overloaded\"} 0",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }
}
