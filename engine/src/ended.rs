//! Which lanes are retired (R14): the ledger is asked for those of ended sales until it says so. A
//! lane that it does not have never sold, which is the same here. From then on no row means no
//! order, nothing is swept there, and pages do not ask for stock.

use std::{sync::Arc, time::Duration};

use domain::id::LaneId;
use kit::clock::Clock;
use store::{
    ledger::Ledger,
    sql::{Sql, SqlError},
};

use crate::sales::{Directory, Lane};

/// Pause between two rounds. Who asks for the first time in it after a retirement is answered to
/// come again.
const ROUND: Duration = Duration::from_secs(1);

/// Asks for ever.
pub(crate) async fn follow<S: Sql, C: Clock>(ledger: Ledger<S>, directory: Arc<Directory>, clock: C) {
    loop {
        if let Err(error) = round(&ledger, &directory, clock.now_ms()).await {
            tracing::warn!(%error, "which lanes are retired cannot be asked now");
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// Asks once, if there is something to learn.
async fn round<S: Sql>(ledger: &Ledger<S>, directory: &Directory, now_ms: u64) -> Result<(), SqlError> {
    let mut asked: Vec<(Arc<Lane>, u64)> = Vec::new();
    for promotion in directory.now().sales() {
        let window = promotion.sale.window;
        for offered in &promotion.offers {
            if now_ms < window.closes_at_ms {
                // Prolonged: it is rebuilt, and what was known of it is no more.
                offered.lane.note_retired(None);
            } else if !offered.lane.is_retired(window) {
                asked.push((Arc::clone(&offered.lane), window.closes_at_ms));
            }
        }
    }
    let lanes: Vec<LaneId> = asked.iter().map(|(lane, _)| lane.id).collect();
    let living = ledger.living_lanes(&lanes).await?;
    for (lane, after_ms) in asked.into_iter().filter(|(lane, _)| !living.contains(&lane.id)) {
        lane.note_retired(Some(after_ms));
    }
    Ok(())
}
