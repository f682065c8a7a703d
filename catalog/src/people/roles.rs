//! Roles: sets of permissions by name. Some are built in and the same for every tenant; a tenant
//! adds its own. Nobody makes, changes or takes away what he lacks himself.

use kit::{
    access::{
        Permission,
        Permission::{ReadPeople, WritePeople},
        Permissions,
    },
    api::{Access, Call, Route, tagged},
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Row, Sql, SqlError, Tx};
use utoipa::{OpenApi, ToSchema};

use super::person;
use crate::{
    change::{Answer, Begun},
    document::{Changed, Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// The role of who may do all of a tenant's. One active person always holds it.
pub(super) const OWNER: &str = "owner";

/// A role that every tenant has.
struct BuiltIn {
    code: &'static str,
    name: &'static str,
    permissions: Permissions,
}

const fn built_in(code: &'static str, name: &'static str, permissions: Permissions) -> BuiltIn {
    BuiltIn { code, name, permissions }
}

/// Payments stand apart from orders, and people from both.
const BUILT_IN: [BuiltIn; 5] = {
    use Permission::*;
    [
        built_in(OWNER, "Owner", Permissions::of_tenant()),
        built_in(
            "operator",
            "Operator",
            Permissions::of(&[
                ReadSettings,
                WriteSettings,
                ReadProducts,
                WriteProducts,
                ReadStock,
                WriteStock,
                ReadSales,
                WriteSales,
                ReadOrders,
                WriteOrders,
            ]),
        ),
        built_in(
            "finance",
            "Finance",
            Permissions::of(&[ReadSettings, ReadSales, ReadOrders, ReadPayments, WritePayments, ReadAudit]),
        ),
        built_in(
            "support",
            "Support",
            Permissions::of(&[ReadProducts, ReadSales, ReadOrders, WriteOrders, ReadBuyers]),
        ),
        built_in("viewer", "Viewer", Permissions::of(&[ReadSettings, ReadProducts, ReadStock, ReadSales, ReadOrders])),
    ]
};

/// A tenant's own roles, at most.
const OWN_MAX: usize = 100;

const OWN: &str = "SELECT code, name, scope, version FROM roles WHERE tenant = ? ORDER BY code";
const INSERT: &str = "INSERT INTO roles (tenant, code, name, scope, version) VALUES (?, ?, ?, ?, 1)";
const UPDATE: &str = "UPDATE roles SET name = ?, scope = ?, version = version + 1 WHERE tenant = ? AND code = ?";
const DELETE: &str = "DELETE FROM roles WHERE tenant = ? AND code = ?";
const HOLDERS: &str = "SELECT COUNT(*) FROM user_roles WHERE tenant = ? AND role_code = ?";
const HELD: &str = "SELECT ur.role_code, r.scope FROM users u \
                    JOIN user_roles ur ON ur.tenant = u.tenant AND ur.person = u.person \
                    LEFT JOIN roles r ON r.tenant = ur.tenant AND r.code = ur.role_code \
                    WHERE u.tenant = ? AND u.person = ? AND u.state = 'active'";

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Role {
    /// Its name for programs; stays.
    code: String,
    /// Its name for people.
    name: String,
    /// What its holders may do.
    permissions: Vec<Permission>,
    /// Whether every tenant has it, and nobody changes it.
    built_in: bool,
    /// Rises with each change; also the ETag.
    version: u64,
}

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

impl Role {
    fn of_built_in(role: &BuiltIn) -> Self {
        let permissions = role.permissions.iter().collect();
        Self { code: role.code.to_owned(), name: role.name.to_owned(), permissions, built_in: true, version: 1 }
    }

    fn read(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self {
            code: row.text()?,
            name: row.text()?,
            permissions: Permissions::of_scope(&row.text()?).iter().collect(),
            built_in: false,
            version: row.number()?,
        })
    }

    fn permissions(&self) -> Permissions {
        self.permissions.iter().copied().collect()
    }
}

/// What a held role gives: built in, or by the scope of the tenant's own. One that is gone gives
/// nothing.
pub(super) fn permissions_of(code: &str, scope: Option<&str>) -> Permissions {
    match BUILT_IN.iter().find(|role| role.code == code) {
        Some(role) => role.permissions,
        // What is the operator's no role of a tenant gives, whatever its row says.
        None => scope.map_or(Permissions::NONE, Permissions::of_scope).common(Permissions::of_tenant()),
    }
}

/// What these roles give together. All codes that are none are named.
///
/// # Errors
/// `invalid_request` that names them.
pub(super) async fn together<T: Tx>(tx: &mut T, tenant: u32, codes: &[String]) -> Result<Permissions, Refused> {
    let all = all(tx.rows(OWN, vec![tenant.into()]).await?)?;
    let mut sum = Permissions::NONE;
    let mut unknown = Vec::new();
    for (at, code) in codes.iter().enumerate() {
        match all.iter().find(|role| role.code == *code) {
            Some(role) => sum = sum.and(role.permissions()),
            None => unknown.push((format!("roles[{at}]"), "there is no such role; see /v1/roles")),
        }
    }
    if unknown.is_empty() { Ok(sum) } else { Err(Refused::fields(unknown)) }
}

/// What an active person may do now.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn held<T: Tx>(tx: &mut T, tenant: u32, person: i64) -> Result<Permissions, SqlError> {
    sum(tx.rows(HELD, vec![tenant.into(), person.into()]).await?)
}

/// The same, apart from any change.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(crate) async fn held_now<S: Sql>(sql: &S, tenant: u32, person: i64) -> Result<Permissions, SqlError> {
    sum(sql.rows(HELD, vec![tenant.into(), person.into()]).await?)
}

fn sum(rows: Vec<Row>) -> Result<Permissions, SqlError> {
    let mut sum = Permissions::NONE;
    for mut row in rows {
        let (code, scope) = (row.text()?, row.text_or_null()?);
        sum = sum.and(permissions_of(&code, scope.as_deref()));
    }
    Ok(sum)
}

/// All roles of a tenant, by code.
fn all(own: Vec<Row>) -> Result<Vec<Role>, SqlError> {
    let mut roles = own.into_iter().map(Role::read).collect::<Result<Vec<_>, _>>()?;
    roles.extend(BUILT_IN.iter().map(Role::of_built_in));
    roles.sort_by(|one, other| one.code.cmp(&other.code));
    Ok(roles)
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

fn is_code(code: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    code.len() <= 64 && code.starts_with(|first: char| first.is_ascii_lowercase()) && code.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_and_people_stand_apart_from_orders() {
        for role in BUILT_IN.iter().filter(|role| role.code != OWNER) {
            let has = |permission| role.permissions.has(permission);
            assert!(!has(Permission::WritePeople) && !has(Permission::WriteKeys), "{}", role.code);
            assert!(!(has(Permission::WritePayments) && has(Permission::WriteOrders)), "{}", role.code);
            assert!(role.permissions.beyond(Permissions::of_tenant()).is_empty(), "{}", role.code);
            assert!(is_code(role.code), "{}", role.code);
        }
    }

    #[test]
    fn no_row_of_a_role_gives_what_is_the_operators_or_changes_a_built_in_one() {
        assert!(permissions_of("hr", Some("write_tenants read_tenants")).is_empty());
        assert!(permissions_of("hr", None).is_empty());
        assert_eq!(permissions_of("viewer", Some("write_people")), BUILT_IN[4].permissions);
    }
}
