//! The everyday answers. Refusals are problems and stand in [`crate::problem`].

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::Body;
use crate::problem::{Code, Problem};

/// Media type of JSON answers.
pub const CONTENT_TYPE_JSON: HeaderValue = HeaderValue::from_static("application/json");

const CONTENT_TYPE_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer in JSON. A value that cannot be serialised is a fault of ours: logged, and answered
/// 500.
#[must_use]
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => raw(status, CONTENT_TYPE_JSON, bytes),
        Err(error) => {
            tracing::error!(%error, "an answer could not be serialised");
            Problem::new(Code::Internal, "the answer could not be written").to_response()
        }
    }
}

/// An answer of bytes that are written already.
#[must_use]
pub fn raw(status: StatusCode, content_type: HeaderValue, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(bytes.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer in plain text.
#[must_use]
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    raw(status, CONTENT_TYPE_TEXT, text)
}

/// A status and nothing else.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn json_says_that_it_is_json() {
        let response = json(StatusCode::CREATED, &BTreeMap::from([("a", 1)]));
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn what_cannot_be_serialised_is_a_fault_of_ours() {
        // JSON has no keys that are lists.
        let response = json(StatusCode::OK, &BTreeMap::from([(vec![1], 1)]));
        assert_eq!(response.status(), 500);
    }
}
