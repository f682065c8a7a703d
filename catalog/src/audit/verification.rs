//! Whether a chain is as it was written. Whoever can write to the database can also compute a whole
//! new chain: against that stands the end's hash, kept elsewhere (an export's last line).

use bytes::Bytes;
use kit::digest::hex;
use serde::Serialize;
use store::sql::{Sql, SqlError, stored};
use utoipa::ToSchema;

use super::{BEGINNING, COLUMNS, HEAD, Written};

/// Rows in memory at a time.
const PAGE: u32 = 200;

/// Rows that one call looks at; a longer chain takes several.
const ROWS_MAX: u64 = 20_000;

const NEWEST: &str = "SELECT MAX(sequence) FROM audit_log WHERE tenant = ?";

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) sequence: u64,
    pub(super) hash: Bytes,
}

/// What came of looking.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AuditVerification)]
pub(crate) struct Verification {
    /// Whether all entries that were looked at are as they were written.
    whole: bool,
    /// The last sequence that was looked at.
    verified_to: String,
    /// The first sequence that was changed or is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    first_broken: Option<String>,
    /// Where the next call goes on; missing at the end of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// Of the last entry that was looked at, hexadecimal. Kept elsewhere, it shows later whether
    /// the log up to there was written anew.
    hash: String,
}

/// Where the chain of a tenant ends now.
pub(super) async fn end<S: Sql>(sql: &S, tenant: u32) -> Result<End, SqlError> {
    let head = sql.rows(HEAD, vec![tenant.into()]).await?.into_iter().next();
    let Some(mut head) = head else { return Ok(End { sequence: 0, hash: Bytes::from_static(&BEGINNING) }) };
    Ok(End { sequence: head.number()?, hash: head.bytes()? })
}

/// The rows after a sequence, up to the end, as many as a page has.
pub(super) async fn page<S: Sql>(sql: &S, tenant: u32, after: u64, end: i64) -> Result<Vec<Written>, SqlError> {
    let query = format!(
        "SELECT {COLUMNS} FROM audit_log WHERE tenant = ? AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
    );
    let rows = sql.rows(&query, vec![tenant.into(), stored(after)?.into(), end.into(), PAGE.into()]).await?;
    rows.into_iter().map(Written::read).collect()
}

/// Walks the chain from after a sequence, which itself was looked at before. It goes by that
/// entry's hash: where the entry was changed since, the next one does not follow.
pub(super) async fn verify<S: Sql>(sql: &S, tenant: u32, after: u64) -> Result<Verification, SqlError> {
    // In this order: an entry comes together with the end that counts it.
    let newest = sql.rows(NEWEST, vec![tenant.into()]).await?.into_iter().next();
    let newest = newest.map(|mut row| row.int_or_null()).transpose()?.flatten().unwrap_or(0);
    let end = end(sql, tenant).await?;
    let mut last = start(sql, tenant, after).await?;
    let stop = end.sequence.min(after.saturating_add(ROWS_MAX));
    while last.sequence < stop {
        let rows = page(sql, tenant, last.sequence, stored(stop)?).await?;
        if rows.is_empty() {
            return Ok(broken(&last));
        }
        for row in rows {
            if row.sequence != last.sequence + 1 || !row.follows(&last.hash, tenant) {
                return Ok(broken(&last));
            }
            last = End { sequence: row.sequence, hash: row.hash };
        }
    }
    let is_end = last.sequence == end.sequence;
    if is_end && last.hash != end.hash {
        return Ok(Verification { first_broken: Some(last.sequence.to_string()), whole: false, ..seen(&last) });
    }
    // An end that was set back, or taken away.
    if last.sequence > end.sequence || (is_end && newest > stored(end.sequence)?) {
        return Ok(broken(&end));
    }
    let next_cursor = (last.sequence < end.sequence).then(|| last.sequence.to_string());
    Ok(Verification { next_cursor, ..seen(&last) })
}

/// The entry that a walk goes on from.
async fn start<S: Sql>(sql: &S, tenant: u32, after: u64) -> Result<End, SqlError> {
    let before = after.saturating_sub(1);
    let row = if after == 0 { None } else { page(sql, tenant, before, stored(after)?).await?.pop() };
    // Where the entry is not there, the next one cannot follow.
    Ok(row.map_or(End { sequence: after, hash: Bytes::from_static(&BEGINNING) }, |row| End {
        sequence: after,
        hash: row.hash,
    }))
}

fn seen(last: &End) -> Verification {
    let hash = hex(&last.hash);
    Verification { whole: true, verified_to: last.sequence.to_string(), first_broken: None, next_cursor: None, hash }
}

fn broken(last: &End) -> Verification {
    Verification { whole: false, first_broken: Some((last.sequence + 1).to_string()), ..seen(last) }
}
