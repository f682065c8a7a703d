//! The everyday service, past the hot path: routes as data, each with whom it admits and how large
//! its body may be. One place asks for the token, checks the permission, reads the body and repeats
//! what met a lock; a handler cannot forget to.

mod fault;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{CONNECTION, ETAG, HeaderValue, IF_MATCH};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response};
use matchit::Params;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, TryAcquireError};
use utoipa::ToSchema;

pub use self::fault::{Fault, FaultKind};
use crate::access::{Actor, Permission};
use crate::http::{
    Asked, BODY_BYTES_MAX, BODY_DEADLINE, Body, Mount, PageAsked, Query, Service, Upload, bearer, check_json,
    client_address, idempotency_key, read_body, wrong_parameter,
};
use crate::problem::{Code, Problem};
use crate::schema;
use crate::telemetry;

/// Tries of a handler whose transaction met a lock or a deadlock, and so did nothing.
const TRIES_MAX: u32 = 4;

/// Bodies beyond this size are large: few of them are read at a time.
const SMALL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How fast a large body has to come, in bytes a second.
const LARGE_BYTES_PER_S: usize = 512 * 1024;

static GET: Method = Method::GET;

/// Room for large bodies: each keeps the database's writer and a core busy while it comes.
static LARGE_BODIES: Semaphore = Semaphore::const_new(2);

/// When to come back for room.
const ROOM_AFTER: Duration = Duration::from_secs(5);

/// Whom a route admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: what it gives is nobody's secret, or the body proves who asks.
    Public,
    /// Whoever has a valid token or key.
    Known,
    /// Who has this permission.
    Needs(Permission),
}

/// What a handler gives: the answer, or why there is none.
pub type Answering<'a, E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send + 'a>>;

/// A handler. It may be called again for one request, when what it did was rolled back.
pub type Handler<A> = for<'a> fn(&'a A, &'a Call<'a>) -> Answering<'a, <A as Api>::Error>;

/// One route of an everyday service.
pub struct Route<A: Api> {
    access: Access,
    body_bytes_max: usize,
    is_upload: bool,
    is_read: bool,
    room: Option<&'static Semaphore>,
    handler: Handler<A>,
}

impl<A: Api> Clone for Route<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Api> Copy for Route<A> {}

impl<A: Api> Route<A> {
    /// A route with a body of the usual size, if any.
    pub const fn new(access: Access, handler: Handler<A>) -> Self {
        Self { access, body_bytes_max: BODY_BYTES_MAX, is_upload: false, is_read: false, room: None, handler }
    }

    /// With bodies of this size.
    #[must_use]
    pub const fn with_body(self, body_bytes_max: usize) -> Self {
        Self { body_bytes_max, ..self }
    }

    /// With a body of this size that the handler reads by [`Call::piece`]. It is called once: what
    /// it has read does not come again.
    #[must_use]
    pub const fn with_upload(self, body_bytes_max: usize) -> Self {
        Self { body_bytes_max, is_upload: true, ..self }
    }

    /// Of which few are read at a time: a request takes one of these permits before its body is
    /// read and until it is answered. Without one it is `overloaded`.
    #[must_use]
    pub const fn of_few(self, room: &'static Semaphore) -> Self {
        Self { room: Some(room), ..self }
    }

    /// One that changes nothing, although it is asked by POST: what it is asked fits no URL.
    #[must_use]
    pub const fn that_reads(self) -> Self {
        Self { is_read: true, ..self }
    }

    /// The method that says what a request for it does: GET where it reads, whatever was sent.
    fn method<'a>(&self, sent: &'a Method) -> &'a Method {
        if self.is_read { &GET } else { sent }
    }

    /// Whom it admits.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }
}

/// An everyday service.
pub trait Api: Send + Sync + Sized + 'static {
    /// Why its handlers have no answer.
    type Error: Fault;

    /// All its routes.
    fn routes() -> Vec<Mount<Route<Self>>>;

    /// Who this token or key stands for; refused when for nobody, when he asks too often, and when
    /// he may do nothing of this method now. A route that reads is a GET, whatever was sent.
    fn actor(
        &self,
        token: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Actor, Box<Problem>>> + Send;
}

