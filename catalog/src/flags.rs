//! Feature flags. The deployment's operator declares them; a tenant has a flag by a rule of its
//! own, else by one of its plan, else by its lot, else by default.

mod rules;

use std::sync::Arc;

use kit::{
    access::Permission::{ReadSettings, ReadTenants, WriteTenants},
    api::{Access, Call, Route, tagged},
    clock::Clock as _,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx as _};
use utoipa::{OpenApi, ToSchema};

use crate::{
    change::{Answer, Begun},
    document::{Changed, Page, Read},
    memory::Flags,
    plans::{self, is_code},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};
use rules::{PlanRule, Rules, TenantRule};

/// Flags of a deployment that count, by code, at most.
const FLAGS_MAX: u32 = 1_000;

const COLUMNS: &str = "code, description, rules, version";
const INSERT: &str = "INSERT INTO flags (code, description, rules, version) VALUES (?, ?, ?, 1)";
const UPDATE: &str = "UPDATE flags SET description = ?, rules = ?, version = version + 1 WHERE code = ?";
const DELETE: &str = "DELETE FROM flags WHERE code = ?";

/// A flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Flag {
    /// Its name for programs; stays.
    code: String,
    description: String,
    #[serde(flatten)]
    rules: Rules,
    /// Rises with each change; also the ETag.
    version: u64,
}

/// What a flag is to be. What is left out is taken away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFlag {
    /// What it turns on.
    #[schema(min_length = 1, max_length = 500)]
    description: String,
    /// Whether tenants have it of whom nothing else is said.
    default: bool,
    /// How many of a thousand tenants have it by lot. The lot of a tenant stays, so that a larger
    /// number only adds tenants.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1000)]
    per_mille: u16,
    /// By plan.
    #[serde(default)]
    #[schema(max_items = 100)]
    plans: Vec<PlanRule>,
    /// By tenant.
    #[serde(default)]
    #[schema(max_items = 1000)]
    tenants: Vec<TenantRule>,
}

/// What a tenant has of a flag.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EffectiveFlag {
    code: String,
    on: bool,
}

/// A tenant's flags, by code.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EffectiveFlags {
    flags: Vec<EffectiveFlag>,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, put, delete, effective))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write, own) = (Access::Needs(ReadTenants), Access::Needs(WriteTenants), Access::Needs(ReadSettings));
    vec![
        Mount::get("/v1/flags", "flags", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::get("/v1/flags/{flag}", "flag", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::put("/v1/flags/{flag}", "put_flag", Route::new(write, |catalog, call| Box::pin(put(catalog, call)))),
        Mount::delete(
            "/v1/flags/{flag}",
            "delete_flag",
            Route::new(write, |catalog, call| Box::pin(delete(catalog, call))),
        ),
        Mount::get(
            "/v1/effective-flags",
            "effective_flags",
            Route::new(own, |catalog, call| Box::pin(effective(catalog, call))),
        ),
    ]
}

/// All flags, by code.
#[utoipa::path(
    get, path = "/v1/flags", operation_id = "flags", tag = "tenants", security(("operator" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<Flag>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let after = asked.cursor.as_deref().unwrap_or_default();
    let rows = catalog.sql().rows(&many(), vec![after.into(), (asked.limit + 1).into()]).await?;
    let flags = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(flags, &asked, |flag| flag.code.clone())))
}

/// A flag.
#[utoipa::path(
    get, path = "/v1/flags/{flag}", operation_id = "flag", tag = "tenants", security(("operator" = [])),
    params(("flag" = String, Path, description = "Its code.")), responses((status = 200, body = Flag), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let rows = catalog.sql().rows(&one(), vec![call.part::<String>("flag")?.as_str().into()]).await?;
    let flag = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("flag"))?;
    Ok(tagged(reply::json(StatusCode::OK, &flag), flag.version))
}

