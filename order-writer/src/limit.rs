//! R16: the keeper of a lane's limit per buyer. A higher limit is decided before the lane hears of
//! it. A lower one holds in the lane first, and all that the lane promised before is in the log
//! before its record.

use domain::{
    id::{Epoch, LaneId},
    record::{LimitChange, Record},
    sale::Sale,
    stock::LaneAnswer,
};
use kit::clock::Clock;
use store::stock::LaneKeeping;

use crate::{
    failpoint::Step,
    partition::Partition,
    ports::{Halt, Ports},
};

impl<P: Ports> Partition<P> {
    /// Tells the lane what a crash kept from it, and asks for the limit that the sale wants; for
    /// the ledger's own too, where a keeper lowered it in the lane and never asked. `held`: the
    /// limit that the lane was seen to hold to. Whatever stays unclear is done again by a later
    /// look: telling twice is idempotent, and of records that follow the same change the first one
    /// counts.
    pub(crate) async fn keep_limit(
        &mut self,
        id: LaneId,
        epoch: Epoch,
        held: u32,
        sale: Option<&Sale>,
    ) -> Result<(), Halt> {
        let Some((limit, after)) = self.lanes().get(&id).map(|lane| (lane.limit_per_buyer, lane.limit_changed_at))
        else {
            return Ok(());
        };
        let lane = sale.and_then(|sale| sale.lanes.iter().find(|lane| lane.id == id));
        let wanted = lane.map_or(limit, |lane| lane.limit_per_buyer);
        if (held, wanted) == (limit, limit) {
            return Ok(());
        }
        let (now, patience) = (self.shared.clock.monotonic(), self.shared.pace.rebuild_patience);
        let change = LimitChange { lane: id, limit: wanted, epoch, after };
        if self.facts.of(id).has_asked_limit(change, now, patience) {
            return Ok(());
        }
        match self.tell_limit(id, wanted.min(limit)).await? {
            Some(held) if (held, wanted) != (limit, limit) => {}
            _ => return Ok(()),
        }
        let mut drained = Vec::new();
        if wanted < limit {
            self.shared.failpoint.reach(Step::LimitFenced);
            drained = self.drain(id).await?;
        }
        self.append_epoch(Record::LimitChanged(change), drained).await?;
        self.shared.failpoint.reach(Step::LimitAppended);
        tracing::info!(lane = %id, from = limit, to = wanted, "change of the limit per buyer appended");
        self.facts.of(id).note_limit_asked(change, now);
        Ok(())
    }

    /// Tells the lane the ledger's limit, and that it promises by no more than `most` until the
    /// next change. Answers the limit that holds there; `None` where the lane is closed, or was
    /// told of a later change than this worker knows.
    pub(crate) async fn tell_limit(&self, id: LaneId, most: u32) -> Result<Option<u32>, Halt> {
        let Some(lane) = self.lanes().get(&id).filter(|_| !self.is_aside(id)) else {
            // The next load of a lane that is aside tells it.
            return Ok(None);
        };
        let (limit, changed_at) = (lane.limit_per_buyer, lane.limit_changed_at);
        match self.shared.stock.limit(id, lane.epoch, limit, changed_at, most).await? {
            LaneAnswer::Open(held) => Ok(held),
            LaneAnswer::Closed { .. } => Ok(None),
        }
    }
}
