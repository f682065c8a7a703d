//! Goal: one service asks another as both are meant to: routes of several services on one port,
//! refusals as values, repetitions where they are harmless, the trace through all of it, events
//! until the drain. Method: a served router of kit, asked by kit's client.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kit::admin::{self, Hosts, Readiness};
use kit::client::{Ask, Client, ClientError, ClientLimits, Refusal};
use kit::clock::SystemClock;
use kit::http::{
    self, Asked, BODY_BYTES_MAX, BODY_DEADLINE, Body, Both, Event, Limits, Method, Mount, RequestMetrics, Response,
    Router, Service, StatusCode, Table, idempotency_key, read_body, reply,
};
use kit::metrics::Registry;
use kit::problem::{Code, Problem};
use kit::trace::TraceContext;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Answers what a test asks for, and counts.
#[derive(Clone, Default)]
struct Orders {
    asked: Arc<AtomicUsize>,
    stop: CancellationToken,
}

#[derive(Clone, Copy)]
enum Route {
    /// 503 until it was asked for three times.
    Flaky,
    /// 409.
    SoldOut,
    /// Never.
    Silent,
    /// Its own path and trace.
    Order,
    /// A few events, then none.
    Events,
}

impl Service for Orders {
    type Route = Route;

    fn mounts() -> Vec<Mount<Route>> {
        vec![
            Mount::post("/v1/orders", "flaky", Route::Flaky),
            Mount::get("/v1/orders", "flaky_read", Route::Flaky),
            Mount::post("/v1/orders/{order_id}/payment", "sold_out", Route::SoldOut),
            Mount::get("/v1/orders/{order_id}", "order", Route::Order),
            Mount::get("/v1/silence", "silence", Route::Silent),
            Mount::get("/v1/events", "events", Route::Events),
        ]
    }

    async fn answer(&self, route: Route, asked: Asked<'_>) -> Response<Body> {
        let count = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        match route {
            Route::Flaky if count < 3 => {
                let problem = Problem::new(Code::TemporarilyUnavailable, "not yet");
                problem.with_retry_after(Duration::from_secs(2)).to_response()
            }
            Route::Flaky => {
                let key = idempotency_key(asked.headers()).unwrap_or("none").to_owned();
                let body = read_body(asked.body, BODY_BYTES_MAX, BODY_DEADLINE).await.unwrap();
                reply::json(StatusCode::ACCEPTED, &(count, key, String::from_utf8_lossy(&body)))
            }
            Route::SoldOut => Problem::new(Code::SoldOut, "none is left").to_response(),
            Route::Silent => std::future::pending().await,
            Route::Order => reply::json(StatusCode::OK, &(asked.part("order_id"), asked.query())),
            Route::Events => {
                let (events, response) = http::events(4, self.stop.clone());
                events.send(&Event { id: "1", name: "stock", data: "low" }).unwrap();
                tokio::spawn(async move { events.closed().await });
                response
            }
        }
    }
}

/// Another service on the same port.
struct Clock;

impl Service for Clock {
    type Route = ();

    fn mounts() -> Vec<Mount<()>> {
        vec![Mount::get("/v1/time", "time", ())]
    }

    async fn answer(&self, _route: (), _asked: Asked<'_>) -> Response<Body> {
        reply::text(StatusCode::OK, "now")
    }
}

struct Served {
    address: SocketAddr,
    orders: Orders,
    registry: Registry,
    _stop: DropGuard,
}

