//! The domains of tenants' shops, copied to the ledger's database for every service that answers
//! their pages. The copy is made whole again and again, so that nothing of it can stay wrong: a
//! process that died, a copy that met another one, a database that was restored.

use std::{collections::BTreeMap, time::Duration};

use domain::id::TenantId;
use store::sql::{Sql as _, SqlError};

use crate::{ports::Ports, refused::Refused, service::Catalog};

/// How often. With the readers' round (3 s) a change is known everywhere in 6 s.
pub(crate) const EVERY: Duration = Duration::from_secs(3);

const ALL: &str = "SELECT domain, tenant FROM tenants WHERE domain IS NOT NULL ORDER BY domain";

/// Makes the copy what the tenants have now.
///
/// # Errors
/// When one of the databases fails, or another process copied at this moment.
pub(crate) async fn copy<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let rows = catalog.sql().rows(ALL, vec![]).await?;
    let wanted: Result<BTreeMap<String, TenantId>, SqlError> =
        rows.into_iter().map(|mut row| Ok((row.text()?, row.id(TenantId::new)?))).collect();
    let changed = catalog.selling().ledger.shop_domains().put(&wanted?).await?;
    if changed > 0 {
        tracing::info!(changed, "shops' domains changed");
    }
    Ok(())
}
