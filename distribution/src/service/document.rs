//! Its OpenAPI document, out of the parts of its areas.

use kit::openapi::head;

use super::{
    adjustments, closings, erasure, exports, holds, ledger, own, people, plans, posters, risks, settings, simulation,
    switch, withdrawals,
};

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
        simulation::document(),
        people::document(),
        ledger::document(),
        exports::document(),
        withdrawals::document(),
        closings::document(),
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
