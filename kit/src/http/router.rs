//! The routes of the services that share a port. Each service lists its mounts and answers them; a
//! table, made once at the start, finds the mount of a request. Matching allocates nothing, and
//! services are joined by type, so that no call is boxed.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use matchit::Params;

use super::origins::is_preflight;
use super::{Body, Handler, Origins, RequestMetrics};
use crate::clock::Clock;
use crate::problem::{Code, Problem};
use crate::trace::TraceContext;

/// One route: the method and the paths it answers, its name in metrics, and what its service calls
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount<R> {
    /// The method. One of GET answers HEAD too.
    pub method: Method,
    /// The paths: literal parts, and `{name}` for one part that is not empty. No part is
    /// percent-decoded.
    pub pattern: &'static str,
    /// The name in metrics, in `snake_case`; one of its own among all mounts of a port.
    pub name: &'static str,
    /// What the service calls it.
    pub route: R,
    /// Whether pages at the domains of tenants' shops may ask for it ([`Origins`]).
    pub is_for_pages: bool,
}

impl<R> Mount<R> {
    /// A route that reads: GET, and with it HEAD.
    pub const fn get(pattern: &'static str, name: &'static str, route: R) -> Self {
        Self::of(Method::GET, pattern, name, route)
    }

    /// A route that does something.
    pub const fn post(pattern: &'static str, name: &'static str, route: R) -> Self {
        Self::of(Method::POST, pattern, name, route)
    }

    /// A route that puts something in the place that its path names.
    pub const fn put(pattern: &'static str, name: &'static str, route: R) -> Self {
        Self::of(Method::PUT, pattern, name, route)
    }

    /// A route that changes some members of what its path names (RFC 7396).
    pub const fn patch(pattern: &'static str, name: &'static str, route: R) -> Self {
        Self::of(Method::PATCH, pattern, name, route)
    }

    /// A route that removes what its path names.
    pub const fn delete(pattern: &'static str, name: &'static str, route: R) -> Self {
        Self::of(Method::DELETE, pattern, name, route)
    }

    const fn of(method: Method, pattern: &'static str, name: &'static str, route: R) -> Self {
        Self { method, pattern, name, route, is_for_pages: false }
    }

    /// The same, also for pages at the domains of tenants' shops.
    #[must_use]
    pub fn for_pages(self) -> Self {
        Self { is_for_pages: true, ..self }
    }

    pub(crate) fn map<T>(self, wrap: impl FnOnce(R) -> T) -> Mount<T> {
        let Self { method, pattern, name, route, is_for_pages } = self;
        Mount { method, pattern, name, route: wrap(route), is_for_pages }
    }
}

/// A request on its way to the service that mounted its route.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Method, URI and headers.
    pub head: &'a Parts,
    /// Not read yet.
    pub body: Incoming,
    /// Who is at the other end of the connection: the client, or a proxy before us.
    pub peer: &'a SocketAddr,
    values: &'a Params<'a, 'a>,
}

impl<'a> Asked<'a> {
    /// The part of the path that stands for `{name}`, as it was sent; empty where the pattern has
    /// none of that name.
    #[must_use]
    pub fn part(&self, name: &str) -> &'a str {
        self.values.get(name).unwrap_or_default()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        &self.head.headers
    }

    /// What follows the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.head.uri.query()
    }

    pub(crate) fn into_parts(self) -> (&'a Parts, &'a Params<'a, 'a>, Incoming) {
        (self.head, self.values, self.body)
    }
}

/// Routes and their answers. Services that share a port are joined by [`Both`]; `()` is the service
/// without a route.
pub trait Service: Send + Sync + 'static {
    /// What the service calls its routes.
    type Route: Copy + Send + Sync + 'static;

    /// All routes. The one that is asked for most comes first: it is compared before all others are
    /// searched.
    fn mounts() -> Vec<Mount<Self::Route>>;

    /// Answers a request for one of them. The future MUST keep what [`Handler::handle`] asks of its
    /// own.
    fn answer(&self, route: Self::Route, asked: Asked<'_>) -> impl Future<Output = Response<Body>> + Send;
}

impl Service for () {
    type Route = Infallible;

    fn mounts() -> Vec<Mount<Infallible>> {
        Vec::new()
    }

    async fn answer(&self, route: Infallible, _asked: Asked<'_>) -> Response<Body> {
        match route {}
    }
}

impl<S: Service> Service for Arc<S> {
    type Route = S::Route;

    fn mounts() -> Vec<Mount<Self::Route>> {
        S::mounts()
    }

    async fn answer(&self, route: Self::Route, asked: Asked<'_>) -> Response<Body> {
        S::answer(self, route, asked).await
    }
}

/// Two services on one port. What is asked for most belongs into the first.
#[derive(Debug, Clone, Copy)]
pub struct Both<A, B>(pub A, pub B);

/// A route of one of two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneOf<A, B> {
    /// Of the first.
    First(A),
    /// Of the second.
    Second(B),
}

