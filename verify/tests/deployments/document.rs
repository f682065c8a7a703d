//! What the OpenAPI document says of each route and status.

use std::collections::BTreeMap;

use serde_json::Value;

/// As committed; a test of the engine holds it up to date.
const DOCUMENT: &str = include_str!("../../../engine/openapi.json");

/// What it says of one route and status.
#[derive(Debug)]
pub(crate) struct Documented {
    /// Problem codes; `none` where the answer is no problem.
    pub codes: Vec<String>,
    /// Headers by their lower-case names.
    pub headers: Vec<String>,
    /// The body's media type, if there is a body.
    pub media: Option<String>,
}

/// By route, such as `GET /v1/time`, and status.
pub(crate) fn document() -> BTreeMap<(String, u16), Documented> {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut documented = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let route = format!("{} {path}", method.to_uppercase());
                documented.insert((route, status.parse().unwrap()), response_of(response));
            }
        }
    }
    documented
}

fn response_of(response: &Value) -> Documented {
    let names = |of: &str| response[of].as_object().map(|of| of.keys().cloned().collect()).unwrap_or_default();
    let media = Vec::into_iter(names("content")).next();
    // A header that may be null is one that some answers of this status do without.
    let is_always = |name: &String| !response["headers"][name]["schema"]["type"].is_array();
    let headers = Vec::into_iter(names("headers")).filter(is_always).map(|name| name.to_lowercase()).collect();
    let is_problem = media.as_deref() == Some("application/problem+json");
    // Each part begins with its code between backticks.
    let parts = response["description"].as_str().unwrap().split("; ");
    let named = parts.filter_map(|part| Some(part.strip_prefix('`')?.split_once('`')?.0.to_owned()));
    let codes = if is_problem { named.collect() } else { vec!["none".to_owned()] };
    Documented { codes, headers, media }
}
