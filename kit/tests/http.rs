//! Drives the server over real loopback sockets with raw bytes: what a client of any manners gets.
//! Waits are on conditions; limits are made small where a test must see one pass.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "http/hostile.rs"]
mod hostile;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kit::http::{self, Body, DrainOutcome, Handler, Incoming, Limits, Method, Request, Response, StatusCode, reply};
use kit::metrics::Registry;
use kit::problem::Problem;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Longest wait of a test for something that should come at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A deadline short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);

/// A deadline no test waits for.
const LONG: Duration = Duration::from_secs(60);

const BODY_MAX: usize = 1_024;

/// Echoes bodies, which `/hurry` waits for only shortly; `/held` answers when the gate opens;
/// `/large` with what all share; `/panic` does what no handler should.
#[derive(Clone, Default)]
struct Echo {
    gate: Arc<Notify>,
    held: Arc<AtomicUsize>,
    large: http::Bytes,
}

impl Handler for Echo {
    async fn handle(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        match request.uri().path() {
            "/held" => {
                self.held.fetch_add(1, Ordering::SeqCst);
                self.gate.notified().await;
                reply::text(StatusCode::OK, "released")
            }
            "/panic" => panic!("on purpose"),
            "/large" => reply::text(StatusCode::OK, self.large.clone()),
            path if request.method() == Method::GET => reply::text(StatusCode::OK, path.to_owned()),
            path => {
                let deadline = if path == "/hurry" { SHORT } else { LONG };
                match http::read_body(request.into_body(), BODY_MAX, deadline).await {
                    Ok(bytes) => reply::text(StatusCode::OK, bytes),
                    Err(error) => Problem::from(error).into(),
                }
            }
        }
    }
}

/// A server on a runtime and thread of its own, as each core's is.
struct Running {
    addr: SocketAddr,
    echo: Echo,
    shutdown: CancellationToken,
    thread: Option<thread::JoinHandle<DrainOutcome>>,
    registry: Registry,
}

impl Running {
    fn start(limits: Limits) -> Self {
        Self::start_with(limits, Echo::default())
    }

    fn start_with(limits: Limits, echo: Echo) -> Self {
        let listener = http::bind(([127, 0, 0, 1], 0).into(), true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (shutdown, registry) = (CancellationToken::new(), Registry::new().unwrap());
        let metrics = http::ConnectionMetrics::register(&registry).unwrap();
        let (handler, token) = (echo.clone(), shutdown.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(http::serve_measured(listener, handler, limits, metrics, token)).unwrap()
        });
        Self { addr, echo, shutdown, thread: Some(thread), registry }
    }

    fn connect(&self) -> Client {
        Client::connect(self.addr).unwrap()
    }

    fn stop(mut self) -> DrainOutcome {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap()
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.registry.render().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.parse().unwrap()
    }

    /// Waits until so many requests wait at the gate.
    fn wait_for_held(&self, requests: usize) {
        eventually(|| self.echo.held.load(Ordering::SeqCst) == requests);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("waited in vain");
}

/// A client that sends bytes as told and reads answers one by one.
struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }

    fn answer(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "closed within a head: {head:?}");
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// Whether the server closes without another byte. A reset is a close too.
    fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

fn patient() -> Limits {
    Limits { header_deadline: LONG, idle_deadline: LONG, drain_deadline: LONG, ..Limits::default() }
}

