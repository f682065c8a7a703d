//! The ledger as files and the statement of a month. A file is written while it is read, a page of
//! entries at a time: that page is all that is ever in memory.

use bytes::Bytes;
use domain::id::{BuyerId, TenantId};
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    clock::rfc3339,
    csv::cell,
    http::{Body, HeaderValue, Mount, Response, StatusCode, header, reply, wrong_parameter},
};
use serde::Serialize;
use store::sql::{Row, Sql, SqlError, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{Distribution, Kinds, Refused, answers::Read, people::one};
use crate::{
    book::{COLUMNS, DAY_MS, Kind, NOTES, Note, Posted},
    days::{AFTER, PAGE, next_day, page_of_day},
    month::Month,
};

/// What the columns of a file are named.
const HEAD: &str = "at,kind,subject,sequence,rule,person,plan,plan_version,expense,pending,available,withdrawing,paid,\
                    receivable,fee,tax,breakage,pool,reason,by\n";
/// What a person's accounts move, by month: before it, and in it by kind.
const SUMS: &str = "SELECT CASE WHEN at_ms < ? THEN 0 ELSE kind END, COUNT(*), CAST(SUM(pending) AS SIGNED), \
                    CAST(SUM(available) AS SIGNED), CAST(SUM(withdrawing) AS SIGNED), CAST(SUM(paid) AS SIGNED), \
                    CAST(SUM(receivable) AS SIGNED) FROM entries \
                    WHERE tenant = ? AND person = ? AND at_ms < ? GROUP BY 1 ORDER BY 1";

/// Accounts, or what they move; minor units.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
struct Amounts {
    pending: i64,
    available: i64,
    withdrawing: i64,
    paid: i64,
    /// What the person owes after late refunds and corrections.
    owed: i64,
}

impl Amounts {
    fn read(row: &mut Row) -> Result<Self, SqlError> {
        let (pending, available, withdrawing, paid) = (row.int()?, row.int()?, row.int()?, row.int()?);
        Ok(Self { pending, available, withdrawing, paid, owed: row.int()?.saturating_neg() })
    }

    fn and(self, more: Self) -> Result<Self, SqlError> {
        let add = |one: i64, other: i64| {
            one.checked_add(other).ok_or_else(|| SqlError::Broken("a balance does not fit 64 bits".into()))
        };
        Ok(Self {
            pending: add(self.pending, more.pending)?,
            available: add(self.available, more.available)?,
            withdrawing: add(self.withdrawing, more.withdrawing)?,
            paid: add(self.paid, more.paid)?,
            owed: add(self.owed, more.owed)?,
        })
    }
}

/// All entries of one kind in a month.
#[derive(Debug, Serialize, ToSchema)]
struct Moved {
    /// `payout`, `mature`, `withdrawal`, `adjustment`, `closing`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// How many.
    entries: i64,
    #[serde(flatten)]
    amounts: Amounts,
}

/// The statement of a month; amounts in minor units.
#[derive(Debug, Serialize, ToSchema)]
struct Statement {
    /// UTC.
    month: String,
    /// Whether the month is over: then this never changes.
    is_over: bool,
    /// Before its first entry.
    opening: Amounts,
    moved: Vec<Moved>,
    /// After its last entry.
    closing: Amounts,
}

#[derive(OpenApi)]
#[openapi(paths(ledger, month, month_csv))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    let read = Access::Needs(Permission::ReadPayments);
    vec![
        Mount::get(
            "/v1/merchant/commissions/ledger/csv",
            "commission_ledger_csv",
            Route::new(read, |service, call| Box::pin(ledger(service, call))),
        ),
        Mount::get(
            "/v1/commissions/statements/{month}",
            "own_month",
            Route::new(Access::Public, |service, call| Box::pin(month(service, call))),
        )
        .for_pages(),
        Mount::get(
            "/v1/commissions/statements/{month}/csv",
            "own_month_csv",
            Route::new(Access::Public, |service, call| Box::pin(month_csv(service, call))),
        )
        .for_pages(),
    ]
}

