//! The second port of every service: metrics for Prometheus, probes for the orchestrator. Never
//! reachable by buyers, so it asks for no token; it changes nothing. It answers to addresses and to
//! names that it was given.

/// By which names it may be asked for.
mod hosts;

use std::borrow::Cow;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;

pub use self::hosts::Hosts;
use crate::http::{self, Asked, Body, Both, DrainOutcome, Handler, Limits, Mount, OneOf, Service, Table, reply};
use crate::metrics::{CONTENT_TYPE_EXPOSITION, Registry};
use crate::problem::{Code, Problem};

/// Prometheus, the orchestrator's probes and a person or two: more connections than that are a
/// mistake.
const CONNECTIONS_MAX: usize = 64;

/// Whoever asks during the drain can ask again.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

const STARTING: u8 = 0;
const READY: u8 = 1;
const NOT_READY: u8 = 2;

/// Whether this process wants requests. Clones are the same handle. Starts as not started.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    inner: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    state: AtomicU8,
    reason: Mutex<Cow<'static, str>>,
    is_troubled: AtomicBool,
    troubles: Mutex<Vec<String>>,
}

impl Readiness {
    /// Not started: `/startupz` and `/readyz` say so.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests are welcome. The first call also ends the start.
    pub fn ready(&self) {
        self.inner.state.store(READY, Ordering::Release);
    }

    /// Requests are not welcome for now, and why: while draining, or while something needed is
    /// away. A process that has not started stays not started.
    pub fn not_ready(&self, reason: impl Into<Cow<'static, str>>) {
        *self.inner.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.into();
        // Whatever it was but for "starting", it is "not ready" now; a failed exchange is what
        // should happen then.
        let was_ready = self.inner.state.compare_exchange(READY, NOT_READY, Ordering::AcqRel, Ordering::Acquire);
        tracing::debug!(was_ready = was_ready.is_ok(), "not ready");
    }

    /// What a part of this process cannot do now, whatever else is well; none when it can again.
    /// `/readyz` answers 503 and shows them, for operators: the service itself goes on with what it
    /// can do.
    pub fn trouble(&self, troubles: Vec<String>) {
        self.inner.is_troubled.store(!troubles.is_empty(), Ordering::Release);
        *self.inner.troubles.lock().unwrap_or_else(PoisonError::into_inner) = troubles;
    }

    /// Whether requests are welcome and no part is in trouble. Two atomic reads.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inner.state.load(Ordering::Acquire) == READY && !self.inner.is_troubled.load(Ordering::Acquire)
    }

    /// Whether the process was ready once.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.inner.state.load(Ordering::Acquire) != STARTING
    }

    /// Why requests are not welcome, then the troubles, a line each; empty when nobody said.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        let reason = match self.inner.state.load(Ordering::Acquire) {
            NOT_READY => self.inner.reason.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            _ => Cow::default(),
        };
        let troubles = self.inner.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.is_empty() {
            return reason;
        }
        let lines = [reason.as_ref()].into_iter().chain(troubles.iter().map(String::as_str));
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n").into()
    }
}

