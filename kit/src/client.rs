//! One service asks another: an origin, timeouts, repetitions within a budget, the trace passed on,
//! refusals as values. Connections are kept and used again. TLS where the origin says `https`;
//! within a deployment it is the mesh's, as on the server's side.

/// How many repetitions are fair.
mod budget;
/// Requests that another service answers.
mod forward;
/// Whom a client trusts.
mod tls;

use std::borrow::Cow;
use std::error::Error;
use std::iter;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};

use self::budget::Budget;
pub use self::forward::Forward;
use crate::http::{IDEMPOTENCY_KEY, reply::CONTENT_TYPE_JSON};
use crate::problem;
use crate::trace::TraceContext;

/// What a client waits for, and how much it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Longest wait for a connection.
    pub connect_deadline: Duration,
    /// Longest wait for one answer, its body included.
    pub answer_deadline: Duration,
    /// Most times that a request is sent, if it may be sent again; at least 1.
    pub attempts_max: usize,
    /// Largest body of an answer, in bytes.
    pub body_bytes_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_millis(500),
            answer_deadline: Duration::from_secs(3),
            attempts_max: 3,
            body_bytes_max: 1024 * 1024,
        }
    }
}

/// Shortest wait before a repetition; each further one is about twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest one.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Connections without a request that are kept, of one client.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// How long: below the 75 s after which our servers close them.
const IDLE_DEADLINE: Duration = Duration::from_secs(30);

/// A request to another service.
#[derive(Debug, Clone)]
pub struct Ask {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    is_repeatable: bool,
    flaw: Option<&'static str>,
}

impl Ask {
    /// GET of a path with its query, such as `/v1/sales/7?limit=5`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// POST: sent once, unless an [`idempotency_key`](Self::idempotency_key) makes a repetition
    /// harmless.
    #[must_use]
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// Any method. One that is idempotent by RFC 9110 may be sent again.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let is_repeatable = method.is_idempotent();
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), is_repeatable, flaw: None }
    }

    /// With a key by which the other service knows a repetition.
    #[must_use]
    pub fn idempotency_key(self, key: &str) -> Self {
        Self { is_repeatable: true, ..self }.header(IDEMPOTENCY_KEY, key)
    }

    /// With a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => drop(self.headers.insert(name, value)),
            Err(_) => self.flaw = Some("a header's value has characters that no header may have"),
        }
        self
    }

    /// With a body that is written already.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With a body in JSON.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(written) => self.body = written.into(),
            Err(_) => self.flaw = Some("the body cannot be written as JSON"),
        }
        self.headers.insert(CONTENT_TYPE, CONTENT_TYPE_JSON);
        self
    }
}

/// An answer: of [`Client::ask`] one that is no refusal, a status below 400.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body, read from JSON.
    ///
    /// # Errors
    ///
    /// [`ClientError::Malformed`] when it is something else.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(ClientError::Malformed)
    }
}

/// What the other service said instead of doing what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status: 400 or above.
    pub status: StatusCode,
    /// The problem's code, as [`Code::as_str`](crate::problem::Code::as_str) spells those we know;
    /// empty where the answer is no problem.
    pub code: String,
    /// For people.
    pub detail: String,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The trace that the other service's log lines name.
    pub trace_id: Option<String>,
    /// Members that are wrong, each with what is wrong about it.
    pub fields: Vec<(String, String)>,
}

/// The members of a problem that a client acts on.
#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    detail: Cow<'a, str>,
    #[serde(borrow, default)]
    trace_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    errors: Vec<WrongField<'a>>,
}

