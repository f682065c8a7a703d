//! Refusals and faults as RFC 9457 problems. Which rule refused is a `Code`; which service refused,
//! and why, is the service's own business.

/// The stable codes and their HTTP status.
mod code;

/// Problems rendered once and sent many times.
mod prepared;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub use self::code::Code;
pub use self::prepared::PreparedProblem;
use crate::pieces::Body;
use crate::trace::{TraceContext, TraceId};

/// Media type of a problem.
pub const CONTENT_TYPE_PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What nobody may keep: every refusal, and whatever is one buyer's.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One thing that is wrong with one field of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Which: a member of the body or a path such as `items[0].quantity`, a parameter of the query,
    /// or a header.
    #[schema(value_type = String)]
    pub field: Cow<'static, str>,
    /// What is wrong, and what would be right.
    #[schema(value_type = String)]
    pub message: Cow<'static, str>,
}

/// What a client may still ask, as `RateLimit` and `RateLimit-Policy`
/// (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Name of the policy: letters, digits, `-` and `_`.
    pub policy: &'static str,
    /// Requests allowed in a window.
    pub quota: u64,
    /// Length of the window in seconds.
    pub window_s: u64,
    /// Requests left.
    pub remaining: u64,
    /// Seconds until there are more.
    pub reset_s: u64,
}

/// A refusal or a fault, as the client will see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind; decides the status and the title.
    pub code: Code,
    /// What happened this time, in a sentence for a person. Carries no secret and nothing of
    /// another tenant.
    pub detail: Cow<'static, str>,
    /// What is wrong with the input, field by field; may be empty.
    pub field_errors: Vec<FieldError>,
    /// When to come back. Sent in whole seconds, rounded up, at least one.
    pub retry_after: Option<Duration>,
    /// What the client may still ask.
    pub rate_limit: Option<RateLimit>,
    /// Of a 401: what is wrong with the token that came (RFC 6750, 3.1); `None` when none came.
    pub token_error: Option<&'static str>,
    /// The request's trace, for whoever reports the problem.
    pub trace_id: Option<TraceId>,
    /// Of a stale write: what is there now, as its route shows it.
    pub current: Option<Box<Value>>,
    /// Where the caller's own orders are that stand in the way, as a path with its query.
    pub orders: Option<String>,
}

