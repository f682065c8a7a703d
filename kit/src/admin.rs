//! The second port of every service: metrics for Prometheus, probes for the orchestrator. Never
//! reachable by buyers, so it asks for no token; it changes nothing. It answers to addresses and to
//! names that it was given.

/// By which names it may be asked for.
mod hosts;

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;

pub use self::hosts::Hosts;
use crate::http::{self, Body, DrainOutcome, Handler, Limits, reply};
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
    serve_with(listener, hosts, registry, readiness, NoPages, shutdown).await
}

/// The same with further pages.
///
/// # Errors
///
/// As [`http::serve`].
pub async fn serve_with(
    listener: TcpListener,
    hosts: Hosts,
    registry: Registry,
    readiness: Readiness,
    pages: impl Pages,
    shutdown: CancellationToken,
) -> io::Result<DrainOutcome> {
    let limits = Limits { connections_max: CONNECTIONS_MAX, drain_deadline: DRAIN_DEADLINE, ..Limits::default() };
    http::serve(listener, Admin { hosts, registry, readiness, pages }, limits, shutdown).await
}

/// Answers to the paths that are not the same in every service. Whoever answers decides who may
/// ask.
pub trait Pages: Send + Sync + 'static {
    /// The answer to a request for none of the common paths.
    fn page(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

struct NoPages;

impl Pages for NoPages {
    async fn page(&self, _request: Request<Incoming>) -> Response<Body> {
        Problem::new(Code::NotFound, "there are /metrics, /livez, /readyz and /startupz").to_response()
    }
}

struct Admin<P> {
    hosts: Hosts,
    registry: Registry,
    readiness: Readiness,
    pages: P,
}

impl<P: Pages> Handler for Admin<P> {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let mut response = match self.common(&request) {
            Some(response) => response,
            None => self.pages.page(request).await,
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl<P> Admin<P> {
    /// The answer to whoever may not ask, and to the common paths; `None` for another path.
    fn common<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        if self.hosts.admit(request) {
            return self.answer(request.method(), request.uri().path());
        }
        let told = "this port answers to IP addresses, localhost and the names in FLASHSALE_ADMIN_HOSTS";
        Some(Problem::new(Code::Forbidden, told).to_response())
    }

    /// The answer to a common path; `None` for another.
    fn answer(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let response = match path {
            "/metrics" | "/livez" | "/readyz" | "/startupz" if method != Method::GET && method != Method::HEAD => {
                let mut refused = Problem::new(Code::MethodNotAllowed, "this path is only read").to_response();
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                refused
            }
            "/metrics" => self.metrics(),
            // Being able to answer is all that "alive" means: a check of what lies behind would
            // restart us for its faults.
            "/livez" => reply::text(StatusCode::OK, "ok\n"),
            "/readyz" => self.probe(self.readiness.is_ready()),
            "/startupz" => self.probe(self.readiness.has_started()),
            _ => return None,
        };
        Some(response)
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

    fn admin() -> Admin<NoPages> {
        let (hosts, registry) = (Hosts::default(), Registry::new().unwrap());
        Admin { hosts, registry, readiness: Readiness::new(), pages: NoPages }
    }

    async fn get(admin: &Admin<NoPages>, path: &str) -> (u16, String) {
        let response = admin.answer(&Method::GET, path).unwrap();
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

    #[tokio::test]
    async fn whoever_asks_by_another_name_is_told_nothing() {
        let admin = admin();
        for path in ["/metrics", "/livez", "/readyz", "/startupz", "/sales", "/"] {
            let asked = |host: &str| Request::get(path).header("host", host).body(()).unwrap();
            let response = admin.common(&asked("evil.example")).unwrap();
            assert_eq!(response.status(), 403, "{path}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(!String::from_utf8_lossy(&body).contains("flashsale_"), "{path}");
            assert!(admin.common(&asked("127.0.0.1:9464")).is_none_or(|response| response.status() != 403), "{path}");
        }
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let admin = admin();
        assert!(admin.answer(&Method::GET, "/").is_none());
        let response = admin.answer(&Method::POST, "/metrics").unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        assert_eq!(admin.answer(&Method::HEAD, "/livez").unwrap().status(), 200);
    }
}
