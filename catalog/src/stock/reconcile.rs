//! Reconciliation: compares each level with what it is made of, a bounded piece at a time, and
//! lists what differs. It changes no figure: whoever reads the list decides.

use std::collections::BTreeSet;

use kit::{
    access::Permission::{ReadStock, WriteStock},
    api::{Access, Call, Route},
    clock::{Clock as _, rfc3339},
    http::{Body, Mount, PageAsked, Response, StatusCode, reply, wrong_parameter},
    openapi::IdempotencyKey,
};
use serde::Serialize;
use store::sql::{Lock, Row, Sql, SqlError, Tx, Value, loaded, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    book::{Book, lock_head},
    key::{By, Key},
};
use crate::{
    change::{Answer, Begun},
    document::{Created, Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Levels of a piece.
const PIECE: u32 = 200;
/// Findings of a run that are listed; more are only counted.
const FINDINGS_MAX: i64 = 1_000;
/// Runs that are kept.
const RUNS_KEPT: i64 = 30;
/// Tenants whose nightly run one look begins, and pieces that it does: a part of a second, so that
/// other housekeeping has its turn.
const STEPS_MAX: u32 = 20;
const HOUR_MS: i64 = 3_600_000;
/// When the nightly run begins, in UTC: 03:00 in China.
const NIGHT_MS: i64 = 19 * HOUR_MS;
/// Who starts the nightly run.
const NIGHTLY: &str = "nightly";

const DUE: &str = "SELECT tenant FROM inventory_heads WHERE reconciled_day < ? ORDER BY tenant LIMIT ?";
const MARK: &str = "UPDATE inventory_heads SET reconciled_day = ? WHERE tenant = ? AND reconciled_day < ?";
const RUNS: &str = "SELECT runs FROM inventory_heads WHERE tenant = ?";
const MOVE_RUNS: &str = "UPDATE inventory_heads SET runs = ? WHERE tenant = ?";
const BEGIN: &str = "INSERT INTO inventory_runs (tenant, run, started_by, started_at, after_sku, after_warehouse, \
                     checked, found) VALUES (?, ?, ?, ?, 0, 0, 0, 0)";
const FORGET: [&str; 2] = [
    "DELETE FROM inventory_findings WHERE tenant = ? AND run <= ?",
    "DELETE FROM inventory_runs WHERE tenant = ? AND run <= ?",
];
const RUN: &str = "SELECT run, started_by, started_at, ended_at, checked, found FROM inventory_runs WHERE tenant = ?";
/// Tenants take turns: the run that has come least far goes on.
const NEXT: &str =
    "SELECT tenant, run FROM inventory_runs WHERE ended_at IS NULL ORDER BY checked, tenant, run LIMIT 1";
const HOLD: &str = "SELECT after_sku, after_warehouse, checked, found FROM inventory_runs \
                    WHERE tenant = ? AND run = ? AND ended_at IS NULL";
const MOVE: &str = "UPDATE inventory_runs SET after_sku = ?, after_warehouse = ?, checked = ?, found = ?, ended_at = ? \
                    WHERE tenant = ? AND run = ?";
const FIND: &str = "INSERT INTO inventory_findings (tenant, run, finding, warehouse, sku, what, level_units, \
                    summed_units) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
/// One statement sees one state: a movement that commits meanwhile is in all of it or in none.
const COMPARE: &str = "SELECT l.sku, l.warehouse, l.threshold, l.on_hand, l.allotted, l.unshipped, l.placed, l.allotted, \
     CAST(COALESCE(SUM(m.on_hand_change), 0) AS SIGNED), CAST(COALESCE(SUM(m.allotted_change), 0) AS SIGNED), \
     CAST(COALESCE(SUM(m.unshipped_change), 0) AS SIGNED), \
     COALESCE((SELECT CAST(SUM(p.units) AS SIGNED) FROM inventory_positions p \
     WHERE p.tenant = l.tenant AND p.warehouse = l.warehouse AND p.sku = l.sku), 0), \
     COALESCE((SELECT CAST(SUM(a.units) AS SIGNED) FROM inventory_allotments a \
     WHERE a.tenant = l.tenant AND a.warehouse = l.warehouse AND a.sku = l.sku), 0) \
     FROM (SELECT tenant, warehouse, sku, threshold, on_hand, allotted, unshipped, placed FROM inventory_levels \
     WHERE tenant = ? AND sku >= ? AND (sku > ? OR warehouse > ?) ORDER BY sku, warehouse LIMIT ?) l \
     LEFT JOIN inventory_movements m ON m.tenant = l.tenant AND m.sku = l.sku AND m.warehouse = l.warehouse \
     GROUP BY l.tenant, l.sku, l.warehouse, l.threshold, l.on_hand, l.allotted, l.unshipped, l.placed \
     ORDER BY l.sku, l.warehouse";
/// What is compared, in the order of [`COMPARE`]: three figures with the movements, `placed` with
/// the positions, `allotments` with what offers have.
const WHAT: [&str; 5] = ["on_hand", "allotted", "unshipped", "placed", "allotments"];
const FINDINGS: &str = "SELECT f.finding, f.sku, s.code, f.warehouse, w.code, f.what, f.level_units, f.summed_units \
                        FROM inventory_findings f \
                        LEFT JOIN skus s ON s.tenant = f.tenant AND s.sku = f.sku \
                        LEFT JOIN inventory_warehouses w ON w.tenant = f.tenant AND w.warehouse = f.warehouse \
                        WHERE f.tenant = ? AND f.run = ? AND f.finding > ? ORDER BY f.finding LIMIT ?";

/// A reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct Reconciliation {
    /// Its number, a decimal string.
    id: String,
    /// `running` or `done`.
    #[schema(example = "done")]
    state: &'static str,
    /// Who: `user:7`, or `nightly`.
    started_by: String,
    /// RFC 3339.
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_at: Option<String>,
    /// Levels that were compared so far.
    checked: i64,
    /// Differences so far; the first 1,000 are listed.
    found: i64,
}

/// A figure of a level that differs from what it is made of.
#[derive(Debug, Serialize, ToSchema)]
struct ReconciliationFinding {
    id: String,
    sku_id: String,
    /// Its code; missing once it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sku: Option<String>,
    warehouse_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warehouse: Option<String>,
    /// `on_hand`, `allotted`, `unshipped`: against the movements; `placed`: against bins and
    /// batches; `allotments`: against what offers have.
    #[schema(example = "on_hand")]
    what: String,
    /// As the level has it.
    level: i64,
    /// As its parts add up.
    sum: i64,
}

/// A reconciliation, and a page of what it found.
#[derive(Debug, Serialize, ToSchema)]
struct ReconciliationShown {
    /// Missing before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    run: Option<Reconciliation>,
    #[serde(flatten)]
    #[schema(inline)]
    findings: Page<ReconciliationFinding>,
}

#[derive(OpenApi)]
#[openapi(paths(show, start))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadStock), Access::Needs(WriteStock));
    vec![
        Mount::get(
            "/v1/stock/reconciliation",
            "stock_reconciliation",
            Route::new(read, |catalog, call| Box::pin(show(catalog, call))),
        ),
        Mount::post(
            "/v1/stock/reconciliation",
            "reconcile_stock",
            Route::new(write, |catalog, call| Box::pin(start(catalog, call))),
        ),
    ]
}

