//! Batches that stayed in a journal are appended again, the same bytes, by any engine. It only
//! rolls forward: nobody ever gives stock back because of a timeout or an error.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    id::{BatchId, LaneId, OrderId, PartitionId, WorkerNumber},
    stock::LaneAnswer,
};
use kit::clock::Clock;
use store::{log::OrderLog, stock::LaneStock};
use tokio::task::JoinSet;

use crate::{
    append::Appender,
    metrics::Metrics,
    mint::Mint,
    moment::Moment,
    purchase::PurchaseState,
    sales::{Directory, Lane},
};

/// Pause between two rounds.
pub const ROUND: Duration = Duration::from_secs(1);
/// A lane that sells nothing any more and had nothing due is asked only so often.
const IDLE_EVERY_MS: u64 = 30_000;
/// How long after its end a sale's lanes are still swept: longer than any outage of the log that is
/// repaired the same day.
const AFTER_END_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long before its opening they begin to be: a clock ahead of this one may have opened it.
const BEFORE_OPENING_MS: u64 = 60_000;
/// Batches of one claim.
pub const CLAIM_MAX: u32 = 16;
/// Claims of one lane in a round, at most: after an outage a journal is long.
const CLAIMS_MAX: u32 = 64;
/// Claimed batches are due again so much later, for whoever claims first.
pub const BACKOFF_MS: u64 = 5_000;
/// Lanes claimed from at the same time.
const LANES_AT_ONCE: usize = 8;
/// A batch acknowledged here more recently is on its way through the order-writer: left alone.
pub const TRUST_MS: u64 = 60_000;
/// Another engine's batch is left to that engine until it is so old.
pub const OTHERS_AFTER_MS: u64 = 10_000;
/// Longest wait for one append; the log's own deadline is shorter.
const APPEND_DEADLINE: Duration = Duration::from_secs(10);

/// The sweeper of one engine.
pub struct Sweeper<S, L, C> {
    sweep: Arc<Sweep<S, L, C>>,
    /// Monotonic milliseconds before which an idle lane is not asked again.
    rests_until: HashMap<LaneId, u64>,
}

struct Sweep<S, L, C> {
    stock: S,
    appender: Arc<Appender<L, C>>,
    directory: Arc<Directory>,
    mint: Arc<Mint>,
    clock: C,
    metrics: Arc<Metrics>,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Batches that were due and claimed.
    pub claimed: u64,
    /// Batches appended and acknowledged.
    pub appended: u64,
    /// Age of the oldest claimed, in milliseconds.
    pub oldest_ms: u64,
}

impl Swept {
    fn and(self, other: Self) -> Self {
        Self {
            claimed: self.claimed + other.claimed,
            appended: self.appended + other.appended,
            oldest_ms: self.oldest_ms.max(other.oldest_ms),
        }
    }
}

impl<S: LaneStock, L: OrderLog, C: Clock> Sweeper<S, L, C> {
    /// A sweeper that has swept nothing yet.
    pub fn new(
        stock: S,
        appender: Arc<Appender<L, C>>,
        directory: Arc<Directory>,
        mint: Arc<Mint>,
        clock: C,
        metrics: Arc<Metrics>,
    ) -> Self {
        let sweep = Sweep { stock, appender, directory, mint, clock, metrics };
        Self { sweep: Arc::new(sweep), rests_until: HashMap::new() }
    }

