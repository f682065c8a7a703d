//! Plans: what a tenant may have, and how often it may ask. The deployment's operator edits them;
//! none is ever deleted, so that a tenant's plan is always there.

mod quotas;
mod tenancy;

use std::collections::BTreeMap;

use kit::{
    access::Permission::{ReadSettings, ReadTenants, WriteTenants},
    api::{Access, Call, Route, tagged},
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql, SqlError, Tx};
use utoipa::{OpenApi, ToSchema};

use crate::{
    change::{Answer, Begun},
    document::{Changed, Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

pub use quotas::Quotas;
pub(crate) use quotas::{Quota, Room, exceeded, room_for};
pub(crate) use tenancy::{Tenancy, TenantState, tenancy};

const COLUMNS: &str = "code, quotas, version";
const INSERT: &str = "INSERT INTO plans (code, quotas, version) VALUES (?, ?, 1)";
const UPDATE: &str = "UPDATE plans SET quotas = ?, version = version + 1 WHERE code = ?";

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Plan {
    /// Its name for programs; stays.
    code: String,
    quotas: Quotas,
    /// Rises with each change; also the ETag.
    version: u64,
}

/// What a plan is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPlan {
    quotas: Quotas,
}

/// What the own plan allows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwnPlan {
    /// Its code.
    plan: String,
    quotas: Quotas,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, put, own))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadTenants), Access::Needs(WriteTenants));
    vec![
        Mount::get("/v1/plans", "plans", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::get("/v1/plans/{plan}", "plan", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::get(
            "/v1/own-plan",
            "own_plan",
            Route::new(Access::Needs(ReadSettings), |catalog, call| Box::pin(own(catalog, call))),
        ),
        Mount::put("/v1/plans/{plan}", "put_plan", Route::new(write, |catalog, call| Box::pin(put(catalog, call)))),
    ]
}

/// All plans, by code.
#[utoipa::path(
    get, path = "/v1/plans", operation_id = "plans", tag = "tenants", security(("operator" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<Plan>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let query = format!("SELECT {COLUMNS} FROM plans WHERE code > ? ORDER BY code LIMIT ?");
    let after = asked.cursor.as_deref().unwrap_or_default();
    let rows = catalog.sql().rows(&query, vec![after.into(), (asked.limit + 1).into()]).await?;
    let plans = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(plans, &asked, |plan| plan.code.clone())))
}

/// A plan.
#[utoipa::path(
    get, path = "/v1/plans/{plan}", operation_id = "plan", tag = "tenants", security(("operator" = [])),
    params(("plan" = String, Path, description = "Its code.")), responses((status = 200, body = Plan), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let rows = catalog.sql().rows(&one(), vec![call.part::<String>("plan")?.as_str().into()]).await?;
    let plan = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("plan"))?;
    Ok(tagged(reply::json(StatusCode::OK, &plan), plan.version))
}

/// Makes a plan, or gives it other quotas. They hold for its tenants at once; what a tenant has
/// beyond them stays, and no more is added.
#[utoipa::path(
    put, path = "/v1/plans/{plan}", operation_id = "put_plan", tag = "tenants", security(("operator" = [])),
    request_body = NewPlan,
    params(
        ("plan" = String, Path, description = "Its code: small letters, digits and dashes."),
        ("If-Match" = Option<String>, Header)
    ),
    responses((status = 200, body = Plan), (status = 201, body = Plan), Changed)
)]
async fn put<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let code: String = call.part("plan")?;
    let asked: NewPlan = call.json()?;
    let expected = call.expected_version()?;
    if !is_code(&code) {
        return Err(Refused::not_found("plan"));
    }
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let rows = change.tx.lock_rows(&one(), vec![code.as_str().into()], Lock::Wait).await?;
    let before = rows.into_iter().next().map(read).transpose()?;
    let version = before.as_ref().map(|before| before.version);
    if let Some(before) = before.as_ref().filter(|before| expected.is_some_and(|expected| expected != before.version)) {
        return Err(Refused::stale(before));
    }
    if let Some(before) = before.as_ref().filter(|before| before.quotas == asked.quotas) {
        return Ok(tagged(reply::json(StatusCode::OK, before), before.version));
    }
    let after = Plan { code: code.clone(), quotas: asked.quotas, version: version.unwrap_or(0) + 1 };
    let quotas = after.quotas.write()?;
    let (target, quotas, code) = (format!("plan:{code}"), quotas.as_str().into(), code.as_str().into());
    let answer = match &before {
        Some(before) => {
            change.tx.exec(UPDATE, vec![quotas, code]).await?;
            change.record("plan.change", target, Some(before), Some(&after))?;
            Answer::ok(&after)?
        }
        None if expected.is_some() => return Err(Refused::not_found("plan")),
        None => {
            if !change.tx.insert_absent(INSERT, vec![code, quotas]).await? {
                // Somebody else made it at this moment: once more, now as a change of it.
                return Err(SqlError::LockWait("the plan was made meanwhile".into()).into());
            }
            change.record("plan.create", target, None, Some(&after))?;
            Answer::created(format!("/v1/plans/{}", after.code), &after)?
        }
    };
    Ok(tagged(change.commit(answer).await?, after.version))
}

/// The tenant's own plan.
#[utoipa::path(
    get, path = "/v1/own-plan", operation_id = "own_plan", tag = "tenants", security(("merchant" = [])),
    responses((status = 200, body = OwnPlan), Read)
)]
async fn own<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenancy = tenancy(catalog.sql(), call.actor.tenant).await?.ok_or_else(|| Refused::not_found("tenant"))?;
    Ok(reply::json(StatusCode::OK, &OwnPlan { plan: tenancy.plan, quotas: tenancy.quotas }))
}

/// Purchases a second that plans allow each of their tenants, by plan; plans that set no rate are
/// not in it.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn rates<S: Sql>(sql: &S) -> Result<BTreeMap<String, u32>, Refused> {
    let rows = sql.rows(&format!("SELECT {COLUMNS} FROM plans"), vec![]).await?;
    let plans = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(plans.into_iter().filter_map(|plan| Some((plan.code, plan.quotas.tenant_rate_per_s?))).collect())
}

/// Refuses a plan that is not there.
///
/// # Errors
/// `invalid_request`.
pub(crate) async fn must_exist<T: Tx>(tx: &mut T, code: &str) -> Result<(), Refused> {
    let rows = tx.rows(&one(), vec![code.into()]).await?;
    let detail = "there is no such plan; GET /v1/plans lists them";
    if rows.is_empty() { Err(Refused::field("plan", detail)) } else { Ok(()) }
}

/// Whether a text may be the code of a tenant, a plan, a flag: `[a-z][a-z0-9-]{0,63}`.
pub(crate) fn is_code(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.len() <= 64 && text.bytes().all(plain)
}

fn one() -> String {
    format!("SELECT {COLUMNS} FROM plans WHERE code = ?")
}

fn read(mut row: Row) -> Result<Plan, SqlError> {
    Ok(Plan { code: row.text()?, quotas: Quotas::read(&row.text()?)?, version: row.number()? })
}