/// Makes a flag, or gives it other rules. Every process follows within some seconds.
#[utoipa::path(
    put, path = "/v1/flags/{flag}", operation_id = "put_flag", tag = "tenants", security(("operator" = [])),
    request_body = NewFlag,
    params(
        ("flag" = String, Path, description = "Its code: small letters, digits and dashes."),
        ("If-Match" = Option<String>, Header)
    ),
    responses((status = 200, body = Flag), (status = 201, body = Flag), Changed)
)]
async fn put<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let code: String = call.part("flag")?;
    let NewFlag { description, default, per_mille, plans, tenants } = call.json()?;
    let expected = call.expected_version()?;
    if !is_code(&code) {
        return Err(Refused::not_found("flag"));
    }
    let rules = Rules { default, per_mille, plans, tenants };
    let stored = rules.write()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let rows = change.tx.lock_rows(&one(), vec![code.as_str().into()], Lock::Wait).await?;
    let before = rows.into_iter().next().map(read).transpose()?;
    if let Some(before) = before.as_ref().filter(|before| expected.is_some_and(|expected| expected != before.version)) {
        return Err(Refused::stale(before));
    }
    let is_same = |before: &&Flag| before.description == description && before.rules == rules;
    if let Some(before) = before.as_ref().filter(is_same) {
        return Ok(tagged(reply::json(StatusCode::OK, before), before.version));
    }
    let version = before.as_ref().map_or(0, |before| before.version) + 1;
    let (after, target) = (Flag { code: code.clone(), description, rules, version }, format!("flag:{code}"));
    let (code, description) = (code.as_str().into(), after.description.as_str().into());
    let answer = match &before {
        Some(before) => {
            change.tx.exec(UPDATE, vec![description, stored.as_str().into(), code]).await?;
            change.record("flag.change", target, Some(before), Some(&after))?;
            Answer::ok(&after)?
        }
        None if expected.is_some() => return Err(Refused::not_found("flag")),
        None => {
            if !change.tx.insert_absent(INSERT, vec![code, description, stored.as_str().into()]).await? {
                // Somebody else made it at this moment: once more, now as a change of it.
                return Err(SqlError::LockWait("the flag was made meanwhile".into()).into());
            }
            change.record("flag.create", target, None, Some(&after))?;
            Answer::created(format!("/v1/flags/{}", after.code), &after)?
        }
    };
    let response = change.commit(answer).await?;
    catalog.memory().flags.forget();
    Ok(tagged(response, version))
}

/// Takes a flag away: nobody has it any more.
#[utoipa::path(
    delete, path = "/v1/flags/{flag}", operation_id = "delete_flag", tag = "tenants", security(("operator" = [])),
    params(("flag" = String, Path, description = "Its code."), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "It is gone."), Changed)
)]
async fn delete<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let code: String = call.part("flag")?;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let rows = change.tx.lock_rows(&one(), vec![code.as_str().into()], Lock::Wait).await?;
    let before = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("flag"))?;
    Refused::unless_seen(expected, before.version, &before)?;
    change.tx.exec(DELETE, vec![code.as_str().into()]).await?;
    change.record("flag.delete", format!("flag:{code}"), Some(&before), None)?;
    let response = change.commit(Answer::gone()).await?;
    catalog.memory().flags.forget();
    Ok(response)
}

/// The tenant's flags.
#[utoipa::path(
    get, path = "/v1/effective-flags", operation_id = "effective_flags", tag = "tenants",
    security(("merchant" = [])), responses((status = 200, body = EffectiveFlags), Read)
)]
async fn effective<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let flags = of_tenant(catalog, call.actor.tenant).await?;
    let flags = flags.iter().map(|(code, on)| EffectiveFlag { code: code.clone(), on: *on }).collect();
    Ok(reply::json(StatusCode::OK, &EffectiveFlags { flags }))
}

/// Whether a tenant has a flag; a flag that nobody declared, nobody has.
///
/// # Errors
/// [`Refused::Sql`]; `not_found` without such a tenant.
pub async fn is_on<P: Ports>(catalog: &Catalog<P>, tenant: u32, code: &str) -> Result<bool, Refused> {
    Ok(of_tenant(catalog, tenant).await?.get(code).copied().unwrap_or(false))
}

async fn of_tenant<P: Ports>(catalog: &Catalog<P>, tenant: u32) -> Result<Flags, Refused> {
    let now = catalog.clock().monotonic();
    if let Some(known) = catalog.memory().flags.known(tenant, now) {
        return Ok(known);
    }
    let tenancy = plans::tenancy(catalog.sql(), tenant).await?.ok_or_else(|| Refused::not_found("tenant"))?;
    let rows = catalog.sql().rows(&many(), vec!["".into(), FLAGS_MAX.into()]).await?;
    let flags = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let decided = flags.into_iter().map(|Flag { code, rules, .. }| {
        let on = rules.is_on(&code, tenant, &tenancy.plan);
        (code, on)
    });
    let flags: Flags = Arc::new(decided.collect());
    catalog.memory().flags.learn(tenant, now, Arc::clone(&flags));
    Ok(flags)
}

fn one() -> String {
    format!("SELECT {COLUMNS} FROM flags WHERE code = ?")
}

fn many() -> String {
    format!("SELECT {COLUMNS} FROM flags WHERE code > ? ORDER BY code LIMIT ?")
}

fn read(mut row: Row) -> Result<Flag, SqlError> {
    Ok(Flag { code: row.text()?, description: row.text()?, rules: Rules::read(&row.text()?)?, version: row.number()? })
}
