//! Closes days of the ledger: the hash of a day covers its entries in the order of their key, and
//! the day before. A changed, missing or added entry shows in that day and every later one.

use domain::id::TenantId;
use kit::{clock::Clock, digest::Sha256};
use store::sql::{Row, Sql, SqlError, Value, stored};

use crate::book::{COLUMNS, DAY_MS, Posted};

/// A day is closed so long after its end, longer than any transaction lasts that began in it.
const GRACE_MS: u64 = 3_600_000;
/// Entries read at once.
pub(crate) const PAGE: u32 = 500;

/// After the place of an entry, [`Posted::place`], in the order of the key.
pub(crate) const AFTER: &str = "(subject > ? OR (subject = ? AND (kind > ? OR (kind = ? AND (sequence > ? OR \
                                (sequence = ? AND (rule_name > ? OR (rule_name = ? AND person > ?))))))))";

const TENANTS: &str = "SELECT tenant FROM plans UNION SELECT tenant FROM adjustments ORDER BY tenant";
const LAST: &str = "SELECT day_number, hash FROM days WHERE tenant = ? ORDER BY day_number DESC LIMIT 1";
const NEXT_DAY: &str = "SELECT MIN(day_number) FROM entries WHERE tenant = ? AND day_number > ?";
const CLOSE: &str = "INSERT INTO days (tenant, day_number, entry_count, hash, closed_at) VALUES (?, ?, ?, ?, ?)";
const DAYS: &str = "SELECT day_number, entry_count, hash FROM days WHERE tenant = ? ORDER BY day_number";

/// The first day that does not follow from its entries and the day before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Days since 1970-01-01.
    pub(crate) day: i64,
}

/// Closes what can be closed of all tenants. How many days.
///
/// # Errors
/// [`SqlError`]; the next call goes on.
pub(crate) async fn close_days<S: Sql>(sql: &S, clock: &impl Clock) -> Result<usize, SqlError> {
    let (now_ms, mut closed) = (clock.now_ms(), 0);
    let end = stored(now_ms.saturating_sub(GRACE_MS) / DAY_MS)?;
    for mut row in sql.rows(TENANTS, vec![]).await? {
        let tenant = row.id(TenantId::new)?;
        let last = sql.rows(LAST, vec![tenant.stored().into()]).await?.into_iter().next();
        let (mut day, mut hash) = match last {
            Some(mut row) => (row.int()?, hash_of(&mut row)?),
            None => (-1, [0; 32]),
        };
        loop {
            let next = next_day(sql, tenant, day).await?;
            let Some(next) = next.filter(|next| *next < end) else { break };
            let (entries, after) = digest(sql, tenant, hash, next).await?;
            let row = vec![
                tenant.stored().into(),
                next.into(),
                entries.into(),
                bytes::Bytes::copy_from_slice(&after).into(),
                stored(now_ms)?.into(),
            ];
            // Another process may have closed the same day, with the same hash.
            closed += usize::from(sql.insert_absent(CLOSE, row).await?);
            (day, hash) = (next, after);
        }
    }
    Ok(closed)
}

/// Recomputes all closed days of a tenant.
///
/// # Errors
/// [`SqlError`].
pub(crate) async fn verify<S: Sql>(sql: &S, tenant: TenantId) -> Result<Option<Broken>, SqlError> {
    let mut hash = [0; 32];
    for mut row in sql.rows(DAYS, vec![tenant.stored().into()]).await? {
        let (day, entries) = (row.int()?, row.int()?);
        let (found, after) = digest(sql, tenant, hash, day).await?;
        if found != entries || after != hash_of(&mut row)? {
            return Ok(Some(Broken { day }));
        }
        hash = after;
    }
    Ok(None)
}

/// Number of entries of a day, and its hash: over the bytes of [`crate::ledger::day_bytes`].
async fn digest<S: Sql>(sql: &S, tenant: TenantId, before: [u8; 32], day: i64) -> Result<(i64, [u8; 32]), SqlError> {
    let number = u32::try_from(day).map_err(|_| SqlError::Broken(format!("{day} is no day").into()))?;
    let mut hash = Sha256::default();
    hash.update(&before);
    hash.update(&number.to_be_bytes());
    let (mut entries, mut after): (i64, Option<Posted>) = (0, None);
    let (first, next) = (page_of_day(COLUMNS, true), page_of_day(COLUMNS, false));
    loop {
        let mut params = vec![Value::from(tenant.stored()), day.into()];
        if let Some(after) = &after {
            params.extend(after.place()?);
        }
        let rows: Vec<Row> = sql.rows(if after.is_some() { &next } else { &first }, params).await?;
        let is_last = rows.len() < PAGE as usize;
        for mut row in rows {
            let posted = Posted::read(&mut row)?;
            let bytes = posted.entry.bytes();
            hash.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(&bytes);
            entries += 1;
            after = Some(posted);
        }
        if is_last {
            return Ok((entries, hash.finish()));
        }
    }
}

/// The query of a page of a day's entries in the order of their key, of tenant and day; after the
/// first page, after [`Posted::place`].
pub(crate) fn page_of_day(columns: &str, is_first: bool) -> String {
    let after = if is_first { "" } else { AFTER };
    let and = if is_first { "" } else { "AND" };
    format!(
        "SELECT {columns} FROM entries WHERE tenant = ? AND day_number = ? {and} {after} \
         ORDER BY subject, kind, sequence, rule_name, person LIMIT {PAGE}"
    )
}

/// The next day after this one that has entries.
pub(crate) async fn next_day<S: Sql>(sql: &S, tenant: TenantId, day: i64) -> Result<Option<i64>, SqlError> {
    let next = sql.rows(NEXT_DAY, vec![tenant.stored().into(), day.into()]).await?.into_iter().next();
    Ok(next.map(|mut row| row.int_or_null()).transpose()?.flatten())
}

fn hash_of(row: &mut Row) -> Result<[u8; 32], SqlError> {
    let bytes = row.bytes()?;
    bytes.as_ref().try_into().map_err(|_| SqlError::Broken("a day's hash is no hash".into()))
}
