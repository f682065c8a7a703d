//! Who may do what. People and API keys hold permissions of one vocabulary, by which every service
//! guards its routes. A buyer's token is none of this ([`crate::token`]): it holds no permission.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! permissions {
    ($($(#[$docs:meta])* $variant:ident = $name:literal;)*) => {
        /// What somebody may do: `read_` or `write_` and the things. Who may write may not
        /// therefore read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Permission {
            $($(#[$docs])* $variant,)*
        }

        impl Permission {
            /// Every permission, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name, as roles, keys and tokens hold it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

permissions! {
    /// All tenants of the deployment: its operator's alone, never of a tenant's people or keys.
    ReadTenants = "read_tenants";
    /// As the one before: makes tenants, sets their plans.
    WriteTenants = "write_tenants";
    /// The own tenant: branding, plan, usage, flags.
    ReadSettings = "read_settings";
    /// Branding, flags, custom fields.
    WriteSettings = "write_settings";
    /// People and roles.
    ReadPeople = "read_people";
    /// People and roles: nobody grants what he lacks.
    WritePeople = "write_people";
    /// API keys, without their secrets.
    ReadKeys = "read_keys";
    /// API keys: nobody grants what he lacks.
    WriteKeys = "write_keys";
    /// The audit log.
    ReadAudit = "read_audit";
    /// Products, SKUs, images.
    ReadProducts = "read_products";
    /// Products, SKUs, images.
    WriteProducts = "write_products";
    /// Warehouses, stock, movements.
    ReadStock = "read_stock";
    /// Warehouses, stock, movements.
    WriteStock = "write_stock";
    /// Sales and offers.
    ReadSales = "read_sales";
    /// Sales and offers.
    WriteSales = "write_sales";
    /// Orders of all buyers.
    ReadOrders = "read_orders";
    /// Cancels and ships.
    WriteOrders = "write_orders";
    /// Payments, refunds, settlement.
    ReadPayments = "read_payments";
    /// Payments and refunds.
    WritePayments = "write_payments";
    /// Buyers' personal data.
    ReadBuyers = "read_buyers";
    /// Exports and erases buyers' personal data.
    WriteBuyers = "write_buyers";
    /// Mints buyers' tokens: a shop's own server.
    WriteBuyerTokens = "write_buyer_tokens";
}

const _: () = assert!(Permission::ALL.len() <= u64::BITS as usize);

/// A name that is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no permission `{0}`")]
pub struct UnknownPermission(pub String);

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(name: &str) -> Result<Self, UnknownPermission> {
        let named = Self::ALL.iter().find(|permission| permission.as_str() == name);
        named.copied().ok_or_else(|| UnknownPermission(name.to_owned()))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Permissions(u64);

impl Permissions {
    /// None.
    pub const NONE: Self = Self(0);

    /// These.
    #[must_use]
    pub const fn of(list: &[Permission]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < list.len() {
            bits |= 1 << list[at] as u64;
            at += 1;
        }
        Self(bits)
    }

    /// Every permission of a tenant: all but those of the deployment's operator.
    #[must_use]
    pub const fn of_tenant() -> Self {
        Self(Self::of(Permission::ALL).0 & !Self::of_operator().0)
    }

    /// Those of the deployment's operator.
    #[must_use]
    pub const fn of_operator() -> Self {
        Self::of(&[Permission::ReadTenants, Permission::WriteTenants])
    }

    /// Whether this one is among them.
    #[must_use]
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u64) != 0
    }

    /// What `self` has and `others` have not; empty when `others` cover it.
    #[must_use]
    pub const fn beyond(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// What both have.
    #[must_use]
    pub const fn common(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.has(*permission))
    }

    /// Their names, separated by blanks, as a token's claim `scope` has them (RFC 8693, 4.2).
    #[must_use]
    pub fn to_scope(self) -> String {
        self.iter().map(Permission::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The permissions that a `scope` names. Names that this program does not know give nothing.
    #[must_use]
    pub fn of_scope(scope: &str) -> Self {
        scope.split(' ').filter_map(|name| name.parse().ok()).collect()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::NONE, |all, permission| all.and(Self::of(&[permission])))
    }
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// A person, by the number of the user.
    Person(u64),
    /// A program, by the number of its API key.
    Key(u64),
    /// Whoever operates the deployment.
    Operator,
    /// Somebody without a token.
    Nobody,
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(number) => write!(formatter, "user:{number}"),
            Self::Key(number) => write!(formatter, "key:{number}"),
            Self::Operator => formatter.write_str("operator"),
            Self::Nobody => formatter.write_str("nobody"),
        }
    }
}

/// A text that names nobody that can be known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give user:NUMBER, key:NUMBER or operator")]
pub struct UnknownWho;

impl FromStr for Who {
    type Err = UnknownWho;

    fn from_str(text: &str) -> Result<Self, UnknownWho> {
        let number = |prefix: &str| text.strip_prefix(prefix)?.parse().ok();
        let numbered = || number("user:").map(Self::Person).or_else(|| number("key:").map(Self::Key));
        if text == "operator" { Ok(Self::Operator) } else { numbered().ok_or(UnknownWho) }
    }
}

/// Who asks, for which tenant, and what he may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub who: Who,
    /// The tenant he acts for; 0 for the deployment's operator, who is of none.
    pub tenant: u32,
    /// What he may do there.
    pub permissions: Permissions,
}

impl Actor {
    /// Somebody without a token, who may do nothing.
    pub const NOBODY: Self = Self { who: Who::Nobody, tenant: 0, permissions: Permissions::NONE };
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_those_of_serde() {
        let names: HashSet<&str> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
        assert_eq!(names.len(), Permission::ALL.len());
        for permission in Permission::ALL {
            assert_eq!(serde_json::to_value(permission).unwrap(), permission.as_str());
            assert_eq!(permission.as_str().parse(), Ok(*permission));
        }
    }

    #[test]
    fn a_scope_reads_back_and_unknown_names_give_nothing() {
        let some: Permissions = [Permission::ReadStock, Permission::WriteSales].into_iter().collect();
        assert_eq!(some.to_scope(), "read_stock write_sales");
        assert_eq!(Permissions::of_scope("write_sales read_everything read_stock"), some);
        assert_eq!(some.beyond(Permissions::of(&[Permission::ReadStock])).to_scope(), "write_sales");
    }

    #[test]
    fn who_acts_is_read_as_it_is_written() {
        for who in [Who::Person(7), Who::Key(u64::MAX), Who::Operator] {
            assert_eq!(who.to_string().parse(), Ok(who));
        }
        for none in ["nobody", "user:", "user:x", "key:-1", "", "User:7"] {
            assert_eq!(none.parse::<Who>(), Err(UnknownWho), "{none}");
        }
    }

    #[test]
    fn a_tenant_never_has_what_is_the_operators() {
        assert!(Permissions::of_tenant().common(Permissions::of_operator()).is_empty());
    }
}