/// A request, read and admitted.
#[derive(Debug)]
pub struct Call<'a> {
    /// Who asks; [`Actor::NOBODY`] on a public route.
    pub actor: Actor,
    /// Where from: the peer, or whom our proxy names.
    pub address: IpAddr,
    /// The body as it came; empty where the handler reads it.
    pub body: Bytes,
    /// The pattern of its route.
    pub pattern: &'static str,
    head: &'a Parts,
    values: &'a Params<'a, 'a>,
    upload: Option<Mutex<Upload>>,
}

impl Call<'_> {
    /// The next piece of the body, on a route that reads it; `None` after the last one.
    ///
    /// # Errors
    ///
    /// `too_large`, and `invalid_request` where it is too slow or broken.
    pub async fn piece(&self) -> Result<Option<Bytes>, Box<Problem>> {
        let Some(upload) = &self.upload else { return Ok(None) };
        upload.lock().await.piece().await.map_err(|error| Box::new(error.into()))
    }

    /// The part of the path that stands for `{name}`.
    ///
    /// # Errors
    ///
    /// `not_found` when it is no such value: what cannot be is answered like what is not there.
    pub fn part<T: std::str::FromStr>(&self, name: &str) -> Result<T, Box<Problem>> {
        self.values
            .get(name)
            .unwrap_or_default()
            .parse()
            .map_err(|_| Box::new(Problem::new(Code::NotFound, "there is nothing at this path")))
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The path, as it was sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The path and the query, as they were sent.
    #[must_use]
    pub fn target(&self) -> &str {
        self.head.uri.path_and_query().map_or("", |target| target.as_str())
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The parameters of the query, of which the route has these.
    ///
    /// # Errors
    ///
    /// `invalid_request`, as [`Query::parse`].
    pub fn query(&self, names: &[&str]) -> Result<Query<'_>, Box<Problem>> {
        Ok(Query::parse(self.head.uri.query(), names)?)
    }

    /// The page that is asked for, on a route without other parameters.
    ///
    /// # Errors
    ///
    /// `invalid_request`, as [`PageAsked::read`].
    pub fn page(&self) -> Result<PageAsked, Box<Problem>> {
        PageAsked::read(self.head.uri.query())
    }

    /// The body, checked by the schema of its type.
    ///
    /// # Errors
    ///
    /// `unsupported_media_type`, and `invalid_request` that names every wrong member.
    pub fn json<T: DeserializeOwned + ToSchema + 'static>(&self) -> Result<T, Box<Problem>> {
        check_json(self.headers())?;
        schema::read(&self.body)
    }

    /// The request's idempotency key.
    ///
    /// # Errors
    ///
    /// `invalid_request` when it is missing or none.
    pub fn idempotency_key(&self) -> Result<&str, Box<Problem>> {
        idempotency_key(self.headers()).map_err(|error| Box::new(error.into()))
    }

    /// The version that the caller last saw, from `If-Match: "7"`; `None` without the header.
    ///
    /// # Errors
    ///
    /// `invalid_request` when it is no tag of ours.
    pub fn expected_version(&self) -> Result<Option<u64>, Box<Problem>> {
        let Some(sent) = self.headers().get(IF_MATCH) else { return Ok(None) };
        let tag = sent.to_str().ok().and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
        tag.map(Some).ok_or_else(|| wrong_parameter("If-Match", "give the ETag of an earlier answer, as it came"))
    }
}

