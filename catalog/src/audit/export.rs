//! The log as JSON lines, read while it is sent: a page of rows is in memory at a time, and the
//! next one is read when the client has taken it.

use bytes::Bytes;
use kit::{
    digest::hex,
    http::{Body, HeaderValue, Response, StatusCode, header, reply},
    problem::NO_STORE,
};
use serde_json::json;
use store::sql::{Sql, SqlError, stored};

use super::{
    entry::AuditEntry,
    verification::{End, end, page},
};
use crate::refused::Refused;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/jsonl");

/// How far an export is.
struct Export<S> {
    sql: S,
    tenant: u32,
    /// The last sequence that was sent.
    after: u64,
    /// Where the log ended when it was asked for; its line is the last one.
    end: End,
    is_done: bool,
}

/// What follows this sequence, as far as the log goes now.
pub(super) async fn respond<S: Sql>(sql: &S, tenant: u32, after: u64) -> Result<Response<Body>, Refused> {
    let end = end(sql, tenant).await?;
    let body = Body::of_pieces(Export { sql: sql.clone(), tenant, after, end, is_done: false }, next);
    let mut response = reply::empty(StatusCode::OK);
    *response.body_mut() = body;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"audit.jsonl\""));
    Ok(response)
}

/// The next lines.
async fn next<S: Sql>(export: Export<S>) -> Option<(Bytes, Export<S>)> {
    if export.is_done {
        return None;
    }
    let tenant = export.tenant;
    match lines(export).await {
        Ok(next) => Some(next),
        Err(error) => {
            // The last line is missing then, by which the client sees it.
            tracing::warn!(%error, tenant, "an export of the audit log broke off");
            None
        }
    }
}

async fn lines<S: Sql>(mut export: Export<S>) -> Result<(Bytes, Export<S>), SqlError> {
    let broken = |error: serde_json::Error| SqlError::Broken(error.to_string().into());
    let rows = page(&export.sql, export.tenant, export.after, stored(export.end.sequence)?).await?;
    let mut text = Vec::new();
    let Some(last) = rows.last() else {
        let End { sequence, hash } = &export.end;
        let end = json!({ "end": { "sequence": sequence.to_string(), "hash": hex(hash) } });
        serde_json::to_writer(&mut text, &end).map_err(broken)?;
        text.push(b'\n');
        return Ok((text.into(), Export { is_done: true, ..export }));
    };
    export.after = last.sequence;
    for row in rows {
        serde_json::to_writer(&mut text, &AuditEntry::from(row)).map_err(broken)?;
        text.push(b'\n');
    }
    Ok((text.into(), export))
}
