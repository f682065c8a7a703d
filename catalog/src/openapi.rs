//! The OpenAPI document of this service, made of its handlers and their types.
//! `catalog/openapi.json` is it: `cargo run -p catalog -- openapi`.

use kit::openapi::head;

use crate::{
    actions, actor, audit, branding, buyers, control, flags, funnel, graphql, images, jobs, keys, people, plans,
    products, sales, stock, tenants, usage,
};

/// The document, as committed.
///
/// # Errors
/// When it cannot be written as JSON, which would be a fault of the generator.
pub fn document() -> Result<String, serde_json::Error> {
    let operator = ("operator", "The secret of the deployment's operator.");
    let merchant = ("merchant", "A person's token (ES256) or an API key.");
    let mut document = head("flashsale: the merchant's surface", &[operator, merchant]);
    for area in [
        tenants::document(),
        plans::document(),
        keys::document(),
        branding::document(),
        flags::document(),
        usage::document(),
        audit::document(),
        buyers::document(),
        jobs::document(),
        products::document(),
        images::document(),
        stock::document(),
        sales::document(),
        actions::document(),
        funnel::document(),
        graphql::document(),
        people::document(),
        actor::document(),
        control::document(),
    ] {
        document.merge(area);
    }
    document.to_pretty_json().map(|json| json + "\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_document_is_up_to_date() {
        let committed = include_str!("../openapi.json");
        let current = super::document().unwrap();
        assert!(current == committed, "run: cargo run -p catalog -- openapi > catalog/openapi.json");
    }
}
