//! The keeper of a partition's lanes: the only one that opens and rebuilds them. A rebuild is a
//! record in the log (R3): close, drain the journal, append the epoch; the worker decides up to it,
//! and the winner of its commit loads the lane (R4). Any number of keepers may run: markers, epochs
//! and the ledger's compare-and-set sort them out.

use domain::{
    adopt::{Contradiction, Place},
    id::{Epoch, LaneId, RecordId},
    record::{AllotmentChange, BATCH_TYPE, Record},
    sale::{Lane, Sale},
    stock::{CloseAnswer, LaneAnswer, LaneMode, LaneView},
};
use kit::clock::Clock;
use store::{
    ledger::LaneRow,
    log::{Entry, Envelope},
    sql::SqlError,
    stock::{LaneKeeping, StockError},
};

use crate::{
    failpoint::Step,
    partition::Partition,
    ports::{Halt, Ports, Sales},
    turn::{Care, Turn},
};

impl<P: Ports> Partition<P> {
    /// One look at the partition and its lanes, between two spans.
    pub(crate) async fn look(&mut self) -> Result<(), Halt> {
        self.stop_if_stale().await?;
        let sales: Sales = self.shared.sales.borrow().clone();
        self.add_lanes(&sales).await?;
        let now = self.shared.clock.now_ms();
        let lanes = self.lanes_by_turn(&sales, now);
        let spares_none = self.looks.begin(&sales);
        let lag = self.undecided().await?;
        let offset = self.row().offset;
        self.shared.metrics.position(self.id, offset, lag);
        if lag == 0 {
            self.pulse.moved(self.shared.clock.monotonic());
        }
        if self.looks.note_position(offset) || lag == 0 {
            self.pulse.well();
        }
        self.look_for_absent().await;
        let looked = self.look_at_all(lanes, &sales, spares_none, lag == 0).await;
        // Whatever ended the look: what it appended is proven before anything is decided.
        self.prove_epochs().await?;
        looked
    }

    async fn look_at_all(
        &mut self,
        lanes: Vec<LaneId>,
        sales: &Sales,
        spares_none: bool,
        decided: bool,
    ) -> Result<(), Halt> {
        let now = self.shared.clock.now_ms();
        for lane in lanes {
            if self.looks.end_if_late() {
                break;
            }
            let sale = self.owner_of(sales, lane);
            if (!spares_none && self.may_rest(lane, sale, now)) || self.is_aside(lane) {
                continue;
            }
            match self.look_into(lane, sale, now, decided).await {
                Err(Halt::Stock(error)) => self.set_aside(lane, error).await?,
                done => done?,
            }
        }
        self.look_at_ended(sales, now, decided && self.looks.is_done()).await
    }