#[derive(Deserialize)]
struct WrongField<'a> {
    #[serde(borrow)]
    field: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl Refusal {
    /// The same refusal to whom we answer. A code of a later version is `forbidden` here.
    #[must_use]
    pub fn passed_on(self) -> Box<problem::Problem> {
        let Self { code, detail, retry_after, fields, .. } = self;
        let known = problem::Code::ALL.iter().copied().find(|known| known.as_str() == code);
        let refused = problem::Problem::new(known.unwrap_or(problem::Code::Forbidden), detail);
        let problem = problem::Problem { retry_after, ..refused };
        Box::new(fields.into_iter().fold(problem, |problem, (field, message)| problem.with_field(field, message)))
    }

    fn of(answer: &Answer) -> Self {
        let seconds = answer.headers.get(RETRY_AFTER).and_then(|sent| sent.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        match serde_json::from_slice::<Problem<'_>>(&answer.body) {
            Ok(Problem { code, detail, trace_id, errors }) => Self {
                status: answer.status,
                code: code.into_owned(),
                detail: detail.into_owned(),
                retry_after,
                trace_id: trace_id.map(Cow::into_owned),
                fields: errors.into_iter().map(|wrong| (wrong.field.into(), wrong.message.into())).collect(),
            },
            Err(_) => {
                let (code, detail) = (String::new(), String::from_utf8_lossy(&answer.body).into_owned());
                Self { status: answer.status, code, detail, retry_after, trace_id: None, fields: Vec::new() }
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The origin is not one, or a request was put together wrongly: a fault of ours.
    #[error("not a request: {0}")]
    Invalid(String),
    /// The other service refused.
    #[error("refused with {}: {}", .0.status, .0.detail)]
    Refused(Box<Refusal>),
    /// It could not be reached: nothing was sent.
    #[error("cannot be reached: {}", root(.0))]
    Away(#[source] legacy::Error),
    /// The request was sent, and its connection broke before the answer was here.
    #[error("the connection broke before the answer was here: {}", root(.0.as_ref()))]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The request may have been sent, and no answer came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The body of the answer is larger than the client takes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The body of the answer is not what was expected.
    #[error("the answer cannot be read: {0}")]
    Malformed(#[source] serde_json::Error),
}

/// The innermost cause, which says what happened; those around it say where.
fn root<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    iter::successors(Some(error), |error| Error::source(*error)).last().unwrap_or(error)
}

impl ClientError {
    /// Whether the request may have been carried out without our knowing.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Timeout(_) | Self::TooLarge(_) | Self::Malformed(_) => true,
            Self::Refused(refusal) => {
                refusal.code == "outcome_unknown" || refusal.status.is_server_error() && refusal.code.is_empty()
            }
            Self::Invalid(_) | Self::Away(_) => false,
        }
    }

    /// Whether the same request may do better a moment later. Whether it may be *sent* again is
    /// another question where [`is_unknown`](Self::is_unknown).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Away(_) | Self::Broken(_) | Self::Timeout(_) => true,
            // Who asks too often is not helped by asking more often.
            Self::Refused(refusal) => {
                matches!(
                    refusal.status,
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
                )
            }
            Self::Invalid(_) | Self::TooLarge(_) | Self::Malformed(_) => false,
        }
    }
}

fn pool(connector: &HttpsConnector<HttpConnector>) -> legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_DEADLINE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        // A kept connection that turns out closed is replaced: hyper does so only with what was not
        // sent.
        .retry_canceled_requests(true)
        .build(connector.clone())
}

/// Asks one service. Clones share connections and budget.
#[derive(Debug, Clone)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    connector: HttpsConnector<HttpConnector>,
    scheme: Scheme,
    authority: Authority,
    limits: ClientLimits,
    budget: Budget,
}

impl Client {
    /// A client of the service at `origin`: a host and a port such as `orders:8080`, or
    /// `http://orders:8080`; `https://shop.example` is asked over TLS, and has to show a
    /// certificate of a public authority. To be made and used within a runtime; nothing is
    /// connected yet.
    ///
    /// # Errors
    ///
    /// [`ClientError::Invalid`] when it is no origin.
    pub fn new(origin: &str, limits: ClientLimits) -> Result<Self, ClientError> {
        Self::trusting(origin, limits, &[])
    }

