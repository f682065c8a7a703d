//! Goal: a service answers at another one's address as it would at its own: nothing of a request or
//! an answer is lost, streams come as they are made, and what did not come about is told truly.
//! Method: two served routers, the first of which hands everything on to the second.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kit::client::{Ask, Client, ClientLimits, Forward};
use kit::clock::SystemClock;
use kit::http::{
    self, Asked, BODY_DEADLINE, Body, Event, HeaderName, Limits, Method, Mount, RequestMetrics, Response, Router,
    Service, StatusCode, Table, header, read_body, reply,
};
use kit::metrics::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

const X_HOP: HeaderName = HeaderName::from_static("x-hop");
const LARGE: usize = 300 * 1024;

/// Answers what a test asks for.
#[derive(Clone)]
struct Behind(CancellationToken);

#[derive(Clone, Copy)]
enum Route {
    /// Method, path with query, some headers and the body, as they came.
    Echo,
    /// One event, and no end.
    Events,
    /// Never.
    Silent,
    /// More than it takes.
    Large,
}

impl Service for Behind {
    type Route = Route;

    fn mounts() -> Vec<Mount<Route>> {
        vec![
            Mount::post("/v1/echo/{id}", "echo", Route::Echo),
            Mount::get("/v1/echo/{id}", "echo_read", Route::Echo),
            Mount::get("/v1/events", "events", Route::Events),
            Mount::post("/v1/silent", "silent", Route::Silent),
            Mount::get("/v1/silent", "silent_read", Route::Silent),
            Mount::get("/v1/large", "large", Route::Large),
        ]
    }

    async fn answer(&self, route: Route, asked: Asked<'_>) -> Response<Body> {
        match route {
            Route::Silent => std::future::pending().await,
            Route::Large => reply::text(StatusCode::OK, vec![b'a'; LARGE]),
            Route::Events => {
                let (events, response) = http::events(4, self.0.clone());
                events.send(&Event { id: "1", name: "order", data: "paid" }).unwrap();
                tokio::spawn(async move { events.closed().await });
                response
            }
            Route::Echo => {
                let (method, path) = (asked.head.method.to_string(), asked.head.uri.to_string());
                let named = ["authorization", "idempotency-key", "if-match", "x-forwarded-for", "cookie"];
                let sent = |name: &str| asked.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                let sent: Vec<_> = named.into_iter().map(sent).collect();
                let has_trace = asked.headers().contains_key("traceparent");
                let body = read_body(asked.body, LARGE, BODY_DEADLINE).await.unwrap();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let mut response = reply::json(StatusCode::CONFLICT, &(method, path, sent, has_trace, body));
                response.headers_mut().insert(header::ETAG, "\"7\"".parse().unwrap());
                response.headers_mut().insert(X_HOP, "1".parse().unwrap());
                response.headers_mut().insert(header::CONNECTION, "x-hop".parse().unwrap());
                response
            }
        }
    }
}

/// Hands everything on.
#[derive(Clone)]
struct Before(Forward);

impl Service for Before {
    type Route = ();

    fn mounts() -> Vec<Mount<()>> {
        let of = |method, name| Mount { method, pattern: "/{*all}", name, route: (), is_for_pages: false };
        vec![of(Method::POST, "post"), of(Method::GET, "get")]
    }

    async fn answer(&self, _route: (), asked: Asked<'_>) -> Response<Body> {
        self.0.answer(asked).await
    }
}

fn serve<S: Service>(service: S, stop: &CancellationToken) -> (SocketAddr, Registry) {
    let registry = Registry::new().unwrap();
    let table = Table::of::<S>().unwrap();
    let metrics = Arc::new(RequestMetrics::register(&registry, table.names()).unwrap());
    let router = Router::new(service, Arc::new(table), SystemClock::new(), metrics);
    let listener = http::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
    (address, registry)
}