    /// The lanes to look at, those first that buyers want now, without those at their end.
    fn lanes_by_turn(&self, sales: &Sales, now: u64) -> Vec<LaneId> {
        let mut lanes: Vec<(Turn, LaneId)> = Vec::with_capacity(self.lanes().len());
        for &lane in self.lanes().keys() {
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
        sales.get(&self.lanes().get(&lane)?.sale)
    }

    async fn look_into(&mut self, lane: LaneId, sale: Option<&Sale>, now: u64, decided: bool) -> Result<(), Halt> {
        let view = match self.shared.stock.inspect(lane).await {
            // Whatever it holds: it is rebuilt, which sets aside what cannot be read.
            Err(StockError::Broken(_)) if self.is_distrusted(lane) => {
                return self.look_at(lane, &unreadable(), sale).await;
            }
            view => view?,
        };
        self.shared.metrics.lane((self.id, lane), &view, self.lanes().get(&lane), now, decided);
        self.note_rest(lane, &view);
        self.look_at(lane, &view, sale).await
    }

    /// Whether this look may leave a lane out.
    fn may_rest(&self, id: LaneId, sale: Option<&Sale>, now_ms: u64) -> bool {
        let opens_at_ms = sale.map(|sale| sale.window.opens_at_ms);
        !self.looks.is_turn_of(id) && self.facts.get(id).is_some_and(|facts| facts.is_at_rest(opens_at_ms, now_ms))
    }

    fn note_rest(&mut self, id: LaneId, view: &LaneView) {
        let open = self.lanes().get(&id).is_some_and(|lane| view.mode == LaneMode::Open { epoch: lane.epoch });
        self.looks.note_lane(open);
        self.facts.of(id).note_look(open && view.journal_len == 0);
    }

    /// Creates the ledger rows of lanes that were published for this partition, once. A lane that
    /// the ledger does not take, because it or one of its offers is another's, is parked: the
    /// others go on.
    async fn add_lanes(&mut self, sales: &Sales) -> Result<(), Halt> {
        let now = self.shared.clock.now_ms();
        let selling = sales.values().filter(|sale| sale.window.closes_at_ms > now);
        let lanes = selling.flat_map(|sale| sale.lanes.iter().map(move |lane| (sale, lane)));
        let new: Vec<(&Sale, &Lane)> = lanes
            .filter(|(_, lane)| lane.partition == self.id && !self.lanes().contains_key(&lane.id))
            .filter(|(sale, lane)| !self.looks.is_refused(lane.id, sale.version))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        for &(sale, lane) in &new {
            tracing::info!(sale = %sale.id, lane = %lane.id, partition = %self.id, "a new lane");
            match self.shared.ledger.add_lane(&LaneRow::first(sale, lane), sale.window.opens_at_ms).await {
                Ok(_) | Err(SqlError::KeyTaken(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.read_lanes().await?;
        for (sale, lane) in new {
            if !self.lanes().contains_key(&lane.id) {
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
        self.looks.note_refused(lane.id, sale.version);
        Ok(())
    }

    async fn look_at(&mut self, id: LaneId, view: &LaneView, sale: Option<&Sale>) -> Result<(), Halt> {
        let Some(epoch) = self.lanes().get(&id).map(|lane| lane.epoch).filter(|_| self.has_caught_up()) else {
            return Ok(());
        };
        if self.loads.is_under_way(id, epoch) || self.waits_for_a_record(id) {
            return Ok(());
        }
        let now = self.shared.clock.monotonic();
        let facts = self.facts.of(id);
        let is_open = view.mode == (LaneMode::Open { epoch }) && !facts.is_distrusted();
        if !is_open && !facts.note_closed(epoch != Epoch(0)) {
            return Ok(());
        }
        match Care::of(sale.map(|sale| sale.window), is_open, self.shared.clock.now_ms()) {
            Care::Keep => {
                facts.note_open();
                self.keep_allotments(id, epoch, sale).await?;
                return self.keep_limit(id, epoch, view.limit_per_buyer, sale).await;
            }
            Care::Retire if self.is_over(sale).await? => self.retire(id).await?,
            Care::Rebuild | Care::Retire => self.rebuild(id).await?,
        }
        self.looks.note_rebuilt(self.shared.clock.monotonic().saturating_sub(now));
        Ok(())
    }

    /// Whether a record that begins the lane's next epoch is in the log and may still be decided.
    pub(crate) fn waits_for_a_record(&mut self, id: LaneId) -> bool {
        let (now, patience) = (self.shared.clock.monotonic(), self.shared.pace.rebuild_patience);
        let epoch = self.lanes().get(&id).map(|lane| lane.epoch).unwrap_or_default();
        self.facts.of(id).waits_for_record(epoch, now, patience)
    }

    /// Such a record was appended just now.
    pub(crate) fn wait_for_a_record(&mut self, id: LaneId, epoch: Epoch) {
        let now = self.shared.clock.monotonic();
        self.facts.of(id).wait_for_record(epoch, now);
    }

    /// Whether the lane is open at the ledger's epoch.
    pub(crate) async fn is_open(&self, id: LaneId) -> Result<bool, Halt> {
        let Some(epoch) = self.lanes().get(&id).map(|lane| lane.epoch) else { return Ok(true) };
        Ok(!self.is_distrusted(id) && self.shared.stock.inspect(id).await?.mode == LaneMode::Open { epoch })
    }

    /// R3, step 1, under this epoch or a later one; `None` when it was refused.
    pub(crate) async fn close(&mut self, id: LaneId, at_least: Epoch) -> Result<Option<Epoch>, Halt> {
        let facts = self.facts.of(id);
        let epoch = facts.next_marker(at_least);
        match self.shared.stock.close(id, epoch).await? {
            CloseAnswer::Closed => return Ok(Some(epoch)),
            CloseAnswer::RefusedMarker { marker } => facts.note_marker(marker),
            CloseAnswer::RefusedOpen { epoch: open } => {
                // Open above what this worker believes: either its memory is stale, or the ledger
                // lost its tail.
                facts.note_marker(open.next());
                self.read_lanes().await?;
            }
        }
        Ok(None)
    }

    /// R3, steps 1 to 3. Whatever stays unclear is done again by a later look: closing again is
    /// idempotent, batches and epoch records that stand twice in the log are no-ops.
    pub(crate) async fn rebuild(&mut self, id: LaneId) -> Result<(), Halt> {
        let Some(next) = self.lanes().get(&id).map(|lane| lane.epoch.next()) else { return Ok(()) };
        let Some((epoch, drained)) = self.close_and_drain(id, next).await? else { return Ok(()) };
        let batches = drained.len();
        self.append_epoch(Record::EpochOpened { lane: id, epoch }, drained).await?;
        self.shared.failpoint.reach(Step::EpochAppended);
        tracing::info!(lane = %id, %epoch, drained = batches, "lane closed, its next epoch is in the log");
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
                let entry = Entry { offset: self.row().offset, id: Some(record), kind: BATCH_TYPE.into(), payload };
                self.park(&entry, &damage.to_string()).await?;
                continue;
            }
            let offset = self.append_raw(Envelope { id: record, kind: BATCH_TYPE, payload }).await?;
            drained.push((offset, record));
        }
        Ok(drained)
    }

    /// R9: adjusts the lane to the ledger's last change, once in an epoch (a crash may have kept it
    /// from the lane), and then asks for the change that a newer version of the sale wants; for an
    /// unchanged allotment too, which gives back what a keeper withheld and never asked for. The
    /// same version asks again while the ledger has another target (a program that knew none
    /// decided it), or units are unsold although the allotment is above the target (they came back
    /// before the change was decided, or a keeper withheld them and died).
    async fn keep_allotments(&mut self, id: LaneId, epoch: Epoch, sale: Option<&Sale>) -> Result<(), Halt> {
        let Some(offers) = self.lanes().get(&id).map(|lane| lane.offers.clone()) else { return Ok(()) };
        for &offer in offers.keys() {
            if !self.is_adjusted(id, offer) {
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
        if self.facts.of(lane).has_asked(offer, (sale_version, after), now, patience) {
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
        let known = self.lanes().get(&lane).and_then(|lane| lane.offers.get(&offer));
        if change.delta == 0 && known.is_some_and(|n| (n.sale_version, Some(n.target)) == (sale_version, change.target))
        {
            // Promised, and not yet decided: nothing is free.
            return Ok(());
        }
        self.append(&Record::AllotmentChanged(change)).await?;
        tracing::info!(%lane, %offer, sale_version, delta = change.delta, "allotment change appended");
        self.facts.of(lane).note_asked(offer, (sale_version, after), now);
        Ok(())
    }
}

/// What is looked at in the place of a lane that shows nonsense: as good as none.
const fn unreadable() -> LaneView {
    LaneView {
        mode: LaneMode::Missing,
        limit_per_buyer: 0,
        offers: Vec::new(),
        journal_len: 0,
        oldest_due_ms: None,
        buyers_len: 0,
    }
}
