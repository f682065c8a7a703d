//! The pure lane machine: one lane as a value. What the Lua scripts do to its keys they do as this
//! does to its fields; the server's run id comes as an argument, so that a restart is another
//! number and a loss an older clone.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::float_arithmetic)]

use std::collections::BTreeMap;

use bytes::Bytes;

mod buyers;
mod journal;
mod load;

use super::{
    CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneLoad, LaneMode, LaneView, LoadAnswer, Purchase, ReserveAnswer,
    ReserveCall, ReserveReply, ReserveRequest, TOMBSTONES_MAX,
};
use crate::{
    id::{BatchId, BuyerId, Epoch, OfferId, PurchaseNumber},
    record::Batch,
};
use buyers::Buyers;
use journal::Journal;

/// One run of the lanes' server: a restart is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// What a lane knows of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferStock {
    /// Units that may be promised.
    pub left: u64,
    /// The ledger's allotment, as far as it is known here.
    pub allotment: u64,
    /// Packed position of the change that made it so.
    pub changed_at: i64,
    /// Units taken out of sale for a reduction that is not decided (R9).
    pub withheld: u64,
}

/// What a lane knows beside buyers and journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    /// Loaded and not closed since. Another run of the server closes it all the same.
    pub open: bool,
    /// The epoch it was loaded under; 0 if it never was.
    pub epoch: Epoch,
    /// The keeper that closed it last; 0 for none.
    pub marker: Epoch,
    /// The run of the server in which it was closed and loaded.
    pub run: RunId,
    /// Live units one buyer may hold.
    pub limit_per_buyer: u32,
    /// Packed position of the last change of the limit that was told here; 0 after a load (R16).
    pub limit_changed_at: i64,
    /// The stock of every offer.
    pub offers: BTreeMap<OfferId, OfferStock>,
}

impl LaneState {
    fn is_open(&self, run: RunId) -> bool {
        self.open && self.run == run
    }
}

/// A lane. The default is a missing one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneMachine {
    state: Option<LaneState>,
    buyers: Buyers,
    journal: Journal,
}

/// A load made ready apart from its lane: the work of many buyers is done before the lane is
/// touched.
#[derive(Debug, Default)]
pub struct PreparedLoad {
    limit_per_buyer: u32,
    offers: BTreeMap<OfferId, OfferStock>,
    buyers: Buyers,
}

impl LaneMachine {
    fn closed<T>(&self) -> LaneAnswer<T> {
        LaneAnswer::Closed { epoch: self.state.as_ref().map(|state| state.epoch).unwrap_or_default() }
    }

    fn is_open(&self, run: RunId) -> bool {
        self.state.as_ref().is_some_and(|state| state.is_open(run))
    }

    fn is_open_at(&self, run: RunId, epoch: Epoch) -> bool {
        self.state.as_ref().is_some_and(|state| state.is_open(run) && state.epoch == epoch)
    }

    /// Decides the requests in their order and journals what it promised.
    pub fn reserve(&mut self, run: RunId, call: ReserveCall, requests: &[ReserveRequest]) -> LaneAnswer<ReserveAnswer> {
        if !self.is_open_at(run, call.epoch) {
            return self.closed();
        }
        // "Full" says that nothing was promised: a repeated call, which promises nothing new, gets
        // its replies.
        let repeated = self.has_run(call.batch, requests);
        let is_full = u32::try_from(self.journal.len()).map_or(true, |entries| entries >= call.journal_max);
        if is_full && !repeated {
            return LaneAnswer::Open(ReserveAnswer::JournalFull);
        }
        let decide = |request| self.reserve_one(call.batch, repeated, request);
        let replies: Vec<ReserveReply> = requests.iter().map(decide).collect();
        let accepted = replies.iter().zip(requests).filter_map(|(reply, request)| match reply {
            ReserveReply::Reserved(number) => Some((number.0, &request.field[..])),
            _ => None,
        });
        let (numbers, fields): (Vec<u8>, Vec<&[u8]>) = accepted.unzip();
        if !numbers.is_empty() {
            let head = Batch::head(call.lane, call.batch, call.epoch);
            let bytes = Batch::concatenate(&head, fields.into_iter(), &numbers);
            self.journal.insert(call.batch, bytes.into(), call.now_ms.saturating_add(call.sweep_after_ms));
        }
        LaneAnswer::Open(ReserveAnswer::Decided { replies, left: self.left_of(requests) })
    }

