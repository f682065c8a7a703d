//! Runs what a crowd did again, call by call in the order in which the lane answered, on a pure
//! machine, and compares every answer: those of the lane, what the buyers were answered, and what
//! is left.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use domain::{
    id::{Epoch, Generation, OfferId, OrderId, Position, PurchaseNumber},
    order::{Decision, OrderRow, Status},
    record::{Batch, Reservation},
    stock::{
        CloseAnswer, Gone, GoneWhy, LaneAnswer, LaneMachine, LaneView, LoadAnswer, ReserveAnswer, ReserveCall,
        ReserveReply, ReserveRequest, RunId,
    },
};
use engine::purchase::{Declined, PurchaseState};

use super::{
    crowd::{Bid, TASK, number_in},
    model::first_load,
    notes::Call,
    outcome::{Ending, Orders, Remains, Reply},
    seed::Seed,
};

const RUN: RunId = RunId(1);

/// What the machine says to a request.
struct Said {
    at: usize,
    call: ReserveCall,
    own: OrderId,
    reply: ReserveReply,
}

/// A replay.
pub(crate) struct Replay<'a> {
    shop: &'a Seed,
    machine: LaneMachine,
    said: HashMap<u64, Vec<Said>>,
    rows: BTreeMap<OrderId, OrderRow>,
    released: HashSet<OrderId>,
    pub(crate) faults: Vec<String>,
}

impl<'a> Replay<'a> {
    /// Runs the calls in their order. A lane that was opened more than once has nothing to do with
    /// a crowd.
    pub(crate) fn of(shop: &'a Seed, calls: &[Call]) -> Self {
        let (machine, said, rows) = (LaneMachine::default(), HashMap::new(), BTreeMap::new());
        let mut replay = Self { shop, machine, said, rows, released: HashSet::new(), faults: Vec::new() };
        for (at, call) in calls.iter().enumerate() {
            match call {
                Call::Load(epoch, load, answer) => {
                    replay.expect(at, "its first load", load, &first_load(shop));
                    replay.expect(at, "close", &replay.machine.clone().close(RUN, *epoch), &CloseAnswer::Closed);
                    replay.machine.close(RUN, *epoch);
                    let loaded = replay.machine.load(RUN, *epoch, load);
                    replay.expect(at, "load", answer, &Some(loaded));
                    replay.expect(at, "load", &loaded, &LoadAnswer::Loaded);
                }
                Call::Reserve(call, requests, answer) => replay.reserve(at, *call, requests, answer.as_ref()),
                Call::Settle(epoch, batches, gone, answer) => {
                    let right = replay.machine.settle(RUN, *epoch, batches, gone);
                    replay.expect(at, "settle", answer, &Some(right));
                    replay.gone(gone);
                }
            }
        }
        replay
    }

    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, at: usize, what: &str, got: &T, right: &T) {
        if got != right {
            self.faults.push(format!("call {at}, {what}:\n  got {got:?}\n  pure {right:?}"));
        }
    }

    fn reserve(
        &mut self,
        at: usize,
        call: ReserveCall,
        requests: &[ReserveRequest],
        answer: Option<&LaneAnswer<ReserveAnswer>>,
    ) {
        let right = self.machine.reserve(RUN, call, requests);
        if answer != Some(&right) {
            let wishes: Vec<_> = requests.iter().map(|r| (r.order, r.buyer, r.offer, r.quantity)).collect();
            self.faults.push(format!("call {at}, reserve {wishes:?}:\n  got {answer:?}\n  pure {right:?}"));
        }
        // An engine that does not know the epoch asks again.
        let LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) = right else { return };
        for (request, reply) in requests.iter().zip(replies) {
            let Some(reservation) = reservation(call, request) else {
                self.faults.push(format!("call {at}: {request:?} holds no reservation"));
                continue;
            };
            if let ReserveReply::Reserved(number) = reply {
                let position = Position { generation: Generation(1), offset: 1, index: 0 };
                let row = OrderRow::decided(call.lane, number, &reservation, position, Decision::Accepted);
                self.rows.extend(row.map(|row| (row.order, row)));
            }
            match number_in(&reservation.context) {
                Some(bid) => self.said.entry(bid).or_default().push(Said { at, call, own: request.order, reply }),
                None => self.faults.push(format!("call {at}: {reservation:?} is nobody's")),
            }
        }
    }

    fn gone(&mut self, gone: &[Gone]) {
        for gone in gone {
            if !matches!(gone.why, GoneWhy::Released { .. }) {
                self.faults.push(format!("{gone:?}: a promise was not kept"));
            }
            self.released.insert(gone.order);
        }
    }

    /// Compares what the buyers were answered.
    pub(crate) fn compare(&mut self, bids: &HashMap<u64, Bid>) {
        for (&number, bid) in bids {
            let fault = match (self.said.get(&number).map(Vec::as_slice), bid.outcome) {
                (Some([said]), outcome) => fault_of(said, bid, outcome.map(|bought| (bought.order, bought.state))),
                (None, Err(Declined::SoldOut)) => self.fault_of_hint(number, bid, bids),
                (said, _) => Some(format!("the lane answered it {} times", said.map_or(0, <[Said]>::len))),
            };
            if let Some(fault) = fault {
                self.faults.push(format!("bid {number}, {bid:?}: {fault}"));
            }
        }
        self.compare_cancels(bids);
    }

    /// An engine repeats the lane's own refusal for a while without asking: to a buyer whom the
    /// lane refused that offer, and never (R13) to one who was given an order for this key before.
    fn fault_of_hint(&self, number: u64, bid: &Bid, bids: &HashMap<u64, Bid>) -> Option<String> {
        let is_same = |other: &Bid| (other.wish.buyer, other.wish.offer) == (bid.wish.buyer, bid.wish.offer);
        let was_refused = self.said.iter().any(|(other, said)| {
            is_same(&bids[other]) && said.iter().any(|said| matches!(said.reply, ReserveReply::SoldOut { .. }))
        });
        if !was_refused {
            return Some("the lane never refused this buyer this offer".into());
        }
        let earlier = bids.iter().find(|(other, earlier)| {
            let is_before = TASK * (number / TASK) <= **other && **other < number;
            is_before && earlier.wish == bid.wish && earlier.outcome.is_ok()
        });
        earlier.map(|earlier| format!("this key had an order: {earlier:?}"))
    }

    /// Each order that was cancelled was so once, and its release came.
    fn compare_cancels(&mut self, bids: &HashMap<u64, Bid>) {
        let mut cancelled: HashMap<OrderId, usize> = HashMap::new();
        for bid in bids.values() {
            let Ok(bought) = bid.outcome else { continue };
            match &bid.cancel {
                None => {}
                Some(Reply::Cancelled) => *cancelled.entry(bought.order).or_default() += 1,
                Some(Reply::NotCancelled(Some(Status::Cancelled))) => {
                    cancelled.entry(bought.order).or_default();
                }
                Some(other) => self.faults.push(format!("{bid:?}: {other:?}")),
            }
        }
        if cancelled.values().any(|&times| times != 1) {
            self.faults.push(format!("cancelled, and how often: {cancelled:?}"));
        }
        let cancelled: HashSet<OrderId> = cancelled.into_keys().collect();
        if cancelled != self.released {
            self.faults.push(format!("cancelled {cancelled:?}, released {:?}", self.released));
        }
        for row in self.rows.values_mut().filter(|row| cancelled.contains(&row.order)) {
            row.status = Status::Cancelled;
            (row.number, row.released) = (None, Some(row.position));
        }
    }

    /// What must be left.
    pub(crate) fn ending(&self, orders: &mut Orders) -> Ending {
        self.rows.keys().for_each(|&order| {
            orders.number(order);
        });
        let view: LaneView = self.machine.inspect(RUN);
        let sold = |offer: OfferId| {
            let live = self.rows.values().filter(|row| row.is_live() && row.offer == offer);
            let allotment = self.shop.offers.iter().find(|(id, _)| *id == offer).map_or(0, |(_, allotment)| *allotment);
            (allotment, allotment, live.map(|row| u64::from(row.quantity)).sum())
        };
        let rows = self.rows.values().cloned().collect();
        Ending::of(self.shop, orders, Remains { view: &view, ledger: &sold, rows, buyers: self.machine.buyers() })
    }
}