struct Both {
    before: SocketAddr,
    registry: Registry,
    behind: CancellationToken,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Both {
    fn start() -> Self {
        Self::within(Duration::from_secs(60))
    }

    /// Whoever is behind has so long to answer.
    fn within(deadline: Duration) -> Self {
        let (stop, behind) = (CancellationToken::new(), CancellationToken::new());
        let (address, _) = serve(Behind(behind.clone()), &behind);
        // A clone is what each thread of a service has.
        let forward = Forward::new(&address.to_string()).unwrap().within(deadline);
        let forward = forward.until(stop.clone()).clone();
        let (before, registry) = serve(Before(forward), &stop);
        Self { before, registry, behind, stop: stop.clone(), _stop: stop.drop_guard() }
    }

    async fn ask(&self, ask: Ask) -> (u16, kit::http::HeaderMap, String) {
        let client = Client::new(&self.before.to_string(), ClientLimits::default()).unwrap();
        let answer = client.exchange(&ask).await.unwrap();
        (answer.status.as_u16(), answer.headers, String::from_utf8(answer.body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_request_and_its_answer_come_whole_and_connections_stay_apart() {
    let both = Both::start();
    let ask = Ask::post("/v1/echo/a%2Fb?c=d&e").bearer("t").idempotency_key("k").body("hello");
    let ask = ask.header(header::IF_MATCH, "\"7\"").header(header::COOKIE, "a=b");
    let (status, headers, body) = both.ask(ask).await;
    let expected = r#"["POST","/v1/echo/a%2Fb?c=d&e",["Bearer t","k","\"7\"","127.0.0.1",null],true,"hello"]"#;
    assert_eq!((status, &*body), (409, expected));
    assert_eq!(headers[header::ETAG], "\"7\"");
    assert!(!headers.contains_key(X_HOP), "it was for one connection");
    assert_eq!(both.ask(Ask::get("/v1/large")).await.2.len(), LARGE);
    assert_eq!(both.ask(Ask::get("/v1/nothing")).await.0, 404);
    assert_eq!(both.ask(Ask::post("/v1/echo/1").body(vec![b'a'; LARGE])).await.0, 413);
    let (status, _, body) = both.ask(Ask::new(Method::HEAD, "/v1/echo/1")).await;
    assert_eq!((status, &*body), (409, ""));
}

/// Which of the two services ends.
fn end_of(both: &Both, is_first: bool) -> &CancellationToken {
    if is_first { &both.stop } else { &both.behind }
}

#[tokio::test]
async fn a_stream_comes_as_it_is_made_and_ends_with_either_service() {
    for is_first in [false, true] {
        let both = Both::start();
        let mut stream = TcpStream::connect(both.before).await.unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut seen = read_until(&mut stream, String::new(), |seen| seen.contains("data: paid")).await;
        end_of(&both, is_first).cancel();
        seen = read_until(&mut stream, seen, |seen| seen.ends_with("0\r\n\r\n")).await;
        assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
    }
}

async fn read_until(stream: &mut TcpStream, mut seen: String, is_enough: impl Fn(&str) -> bool) -> String {
    let mut piece = [0; 1024];
    while !is_enough(&seen) {
        let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    seen
}

#[tokio::test]
async fn what_did_not_come_about_is_told_truly() {
    let both = Both::within(Duration::from_millis(300));
    let (status, headers, body) = both.ask(Ask::post("/v1/silent")).await;
    assert_eq!(status, 503);
    assert!(body.contains("\"outcome_unknown\"") && headers[header::RETRY_AFTER] == "2", "{body}");
    let (_, _, body) = both.ask(Ask::get("/v1/silent")).await;
    assert!(body.contains("\"temporarily_unavailable\""), "a look has no outcome: {body}");
    both.behind.cancel();
    // Its listener closes when it drains; its kept connections do at once.
    let away = async {
        loop {
            let (status, headers, body) = both.ask(Ask::post("/v1/echo/1")).await;
            if body.contains("\"temporarily_unavailable\"") {
                return (status, headers[header::RETRY_AFTER].clone());
            }
            tokio::task::yield_now().await;
        }
    };
    let (status, after) = tokio::time::timeout(Duration::from_secs(60), away).await.unwrap();
    assert_eq!((status, after.to_str().unwrap()), (503, "2"));
    let counted = both.registry.render().unwrap();
    assert!(counted.contains("flashsale_refusals_total{code=\"outcome_unknown\"} 1"), "refusals are counted");
}
