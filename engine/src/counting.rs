//! Tells what was counted: once a second the counts of all offers are taken away and appended to
//! the topic `counts`, which the merchants' service reads. Nobody waits for it.
//!
//! | what if | then |
//! |---|---|
//! | a record is not acknowledged | it is appended again; what is counted meanwhile waits |
//! | it was in the log after all | engine and sequence are the same: it counts once |
//! | the process dies | what was counted in its last second is lost: attempts, never an order |

use std::{collections::VecDeque, sync::Arc, time::Duration};

use domain::{
    counts::{EngineCounts, OFFERS_MAX, OfferCounts},
    id::{PartitionId, RecordId},
    record::COUNTS_TYPE,
};
use kit::clock::Clock;
use store::log::{Envelope, OrderLog};
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, sales::Directory};

const SECOND_MS: u64 = 1_000;
/// The one partition of the topic.
const PARTITION: PartitionId = PartitionId(0);
/// Engines are numbered below this, so that number and sequence together are the id of a record.
const ENGINE_BITS: u32 = 62;

/// Takes the counts away and appends them.
pub struct Counting<L, C> {
    /// The topic `counts`.
    log: L,
    clock: C,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    engine: u64,
    /// Of the last record.
    sequence: u64,
    /// Taken and not acknowledged.
    waiting: VecDeque<EngineCounts>,
}

impl<L: OrderLog, C: Clock> Counting<L, C> {
    /// Tells what is counted in this directory. `log`: of the topic `counts`. `random`: another
    /// number for each start of an engine.
    pub fn new(log: L, clock: C, directory: Arc<Directory>, metrics: Arc<Metrics>, random: u64) -> Self {
        let engine = (random >> (u64::BITS - ENGINE_BITS)).max(1);
        Self { log, clock, directory, metrics, engine, sequence: 0, waiting: VecDeque::new() }
    }

    /// Tells once a second, right after the second ended, until `stop`, which comes after the last
    /// purchase; then once more.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let rest = Duration::from_millis(SECOND_MS - self.clock.now_ms() % SECOND_MS);
            let goes_on = stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_some();
            self.tell().await;
            if !goes_on {
                return;
            }
        }
    }

    /// Takes what was counted, unless records wait already, and appends what waits, in order.
    pub async fn tell(&mut self) {
        if self.waiting.is_empty() {
            self.take();
        }
        while let Some(next) = self.waiting.front() {
            let Ok(id) = RecordId::new(self.engine + next.sequence) else { return };
            let record = Envelope { id, kind: COUNTS_TYPE, payload: next.encode().into() };
            let Some(room) = self.log.room() else { return };
            if let Err(error) = self.log.append(PARTITION, record, room).await {
                self.metrics.counts_unacknowledged.inc();
                tracing::debug!(%error, "what was counted is told again");
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn take(&mut self) {
        let mut offers = Vec::new();
        for promotion in self.directory.now().sales() {
            for offered in &promotion.offers {
                let of = |counts| OfferCounts { tenant: offered.tenant, sale: offered.sale, offer: offered.id, counts };
                offers.extend(offered.counts.take().map(of));
            }
        }
        // Of the second that just ended.
        let second = (self.clock.now_ms() / SECOND_MS).saturating_sub(1);
        while !offers.is_empty() {
            let rest = offers.split_off(offers.len().min(OFFERS_MAX));
            self.sequence += 1;
            let (engine, sequence) = (self.engine, self.sequence);
            self.waiting.push_back(EngineCounts { engine, sequence, second, offers });
            offers = rest;
        }
    }
}

#[cfg(test)]
mod tests;