    /// Whether this call ran before and its answer was lost: its batch is in the journal, or a
    /// request finds its own order. (The batch alone does not tell it: a sweeper may have brought
    /// it into the log, and its settlement taken it out again.)
    fn has_run(&self, batch: BatchId, requests: &[ReserveRequest]) -> bool {
        let is_own = |request: &ReserveRequest| {
            let purchases = self.buyers.of(request.buyer);
            purchases.iter().any(|purchase| purchase.key == request.key && purchase.order == request.order)
        };
        self.journal.contains(batch) || requests.iter().any(is_own)
    }

    /// Units left of each offer asked for, in the order of first asking; 0 for offers that are not
    /// here.
    fn left_of(&self, requests: &[ReserveRequest]) -> Vec<(OfferId, u64)> {
        let mut left: Vec<(OfferId, u64)> = Vec::new();
        for request in requests {
            if !left.iter().any(|(offer, _)| *offer == request.offer) {
                left.push((request.offer, self.left(request.offer)));
            }
        }
        left
    }

    fn left(&self, offer: OfferId) -> u64 {
        self.state.as_ref().and_then(|state| state.offers.get(&offer)).map_or(0, |stock| stock.left)
    }

    fn is_settled(&self, purchase: &Purchase) -> bool {
        purchase.batch.is_none_or(|batch| !self.journal.contains(batch))
    }

    /// A call that is `repeated` promises nothing new: what it did not promise then it refused, and
    /// its journal entry may be in the log already.
    fn reserve_one(&mut self, batch: BatchId, repeated: bool, request: &ReserveRequest) -> ReserveReply {
        let purchases = self.buyers.of(request.buyer);
        if let Some(first) = purchases.iter().find(|purchase| purchase.key == request.key) {
            if (first.offer, first.quantity) != (request.offer, request.quantity) {
                return ReserveReply::Mismatch { order: first.order };
            }
            if first.number.is_none() {
                return ReserveReply::Released { order: first.order };
            }
            // What this very call has just promised is journaled at its end.
            let is_new = !repeated && first.batch == Some(batch);
            return ReserveReply::Repeat {
                order: first.order,
                batch: first.batch,
                settled: !is_new && self.is_settled(first),
            };
        }
        let live = || purchases.iter().filter(|purchase| purchase.number.is_some());
        let held: u32 = live().map(|purchase| purchase.quantity).sum();
        let tombstones = purchases.iter().filter(|purchase| purchase.number.is_none()).count();
        let is_free = |number: &PurchaseNumber| live().all(|purchase| purchase.number != Some(*number));
        let number = (1..=u8::MAX).map(PurchaseNumber).find(is_free);
        let Some(state) = self.state.as_mut() else { return ReserveReply::SoldOut { left: 0 } };
        let fits = tombstones < TOMBSTONES_MAX && held.saturating_add(request.quantity) <= state.limit_per_buyer;
        let Some(number) = number.filter(|_| fits) else { return ReserveReply::LimitReached { held } };
        let Some(stock) = state.offers.get_mut(&request.offer) else { return ReserveReply::SoldOut { left: 0 } };
        match stock.left.checked_sub(request.quantity.into()) {
            Some(left) if !repeated => stock.left = left,
            _ => return ReserveReply::SoldOut { left: stock.left },
        }
        let purchase = Purchase {
            order: request.order,
            offer: request.offer,
            quantity: request.quantity,
            number: Some(number),
            key: request.key,
            batch: Some(batch),
        };
        self.buyers.push(request.buyer, purchase);
        ReserveReply::Reserved(number)
    }

    /// A buyer's purchases, each with whether it is settled.
    pub fn find(&self, run: RunId, buyer: BuyerId) -> LaneAnswer<Vec<(Purchase, bool)>> {
        if !self.is_open(run) {
            return self.closed();
        }
        LaneAnswer::Open(self.buyers.of(buyer).iter().map(|purchase| (*purchase, self.is_settled(purchase))).collect())
    }

    /// Due batches, oldest first; their due time moves on.
    pub fn claim(&mut self, run: RunId, now_ms: u64, n: u32, backoff_ms: u64) -> LaneAnswer<Vec<(BatchId, Bytes)>> {
        if !self.is_open(run) {
            return self.closed();
        }
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        LaneAnswer::Open(self.journal.claim(now_ms, n, now_ms.saturating_add(backoff_ms)))
    }

