//! The tenants that a key may sign for: whoever learns the secret of one shop's issuer can then
//! make no token of another shop.

use std::fmt;
use std::str::FromStr;

/// Written in place of a list: every tenant.
const ALL: &str = "*";

/// Stands between the tenants of one key; the comma stands between keys.
const SEPARATOR: char = '+';

/// The tenants that a key may sign for, written `*` or as ids joined by `+`: `7` or `7+8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// Every tenant of the deployment, those to come included.
    All,
    /// These, at least one.
    Only(Box<[u32]>),
}

/// Says what a list of tenants must look like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no tenants: give `*` for every tenant, or ids from 1 to {max} joined by `+`, such as `7+8`", max = u32::MAX)]
pub struct TenantsError(String);

impl Tenants {
    /// Whether the key may sign for this tenant.
    #[must_use]
    pub fn include(&self, tenant: u32) -> bool {
        match self {
            Self::All => true,
            Self::Only(tenants) => tenants.contains(&tenant),
        }
    }
}

impl FromStr for Tenants {
    type Err = TenantsError;

    fn from_str(text: &str) -> Result<Self, TenantsError> {
        if text == ALL {
            return Ok(Self::All);
        }
        let tenant = |text: &str| text.parse().ok().filter(|tenant| *tenant > 0 && u32::to_string(tenant) == text);
        let tenants: Option<Vec<u32>> = text.split(SEPARATOR).map(tenant).collect();
        tenants.map(|tenants| Self::Only(tenants.into())).ok_or_else(|| TenantsError(text.to_owned()))
    }
}

impl fmt::Display for Tenants {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str(ALL),
            Self::Only(tenants) => {
                let tenants: Vec<String> = tenants.iter().map(u32::to_string).collect();
                formatter.write_str(&tenants.join(&SEPARATOR.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_all_or_a_list_in_their_one_spelling() {
        let parsed = |text: &str| text.parse::<Tenants>();
        assert_eq!(parsed("*"), Ok(Tenants::All));
        assert_eq!(parsed("7"), Ok(Tenants::Only([7].into())));
        assert_eq!(parsed("7+4294967295"), Ok(Tenants::Only([7, u32::MAX].into())));
        for bad in ["", "0", "+", "7+", "+7", "07", "7 8", "7,8", "4294967296", "-1", "*+7", "all"] {
            assert_eq!(parsed(bad), Err(TenantsError(bad.to_owned())), "{bad}");
        }
        for text in ["*", "7", "7+8"] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_list_includes_what_it_names() {
        let tenants: Tenants = "7+8".parse().unwrap();
        assert!(tenants.include(7) && tenants.include(8) && !tenants.include(9) && !tenants.include(78));
        assert!(Tenants::All.include(u32::MAX));
    }
}
