//! Requests that another service answers at our address: handed on whole, and answered piece by
//! piece as the answer comes. What belongs to one connection stays on it (RFC 9110, 7.6.1).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Client, ClientError, ClientLimits};
use crate::http::{Asked, BODY_DEADLINE, Body, client_address, read_body};
use crate::problem::{Code, Problem};

/// Largest body that is handed on. The other service has bounds of its own for each route.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest wait for the head of an answer: the other service may have to ask a third one.
const HEAD_DEADLINE: Duration = Duration::from_secs(12);
/// Longest silence within an answer. Streams have a heartbeat every 15 s.
const PIECE_DEADLINE: Duration = Duration::from_secs(45);
/// Requests of one [`Forward`] that wait for the head of their answer.
const UNDER_WAY_MAX: usize = 512;
/// When to come back.
const RETRY_AFTER: Duration = Duration::from_secs(2);

const EVENTS: &str = "text/event-stream";
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What belongs to one connection, beside what `Connection` names.
const OF_CONNECTION: [HeaderName; 8] =
    [CONNECTION, KEEP_ALIVE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// What a request says for us alone. Cookies are nobody's token here.
const FOR_US: [HeaderName; 6] = [HOST, CONTENT_LENGTH, EXPECT, COOKIE, FORWARDED, FORWARDED_FOR];

/// Hands requests on to one service. A clone has connections of its own, so that each of several
/// runtimes can have one.
#[derive(Debug)]
pub struct Forward {
    client: Client,
    room: Arc<Semaphore>,
    head_deadline: Duration,
    stop: CancellationToken,
}

impl Clone for Forward {
    fn clone(&self) -> Self {
        let (client, room) = (self.client.apart(), Arc::new(Semaphore::new(UNDER_WAY_MAX)));
        Self { client, room, head_deadline: self.head_deadline, stop: self.stop.clone() }
    }
}

impl Forward {
    /// To the service at `origin`, as [`Client::new`] takes it.
    ///
    /// # Errors
    ///
    /// [`ClientError::Invalid`] when it is no origin.
    pub fn new(origin: &str) -> Result<Self, ClientError> {
        let client = Client::new(origin, ClientLimits::default())?;
        let (room, stop) = (Arc::new(Semaphore::new(UNDER_WAY_MAX)), CancellationToken::new());
        Ok(Self { client, room, head_deadline: HEAD_DEADLINE, stop })
    }

    /// The same, which waits so long for the head of an answer.
    #[must_use]
    pub fn within(self, head_deadline: Duration) -> Self {
        Self { head_deadline, ..self }
    }

    /// The same, whose streams of events end with `stop`: their clients come again, to who is there
    /// then.
    #[must_use]
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// What the other service answers. Sent once. `503 temporarily_unavailable` where it is not
    /// there, and nothing was done; `503 outcome_unknown` where no answer came to something that
    /// may have been done.
    pub async fn answer(&self, asked: Asked<'_>) -> Response<Body> {
        let (head, address) = (asked.head, client_address(asked.peer.ip(), asked.headers()));
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        let body = match read_body(asked.body, BODY_BYTES_MAX, BODY_DEADLINE).await {
            Ok(body) => body,
            Err(error) => {
                let mut response = refused(&error.into());
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        };
        let Ok(under_way) = self.room.try_acquire() else {
            let problem = Problem::new(Code::Overloaded, "others are being answered; nothing was done, come back");
            return refused(&problem.with_retry_after(RETRY_AFTER));
        };
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let headers = handed_on(&head.headers, address);
        let request = match self.client.request_of(head.method.clone(), path, (headers, body)) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%error, "a request cannot be handed on");
                return refused(&Problem::new(Code::InvalidRequest, "this request cannot be handed on"));
            }
        };
        let answered = timeout(self.head_deadline, self.client.http.request(request)).await;
        drop(under_way);
        match answered {
            Ok(Ok(response)) => self.streamed(response),
            Ok(Err(error)) if error.is_connect() => {
                tracing::warn!(%error, "the service behind this route is away");
                refused(&unavailable("what answers here is away; nothing was done, come back"))
            }
            _ if is_read => refused(&unavailable("no answer came in time; come back")),
            _ => {
                let detail = "no answer came: whether it was done is not known. Look, or repeat the request";
                refused(&Problem::new(Code::OutcomeUnknown, detail).with_retry_after(RETRY_AFTER))
            }
        }
    }

    /// The answer, sent on as it comes. One that breaks off does so for the client too: it is
    /// shorter than it said, or a stream that ends.
    fn streamed(&self, response: Response<Incoming>) -> Response<Body> {
        let (head, body) = response.into_parts();
        let is_stream = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == EVENTS);
        let mut response = Response::new(Body::of_pieces((body, is_stream.then(|| self.stop.clone())), next_piece));
        *response.status_mut() = head.status;
        *response.headers_mut() = without_connection(&head.headers);
        response
    }
}

fn unavailable(detail: &'static str) -> Problem {
    Problem::new(Code::TemporarilyUnavailable, detail).with_retry_after(RETRY_AFTER)
}

/// A refusal as the client gets it; the router counts it by its code.
fn refused(problem: &Problem) -> Response<Body> {
    let mut response = problem.to_response();
    response.extensions_mut().insert(problem.code);
    response
}

/// The headers of a request for the other service, and whose it is.
fn handed_on(headers: &HeaderMap, address: IpAddr) -> HeaderMap {
    let mut handed = without_connection(headers);
    for name in FOR_US {
        handed.remove(name);
    }
    if let Ok(address) = HeaderValue::try_from(address.to_string()) {
        handed.insert(FORWARDED_FOR, address);
    }
    handed
}

/// What goes beyond the connection on which it came.
fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let mut handed = headers.clone();
    let named = headers.get_all(CONNECTION).iter().filter_map(|list| list.to_str().ok());
    for name in named.flat_map(|list| list.split(',')).map(str::trim) {
        handed.remove(name);
    }
    for name in OF_CONNECTION {
        handed.remove(name);
    }
    handed
}

/// An answer under way, and what ends it before its own end.
type UnderWay = (Incoming, Option<CancellationToken>);

async fn next_piece((mut body, stop): UnderWay) -> Option<(Bytes, UnderWay)> {
    loop {
        let frame = timeout(PIECE_DEADLINE, body.frame());
        let frame = match &stop {
            Some(stop) => stop.run_until_cancelled(frame).await?,
            None => frame.await,
        };
        match frame.ok()??.ok()?.into_data() {
            Ok(piece) if !piece.is_empty() => return Some((piece, (body, stop))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_stays_on_it_and_the_client_is_who_we_say() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("host", "shop.example"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.9.9.9"),
            ("forwarded", "for=10.9.9.9"),
            ("authorization", "Bearer t"),
            ("idempotency-key", "k"),
            ("if-match", "\"7\""),
            ("last-event-id", "9"),
            ("content-type", "application/json"),
            ("simulated-signature", "s"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let handed = handed_on(&headers, "203.0.113.7".parse().unwrap());
        let mut names: Vec<&str> = handed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let kept = ["authorization", "content-type", "idempotency-key", "if-match", "last-event-id"];
        assert_eq!(names, [kept.as_slice(), &["simulated-signature", "x-forwarded-for"]].concat());
        assert_eq!(handed[FORWARDED_FOR], "203.0.113.7");
    }
}
