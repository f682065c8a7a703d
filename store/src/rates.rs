//! How many purchases a second a tenant's plan allows, over all engines: each engine reads it. A
//! tenant whose plan sets no rate has no row.

use domain::id::TenantId;

use crate::{
    copies::{Copied, Copies},
    sql::{Row, SqlError, Value},
};

/// The repository of tenants' rates.
pub type TenantRates<S> = Copies<S, Rates>;

/// The table `tenant_rates`.
#[derive(Debug, Clone, Copy)]
pub enum Rates {}

impl Copied for Rates {
    type Key = TenantId;
    type Value = u32;
    const NAME: &'static str = "the tenants' rates";
    const ALL: &'static str = "SELECT tenant, rate_per_s FROM tenant_rates ORDER BY tenant";
    const INSERT: &'static str = "INSERT INTO tenant_rates (tenant, rate_per_s) VALUES (?, ?)";
    const UPDATE: &'static str = "UPDATE tenant_rates SET rate_per_s = ? WHERE tenant = ?";
    const DELETE: &'static str = "DELETE FROM tenant_rates WHERE tenant = ?";

    fn read(mut row: Row) -> Result<(TenantId, u32), SqlError> {
        Ok((row.id(TenantId::new)?, row.number()?))
    }

    fn key(tenant: &TenantId) -> Value {
        tenant.stored().into()
    }

    fn value(rate_per_s: &u32) -> Value {
        (*rate_per_s).into()
    }
}