/// The reservation inside a request.
fn reservation(call: ReserveCall, request: &ReserveRequest) -> Option<Reservation> {
    let head = Batch::head(call.lane, call.batch, Epoch(1));
    let bytes = Batch::concatenate(&head, std::iter::once(&request.field[..]), &[PurchaseNumber(1).0]);
    let batch = Batch::decode(Bytes::from(bytes)).ok()?;
    batch.reservations.into_iter().next().map(|(_, reservation)| reservation)
}

/// What is wrong with what a buyer was answered.
fn fault_of(said: &Said, bid: &Bid, got: Result<(OrderId, PurchaseState), Declined>) -> Option<String> {
    let is_right = match said.reply {
        ReserveReply::Reserved(_) => got == Ok((said.own, PurchaseState::Accepted)),
        // R12: between promise and settlement it is accepted only if this engine saw the
        // acknowledgement, whose moment no lane knows.
        ReserveReply::Repeat { order, settled: false, batch } if batch != Some(said.call.batch) => {
            got.is_ok_and(|(got, _)| got == order)
        }
        ReserveReply::Repeat { order, .. } => got == Ok((order, PurchaseState::Accepted)),
        ReserveReply::Released { order } => got == Ok((order, PurchaseState::Over(Status::Cancelled))),
        ReserveReply::Mismatch { .. } => got == Err(Declined::Mismatch),
        ReserveReply::LimitReached { .. } => got == Err(Declined::LimitReached),
        ReserveReply::SoldOut { .. } => got == Err(Declined::SoldOut),
    };
    (!is_right).then(|| format!("in call {} the machine says {:?} to {bid:?}", said.at, said.reply))
}