#[test]
fn a_connection_serves_many_requests_with_and_without_bodies() {
    let server = Running::start(patient());
    let mut client = server.connect();
    for _ in 0..3 {
        client.get("/here");
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, "/here"));
        assert!(answer.head.contains("\r\ndate: "), "{}", answer.head);
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(client.answer().body, "hello");
        client.send(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        );
        assert_eq!(client.answer().body, "hello");
    }
    assert_eq!(server.metric("flashsale_http_connections_accepted_total"), 1);
    assert_eq!(server.metric("flashsale_http_connections_open"), 1);
    drop(client);
    eventually(|| server.metric("flashsale_http_connections_open") == 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Running::start(patient());
    let mut client = server.connect();
    let requests: String = (0..40).map(|index| format!("GET /{index} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(requests);
    for index in 0..40 {
        assert_eq!(client.answer().body, format!("/{index}"));
    }
}

#[test]
fn half_a_further_request_does_not_withhold_an_answer() {
    let server = Running::start(patient());
    let mut client = server.connect();
    client.send("GET /whole HTTP/1.1\r\nHost: test\r\n\r\nGET /half HT");
    assert_eq!(client.answer().body, "/whole");
    client.send("TP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.answer().body, "/half");
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = Running::start(patient());
    let mut client = server.connect();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().body, "/old");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_closed_its_sending_half_is_still_answered() {
    let server = Running::start(patient());
    let mut client = server.connect();
    client.get("/held");
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    server.wait_for_held(1);
    server.echo.gate.notify_one();
    assert_eq!(client.answer().body, "released");
    assert!(client.is_closed());
}

#[test]
fn slow_headers_are_not_waited_for() {
    let server = Running::start(Limits { header_deadline: SHORT, ..patient() });
    let mut silent = server.connect();
    let mut halting = server.connect();
    halting.send("GET / HTTP/1.1\r\nHost: te");
    let mut late = server.connect();
    late.get("/first");
    assert_eq!(late.answer().body, "/first");
    late.send("GET /second HT");
    assert!(silent.is_closed() && halting.is_closed() && late.is_closed());
    eventually(|| server.metric("flashsale_http_header_timeouts_total") == 3);
    assert_eq!(server.metric("flashsale_http_idle_timeouts_total"), 0);
}

#[test]
fn headers_that_trickle_in_are_not_waited_for_either() {
    let server = Running::start(Limits { header_deadline: SHORT, ..patient() });
    let client = server.connect();
    let mut writer = client.stream.get_ref().try_clone().unwrap();
    let started = std::time::Instant::now();
    // Ends when the server has closed: the write after the reset fails.
    while writer.write_all(b"x").is_ok() && started.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    eventually(|| server.metric("flashsale_http_header_timeouts_total") == 1);
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let server = Running::start(Limits { idle_deadline: SHORT, ..patient() });
    let mut busy = server.connect();
    busy.get("/held");
    server.wait_for_held(1);
    let mut idle = server.connect();
    idle.get("/once");
    assert_eq!(idle.answer().status, 200);
    assert!(idle.is_closed());
    assert_eq!(server.metric("flashsale_http_idle_timeouts_total"), 1);
    server.echo.gate.notify_one();
    assert_eq!(busy.answer().body, "released");
}

#[test]
fn a_flood_of_header_bytes_is_answered_431_and_closed() {
    let server = Running::start(patient());
    let with_header_of = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: test\r\nX-Flood: {}", "x".repeat(bytes));
    let mut client = server.connect();
    client.send(with_header_of(8 * 1_024));
    assert_eq!(client.answer().status, 431);
    assert!(client.is_closed());
    // Far more than the server reads: it closes on a client still sending, which may lose the
    // answer by the reset.
    let mut client = server.connect();
    let sent = client.stream.get_mut().write_all(with_header_of(32 * 1_024 * 1_024).as_bytes());
    assert!(sent.is_err());
    eventually(|| server.metric("flashsale_http_connections_open") == 0);
    let mut client = server.connect();
    client.send(format!("{}\r\n\r\n", with_header_of(7 * 1_024)));
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_flood_of_header_lines_is_answered_431_and_closed() {
    let server = Running::start(patient());
    for (lines, status) in [(63, 200), (64, 431), (200, 431)] {
        let mut client = server.connect();
        let headers: String = (0..lines).map(|index| format!("X-{index}: 1\r\n")).collect();
        client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{headers}\r\n"));
        assert_eq!(client.answer().status, status, "{lines} lines and a host");
        assert!(status == 200 || client.is_closed(), "{lines} lines and a host");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let server = Running::start(patient());
    let mut client = server.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", BODY_MAX + 1));
    let answer = client.answer();
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("\"code\":\"too_large\""), "{}", answer.body);
    assert!(client.is_closed());
}

#[test]
fn a_client_that_asks_before_sending_a_large_body_is_told_no_at_once() {
    let server = Running::start(patient());
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 413);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    client.send("hello");
    assert_eq!(client.answer().body, "hello");
}

#[test]
fn chunks_over_the_limit_are_refused_when_they_pass_it() {
    let server = Running::start(patient());
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("201\r\n{}\r\n201\r\n{}\r\n", "x".repeat(0x201), "x".repeat(0x201)));
    assert_eq!(client.answer().status, 413);
    assert!(client.is_closed());
}

#[test]
fn malformed_chunks_are_answered_400_and_closed() {
    let server = Running::start(patient());
    for broken in ["zz\r\n", "5\r\nhelloXX", "-1\r\n", "fffffffffffffffff\r\n"] {
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{broken}"));
        assert_eq!(client.answer().status, 400, "{broken:?}");
        assert!(client.is_closed(), "{broken:?}");
    }
}

#[test]
fn a_body_that_stops_coming_is_answered_400_and_closed() {
    let server = Running::start(patient());
    let mut client = server.connect();
    client.send("POST /hurry HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhel");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.contains("in time")), (400, true), "{}", answer.body);
    assert!(client.is_closed());
}

