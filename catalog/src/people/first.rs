//! The first owner of an empty deployment, so that whoever starts one can sign in.

use std::net::{IpAddr, Ipv4Addr};

use kit::{access::Who, clock::Clock as _};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx, stored};

use super::{
    held, invitations,
    person::{self, PEOPLE, Profile},
    users,
};
use crate::{
    audit::{self, Entry, Origin},
    ports::Ports,
    refused::Refused,
    service::Catalog,
    tenants::TENANTS,
};

/// The demo tenant's code.
const CODE: &str = "demo";
/// Its plan: a deployment for one shop has no quotas.
const PLAN: &str = "unlimited";

const CODE_OF: &str = "SELECT code FROM tenants WHERE tenant = ?";
const INSERT: &str = "INSERT INTO tenants (tenant, code, name, state, plan, branding, version, created_at) \
                      VALUES (?, ?, ?, 'open', ?, '{}', 1, ?)";
const OWNER: &str = "SELECT u.person, u.password <> '' FROM user_roles ur \
                     JOIN users u ON u.tenant = ur.tenant AND u.person = ur.person \
                     WHERE ur.tenant = ? AND ur.role_code = ? ORDER BY u.person LIMIT 1";

/// The demo tenant, and how its owner comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstOwner {
    /// The tenant's number.
    pub tenant: u32,
    /// The tenant's code, for logins.
    pub code: &'static str,
    /// A one-use token for `POST /v1/passwords`; `None` once the owner has a password. Earlier ones
    /// are over.
    pub invitation: Option<String>,
}

/// Makes the demo tenant, under this number, and its owner where there is none. Called again it
/// makes none, and gives another invitation as long as the owner has no password; of several
/// processes at once one makes them. `None` when the deployment has another tenant in their place.
///
/// # Errors
/// [`Refused::Sql`] when the database fails, [`Refused::Random`].
pub async fn first_owner<P: Ports>(
    catalog: &Catalog<P>,
    (tenant, tenant_name): (u32, &str),
    email: &str,
) -> Result<Option<FirstOwner>, Refused> {
    let now_ms = catalog.clock().now_ms();
    catalog.numbers().begin_at(TENANTS, i64::from(tenant) + 1).await?;
    let number = catalog.numbers().take(PEOPLE).await?;
    let mut tx = catalog.sql().begin().await?;
    let row = [tenant.into(), CODE.into(), tenant_name.into(), PLAN.into(), stored(now_ms)?.into()];
    let is_new = tx.insert_absent(INSERT, row.into()).await?;
    let found = tx.lock_rows(CODE_OF, vec![tenant.into()], Lock::Wait).await?.into_iter().next();
    let code = found.map(|mut row: Row| row.text()).transpose()?;
    if code.as_deref() != Some(CODE) {
        return Ok(None);
    }
    let owner = tx.rows(OWNER, vec![tenant.into(), held::OWNER.into()]).await?.into_iter().next();
    let owner = owner.map(|mut row: Row| Ok::<_, SqlError>((row.int()?, row.int()? != 0))).transpose()?;
    let mut entries = Vec::new();
    if is_new {
        entries.push(Entry::new::<()>("tenant.create", format!("tenant:{tenant}"), None, None)?);
    }
    let person = match owner {
        Some((_, true)) => None,
        Some((person, false)) => Some(person),
        None => {
            let profile = Profile { email: email.to_owned(), name: "Owner".to_owned() };
            let made = (tenant, (number, now_ms));
            if !users::insert(catalog, &mut tx, made, &profile, &[held::OWNER.to_owned()]).await? {
                return Err(Refused::conflict("somebody of the demo tenant has this address, and is no owner"));
            }
            entries.push(Entry::new::<()>("user.create", person::target(number), None, None)?);
            Some(number)
        }
    };
    let invitation = match person {
        Some(person) => Some(invitations::invite(&mut tx, catalog.random(), (tenant, person), now_ms).await?),
        None => None,
    };
    audit::append(&mut tx, &origin(tenant, now_ms), &entries).await?;
    tx.commit().await?;
    Ok(Some(FirstOwner { tenant, code: CODE, invitation: invitation.map(|made| made.into_token()) }))
}

/// Nobody asked: the program's own doing.
fn origin(tenant: u32, at_ms: u64) -> Origin {
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Origin { tenant, who: Who::Operator, at_ms, trace: String::new(), address }
}
