//! Its OpenAPI document, out of the parts of its areas.

use kit::openapi::head;

use super::{closings, ledger, own, people, plans, settings, withdrawals};

/// The document of the service.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let buyer = ("buyer", "A buyer's token: distributors are buyers.");
    let merchant = ("merchant", "A person's token (ES256) or an API key.");
    let mut document = head("flashsale: commissions", &[buyer, merchant]);
    let description = "Errors are application/problem+json with a stable `code`. Amounts are in minor units.";
    document.info.description = Some(description.to_owned());
    for area in [
        settings::document(),
        plans::document(),
        people::document(),
        ledger::document(),
        withdrawals::document(),
        closings::document(),
        own::document(),
    ] {
        document.merge(area);
    }
    document
}