impl Served {
    fn start() -> Self {
        let (orders, registry) = (Orders::default(), Registry::new().unwrap());
        let table = Table::of::<Both<Orders, Clock>>().unwrap();
        let metrics = Arc::new(RequestMetrics::register(&registry, table.names()).unwrap());
        let router = Router::new(Both(orders.clone(), Clock), Arc::new(table), SystemClock::new(), metrics);
        let listener = http::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener, router, Limits::default(), orders.stop.clone()));
        let stop = orders.stop.clone().drop_guard();
        Self { address, orders, registry, _stop: stop }
    }

    fn client(&self, limits: ClientLimits) -> Client {
        Client::new(&self.address.to_string(), limits).unwrap()
    }

    fn asked(&self) -> usize {
        self.orders.asked.load(Ordering::SeqCst)
    }

    fn shows(&self, line: &str) {
        let shown = self.registry.render().unwrap();
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

fn refusal(error: ClientError) -> Refusal {
    match error {
        ClientError::Refused(refusal) => *refusal,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn services_of_one_port_answer_their_own_routes() {
    let served = Served::start();
    let client = served.client(ClientLimits::default());
    let answer = client.ask(&Ask::get("/v1/orders/7?offer_id=42")).await.unwrap();
    assert_eq!(answer.json::<(String, Option<String>)>().unwrap(), ("7".to_owned(), Some("offer_id=42".to_owned())));
    assert_eq!(client.ask(&Ask::get("/v1/time")).await.unwrap().body, "now");
    assert_eq!(client.ask(&Ask::new(Method::HEAD, "/v1/time")).await.unwrap().status, 200);
    let nothing = refusal(client.ask(&Ask::get("/v1/orders/7/8")).await.unwrap_err());
    assert_eq!((nothing.status.as_u16(), nothing.code.as_str()), (404, "not_found"));
    for (method, path) in [(Method::DELETE, "/v1/orders"), (Method::OPTIONS, "/v1/orders")] {
        let other = refusal(client.ask(&Ask::new(method, path)).await.unwrap_err());
        assert_eq!((other.status.as_u16(), other.code.as_str()), (405, "method_not_allowed"));
    }
    for line in [
        "flashsale_requests_total{route=\"order\",status=\"2xx\"} 1",
        "flashsale_requests_total{route=\"time\",status=\"2xx\"} 2",
        "flashsale_requests_total{route=\"other\",status=\"4xx\"} 3",
        "flashsale_refusals_total{code=\"not_found\"} 1",
        "flashsale_refusals_total{code=\"method_not_allowed\"} 2",
    ] {
        served.shows(line);
    }
}

#[test]
fn a_refusal_that_is_passed_on_keeps_its_code_and_its_members() {
    let refusal = |code: &str| Refusal {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: code.to_owned(),
        detail: "slowly".to_owned(),
        retry_after: Some(Duration::from_secs(3)),
        trace_id: None,
        fields: vec![("a".to_owned(), "b".to_owned())],
    };
    let problem = refusal("rate_limited").passed_on();
    assert_eq!((problem.code, problem.retry_after), (Code::RateLimited, Some(Duration::from_secs(3))));
    assert_eq!((&*problem.detail, problem.field_errors.len()), ("slowly", 1));
    assert_eq!(refusal("of_a_later_version").passed_on().code, Code::Forbidden);
}

#[tokio::test]
async fn what_may_be_sent_again_is_and_what_may_not_is_not() {
    let served = Served::start();
    let client = served.client(ClientLimits::default());
    let once = client.ask(&Ask::post("/v1/orders").json(&7)).await.unwrap_err();
    assert!(once.is_retryable() && !once.is_unknown());
    let once = refusal(once);
    assert_eq!((once.code.as_str(), once.retry_after), ("temporarily_unavailable", Some(Duration::from_secs(2))));
    assert_eq!(served.asked(), 1);
    let again = client.ask(&Ask::post("/v1/orders").idempotency_key("k").json(&7)).await.unwrap();
    assert_eq!(again.json::<(usize, String, String)>().unwrap(), (3, "k".to_owned(), "7".to_owned()));
    let never = client.ask(&Ask::post("/v1/orders/7/payment").idempotency_key("k")).await.unwrap_err();
    assert!(!never.is_retryable() && !never.is_unknown());
    assert_eq!((refusal(never).code.as_str(), served.asked()), ("sold_out", 4));
}

/// A timeout means unknown; who was not reached was asked nothing.
#[tokio::test]
async fn silence_and_absence_are_told_apart() {
    let served = Served::start();
    let limits = ClientLimits { answer_deadline: Duration::from_secs(1), attempts_max: 2, ..Default::default() };
    let silent = served.client(limits).ask(&Ask::get("/v1/silence")).await.unwrap_err();
    assert!(silent.is_unknown() && matches!(silent, ClientError::Timeout(_)), "{silent}");
    assert_eq!(served.asked(), 2, "a read is asked again");
    let nobody = http::free_address().unwrap();
    let away = Client::new(&nobody.to_string(), limits).unwrap().ask(&Ask::post("/v1/orders")).await.unwrap_err();
    assert!(!away.is_unknown() && away.is_retryable() && matches!(away, ClientError::Away(_)), "{away}");
    assert!(away.to_string().contains("refused"), "{away}");
    let flawed = Ask::get("/").header(http::header::ACCEPT, "a\nb");
    assert!(matches!(served.client(limits).ask(&flawed).await, Err(ClientError::Invalid(_))));
    let small = ClientLimits { body_bytes_max: 2, ..ClientLimits::default() };
    assert!(matches!(served.client(small).ask(&Ask::get("/v1/time")).await, Err(ClientError::TooLarge(2))));
}

/// A signature of a service outside is over the very bytes, whatever the status.
#[tokio::test]
async fn an_exchange_gives_a_refusal_as_it_came_and_is_never_repeated() {
    let served = Served::start();
    let client = served.client(ClientLimits::default());
    let answer = client.exchange(&Ask::post("/v1/orders/7/payment").idempotency_key("k")).await.unwrap();
    assert_eq!(answer.status, 409);
    assert_eq!(answer.headers[http::header::CONTENT_TYPE], "application/problem+json");
    assert!(answer.body.starts_with(b"{"));
    let not_yet = client.exchange(&Ask::get("/v1/orders")).await.unwrap();
    assert_eq!((not_yet.status.as_u16(), served.asked()), (503, 2));
    let flawed = Ask::get("/").header(http::header::ACCEPT, "a\nb");
    assert!(matches!(client.exchange(&flawed).await, Err(ClientError::Invalid(_))));
}

#[tokio::test]
async fn a_trace_goes_through_both_services() {
    let served = Served::start();
    let (client, trace) = (served.client(ClientLimits::default()), TraceContext::generate());
    let answer = trace.within(client.ask(&Ask::get("/v1/time"))).await.unwrap();
    let told = TraceContext::parse(answer.headers["traceparent"].to_str().unwrap()).unwrap();
    assert_eq!(told.trace_id(), trace.trace_id());
    let refused = trace.within(client.ask(&Ask::post("/v1/orders/7/payment"))).await.unwrap_err();
    assert_eq!(refusal(refused).trace_id, Some(trace.trace_id().to_string()));
}

#[tokio::test]
async fn events_come_and_a_drain_ends_them() {
    let served = Served::start();
    let client = served.client(ClientLimits::default());
    let asked = tokio::spawn(async move { client.ask(&Ask::get("/v1/events")).await });
    while served.asked() == 0 {
        tokio::task::yield_now().await;
    }
    served.orders.stop.cancel();
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.starts_with("id: 1\nevent: stock\ndata: low\n\n"), "{text}");
}

/// The second port names its pages to a person, and tells whoever asks by another name nothing.
#[tokio::test]
async fn the_second_port_answers_to_its_names() {
    let (registry, readiness, stop) = (Registry::new().unwrap(), Readiness::new(), CancellationToken::new());
    let listener = http::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(admin::serve_with(listener, Hosts::default(), registry, readiness, Clock, stop.clone()));
    let _stop = stop.drop_guard();
    let client = Client::new(&address.to_string(), ClientLimits { attempts_max: 1, ..Default::default() }).unwrap();
    assert_eq!(client.ask(&Ask::get("/v1/time")).await.unwrap().body, "now");
    assert_eq!(client.ask(&Ask::new(Method::HEAD, "/livez")).await.unwrap().status, 200);
    let starting = refusal(client.ask(&Ask::get("/readyz")).await.unwrap_err());
    assert_eq!((starting.status.as_u16(), starting.detail.as_str()), (503, "starting\n"));
    let nothing = refusal(client.ask(&Ask::get("/")).await.unwrap_err());
    assert_eq!(nothing.detail, "there are /metrics, /livez, /readyz, /startupz, /v1/time");
    let posted = refusal(client.ask(&Ask::post("/metrics")).await.unwrap_err());
    assert_eq!((posted.status.as_u16(), posted.code.as_str()), (405, "method_not_allowed"));
    for path in ["/metrics", "/livez", "/readyz", "/startupz", "/v1/time", "/"] {
        let asked = Ask::get(path).header(http::header::HOST, "evil.example");
        let refused = refusal(client.ask(&asked).await.unwrap_err());
        assert!(refused.status == 403 && !refused.detail.contains("flashsale_"), "{path}: {}", refused.detail);
    }
    let twice = admin::serve_with(
        http::bind(([127, 0, 0, 1], 0).into(), false).unwrap(),
        Hosts::default(),
        Registry::new().unwrap(),
        Readiness::new(),
        Both(Clock, Clock),
        CancellationToken::new(),
    );
    assert!(twice.await.is_err(), "two services with one route do not start");
}

/// A server that speaks TLS with a certificate for `localhost` that no public authority signed: its
/// port, and the certificate.
async fn over_tls() -> (u16, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().to_vec(), made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone().into()], PrivateKeyDer::try_from(key).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("localhost", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            // Who does not trust it breaks off here.
            let Ok(mut connection) = acceptor.accept(connection).await else { continue };
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") && connection.read_buf(&mut asked).await.unwrap() > 0 {}
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await.unwrap();
        }
    });
    (port, certificate)
}

