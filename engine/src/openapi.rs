//! The OpenAPI document of the buyer's surface, made of its handlers and their types.
//! `engine/openapi.json` is it: `cargo run -p engine -- openapi`.

use kit::openapi::head;
use utoipa::OpenApi;

use crate::http::handlers;

#[derive(OpenApi)]
#[openapi(paths(handlers::buy, handlers::list_orders, handlers::get_order, handlers::get_time))]
struct Document;

/// The document, as committed.
///
/// # Errors
/// When it cannot be written as JSON, which would be a fault of the generator.
pub fn document() -> Result<String, serde_json::Error> {
    let mut document = head("flashsale: the buyer's surface", &[("buyer", "A buyer's token: HS256 with `kid`.")]);
    document.merge(Document::openapi());
    document.merge(pages::http::document());
    document.to_pretty_json().map(|json| json + "\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kit::http::Service as _;

    use super::*;
    use crate::testing::MemoryFront;

    #[test]
    fn the_committed_document_is_up_to_date() {
        let committed = include_str!("../openapi.json");
        assert!(document().unwrap() == committed, "run: cargo run -p engine -- openapi > engine/openapi.json");
    }

    #[test]
    fn the_document_and_the_mounts_name_the_same_routes() {
        let mounts = MemoryFront::mounts();
        let mounted: BTreeSet<_> =
            mounts.iter().map(|mount| (mount.pattern.to_owned(), mount.method.as_str().to_lowercase())).collect();
        let document: serde_json::Value = serde_json::from_str(&document().unwrap()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let operations = |operations: &serde_json::Value| -> Vec<String> {
            operations.as_object().unwrap().keys().cloned().collect()
        };
        let documented: BTreeSet<_> =
            paths.flat_map(|(path, of)| operations(of).into_iter().map(move |method| (path.clone(), method))).collect();
        assert_eq!(mounted, documented);
    }
}
