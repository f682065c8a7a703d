//! Its OpenAPI document, out of the parts of its areas.

use kit::{
    openapi::add_bearer,
    problem::{FieldError, ProblemBody},
};
use utoipa::{Modify, OpenApi};

use super::{
    adjustments, erasure, exports, holds, ledger, own, people, plans, posters, risks, settings, simulation, switch,
    withdrawals,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "flashsale: commissions",
        description = "Errors are application/problem+json with a stable `code`. Amounts are in minor units.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemBody, FieldError)),
    modifiers(&Tokens)
)]
struct Document;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        add_bearer(document, "buyer", "A buyer's token: distributors are buyers.");
        add_bearer(document, "merchant", "A person's token (ES256) or an API key.");
    }
}

/// The document of the service.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    for area in [
        settings::document(),
        plans::document(),
        simulation::document(),
        people::document(),
        ledger::document(),
        exports::document(),
        withdrawals::document(),
        adjustments::document(),
        holds::document(),
        risks::document(),
        switch::document(),
        own::document(),
        erasure::document(),
        posters::document(),
    ] {
        document.merge(area);
    }
    document
}