/// A response with the version of what it shows, for `If-Match`.
#[must_use]
pub fn tagged(mut response: Response<Body>, version: u64) -> Response<Body> {
    if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// An everyday service as one that shares a port.
pub struct Served<A>(pub Arc<A>);

impl<A> Clone for Served<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Api> Service for Served<A> {
    type Route = (Route<A>, &'static str);

    fn mounts() -> Vec<Mount<Self::Route>> {
        let named = |mount: Mount<Route<A>>| {
            let pattern = mount.pattern;
            mount.map(|route| (route, pattern))
        };
        A::routes().into_iter().map(named).collect()
    }

    async fn answer(&self, (route, pattern): Self::Route, asked: Asked<'_>) -> Response<Body> {
        let api = &*self.0;
        let actor = match admit(api, &route, &asked).await {
            Ok(actor) => actor,
            Err(problem) => return closing(refused(&problem), &asked),
        };
        let (Ok(_room), Ok(_own)) = (room_for(&asked), route.room.map(Semaphore::try_acquire).transpose()) else {
            let problem =
                Problem::new(Code::Overloaded, "other large bodies are being read; nothing was done, come back");
            return closing(refused(&problem.with_retry_after(ROOM_AFTER)), &asked);
        };
        let address = client_address(asked.peer.ip(), asked.headers());
        let (head, values, body) = asked.into_parts();
        let deadline = BODY_DEADLINE + Duration::from_secs((route.body_bytes_max / LARGE_BYTES_PER_S) as u64);
        let (body, upload) = if route.is_upload {
            (Bytes::new(), Some(Mutex::new(Upload::new(body, route.body_bytes_max, deadline))))
        } else {
            match read_body(body, route.body_bytes_max, deadline).await {
                Ok(body) => (body, None),
                Err(error) => return closed(refused(&error.into())),
            }
        };
        let call = Call { actor, address, body, pattern, head, values, upload };
        let response = telemetry::of_tenant(call.actor.tenant, answered(api, &route, &call)).await;
        let is_whole = call.upload.is_none_or(|upload| upload.into_inner().is_over());
        if is_whole { response } else { closed(response) }
    }
}

/// What the handler answers, called again where what it did was rolled back.
async fn answered<A: Api>(api: &A, route: &Route<A>, call: &Call<'_>) -> Response<Body> {
    let is_read = matches!(*route.method(call.method()), Method::GET | Method::HEAD);
    let mut tries = if route.is_upload { TRIES_MAX } else { 1 };
    loop {
        match (route.handler)(api, call).await {
            Ok(response) => return response,
            Err(fault) if fault.is_retryable() && tries < TRIES_MAX => tries += 1,
            Err(fault) => return refused(&fault.into_problem(is_read)),
        }
    }
}

/// A place among the large bodies, where one is needed: for a body that says so, or says nothing.
fn room_for(asked: &Asked<'_>) -> Result<Option<SemaphorePermit<'static>>, TryAcquireError> {
    match asked.body.size_hint().upper() {
        Some(bytes) if bytes <= SMALL_BYTES_MAX => Ok(None),
        _ => LARGE_BODIES.try_acquire().map(Some),
    }
}

async fn admit<A: Api>(api: &A, route: &Route<A>, asked: &Asked<'_>) -> Result<Actor, Box<Problem>> {
    let needed = match route.access {
        Access::Public => return Ok(Actor::NOBODY),
        Access::Known => None,
        Access::Needs(permission) => Some(permission),
    };
    let token = bearer(asked.headers());
    let token =
        token.ok_or_else(|| Box::new(Problem::new(Code::Unauthenticated, "this needs a token or an API key")))?;
    let actor = api.actor(token, route.method(&asked.head.method), asked.headers()).await?;
    match needed {
        Some(permission) if !actor.permissions.has(permission) => Err(lacking(permission)),
        _ => Ok(actor),
    }
}

/// The refusal of who lacks a permission; it names it.
#[must_use]
pub fn lacking(permission: Permission) -> Box<Problem> {
    Box::new(Problem::new(Code::Forbidden, format!("this needs the permission `{permission}`, which you do not have")))
}

/// A refusal as the client gets it; the router counts it by its code.
fn refused(problem: &Problem) -> Response<Body> {
    let mut response = problem.to_response();
    response.extensions_mut().insert(problem.code);
    response
}

/// An answer before the body was read: the connection ends, unless there is no body.
fn closing(response: Response<Body>, asked: &Asked<'_>) -> Response<Body> {
    if asked.body.is_end_stream() { response } else { closed(response) }
}

fn closed(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
