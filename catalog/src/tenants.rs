//! Tenants: the shops of a deployment. Their operator makes them.

use std::collections::BTreeSet;

use kit::{
    access::Permission::{ReadTenants, WriteTenants},
    api::{Access, Call, Route, tagged},
    clock::{Clock as _, rfc3339},
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    numbers::Numbered,
    plans::{self, TenantState},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Tenants are numbered from 1.
pub(crate) const TENANTS: Numbered = Numbered("tenant");

/// Numbers from here on are no count of anybody's: whoever chose one chose at random. Those below
/// are left for the next tenants, however large a number a sale file names.
const COUNTED_MAX: u32 = 1 << 31;

const COLUMNS: &str = "tenant, code, name, state, plan, version, created_at";
const INSERT: &str = "INSERT INTO tenants (tenant, code, name, state, plan, branding, version, created_at) \
                      VALUES (?, ?, ?, 'open', ?, '{}', 1, ?)";
const NUMBERED: &str = "SELECT 1 FROM tenants WHERE tenant = ?";
const UPDATE: &str = "UPDATE tenants SET name = ?, state = ?, plan = ?, version = version + 1 WHERE tenant = ?";

/// Makes the tenants whose numbers sales name that older programs published, or that a file named:
/// a number that sells is never given to another shop. Their people and keys are their operator's
/// to make. Called again it changes nothing. Returns how many are new.
///
/// # Errors
/// [`Refused::Sql`] when the database fails.
pub async fn adopt<P: Ports>(catalog: &Catalog<P>, numbers: &BTreeSet<u32>) -> Result<usize, Refused> {
    if let Some(last) = numbers.range(..COUNTED_MAX).next_back() {
        catalog.numbers().begin_at(TENANTS, i64::from(*last) + 1).await?;
    }
    let (mut new, now_ms) = (0, stored(catalog.clock().now_ms())?);
    for &number in numbers {
        let (code, name) = (format!("tenant-{number}"), format!("Tenant {number}"));
        let row = vec![number.into(), code.as_str().into(), name.as_str().into(), "unlimited".into(), now_ms.into()];
        new += usize::from(catalog.sql().insert_absent(INSERT, row).await?);
    }
    Ok(new)
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Tenant {
    /// Its number, as a decimal string.
    id: String,
    /// Its name for programs; stays.
    code: String,
    /// Its name for people.
    name: String,
    state: TenantState,
    /// Its plan.
    plan: String,
    /// Rises with each change; also the ETag.
    version: u64,
    /// When it was made, RFC 3339.
    created_at: String,
}

/// A new tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// Its name for programs: small letters, digits and dashes; one of its own in the deployment.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,63}$")]
    code: String,
    /// Its name for people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Its plan.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,63}$")]
    plan: String,
}

/// What changes of a tenant; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantChange {
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    state: Option<TenantState>,
    #[schema(pattern = "^[a-z][a-z0-9-]{0,63}$", nullable = false)]
    plan: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, create, change))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadTenants), Access::Needs(WriteTenants));
    vec![
        Mount::get("/v1/tenants", "tenants", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::post("/v1/tenants", "new_tenant", Route::new(write, |catalog, call| Box::pin(create(catalog, call)))),
        Mount::get("/v1/tenants/{tenant}", "tenant", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::patch(
            "/v1/tenants/{tenant}",
            "change_tenant",
            Route::new(write, |catalog, call| Box::pin(change(catalog, call))),
        ),
    ]
}

/// All tenants, by number.
#[utoipa::path(
    get, path = "/v1/tenants", operation_id = "tenants", tag = "tenants", security(("operator" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<Tenant>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let query = format!("SELECT {COLUMNS} FROM tenants WHERE tenant > ? ORDER BY tenant LIMIT ?");
    let rows =
        catalog.sql().rows(&query, vec![Page::<Tenant>::after(&asked)?.into(), (asked.limit + 1).into()]).await?;
    let tenants = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(tenants, &asked, |tenant| tenant.id.clone())))
}

/// A tenant.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant}", operation_id = "tenant", tag = "tenants", security(("operator" = [])),
    params(("tenant" = String, Path, description = "Its number.")), responses((status = 200, body = Tenant), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: u32 = call.part("tenant")?;
    let rows = catalog.sql().rows(&one(), vec![number.into()]).await?;
    let tenant = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("tenant"))?;
    Ok(tagged(reply::json(StatusCode::OK, &tenant), tenant.version))
}

