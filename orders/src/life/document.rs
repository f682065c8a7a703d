//! Its part of the OpenAPI document.

use kit::{
    openapi::add_bearer,
    problem::{FieldError, ProblemBody},
};
use utoipa::{Modify, OpenApi};

use super::{
    cancel, cancels, codes, complete, handover, hoarders, notify, pay, payable, recipient, refund_routes, settle, ship,
    voucher,
};

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
    document.merge(hoarders::document());
    document
}
