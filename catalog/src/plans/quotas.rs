//! The quotas of a plan, and what is left of them.

use kit::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use store::sql::{Lock, SqlError, Tx, Value};
use utoipa::ToSchema;

use crate::refused::Refused;

/// Locked, so that of two who take the last one at once only one gets it.
const PLAN_OF: &str = "SELECT plan FROM tenants WHERE tenant = ?";
const QUOTAS_OF: &str = "SELECT quotas FROM plans WHERE code = ?";

/// What a plan allows each of its tenants. Null or left out: as much as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Requests of its people and keys a second, of each process of this service.
    #[schema(minimum = 1, maximum = 1000000)]
    pub requests_per_s: Option<u32>,
    /// Requests of its people and keys in a calendar month, UTC.
    #[schema(minimum = 0, maximum = 1000000000000i64)]
    pub requests_per_month: Option<u64>,
    /// Sales that have not ended.
    #[schema(minimum = 0, maximum = 1000000)]
    pub sales: Option<u32>,
    /// Offers of those sales.
    #[schema(minimum = 0, maximum = 1000000)]
    pub offers: Option<u32>,
    /// Webhooks.
    #[schema(minimum = 0, maximum = 1000000)]
    pub webhooks: Option<u32>,
    /// API keys.
    #[schema(minimum = 0, maximum = 1000000)]
    pub keys: Option<u32>,
    /// People.
    #[schema(minimum = 0, maximum = 1000000)]
    pub users: Option<u32>,
    /// Buyers' tokens minted a second.
    #[schema(minimum = 1, maximum = 1000000)]
    pub buyer_tokens_per_s: Option<u32>,
    /// Purchases a second, of all its sales together, over all engines.
    #[schema(minimum = 1, maximum = 10000000)]
    pub tenant_rate_per_s: Option<u32>,
}

impl Quotas {
    /// Reads what [`Quotas::write`] wrote; what a newer program wrote beyond it is passed over.
    pub(crate) fn read(text: &str) -> Result<Self, SqlError> {
        let broken = |error: serde_json::Error| SqlError::Broken(format!("the quotas of a plan: {error}").into());
        let mut members: Map<String, serde_json::Value> = serde_json::from_str(text).map_err(broken)?;
        let known = serde_json::to_value(Self::default()).map_err(broken)?;
        members.retain(|name, _| known.get(name).is_some());
        serde_json::from_value(members.into()).map_err(broken)
    }

    pub(crate) fn write(&self) -> Result<String, SqlError> {
        serde_json::to_string(self).map_err(|error| SqlError::Broken(error.to_string().into()))
    }
}

/// What a tenant has some of, in a table of this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    /// API keys.
    Keys,
    /// People.
    Users,
    /// Sales that have not ended by then, in milliseconds since 1970.
    Sales(i64),
    /// Offers of those sales.
    Offers(i64),
}

impl Quota {
    const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Users => "users",
            Self::Sales(_) => "sales",
            Self::Offers(_) => "offers",
        }
    }

    const fn limit(self, quotas: &Quotas) -> Option<u32> {
        match self {
            Self::Keys => quotas.keys,
            Self::Users => quotas.users,
            Self::Sales(_) => quotas.sales,
            Self::Offers(_) => quotas.offers,
        }
    }

    /// How many a tenant has.
    const fn counted(self) -> &'static str {
        match self {
            Self::Keys => "SELECT COUNT(*) FROM api_keys WHERE tenant = ?",
            Self::Users => "SELECT COUNT(*) FROM users WHERE tenant = ?",
            Self::Sales(_) => {
                "SELECT COUNT(*) FROM sales WHERE tenant = ? AND (published > 0 OR is_due = 1) AND closes_at > ?"
            }
            Self::Offers(_) => {
                "SELECT CAST(COALESCE(SUM(offers), 0) AS SIGNED) FROM sales \
                 WHERE tenant = ? AND (published > 0 OR is_due = 1) AND closes_at > ?"
            }
        }
    }

    fn values(self, tenant: u32) -> Vec<Value> {
        match self {
            Self::Keys | Self::Users => vec![tenant.into()],
            Self::Sales(now_ms) | Self::Offers(now_ms) => vec![tenant.into(), now_ms.into()],
        }
    }
}