/// The entries of a month as CSV, UTF-8, with a line of names; of one person where one is named, in
/// the order of time, and otherwise day by day in the order of the closed days. Amounts are in
/// minor units. The last line has the kind `total`, the number of entries and the sums: a file
/// without it is not whole.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/ledger/csv", operation_id = "commission_ledger_csv", tag = "commissions",
    security(("merchant" = [])),
    params(("month" = String, Query, description = "UTC.", pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])$"),
        ("person" = Option<String>, Query, description = "The distributor.", pattern = "^[1-9][0-9]{0,18}$", nullable = false)),
    responses((status = 200, body = String, content_type = "text/csv"), Read)
)]
async fn ledger<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let query = call.query(&["month", "person"])?;
    let month = query.get("month").and_then(|month| month.parse().ok());
    let month = month.ok_or_else(|| wrong_parameter("month", "give a month such as 2026-11"))?;
    let person = query.get("person").map(str::parse::<BuyerId>).transpose();
    let person = person.map_err(|_| wrong_parameter("person", "give a distributor's number"))?;
    Ok(file(service.sql().clone(), tenant, month, person))
}

/// What a month moved on the own account, from the balance before it to the one after it.
#[utoipa::path(
    get, path = "/v1/commissions/statements/{month}", operation_id = "own_month", tag = "distributors",
    security(("buyer" = [])),
    params(("month" = String, Path, description = "UTC.", pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])$")),
    responses((status = 200, body = Statement), Read)
)]
async fn month<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, person) = service.buyer(call)?;
    let month: Month = call.part("month")?;
    one(service, (tenant, person)).await?;
    let (first, end) = (stored(month.first_ms())?, stored(month.end_ms())?);
    let params = vec![Value::from(first), tenant.stored().into(), person.stored().into(), end.into()];
    let (mut opening, mut moved) = (Amounts::default(), Vec::new());
    for mut row in service.sql().rows(SUMS, params).await? {
        let (kind, entries, amounts) = (row.int()?, row.int()?, Amounts::read(&mut row)?);
        match Kind::read(kind) {
            Some(kind) => moved.push(Moved { kind: kind.as_str(), entries, amounts }),
            None => opening = amounts,
        }
    }
    let closing = moved.iter().try_fold(opening, |sum, moved| sum.and(moved.amounts))?;
    let is_over = service.now_ms() >= month.end_ms();
    let statement = Statement { month: month.to_string(), is_over, opening, moved, closing };
    Ok(reply::json(StatusCode::OK, &statement))
}

/// The entries of a month on the own account as CSV, as the shop's ledger has them.
#[utoipa::path(
    get, path = "/v1/commissions/statements/{month}/csv", operation_id = "own_month_csv", tag = "distributors",
    security(("buyer" = [])),
    params(("month" = String, Path, description = "UTC.", pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])$")),
    responses((status = 200, body = String, content_type = "text/csv"), Read)
)]
async fn month_csv<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, person) = service.buyer(call)?;
    let month: Month = call.part("month")?;
    one(service, (tenant, person)).await?;
    Ok(file(service.sql().clone(), tenant, month, Some(person)))
}

fn file<S: Sql>(sql: S, tenant: TenantId, month: Month, person: Option<BuyerId>) -> Response<Body> {
    let day = i64::try_from(month.first_ms() / DAY_MS).unwrap_or(i64::MAX) - 1;
    let from = Writing { tenant, month, person, day, after: None, stage: Stage::Head, entries: 0, sums: [0; 10] };
    let body = Body::of_pieces(from, move |writing| {
        let sql = sql.clone();
        async move {
            match writing.next(&sql).await {
                Ok(next) => next,
                // The line of totals is missing: the reader sees that it is not whole.
                Err(error) => {
                    tracing::warn!(%error, "a file of the commission ledger ends early; its reader comes again");
                    None
                }
            }
        }
    });
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What comes next in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Entries,
    Over,
}

