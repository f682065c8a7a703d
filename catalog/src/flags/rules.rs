//! Who has a flag. Pure: the same flag and tenant always give the same.

use kit::digest::sha256;
use serde::{Deserialize, Serialize};
use store::sql::SqlError;
use utoipa::ToSchema;

/// Whether tenants with a plan have a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FlagOfPlan)]
pub(crate) struct PlanRule {
    /// The code of a plan.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,63}$")]
    pub(super) plan: String,
    pub(super) on: bool,
}

/// Whether a tenant has a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FlagOfTenant)]
pub(crate) struct TenantRule {
    /// Its number, as a decimal string.
    #[schema(pattern = "^[1-9][0-9]{0,9}$")]
    pub(super) tenant: String,
    pub(super) on: bool,
}

/// The rules of a flag. What a newer program stored beyond them is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = FlagRules)]
pub(crate) struct Rules {
    /// Whether tenants have it of whom nothing else is said.
    pub(super) default: bool,
    /// How many of a thousand tenants have it by lot.
    pub(super) per_mille: u16,
    /// By plan; of several for one plan the first counts.
    pub(super) plans: Vec<PlanRule>,
    /// By tenant; of several for one tenant the first counts.
    pub(super) tenants: Vec<TenantRule>,
}

impl Rules {
    pub(super) fn read(text: &str) -> Result<Self, SqlError> {
        serde_json::from_str(text).map_err(|error| SqlError::Broken(format!("the rules of a flag: {error}").into()))
    }

    pub(super) fn write(&self) -> Result<String, SqlError> {
        serde_json::to_string(self).map_err(|error| SqlError::Broken(error.to_string().into()))
    }

    /// Whether a tenant with this plan has the flag.
    pub(super) fn is_on(&self, flag: &str, tenant: u32, plan: &str) -> bool {
        let number = tenant.to_string();
        let of_tenant = self.tenants.iter().find(|rule| rule.tenant == number).map(|rule| rule.on);
        let of_plan = || self.plans.iter().find(|rule| rule.plan == plan).map(|rule| rule.on);
        of_tenant.or_else(of_plan).unwrap_or_else(|| lot(flag, tenant) < self.per_mille || self.default)
    }
}

/// A tenant's lot for a flag: 0 to 999, one for each flag, and the same for ever.
fn lot(flag: &str, tenant: u32) -> u16 {
    let digest = sha256(format!("{flag}\n{tenant}").as_bytes());
    digest.iter().take(8).fold(0_u32, |lot, byte| (lot * 256 + u32::from(*byte)) % 1_000).try_into().unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(rules: &Rules, flag: &str) -> Vec<u32> {
        (1..=1_000).filter(|tenant| rules.is_on(flag, *tenant, "free")).collect()
    }

    #[test]
    fn a_tenant_comes_before_its_plan_and_both_before_the_lot() {
        let plans = vec![PlanRule { plan: "free".to_owned(), on: true }];
        let tenants = vec![TenantRule { tenant: "7".to_owned(), on: false }];
        let rules = Rules { plans, tenants, ..Rules::default() };
        assert_eq!(
            [("free", 6), ("free", 7), ("standard", 6)].map(|(plan, id)| rules.is_on("x", id, plan)),
            [true, false, false]
        );
        let all = Rules { default: true, ..rules };
        assert_eq!([("standard", 6), ("standard", 7)].map(|(plan, id)| all.is_on("x", id, plan)), [true, false]);
    }

    #[test]
    fn a_larger_share_only_adds_tenants_and_each_flag_has_its_own() {
        let share = |per_mille| Rules { per_mille, ..Rules::default() };
        let (few, more) = (holders(&share(100), "x"), holders(&share(300), "x"));
        assert!((70..130).contains(&few.len()) && (250..350).contains(&more.len()), "{} {}", few.len(), more.len());
        assert!(few.iter().all(|tenant| more.contains(tenant)));
        assert_ne!(few, holders(&share(100), "y"));
        assert_eq!((holders(&share(0), "x").len(), holders(&share(1_000), "x").len()), (0, 1_000));
    }

    #[test]
    fn a_lot_is_the_same_for_ever() {
        assert_eq!([lot("x", 1), lot("x", 2), lot("y", 1)], [180, 484, 85]);
        assert_eq!(Rules::read(r#"{"default":true,"moons":1}"#).unwrap(), Rules { default: true, ..Rules::default() });
    }
}
