//! Its part of the OpenAPI document.

use kit::openapi::head;

use super::{
    cancel, cancels, codes, complete, handover, hoarders, notify, pay, payable, recipient, refund_routes, settle, ship,
    voucher,
};

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
    document.merge(hoarders::document());
    document
}
