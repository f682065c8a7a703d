//! The audit log of a tenant, for its people: searched, exported, verified. The deployment's
//! operator has a chain of his own, that of tenant 0.

use jiff::Timestamp;
use kit::{
    access::Permission::ReadAudit,
    api::{Access, Call, Route},
    http::{Body, Mount, PageAsked, Query, Response, StatusCode, reply, wrong_parameter},
    problem::Problem,
};
use store::sql::{Sql as _, Value};
use utoipa::OpenApi;

use super::{COLUMNS, Written, entry::AuditEntry, export, verification};
use crate::{
    document::{Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Longest value of a filter: no column holds more.
const FILTER_CHARS_MAX: usize = 191;

#[derive(OpenApi)]
#[openapi(paths(list, export_log, verify))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let read = Access::Needs(ReadAudit);
    vec![
        Mount::get("/v1/audit", "audit", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::get(
            "/v1/audit/export",
            "audit_export",
            Route::new(read, |catalog, call| Box::pin(export_log(catalog, call))),
        ),
        Mount::get(
            "/v1/audit/verification",
            "audit_verification",
            Route::new(read, |catalog, call| Box::pin(verify(catalog, call))),
        ),
    ]
}

/// The log, newest first.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "audit", tag = "audit", security(("merchant" = []), ("operator" = [])),
    params(
        PageAsked,
        ("actor" = Option<String>, Query, description = "Only of this one: `user:7`.", nullable = false, max_length = 191),
        ("action" = Option<String>, Query, description = "Only this: `product.create`.", nullable = false, max_length = 191),
        ("target" = Option<String>, Query, description = "Only of this: `product:17`.", nullable = false, max_length = 191),
        ("from" = Option<String>, Query, description = "Not before, RFC 3339.", nullable = false, max_length = 40),
        ("to" = Option<String>, Query, description = "Before, RFC 3339.", nullable = false, max_length = 40)
    ),
    responses((status = 200, body = inline(Page<AuditEntry>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["cursor", "limit", "actor", "action", "target", "from", "to"])?;
    let asked = PageAsked::of(&query)?;
    let before = if asked.cursor.is_some() { Page::<AuditEntry>::after(&asked)? } else { i64::MAX };
    let mut text = format!("SELECT {COLUMNS} FROM audit_log WHERE tenant = ? AND sequence < ?");
    let mut params = vec![call.actor.tenant.into(), before.into()];
    for (condition, value) in conditions(&query)? {
        text.push_str(condition);
        params.push(value);
    }
    text.push_str(" ORDER BY sequence DESC LIMIT ?");
    params.push((asked.limit + 1).into());
    let rows = catalog.sql().rows(&text, params).await?;
    let entries =
        rows.into_iter().map(|row| Written::read(row).map(AuditEntry::from)).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(entries, &asked, |entry| entry.sequence.clone())))
}

/// The filters that a query has, as conditions.
fn conditions(query: &Query<'_>) -> Result<Vec<(&'static str, Value)>, Box<Problem>> {
    let mut conditions = Vec::new();
    for (name, condition) in [("actor", " AND actor = ?"), ("action", " AND action = ?"), ("target", " AND target = ?")]
    {
        let Some(value) = query.get(name) else { continue };
        if value.is_empty() || value.chars().count() > FILTER_CHARS_MAX {
            return Err(wrong_parameter(name, format!("give 1 to {FILTER_CHARS_MAX} characters")));
        }
        conditions.push((condition, value.into()));
    }
    for (name, condition) in [("from", " AND at_ms >= ?"), ("to", " AND at_ms < ?")] {
        let Some(value) = query.get(name) else { continue };
        let moment =
            value.parse::<Timestamp>().map_err(|_| wrong_parameter(name, "give it as in 2026-11-11T00:00:00Z"))?;
        conditions.push((condition, moment.as_millisecond().into()));
    }
    Ok(conditions)
}

/// The whole log as JSON lines, oldest first. The last line is `{"end": {"sequence", "hash"}}`: a
/// file without it is not whole, and `after` goes on from the last sequence that came.
#[utoipa::path(
    get, path = "/v1/audit/export", operation_id = "audit_export", tag = "audit",
    security(("merchant" = []), ("operator" = [])),
    params(("after" = Option<String>, Query, description = "A sequence: only what follows it.", nullable = false,
        pattern = "^[0-9]{1,18}$")),
    responses((status = 200, body = AuditEntry, content_type = "application/jsonl"), Read)
)]
async fn export_log<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let after = sequence(&call.query(&["after"])?, "after")?;
    export::respond(catalog.sql(), call.actor.tenant, after).await
}

/// Whether the log is as it was written: walks the chain of hashes.
#[utoipa::path(
    get, path = "/v1/audit/verification", operation_id = "audit_verification", tag = "audit",
    security(("merchant" = []), ("operator" = [])),
    params(("cursor" = Option<String>, Query, description = "`next_cursor` of the answer before.", nullable = false,
        pattern = "^[0-9]{1,18}$")),
    responses((status = 200, body = verification::Verification), Read)
)]
async fn verify<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let after = sequence(&call.query(&["cursor"])?, "cursor")?;
    let verification = verification::verify(catalog.sql(), call.actor.tenant, after).await?;
    Ok(reply::json(StatusCode::OK, &verification))
}

/// A place in the chain; 0, before its first entry, when none is given.
fn sequence(query: &Query<'_>, name: &'static str) -> Result<u64, Box<Problem>> {
    let Some(value) = query.get(name) else { return Ok(0) };
    let is_plain = (1..=18).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| is_plain).ok_or_else(|| wrong_parameter(name, "give a sequence of this log"))
}