/// What a reconciliation found: the newest one, or the one that is asked for.
#[utoipa::path(
    get, path = "/v1/stock/reconciliation", operation_id = "stock_reconciliation", tag = "stock",
    security(("merchant" = [])),
    params(("run" = Option<String>, Query, description = "Its number; the newest when it is left out."), PageAsked),
    responses((status = 200, body = ReconciliationShown), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["run", "cursor", "limit"])?;
    let (asked, tenant) = (PageAsked::of(&query)?, call.actor.tenant);
    let after = Page::<ReconciliationFinding>::after(&asked)?;
    let (text, mut values) = (format!("{RUN} ORDER BY run DESC LIMIT 1"), vec![Value::from(tenant)]);
    let rows = match query.get("run") {
        None => catalog.sql().rows(&text, values).await?,
        Some(run) => {
            let run: u32 = run.parse().map_err(|_| wrong_parameter("run", "give the number of a reconciliation"))?;
            values.push(run.into());
            let rows = catalog.sql().rows(&format!("{RUN} AND run = ?"), values).await?;
            if rows.is_empty() {
                return Err(Refused::not_found("reconciliation"));
            }
            rows
        }
    };
    let found = rows.into_iter().next().map(read_run).transpose()?;
    let (run, number) = found.map_or((None, 0), |(run, number)| (Some(run), number));
    let values = vec![tenant.into(), number.into(), after.into(), (asked.limit + 1).into()];
    let rows = catalog.sql().rows(FINDINGS, values).await?;
    let findings = rows.into_iter().map(read_finding).collect::<Result<Vec<_>, _>>()?;
    let findings = Page::new(findings, &asked, |finding| finding.id.clone());
    Ok(reply::json(StatusCode::OK, &ReconciliationShown { run, findings }))
}