    /// Takes decided batches out of the journal and gone orders out of their buyers' entries. R9:
    /// units that a release retires lower the known allotment in the same step, so that a repeated
    /// settlement retires nothing twice.
    pub fn settle(&mut self, run: RunId, epoch: Epoch, batches: &[BatchId], gone: &[Gone]) -> LaneAnswer<()> {
        if !self.is_open_at(run, epoch) {
            return self.closed();
        }
        for batch in batches {
            self.journal.remove(*batch);
        }
        for gone in gone {
            self.settle_one(gone);
        }
        LaneAnswer::Open(())
    }

    fn settle_one(&mut self, gone: &Gone) {
        let purchases = self.buyers.of_mut(gone.buyer);
        let live = |purchase: &Purchase| purchase.order == gone.order && purchase.number.is_some();
        let Some(at) = purchases.iter().position(live) else { return };
        let Some(Purchase { offer, quantity, number, .. }) = purchases.get_mut(at) else { return };
        let (offer, quantity) = (*offer, *quantity);
        let (back, retired) = match gone.why {
            GoneWhy::Released { retired } => (quantity.saturating_sub(retired), retired.min(quantity)),
            GoneWhy::Rejected => (quantity, 0),
            GoneWhy::RejectedForStock => (0, 0),
        };
        if matches!(gone.why, GoneWhy::Released { .. }) {
            // R6: its key keeps answering with it.
            *number = None;
        } else {
            self.buyers.remove(gone.buyer, at);
        }
        if let Some(stock) = self.state.as_mut().and_then(|state| state.offers.get_mut(&offer)) {
            stock.left = stock.left.saturating_add(back.into());
            stock.allotment = stock.allotment.saturating_sub(retired.into());
        }
    }

    /// R3: closes under the marker `epoch`. Buyers and journal stay.
    pub fn close(&mut self, run: RunId, epoch: Epoch) -> CloseAnswer {
        let state = self.state.get_or_insert(LaneState {
            open: false,
            epoch: Epoch(0),
            marker: Epoch(0),
            run,
            limit_per_buyer: 0,
            limit_changed_at: 0,
            offers: BTreeMap::new(),
        });
        if state.is_open(run) && state.epoch >= epoch {
            return CloseAnswer::RefusedOpen { epoch: state.epoch };
        }
        if state.marker > epoch {
            return CloseAnswer::RefusedMarker { marker: state.marker };
        }
        (state.open, state.marker, state.run) = (false, epoch, run);
        CloseAnswer::Closed
    }

    /// Every journal entry, by batch.
    pub fn journal(&self) -> Vec<(BatchId, Bytes)> {
        self.journal.iter().map(|(batch, bytes, _)| (batch, bytes.clone())).collect()
    }

    /// R4: opens a lane that is closed under this very marker in this very run.
    pub fn load(&mut self, run: RunId, epoch: Epoch, load: &LaneLoad) -> LoadAnswer {
        self.replace(run, epoch, PreparedLoad::new(load)).map_or(LoadAnswer::Refused, |_| LoadAnswer::Loaded)
    }

    /// The same in an instant, however many buyers there are: for who holds a lock. Answers the
    /// lane as it was, to be let go of without the lock; `None` is a refusal.
    pub fn replace(&mut self, run: RunId, epoch: Epoch, load: PreparedLoad) -> Option<Self> {
        if !self.is_closed_under(run, epoch) {
            return None;
        }
        let PreparedLoad { limit_per_buyer, offers, buyers } = load;
        let state = LaneState { open: true, epoch, marker: epoch, run, limit_per_buyer, limit_changed_at: 0, offers };
        Some(std::mem::replace(self, Self { state: Some(state), buyers, journal: Journal::default() }))
    }

    /// R14: lets go of a lane that is closed under this very marker in this very run; a missing one
    /// is gone. Answers the lane as it was, to be dropped without a lock; `None` is a refusal.
    pub fn retire(&mut self, run: RunId, epoch: Epoch) -> Option<Self> {
        let is_closed_for_it = |state: &LaneState| !state.open && state.marker == epoch && state.run == run;
        self.state.as_ref().is_none_or(is_closed_for_it).then(|| std::mem::take(self))
    }