/// A file that is being written.
#[derive(Debug)]
struct Writing {
    tenant: TenantId,
    month: Month,
    person: Option<BuyerId>,
    /// Of the shop's file: the day that is being written.
    day: i64,
    /// The entry that was written last of the day, or of the person.
    after: Option<Posted>,
    stage: Stage,
    entries: u64,
    sums: [i128; 10],
}

impl Writing {
    /// The next piece, and what comes after it.
    async fn next<S: Sql>(mut self, sql: &S) -> Result<Option<(Bytes, Self)>, SqlError> {
        let mut text = String::new();
        match self.stage {
            Stage::Head => {
                text.push_str(HEAD);
                self.stage = Stage::Entries;
            }
            Stage::Entries => {
                let rows = self.page(sql).await?;
                if rows.is_empty() {
                    self.total(&mut text);
                    self.stage = Stage::Over;
                }
                for mut row in rows {
                    let posted = Posted::read(&mut row)?;
                    self.line(&posted, &Note::read(&mut row)?, &mut text);
                    self.after = Some(posted);
                }
            }
            Stage::Over => return Ok(None),
        }
        Ok(Some((text.into(), self)))
    }

    /// The next entries; none at the end.
    async fn page<S: Sql>(&mut self, sql: &S) -> Result<Vec<Row>, SqlError> {
        let columns = format!("{COLUMNS}, {NOTES}");
        let Some(person) = self.person else { return self.page_of_shop(sql, &columns).await };
        let from_ms = self.after.as_ref().map_or(self.month.first_ms(), |posted| posted.at_ms);
        let mut params = vec![Value::from(self.tenant.stored()), person.stored().into()];
        params.extend([stored(from_ms)?.into(), stored(self.month.end_ms())?.into()]);
        let mut more = String::new();
        if let Some(posted) = &self.after {
            more = format!("AND (at_ms > ? OR {AFTER})");
            params.push(stored(from_ms)?.into());
            params.extend(posted.place()?);
        }
        let query = format!(
            "SELECT {columns} FROM entries WHERE tenant = ? AND person = ? AND at_ms >= ? AND at_ms < ? {more} \
             ORDER BY at_ms, subject, kind, sequence, rule_name LIMIT {PAGE}"
        );
        sql.rows(&query, params).await
    }

    async fn page_of_shop<S: Sql>(&mut self, sql: &S, columns: &str) -> Result<Vec<Row>, SqlError> {
        let end = stored(self.month.end_ms() / DAY_MS)?;
        loop {
            if let Some(posted) = &self.after {
                let mut params = vec![Value::from(self.tenant.stored()), self.day.into()];
                params.extend(posted.place()?);
                let rows = sql.rows(&page_of_day(columns, false), params).await?;
                if !rows.is_empty() {
                    return Ok(rows);
                }
            }
            let Some(day) = next_day(sql, self.tenant, self.day).await?.filter(|day| *day < end) else {
                return Ok(Vec::new());
            };
            (self.day, self.after) = (day, None);
            let rows = sql.rows(&page_of_day(columns, true), vec![self.tenant.stored().into(), day.into()]).await?;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }

    fn line(&mut self, posted: &Posted, note: &Note, text: &mut String) {
        let (sequence, rule, plan, version) = posted.details();
        let kind = posted.kind.as_str();
        let (at, subject, amounts) = (rfc3339(posted.at_ms), posted.subject(), posted.amounts());
        let person = posted.owner().map(|person| person.to_string()).unwrap_or_default();
        text.push_str(&format!("{at},{kind},{subject},{sequence},{rule},{person},{plan},{version}"));
        for (sum, amount) in self.sums.iter_mut().zip(amounts) {
            *sum += i128::from(amount);
            text.push_str(&format!(",{amount}"));
        }
        text.push(',');
        cell(note.reason.as_deref().unwrap_or_default(), text);
        text.push(',');
        cell(&note.by.join(" "), text);
        text.push('\n');
        self.entries += 1;
    }

    fn total(&self, text: &mut String) {
        text.push_str(&format!(",total,{},,,,,", self.entries));
        for sum in self.sums {
            text.push_str(&format!(",{sum}"));
        }
        text.push_str(",,\n");
    }
}
