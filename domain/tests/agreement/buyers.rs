//! Buyers and the engine: reserve, append, sweep, and what was said to whom.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, KeyHash, LaneId, OfferId, OrderId},
    invariant::Invariant,
    money::Money,
    order::Status,
    record::{Batch, Reservation},
    stock::{Gone, GoneWhy, LaneAnswer, ReserveAnswer, ReserveCall, ReserveReply, ReserveRequest},
};

use crate::{
    world::{Played, Violation, World, id, tell},
    wrong::Wrong,
};

/// An order that Redis promised.
#[derive(Debug, Clone)]
pub struct Promise {
    pub lane: LaneId,
    pub wish: Wish,
    pub batch: BatchId,
    /// Its buyer was told "accepted".
    pub accepted: bool,
    /// Redis forgot it before it had a row.
    pub lost: bool,
}

/// What makes two purchases the same one, and its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    pub buyer: BuyerId,
    pub offer: OfferId,
    pub key: KeyHash,
}

/// A batch that the engine has still to append.
#[derive(Debug, Clone)]
struct Unsent {
    batch: BatchId,
    payload: Bytes,
}

/// The buyers, and the engine's memory.
#[derive(Debug, Default)]
pub struct Buyers {
    pub count: u64,
    pub promises: BTreeMap<OrderId, Promise>,
    /// Orders answered for each purchase, first to last.
    pub purchases: BTreeMap<Wish, Vec<OrderId>>,
    /// Orders promised for a purchase before its buyer was told that there is none.
    pub denied: BTreeSet<OrderId>,
    quantities: BTreeMap<Wish, u32>,
    epochs: BTreeMap<LaneId, Epoch>,
    acknowledged: BTreeSet<BatchId>,
    unsent: Vec<Unsent>,
    swept: Vec<Unsent>,
}

impl Buyers {
    pub fn is_idle(&self) -> bool {
        self.unsent.is_empty() && self.swept.is_empty()
    }

    /// A buyer was told that there is no order for a purchase.
    pub fn deny(&mut self, wish: Wish) {
        let promised = self.promises.iter().filter(|(_, promise)| promise.wish == wish);
        self.denied.extend(promised.map(|(order, _)| *order));
    }
}

impl World {
    /// One call of the engine for one lane, with up to three wishes.
    pub fn reserve(&mut self) -> Played {
        // Some engine's clock may be late.
        if self.over && !self.rng.once_in(4) {
            return self.repeat_one();
        }
        let lanes = self.lanes();
        let lane = self.rng.pick(&lanes);
        let offers: Vec<OfferId> = self.ledger.lanes[&lane].offers.keys().copied().collect();
        let limit = self.ledger.lanes[&lane].limit_per_buyer;
        let mut wishes = Vec::new();
        for _ in 0..self.rng.range(1, 3) {
            let (buyer, offer) = (id(self.rng.range(1, self.buyers.count)), self.rng.pick(&offers));
            let wish = Wish { buyer, offer, key: KeyHash([self.rng.range(1, 3) as u8; 16]) };
            let fresh = if self.forged || self.rng.once_in(2) { 1 } else { self.rng.range(1, u64::from(limit)) as u32 };
            let quantity = *self.buyers.quantities.entry(wish).or_insert(fresh);
            // Now and then the same key comes with other units. (A forged unit is told apart only
            // if all orders are for one.)
            let other = self.rng.once_in(12) && !self.forged;
            wishes.push((wish, if other { quantity % limit + 1 } else { quantity }));
        }
        self.call(lane, &wishes)
    }

    /// Every purchase that ever was answered, once more.
    pub fn repeat_all(&mut self) -> Played {
        let purchases: Vec<(Wish, OrderId)> =
            self.buyers.purchases.iter().map(|(wish, orders)| (*wish, orders[0])).collect();
        for (wish, order) in purchases {
            let lane = self.buyers.promises[&order].lane;
            tell!(self, "at rest, {wish:?} is asked for again");
            if self.over {
                self.repeat(lane, wish)?;
            } else {
                self.call(lane, &[(wish, self.buyers.quantities[&wish])])?;
            }
        }
        Ok(())
    }

