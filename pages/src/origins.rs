//! Which origins may call: read from the ledger's database every few seconds, whatever is asked, so
//! that no request waits for it. While the database is away, what was known stays.

use std::{sync::Arc, time::Duration};

use kit::http::Origins;
use store::{domains::ShopDomains, sql::Sql};

/// How often they are read. With the round of catalog's copy (3 s) a change is known in 6 s and the
/// time of the two queries.
const EVERY: Duration = Duration::from_secs(3);

/// Follows them for ever.
pub async fn follow<S: Sql>(domains: ShopDomains<S>, origins: Arc<Origins>) {
    domains.follow(EVERY, |domains| origins.put(domains)).await;
}
