//! The keeper of a partition's lanes: the only one that opens and rebuilds them. A rebuild is a
//! record in the log (R3): close, drain the journal, append the epoch; the worker decides up to it,
//! and the winner of its commit loads the lane (R4). Any number of keepers may run: markers, epochs
//! and the ledger's compare-and-set sort them out.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use domain::{
    adopt::{Contradiction, Place},
    id::{Epoch, LaneId, RecordId},
    record::{AllotmentChange, BATCH_TYPE, Record},
    sale::{Lane, Sale},
    stock::{CloseAnswer, LaneAnswer, LaneMode, LaneView},
};
use kit::clock::Clock;
use store::{
    ledger::{LaneRow, OfferRow},
    log::{Entry, Envelope},
    sql::SqlError,
    stock::{LaneKeeping, StockError},
};

use crate::{
    away::Asking,
    failpoint::Step,
    partition::{LaneFacts, Partition},
    ports::{Halt, Ports, Sales},
    turn::{Care, Turn},
};

/// Looks in a row at which a lane must not be open before it is rebuilt.
const STRIKES: u32 = 2;
/// After so many looks at which a lane was as it should be and nothing moved, it is at rest.
const RESTING_AFTER: u32 = 4;
/// A lane at rest is looked at once in so many looks: yesterday's sales would cost as much as
/// today's.
const RESTING_LOOK: u64 = 8;
/// How long one look may rebuild lanes while records wait to be decided.
const LOOK_MAX: Duration = Duration::from_millis(100);
/// From so long before to so long after its sale opens, no lane is at rest.
const OPENING_MS: u64 = 60_000;

/// What a keeper remembers of its looks.
#[derive(Default)]
pub struct Looks {
    count: u64,
    /// Where the partition stood at the last look.
    pub(crate) offset: u64,
    /// A lane was not open: a server that restarted closes all of them, so the next look spares
    /// none.
    wary: bool,
    /// The sales at the last look: a new version may ask a lane at rest for another allotment.
    sales: Option<Sales>,
    /// Lanes were left out, because rebuilding others took long: records are decided first, then
    /// the next look goes on.
    is_unfinished: bool,
    /// Time that this look has spent on rebuilding.
    rebuilding: Duration,
    /// Lanes that the ledger did not take, with the version of their sale.
    refused: BTreeSet<(LaneId, u32)>,
    /// The last retired lane that was looked at.
    pub(crate) retired_seen: Option<LaneId>,
    /// Whether lanes that are left out are back.
    pub(crate) asking: Option<Asking>,
}

impl Looks {
    /// Whether what is done once in so many looks is done in this one.
    pub(crate) const fn is_turn(&self, every: u64) -> bool {
        self.count.is_multiple_of(every)
    }

    /// Whether the last look came to all lanes.
    pub(crate) const fn is_done(&self) -> bool {
        !self.is_unfinished
    }
}

impl LaneFacts {
    /// The lane is open as the ledger has it.
    pub(crate) const fn opened(&mut self) {
        self.strikes = 0;
        self.rebuilding = None;
        self.distrusted = false;
    }

    /// A look that finds the lane closed rebuilds it.
    pub(crate) const fn is_due(&mut self) {
        self.strikes = STRIKES;
    }

    /// Nothing moves and nothing is about to. `opens_at_ms`: of its sale as it is published now.
    fn rests(&self, opens_at_ms: Option<u64>, now_ms: u64) -> bool {
        let opens = opens_at_ms.is_some_and(|opens_at_ms| opens_at_ms.abs_diff(now_ms) <= OPENING_MS);
        self.quiet >= RESTING_AFTER && !opens && !self.distrusted
    }
}