/// What a tenant's plan has room for. The tenant's row is locked until the transaction ends: look
/// before rows are added, and before other rows are locked.
pub(crate) struct Room {
    tenant: u32,
    plan: String,
    quotas: Quotas,
}

impl Room {
    /// Of this tenant.
    ///
    /// # Errors
    /// `not_found` without such a tenant.
    pub(crate) async fn of<T: Tx>(tx: &mut T, tenant: u32) -> Result<Self, Refused> {
        let plan = tx.lock_rows(PLAN_OF, vec![tenant.into()], Lock::Wait).await?.into_iter().next();
        let plan = plan.ok_or_else(|| Refused::not_found("tenant"))?.text()?;
        let quotas = tx.rows(QUOTAS_OF, vec![plan.as_str().into()]).await?.into_iter().next();
        let vanished = || SqlError::Broken(format!("there is no plan `{plan}`, which tenant {tenant} has").into());
        let quotas = Quotas::read(&quotas.ok_or_else(vanished)?.text()?)?;
        Ok(Self { tenant, plan, quotas })
    }

    /// Sees that there is room for so many more; for none there always is.
    ///
    /// # Errors
    /// `quota_exceeded` that names the quota, its limit and what is used.
    pub(crate) async fn has<T: Tx>(&self, tx: &mut T, quota: Quota, wanted: usize) -> Result<(), Refused> {
        let Some(limit) = quota.limit(&self.quotas).map(u64::from).filter(|_| wanted > 0) else { return Ok(()) };
        let used = tx.rows(quota.counted(), quota.values(self.tenant)).await?.into_iter().next();
        let used: u64 = used.ok_or_else(|| SqlError::Broken("a count has no row".into()))?.number()?;
        if used.saturating_add(u64::try_from(wanted).unwrap_or(u64::MAX)) <= limit {
            Ok(())
        } else {
            Err(exceeded(quota.name(), &self.plan, limit, used))
        }
    }
}

/// Sees that the tenant's plan has room for one more.
///
/// # Errors
/// As [`Room::of`] and [`Room::has`].
pub(crate) async fn room_for<T: Tx>(tx: &mut T, tenant: u32, quota: Quota) -> Result<(), Refused> {
    Room::of(tx, tenant).await?.has(tx, quota, 1).await
}

/// The refusal of what a plan does not allow.
pub(crate) fn exceeded(quota: &'static str, plan: &str, limit: u64, used: u64) -> Refused {
    let detail =
        format!("the plan `{plan}` allows {limit} of `{quota}`, and {used} are used: the operator may raise it");
    let current = json!({ "quota": quota, "limit": limit, "used": used });
    Problem::new(Code::QuotaExceeded, detail).with_current(&current).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_read_back_and_those_of_a_newer_program_are_passed_over() {
        let quotas = Quotas { keys: Some(5), requests_per_month: Some(0), ..Quotas::default() };
        assert_eq!(Quotas::read(&quotas.write().unwrap()), Ok(quotas));
        assert_eq!(
            Quotas::read(r#"{"keys":5,"moons":1,"users":null}"#),
            Ok(Quotas { keys: Some(5), ..Quotas::default() })
        );
        assert!(Quotas::read(r#"{"keys":-1}"#).is_err());
    }

    /// The plans that a new database has.
    #[test]
    fn the_seeded_plans_are_plans() {
        let migration = include_str!("../../migrations/002-tenants.sql");
        let seeded: Vec<&str> = migration.split('\'').filter(|text| text.starts_with('{')).collect();
        assert_eq!(seeded.len(), 3);
        for text in seeded {
            let quotas = Quotas::read(text).unwrap();
            let known: Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
            let read = json!(quotas);
            assert!(known.iter().all(|(name, value)| read[name] == *value), "{text}");
        }
    }
}