/// Makes a tenant.
#[utoipa::path(
    post, path = "/v1/tenants", operation_id = "new_tenant", tag = "tenants", security(("operator" = [])),
    request_body = NewTenant, params(IdempotencyKey), responses((status = 201, body = Tenant), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: NewTenant = call.json()?;
    let number = catalog.numbers().take(TENANTS).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    plans::must_exist(&mut change.tx, &asked.plan).await?;
    let row = vec![
        number.into(),
        asked.code.as_str().into(),
        asked.name.as_str().into(),
        asked.plan.as_str().into(),
        stored(change.now_ms)?.into(),
    ];
    if !change.tx.insert_absent(INSERT, row).await? {
        let taken = change.tx.rows(NUMBERED, vec![number.into()]).await?;
        if !taken.is_empty() {
            // A sale file took it, by another process: like a lock, it is passed at the next try.
            return Err(SqlError::LockWait("the number of the tenant was taken meanwhile".into()).into());
        }
        return Err(Refused::conflict("another tenant has this code; choose another one"));
    }
    let tenant = Tenant {
        id: number.to_string(),
        code: asked.code,
        name: asked.name,
        state: TenantState::Open,
        plan: asked.plan,
        version: 1,
        created_at: rfc3339(change.now_ms),
    };
    change.record("tenant.create", format!("tenant:{number}"), None, Some(&tenant))?;
    change.commit(Answer::created(format!("/v1/tenants/{number}"), &tenant)?).await
}

/// Changes a tenant.
#[utoipa::path(
    patch, path = "/v1/tenants/{tenant}", operation_id = "change_tenant", tag = "tenants",
    security(("operator" = [])), request_body = TenantChange,
    params(("tenant" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Tenant), Changed)
)]
async fn change<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: u32 = call.part("tenant")?;
    let asked: TenantChange = call.json()?;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let rows = change.tx.lock_rows(&one(), vec![number.into()], Lock::Wait).await?;
    let before = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("tenant"))?;
    Refused::unless_seen(expected, before.version, &before)?;
    if let Some(plan) = &asked.plan {
        plans::must_exist(&mut change.tx, plan).await?;
    }
    let after = Tenant {
        name: asked.name.unwrap_or_else(|| before.name.clone()),
        state: asked.state.unwrap_or(before.state),
        plan: asked.plan.unwrap_or_else(|| before.plan.clone()),
        ..before.clone()
    };
    if after == before {
        return Ok(tagged(reply::json(StatusCode::OK, &before), before.version));
    }
    let after = Tenant { version: before.version + 1, ..after };
    let row = vec![after.name.as_str().into(), after.state.as_str().into(), after.plan.as_str().into(), number.into()];
    change.tx.exec(UPDATE, row).await?;
    change.replace("tenant.change", format!("tenant:{number}"), Some(&before), (&after, after.version)).await
}

/// Opens a tenant, or suspends it, in a change of the operator's: beside it what it is then. A
/// tenant that is as it shall be stays, and nothing is recorded.
///
/// # Errors
/// `not_found`; [`Refused::Sql`].
pub(crate) async fn set_state<P: Ports>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    number: u32,
    state: TenantState,
) -> Result<(), Refused> {
    let mut change = catalog.begin_as(call, &call.actor).await?;
    let rows = change.tx.lock_rows(&one(), vec![number.into()], Lock::Wait).await?;
    let before = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("tenant"))?;
    if before.state == state {
        return Ok(());
    }
    let after = Tenant { state, version: before.version + 1, ..before.clone() };
    let row = vec![after.name.as_str().into(), after.state.as_str().into(), after.plan.as_str().into(), number.into()];
    change.tx.exec(UPDATE, row).await?;
    change.record("tenant.change", format!("tenant:{number}"), Some(&before), Some(&after))?;
    change.commit(Answer::gone()).await.map(drop)
}

fn one() -> String {
    format!("SELECT {COLUMNS} FROM tenants WHERE tenant = ?")
}

fn read(mut row: Row) -> Result<Tenant, SqlError> {
    Ok(Tenant {
        id: row.int()?.to_string(),
        code: row.text()?,
        name: row.text()?,
        state: row.text_as("tenant state", TenantState::read)?,
        plan: row.text()?,
        version: row.number()?,
        created_at: rfc3339(row.number()?),
    })
}
