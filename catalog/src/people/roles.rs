//! A tenant's own roles: sets of permissions by name. Nobody makes, changes or takes away what he
//! lacks himself.

use kit::{
    access::{
        Permission::{self, ReadPeople, WritePeople},
        Permissions,
    },
    api::{Access, Call, Route, tagged},
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
};
use serde::Deserialize;
use store::sql::{Sql as _, Tx as _};
use utoipa::{OpenApi, ToSchema};

use super::{
    held::{BUILT_IN, OWN, Role, all},
    person,
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Page, Read},
    plans::is_code,
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// A tenant's own roles, at most.
const OWN_MAX: usize = 100;

const INSERT: &str = "INSERT INTO roles (tenant, code, name, scope, version) VALUES (?, ?, ?, ?, 1)";
const UPDATE: &str = "UPDATE roles SET name = ?, scope = ?, version = version + 1 WHERE tenant = ? AND code = ?";
const DELETE: &str = "DELETE FROM roles WHERE tenant = ? AND code = ?";
const HOLDERS: &str = "SELECT COUNT(*) FROM user_roles WHERE tenant = ? AND role_code = ?";

/// A role as a tenant wants it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleWanted {
    /// Its name for people.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f]*$")]
    name: String,
    /// What its holders may do: nothing that you may not do yourself.
    #[schema(max_items = 64)]
    permissions: Vec<Permission>,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, put, delete))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadPeople), Access::Needs(WritePeople));
    vec![
        Mount::get("/v1/roles", "roles", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::get("/v1/roles/{role}", "role", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::put("/v1/roles/{role}", "put_role", Route::new(write, |catalog, call| Box::pin(put(catalog, call)))),
        Mount::delete(
            "/v1/roles/{role}",
            "delete_role",
            Route::new(write, |catalog, call| Box::pin(delete(catalog, call))),
        ),
    ]
}

/// The tenant's roles, built-in ones too, by code.
#[utoipa::path(
    get, path = "/v1/roles", operation_id = "roles", tag = "people", security(("merchant" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<Role>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let after = asked.cursor.as_deref().unwrap_or_default();
    let rows = catalog.sql().rows(OWN, vec![call.actor.tenant.into()]).await?;
    let roles = all(rows)?.into_iter().filter(|role| *role.code > *after).collect();
    Ok(reply::json(StatusCode::OK, &Page::new(roles, &asked, |role| role.code.clone())))
}

/// A role.
#[utoipa::path(
    get, path = "/v1/roles/{role}", operation_id = "role", tag = "people", security(("merchant" = [])),
    params(("role" = String, Path, description = "Its code.")), responses((status = 200, body = Role), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let code: String = call.part("role")?;
    let rows = catalog.sql().rows(OWN, vec![call.actor.tenant.into()]).await?;
    let role = all(rows)?.into_iter().find(|role| role.code == code).ok_or_else(|| Refused::not_found("role"))?;
    Ok(tagged(reply::json(StatusCode::OK, &role), role.version))
}

/// Makes a role of the tenant's own, or puts another in its place. One that is there is replaced
/// only with its version in `If-Match`; the same content again changes nothing.
#[utoipa::path(
    put, path = "/v1/roles/{role}", operation_id = "put_role", tag = "people", security(("merchant" = [])),
    request_body = RoleWanted,
    params(
        ("role" = String, Path, description = "Its code: small letters, digits and dashes.", pattern = "^[a-z][a-z0-9-]{0,63}$"),
        ("If-Match" = Option<String>, Header)
    ),
    responses((status = 200, body = Role), Changed)
)]
async fn put<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let code: String = call.part("role")?;
    if !is_code(&code) {
        return Err(Refused::fields(vec![("role".to_owned(), "give 1 to 64 small letters, digits and dashes")]));
    }
    let asked: RoleWanted = call.json()?;
    let expected = call.expected_version()?;
    let tenant = call.actor.tenant;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let granter = person::lock_people(&mut change, &call.actor).await?;
    let all = all(change.tx.rows(OWN, vec![tenant.into()]).await?)?;
    let before = all.iter().find(|role| role.code == code);
    if before.is_some_and(|role| role.built_in) {
        return Err(Refused::conflict("this role is built in; make one with another code"));
    }
    let version = before.map_or(1, |role| role.version + 1);
    let permissions: Permissions = asked.permissions.iter().copied().collect();
    let after = Role { code, name: asked.name, permissions: permissions.iter().collect(), built_in: false, version };
    // Whoever holds it loses or gains with it: it takes what it had and what it gets.
    let had = before.map_or(Permissions::NONE, Role::permissions);
    Refused::grant(had.and(permissions), granter)?;
    let scope = permissions.to_scope();
    match before {
        Some(before) if (&before.name, had) == (&after.name, permissions) => {
            return Ok(tagged(reply::json(StatusCode::OK, before), before.version));
        }
        Some(before) if expected != Some(before.version) => return Err(Refused::stale(before)),
        Some(_) => {
            let row =
                vec![after.name.as_str().into(), scope.as_str().into(), tenant.into(), after.code.as_str().into()];
            change.tx.exec(UPDATE, row).await?;
        }
        None if expected.is_some() => return Err(Refused::not_found("role")),
        None if all.len() >= OWN_MAX + BUILT_IN.len() => {
            return Err(Refused::conflict("a tenant has at most 100 roles of its own; delete one"));
        }
        None => {
            let row =
                vec![tenant.into(), after.code.as_str().into(), after.name.as_str().into(), scope.as_str().into()];
            change.tx.exec(INSERT, row).await?;
        }
    }
    change.record("role.put", format!("role:{}", after.code), before, Some(&after))?;
    let answer = Answer::ok(&after)?;
    Ok(tagged(change.commit(answer).await?, version))
}

/// Deletes a role of the tenant's own that nobody holds.
#[utoipa::path(
    delete, path = "/v1/roles/{role}", operation_id = "delete_role", tag = "people", security(("merchant" = [])),
    params(("role" = String, Path, description = "Its code."), ("If-Match" = Option<String>, Header)),
    responses((status = 204), Changed)
)]
async fn delete<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let code: String = call.part("role")?;
    let expected = call.expected_version()?;
    let tenant = call.actor.tenant;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let granter = person::lock_people(&mut change, &call.actor).await?;
    let all = all(change.tx.rows(OWN, vec![tenant.into()]).await?)?;
    let role = all.iter().find(|role| role.code == code).ok_or_else(|| Refused::not_found("role"))?;
    if role.built_in {
        return Err(Refused::conflict("this role is built in, and stays"));
    }
    Refused::unless_seen(expected, role.version, role)?;
    Refused::grant(role.permissions(), granter)?;
    let holders = change.tx.rows(HOLDERS, vec![tenant.into(), code.as_str().into()]).await?;
    let holders: u64 = holders.into_iter().next().map_or(Ok(0), |mut row| row.number())?;
    if holders > 0 {
        return Err(Refused::conflict(format!("{holders} user(s) hold this role; give them others first")));
    }
    change.tx.exec(DELETE, vec![tenant.into(), code.as_str().into()]).await?;
    change.record("role.delete", format!("role:{code}"), Some(role), None)?;
    change.commit(Answer::gone()).await
}
