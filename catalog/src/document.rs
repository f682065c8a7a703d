//! Pieces that the routes of this service share: their refusals in the OpenAPI document, and pages.

use std::collections::HashMap;

use kit::{
    http::PageAsked,
    openapi::{Responses, refusals},
    problem::{Code, Problem},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// What every route with a token may refuse.
const COMMON: [(Code, &str); 8] = [
    (Code::InvalidRequest, "each wrong member or parameter is named"),
    (Code::Unauthenticated, ""),
    (Code::Forbidden, "the permission that is missing is named; or the tenant is suspended"),
    (Code::QuotaExceeded, "the tenant's plan allows no more; `current` has quota, limit and what is used"),
    (Code::NotFound, "none, or of another tenant"),
    (Code::RateLimited, ""),
    (Code::TemporarilyUnavailable, "this request did nothing"),
    (Code::Internal, ""),
];

/// The refusals of a route that reads.
pub(crate) struct Read;

impl IntoResponses for Read {
    fn responses() -> Responses {
        refusals(&COMMON)
    }
}

/// The refusals of a route that reads what its body asks for.
pub(crate) struct Asked;

impl IntoResponses for Asked {
    fn responses() -> Responses {
        refusals(&[&COMMON[..], &[(Code::TooLarge, ""), (Code::UnsupportedMediaType, "")]].concat())
    }
}

/// The refusals of a route whose body proves who asks.
pub(crate) struct Public;

impl IntoResponses for Public {
    fn responses() -> Responses {
        refusals(&[
            (Code::InvalidRequest, "each wrong member is named"),
            (Code::Unauthenticated, "the body does not prove who asks"),
            (Code::NotFound, ""),
            (Code::TooLarge, ""),
            (Code::UnsupportedMediaType, ""),
            (Code::RateLimited, "too many failed, or wait"),
            (Code::TemporarilyUnavailable, "this request did nothing"),
            (Code::OutcomeUnknown, "repeat it"),
            (Code::Internal, ""),
        ])
    }
}

/// The refusals of a route that makes something, under an Idempotency-Key.
pub(crate) struct Created;

impl IntoResponses for Created {
    fn responses() -> Responses {
        let more = [
            (Code::Conflict, "the state of things does not allow it"),
            (Code::IdempotencyMismatch, ""),
            (Code::TooLarge, ""),
            (Code::UnsupportedMediaType, ""),
            (Code::OutcomeUnknown, "repeat it with the same key"),
        ];
        refusals(&[&COMMON[..], &more].concat())
    }
}

/// The refusals of a route that changes what its path names.
pub(crate) struct Changed;

impl IntoResponses for Changed {
    fn responses() -> Responses {
        let more = [
            (Code::Conflict, "the state of things does not allow it"),
            (Code::PreconditionFailed, "changed since its version was read; `current` shows it"),
            (Code::TooLarge, ""),
            (Code::UnsupportedMediaType, ""),
            (Code::OutcomeUnknown, "look, or repeat it"),
        ];
        refusals(&[&COMMON[..], &more].concat())
    }
}

/// The refusals of a step of something, by POST under an Idempotency-Key.
pub(crate) struct Stepped;

impl IntoResponses for Stepped {
    fn responses() -> Responses {
        let mut responses = Changed::responses();
        responses.extend(refusals(&[(Code::IdempotencyMismatch, "")]));
        responses
    }
}

/// Pages by the key of what they belong to.
pub(crate) type Pages<T> = HashMap<String, Page<T>>;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// Of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of what was read, one item more than it shows where there is one. `cursor`: what the
    /// next page begins after.
    pub(crate) fn new(mut read: Vec<T>, asked: &PageAsked, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
        let is_last = read.len() <= limit;
        read.truncate(limit);
        let next_cursor = read.last().map(cursor).filter(|_| !is_last);
        Self { items: read, next_cursor }
    }

    /// Of each parent its page of what was read of all of them, in the order of each page.
    /// `parent`: its key.
    pub(crate) fn of_each(
        read: Vec<T>,
        asked: &PageAsked,
        parent: impl Fn(&T) -> String,
        cursor: impl Fn(&T) -> String,
    ) -> Pages<T> {
        let mut of_each: HashMap<String, Vec<T>> = HashMap::new();
        for item in read {
            of_each.entry(parent(&item)).or_default().push(item);
        }
        of_each.into_iter().map(|(parent, items)| (parent, Self::new(items, asked, &cursor))).collect()
    }

    /// Its items, and the cursor of the next page.
    pub(crate) fn into_parts(self) -> (Vec<T>, Option<String>) {
        (self.items, self.next_cursor)
    }

    /// The same page of what is made of each item.
    pub(crate) fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(make).collect(), next_cursor: self.next_cursor }
    }

    /// The number that a page begins after, where lists go by number.
    ///
    /// # Errors
    /// `invalid_request` for a cursor that this service did not write.
    pub(crate) fn after(asked: &PageAsked) -> Result<i64, Box<Problem>> {
        let Some(cursor) = &asked.cursor else { return Ok(0) };
        let is_plain = cursor.bytes().all(|byte| byte.is_ascii_digit());
        cursor.parse().ok().filter(|_| is_plain).ok_or_else(PageAsked::wrong_cursor)
    }
}