#[tokio::test]
async fn an_https_origin_is_asked_over_tls_when_its_certificate_is_trusted_and_names_it() {
    let (port, certificate) = over_tls().await;
    let (limits, ask) = (ClientLimits { attempts_max: 1, ..ClientLimits::default() }, Ask::get("/"));
    let trusting = |origin: String| Client::trusting(&origin, limits, &[&certificate]).unwrap();
    let answer = trusting(format!("https://localhost:{port}/")).ask(&ask).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"secret"[..]));
    let unknown = Client::new(&format!("https://localhost:{port}"), limits).unwrap().ask(&ask).await.unwrap_err();
    assert!(matches!(unknown, ClientError::Away(_)) && unknown.to_string().contains("UnknownIssuer"), "{unknown}");
    let other_name = trusting(format!("https://127.0.0.1:{port}")).ask(&ask).await.unwrap_err();
    assert!(matches!(other_name, ClientError::Away(_)), "{other_name}");
    for origin in ["ftp://localhost", "https://", "https://localhost/path", "a b"] {
        assert!(matches!(Client::new(origin, limits), Err(ClientError::Invalid(_))), "{origin}");
    }
    assert!(matches!(Client::trusting("localhost:1", limits, &[b"none"]), Err(ClientError::Invalid(_))));
}