#[test]
fn ambiguous_or_broken_requests_never_reach_the_handler() {
    let server = Running::start(patient());
    for broken in [
        "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nHost : test\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(broken);
        let mut rest = String::new();
        client.stream.read_to_string(&mut rest).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{broken:?}: {rest:?}");
    }
}

#[test]
fn a_handler_that_panics_costs_its_connection_and_no_other() {
    let server = Running::start(patient());
    let (mut unlucky, mut other) = (server.connect(), server.connect());
    unlucky.get("/panic");
    assert!(unlucky.is_closed());
    other.get("/well");
    assert_eq!(other.answer().body, "/well");
    eventually(|| server.metric("flashsale_http_connections_open") == 1);
}

#[test]
fn connections_over_the_cap_wait_their_turn() {
    let server = Running::start(Limits { connections_max: 2, ..patient() });
    let (mut first, mut second) = (server.connect(), server.connect());
    first.get("/held");
    second.get("/held");
    server.wait_for_held(2);
    let mut third = server.connect();
    third.get("/third");
    third.stream.get_ref().set_read_timeout(Some(SHORT)).unwrap();
    let waits = third.stream.get_ref().peek(&mut [0]).unwrap_err().kind();
    assert!(matches!(waits, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{waits:?}");
    assert_eq!(server.metric("flashsale_http_connections_accepted_total"), 2);
    drop(first);
    server.echo.gate.notify_one();
    server.echo.gate.notify_one();
    third.stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(third.answer().body, "/third");
}

#[test]
fn shutdown_finishes_what_is_in_flight_and_refuses_what_is_new() {
    let server = Running::start(patient());
    let (mut busy, mut idle, mut untouched) = (server.connect(), server.connect(), server.connect());
    idle.get("/once");
    assert_eq!(idle.answer().status, 200);
    busy.get("/held");
    server.wait_for_held(1);
    eventually(|| server.metric("flashsale_http_connections_open") == 3);
    server.shutdown.cancel();
    assert!(idle.is_closed() && untouched.is_closed());
    eventually(|| TcpStream::connect(server.addr).is_err());
    server.echo.gate.notify_one();
    let answer = busy.answer();
    assert_eq!(answer.body, "released");
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert!(busy.is_closed());
    assert_eq!(server.stop(), DrainOutcome { finished: 3, aborted: 0 });
}

#[test]
fn what_is_in_flight_at_the_drain_deadline_is_cut() {
    let server = Running::start(Limits { drain_deadline: SHORT, ..patient() });
    let (mut stuck, mut idle) = (server.connect(), server.connect());
    idle.get("/once");
    assert_eq!(idle.answer().status, 200);
    stuck.get("/held");
    server.wait_for_held(1);
    let handler_is_shared = Arc::clone(&server.echo.held);
    assert_eq!(server.stop(), DrainOutcome { finished: 1, aborted: 1 });
    assert!(stuck.is_closed());
    // Nothing of the server is left: the test alone holds the handler's state.
    assert_eq!(Arc::strong_count(&handler_is_shared), 1);
}

#[test]
fn a_shutdown_with_nobody_connected_ends_at_once() {
    let server = Running::start(patient());
    assert_eq!(server.stop(), DrainOutcome::default());
}