impl Problem {
    /// A problem with a code and a sentence, and nothing else.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field_errors: Vec::new(),
            retry_after: None,
            rate_limit: None,
            token_error: None,
            trace_id: None,
            current: None,
            orders: None,
        }
    }

    /// Nothing here, or nothing of this tenant.
    #[must_use]
    pub fn not_found(what: &'static str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// A stale write. `current`: what is there now, as its route shows it.
    #[must_use]
    pub fn stale<T: Serialize>(current: &T) -> Self {
        let detail = "it was changed since you read it; look at `current`, then write with its version";
        Self::new(Code::PreconditionFailed, detail).with_current(current)
    }

    /// Refuses a write that expects another version than is there. `current`: as in
    /// [`Problem::stale`].
    ///
    /// # Errors
    ///
    /// `precondition_failed`.
    pub fn unless_seen<T: Serialize>(expected: Option<u64>, version: u64, current: &T) -> Result<(), Box<Self>> {
        if expected.is_none_or(|expected| expected == version) { Ok(()) } else { Err(Box::new(Self::stale(current))) }
    }

    /// Several parts of what was sent are wrong, each with what would be right.
    #[must_use]
    pub fn fields<F, M>(flaws: impl IntoIterator<Item = (F, M)>) -> Self
    where
        F: Into<Cow<'static, str>>,
        M: Into<Cow<'static, str>>,
    {
        let problem = Self::new(Code::InvalidRequest, "some of what was sent is wrong; see `errors`");
        flaws.into_iter().fold(problem, |problem, (field, message)| problem.with_field(field, message))
    }

    /// Says when to come back.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Says what the client may still ask.
    #[must_use]
    pub fn with_rate_limit(self, rate_limit: RateLimit) -> Self {
        Self { rate_limit: Some(rate_limit), ..self }
    }

    /// Says what is wrong with the token that came: plain words without quotes or backslashes.
    #[must_use]
    pub fn with_token_error(self, token_error: &'static str) -> Self {
        Self { token_error: Some(token_error), ..self }
    }

    /// Shows what is there now. A value that cannot be written is left out.
    #[must_use]
    pub fn with_current<T: Serialize>(self, current: &T) -> Self {
        Self { current: serde_json::to_value(current).ok().map(Box::new), ..self }
    }

    /// Says where the caller's own orders are that stand in the way.
    #[must_use]
    pub fn with_orders(self, path: String) -> Self {
        Self { orders: Some(path), ..self }
    }

    /// Names the request.
    #[must_use]
    pub fn with_trace_id(self, trace_id: TraceId) -> Self {
        Self { trace_id: Some(trace_id), ..self }
    }

    /// Adds what is wrong with one field.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        self.field_errors.push(FieldError { field: field.into(), message: message.into() });
        self
    }

    /// The whole response. It names the trace of the request that is being answered.
    #[must_use]
    pub fn to_response(&self) -> Response<Body> {
        let mut response = Response::new(Body::new(Bytes::from(self.render(current_trace()))));
        *response.status_mut() = self.code.status();
        *response.headers_mut() = self.headers();
        response
    }

    /// `asked`: the trace that is named unless the problem names one itself.
    fn render(&self, asked: Option<TraceId>) -> Vec<u8> {
        let rendered = ProblemBody {
            type_uri: self.code.type_uri(),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: self.detail.clone(),
            errors: self.field_errors.clone(),
            trace_id: self.trace_id.or(asked),
            current: self.current.clone(),
            orders: self.orders.clone(),
        };
        // Strings and numbers always serialise; an empty body would still carry the status.
        serde_json::to_vec(&rendered).unwrap_or_default()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(CONTENT_TYPE, CONTENT_TYPE_PROBLEM);
        headers.insert(CACHE_CONTROL, NO_STORE);
        if self.code == Code::Unauthenticated {
            // RFC 9110, 11.6.1: a 401 names the scheme to use.
            headers.insert(WWW_AUTHENTICATE, self.token_error.and_then(challenge).unwrap_or(BEARER));
        }
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, retry_after_value(after));
        }
        if let Some(limit) = &self.rate_limit {
            insert_rate_limit(&mut headers, limit);
        }
        headers
    }
}

fn current_trace() -> Option<TraceId> {
    TraceContext::current().map(|trace| trace.trace_id())
}

impl From<&Problem> for Response<Body> {
    fn from(problem: &Problem) -> Self {
        problem.to_response()
    }
}

impl From<Problem> for Response<Body> {
    fn from(problem: Problem) -> Self {
        problem.to_response()
    }
}

/// A refusal or fault (RFC 9457): the members of a problem, in the order they are sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:flashsale:problem:` and the code.
    #[serde(rename = "type")]
    type_uri: &'static str,
    /// The same for every occurrence of the code.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// For programs; stable.
    #[schema(example = "sold_out")]
    code: &'static str,
    /// For people; of this occurrence.
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
    /// What is wrong with the input, field by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<FieldError>>, nullable = false)]
    errors: Vec<FieldError>,
    /// The request's trace, also in the header `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, pattern = "^[0-9a-f]{32}$")]
    trace_id: Option<TraceId>,
    /// Of a stale write: what is there now, as its route shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    current: Option<Box<Value>>,
    /// Of `limit_reached`: where the caller's own live orders of the sale are, as a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    orders: Option<String>,
}

/// RFC 6750, 3: the scheme, and what is wrong with the token.
fn challenge(token_error: &'static str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("Bearer error=\"invalid_token\", error_description=\"{token_error}\"")).ok()
}

fn retry_after_value(after: Duration) -> HeaderValue {
    let whole = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
    HeaderValue::from(whole.max(1))
}

