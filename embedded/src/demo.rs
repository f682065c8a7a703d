//! The demo: a tenant with a running sale, so that whoever starts an empty folder can buy at once.

use std::time::Duration;

use catalog::{
    file,
    publish::{self, Announced, PublishError, Settings},
    published::catch_up,
    render,
};
use domain::sale::Sale;
use kit::clock::Clock;

use crate::deployment::Deployment;

/// The tenant of the demo's sale.
pub const DEMO_TENANT: u32 = 7;
/// The demo tenant's owner signs in with this address.
pub const DEMO_OWNER: &str = "owner@example.com";

/// Reading a log that was just made.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// The sale to show: the one that sells, else the one that opens or opened last. A shop without any
/// gets the example, open from now on for a day, if `demo` is wanted.
///
/// # Errors
/// When the stores do not tell, or do not take it.
pub async fn on_sale<C: Clock>(deployment: &Deployment<C>, demo: bool) -> anyhow::Result<Option<Sale>> {
    let now_ms = deployment.clock.now_ms();
    let publications = deployment.databases.ledger.publications();
    let published = catch_up(publications, &mut deployment.follow_sales(), READ_WITHIN).await?;
    // What was taken in just now, or was left waiting, is on the topic before an engine reads it.
    if let Err(error) = publications.feed(&deployment.log).await {
        tracing::warn!(%error, "published sales wait for their topic");
    }
    if published.is_empty() && demo {
        let announced = from_text(deployment, &render::example_open_at(now_ms), false).await?;
        return Ok(Some(announced.publication.sale));
    }
    let is_open = |sale: &Sale| sale.window.opens_at_ms <= now_ms && now_ms < sale.window.closes_at_ms;
    let sells = published.into_iter().filter(|sale| !sale.lanes.is_empty());
    Ok(sells.max_by_key(|sale| (is_open(sale), sale.window.opens_at_ms)))
}

/// Publishes a sale file's text as the next version of its sale.
///
/// # Errors
/// [`PublishError`]: every flaw of the file, or stores that do not answer.
pub async fn from_text<C: Clock>(
    deployment: &Deployment<C>,
    text: &str,
    dry_run: bool,
) -> Result<Announced, PublishError> {
    let draft = file::parse(text).map_err(PublishError::Flawed)?;
    let settings = Settings {
        partitions: deployment.partitions,
        now_ms: deployment.clock.now_ms(),
        read_within: READ_WITHIN,
        dry_run,
    };
    let publications = deployment.databases.ledger.publications();
    publish::publish(&draft, (publications, &deployment.log, &mut deployment.follow_sales()), &settings).await
}
