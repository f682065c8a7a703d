//! Which lines all programs of the deployment log, for a while. They hear of it by the copy in the
//! ledger's database.

use std::collections::BTreeMap;

use kit::{
    api::Call,
    clock::{Clock as _, rfc3339},
    http::{Body, Response, StatusCode, reply},
    telemetry,
};
use serde::{Deserialize, Serialize};
use store::{
    controls::LOG_FILTER,
    sql::{Sql as _, SqlError, Tx as _, stored},
};
use tracing::level_filters::LevelFilter;
use utoipa::ToSchema;

use super::{for_the_deployment, second_word};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const FIND: &str = "SELECT value, until_ms FROM controls WHERE name = ? AND until_ms > ?";
const DELETE: &str = "DELETE FROM controls WHERE name = ?";
const INSERT: &str = "INSERT INTO controls (name, value, until_ms) VALUES (?, ?, ?)";
const HELD: &str = "SELECT name, value FROM controls WHERE until_ms > ?";

/// As the column has room.
const FILTER_CHARS_MAX: usize = 500;
const MINUTES_MAX: u32 = 7 * 24 * 60;
const MINUTE_MS: u64 = 60_000;

/// The log filter that all programs are to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLogFilter {
    /// Directives such as `info,engine=debug`; left out, each program logs as it was started to.
    #[schema(nullable = false, max_length = 500)]
    filter: Option<String>,
    /// For how long; then each program logs as it was started to.
    #[serde(default = "an_hour")]
    #[schema(minimum = 1, maximum = 10080, default = 60)]
    minutes: u32,
    /// The second word, of a filter that writes lines for each purchase.
    #[schema(nullable = false, max_length = 64)]
    word: Option<String>,
}

fn an_hour() -> u32 {
    60
}

/// The log filter that is set; without members when none is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    filter: Option<String>,
    /// Until when, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    until: Option<String>,
}

impl LogFilter {
    fn of(rows: Vec<store::sql::Row>) -> Result<Self, SqlError> {
        let Some(mut row) = rows.into_iter().next() else { return Ok(Self { filter: None, until: None }) };
        Ok(Self { filter: Some(row.text()?), until: Some(rfc3339(row.number()?)) })
    }
}

/// What is set and holds still, by name.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn held<P: Ports>(catalog: &Catalog<P>) -> Result<BTreeMap<String, String>, Refused> {
    let rows = catalog.sql().rows(HELD, vec![stored(catalog.clock().now_ms())?.into()]).await?;
    let held: Result<_, SqlError> = rows.into_iter().map(|mut row| Ok((row.text()?, row.text()?))).collect();
    Ok(held?)
}

/// The log filter that is set for all programs.
#[utoipa::path(
    get, path = "/v1/control/log-filter", operation_id = "control_log_filter", tag = "control",
    security(("operator" = [])), responses((status = 200, body = LogFilter), Read)
)]
pub(super) async fn show<P: Ports>(catalog: &Catalog<P>, _call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let now_ms = stored(catalog.clock().now_ms())?;
    let rows = catalog.sql().rows(FIND, vec![LOG_FILTER.into(), now_ms.into()]).await?;
    Ok(reply::json(StatusCode::OK, &LogFilter::of(rows)?))
}

/// Sets which lines all programs log, within 6 s and for a while.
#[utoipa::path(
    put, path = "/v1/control/log-filter", operation_id = "control_set_log_filter", tag = "control",
    security(("operator" = [])), request_body = NewLogFilter, responses((status = 200, body = LogFilter), Changed)
)]
pub(super) async fn set<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    for_the_deployment(call)?;
    let NewLogFilter { filter, minutes, word } = call.json()?;
    let mut flaws = Vec::new();
    if !(1..=MINUTES_MAX).contains(&minutes) {
        flaws.push(("minutes".to_owned(), "give 1 to 10080"));
    }
    let loudest = filter.as_deref().map(telemetry::loudest).transpose();
    if loudest.is_err() || filter.as_ref().is_some_and(|filter| filter.len() > FILTER_CHARS_MAX) {
        flaws.push(("filter".to_owned(), "give directives such as info,engine=debug, each with its level"));
    }
    if !flaws.is_empty() {
        return Err(Refused::fields(flaws));
    }
    if let (Some(filter), Ok(Some(loudest))) = (&filter, loudest)
        && loudest > LevelFilter::INFO
    {
        let does = format!(
            "{filter} writes lines for single purchases in every process for {minutes} min: in a sale it costs \
             throughput and fills disks"
        );
        second_word(word.as_deref(), &does)?;
    }
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let now_ms = stored(change.now_ms)?;
    let before = LogFilter::of(change.tx.rows(FIND, vec![LOG_FILTER.into(), now_ms.into()]).await?)?;
    change.tx.exec(DELETE, vec![LOG_FILTER.into()]).await?;
    let mut after = LogFilter { filter: None, until: None };
    if let Some(filter) = filter {
        let until_ms = change.now_ms + u64::from(minutes) * MINUTE_MS;
        let row = vec![LOG_FILTER.into(), filter.as_str().into(), stored(until_ms)?.into()];
        if !change.tx.insert_absent(INSERT, row).await? {
            // Another operator set it at this moment: like a lock, it is passed at the next try.
            return Err(SqlError::LockWait("the log filter was set meanwhile".into()).into());
        }
        after = LogFilter { filter: Some(filter), until: Some(rfc3339(until_ms)) };
    }
    change.record("control.log_filter", "deployment".to_owned(), Some(&before), Some(&after))?;
    change.commit(Answer::ok(&after)?).await
}
