//! The stored person, and what every change of people keeps: those of one tenant come one after the
//! other, nobody changes whom he could not have made, and one active owner stays.

use bytes::Bytes;
use kit::{
    access::{Actor, Permissions, Who},
    clock::rfc3339,
    digest::hex,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql, SqlError, Tx};
use utoipa::ToSchema;

use super::{held, lockout::Account};
use crate::{change::Change, numbers::Numbered, ports::Ports, refused::Refused, service::Catalog, vault::Person};

/// The numbers of people.
pub(super) const PEOPLE: Numbered = Numbered("user");

/// As `users.totp` has it: a second factor is asked for at login.
pub(super) const SECOND_FACTOR_ON: i64 = 2;

const USERS: &str = "SELECT person, profile, state, password <> '', totp, version, created_at FROM users \
                     WHERE tenant = ? AND person >= ? ORDER BY person LIMIT ?";
const ROLES: &str = "SELECT person, role_code FROM user_roles WHERE tenant = ? AND person >= ? AND person <= ? \
                     ORDER BY person, role_code";
const VERSION: &str = "SELECT version FROM users WHERE tenant = ? AND person = ?";
const LOCK_TENANT: &str = "SELECT tenant FROM tenants WHERE tenant = ?";
const OTHER_OWNERS: &str = "SELECT COUNT(*) FROM user_roles ur \
                            JOIN users u ON u.tenant = ur.tenant AND u.person = ur.person \
                            WHERE ur.tenant = ? AND ur.role_code = ? AND ur.person <> ? \
                            AND u.state = 'active' AND u.password <> ''";

/// Whether a person may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UserState {
    /// The person may.
    Active,
    /// Not any more, and whoever was signed in is not.
    Disabled,
}

impl UserState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        [Self::Active, Self::Disabled].into_iter().find(|state| state.as_str() == text)
    }
}

/// One of a tenant's people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct User {
    /// The user's number, as a decimal string.
    pub(super) id: String,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) state: UserState,
    /// Codes of the roles that the user holds.
    pub(super) roles: Vec<String>,
    /// Whether the user has no password yet.
    pub(super) invited: bool,
    /// Whether a second factor is asked for at login.
    pub(super) second_factor: bool,
    /// Rises with each change; also the ETag.
    pub(super) version: u64,
    /// When the user was made, RFC 3339.
    pub(super) created_at: String,
}

impl User {
    /// Whether it is one of the owners who can do something.
    pub(super) fn is_acting_owner(&self) -> bool {
        self.state == UserState::Active && self.roles.iter().any(|role| role == held::OWNER)
    }

    /// What the audit log says of it: no personal data. That another address or name was given
    /// shows in the version alone.
    pub(super) fn audited(&self) -> Audited<'_> {
        let Self { state, roles, second_factor, version, .. } = self;
        Audited { state: *state, roles, second_factor: *second_factor, version: *version }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Audited<'a> {
    state: UserState,
    roles: &'a [String],
    second_factor: bool,
    version: u64,
}

/// What is personal: sealed as one text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Profile {
    pub(super) email: String,
    pub(super) name: String,
}

impl Profile {
    pub(super) fn to_text(&self) -> Result<String, Refused> {
        serde_json::to_string(self).map_err(|error| Refused::Broken(error.to_string()))
    }
}

/// What is audited as `user:7`.
pub(super) fn target(person: i64) -> String {
    format!("user:{person}")
}

/// A person who proved who he is. What he may do is looked up where it matters.
pub(super) fn proven(tenant: u32, person: i64) -> Result<Actor, Refused> {
    let number = u64::try_from(person).map_err(|error| Refused::Broken(error.to_string()))?;
    Ok(Actor { who: Who::Person(number), tenant, permissions: Permissions::NONE })
}

/// What an address of this tenant is found by: the same in whatever case it is typed.
pub(super) fn account<P: Ports>(catalog: &Catalog<P>, tenant: u32, email: &str) -> Account {
    let digest = catalog.vault().index("user-email", &email.to_lowercase());
    Account { tenant, email_digest: hex(&digest) }
}

