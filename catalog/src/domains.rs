//! The domains of tenants' shops, copied to the ledger's database for every service that answers
//! their pages. The copy is made whole again and again, so that nothing of it can stay wrong: a
//! process that died, a copy that met another one, a database that was restored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::id::TenantId;
use store::{
    domains::ShopDomains,
    sql::{Sql, SqlError},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{ports::Ports, service::Catalog};

/// How often. With the readers' round (3 s) a change is known everywhere in 6 s.
const EVERY: Duration = Duration::from_secs(3);

const ALL: &str = "SELECT domain, tenant FROM tenants WHERE domain IS NOT NULL ORDER BY domain";

/// Keeps the copy until `stop`. Every process of the service does it.
pub async fn keep<P: Ports, S: Sql>(catalog: Arc<Catalog<P>>, copy: ShopDomains<S>, stop: CancellationToken) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        match copy_once(&catalog, &copy).await {
            Ok(0) => {}
            Ok(changed) => tracing::info!(changed, "shops' domains changed"),
            Err(error) => tracing::warn!(%error, "shops' domains were not copied; they are copied again"),
        }
    }
}

/// Makes the copy what the tenants have now; returns how many domains changed.
///
/// # Errors
/// [`SqlError`] when one of the databases fails, or another process copied at this moment.
pub async fn copy_once<P: Ports, S: Sql>(catalog: &Catalog<P>, copy: &ShopDomains<S>) -> Result<usize, SqlError> {
    let rows = catalog.sql().rows(ALL, vec![]).await?;
    let wanted: Result<BTreeMap<String, TenantId>, SqlError> =
        rows.into_iter().map(|mut row| Ok((row.text()?, row.id(TenantId::new)?))).collect();
    copy.put(&wanted?).await
}
