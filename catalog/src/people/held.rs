//! What held roles give. Some roles are built in and the same for every tenant; a tenant adds its
//! own.

use kit::access::{Permission, Permissions};
use serde::Serialize;
use store::sql::{Row, Sql, SqlError, Tx};
use utoipa::ToSchema;

use crate::refused::Refused;

/// The role of who may do all of a tenant's. One active person always holds it.
pub(super) const OWNER: &str = "owner";

/// A role that every tenant has.
pub(super) struct BuiltIn {
    code: &'static str,
    name: &'static str,
    permissions: Permissions,
}

const fn built_in(code: &'static str, name: &'static str, permissions: Permissions) -> BuiltIn {
    BuiltIn { code, name, permissions }
}

/// Payments stand apart from orders, and people from both.
pub(super) const BUILT_IN: [BuiltIn; 5] = {
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

/// The tenant's own, for [`all`].
pub(super) const OWN: &str = "SELECT code, name, scope, version FROM roles WHERE tenant = ? ORDER BY code";
const HELD: &str = "SELECT ur.role_code, r.scope FROM users u \
                    JOIN user_roles ur ON ur.tenant = u.tenant AND ur.person = u.person \
                    LEFT JOIN roles r ON r.tenant = ur.tenant AND r.code = ur.role_code \
                    WHERE u.tenant = ? AND u.person = ? AND u.state = 'active'";

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Role {
    /// Its name for programs; stays.
    pub(super) code: String,
    /// Its name for people.
    pub(super) name: String,
    /// What its holders may do.
    pub(super) permissions: Vec<Permission>,
    /// Whether every tenant has it, and nobody changes it.
    pub(super) built_in: bool,
    /// Rises with each change; also the ETag.
    pub(super) version: u64,
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

    pub(super) fn permissions(&self) -> Permissions {
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

/// All roles of a tenant, by code. `own`: what [`OWN`] selects.
pub(super) fn all(own: Vec<Row>) -> Result<Vec<Role>, SqlError> {
    let mut roles = own.into_iter().map(Role::read).collect::<Result<Vec<_>, _>>()?;
    roles.extend(BUILT_IN.iter().map(Role::of_built_in));
    roles.sort_by(|one, other| one.code.cmp(&other.code));
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::is_code;

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
