//! How sales sell, second by second: what engines counted of buyers' attempts, told on the topic
//! `counts`, and what the ledger decided, read from its movements. The first may miss some seconds
//! of an engine that died; the second is exact: at rest, accepted less released units of an offer
//! are its units in live orders.
//!
//! | what if | then |
//! |---|---|
//! | this process dies | positions move with what was counted, in one transaction |
//! | a record comes twice, or two processes read it | position, engine and sequence tell |
//! | a new generation, or movements are gone | the counts are set right by the units sold |

/// Counts of a transaction, written under the lock of their sales.
mod book;

/// What engines counted.
mod counted;

/// What the ledger decided.
mod sold;

/// Rows, as routes show them.
mod shown;

/// Handlers.
mod routes;

use std::{sync::Arc, time::Duration};

use domain::{id::PartitionId, record::Topic};
use kit::{
    access::Permission::ReadSales,
    api::{Access, Route},
    clock::Clock as _,
    http::Mount,
};
use store::{
    consumer::{Consumer, follow},
    log::PartitionReader,
    sql::{Sql as _, stored},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::routes::document;
use crate::{ports::Ports, refused::Refused, service::Catalog};

/// By which its position in the topic is kept.
pub const CONSUMER: &str = "funnel";

/// Widths of the rows that an hour's figures come from: the whole sale, minutes, seconds.
const WIDTHS: [u64; 3] = [WHOLE, 60, 1];
const WHOLE: u64 = 0;
const MINUTE: u64 = 60;
const SECOND: u64 = 1;

/// How long seconds are kept. Minutes and whole sales stay.
const SECONDS_KEPT: Duration = Duration::from_hours(24);
/// How long the number of an engine's last record is kept: longer than the topic keeps records.
const ENGINES_KEPT: Duration = Duration::from_hours(48);
/// How much is deleted in one transaction: so many seconds of all sales.
const PURGED_S: u64 = 60;

const OLDEST: &str = "SELECT at_s FROM funnel_counts WHERE width = ? ORDER BY at_s LIMIT 1";
const PURGE: &str = "DELETE FROM funnel_counts WHERE width = ? AND at_s < ?";
const PURGE_ENGINES: &str = "DELETE FROM funnel_engines WHERE at_s < ?";

/// Counts until `stop`. `reader`: of the one partition of the topic `counts`. Streams of events end
/// with `drain`, so that the drain does not wait for them. Every process of the service may do it.
pub async fn count<P: Ports>(
    catalog: Arc<Catalog<P>>,
    reader: impl PartitionReader,
    (drain, stop): (CancellationToken, CancellationToken),
) {
    catalog.memory().streams.run_on(Handle::current());
    let consumer = Consumer::new(catalog.sql().clone(), CONSUMER, Topic::Counts, PartitionId(0), reader);
    let counting = async { tokio::join!(follow(consumer, counted::Counted), sold::follow(&catalog)) };
    let ending = async {
        drain.cancelled().await;
        catalog.memory().streams.end();
    };
    let work = async { tokio::join!(counting, ending) };
    // Large, and started once.
    stop.run_until_cancelled(Box::pin(work)).await;
}

/// Deletes seconds that are too old, some of them at a time.
///
/// # Errors
/// [`Refused::Sql`]; the next purge goes on.
pub(crate) async fn purge<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let now_s = catalog.clock().now_ms() / 1_000;
    let before = now_s.saturating_sub(SECONDS_KEPT.as_secs());
    while let Some(mut oldest) = catalog.sql().rows(OLDEST, vec![stored(SECOND)?.into()]).await?.into_iter().next() {
        let oldest: u64 = oldest.number()?;
        if oldest >= before {
            break;
        }
        let end = before.min(oldest + PURGED_S);
        catalog.sql().exec(PURGE, vec![stored(SECOND)?.into(), stored(end)?.into()]).await?;
    }
    let engines_before = now_s.saturating_sub(ENGINES_KEPT.as_secs());
    catalog.sql().exec(PURGE_ENGINES, vec![stored(engines_before)?.into()]).await?;
    Ok(())
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let read = Access::Needs(ReadSales);
    vec![
        Mount::get(
            "/v1/merchant/sales/{sale}/funnel",
            "funnel",
            Route::new(read, |catalog, call| Box::pin(routes::show(catalog, call))),
        ),
        Mount::get(
            "/v1/merchant/sales/{sale}/funnel/stream",
            "funnel_stream",
            Route::new(read, |catalog, call| Box::pin(routes::stream(catalog, call))),
        ),
    ]
}
