//! The OpenAPI document of the service, made of its handlers and their types.
//! `distribution/openapi.json` is it: `cargo run -p distribution -- openapi`.

use crate::service;

/// The document, as committed.
///
/// # Errors
/// When it cannot be written as JSON, which would be a fault of the generator.
pub fn document() -> Result<String, serde_json::Error> {
    service::document().to_pretty_json().map(|json| json + "\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_document_is_up_to_date() {
        let committed = include_str!("../openapi.json");
        let current = super::document().unwrap();
        assert!(current == committed, "run: cargo run -p distribution -- openapi > distribution/openapi.json");
    }
}
