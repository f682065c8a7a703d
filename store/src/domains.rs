//! At which domains tenants' shops have their pages: every service reads it that answers pages.

use domain::id::TenantId;

use crate::{
    copies::{Copied, Copies},
    sql::{Row, SqlError, Value},
};

/// The repository of shops' domains, each with its tenant.
pub type ShopDomains<S> = Copies<S, Domains>;

/// The table `shop_domains`.
#[derive(Debug, Clone, Copy)]
pub enum Domains {}

impl Copied for Domains {
    type Key = String;
    type Value = TenantId;
    const NAME: &'static str = "the shops' domains";
    const ALL: &'static str = "SELECT domain, tenant FROM shop_domains ORDER BY domain";
    const INSERT: &'static str = "INSERT INTO shop_domains (domain, tenant) VALUES (?, ?)";
    const UPDATE: &'static str = "UPDATE shop_domains SET tenant = ? WHERE domain = ?";
    const DELETE: &'static str = "DELETE FROM shop_domains WHERE domain = ?";

    fn read(mut row: Row) -> Result<(String, TenantId), SqlError> {
        Ok((row.text()?, row.id(TenantId::new)?))
    }

    fn key(domain: &String) -> Value {
        domain.as_str().into()
    }

    fn value(tenant: &TenantId) -> Value {
        tenant.stored().into()
    }
}
