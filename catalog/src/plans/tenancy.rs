//! How a tenant stands with the deployment: what every request of its people and keys is held
//! against.

use serde::{Deserialize, Serialize};
use store::sql::Sql;
use utoipa::ToSchema;

use super::Quotas;
use crate::refused::Refused;

const TENANCY: &str =
    "SELECT t.state, t.plan, p.quotas FROM tenants t JOIN plans p ON p.code = t.plan WHERE t.tenant = ?";

/// Whether a tenant may sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TenantState {
    /// It may.
    Open,
    /// Its people and keys may read, and change nothing.
    Suspended,
}

impl TenantState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Suspended => "suspended",
        }
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        [Self::Open, Self::Suspended].into_iter().find(|state| state.as_str() == text)
    }
}

/// How a tenant stands with the deployment.
#[derive(Debug, Clone)]
pub(crate) struct Tenancy {
    pub(crate) state: TenantState,
    pub(crate) plan: String,
    pub(crate) quotas: Quotas,
}

/// How this tenant stands; `None` when there is no such tenant.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn tenancy<S: Sql>(sql: &S, tenant: u32) -> Result<Option<Tenancy>, Refused> {
    let rows = sql.rows(TENANCY, vec![tenant.into()]).await?;
    let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
    let state = row.text_as("tenant state", TenantState::read)?;
    Ok(Some(Tenancy { state, plan: row.text()?, quotas: Quotas::read(&row.text()?)? }))
}
