//! What other services read without asking this one: the domains of tenants' shops, how many
//! purchases a second their plans allow, and what the operator set. Copied to the ledger's database
//! and made whole again and again, so that nothing of it can stay wrong: a process that died, a
//! copy that met another one, a database that was restored.

use std::{collections::BTreeMap, time::Duration};

use domain::id::TenantId;
use store::sql::{Sql as _, SqlError};

use crate::{control, plans, ports::Ports, refused::Refused, service::Catalog};

/// How often. With the readers' round (3 s) a change is known everywhere in 6 s.
pub(crate) const EVERY: Duration = Duration::from_secs(3);

const DOMAINS: &str = "SELECT domain, tenant FROM tenants WHERE domain IS NOT NULL ORDER BY domain";
const TENANTS: &str = "SELECT tenant, plan FROM tenants WHERE tenant > 0";

/// Makes the copies what the tenants have now.
///
/// # Errors
/// When one of the databases fails, or another process copied at this moment.
pub(crate) async fn make<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let rows = catalog.sql().rows(DOMAINS, vec![]).await?;
    let wanted: Result<BTreeMap<String, TenantId>, SqlError> =
        rows.into_iter().map(|mut row| Ok((row.text()?, row.id(TenantId::new)?))).collect();
    let ledger = &catalog.selling().ledger;
    let domains = ledger.shop_domains().put(&wanted?).await?;
    let rates = ledger.tenant_rates().put(&rates(catalog).await?).await?;
    let controls = ledger.controls().put(&control::held(catalog).await?).await?;
    if domains + rates + controls > 0 {
        tracing::info!(domains, rates, controls, "what other services read changed");
    }
    Ok(())
}

/// The rates of the tenants whose plans set one.
async fn rates<P: Ports>(catalog: &Catalog<P>) -> Result<BTreeMap<TenantId, u32>, Refused> {
    let plans = plans::rates(catalog.sql()).await?;
    if plans.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut rates = BTreeMap::new();
    for mut row in catalog.sql().rows(TENANTS, vec![]).await? {
        let (tenant, plan) = (row.id(TenantId::new)?, row.text()?);
        rates.extend(plans.get(&plan).map(|rate| (tenant, *rate)));
    }
    Ok(rates)
}
