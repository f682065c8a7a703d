//! The pure machine as a whole deployment: one lane machine, and the decisions of a writer that
//! follow from what it promised. A restart changes nothing here, and must change nothing that
//! anybody can see anywhere else.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use domain::{
    decide::{Known, LaneLedger, Lanes, Live, OfferLedger, Placed, decide},
    id::{BatchId, Epoch, Generation, KeyHash, OfferId, OrderId, RecordId, Slot},
    order::{OrderRow, Release, Status},
    record::{AllotmentChange, Batch, Record, Released, Reservation},
    stock::{
        CloseAnswer, LaneAnswer, LaneLoad, LaneMachine, LoadAnswer, OfferLoad, ReserveAnswer, ReserveCall,
        ReserveReply, ReserveRequest, RunId,
    },
};
use engine::{
    orders::OrderState,
    purchase::{Bought, Declined, PurchaseState},
};

use super::{
    outcome::{Ending, Orders, Remains, Reply},
    seed::{OFFERS, Seed, price, sku},
};

const RUN: RunId = RunId(1);
const EPOCH: Epoch = Epoch(1);
/// Any moment will do.
const NOW_MS: u64 = 1_800_000_000_000;

/// A purchase as a script asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wish {
    pub(crate) buyer: u8,
    pub(crate) offer: u8,
    pub(crate) quantity: u32,
    pub(crate) key: u8,
}

impl Wish {
    pub(crate) fn key(&self) -> String {
        format!("key-{}", self.key)
    }
}

/// The model.
pub(crate) struct Model {
    shop: Seed,
    machine: LaneMachine,
    lanes: Lanes,
    rows: HashMap<OrderId, OrderRow>,
    log: Vec<Placed>,
    /// How much of the log is decided.
    decided: usize,
    pub(crate) orders: Orders,
    minted: u64,
}

/// A lane as it is opened for the first time.
pub(crate) fn first_load(shop: &Seed) -> LaneLoad {
    let offers = shop.offers.iter().map(|&(offer, left)| OfferLoad { offer, left, allotment: left, changed_at: 0 });
    LaneLoad { limit_per_buyer: shop.limit, offers: offers.collect(), purchases: Vec::new() }
}

impl Model {
    pub(crate) fn new(shop: Seed) -> Self {
        let mut machine = LaneMachine::default();
        assert_eq!(machine.close(RUN, EPOCH), CloseAnswer::Closed);
        assert_eq!(machine.load(RUN, EPOCH, &first_load(&shop)), LoadAnswer::Loaded);
        let offers = shop.offers.iter().map(|&(offer, allotment)| {
            (offer, OfferLedger { allotment, target: allotment, sold: 0, sale_version: 1, changed_at: 0 })
        });
        let (tenant, sale, limit_per_buyer) = (shop.tenant, shop.sale, shop.limit);
        let ledger = LaneLedger {
            tenant,
            sale,
            epoch: EPOCH,
            is_retired: false,
            limit_per_buyer,
            limit_changed_at: 0,
            first_order: None,
            offers: offers.collect(),
        };
        Self {
            machine,
            lanes: BTreeMap::from([(shop.lane, ledger)]),
            shop,
            rows: HashMap::new(),
            log: Vec::new(),
            decided: 0,
            orders: Orders::default(),
            minted: 0,
        }
    }