/// Starts a reconciliation; where one is under way, it is that one.
#[utoipa::path(
    post, path = "/v1/stock/reconciliation", operation_id = "reconcile_stock", tag = "stock",
    security(("merchant" = [])), params(IdempotencyKey), responses((status = 202, body = Reconciliation), Created)
)]
async fn start<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let by = By { tenant: change.tenant(), actor: call.actor.who.to_string(), now_ms: stored(change.now_ms)? };
    lock_head(&mut change.tx, by.tenant).await?;
    let (run, is_new) = begin(&mut change.tx, &by).await?;
    if is_new {
        change.record("stock.reconcile", format!("reconciliation:{}", run.id), None, Some(&run))?;
    }
    let location = format!("/v1/stock/reconciliation?run={}", run.id);
    change.commit(Answer::accepted(location, &run)?).await
}

/// Begins a run, unless one is under way. The tenant's head is locked.
async fn begin<T: Tx>(tx: &mut T, by: &By) -> Result<(Reconciliation, bool), SqlError> {
    let running = tx.rows(&format!("{RUN} AND ended_at IS NULL LIMIT 1"), vec![by.tenant.into()]).await?;
    if let Some(row) = running.into_iter().next() {
        return Ok((read_run(row)?.0, false));
    }
    let last = tx.rows(RUNS, vec![by.tenant.into()]).await?.into_iter().next();
    let run = last.ok_or_else(|| SqlError::Broken("a tenant's head vanished".into()))?.int()? + 1;
    tx.exec(MOVE_RUNS, vec![run.into(), by.tenant.into()]).await?;
    for statement in FORGET {
        tx.exec(statement, vec![by.tenant.into(), (run - RUNS_KEPT).into()]).await?;
    }
    tx.exec(BEGIN, vec![by.tenant.into(), run.into(), by.actor.as_str().into(), by.now_ms.into()]).await?;
    let run = Reconciliation {
        id: run.to_string(),
        state: "running",
        started_by: by.actor.clone(),
        started_at: rfc3339(loaded(by.now_ms)?),
        ended_at: None,
        checked: 0,
        found: 0,
    };
    Ok((run, true))
}

