//! An entry of the log, as it is shown.

use kit::{clock::rfc3339, digest::hex};
use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::Written;

/// An entry of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// Its place in the chain, from 1, as a decimal string.
    pub(super) sequence: String,
    /// When, RFC 3339.
    at: String,
    /// Who: `user:7`, `key:3`, `operator`.
    actor: String,
    /// What was done: `product.create`.
    action: String,
    /// To what: `product:17`.
    target: String,
    /// What it was before; missing where there was nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    before: Option<Json>,
    /// What it became; missing where nothing is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    after: Option<Json>,
    /// The request's trace; empty where there was none.
    trace: String,
    /// Where from.
    address: String,
    /// SHA-256 of the hash before it and of this entry, hexadecimal.
    hash: String,
}

impl From<Written> for AuditEntry {
    fn from(row: Written) -> Self {
        // What is no JSON was changed in the database: it is shown as it stands there.
        let json = |text: String| {
            let read = |text: String| serde_json::from_str(&text).unwrap_or(Json::String(text));
            Some(text).filter(|text| !text.is_empty()).map(read)
        };
        Self {
            sequence: row.sequence.to_string(),
            at: rfc3339(row.at_ms),
            actor: row.actor,
            action: row.action,
            target: row.target,
            before: json(row.before),
            after: json(row.after),
            trace: row.trace,
            address: row.address,
            hash: hex(&row.hash),
        }
    }
}