impl<A: Service, B: Service> Service for Both<A, B> {
    type Route = OneOf<A::Route, B::Route>;

    fn mounts() -> Vec<Mount<Self::Route>> {
        let first = A::mounts().into_iter().map(|mount| mount.map(OneOf::First));
        first.chain(B::mounts().into_iter().map(|mount| mount.map(OneOf::Second))).collect()
    }

    async fn answer(&self, route: Self::Route, asked: Asked<'_>) -> Response<Body> {
        match route {
            OneOf::First(route) => self.0.answer(route, asked).await,
            OneOf::Second(route) => self.1.answer(route, asked).await,
        }
    }
}

/// Why services cannot share a port, or a service names its routes wrongly.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Two mounts have the same method and paths.
    #[error("{method} {pattern} is mounted twice: remove one of the two mounts")]
    Repeated {
        /// Their method.
        method: Method,
        /// Their paths.
        pattern: &'static str,
    },
    /// Two mounts have the same name, so their requests could not be told apart in metrics.
    #[error("two routes are named `{0}`: give one of them another name")]
    Name(&'static str),
    /// Two patterns stand for the same paths under different names, or one is malformed.
    #[error("{pattern} cannot be mounted: {source}")]
    Pattern {
        /// The later one.
        pattern: &'static str,
        /// Why.
        source: matchit::InsertError,
    },
}

/// The mounts of a port, to be searched.
#[derive(Debug, Clone)]
pub struct Table<R> {
    /// The mount that is asked for most, if its pattern is one path.
    first: Option<Mount<R>>,
    matcher: matchit::Router<usize>,
    paths: Vec<Methods<R>>,
    names: Vec<&'static str>,
    /// Of each mount, in the order of the names.
    is_for_pages: Vec<bool>,
}

/// What the paths of a pattern are asked.
#[derive(Debug, Clone)]
struct Methods<R> {
    pattern: &'static str,
    /// With the place of each mount among all.
    mounts: Vec<(Method, usize, R)>,
    allow: HeaderValue,
    /// Those of them that are for pages; `None` where none is.
    allow_pages: Option<HeaderValue>,
}

/// What a table knows of a method and a path.
#[derive(Debug)]
enum Found<'t, 'p, R> {
    Mount(usize, R, Params<'t, 'p>),
    /// The path has these methods only.
    OtherMethods(&'t HeaderValue),
    Nothing,
}

impl<R: Copy> Table<R> {
    /// The table of a service, or of several that are joined.
    ///
    /// # Errors
    ///
    /// When two of the mounts have the same method and paths, or the same name.
    pub fn of<S: Service<Route = R>>() -> Result<Self, RouteError> {
        let (matcher, is_for_pages) = (matchit::Router::new(), Vec::new());
        let mut table = Self { first: None, matcher, paths: Vec::new(), names: Vec::new(), is_for_pages };
        for mount in S::mounts() {
            table.add(mount)?;
        }
        for methods in &mut table.paths {
            methods.name_allowed(&table.is_for_pages);
        }
        Ok(table)
    }

    /// The names of the mounts, in their order.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The patterns of the mounts, each once.
    pub fn patterns(&self) -> impl Iterator<Item = &'static str> {
        self.paths.iter().map(|methods| methods.pattern)
    }

    fn add(&mut self, mount: Mount<R>) -> Result<(), RouteError> {
        let (place, Mount { method, pattern, name, route, is_for_pages }) = (self.names.len(), mount.clone());
        if self.names.contains(&name) {
            return Err(RouteError::Name(name));
        }
        self.names.push(name);
        self.is_for_pages.push(is_for_pages);
        if place == 0 && !pattern.contains('{') {
            self.first = Some(mount);
        }
        if let Some(known) = self.paths.iter_mut().find(|known| known.pattern == pattern) {
            if known.mounts.iter().any(|(other, ..)| *other == method) {
                return Err(RouteError::Repeated { method, pattern });
            }
            known.mounts.push((method, place, route));
            return Ok(());
        }
        let added = self.matcher.insert(pattern, self.paths.len());
        added.map_err(|source| RouteError::Pattern { pattern, source })?;
        let allow = HeaderValue::from_static("");
        self.paths.push(Methods { pattern, mounts: vec![(method, place, route)], allow, allow_pages: None });
        Ok(())
    }

    /// The methods of a path that pages may ask for.
    fn for_pages(&self, path: &str) -> Option<&HeaderValue> {
        self.paths.get(*self.matcher.at(path).ok()?.value)?.allow_pages.as_ref()
    }

    fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'_, 'p, R> {
        if let Some(first) = self.first.as_ref().filter(|first| path == first.pattern && *method == first.method) {
            return Found::Mount(0, first.route, Params::new());
        }
        let Ok(found) = self.matcher.at(path) else { return Found::Nothing };
        let Some(methods) = self.paths.get(*found.value) else { return Found::Nothing };
        match methods.mounts.iter().find(|(known, ..)| answers(known, method)) {
            Some((_, place, route)) => Found::Mount(*place, *route, found.params),
            None => Found::OtherMethods(&methods.allow),
        }
    }