fn insert_rate_limit(headers: &mut HeaderMap, limit: &RateLimit) {
    let policy = format!("\"{}\";q={};w={}", limit.policy, limit.quota, limit.window_s);
    let state = format!("\"{}\";r={};t={}", limit.policy, limit.remaining, limit.reset_s);
    // A policy named against its documentation loses these two advisory headers, not the answer.
    if let (Ok(policy), Ok(state)) = (HeaderValue::try_from(policy), HeaderValue::try_from(state)) {
        headers.insert(RATELIMIT_POLICY, policy);
        headers.insert(RATELIMIT, state);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    pub(super) async fn json_of(response: Response<Body>) -> serde_json::Value {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_problem_has_the_members_of_the_standard_and_ours() {
        let trace = TraceContext::generate();
        let problem = Problem::new(Code::InvalidRequest, "the body is not an order")
            .with_field("quantity", "must be at least 1")
            .with_trace_id(trace.trace_id());
        let response = problem.to_response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let expected = serde_json::json!({
            "type": "urn:flashsale:problem:invalid_request",
            "title": Code::InvalidRequest.title(),
            "status": 400,
            "code": "invalid_request",
            "detail": "the body is not an order",
            "errors": [{"field": "quantity", "message": "must be at least 1"}],
            "trace_id": trace.trace_id().to_string(),
        });
        assert_eq!(json_of(response).await, expected);
    }

    #[tokio::test]
    async fn a_problem_names_the_trace_of_the_request_that_it_answers() {
        let (asked, own) = (TraceContext::generate(), TraceContext::generate());
        let answered = async { json_of(Problem::new(Code::SoldOut, "gone").to_response()).await };
        assert_eq!(asked.within(answered).await["trace_id"], asked.trace_id().to_string());
        let problem = Problem::new(Code::SoldOut, "gone").with_trace_id(own.trace_id());
        let answered = async { json_of(problem.to_response()).await };
        assert_eq!(asked.within(answered).await["trace_id"], own.trace_id().to_string());
    }

    #[test]
    fn members_without_a_value_are_left_out() {
        let text = String::from_utf8(Problem::new(Code::SoldOut, "gone").render(None)).unwrap();
        assert!(text.starts_with("{\"type\":\"urn:flashsale:problem:sold_out\",\"title\":"), "{text}");
        assert!(!text.contains("errors") && !text.contains("trace_id") && !text.contains("null"), "{text}");
    }

    #[tokio::test]
    async fn quotes_and_control_characters_in_a_detail_are_escaped() {
        let detail = "a \"quoted\"\n\u{1}\\ </script> \u{2028} 名";
        let response = Problem::new(Code::Conflict, detail).to_response();
        assert_eq!(json_of(response).await["detail"], detail);
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up_and_never_zero() {
        for (after_ms, sent) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (90_000, "90")] {
            let problem =
                Problem::new(Code::RateLimited, "slow down").with_retry_after(Duration::from_millis(after_ms));
            assert_eq!(problem.to_response().headers()[RETRY_AFTER], sent);
        }
        assert!(Problem::new(Code::RateLimited, "slow down").to_response().headers().get(RETRY_AFTER).is_none());
    }

    #[test]
    fn a_rate_limit_is_told_in_the_drafts_two_headers() {
        let limit = RateLimit { policy: "buyer", quota: 10, window_s: 1, remaining: 0, reset_s: 1 };
        let response = Problem::new(Code::RateLimited, "slow down").with_rate_limit(limit).to_response();
        assert_eq!(response.headers()["ratelimit-policy"], "\"buyer\";q=10;w=1");
        assert_eq!(response.headers()["ratelimit"], "\"buyer\";r=0;t=1");
    }

    #[test]
    fn only_a_401_names_the_scheme() {
        let response = Problem::new(Code::Unauthenticated, "no token").to_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let expired = Problem::new(Code::Unauthenticated, "expired").with_token_error("the token has expired");
        assert_eq!(
            expired.to_response().headers()[WWW_AUTHENTICATE],
            "Bearer error=\"invalid_token\", error_description=\"the token has expired\""
        );
        assert!(Problem::new(Code::Forbidden, "no").to_response().headers().get(WWW_AUTHENTICATE).is_none());
    }
}
