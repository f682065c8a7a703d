//! Loads of lanes as their worker sees them: it begins passes over the rows, goes on deciding while
//! they run, and opens a lane between two spans, with the numbers of that very moment (R4). The
//! winner of an epoch's commit loads, once; a worker that reads everything anew drops its loads
//! with all else it holds, and the lane's next epoch makes sure that none of them opens anything.

use std::sync::Arc;

use domain::{
    decide::LaneLedger,
    id::{Epoch, LaneId},
    stock::{LaneOpening, LoadAnswer, OfferLoad},
};
use kit::clock::Clock;
use store::{sql::SqlError, stock::LaneKeeping};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    failpoint::Step,
    load::{Filled, Outcome, Prepared, prepare},
    partition::{Partition, Unread},
    ports::{Halt, Ports},
    turn::{Turn, Waiting, next_pass},
};

impl<P: Ports> Partition<P> {
    /// Opens the lanes that are in place and begins passes for those that wait, between two spans.
    pub(crate) async fn go_on_loading(&mut self) -> Result<(), Halt> {
        if self.loads.is_empty() {
            return Ok(());
        }
        let ended = self.loads.ended();
        while let Some(prepared) = self.loads.next_prepared() {
            self.take(prepared).await?;
        }
        for lane in self.loads.forget_passes(&ended) {
            tracing::error!(%lane, "the lane's load ended without a word, report this: it is rebuilt");
            self.give_up(lane);
        }
        self.begin_passes();
        if let Some((lanes, rows)) = self.loads.report(self.shared.clock.monotonic()) {
            tracing::info!(partition = %self.id, lanes, rows, "lanes are closed until their rows are read");
        }
        Ok(())
    }

    fn begin_passes(&mut self) {
        while self.loads.has_room() {
            let (sales, now) = (self.shared.sales.borrow().clone(), self.shared.clock.now_ms());
            let waiting = self.loads.unread().map(|Unread { lane, has_rows, alone }| Waiting {
                lane,
                turn: Turn::of(self.owner_of(&sales, lane).map(|sale| sale.window), now),
                has_rows,
                alone,
                units: self.lanes().get(&lane).map_or(0, |lane| lane.offers.values().map(|offer| offer.sold).sum()),
            });
            let waiting: Vec<Waiting> = waiting.collect();
            let chosen = next_pass(waiting.clone(), self.loads.is_large_under_way());
            if chosen.is_empty() {
                return;
            }
            self.begin_pass(&chosen, waiting.iter().any(|w| w.is_large() && chosen.contains(&w.lane)));
        }
    }

    fn begin_pass(&mut self, chosen: &[LaneId], is_large: bool) {
        let rows_from = |lane| self.lanes().get(&lane).map_or(0, LaneLedger::rows_from);
        let chosen: Vec<(LaneId, u64)> = chosen.iter().map(|&lane| (lane, rows_from(lane))).collect();
        let now = self.shared.clock.monotonic();
        let pass = self.loads.plan(&chosen, now);
        let preparing = prepare(Arc::clone(&self.shared), pass, self.loads.sender());
        self.loads.run(is_large, AbortOnDropHandle::new(tokio::spawn(preparing)));
    }

    async fn take(&mut self, prepared: Prepared) -> Result<(), Halt> {
        let Prepared { lane, epoch, outcome } = prepared;
        if !self.loads.is_under_way(lane, epoch) {
            return Ok(());
        }
        match outcome {
            Outcome::Filled(filled) => return self.open(lane, epoch, filled).await,
            Outcome::Unreadable(error) => self.unreadable(lane, &error),
            Outcome::Refused => {
                tracing::warn!(%lane, %epoch, "the lane refused its load: it is rebuilt under the next epoch");
                self.give_up(lane);
            }
            Outcome::Unclear(error) => {
                tracing::warn!(%lane, %epoch, error, "the lane's load is unclear: it is rebuilt under the next epoch");
                self.give_up(lane);
            }
        }
        Ok(())
    }

    /// A row that cannot be read stops its own lane only: the lanes of a pass are read again, each
    /// by itself.
    fn unreadable(&mut self, lane: LaneId, error: &SqlError) {
        if self.loads.read_alone(lane) || self.loads.remove(lane).is_none() {
            return;
        }
        tracing::error!(%lane, %error, "the lane's rows cannot be read, so it stays closed: restore their database");
        let until = self.shared.clock.monotonic() + self.shared.pace.rebuild_patience;
        self.facts.of(lane).set_aside(Some(until));
    }

    /// The keeper's next look asks for the next epoch: a load is not repeated.
    fn give_up(&mut self, lane: LaneId) {
        // It may have been taken already.
        let _released = self.loads.remove(lane);
        self.facts.of(lane).mark_due();
    }

    /// R4: units by the ledger at this moment; buyers by the rows, and by what was released since
    /// they were read.
    async fn open(&mut self, id: LaneId, epoch: Epoch, mut filled: Filled) -> Result<(), Halt> {
        let (Some(released), Some(lane)) = (self.loads.remove(id), self.lanes().get(&id)) else { return Ok(()) };
        let offers = lane.offers.iter().map(|(&offer, numbers)| OfferLoad {
            offer,
            left: numbers.allotment.saturating_sub(numbers.sold),
            allotment: numbers.allotment,
            changed_at: numbers.changed_at,
        });
        let (limit_per_buyer, offers) = (lane.limit_per_buyer, offers.collect());
        let stock = &self.shared.stock;
        let changed = filled.release(self.shared.orders.map(), &released);
        let opened = async {
            if !changed.is_empty() && stock.fill(id, epoch, &changed).await?.is_none() {
                return Ok(LoadAnswer::Refused);
            }
            stock.open(id, epoch, &LaneOpening { buyers: filled.buyers, limit_per_buyer, offers }).await
        };
        match opened.await {
            Ok(LoadAnswer::Loaded) => {
                tracing::info!(lane = %id, %epoch, purchases = filled.len(), "lane open");
                let facts = self.facts.of(id);
                let was_distrusted = facts.is_distrusted();
                facts.note_open();
                if was_distrusted {
                    self.shared.ledger.trust(id).await?;
                }
                self.shared.failpoint.reach(Step::Loaded);
            }
            Ok(LoadAnswer::Refused) => {
                tracing::warn!(lane = %id, %epoch, "the lane refused its load: it is rebuilt under the next epoch");
                self.facts.of(id).mark_due();
            }
            Err(error) => {
                tracing::warn!(lane = %id, %epoch, %error, "the lane's load is unclear: it is rebuilt under the next epoch");
                self.facts.of(id).mark_due();
            }
        }
        Ok(())
    }

    /// R4: what follows from the commit of an epoch: a load, whatever the time is by now, because a
    /// lane that is left closed would be rebuilt again. An epoch that the log held already when
    /// this worker resumed may have sold since: its lane gets another.
    pub(crate) fn await_load(&mut self, lane: LaneId, epoch: Epoch, is_replayed: bool) {
        let facts = self.facts.of(lane);
        if is_replayed {
            facts.mark_due();
        } else {
            self.loads.add(lane, epoch, facts.is_first_opening());
        }
    }
}
