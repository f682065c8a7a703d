//! What its routes share of their answers: the refusals that the OpenAPI document names, and pages.

use kit::{
    http::PageAsked,
    openapi::{Responses, refusals},
    problem::{Code, Problem},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// What every route may refuse.
const COMMON: [(Code, &str); 6] = [
    (Code::InvalidRequest, "each wrong member or parameter is named"),
    (Code::Unauthenticated, ""),
    (Code::Forbidden, "a permission is missing, or a share code is none"),
    (Code::NotFound, "none, or of another shop"),
    (Code::TemporarilyUnavailable, "nothing was done"),
    (Code::Internal, ""),
];

/// The refusals of a route that reads.
pub(super) struct Read;

impl IntoResponses for Read {
    fn responses() -> Responses {
        refusals(&COMMON)
    }
}

/// The refusals of a route that changes something.
pub(super) struct Changed;

impl IntoResponses for Changed {
    fn responses() -> Responses {
        let more = [
            (Code::Conflict, "the state of things does not allow it; the detail says what to do"),
            (Code::PreconditionFailed, "changed since its version was read; `current` shows it"),
            (Code::IdempotencyMismatch, ""),
            (Code::TooLarge, ""),
            (Code::UnsupportedMediaType, ""),
            (Code::OutcomeUnknown, "look, or repeat it with the same key"),
        ];
        refusals(&[&COMMON[..], &more].concat())
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// Of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of what was read, one item more than it shows where there is one. `cursor`: what the
    /// next page begins after.
    pub(super) fn new(mut read: Vec<T>, asked: &PageAsked, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
        let is_last = read.len() <= limit;
        read.truncate(limit);
        let next_cursor = read.last().map(cursor).filter(|_| !is_last);
        Self { items: read, next_cursor }
    }

    /// The same with another cursor.
    pub(super) fn with_next(self, next_cursor: Option<String>) -> Self {
        Self { next_cursor, ..self }
    }

    /// The number that a page begins after; of lists that go down, `first` without a cursor.
    pub(super) fn after(asked: &PageAsked, first: i64) -> Result<i64, Box<Problem>> {
        let Some(cursor) = &asked.cursor else { return Ok(first) };
        let is_plain = cursor.bytes().all(|byte| byte.is_ascii_digit());
        cursor.parse().ok().filter(|_| is_plain).ok_or_else(PageAsked::wrong_cursor)
    }

    /// The place that a page begins after, where several items have one time: numbers, then maybe a
    /// text, divided by dots. `first` without a cursor.
    pub(super) fn place<const N: usize>(asked: &PageAsked, first: [i64; N]) -> Result<([i64; N], &str), Box<Problem>> {
        let Some(cursor) = &asked.cursor else { return Ok((first, "")) };
        let mut parts = cursor.splitn(N + 1, '.');
        let mut place = first;
        for number in &mut place {
            let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            *number = part.and_then(|part| part.parse().ok()).ok_or_else(PageAsked::wrong_cursor)?;
        }
        Ok((place, parts.next().unwrap_or("")))
    }
}