impl<P: Ports> Partition<P> {
    /// One look at the partition and its lanes, between two spans.
    pub(crate) async fn look(&mut self) -> Result<(), Halt> {
        self.stop_if_stale().await?;
        let sales: Sales = self.shared.sales.borrow().clone();
        self.add_lanes(&sales).await?;
        let now = self.shared.clock.now_ms();
        let lanes = self.lanes_by_turn(&sales, now);
        let unrest = std::mem::take(&mut self.looks.wary)
            || !self.looks.sales.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &sales));
        self.looks.sales = Some(sales.clone());
        self.looks.count += 1;
        let lag = self.undecided().await?;
        self.shared.metrics.position(self.id, self.row.offset, lag);
        if lag == 0 {
            self.pulse.moved(self.shared.clock.monotonic());
        }
        if lag == 0 || self.row.offset > self.looks.offset {
            self.pulse.well();
        }
        self.looks.offset = self.row.offset;
        (self.looks.is_unfinished, self.looks.rebuilding) = (false, Duration::ZERO);
        self.look_for_absent().await;
        for lane in lanes {
            if self.looks.rebuilding > LOOK_MAX {
                (self.looks.is_unfinished, self.looks.wary) = (true, true);
                break;
            }
            let sale = self.owner_of(&sales, lane);
            if (!unrest && self.may_rest(lane, sale, now)) || self.is_aside(lane) {
                continue;
            }
            match self.look_into(lane, sale, now, lag == 0).await {
                Err(Halt::Stock(error)) => self.set_aside(lane, error).await?,
                done => done?,
            }
        }
        self.look_at_ended(&sales, now, lag == 0 && self.looks.is_done()).await
    }

    /// The lanes to look at, those first that buyers want now, without those at their end.
    fn lanes_by_turn(&self, sales: &Sales, now: u64) -> Vec<LaneId> {
        let mut lanes: Vec<(Turn, LaneId)> = Vec::with_capacity(self.lanes.len());
        for &lane in self.lanes.keys() {
            let window = self.owner_of(sales, lane).map(|sale| sale.window);
            if !self.is_at_its_end(sales, lane, now) {
                lanes.push((Turn::of(window, now), lane));
            }
        }
        lanes.sort_unstable();
        lanes.into_iter().map(|(_, lane)| lane).collect()
    }

    /// The sale that a lane belongs to by the ledger, whoever else names it.
    pub(crate) fn owner_of<'a>(&self, sales: &'a Sales, lane: LaneId) -> Option<&'a Sale> {
        sales.get(&self.lanes.get(&lane)?.sale)
    }

    async fn look_into(&mut self, lane: LaneId, sale: Option<&Sale>, now: u64, decided: bool) -> Result<(), Halt> {
        let view = match self.shared.stock.inspect(lane).await {
            // Whatever it holds: it is rebuilt, which sets aside what cannot be read.
            Err(StockError::Broken(_)) if self.facts.get(&lane).is_some_and(|facts| facts.distrusted) => {
                return self.look_at(lane, &unreadable(), sale).await;
            }
            view => view?,
        };
        self.shared.metrics.lane((self.id, lane), &view, self.lanes.get(&lane), now, decided);
        self.note_rest(lane, &view);
        self.look_at(lane, &view, sale).await
    }

    /// Whether this look may leave a lane out.
    fn may_rest(&self, id: LaneId, sale: Option<&Sale>, now_ms: u64) -> bool {
        // Lanes at rest take turns.
        let turn = self.looks.count.wrapping_add(id.get()).is_multiple_of(RESTING_LOOK);
        let opens_at_ms = sale.map(|sale| sale.window.opens_at_ms);
        !turn && self.facts.get(&id).is_some_and(|facts| facts.rests(opens_at_ms, now_ms))
    }

    fn note_rest(&mut self, id: LaneId, view: &LaneView) {
        let open = self.lanes.get(&id).is_some_and(|lane| view.mode == LaneMode::Open { epoch: lane.epoch });
        self.looks.wary |= !open;
        let facts = self.facts.entry(id).or_default();
        facts.quiet = if open && view.journal_len == 0 { facts.quiet.saturating_add(1) } else { 0 };
    }

    /// Creates the ledger rows of lanes that were published for this partition, once. A lane that
    /// the ledger does not take, because it or one of its offers is another's, is parked: the
    /// others go on.
    async fn add_lanes(&mut self, sales: &Sales) -> Result<(), Halt> {
        let now = self.shared.clock.now_ms();
        let selling = sales.values().filter(|sale| sale.window.closes_at_ms > now);
        let lanes = selling.flat_map(|sale| sale.lanes.iter().map(move |lane| (sale, lane)));
        let new: Vec<(&Sale, &Lane)> = lanes
            .filter(|(_, lane)| lane.partition == self.id && !self.lanes.contains_key(&lane.id))
            .filter(|(sale, lane)| !self.looks.refused.contains(&(lane.id, sale.version)))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        for &(sale, lane) in &new {
            tracing::info!(sale = %sale.id, lane = %lane.id, partition = %self.id, "a new lane");
            match self.shared.ledger.add_lane(&lane_row(sale, lane), sale.window.opens_at_ms).await {
                Ok(_) | Err(SqlError::KeyTaken(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.read_lanes().await?;
        for (sale, lane) in new {
            if !self.lanes.contains_key(&lane.id) {
                self.refuse(sale, lane).await?;
            }
        }
        Ok(())
    }

    async fn refuse(&mut self, sale: &Sale, lane: &Lane) -> Result<(), Halt> {
        let message = format!("the ledger has lane {} or one of its offers for another sale or partition", lane.id);
        let contradiction = Contradiction { place: Place::Lane(lane.id), message };
        tracing::error!(sale = %sale.id, version = sale.version, %contradiction, "a lane is parked and does not sell");
        let publications = self.shared.ledger.publications();
        publications.park(sale, &[contradiction]).await?;
        self.shared.metrics.sales_parked.set(publications.parked().await?.cast_signed());
        self.looks.refused.insert((lane.id, sale.version));
        Ok(())
    }

    async fn look_at(&mut self, id: LaneId, view: &LaneView, sale: Option<&Sale>) -> Result<(), Halt> {
        let Some(epoch) = self.lanes.get(&id).map(|lane| lane.epoch).filter(|_| self.has_caught_up()) else {
            return Ok(());
        };
        if self.loads.is_under_way(id, epoch) || self.waits_for_a_record(id) {
            return Ok(());
        }
        let now = self.shared.clock.monotonic();
        let facts = self.facts.entry(id).or_default();
        let is_open = view.mode == (LaneMode::Open { epoch }) && !facts.distrusted;
        if !is_open {
            facts.strikes += 1;
            // A lane that was never opened cannot be open by anybody else's work that is still to
            // be seen.
            if !facts.distrusted && facts.strikes < STRIKES && epoch != Epoch(0) {
                return Ok(());
            }
        }
        match Care::of(sale.map(|sale| sale.window), is_open, self.shared.clock.now_ms()) {
            Care::Keep => {
                facts.opened();
                return self.keep_allotments(id, epoch, sale).await;
            }
            Care::Retire if self.is_over(sale).await? => self.retire(id).await?,
            Care::Rebuild | Care::Retire => self.rebuild(id).await?,
        }
        self.looks.rebuilding += self.shared.clock.monotonic().saturating_sub(now);
        Ok(())
    }

    /// Whether a record that begins the lane's next epoch is in the log and may still be decided.
    pub(crate) fn waits_for_a_record(&mut self, id: LaneId) -> bool {
        let (now, patience) = (self.shared.clock.monotonic(), self.shared.pace.rebuild_patience);
        let epoch = self.lanes.get(&id).map(|lane| lane.epoch).unwrap_or_default();
        let Some(facts) = self.facts.get_mut(&id) else { return false };
        facts.rebuilding =
            facts.rebuilding.filter(|(asked, since)| epoch < *asked && now.saturating_sub(*since) < patience);
        facts.rebuilding.is_some()
    }

    /// Such a record was appended just now.
    pub(crate) fn wait_for_a_record(&mut self, id: LaneId, epoch: Epoch) {
        let now = self.shared.clock.monotonic();
        self.facts.entry(id).or_default().rebuilding = Some((epoch, now));
    }

    /// Whether the lane is open at the ledger's epoch.
    pub(crate) async fn is_open(&self, id: LaneId) -> Result<bool, Halt> {
        let Some(epoch) = self.lanes.get(&id).map(|lane| lane.epoch) else { return Ok(true) };
        let distrusted = self.facts.get(&id).is_some_and(|facts| facts.distrusted);
        Ok(!distrusted && self.shared.stock.inspect(id).await?.mode == LaneMode::Open { epoch })
    }

    /// R3, step 1, under this epoch or a later one; `None` when it was refused.
    pub(crate) async fn close(&mut self, id: LaneId, at_least: Epoch) -> Result<Option<Epoch>, Halt> {
        let facts = self.facts.entry(id).or_default();
        let epoch = at_least.max(facts.marker_seen);
        match self.shared.stock.close(id, epoch).await? {
            CloseAnswer::Closed => return Ok(Some(epoch)),
            CloseAnswer::RefusedMarker { marker } => facts.marker_seen = marker,
            CloseAnswer::RefusedOpen { epoch: open } => {
                // Open above what this worker believes: either its memory is stale, or the ledger
                // lost its tail.
                facts.marker_seen = open.next();
                self.read_lanes().await?;
            }
        }
        Ok(None)
    }

    /// R3, steps 1 to 3. Whatever stays unclear is done again by a later look: closing again is
    /// idempotent, batches and epoch records that stand twice in the log are no-ops.
    pub(crate) async fn rebuild(&mut self, id: LaneId) -> Result<(), Halt> {
        let Some(next) = self.lanes.get(&id).map(|lane| lane.epoch.next()) else { return Ok(()) };
        let Some((epoch, drained)) = self.close_and_drain(id, next).await? else { return Ok(()) };
        self.append_epoch(&Record::EpochOpened { lane: id, epoch }, &drained).await?;
        self.shared.failpoint.reach(Step::EpochAppended);
        let drained = drained.len();
        tracing::info!(lane = %id, %epoch, drained, "lane closed, its next epoch is in the log");
        self.shared.metrics.rebuilds.inc();
        self.wait_for_a_record(id, epoch);
        Ok(())
    }

    /// Appends every batch of a closed lane's journal and waits for the acknowledgements. Returns
    /// where each stands.
    pub(crate) async fn drain(&self, id: LaneId) -> Result<Vec<(u64, RecordId)>, Halt> {
        let journal = self.shared.stock.journal(id).await?;
        let mut drained = Vec::with_capacity(journal.len());
        for (batch, payload) in journal {
            let record = RecordId::new(batch.get()).map_err(|error| self.contradiction(error.to_string()))?;
            if let Err(damage) = Record::read(BATCH_TYPE, payload.clone()) {
                // The log would not take it for a record either, and the next load ends the
                // journal.
                let entry = Entry { offset: self.row.offset, id: Some(record), kind: BATCH_TYPE.into(), payload };
                self.park(&entry, &damage.to_string()).await?;
                continue;
            }
            let offset = self.append_raw(Envelope { id: record, kind: BATCH_TYPE, payload }).await?;
            drained.push((offset, record));
        }
        Ok(drained)
    }

    /// R9: tells the lane the ledger's last change, once in an epoch (a crash may have kept it from
    /// the lane), and then asks for the change that a newer version of the sale wants; for an
    /// unchanged allotment too, which gives back what a keeper withheld and never asked for. The
    /// same version asks again while the ledger has another target (a program that knew none
    /// decided it), or units are unsold although the allotment is above the target (they came back
    /// before the change was decided, or a keeper withheld them and died).
    async fn keep_allotments(&mut self, id: LaneId, epoch: Epoch, sale: Option<&Sale>) -> Result<(), Halt> {
        let Some(offers) = self.lanes.get(&id).map(|lane| lane.offers.clone()) else { return Ok(()) };
        for &offer in offers.keys() {
            if !self.has_told(id, offer) {
                self.adjust(id, offer).await?;
            }
        }
        let Some(sale) = sale else { return Ok(()) };
        for (_, offer) in sale.offers().filter(|(lane, _)| lane.id == id) {
            let Some(numbers) = offers.get(&offer.id) else { continue };
            let is_unsold = numbers.excess() > 0 && numbers.allotment > numbers.sold;
            let is_behind = numbers.sale_version < sale.version
                || numbers.sale_version == sale.version && (numbers.target != offer.allotment || is_unsold);
            if !is_behind {
                continue;
            }
            let change = AllotmentChange {
                lane: id,
                offer: offer.id,
                sale_version: sale.version,
                delta: offer.allotment.cast_signed() - numbers.allotment.cast_signed(),
                target: Some(offer.allotment),
                epoch,
                after: numbers.changed_at,
            };
            self.ask_for(change).await?;
        }
        Ok(())
    }

    async fn ask_for(&mut self, mut change: AllotmentChange) -> Result<(), Halt> {
        let AllotmentChange { lane, offer, sale_version, delta, epoch, after, .. } = change;
        let (now, patience) = (self.shared.clock.monotonic(), self.shared.pace.rebuild_patience);
        let asked = self.facts.entry(lane).or_default().asked.get(&offer).copied();
        let is_asked = |(version, follows, since)| {
            (version, follows) == (sale_version, after) && now.saturating_sub(since) < patience
        };
        if asked.is_some_and(is_asked) {
            return Ok(());
        }
        if delta < 0 {
            // A reduction is first reserved like an order of the house, and takes only what is
            // free.
            match self.shared.stock.withhold(lane, epoch, offer, after, delta.unsigned_abs()).await? {
                LaneAnswer::Open(units) => change.delta = -units.cast_signed(),
                LaneAnswer::Closed { .. } => return Ok(()),
            }
        }
        let known = self.lanes.get(&lane).and_then(|lane| lane.offers.get(&offer));
        if change.delta == 0 && known.is_some_and(|n| (n.sale_version, Some(n.target)) == (sale_version, change.target))
        {
            // Promised, and not yet decided: nothing is free.
            return Ok(());
        }
        self.append(&Record::AllotmentChanged(change)).await?;
        tracing::info!(%lane, %offer, sale_version, delta = change.delta, "allotment change appended");
        self.facts.entry(lane).or_default().asked.insert(offer, (sale_version, after, now));
        Ok(())
    }
}

/// What is looked at in the place of a lane that shows nonsense: as good as none.
const fn unreadable() -> LaneView {
    LaneView { mode: LaneMode::Missing, offers: Vec::new(), journal_len: 0, oldest_due_ms: None, buyers_len: 0 }
}

fn lane_row(sale: &Sale, lane: &Lane) -> LaneRow {
    let offers = lane.offers.iter().map(|offer| OfferRow {
        offer: offer.id,
        allotment: offer.allotment,
        target: offer.allotment,
        sold: 0,
        sale_version: sale.version,
        changed_at: 0,
    });
    LaneRow {
        lane: lane.id,
        tenant: sale.tenant,
        sale: sale.id,
        partition: lane.partition,
        epoch: Epoch(0),
        is_retired: false,
        limit_per_buyer: lane.limit_per_buyer,
        first_order: None,
        offers: offers.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane is looked at every time while it is young, near its opening, or distrusted.
    #[test]
    fn a_lane_rests_only_when_nothing_is_about_to_happen() {
        let (opens_at_ms, opens) = (1_000_000, Some(1_000_000));
        let at_rest = LaneFacts { quiet: RESTING_AFTER, ..LaneFacts::default() };
        assert!(
            at_rest.rests(opens, opens_at_ms + OPENING_MS + 1) && at_rest.rests(opens, opens_at_ms - OPENING_MS - 1)
        );
        assert!(!at_rest.rests(opens, opens_at_ms) && !at_rest.rests(opens, opens_at_ms - OPENING_MS));
        assert!(at_rest.rests(None, 0));
        assert!(!LaneFacts { quiet: RESTING_AFTER - 1, ..at_rest.clone() }.rests(opens, 0));
        assert!(!LaneFacts { distrusted: true, ..at_rest }.rests(opens, 0));
    }
}
