//! The versions of a sale, each with what it changed.

use kit::{
    api::Call,
    clock::rfc3339,
    http::{Body, Response, StatusCode, reply},
};
use serde::Serialize;
use serde_json::Value as Json;
use store::sql::{Row, Sql as _, SqlError};
use utoipa::ToSchema;

use super::row::Kept;
use crate::{document::Page, ports::Ports, refused::Refused, service::Catalog};

const VERSIONS: &str = "SELECT version, action, actor, terms, at_ms FROM sale_versions \
                        WHERE tenant = ? AND sale = ? AND version >= ? ORDER BY version LIMIT ?";

/// A version of a sale.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SaleVersion)]
pub(crate) struct Version {
    version: i64,
    /// What was done: `sale.create`, `sale.change`, `sale.publish`.
    action: String,
    /// Who did it, as the audit log names him; `publication` for what came by a sale file.
    by: String,
    /// RFC 3339.
    at: String,
    /// Against the version before; empty for the first.
    changes: Vec<Difference>,
}

/// A member that another version has differently.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = SaleDifference)]
pub(crate) struct Difference {
    /// Its path, such as `lanes[0].offers[1].allotment`.
    path: String,
    /// As it was; missing where it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    before: Option<Json>,
    /// As it is; missing where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    after: Option<Json>,
}

/// The versions of a sale, the first one first.
pub(super) async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, sale, asked) = (call.actor.tenant, call.part("sale")?, call.page()?);
    Kept::find(catalog.sql(), tenant, sale).await?;
    let after = Page::<Version>::after(&asked)?;
    let values = vec![tenant.into(), sale.into(), after.into(), (asked.limit + 2).into()];
    let rows = catalog.sql().rows(VERSIONS, values).await?;
    let rows = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut versions: Vec<Version> = Vec::with_capacity(rows.len());
    for (at, (version, terms)) in rows.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| rows.get(at)).map(|(_, terms)| terms);
        let mut changes = Vec::new();
        if let Some(before) = before {
            differences(String::new(), Some(before), Some(terms), &mut changes);
        }
        let (version, action, by, at) = version.clone();
        // The one before the page is read for its terms alone.
        if version > after {
            versions.push(Version { version, action, by, at, changes });
        }
    }
    Ok(reply::json(StatusCode::OK, &Page::new(versions, &asked, |version| version.version.to_string())))
}

type Head = (i64, String, String, String);

fn read(mut row: Row) -> Result<(Head, Json), SqlError> {
    let (version, action, by, terms) = (row.int()?, row.text()?, row.text()?, row.text()?);
    let terms = serde_json::from_str(&terms);
    let terms = terms.map_err(|error| SqlError::Broken(format!("a version of a sale: {error}").into()))?;
    Ok(((version, action, by, rfc3339(row.number()?)), terms))
}

/// Adds every member of which two versions differ.
pub(super) fn differences(path: String, before: Option<&Json>, after: Option<&Json>, out: &mut Vec<Difference>) {
    match (before, after) {
        _ if before == after => {}
        (Some(Json::Object(before)), Some(Json::Object(after))) => {
            let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                differences(path, before.get(name), after.get(name), out);
            }
        }
        (Some(Json::Array(before)), Some(Json::Array(after))) => {
            for at in 0..before.len().max(after.len()) {
                differences(format!("{path}[{at}]"), before.get(at), after.get(at), out);
            }
        }
        _ => out.push(Difference { path, before: before.cloned(), after: after.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_by_its_path_and_nothing_else_is() {
        let before = json!({ "title": "a", "lanes": [{ "offers": [{ "allotment": 5, "sku": "X" }] }], "gone": 1 });
        let after = json!({ "title": "a", "lanes": [{ "offers": [{ "allotment": 7, "sku": "X" }, { "sku": "Y" }] }] });
        let mut found = Vec::new();
        differences(String::new(), Some(&before), Some(&after), &mut found);
        let difference =
            |path: &str, before: Option<Json>, after: Option<Json>| Difference { path: path.into(), before, after };
        let expected = [
            difference("gone", Some(json!(1)), None),
            difference("lanes[0].offers[0].allotment", Some(json!(5)), Some(json!(7))),
            difference("lanes[0].offers[1]", None, Some(json!({ "sku": "Y" }))),
        ];
        found.sort_by(|one, other| one.path.cmp(&other.path));
        assert_eq!(found, expected);
    }
}
