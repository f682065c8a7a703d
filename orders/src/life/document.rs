//! Its part of the OpenAPI document, and the refusals that its routes share.

use kit::{
    openapi::{Responses, add_bearer, refusals},
    problem::{Code, FieldError, ProblemBody},
};
use utoipa::{IntoResponses, Modify, OpenApi};

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

#[derive(OpenApi)]
#[openapi(
    info(
        title = "flashsale: what becomes of an order",
        description = "Errors are application/problem+json with a stable `code`. Every answer carries `traceparent`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemBody, FieldError)),
    modifiers(&Tokens)
)]
struct Document;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        add_bearer(document, "buyer", "A buyer's token.");
        add_bearer(document, "merchant", "A person's token (ES256) or an API key.");
    }
}

/// The document of the order service.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
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
