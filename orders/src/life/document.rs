//! Its part of the OpenAPI document, and the refusals that its routes share.

use kit::{
    openapi::{Responses, head, refusals},
    problem::Code,
};
use utoipa::IntoResponses;

use super::{
    cancel, cancels, codes, complete, handover, notify, pay, payable, recipient, refund_routes, settle, ship, voucher,
};

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

/// The document of the order service.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let buyer = ("buyer", "A buyer's token.");
    let merchant = ("merchant", "A person's token (ES256) or an API key.");
    let mut document = head("flashsale: what becomes of an order", &[buyer, merchant]);
    let paid = [pay::document(), voucher::document(), refund_routes::document(), notify::document()];
    let ended = [cancel::document(), cancels::document(), complete::document()];
    let sent = [recipient::document(), ship::document(), handover::document(), codes::document()];
    for area in paid.into_iter().chain(ended).chain(sent) {
        document.merge(area);
    }
    document.merge(payable::document());
    document.merge(settle::document());
    document
}
