//! The refusals that routes share, as the document shows them.

use kit::{
    openapi::{Responses, refusals},
    problem::Code,
};
use utoipa::IntoResponses;

/// What a step of an order may be refused with.
const STEP: [(Code, &str); 10] = [
    (Code::InvalidRequest, "each wrong member is named"),
    (Code::Unauthenticated, ""),
    (Code::Forbidden, ""),
    (Code::NotFound, "none, or of another buyer or tenant"),
    (Code::Conflict, "the order stands otherwise; `current` shows it"),
    (Code::TooLarge, ""),
    (Code::RateLimited, "nothing was done; it says when to come back"),
    (Code::TemporarilyUnavailable, "nothing was done"),
    (Code::OutcomeUnknown, "look, or repeat it"),
    (Code::Internal, ""),
];

/// The refusals of a step without a body.
pub(super) struct Stepped;

impl IntoResponses for Stepped {
    fn responses() -> Responses {
        refusals(&STEP)
    }
}

/// The refusals of a step with a body, perhaps under an Idempotency-Key.
pub(super) struct Asked;

impl IntoResponses for Asked {
    fn responses() -> Responses {
        refusals(&[&STEP[..], &[(Code::UnsupportedMediaType, ""), (Code::IdempotencyMismatch, "")]].concat())
    }
}
