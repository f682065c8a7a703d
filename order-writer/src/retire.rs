//! R14, the end of a lane. When its sale is over and the settling time has passed, or when it is
//! found closed after the end, the lane is closed, its journal goes into the log, and the record
//! `retired` follows. Whoever commits that deletes what the stock holds of the lane; its rows stay.
//! A sale that is prolonged has its lanes rebuilt like any that are not open.

use domain::{
    id::{Epoch, LaneId, RecordId},
    record::Record,
    sale::Sale,
    stock::{LaneMode, LaneView, RetireAnswer},
};
use kit::clock::Clock;
use store::stock::LaneKeeping;

use crate::{
    failpoint::Step,
    partition::Partition,
    ports::{Halt, Ports, Sales},
    settling::{End, end_of},
};

/// Lanes that one look retires: each costs a few calls and an append, and the partition decides
/// nothing meanwhile.
const RETIRED_AT_ONCE: usize = 8;
impl<P: Ports> Partition<P> {
    fn end_of(&self, sales: &Sales, lane: LaneId, now_ms: u64) -> End {
        self.owner_of(sales, lane).map_or(End::NotYet, |sale| end_of(sale, now_ms, self.shared.pace.settling))
    }

    /// Whether the lane's sale is over by this clock.
    pub(crate) fn is_over_here(&self, sales: &Sales, lane: LaneId, now_ms: u64) -> bool {
        self.end_of(sales, lane, now_ms) != End::NotYet
    }

    /// Whether a lane is none of the keeper's ordinary looks: its sale is over, and it is retired
    /// or to be retired whatever it looks like.
    pub(crate) fn is_at_its_end(&self, sales: &Sales, lane: LaneId, now_ms: u64) -> bool {
        let is_retired = self.lanes().get(&lane).is_some_and(|lane| lane.is_retired);
        match self.end_of(sales, lane, now_ms) {
            End::NotYet => false,
            End::Settling => is_retired,
            End::Settled => true,
        }
    }

    /// Whether a lane that is not open has no use any more, also by the database's clock: one that
    /// is set ahead here retires nothing.
    pub(crate) async fn is_over(&self, sale: Option<&Sale>) -> Result<bool, Halt> {
        let Some(sale) = sale else { return Ok(false) };
        let is_over = |now_ms| end_of(sale, now_ms, self.shared.pace.settling) != End::NotYet;
        Ok(is_over(self.shared.clock.now_ms()) && is_over(self.shared.ledger.now_ms().await?))
    }

    /// A look at the lanes that are at their end. `decided`: nothing of the partition waits.
    pub(crate) async fn look_at_ended(&mut self, sales: &Sales, now_ms: u64, decided: bool) -> Result<(), Halt> {
        let ended: Vec<LaneId> =
            self.lanes().keys().copied().filter(|&lane| self.is_at_its_end(sales, lane, now_ms)).collect();
        let is_retired = |lane: &LaneId| self.lanes()[lane].is_retired;
        let (retired, to_retire): (Vec<LaneId>, Vec<LaneId>) = ended.into_iter().partition(is_retired);
        if !decided {
            return Ok(());
        }
        self.retire_some(sales, to_retire).await?;
        let round = self.looks.next_round(&retired);
        self.look_at_retired(round).await
    }

    async fn retire_some(&mut self, sales: &Sales, lanes: Vec<LaneId>) -> Result<(), Halt> {
        let (mut left, settling) = (RETIRED_AT_ONCE, self.shared.pace.settling);
        let mut database_now_ms = None;
        for lane in lanes {
            if left == 0 || self.is_aside(lane) || self.waits_for_a_record(lane) {
                continue;
            }
            let now_ms = match database_now_ms {
                Some(known) => known,
                None => *database_now_ms.insert(self.shared.ledger.now_ms().await?),
            };
            if self.owner_of(sales, lane).is_none_or(|sale| end_of(sale, now_ms, settling) != End::Settled) {
                continue;
            }
            left -= 1;
            match self.retire(lane).await {
                Err(Halt::Stock(error)) => self.set_aside(lane, error).await?,
                done => done?,
            }
        }
        Ok(())
    }

