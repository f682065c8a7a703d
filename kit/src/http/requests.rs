//! What the requests of a port come to: by route, and by the code of a refusal. Counted by each
//! thread for itself.

use std::time::Duration;

use hyper::StatusCode;

use crate::metrics::{MetricsError, Registry, SpreadCounter, Timing};
use crate::problem::Code;

/// First digits of a status.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The name of what is no route.
const OTHER: &str = "other";

/// `requests_total`, `request_seconds`, `refusals_total`.
#[derive(Debug)]
pub struct RequestMetrics {
    /// In the order of the table's mounts; behind them what is no route.
    routes: Vec<RouteMetrics>,
    refusals: Vec<SpreadCounter>,
}

#[derive(Debug)]
struct RouteMetrics {
    requests: [SpreadCounter; CLASSES.len()],
    seconds: Timing,
}

impl RequestMetrics {
    /// Declares them for routes of these names, in the order of
    /// [`Table::names`](super::Table::names).
    ///
    /// # Errors
    ///
    /// When they are declared already.
    pub fn register(registry: &Registry, names: &[&'static str]) -> Result<Self, MetricsError> {
        let names: Vec<_> = names.iter().copied().chain([OTHER]).collect();
        let by_class: Vec<_> = names.iter().flat_map(|route| CLASSES.map(|class| [*route, class])).collect();
        let requests = registry.spread_counters(
            "requests_total",
            "Requests by route and status class.",
            ["route", "status"],
            &by_class,
        )?;
        let by_route: Vec<_> = names.iter().map(|route| [*route]).collect();
        let help = "From a request's head to its answer, by route.";
        let seconds = registry.timings("request_seconds", help, ["route"], &by_route)?;
        let (requests, _) = requests.as_chunks::<{ CLASSES.len() }>();
        let routes = requests.iter().zip(seconds);
        let routes = routes.map(|(requests, seconds)| RouteMetrics { requests: requests.clone(), seconds }).collect();
        let codes: Vec<_> = Code::ALL.iter().map(|code| [code.as_str()]).collect();
        let help = "Requests refused, by the problem's code.";
        Ok(Self { routes, refusals: registry.spread_counters("refusals_total", help, ["code"], &codes)? })
    }

    /// Counts a request for the route in this place; `None`: for none.
    pub fn observe(&self, place: Option<usize>, status: StatusCode, took: Duration) {
        let Some(route) = place.and_then(|place| self.routes.get(place)).or(self.routes.last()) else { return };
        let class = usize::from(status.as_u16() / 100).clamp(2, CLASSES.len() + 1) - 2;
        route.requests[class].inc();
        route.seconds.observe(took);
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

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn every_route_class_and_code_has_its_own_count() {
        let registry = Registry::new().unwrap();
        let metrics = RequestMetrics::register(&registry, &["buy", "sale"]).unwrap();
        metrics.observe(Some(0), StatusCode::ACCEPTED, MS);
        metrics.observe(Some(1), StatusCode::NOT_MODIFIED, MS);
        metrics.observe(None, StatusCode::CONTINUE, MS);
        metrics.observe(None, StatusCode::SERVICE_UNAVAILABLE, MS);
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