/// At most `count` people of a tenant from this number on.
pub(super) async fn list<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    (from, count): (i64, u32),
) -> Result<Vec<User>, Refused> {
    let rows = catalog.sql().rows(USERS, vec![tenant.into(), from.into(), count.into()]).await?;
    let mut users = Vec::new();
    for row in rows {
        users.push(read(catalog, tenant, row).await?);
    }
    let Some(last) = users.last().map(|(number, _)| *number) else { return Ok(Vec::new()) };
    for mut row in catalog.sql().rows(ROLES, vec![tenant.into(), from.into(), last.into()]).await? {
        let (person, role) = (row.int()?, row.text()?);
        if let Some((_, user)) = users.iter_mut().find(|(number, _)| *number == person) {
            user.roles.push(role);
        }
    }
    Ok(users.into_iter().map(|(_, user)| user).collect())
}

/// One of a tenant's people.
///
/// # Errors
/// `not_found`.
pub(super) async fn find<P: Ports>(catalog: &Catalog<P>, tenant: u32, person: i64) -> Result<User, Refused> {
    let found = list(catalog, tenant, (person, 1)).await?.into_iter().next();
    found.filter(|user| user.id == person.to_string()).ok_or_else(|| Refused::not_found("user"))
}

async fn read<P: Ports>(catalog: &Catalog<P>, tenant: u32, mut row: Row) -> Result<(i64, User), Refused> {
    let (number, sealed): (i64, Bytes) = (row.int()?, row.bytes()?);
    let profile = catalog.vault().open(catalog.sql(), (tenant, Person::User(number)), &sealed).await?;
    let Profile { email, name } = serde_json::from_str(&profile).map_err(|error| Refused::Broken(error.to_string()))?;
    let user = User {
        id: number.to_string(),
        email,
        name,
        state: row.text_as("state of a user", UserState::read)?,
        roles: Vec::new(),
        invited: row.int()? == 0,
        second_factor: row.int()? == SECOND_FACTOR_ON,
        version: row.number()?,
        created_at: rfc3339(row.number()?),
    };
    Ok((number, user))
}

/// Waits until nobody else changes people or roles of the tenant, and says what the actor may grant
/// now: what he might do when his request came may be over.
///
/// # Errors
/// `not_found` when there is no such tenant.
pub(super) async fn lock_people<T: Tx>(change: &mut Change<T>, actor: &Actor) -> Result<Permissions, Refused> {
    let tenant = change.tx.lock_rows(LOCK_TENANT, vec![actor.tenant.into()], Lock::Wait).await?;
    if tenant.is_empty() {
        return Err(Refused::not_found("tenant"));
    }
    match actor.who {
        Who::Person(number) => {
            let person = i64::try_from(number).map_err(|error| Refused::Broken(error.to_string()))?;
            Ok(held::held(&mut change.tx, actor.tenant, person).await?)
        }
        Who::Key(_) | Who::Operator | Who::Nobody => Ok(actor.permissions),
    }
}

/// Sees that a person is as it was read before the transaction; else all is tried again.
///
/// # Errors
/// [`SqlError::LockWait`] when it was changed meanwhile, `not_found` when it is gone.
pub(super) async fn still_is<T: Tx>(tx: &mut T, tenant: u32, user: &User, person: i64) -> Result<(), Refused> {
    let rows = tx.lock_rows(VERSION, vec![tenant.into(), person.into()], Lock::Wait).await?;
    let mut row = rows.into_iter().next().ok_or_else(|| Refused::not_found("user"))?;
    if row.number::<u64>()? == user.version {
        return Ok(());
    }
    Err(SqlError::LockWait("a user was changed meanwhile".into()).into())
}

/// Whoever changes a person may do all that the person may, before and after.
pub(super) async fn may_change<T: Tx>(
    tx: &mut T,
    tenant: u32,
    (before, after): (&User, Option<&User>),
    granter: Permissions,
) -> Result<(), Refused> {
    let had = held::together(tx, tenant, &before.roles).await?;
    let gets = match after {
        Some(after) => held::together(tx, tenant, &after.roles).await?,
        None => Permissions::NONE,
    };
    Refused::grant(had.and(gets), granter)
}

/// Sees that an owner is left who can sign in, when this one is none any more.
///
/// # Errors
/// `conflict` when there is no other.
pub(super) async fn keep_an_owner<T: Tx>(tx: &mut T, tenant: u32, person: i64) -> Result<(), Refused> {
    let rows = tx.rows(OTHER_OWNERS, vec![tenant.into(), held::OWNER.into(), person.into()]).await?;
    let others: u64 = rows.into_iter().next().map_or(Ok(0), |mut row| row.number())?;
    if others > 0 {
        return Ok(());
    }
    Err(Refused::conflict("the last owner stays active and an owner; make somebody else one first"))
}
