//! The pure lane machine: one lane as a value. What the Lua scripts do to its keys they do as this does to its fields; the server's run
//! id comes as an argument, so that a restart is another number and a loss an older clone.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneLoad, LaneMode, LaneView, LoadAnswer, Purchase, ReserveAnswer,
    ReserveCall, ReserveReply, ReserveRequest, TOMBSTONES_MAX,
};
use crate::{
    id::{BatchId, BuyerId, Epoch, OfferId, PurchaseNumber},
    record::Batch,
};

/// One run of the lanes' server: a restart is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shelf {
    left: u64,
    allotment: u64,
    changed_at: i64,
    /// Version that asked for a reduction, and the units taken out of sale for it.
    withheld: (u32, u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    open: bool,
    epoch: Epoch,
    marker: Epoch,
    run: RunId,
    limit_per_buyer: u32,
    offers: BTreeMap<OfferId, Shelf>,
}

/// A lane. The default is a missing one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneMachine {
    state: Option<State>,
    buyers: BTreeMap<BuyerId, Vec<Purchase>>,
    journal: BTreeMap<BatchId, Bytes>,
    due: BTreeMap<BatchId, u64>,
}

impl LaneMachine {
    fn closed<T>(&self) -> LaneAnswer<T> {
        LaneAnswer::Closed { epoch: self.state.as_ref().map(|state| state.epoch).unwrap_or_default() }
    }

    fn opened(&mut self, run: RunId) -> Option<&mut State> {
        self.state.as_mut().filter(|state| state.open && state.run == run)
    }

    fn is_open(&self, run: RunId, epoch: Epoch) -> bool {
        self.state.as_ref().is_some_and(|state| state.open && state.run == run && state.epoch == epoch)
    }