    /// What the service answers, and the place of the route among [`Table::names`]; or a refusal,
    /// and its code: 404 for a path that nobody mounted, 405 with `Allow` for a method that the
    /// path does not have.
    pub async fn answer<S: Service<Route = R>>(
        &self,
        service: &S,
        request: Request<Incoming>,
        peer: &SocketAddr,
    ) -> (Result<usize, Code>, Response<Body>) {
        let (head, body) = request.into_parts();
        match self.find(&head.method, head.uri.path()) {
            Found::Mount(place, route, values) => {
                (Ok(place), service.answer(route, Asked { head: &head, body, peer, values: &values }).await)
            }
            Found::OtherMethods(allow) => {
                let mut response = Problem::new(Code::MethodNotAllowed, "this path has other methods").to_response();
                response.headers_mut().insert(ALLOW, allow.clone());
                (Err(Code::MethodNotAllowed), response)
            }
            Found::Nothing => {
                let problem = Problem::new(Code::NotFound, "there is nothing at this path");
                (Err(problem.code), problem.to_response())
            }
        }
    }
}

fn answers(mounted: &Method, asked: &Method) -> bool {
    mounted == asked || (*mounted == Method::GET && *asked == Method::HEAD)
}

impl<R> Methods<R> {
    /// Writes the methods down as `Allow` names them. `is_for_pages`: of all mounts.
    fn name_allowed(&mut self, is_for_pages: &[bool]) {
        // Methods are tokens, which always make a header value.
        if let Some(allow) = named(self.mounts.iter().map(|(method, ..)| method)) {
            self.allow = allow;
        }
        let is_open = |place: usize| is_for_pages.get(place).copied().unwrap_or(false);
        self.allow_pages = named(self.mounts.iter().filter(|(_, place, _)| is_open(*place)).map(|(method, ..)| method));
    }
}

/// Methods in a list; `None` where there are none.
fn named<'a>(methods: impl Iterator<Item = &'a Method>) -> Option<HeaderValue> {
    let mut names: Vec<&str> = methods.map(Method::as_str).collect();
    if names.contains(&"GET") && !names.contains(&"HEAD") {
        names.push("HEAD");
    }
    names.sort_unstable();
    HeaderValue::try_from(names.join(", ")).ok().filter(|_| !names.is_empty())
}

/// What every request of a port goes through: its place in its trace, its route, its measure.
pub struct Router<S: Service, C> {
    service: S,
    table: Arc<Table<S::Route>>,
    clock: C,
    metrics: Arc<RequestMetrics>,
    origins: Option<Arc<Origins>>,
}

impl<S: Service, C: Clock> Router<S, C> {
    /// The routes of this service. `table` and `metrics` may be shared by the listeners of a port.
    pub fn new(service: S, table: Arc<Table<S::Route>>, clock: C, metrics: Arc<RequestMetrics>) -> Self {
        Self { service, table, clock, metrics, origins: None }
    }

    /// The same, which pages of these origins may call, each for its own tenant's things.
    #[must_use]
    pub fn with_origins(self, origins: Arc<Origins>) -> Self {
        Self { origins: Some(origins), ..self }
    }

    /// Who answers.
    pub fn service(&self) -> &S {
        &self.service
    }
}

impl<S: Service, C: Clock> Handler for Router<S, C> {
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let started = self.clock.monotonic();
        let trace = TraceContext::of_request(request.headers());
        let calling = self.origins.as_ref().and_then(|origins| origins.calling(request.headers()));
        if let Some(calling) = calling.as_ref().filter(|_| is_preflight(request.method(), request.headers()))
            && let Some(methods) = self.table.for_pages(request.uri().path())
        {
            let (refused, mut response) = calling.preflight(methods);
            trace.insert_into(response.headers_mut());
            refused.into_iter().for_each(|code| self.metrics.refused(code));
            self.metrics.observe(None, response.status(), self.clock.monotonic().saturating_sub(started));
            return response;
        }
        // Pinned in place: the future of a purchase is large, and every copy of it would be paid.
        let answering = pin!(self.table.answer(&self.service, request, &peer));
        let (place, mut response) = trace.within(answering).await;
        trace.insert_into(response.headers_mut());
        let is_for_pages = |place: &usize| self.table.is_for_pages.get(*place).copied().unwrap_or(false);
        if let Some(calling) = calling.filter(|_| place.as_ref().is_ok_and(is_for_pages)) {
            calling.admit(&mut response);
        }
        let took = self.clock.monotonic().saturating_sub(started);
        // Services on the hot path count their refusals themselves, others leave the code here.
        if let Some(code) = place.err().or_else(|| response.extensions().get().copied()) {
            self.metrics.refused(code);
        }
        self.metrics.observe(place.ok(), response.status(), took);
        response
    }
}

#[cfg(test)]
mod tests;
