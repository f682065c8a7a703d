//! The namespace of a deployment: what the names of its keys, topics and databases begin with.

use std::{fmt, str::FromStr};

use crate::shard::ShardId;

/// Characters of a namespace, at most. A database's name has at most 64, a topic's 249; this leaves
/// room for what follows in every one of them.
pub const NAMESPACE_MAX: usize = 31;

/// What names of a deployment begin with: a small letter, then small letters, digits and
/// underscores, [`NAMESPACE_MAX`] in all. So it needs no quotes in any of the stores.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(String);

/// A text that cannot begin the names of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no namespace: give a small letter, then small letters, digits and underscores, at most {NAMESPACE_MAX}"
)]
pub struct InvalidNamespace(String);

impl Namespace {
    /// Takes a text of this shape.
    ///
    /// # Errors
    /// [`InvalidNamespace`] for anything else.
    pub fn new(text: &str) -> Result<Self, InvalidNamespace> {
        let fits = text.len() <= NAMESPACE_MAX
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidNamespace(text.to_owned())) }
    }

    /// The text, as it begins a name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The database of the ledger.
    pub fn ledger(&self) -> String {
        format!("{}_ledger", self.0)
    }

    /// The database of tenants, people, products and stock.
    pub fn catalog(&self) -> String {
        format!("{}_catalog", self.0)
    }

    /// The database of commissions.
    pub fn distribution(&self) -> String {
        format!("{}_distribution", self.0)
    }

    /// The database of a shard.
    pub fn orders(&self, shard: ShardId) -> String {
        format!("{}_orders_{:02}", self.0, shard.0)
    }

    /// The database of the merchants' lists of orders.
    pub fn listing(&self) -> String {
        format!("{}_listing", self.0)
    }

    /// Whether this is one of these databases.
    pub fn owns(&self, database: &str) -> bool {
        let rest = database.strip_prefix(&self.0);
        let number = rest.and_then(|rest| rest.strip_prefix("_orders_"));
        [self.ledger(), self.catalog(), self.listing(), self.distribution()].iter().any(|name| name == database)
            || number.is_some_and(|n| n.len() == 2 && n.bytes().all(|b| b.is_ascii_digit()))
    }
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, InvalidNamespace> {
        Self::new(text)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_fit_every_name_they_begin() {
        for good in ["a", "flashsale", "t_1", &"a".repeat(NAMESPACE_MAX)] {
            assert_eq!(good.parse::<Namespace>().unwrap().to_string(), good);
        }
        for bad in ["", "1a", "_a", "A", "a-b", "a.b", "a b", "é", "a;drop", &"a".repeat(NAMESPACE_MAX + 1)] {
            assert_eq!(bad.parse::<Namespace>(), Err(InvalidNamespace(bad.into())), "{bad}");
        }
    }

    #[test]
    fn a_namespace_owns_its_databases_only() {
        let shop = Namespace::new("shop").unwrap();
        assert!(
            ["shop_ledger", "shop_catalog", "shop_distribution", "shop_orders_00"].iter().all(|name| shop.owns(name))
        );
        for other in ["shop", "shop2_ledger", "shop_x_ledger", "shop_orders_0", "shop_orders_00x", "mysql", "shop_x"] {
            assert!(!shop.owns(other), "{other}");
        }
        for bad in ["", "1a", "Shop", "a-b", "a b", "a`b", "ä", &"a".repeat(41)] {
            assert!(Namespace::new(bad).is_err(), "{bad:?}");
        }
    }
}