    /// What came back of retired lanes goes again, a few lanes at a time. Their journals go into
    /// the log first, though everything in them was there before: so nothing that was ever promised
    /// rests on that.
    async fn look_at_retired(&mut self, round: Vec<LaneId>) -> Result<(), Halt> {
        for lane in round {
            let seen = self.shared.stock.inspect(lane).await;
            let cleaned = match seen {
                Ok(view) if is_nothing(&view) => Ok(()),
                Ok(_) => self.clean(lane).await,
                Err(error) => Err(error.into()),
            };
            match cleaned {
                // Nobody waits for it: a later round tries again.
                Err(Halt::Stock(error)) => {
                    tracing::warn!(%lane, %error, "what is left of a retired lane stays for now")
                }
                done => done?,
            }
        }
        Ok(())
    }

    async fn clean(&mut self, id: LaneId) -> Result<(), Halt> {
        let Some(epoch) = self.lanes().get(&id).map(|lane| lane.epoch) else { return Ok(()) };
        if let Some((epoch, drained)) = self.close_and_drain(id, epoch).await? {
            let drained = drained.len();
            tracing::info!(lane = %id, %epoch, drained, "a retired lane was there again");
            self.let_go(id, epoch).await;
        }
        Ok(())
    }

    /// R14, up to the record. Whatever stays unclear is done again by a later look, as with a
    /// rebuild.
    pub(crate) async fn retire(&mut self, id: LaneId) -> Result<(), Halt> {
        let Some(next) = self.lanes().get(&id).map(|lane| lane.epoch.next()) else { return Ok(()) };
        let Some((epoch, drained)) = self.close_and_drain(id, next).await? else { return Ok(()) };
        let batches = drained.len();
        self.append_epoch(Record::LaneRetired { lane: id, epoch }, drained).await?;
        self.shared.failpoint.reach(Step::RetiredAppended);
        tracing::info!(lane = %id, %epoch, drained = batches, "lane closed after its sale, its retirement is in the log");
        self.wait_for_a_record(id, epoch);
        Ok(())
    }

    /// R3, steps 1 and 2: closes a lane under this epoch or a later one, and brings its journal
    /// into the log. `None`: another keeper is at work on it.
    pub(crate) async fn close_and_drain(
        &mut self,
        id: LaneId,
        at_least: Epoch,
    ) -> Result<Option<(Epoch, Vec<(u64, RecordId)>)>, Halt> {
        self.facts.of(id).forget_looks();
        let Some(epoch) = self.close(id, at_least).await? else { return Ok(None) };
        self.shared.failpoint.reach(Step::Closed);
        let drained = self.drain(id).await?;
        self.shared.failpoint.reach(Step::Drained);
        Ok(Some((epoch, drained)))
    }

    /// A lane whose retirement this worker has just committed: nothing of it stays in the stock, in
    /// memory or among the figures. Should this fail, a later round sees what is left.
    pub(crate) async fn retired(&mut self, id: LaneId, epoch: Epoch) -> Result<(), Halt> {
        self.shared.failpoint.reach(Step::RetiredCommitted);
        if self.facts.forget(id).is_some_and(|facts| facts.is_distrusted()) {
            self.shared.ledger.trust(id).await?;
        }
        self.shared.metrics.retirements.inc();
        self.shared.metrics.forget_lane(self.id, id);
        self.let_go(id, epoch).await;
        Ok(())
    }

    async fn let_go(&self, lane: LaneId, epoch: Epoch) {
        match self.shared.stock.retire(lane, epoch).await {
            Ok(RetireAnswer::Gone) => tracing::info!(%lane, %epoch, "lane retired"),
            Ok(RetireAnswer::Refused) => {
                tracing::info!(%lane, %epoch, "lane retired, and closed or opened again since")
            }
            Err(error) => {
                tracing::warn!(%lane, %epoch, %error, "lane retired; what the stock holds of it stays for now")
            }
        }
    }
}

/// Nothing is kept of the lane.
fn is_nothing(view: &LaneView) -> bool {
    (view.mode, view.journal_len, view.buyers_len) == (LaneMode::Missing, 0, 0)
}
