//! The OpenAPI document of the order service, made of its handlers and their types.
//! `orders/openapi.json` is it: `cargo run -p orders -- openapi`.

use crate::{follow, life};

/// The document, as committed.
///
/// # Errors
/// When it cannot be written as JSON, which would be a fault of the generator.
pub fn document() -> Result<String, serde_json::Error> {
    let mut document = life::document();
    document.merge(follow::document());
    document.to_pretty_json().map(|json| json + "\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_document_is_up_to_date() {
        let committed = include_str!("../openapi.json");
        let current = super::document().unwrap();
        assert!(current == committed, "run: cargo run -p orders -- openapi > orders/openapi.json");
    }
}