/// The housekeeping of stock: begins the nightly reconciliation of each tenant once a day, and does
/// some pieces of those that are under way. Any number of processes may; one that dies leaves
/// nothing half done.
///
/// # Errors
/// [`Refused::Sql`] when the database fails.
pub async fn keep<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let now_ms = stored(catalog.clock().now_ms())?;
    let day = (now_ms - NIGHT_MS) / (24 * HOUR_MS);
    for mut row in catalog.sql().rows(DUE, vec![day.into(), STEPS_MAX.into()]).await? {
        let by = By { tenant: row.number()?, actor: NIGHTLY.to_owned(), now_ms };
        let mut tx = catalog.sql().begin().await?;
        lock_head(&mut tx, by.tenant).await?;
        if tx.exec(MARK, vec![day.into(), by.tenant.into(), day.into()]).await? == 1 {
            begin(&mut tx, &by).await?;
        }
        tx.commit().await?;
    }
    for _ in 0..STEPS_MAX {
        let Some(mut row) = catalog.sql().rows(NEXT, vec![]).await?.into_iter().next() else { break };
        let (tenant, run) = (row.number()?, row.int()?);
        if !piece(catalog.sql(), tenant, run, now_ms).await? {
            break; // another process has it
        }
    }
    Ok(())
}

/// The next piece of a run; `false` when somebody else is at it.
async fn piece<S: Sql>(db: &S, tenant: u32, run: i64, now_ms: i64) -> Result<bool, Refused> {
    let mut tx = db.begin().await?;
    let held = tx.lock_rows(HOLD, vec![tenant.into(), run.into()], Lock::SkipLocked).await?.into_iter().next();
    let Some(mut held) = held else { return Ok(false) };
    let (mut sku, mut warehouse, checked, mut found) = (held.int()?, held.int()?, held.int()?, held.int()?);
    let place = vec![tenant.into(), sku.into(), sku.into(), warehouse.into(), PIECE.into()];
    let rows = tx.rows(COMPARE, place).await?;
    let (count, mut limited) = (rows.len(), BTreeSet::new());
    for mut row in rows {
        (sku, warehouse) = (row.int()?, row.int()?);
        if row.int_or_null()?.is_some() {
            limited.insert(Key { warehouse, sku });
        }
        for (what, level, sum) in differing(&mut row)? {
            found += 1;
            if found <= FINDINGS_MAX {
                let key = [tenant.into(), run.into(), found.into(), warehouse.into(), sku.into()];
                tx.exec(FIND, [&key[..], &[what.into(), level.into(), sum.into()]].concat()).await?;
            }
        }
    }
    // What expired since its last movement may have made a level low.
    let mut book = Book::open(&mut tx, By { tenant, actor: NIGHTLY.to_owned(), now_ms }, &limited).await?;
    book.look();
    book.close(&mut tx, "").await?;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let ended_at = (count < PIECE).then_some(now_ms);
    let checked = checked + i64::from(count);
    let place = [sku.into(), warehouse.into(), checked.into(), found.into(), ended_at.into()];
    tx.exec(MOVE, [&place[..], &[tenant.into(), run.into()]].concat()).await?;
    tx.commit().await?;
    Ok(true)
}

/// The figures of a level that differ from what they are made of.
fn differing(row: &mut Row) -> Result<Vec<(&'static str, i64, i64)>, SqlError> {
    let mut levels = [0; WHAT.len()];
    for level in &mut levels {
        *level = row.int()?;
    }
    let mut differing = Vec::new();
    for (what, level) in WHAT.into_iter().zip(levels) {
        let sum = row.int()?;
        if level != sum {
            differing.push((what, level, sum));
        }
    }
    Ok(differing)
}

fn read_run(mut row: Row) -> Result<(Reconciliation, i64), SqlError> {
    let number = row.int()?;
    let (started_by, started_at) = (row.text()?, rfc3339(row.number()?));
    let ended_at = row.time_or_null()?.map(rfc3339);
    let state = if ended_at.is_some() { "done" } else { "running" };
    let (checked, found) = (row.int()?, row.int()?);
    Ok((Reconciliation { id: number.to_string(), state, started_by, started_at, ended_at, checked, found }, number))
}

fn read_finding(mut row: Row) -> Result<ReconciliationFinding, SqlError> {
    Ok(ReconciliationFinding {
        id: row.int()?.to_string(),
        sku_id: row.int()?.to_string(),
        sku: row.text_or_null()?,
        warehouse_id: row.int()?.to_string(),
        warehouse: row.text_or_null()?,
        what: row.text()?,
        level: row.int()?,
        sum: row.int()?,
    })
}