    /// Decides the requests in their order and journals what it promised.
    pub fn reserve(&mut self, run: RunId, call: ReserveCall, requests: &[ReserveRequest]) -> LaneAnswer<ReserveAnswer> {
        if !self.is_open(run, call.epoch) {
            return self.closed();
        }
        if self.journal.len() as u64 >= u64::from(call.journal_max) {
            return LaneAnswer::Open(ReserveAnswer::JournalFull);
        }
        let repeated = self.journal.contains_key(&call.batch);
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
            self.journal.insert(call.batch, bytes.into());
            self.due.insert(call.batch, call.now_ms + call.sweep_after_ms);
        }
        LaneAnswer::Open(ReserveAnswer::Decided { replies, left: self.left_of(requests) })
    }

    /// Units left of each offer asked for, in the order of first asking; 0 for offers that are not here.
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
        self.state.as_ref().and_then(|state| state.offers.get(&offer)).map_or(0, |shelf| shelf.left)
    }

    fn is_settled(&self, purchase: &Purchase) -> bool {
        purchase.batch.is_none_or(|batch| !self.journal.contains_key(&batch))
    }

    /// A call that is `repeated` after a lost answer promises nothing new: what it did not promise then it refused.
    fn reserve_one(&mut self, batch: BatchId, repeated: bool, request: &ReserveRequest) -> ReserveReply {
        let purchases = self.buyers.get(&request.buyer).map_or(&[][..], Vec::as_slice);
        if let Some(first) = purchases.iter().find(|purchase| purchase.key == request.key) {
            if (first.offer, first.quantity) != (request.offer, request.quantity) {
                return ReserveReply::Mismatch { order: first.order };
            }
            // A batch of this very call is in flight by definition.
            let settled = first.batch != Some(batch) && self.is_settled(first);
            return ReserveReply::Repeat { order: first.order, batch: first.batch, settled };
        }
        let held: u32 = purchases.iter().filter(|p| p.number.is_some()).map(|p| p.quantity).sum();
        let tombstones = purchases.iter().filter(|p| p.number.is_none()).count();
        let taken = |number: u8| purchases.iter().any(|p| p.number == Some(PurchaseNumber(number)));
        let free = (1..=u8::MAX).find(|&number| !taken(number));
        let Some(state) = self.state.as_mut() else { return ReserveReply::SoldOut { left: 0 } };
        let Some(number) = free.filter(|_| tombstones < TOMBSTONES_MAX && held + request.quantity <= state.limit_per_buyer)
        else {
            return ReserveReply::LimitReached { held };
        };
        match state.offers.get_mut(&request.offer) {
            Some(shelf) if shelf.left >= u64::from(request.quantity) && !repeated => shelf.left -= u64::from(request.quantity),
            shelf => return ReserveReply::SoldOut { left: shelf.map_or(0, |shelf| shelf.left) },
        }
        let number = PurchaseNumber(number);
        self.buyers.entry(request.buyer).or_default().push(Purchase {
            order: request.order,
            offer: request.offer,
            quantity: request.quantity,
            number: Some(number),
            key: request.key,
            batch: Some(batch),
        });
        ReserveReply::Reserved(number)
    }

    /// A buyer's purchases, each with whether it is settled.
    pub fn find(&mut self, run: RunId, buyer: BuyerId) -> LaneAnswer<Vec<(Purchase, bool)>> {
        if self.opened(run).is_none() {
            return self.closed();
        }
        let purchases = self.buyers.get(&buyer).map_or(&[][..], Vec::as_slice);
        LaneAnswer::Open(purchases.iter().map(|purchase| (*purchase, self.is_settled(purchase))).collect())
    }

    /// Due batches, oldest first; their due time moves on.
    pub fn claim(&mut self, run: RunId, now_ms: u64, n: u32, backoff_ms: u64) -> LaneAnswer<Vec<(BatchId, Bytes)>> {
        if self.opened(run).is_none() {
            return self.closed();
        }
        let mut due: Vec<(u64, BatchId)> =
            self.due.iter().filter(|&(_, &at)| at <= now_ms).map(|(&batch, &at)| (at, batch)).collect();
        due.sort_unstable();
        due.truncate(usize::try_from(n).unwrap_or(usize::MAX));
        let mut claimed = Vec::new();
        for (_, batch) in due {
            match self.journal.get(&batch) {
                Some(bytes) => {
                    self.due.insert(batch, now_ms + backoff_ms);
                    claimed.push((batch, bytes.clone()));
                }
                None => {
                    self.due.remove(&batch);
                }
            }
        }
        LaneAnswer::Open(claimed)
    }

    /// Takes decided batches out of the journal and gone orders out of their buyers' entries.
    pub fn settle(&mut self, run: RunId, epoch: Epoch, batches: &[BatchId], gone: &[Gone]) -> LaneAnswer<()> {
        if !self.is_open(run, epoch) {
            return self.closed();
        }
        for batch in batches {
            self.journal.remove(batch);
            self.due.remove(batch);
        }
        for gone in gone {
            self.settle_one(gone);
        }
        LaneAnswer::Open(())
    }

    fn settle_one(&mut self, gone: &Gone) {
        let Some(purchases) = self.buyers.get_mut(&gone.buyer) else { return };
        let live = |purchase: &Purchase| purchase.order == gone.order && purchase.number.is_some();
        let Some(at) = purchases.iter().position(live) else { return };
        let Purchase { offer, quantity, .. } = purchases[at];
        if gone.why == GoneWhy::Released {
            // R6: its key keeps answering with it.
            purchases[at].number = None;
        } else {
            purchases.remove(at);
            if purchases.is_empty() {
                self.buyers.remove(&gone.buyer);
            }
        }
        let shelf = self.state.as_mut().and_then(|state| state.offers.get_mut(&offer));
        if let Some(shelf) = shelf.filter(|_| gone.why != GoneWhy::RejectedForStock) {
            shelf.left += u64::from(quantity);
        }
    }

    /// R3: closes under the marker `epoch`. Buyers and journal stay.
    pub fn close(&mut self, run: RunId, epoch: Epoch) -> CloseAnswer {
        let state = self.state.get_or_insert(State {
            open: false,
            epoch: Epoch(0),
            marker: Epoch(0),
            run,
            limit_per_buyer: 0,
            offers: BTreeMap::new(),
        });
        if state.open && state.run == run && state.epoch >= epoch {
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
        self.journal.iter().map(|(&batch, bytes)| (batch, bytes.clone())).collect()
    }

    /// R4: opens a lane that is closed under this very marker in this very run.
    pub fn load(&mut self, run: RunId, epoch: Epoch, load: &LaneLoad) -> LoadAnswer {
        let closed = self.state.as_ref().filter(|state| !state.open && state.marker == epoch && state.run == run);
        if closed.is_none() {
            return LoadAnswer::Refused;
        }
        let offers = load.offers.iter().map(|offer| {
            let shelf =
                Shelf { left: offer.left, allotment: offer.allotment, changed_at: offer.changed_at, withheld: (0, 0) };
            (offer.offer, shelf)
        });
        *self = Self {
            state: Some(State {
                open: true,
                epoch,
                marker: epoch,
                run,
                limit_per_buyer: load.limit_per_buyer,
                offers: offers.collect(),
            }),
            buyers: load.buyers.iter().filter(|(_, purchases)| !purchases.is_empty()).cloned().collect(),
            ..Self::default()
        };
        LoadAnswer::Loaded
    }

    /// R9: follows the ledger's allotment if it was decided later than the known one. Units withheld for a reduction count again, since
    /// the allotment falls by them.
    pub fn adjust(
        &mut self,
        run: RunId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> LaneAnswer<()> {
        if !self.is_open(run, epoch) {
            return self.closed();
        }
        let shelf = self.state.as_mut().and_then(|state| state.offers.get_mut(&offer));
        if let Some(shelf) = shelf.filter(|shelf| shelf.changed_at < changed_at) {
            shelf.left = (shelf.left + shelf.withheld.1 + allotment).saturating_sub(shelf.allotment);
            (shelf.allotment, shelf.changed_at, shelf.withheld.1) = (allotment, changed_at, 0);
        }
        LaneAnswer::Open(())
    }

    /// R9: takes free units out of sale for a reduction, once per version of the sale.
    pub fn withhold(
        &mut self,
        run: RunId,
        epoch: Epoch,
        offer: OfferId,
        sale_version: u32,
        units: u64,
    ) -> LaneAnswer<u64> {
        if !self.is_open(run, epoch) {
            return self.closed();
        }
        let Some(shelf) = self.state.as_mut().and_then(|state| state.offers.get_mut(&offer)) else {
            return LaneAnswer::Open(0);
        };
        let (version, withheld) = shelf.withheld;
        if sale_version < version {
            return LaneAnswer::Open(0);
        }
        if sale_version > version {
            shelf.left += withheld;
            let taken = units.min(shelf.left);
            shelf.left -= taken;
            shelf.withheld = (sale_version, taken);
        }
        LaneAnswer::Open(shelf.withheld.1)
    }

    /// The lane's state.
    pub fn inspect(&self, run: RunId) -> LaneView {
        let mode = match &self.state {
            None => LaneMode::Missing,
            Some(state) if state.open && state.run == run => LaneMode::Open { epoch: state.epoch },
            Some(state) => LaneMode::Closed { marker: state.marker },
        };
        let offers = self.state.iter().flat_map(|state| &state.offers);
        LaneView {
            mode,
            offers: offers.map(|(&offer, shelf)| (offer, shelf.left, shelf.allotment)).collect(),
            journal_len: self.journal.len() as u64,
            oldest_due_ms: self.due.values().min().copied(),
            buyers_len: self.buyers.len() as u64,
        }
    }

    /// All buyers' entries.
    pub fn buyers(&self) -> Vec<(BuyerId, Vec<Purchase>)> {
        self.buyers.iter().map(|(&buyer, purchases)| (buyer, purchases.clone())).collect()
    }
}