/// Serves the second port until `shutdown`. Cancel it last: an orchestrator that cannot ask takes a
/// draining process for a dead one.
///
/// # Errors
///
/// As [`http::serve`].
pub async fn serve(
    listener: TcpListener,
    hosts: Hosts,
    registry: Registry,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> io::Result<DrainOutcome> {
    serve_with(listener, hosts, registry, readiness, (), shutdown).await
}

/// The same with further pages. Whoever answers them decides who may ask.
///
/// # Errors
///
/// As [`http::serve`], and when one of the pages is among the common ones.
pub async fn serve_with<P: Service>(
    listener: TcpListener,
    hosts: Hosts,
    registry: Registry,
    readiness: Readiness,
    pages: P,
    shutdown: CancellationToken,
) -> io::Result<DrainOutcome> {
    let limits = Limits { connections_max: CONNECTIONS_MAX, drain_deadline: DRAIN_DEADLINE, ..Limits::default() };
    let table = Table::of::<Both<Common, P>>().map_err(io::Error::other)?;
    let pages = Both(Common { registry, readiness }, pages);
    http::serve(listener, Admin { hosts, pages, table }, limits, shutdown).await
}

/// What the second port answers with.
struct Admin<P: Service> {
    hosts: Hosts,
    pages: Both<Common, P>,
    table: Table<OneOf<Page, P::Route>>,
}

impl<P: Service> Handler for Admin<P> {
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let mut response = if self.hosts.admit(&request) {
            self.answer(request, peer).await
        } else {
            let told = "this port answers to IP addresses, localhost and the names in FLASHSALE_ADMIN_HOSTS";
            Problem::new(Code::Forbidden, told).to_response()
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl<P: Service> Admin<P> {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        match self.table.answer(&self.pages, request, &peer).await {
            // Who asks here is a person: what there is helps more than what there is not.
            (Err(Code::NotFound), _) => {
                let there = self.table.patterns().collect::<Vec<_>>().join(", ");
                Problem::new(Code::NotFound, format!("there are {there}")).to_response()
            }
            (_, response) => response,
        }
    }
}

/// The pages that are the same in every service.
struct Common {
    registry: Registry,
    readiness: Readiness,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
enum Page {
    Metrics,
    Live,
    Ready,
    Started,
}

impl Service for Common {
    type Route = Page;

    fn mounts() -> Vec<Mount<Page>> {
        vec![
            Mount::get("/metrics", "metrics", Page::Metrics),
            Mount::get("/livez", "livez", Page::Live),
            Mount::get("/readyz", "readyz", Page::Ready),
            Mount::get("/startupz", "startupz", Page::Started),
        ]
    }

    async fn answer(&self, page: Page, _asked: Asked<'_>) -> Response<Body> {
        self.page(page)
    }
}

impl Common {
    fn page(&self, page: Page) -> Response<Body> {
        match page {
            Page::Metrics => self.metrics(),
            // Being able to answer is all that "alive" means: a check of what lies behind would
            // restart us for its faults.
            Page::Live => reply::text(StatusCode::OK, "ok\n"),
            Page::Ready => self.probe(self.readiness.is_ready()),
            Page::Started => self.probe(self.readiness.has_started()),
        }
    }

    fn metrics(&self) -> Response<Body> {
        match self.registry.render() {
            Ok(text) => reply::raw(StatusCode::OK, HeaderValue::from_static(CONTENT_TYPE_EXPOSITION), text),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be rendered");
                Problem::new(Code::Internal, "metrics cannot be rendered").to_response()
            }
        }
    }

    fn probe(&self, is_well: bool) -> Response<Body> {
        if is_well {
            return reply::text(StatusCode::OK, "ok\n");
        }
        let reason = if self.readiness.has_started() { self.readiness.reason() } else { "starting".into() };
        reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn admin() -> Common {
        Common { registry: Registry::new().unwrap(), readiness: Readiness::new() }
    }

    async fn get(admin: &Common, path: &str) -> (u16, String) {
        let mount = Common::mounts().into_iter().find(|mount| mount.pattern == path).unwrap();
        let response = admin.page(mount.route);
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn probes_follow_the_life_of_a_process() {
        let admin = admin();
        assert_eq!(get(&admin, "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get(&admin, "/startupz").await, (503, "starting\n".to_owned()));
        assert_eq!(get(&admin, "/readyz").await, (503, "starting\n".to_owned()));
        admin.readiness.not_ready("too early to say");
        assert_eq!(get(&admin, "/startupz").await.0, 503);
        admin.readiness.ready();
        assert_eq!(get(&admin, "/readyz").await.0, 200);
        assert_eq!(get(&admin, "/startupz").await.0, 200);
        admin.readiness.not_ready("draining");
        assert_eq!(get(&admin, "/readyz").await, (503, "draining\n".to_owned()));
        assert_eq!(get(&admin, "/startupz").await.0, 200);
        assert_eq!(get(&admin, "/livez").await.0, 200);
        admin.readiness.ready();
        assert_eq!(get(&admin, "/readyz").await.0, 200);
    }

    /// A part that is in trouble is told as long as it is, and outlives what else is said of the
    /// process.
    #[tokio::test]
    async fn troubles_are_told_until_they_are_over() {
        let admin = admin();
        admin.readiness.trouble(vec!["partition 3 stands".into()]);
        assert_eq!(get(&admin, "/readyz").await, (503, "starting\n".to_owned()));
        admin.readiness.ready();
        assert_eq!(get(&admin, "/readyz").await, (503, "partition 3 stands\n".to_owned()));
        assert_eq!((get(&admin, "/livez").await.0, get(&admin, "/startupz").await.0), (200, 200));
        admin.readiness.trouble(vec!["partition 3 stands".into(), "partition 4 stands".into()]);
        admin.readiness.not_ready("draining");
        assert_eq!(get(&admin, "/readyz").await.1, "draining\npartition 3 stands\npartition 4 stands\n");
        admin.readiness.trouble(Vec::new());
        assert_eq!(get(&admin, "/readyz").await, (503, "draining\n".to_owned()));
        admin.readiness.ready();
        assert_eq!(get(&admin, "/readyz").await.0, 200);
    }

    #[tokio::test]
    async fn metrics_are_text_exposition() {
        let admin = admin();
        admin.registry.counter("x_total", "x").unwrap().inc();
        let (status, text) = get(&admin, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("flashsale_x_total 1\n"), "{text}");
        let content_type = admin.metrics().headers()[hyper::header::CONTENT_TYPE].clone();
        assert_eq!(content_type, "text/plain; version=0.0.4");
    }
}
