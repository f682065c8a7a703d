//! Whole requests: HTTP/1.1 bytes in, HTTP/1.1 bytes out, over connections in memory. One thread is
//! both sides, so the figures hold the client's few copies too; `fixed` is what remains when the
//! handler does nothing.

use std::{
    convert::Infallible,
    future::Future,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kit::{
    clock::ManualClock,
    http::{BODY_BYTES_MAX, BODY_DEADLINE, Body, Handler, StatusCode, read_body, reply},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::{Builder, Runtime},
};

use crate::testing::{Shop, tenant};

/// Who asks, as far as the routes know: they do not look.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));
/// Connections, each with one request under way: what travels together to a lane.
const WIDTHS: [u64; 2] = [1, 64];
/// Rounds after which everything is made anew: memories that only grow would be measured, and sales
/// end.
const ROUNDS_MAX: usize = 4_096;
const FRESH_ROUNDS_MAX: usize = 256;

/// What becomes of the requests, each case a step further than the one before.
#[derive(Clone, Copy, PartialEq)]
enum Case {
    /// Nothing: the body is read, and a fixed answer written.
    Fixed,
    /// Refused for want of a token, after the body is parsed.
    NoToken,
    /// Refused by the hint: parse, token seen before, admission; no lane is asked.
    Hint,
    /// Refused by the lane: all of admission, and a call.
    SoldOut,
    /// A repeat: all of admission, a call, and the 202.
    Repeat,
    /// Promised, appended and acknowledged; the token is seen for the first time.
    Accepted,
}

const CASES: [(&str, Case); 6] = [
    ("fixed", Case::Fixed),
    ("no_token", Case::NoToken),
    ("hint", Case::Hint),
    ("sold_out", Case::SoldOut),
    ("repeat", Case::Repeat),
    ("accepted", Case::Accepted),
];

impl Case {
    /// How far the clock goes on before a round: buckets fill again, hints grow old.
    const fn step(self) -> Duration {
        match self {
            Self::Fixed | Self::NoToken | Self::Hint => Duration::from_millis(1),
            Self::Repeat | Self::Accepted => Duration::from_millis(25),
            Self::SoldOut => Duration::from_millis(501),
        }
    }

    const fn units(self) -> u64 {
        match self {
            Self::Hint | Self::SoldOut => 0,
            _ => 1_000_000,
        }
    }

    const fn rounds_max(self) -> usize {
        if matches!(self, Self::Accepted) { FRESH_ROUNDS_MAX } else { ROUNDS_MAX }
    }

    const fn status(self) -> &'static [u8] {
        match self {
            Self::Fixed | Self::Repeat | Self::Accepted => b"HTTP/1.1 202",
            Self::NoToken => b"HTTP/1.1 401",
            Self::Hint | Self::SoldOut => b"HTTP/1.1 409",
        }
    }
}

pub(super) fn requests(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("front");
    for width in WIDTHS {
        group.throughput(Throughput::Elements(width));
        for (name, case) in CASES {
            let mut rig = None;
            group.bench_function(BenchmarkId::new(name, width), |bencher| {
                bencher.iter_custom(|rounds| measure(&runtime, &mut rig, case, width, rounds));
            });
        }
    }
    group.finish();
}

/// What this many rounds take; making rigs is not counted.
fn measure(runtime: &Runtime, rig: &mut Option<Rig>, case: Case, width: u64, rounds: u64) -> Duration {
    runtime.block_on(async {
        let mut took = Duration::ZERO;
        for _ in 0..rounds {
            if rig.as_ref().is_none_or(|rig| rig.round == case.rounds_max()) {
                *rig = Some(Rig::new(case, width).await);
            }
            if let Some(rig) = rig.as_mut() {
                took += rig.round().await;
            }
        }
        took
    })
}

/// Connections to a front, and what is sent over them.
struct Rig {
    case: Case,
    clock: ManualClock,
    connections: Vec<DuplexStream>,
    /// By round and connection; the same again when the rounds are through.
    requests: Vec<Vec<u8>>,
    /// Room for one answer: all of a case are equally long.
    answer: Vec<u8>,
    round: usize,
}

impl Rig {
    async fn new(case: Case, width: u64) -> Self {
        let shop = Shop::new(case.units());
        let buyers = if case == Case::Accepted { width * (FRESH_ROUNDS_MAX as u64 + 1) } else { width };
        let requests = (1..=buyers).map(|buyer| request(&shop.token_of(tenant(), buyer), case)).collect();
        let clock = shop.clock.clone();
        let front = Arc::new(shop.into_front());
        let connections = (0..width).map(|_| {
            let front = Arc::clone(&front);
            if case == Case::Fixed {
                return connect(fixed);
            }
            connect(move |request| {
                let front = Arc::clone(&front);
                async move { front.handle(request, PEER).await }
            })
        });
        let connections = connections.collect();
        let mut rig = Self { case, clock, connections, requests, answer: Vec::new(), round: 0 };
        rig.learn().await;
        rig
    }

    /// Sends the first requests and learns how long an answer is.
    async fn learn(&mut self) {
        for at in 0..self.connections.len() {
            let request = self.requests[at].clone();
            let connection = &mut self.connections[at];
            connection.write_all(&request).await.unwrap();
            let mut answer = Vec::new();
            while length(&answer).is_none_or(|length| answer.len() < length) {
                assert!(connection.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
            }
            self.answer = answer;
        }
        if self.case == Case::Accepted {
            self.requests.drain(..self.connections.len());
        }
    }

    /// One request on every connection, then every answer.
    async fn round(&mut self) -> Duration {
        self.clock.advance(self.case.step());
        let width = self.connections.len();
        let rounds = self.requests.len() / width;
        let requests = &self.requests[self.round % rounds * width..][..width];
        self.round += 1;
        let started = Instant::now();
        for (connection, request) in self.connections.iter_mut().zip(requests) {
            connection.write_all(request).await.unwrap();
        }
        for connection in &mut self.connections {
            connection.read_exact(&mut self.answer).await.unwrap();
            assert!(self.answer.starts_with(self.case.status()), "{}", String::from_utf8_lossy(&self.answer));
        }
        started.elapsed()
    }
}

/// The length of an answer, once its head is complete.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    let body = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    Some(head + body.unwrap().parse::<usize>().unwrap())
}

fn request(token: &str, case: Case) -> Vec<u8> {
    let body = r#"{"offer_id":"101","quantity":1}"#;
    let token = if case == Case::NoToken { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: shop\r\n{token}Idempotency-Key: 0f8fad5b-d9cb-469f-a165-70867728950e\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head, body.into()].concat().into_bytes()
}

async fn fixed(request: Request<Incoming>) -> Response<Body> {
    read_body(request.into_body(), BODY_BYTES_MAX, BODY_DEADLINE).await.unwrap_or_else(|error| panic!("{error}"));
    let body = Bytes::from_static(br#"{"order_id":"249300234895360","status":"accepted"}"#);
    reply::raw(StatusCode::ACCEPTED, reply::CONTENT_TYPE_JSON, body)
}

/// The client's end of a connection in memory.
fn connect<F: Future<Output = Response<Body>> + Send>(
    handle: impl Fn(Request<Incoming>) -> F + Send + 'static,
) -> DuplexStream {
    let (client, server) = tokio::io::duplex(16 * 1024);
    let service = service_fn(move |request| {
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(server), service);
    // It ends with its client.
    tokio::spawn(async move { connection.await.ok() });
    client
}
