//! The HTTP/1.1 server under every service: a listener per core, limits on everything, bodies read
//! within bounds, one clean drain, and the router by which services share a port. No TLS: that ends
//! before us.

/// Every limit, with its default and its reason.
mod limits;

/// Addresses for programs that are started next.
mod free;

/// Listening sockets that several runtimes can share.
mod listener;

/// How many files a process may open.
mod descriptors;

/// From a listener to handled requests, and back to nothing at shutdown.
mod server;

/// One connection: its pulse, by which idle and slow ones are found.
mod connection;

/// Request bodies, whole and bounded.
mod body;

/// Response bodies that stay open: server-sent events.
mod events;

/// The few request headers that services read.
mod headers;

/// What a body says that it is.
mod media;

/// Query strings of GET routes.
mod query;

/// Lists in pages.
mod paging;

/// Pages of other origins that call us.
mod origins;

/// Routes of services that share a port.
mod router;

/// What requests come to, by route and refusal.
mod requests;

/// The everyday answers.
pub mod reply;

use std::future::Future;
use std::net::SocketAddr;

pub use bytes::Bytes;
pub use hyper::body::Incoming;
pub use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use hyper::{Method, Request, Response, StatusCode, Uri};

pub(crate) use self::body::Upload;
pub use self::body::{BodyError, read_body};
pub use self::descriptors::raise_descriptor_limit;
pub use self::events::{Event, EventSender, EventsEnded, events};
pub use self::free::free_address;
pub use self::headers::{IDEMPOTENCY_KEY, IdempotencyKeyError, bearer, client_address, idempotency_key};
pub use self::limits::{BODY_BYTES_MAX, BODY_DEADLINE, Limits};
pub use self::listener::bind;
pub use self::media::check_json;
pub use self::origins::{Origins, of_tenant};
pub use self::paging::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageAsked};
pub use self::query::{Query, QueryError, wrong_parameter};
pub use self::requests::RequestMetrics;
pub use self::router::{Asked, Both, Mount, OneOf, RouteError, Router, Service, Table};
pub use self::server::{ConnectionMetrics, DrainOutcome, serve, serve_measured};
pub use crate::pieces::{Body, PIECE_BYTES_MAX};
pub use crate::trace::TraceContext;

/// What a service does with a request. One handler serves all connections of a listener.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request; `peer` is the other end of its connection. A fault becomes a response
    /// too; there is nobody above to catch it.
    ///
    /// The future MUST be safe to drop at any await: it is dropped when the connection breaks, or
    /// when the drain deadline passes. A client that merely closes its sending half does not end
    /// it. The future MUST bound its own time: the server limits what it waits for from the client,
    /// not what the handler waits for.
    fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;
}