    /// R9: follows the ledger's allotment if it was decided later than the known one. Units
    /// withheld count again: either the allotment falls by them, or the reduction that they were
    /// withheld for follows a change that is not the last one any more, and is void.
    pub fn adjust(
        &mut self,
        run: RunId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> LaneAnswer<()> {
        if !self.is_open_at(run, epoch) {
            return self.closed();
        }
        let stock = self.state.as_mut().and_then(|state| state.offers.get_mut(&offer));
        if let Some(stock) = stock.filter(|stock| stock.changed_at < changed_at) {
            stock.left = stock.left.saturating_add(std::mem::take(&mut stock.withheld));
            stock.left = stock.left.saturating_add(allotment).saturating_sub(stock.allotment);
            (stock.allotment, stock.changed_at) = (allotment, changed_at);
        }
        LaneAnswer::Open(())
    }

    /// R9: takes free units out of sale for a reduction that follows the change at `after`. The
    /// pool only grows until the next change of the allotment empties it, and after another change
    /// nothing is answered: so units are never counted for two reductions.
    pub fn withhold(&mut self, run: RunId, epoch: Epoch, offer: OfferId, after: i64, units: u64) -> LaneAnswer<u64> {
        if !self.is_open_at(run, epoch) {
            return self.closed();
        }
        let Some(stock) = self.state.as_mut().and_then(|state| state.offers.get_mut(&offer)) else {
            return LaneAnswer::Open(0);
        };
        if stock.changed_at != after {
            return LaneAnswer::Open(0);
        }
        let more = units.saturating_sub(stock.withheld).min(stock.left);
        stock.left = stock.left.saturating_sub(more);
        stock.withheld = stock.withheld.saturating_add(more);
        LaneAnswer::Open(units.min(stock.withheld))
    }

    /// R16: follows the ledger's limit, which the change at `changed_at` made, if that was decided
    /// later than the last one told here; and promises by no more than `most` until the next one is
    /// told. Answers the limit that holds here then, none where a later change was told.
    pub fn limit(
        &mut self,
        run: RunId,
        epoch: Epoch,
        limit: u32,
        changed_at: i64,
        most: u32,
    ) -> LaneAnswer<Option<u32>> {
        let is_open = self.is_open_at(run, epoch);
        let Some(state) = self.state.as_mut().filter(|_| is_open) else { return self.closed() };
        if state.limit_changed_at > changed_at {
            return LaneAnswer::Open(None);
        }
        if state.limit_changed_at < changed_at {
            (state.limit_per_buyer, state.limit_changed_at) = (limit, changed_at);
        }
        state.limit_per_buyer = state.limit_per_buyer.min(most);
        LaneAnswer::Open(Some(state.limit_per_buyer))
    }

    /// The lane as keepers and metrics see it.
    pub fn inspect(&self, run: RunId) -> LaneView {
        let mode = match &self.state {
            None => LaneMode::Missing,
            Some(state) if state.is_open(run) => LaneMode::Open { epoch: state.epoch },
            Some(state) => LaneMode::Closed { marker: if state.open { Epoch(0) } else { state.marker } },
        };
        let offers = self.state.iter().flat_map(|state| &state.offers);
        LaneView {
            mode,
            limit_per_buyer: self.state.as_ref().map_or(0, |state| state.limit_per_buyer),
            offers: offers.map(|(&offer, stock)| (offer, stock.left, stock.allotment)).collect(),
            journal_len: count(self.journal.len()),
            oldest_due_ms: self.journal.oldest_due_ms(),
            buyers_len: count(self.buyers.len()),
        }
    }

    /// Every buyer with an entry, and its purchases.
    pub fn buyers(&self) -> Vec<(BuyerId, Vec<Purchase>)> {
        self.buyers.iter().map(|(buyer, purchases)| (buyer, purchases.to_vec())).collect()
    }

    /// When each journal entry is due for the sweeper, by batch.
    pub fn due(&self) -> Vec<(BatchId, u64)> {
        self.journal.iter().map(|(batch, _, at)| (batch, at)).collect()
    }

    /// What it knows beside buyers and journal; `None` for a missing lane.
    pub const fn state(&self) -> Option<&LaneState> {
        self.state.as_ref()
    }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
