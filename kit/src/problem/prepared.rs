//! Problems whose every byte is known at start. A refusal is the most frequent answer of the system
//! (80,000 a second on two cores): it must not cost a serialisation each time.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::{Problem, retry_after_value};
use crate::pieces::Body;
use crate::trace::TraceContext;

/// A problem rendered once. Its body names no trace: where one is wanted it travels as
/// `traceparent`.
///
/// The body's bytes are leaked on purpose, so that cores which send the same refusal share no
/// reference count. Prepare a fixed set at start, never one per request; for anything that varies
/// there is [`Problem::to_response`].
#[derive(Debug, Clone)]
pub struct PreparedProblem {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl PreparedProblem {
    /// Renders the problem, all but its trace id.
    #[must_use]
    pub fn new(problem: &Problem) -> Self {
        let untraced = Problem { trace_id: None, ..problem.clone() };
        Self {
            status: untraced.code.status(),
            headers: untraced.headers(),
            body: Bytes::from_static(Vec::leak(untraced.render(None))),
        }
    }

    /// The answer: two small copies, nothing formatted.
    #[must_use]
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }

    /// The answer, with the request's `traceparent`.
    #[must_use]
    pub fn response_traced(&self, trace: &TraceContext) -> Response<Body> {
        let mut response = self.response();
        trace.insert_into(response.headers_mut());
        response
    }

    /// The answer, with a `Retry-After` of this moment in place of the prepared one.
    #[must_use]
    pub fn response_after(&self, retry_after: Duration) -> Response<Body> {
        let mut response = self.response();
        response.headers_mut().insert(RETRY_AFTER, retry_after_value(retry_after));
        response
    }
}

impl From<Problem> for PreparedProblem {
    fn from(problem: Problem) -> Self {
        Self::new(&problem)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::json_of;
    use super::*;
    use crate::problem::Code;
    use crate::trace::TRACEPARENT;

    fn sold_out() -> Problem {
        Problem::new(Code::SoldOut, "no unit of this offer is left").with_retry_after(Duration::from_secs(3))
    }

    #[tokio::test]
    async fn a_prepared_problem_answers_exactly_as_the_problem_does() {
        let (prepared, fresh) = (PreparedProblem::new(&sold_out()).response(), sold_out().to_response());
        assert_eq!(prepared.status(), fresh.status());
        assert_eq!(prepared.headers(), fresh.headers());
        assert_eq!(json_of(prepared).await, json_of(fresh).await);
    }

    #[tokio::test]
    async fn the_trace_travels_in_the_header_and_not_in_the_body() {
        let trace = TraceContext::generate();
        let prepared = PreparedProblem::new(&sold_out().with_trace_id(trace.trace_id()));
        let response = prepared.response_traced(&trace);
        assert_eq!(response.headers()[TRACEPARENT], trace.to_string());
        assert_eq!(json_of(response).await.get("trace_id"), None);
    }

    #[test]
    fn a_later_retry_after_takes_the_place_of_the_prepared_one() {
        let response = PreparedProblem::new(&sold_out()).response_after(Duration::from_secs(9));
        let sent: Vec<_> = response.headers().get_all(RETRY_AFTER).iter().collect();
        assert_eq!(sent, ["9"]);
    }
}