    /// One purchase, in a call of its own.
    pub(crate) fn buy(&mut self, wish: Wish) -> Reply {
        let buyer = self.shop.buyer(wish.buyer);
        self.minted += 1;
        let order = OrderId::compose(NOW_MS + self.minted, Slot::of(buyer), 0, 0).unwrap();
        let reservation = self.freeze(order, wish);
        let mut field = Vec::new();
        reservation.append_field(&mut field);
        let Reservation { offer, quantity, key, .. } = reservation;
        let request = ReserveRequest { order, buyer, offer, quantity, key, field: field.into() };
        let batch = BatchId::new(order.get()).unwrap();
        let lane = self.shop.lane;
        let call = ReserveCall { lane, epoch: EPOCH, batch, now_ms: NOW_MS, sweep_after_ms: 1, journal_max: u32::MAX };
        let LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) = self.machine.reserve(RUN, call, &[request])
        else {
            panic!("the model's lane is open and its journal has room")
        };
        let accepted = |order| Ok(Bought { order, offer, state: PurchaseState::Accepted });
        let outcome = match replies[0] {
            ReserveReply::Reserved(number) => {
                let reservations = vec![(number, reservation)];
                self.append(batch.get(), Record::Batch(Batch { lane, id: batch, epoch: EPOCH, reservations }));
                accepted(order)
            }
            // R12: settled, or its acknowledgement was seen, for in a script each is waited for.
            ReserveReply::Repeat { order, .. } | ReserveReply::Released { order } => accepted(order),
            ReserveReply::Mismatch { .. } => Err(Declined::Mismatch),
            ReserveReply::LimitReached { .. } => Err(Declined::LimitReached),
            ReserveReply::SoldOut { .. } => Err(Declined::SoldOut),
        };
        Reply::of_purchase(outcome, &mut self.orders)
    }

    fn freeze(&self, order: OrderId, wish: Wish) -> Reservation {
        let (buyer, offer) = (self.shop.buyer(wish.buyer), self.shop.offer(wish.offer));
        Reservation {
            tenant: self.shop.tenant,
            sale: self.shop.sale,
            sale_version: 1,
            offer,
            sku: sku(offer),
            order,
            buyer,
            quantity: wish.quantity,
            unit_price: price(),
            key: KeyHash::of(self.shop.tenant, buyer, offer, &wish.key()),
            reserved_at_ms: NOW_MS,
            context: Bytes::new(),
            pay_within_s: 0,
            trace: None,
        }
    }

    fn append(&mut self, id: u64, record: Record) {
        let offset = u64::try_from(self.log.len()).unwrap() + 1;
        self.log.push(Placed { generation: Generation(1), offset, id: RecordId::new(id).unwrap(), record });
    }

    /// The desk's part; the release is in the log at once.
    pub(crate) fn cancel(&mut self, order: usize) -> Reply {
        let Some(row) = self.orders.id(order).and_then(|order| self.rows.get_mut(&order)) else {
            return Reply::NotCancelled(None);
        };
        if row.status != Status::PendingPayment {
            return Reply::NotCancelled(Some(row.status));
        }
        row.status = Status::Cancelled;
        let OrderRow { lane, order, buyer, offer, quantity, key, .. } = *row;
        let released = Released { lane, order, buyer, offer, quantity, key, became: Some(row.status) };
        self.append(order.get() + 1, Record::Released(released));
        Reply::Cancelled
    }

    /// What its buyer is answered about an order.
    pub(crate) fn look(&self, order: usize) -> Reply {
        let row = self.orders.id(order).and_then(|order| self.rows.get(&order));
        Reply::of_status(Ok(row.map_or(OrderState::Pending, |row| OrderState::Row(row.status, row.reason))))
    }

    /// Appends the record of an order's promise, or of its release, again.
    pub(crate) fn redeliver(&mut self, order: usize, release: bool) -> Reply {
        let order = self.orders.id(order).unwrap();
        let of_order = |record: &Record| match record {
            Record::Batch(batch) => !release && batch.reservations.iter().any(|(_, own)| own.order == order),
            Record::Released(released) => release && released.order == order,
            _ => false,
        };
        let again = self.log.iter().find(|placed| of_order(&placed.record)).cloned().unwrap();
        self.append(again.id.get(), again.record);
        Reply::Redelivered
    }

    /// Decides all that is in the log, record by record.
    pub(crate) fn rest(&mut self) -> Reply {
        while let Some(placed) = self.log.get(self.decided).cloned() {
            self.decided += 1;
            let decided = decide(&self.lanes, std::slice::from_ref(&placed), &self.known());
            assert!(decided.alarms.is_empty() && decided.undecidable.is_empty(), "a promise of the machine holds");
            for Release { order, at, became } in &decided.releases {
                let row = self.rows.get_mut(order).unwrap();
                (row.released, row.number) = (Some(*at), None);
                row.status = row.status.released(*became).unwrap();
            }
            decided.apply(&mut self.lanes);
            let batches: Vec<BatchId> = decided.batches.iter().map(|(_, batch)| *batch).collect();
            let gone: Vec<_> = decided.gone.iter().map(|(_, gone)| *gone).collect();
            assert_eq!(self.machine.settle(RUN, EPOCH, &batches, &gone), LaneAnswer::Open(()));
            self.rows.extend(decided.rows.into_iter().map(|row| (row.order, row)));
        }
        Reply::at_rest(&self.machine.inspect(RUN))
    }

    /// Another version of the sale, with so many units of each offer: the keeper's part at rest
    /// (R9).
    pub(crate) fn publish(&mut self, version: u32, units: [u64; OFFERS]) -> Reply {
        self.rest();
        let lane = self.shop.lane;
        for (offer, target) in self.shop.with_units(units).offers {
            let numbers = self.lanes[&lane].offers[&offer];
            let mut delta = target.cast_signed() - numbers.allotment.cast_signed();
            if delta < 0 {
                let wanted = delta.unsigned_abs();
                let LaneAnswer::Open(withheld) = self.machine.withhold(RUN, EPOCH, offer, numbers.changed_at, wanted)
                else {
                    panic!("the model's lane is open")
                };
                delta = -withheld.cast_signed();
            }
            let (sale_version, epoch, after) = (version, EPOCH, numbers.changed_at);
            let target = Some(target);
            let change = AllotmentChange { lane, offer, sale_version, delta, target, epoch, after };
            self.minted += 1;
            self.append(u64::MAX / 2 - self.minted, Record::AllotmentChanged(change));
            self.rest();
            let OfferLedger { allotment, changed_at, .. } = self.lanes[&lane].offers[&offer];
            let adjusted = self.machine.adjust(RUN, EPOCH, offer, allotment, changed_at);
            assert_eq!(adjusted, LaneAnswer::Open(()));
        }
        Reply::at_rest(&self.machine.inspect(RUN))
    }

    /// All rows there are: a script has few.
    fn known(&self) -> Known {
        let mut live: HashMap<_, Live> = HashMap::new();
        for row in self.rows.values().filter(|row| row.is_live()) {
            let held = live.entry((row.lane, row.buyer)).or_default();
            held.units += row.quantity;
            held.numbers.extend(row.number);
        }
        Known { rows: self.rows.clone(), live, ..Known::default() }
    }

    pub(crate) fn ending(&self) -> Ending {
        let ledger = |offer: OfferId| {
            let numbers = self.lanes[&self.shop.lane].offers[&offer];
            (numbers.allotment, numbers.target, numbers.sold)
        };
        let remains = Remains {
            view: &self.machine.inspect(RUN),
            ledger: &ledger,
            rows: self.rows.values().cloned().collect(),
            buyers: self.machine.buyers(),
        };
        Ending::of(&self.shop, &self.orders, remains)
    }
}
