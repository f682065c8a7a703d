//! How many requests a tenant's people and keys make, by calendar month (UTC). They are counted in
//! memory and added to the database every few seconds and at the drain: a process that is killed
//! loses those of the last seconds, and none is ever counted twice.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};
use kit::{
    access::{Actor, Permission::ReadSettings},
    api::{Access, Call, Route},
    clock::Clock as _,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply, wrong_parameter},
};
use serde::Serialize;
use store::sql::{Row, Sql, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use crate::{
    document::{Page, Read},
    memory::Waiting,
    plans::{self, Tenancy, exceeded},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Rows that one transaction writes.
const ROWS_MAX: usize = 200;

const ADD: &str = "UPDATE request_usage SET used = used + ? WHERE tenant = ? AND month = ? AND actor = ?";
const FIRST: &str = "INSERT INTO request_usage (used, tenant, month, actor) VALUES (?, ?, ?, ?)";
// A sum is a decimal number in MySQL; cast, it is a whole one everywhere.
const SUM: &str = "SELECT CAST(COALESCE(SUM(used), 0) AS SIGNED) FROM request_usage WHERE tenant = ? AND month = ?";
const LIST: &str =
    "SELECT actor, used FROM request_usage WHERE tenant = ? AND month = ? AND actor > ? ORDER BY actor LIMIT ?";

/// What one of them used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct UsageOf {
    /// Who: `user:7`, `key:3`.
    actor: String,
    /// How many requests.
    requests: u64,
}

/// What a tenant used in a month.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// As asked for: `2026-11`.
    month: String,
    /// Requests of all its people and keys; those of the last seconds may be missing.
    requests: u64,
    /// How many its plan allows in a month; missing where as many as it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    requests_per_month: Option<u64>,
    /// By who made them, in the order of their names.
    #[serde(flatten)]
    page: Page<UsageOf>,
}

#[derive(OpenApi)]
#[openapi(paths(show))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let read = Access::Needs(ReadSettings);
    vec![Mount::get("/v1/usage", "usage", Route::new(read, |catalog, call| Box::pin(show(catalog, call))))]
}

/// What the tenant used in a month.
#[utoipa::path(
    get, path = "/v1/usage", operation_id = "usage", tag = "tenants", security(("merchant" = [])),
    params(
        ("month" = Option<String>, Query, description = "`2026-11`, UTC; left out: the current one.",
            nullable = false, pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$"),
        PageAsked
    ),
    responses((status = 200, body = Usage), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["month", "cursor", "limit"])?;
    let (asked, tenant) = (PageAsked::of(&query)?, call.actor.tenant);
    let month = match query.get("month") {
        Some(text) => month_named(text).ok_or_else(|| wrong_parameter("month", "give it as in 2026-11"))?,
        None => month_at(catalog.clock().now_ms()),
    };
    let tenancy = plans::tenancy(catalog.sql(), tenant).await?.ok_or_else(|| Refused::not_found("tenant"))?;
    let after = asked.cursor.as_deref().unwrap_or_default();
    let params = vec![tenant.into(), month.into(), after.into(), (asked.limit + 1).into()];
    let rows = catalog.sql().rows(LIST, params).await?;
    let read = |mut row: Row| Ok(UsageOf { actor: row.text()?, requests: row.number()? });
    let used = rows.into_iter().map(read).collect::<Result<Vec<_>, SqlError>>()?;
    let usage = Usage {
        month: format!("{:04}-{:02}", month / 100, month % 100),
        requests: sum(catalog.sql(), tenant, month).await?,
        requests_per_month: tenancy.quotas.requests_per_month,
        page: Page::new(used, &asked, |used| used.actor.clone()),
    };
    Ok(reply::json(StatusCode::OK, &usage))
}

/// Counts a request. `reads_on`: it is let pass though the month is used up.
///
/// # Errors
/// `quota_exceeded` when the tenant's month is used up; [`Refused::Sql`].
pub(crate) async fn count<P: Ports>(
    catalog: &Catalog<P>,
    actor: &Actor,
    tenancy: &Tenancy,
    reads_on: bool,
) -> Result<(), Refused> {
    let (meter, month) = (&catalog.memory().meter, month_at(catalog.clock().now_ms()));
    if !meter.knows(actor.tenant, month) {
        meter.learn(actor.tenant, month, sum(catalog.sql(), actor.tenant, month).await?);
    }
    let limit = tenancy.quotas.requests_per_month.filter(|_| !reads_on);
    meter
        .count(actor.tenant, month, actor.who, limit)
        .map_err(|used| exceeded("requests_per_month", &tenancy.plan, limit.unwrap_or_default(), used))
}

/// Adds what was counted to the database, and looks what other processes added.
///
/// # Errors
/// [`Refused::Sql`]: what surely was not added waits for the next time. What may have been added is
/// not added again.
pub(crate) async fn write<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let meter = &catalog.memory().meter;
    let _turn = meter.turn().await;
    let waiting = meter.waiting();
    for part in waiting.chunks(ROWS_MAX) {
        add(catalog.sql(), part).await?;
        meter.written(part);
    }
    let months: BTreeSet<_> = waiting.iter().map(|waiting| (waiting.tenant, waiting.month)).collect();
    for (tenant, month) in months {
        meter.learn(tenant, month, sum(catalog.sql(), tenant, month).await?);
    }
    meter.forget_before(month_at(catalog.clock().now_ms()));
    Ok(())
}

async fn add<S: Sql>(sql: &S, part: &[Waiting]) -> Result<(), SqlError> {
    let mut tx = sql.begin().await?;
    for waiting in part {
        let row = || -> Result<_, SqlError> {
            let count = stored(waiting.count)?;
            Ok(vec![count.into(), waiting.tenant.into(), waiting.month.into(), waiting.actor.as_str().into()])
        };
        // Another process may add the first row between the two.
        if tx.exec(ADD, row()?).await? == 0 && !tx.insert_absent(FIRST, row()?).await? {
            tx.exec(ADD, row()?).await?;
        }
    }
    match tx.commit().await {
        Err(error) if error.is_unknown() => {
            tracing::warn!(%error, "whether some seconds of usage were added is not known; they are not added again");
            Ok(())
        }
        committed => committed,
    }
}

async fn sum<S: Sql>(sql: &S, tenant: u32, month: u32) -> Result<u64, SqlError> {
    let row = sql.rows(SUM, vec![tenant.into(), month.into()]).await?.into_iter().next();
    row.ok_or_else(|| SqlError::Broken("a sum has no row".into()))?.number()
}

/// The calendar month of a moment, UTC: 202611.
fn month_at(epoch_ms: u64) -> u32 {
    let moment = i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let date = TimeZone::UTC.to_datetime(moment.unwrap_or(Timestamp::MAX));
    // Both are positive after 1970.
    u32::from(date.year().unsigned_abs()) * 100 + u32::from(date.month().unsigned_abs())
}

/// The month that a text names: `2026-11`.
fn month_named(text: &str) -> Option<u32> {
    let (year, month) = text.split_once('-')?;
    let is_plain =
        year.len() == 4 && month.len() == 2 && (year.to_owned() + month).bytes().all(|byte| byte.is_ascii_digit());
    let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
    (is_plain && (1..=12).contains(&month)).then_some(year * 100 + month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_at_midnight_utc() {
        assert_eq!([1_796_083_199_999, 1_796_083_200_000].map(month_at), [202_611, 202_612]);
        assert_eq!(month_named("2026-11"), Some(202_611));
        for none in ["2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", "+026-11", ""] {
            assert_eq!(month_named(none), None, "{none}");
        }
    }
}