    fn call(&mut self, lane: LaneId, wishes: &[(Wish, u32)]) -> Played {
        let batch: BatchId = self.mint();
        let mut requests = Vec::new();
        for (wish, quantity) in wishes {
            requests.push(self.request(*wish, *quantity));
        }
        for _follows in 0..2 {
            let epoch = self.buyers.epochs.get(&lane).copied().unwrap_or_default();
            let sweep_after_ms = self.rng.range(5, 30);
            let call = ReserveCall { lane, epoch, batch, now_ms: self.now_ms, sweep_after_ms, journal_max: 50 };
            let (machine, run) = self.redis.lane(lane);
            match machine.reserve(run, call, &requests) {
                LaneAnswer::Closed { epoch } => {
                    self.buyers.epochs.insert(lane, epoch);
                }
                LaneAnswer::Open(ReserveAnswer::JournalFull) => return Ok(()),
                LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) => {
                    return self.answered(call, &requests, &replies);
                }
            }
        }
        Ok(())
    }

    fn request(&mut self, wish: Wish, quantity: u32) -> ReserveRequest {
        let order = self.mint_order(wish.buyer);
        let reservation = Reservation {
            tenant: id(1),
            sale: id(1),
            sale_version: self.published.version,
            offer: wish.offer,
            sku: id(1),
            order,
            buyer: wish.buyer,
            quantity,
            unit_price: Money { amount: 100, currency: "CNY".parse().unwrap() },
            key: wish.key,
            reserved_at_ms: self.now_ms,
            context: Bytes::new(),
            pay_within_s: 0,
            trace: None,
        };
        let mut field = Vec::new();
        reservation.append_field(&mut field);
        ReserveRequest { order, buyer: wish.buyer, offer: wish.offer, quantity, key: wish.key, field: field.into() }
    }

    fn answered(&mut self, call: ReserveCall, requests: &[ReserveRequest], replies: &[ReserveReply]) -> Played {
        // A call whose answer is lost: the promise stands in the journal, and nobody was told.
        let heard = self.ending || !self.rng.once_in(10);
        if !heard {
            self.event("answer lost");
        }
        let (mut numbers, mut fields) = (Vec::new(), Vec::new());
        for (request, reply) in requests.iter().zip(replies) {
            let wish = Wish { buyer: request.buyer, offer: request.offer, key: request.key };
            tell!(
                self,
                "lane {} epoch {} {wish:?} x{}: {reply:?} for {}",
                call.lane,
                call.epoch,
                request.quantity,
                request.order
            );
            match *reply {
                ReserveReply::Reserved(number) => {
                    self.event("reserved");
                    numbers.push(number.0);
                    fields.push(&request.field[..]);
                    let (lane, batch) = (call.lane, call.batch);
                    let promise = Promise { lane, wish, batch, accepted: false, lost: false };
                    self.buyers.promises.insert(request.order, promise);
                    self.same_order(wish, request.order)?;
                }
                ReserveReply::Repeat { order, batch, settled } => {
                    self.event("repeat");
                    self.same_order(wish, order)?;
                    // R12: Redis may still forget what is not settled.
                    let seen = batch.is_some_and(|batch| self.buyers.acknowledged.contains(&batch));
                    if (settled || seen || self.is(Wrong::RepeatAcceptedFromRedis)) && heard {
                        self.buyers.promises.get_mut(&order).unwrap().accepted = true;
                    }
                }
                ReserveReply::Released { order } => {
                    self.event("repeat of a released order");
                    self.same_order(wish, order)?;
                }
                ReserveReply::Mismatch { order } => {
                    self.event("mismatch");
                    self.same_order(wish, order)?;
                }
                ReserveReply::LimitReached { .. } => self.event("limit"),
                ReserveReply::SoldOut { .. } => self.event("sold out"),
            }
        }
        if !numbers.is_empty() {
            let head = Batch::head(call.lane, call.batch, call.epoch);
            let payload: Bytes = Batch::concatenate(&head, fields.into_iter(), &numbers).into();
            let journaled = self.redis.machine(call.lane).unwrap().journal();
            assert!(journaled.contains(&(call.batch, payload.clone())), "engine and journal build the same bytes");
            if heard {
                self.buyers.unsent.push(Unsent { batch: call.batch, payload });
            }
        }
        Ok(())
    }

    /// INV-5: an earlier order for the same purchase is the same one, unless Redis lost it
    /// undecided.
    pub fn same_order(&mut self, wish: Wish, order: OrderId) -> Played {
        let orders = self.buyers.purchases.entry(wish).or_default();
        if orders.last() == Some(&order) {
            return Ok(());
        }
        let rejected = |order| self.tables.row(order).is_some_and(|row| row.status == Status::Rejected);
        let kept = orders.iter().find(|o| !(self.buyers.promises[o].lost || self.forged && rejected(**o)));
        if let Some(kept) = kept {
            return Err(Violation(
                Invariant::Inv5,
                format!("{wish:?}: order {order} after {kept}, which Redis did not lose"),
            ));
        }
        orders.push(order);
        Ok(())
    }

    /// The engine or a sweeper appends one batch that it holds: at once or late, once or twice, and
    /// the answer may be unclear.
    pub fn append_one(&mut self) {
        let from_sweeper = self.rng.once_in(2);
        let held = if from_sweeper { &mut self.buyers.swept } else { &mut self.buyers.unsent };
        if held.is_empty() {
            return;
        }
        let sent = held.swap_remove(self.rng.below(held.len()));
        let batch = sent.batch;
        match self.rng.below(8) {
            0 => {
                self.event("append unclear");
                tell!(self, "batch {batch}: no answer, nothing arrived");
                self.timed_out(batch);
            }
            1 => {
                self.event("append unclear");
                tell!(self, "batch {batch}: no answer, it arrived at {}", self.log.end());
                self.log.append_batch(batch, sent.payload);
                self.timed_out(batch);
            }
            2 => {
                tell!(self, "batch {batch}: no answer, it arrived at {} and is sent again later", self.log.end());
                self.log.append_batch(batch, sent.payload.clone());
                self.buyers.unsent.push(sent);
            }
            _ => {
                tell!(self, "batch {batch}: acknowledged at {}", self.log.end());
                self.log.append_batch(batch, sent.payload);
                self.acknowledged(batch);
            }
        }
    }

    fn acknowledged(&mut self, batch: BatchId) {
        self.event("append acknowledged");
        self.buyers.acknowledged.insert(batch);
        for promise in self.buyers.promises.values_mut().filter(|promise| promise.batch == batch) {
            promise.accepted = true;
        }
    }

    /// R7: nothing follows from a timeout. The wrong variant gives the units back.
    fn timed_out(&mut self, batch: BatchId) {
        if !self.is(Wrong::EngineReleases) {
            return;
        }
        let of_batch = self.buyers.promises.iter().filter(|(_, promise)| promise.batch == batch);
        let promised: Vec<_> = of_batch.map(|(order, promise)| (*order, promise.lane, promise.wish.buyer)).collect();
        for (order, lane, buyer) in promised {
            let epoch = self.buyers.epochs[&lane];
            let (machine, run) = self.redis.lane(lane);
            let _closed = machine.settle(run, epoch, &[], &[Gone { order, buyer, why: GoneWhy::Rejected }]);
        }
    }

    /// A sweeper claims due batches; it appends them when [`World::append_one`] comes to it, or
    /// dies with them.
    pub fn sweep(&mut self) {
        let lanes = self.lanes();
        let lane = self.rng.pick(&lanes);
        let (now, n, backoff) = (self.now_ms, self.rng.range(1, 3) as u32, self.rng.range(1, 20));
        let (machine, run) = self.redis.lane(lane);
        if let LaneAnswer::Open(due) = machine.claim(run, now, n, backoff) {
            for (batch, payload) in due {
                self.event("swept");
                tell!(self, "a sweeper claims batch {batch}");
                self.buyers.swept.push(Unsent { batch, payload });
            }
        }
    }
}