    /// Sweeps round after round; never returns.
    pub async fn run(mut self) {
        loop {
            self.round().await;
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Sweeps every lane once, a few at a time.
    pub async fn round(&mut self) -> Swept {
        let now = Moment::of(&self.sweep.clock);
        let lanes = self.lanes(now);
        let mut total = Swept::default();
        for some in lanes.chunks(LANES_AT_ONCE) {
            let mut under_way = JoinSet::new();
            for (lane, is_idle) in some {
                let (sweep, lane, is_idle) = (Arc::clone(&self.sweep), Arc::clone(lane), *is_idle);
                under_way.spawn(async move { (lane.id, is_idle, sweep.lane(&lane).await) });
            }
            while let Some(done) = under_way.join_next().await {
                let Ok((lane, is_idle, swept)) = done else { continue };
                if is_idle && swept.claimed == 0 {
                    self.rests_until.insert(lane, now.monotonic_ms + IDLE_EVERY_MS);
                }
                total = total.and(swept);
            }
        }
        let Metrics { sweep_claimed, sweep_appended, sweep_oldest_age, .. } = &*self.sweep.metrics;
        sweep_claimed.inc_by(total.claimed);
        sweep_appended.inc_by(total.appended);
        sweep_oldest_age.set(Duration::from_millis(total.oldest_ms).as_secs_f64());
        total
    }

    /// The lanes to sweep now, and whether each is idle: its sale is not selling.
    fn lanes(&mut self, now: Moment) -> Vec<(Arc<Lane>, bool)> {
        self.rests_until.retain(|_, until| *until > now.monotonic_ms);
        let directory = self.sweep.directory.now();
        let mut lanes = HashMap::new();
        for promotion in directory.sales() {
            let window = promotion.sale.window;
            let is_idle = now.wall_ms >= window.closes_at_ms;
            let is_in_time = window.opens_at_ms <= now.wall_ms.saturating_add(BEFORE_OPENING_MS)
                && now.wall_ms < window.closes_at_ms.saturating_add(AFTER_END_MS);
            if !is_in_time {
                continue;
            }
            // R14: of a retired lane everything is decided.
            for offered in promotion.offers.iter().filter(|offered| !offered.lane.is_retired(window)) {
                if !self.rests_until.contains_key(&offered.lane.id) {
                    lanes.insert(offered.lane.id, (Arc::clone(&offered.lane), is_idle));
                }
            }
        }
        lanes.into_values().collect()
    }
}

impl<S: LaneStock, L: OrderLog, C: Clock> Sweep<S, L, C> {
    /// Claims from a lane until nothing is due.
    async fn lane(self: &Arc<Self>, lane: &Lane) -> Swept {
        let mut total = Swept::default();
        for _ in 0..CLAIMS_MAX {
            let now = Moment::of(&self.clock);
            let now = Moment { wall_ms: self.mint.clock_ms(now), ..now };
            let claimed = match self.stock.claim(lane.id, now.wall_ms, CLAIM_MAX, BACKOFF_MS).await {
                Ok(LaneAnswer::Open(claimed)) => claimed,
                // The keeper drains the journal of a closed lane.
                Ok(LaneAnswer::Closed { .. }) => break,
                Err(error) => {
                    tracing::warn!(%error, lane = %lane.id, "a lane could not be swept");
                    break;
                }
            };
            let is_last = claimed.len() < CLAIM_MAX as usize;
            total = total.and(self.append(lane.partition, claimed, now).await);
            if is_last {
                break;
            }
        }
        total
    }

    /// Appends those of the claimed batches that nobody else is about to.
    async fn append(self: &Arc<Self>, partition: PartitionId, claimed: Vec<(BatchId, Bytes)>, now: Moment) -> Swept {
        let mut swept = Swept { claimed: claimed.len() as u64, ..Swept::default() };
        let me = self.mint.worker(now.monotonic_ms);
        let mut under_way = JoinSet::new();
        for (batch, payload) in claimed {
            swept.oldest_ms = swept.oldest_ms.max(age_ms(batch, now));
            if !self.is_ours_to_append(batch, me, now) {
                continue;
            }
            // A full log is no place for more: the batch is due again after the backoff.
            let Some(room) = self.appender.room() else { break };
            let sweep = Arc::clone(self);
            under_way.spawn(async move {
                let append = sweep.appender.acknowledge(partition, batch, payload, room);
                tokio::time::timeout(APPEND_DEADLINE, append).await == Ok(PurchaseState::Accepted)
            });
        }
        while let Some(done) = under_way.join_next().await {
            swept.appended += u64::from(done.unwrap_or(false));
        }
        if swept.appended > 0 {
            tracing::info!(appended = swept.appended, oldest_ms = swept.oldest_ms, %partition, "batches appended again");
        }
        swept
    }

    fn is_ours_to_append(&self, batch: BatchId, me: Option<WorkerNumber>, now: Moment) -> bool {
        let acknowledged = self.appender.acknowledged().at(batch);
        if acknowledged.is_some_and(|at| now.monotonic_ms.saturating_sub(at) < TRUST_MS) {
            return false;
        }
        let is_mine = order_of(batch).is_some_and(|order| Some(order.worker()) == me);
        is_mine || age_ms(batch, now) > OTHERS_AFTER_MS
    }
}

/// A batch is named after the order of its first request.
fn order_of(batch: BatchId) -> Option<OrderId> {
    OrderId::new(batch.get()).ok()
}

fn age_ms(batch: BatchId, now: Moment) -> u64 {
    order_of(batch).map_or(0, |order| now.wall_ms.saturating_sub(order.minted_at_ms()))
}

#[cfg(test)]
mod tests;