    /// The same, which trusts these authorities too: a certificate each, in DER.
    ///
    /// # Errors
    ///
    /// [`ClientError::Invalid`] when it is no origin, or one of them is no certificate.
    pub fn trusting(origin: &str, limits: ClientLimits, authorities: &[&[u8]]) -> Result<Self, ClientError> {
        let invalid = |error: &dyn std::fmt::Display| ClientError::Invalid(format!("{origin}: {error}"));
        let (scheme, rest) = origin.split_once("://").unwrap_or(("http", origin));
        let scheme = match scheme {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            _ => return Err(invalid(&"give http://HOST:PORT or https://HOST")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|error| invalid(&error))?;
        let mut connector = HttpConnector::new();
        // What is no `http` goes on to TLS.
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(limits.connect_deadline));
        connector.set_nodelay(true);
        let connector = tls::over(connector, authorities).map_err(|error| invalid(&error))?;
        Ok(Self { http: pool(&connector), connector, scheme, authority, limits, budget: Budget::default() })
    }

    /// The same with connections of its own, for another runtime: a connection lives as long as the
    /// one that made it.
    fn apart(&self) -> Self {
        Self { http: pool(&self.connector), ..self.clone() }
    }

    /// Asks, as a part of the trace of the request that is being answered, or of a new one. A
    /// request that may be sent again is, after a wait, as often as limits and budget allow.
    ///
    /// # Errors
    ///
    /// [`ClientError`] of the last attempt.
    pub async fn ask(&self, ask: &Ask) -> Result<Answer, ClientError> {
        if let Some(flaw) = ask.flaw {
            return Err(ClientError::Invalid(flaw.to_owned()));
        }
        self.budget.deposit();
        let backoff = ExponentialBuilder::default().with_min_delay(BACKOFF_MIN).with_max_delay(BACKOFF_MAX);
        let repetitions = self.limits.attempts_max.saturating_sub(1);
        let mut waits = backoff.with_jitter().with_max_times(repetitions).build();
        loop {
            let error = match self.attempt(ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_repeat = error.is_retryable() && (ask.is_repeatable || matches!(error, ClientError::Away(_)));
            let Some(wait) = waits.next().filter(|_| may_repeat && self.budget.withdraw()) else { return Err(error) };
            tracing::debug!(%error, path = ask.path, "another service is asked again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, ask: &Ask) -> Result<Answer, ClientError> {
        let answer = self.exchange(ask).await?;
        if answer.status.is_client_error() || answer.status.is_server_error() {
            return Err(ClientError::Refused(Box::new(Refusal::of(&answer))));
        }
        Ok(answer)
    }

    /// Asks once, and gives the answer of any status as it came: for services outside, whose
    /// refusals are no problems of ours and may be signed over their very bytes.
    ///
    /// # Errors
    ///
    /// [`ClientError`], and never [`ClientError::Refused`].
    pub async fn exchange(&self, ask: &Ask) -> Result<Answer, ClientError> {
        if let Some(flaw) = ask.flaw {
            return Err(ClientError::Invalid(flaw.to_owned()));
        }
        let request = self.request(ask)?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| match error.is_connect() {
                true => ClientError::Away(error),
                false => ClientError::Broken(error.into()),
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.limits.body_bytes_max).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => ClientError::TooLarge(self.limits.body_bytes_max),
                false => ClientError::Broken(error),
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let deadline = self.limits.answer_deadline;
        tokio::time::timeout(deadline, exchange).await.map_err(|_| ClientError::Timeout(deadline))?
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, ClientError> {
        let path = ask.path.parse().map_err(|error| ClientError::Invalid(format!("{}: {error}", ask.path)))?;
        self.request_of(ask.method.clone(), path, (ask.headers.clone(), ask.body.clone()))
    }

    /// A request to this service, as a part of the trace of the one that is being answered.
    fn request_of(
        &self,
        method: Method,
        path: PathAndQuery,
        (headers, body): (HeaderMap, Bytes),
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.build().map_err(|error| ClientError::Invalid(error.to_string()))?;
        *request.headers_mut() = headers;
        let trace = TraceContext::current().map_or_else(TraceContext::generate, |trace| trace.child());
        trace.insert_into(request.headers_mut());
        Ok(request)
    }
}
