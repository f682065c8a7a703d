//! Lanes whose stock server does not answer while others do: a dead node of a cluster, a slot that
//! a proxy refuses. They are left out, and the partition goes on; only where nothing answers does
//! it wait.
//!
//! A lane that is left out may still be open, and promise to engines that reach it. That is safe:
//! what the ledger decides does not depend on the stock, what is left out is a settlement, which
//! only gives back, and the lane is rebuilt from ledger and rows before it is settled again, which
//! closes it first (R3). That it must be rebuilt stands in the ledger before the partition goes on,
//! so that it is not forgotten when this process dies.

use std::{collections::BTreeSet, time::Duration};

use domain::id::{ID_MAX, LaneId};
use kit::clock::Clock;
use store::stock::{LaneKeeping, StockError};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    partition::{Asking, Partition},
    ports::{Halt, Ports},
};

/// How long a lane is given to answer before it is left out, in each of two looks: a lane is closed
/// for seconds when it is rebuilt, so one slow answer is no reason.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOKS: usize = 2;
/// How often lanes that are left out are asked whether they are back: all at once, with the same
/// patience, beside the worker.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Lanes of no sale that are asked too, for partitions whose own lanes are all on one node: in a
/// cluster they are spread over the nodes.
const OTHERS: u64 = 8;

impl<P: Ports> Partition<P> {
    /// A call on this lane was not answered. Asks all lanes at once: those that stay silent while
    /// any other answers are left out.
    ///
    /// # Errors
    /// [`Halt::Stock`] with `error` where no lane answers, and where this one does by now: then the
    /// call is simply done again.
    pub(crate) async fn leave_out(&mut self, lane: LaneId, error: StockError) -> Result<(), Halt> {
        let known: Vec<LaneId> = self.lanes().keys().copied().collect();
        let mut silent: BTreeSet<LaneId> = known.into_iter().filter(|&lane| !self.is_aside(lane)).collect();
        silent.insert(lane);
        let others: BTreeSet<LaneId> = (0..OTHERS).filter_map(|n| LaneId::new(ID_MAX - n).ok()).collect();
        let mut is_any_there = false;
        for _ in 0..LOOKS {
            let answered = answering(&self.shared.stock, silent.union(&others).copied()).await;
            is_any_there |= !answered.is_empty();
            silent.retain(|lane| !answered.contains(lane));
            if !is_any_there || !silent.contains(&lane) {
                return Err(error.into());
            }
        }
        tracing::error!(partition = %self.id, lanes = silent.len(), %error, "the stock server of these lanes does not answer, that of others \
            does: they are left out and rebuilt when it is back");
        let now = self.shared.clock.monotonic();
        for lane in silent {
            self.shared.ledger.distrust(lane).await?;
            self.shared.metrics.lanes_aside.inc();
            let facts = self.facts.of(lane);
            facts.distrust();
            facts.leave_out(now + LOOK_EVERY);
        }
        Ok(())
    }

    /// Asks the lanes that are left out, now and then, whether they are back. They are still to be
    /// rebuilt.
    pub(crate) async fn look_for_absent(&mut self) {
        let now = self.shared.clock.monotonic();
        if self.looks.is_asking() {
            return;
        }
        if let Some(Asking { lanes, answered }) = self.looks.take_asked() {
            // A question that broke off has no answer.
            let answered = answered.await.unwrap_or_default();
            for (lane, facts) in self.facts.iter_mut().filter(|(lane, _)| lanes.contains(lane)) {
                if answered.contains(&lane) {
                    facts.take_back();
                    tracing::info!(%lane, "the stock server of a lane answers again");
                } else {
                    facts.leave_out(now + LOOK_EVERY);
                }
            }
        }
        let absent = self.facts.iter().filter(|(_, facts)| facts.is_to_be_asked(now));
        let lanes: BTreeSet<LaneId> = absent.map(|(lane, _)| lane).collect();
        if lanes.is_empty() {
            return;
        }
        let (stock, asked) = (self.shared.stock.clone(), lanes.clone());
        let asking = tokio::spawn(async move { answering(&stock, asked.into_iter()).await });
        self.looks.ask(Asking { lanes, answered: AbortOnDropHandle::new(asking) });
    }

    /// What an earlier worker left out is to be rebuilt.
    pub(crate) async fn recall_distrusted(&mut self) -> Result<(), Halt> {
        for lane in self.shared.ledger.distrusted(self.id).await? {
            self.facts.of(lane).distrust();
        }
        Ok(())
    }
}

/// Which of these lanes answer in time, whatever they say.
async fn answering<K: LaneKeeping>(stock: &K, lanes: impl Iterator<Item = LaneId>) -> BTreeSet<LaneId> {
    let mut asked = JoinSet::new();
    for lane in lanes {
        let stock = stock.clone();
        asked.spawn(async move {
            let answer = timeout(PATIENCE, stock.inspect(lane)).await;
            matches!(answer, Ok(Ok(_) | Err(StockError::Broken(_)))).then_some(lane)
        });
    }
    asked.join_all().await.into_iter().flatten().collect()
}
