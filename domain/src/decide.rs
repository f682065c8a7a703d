//! Decide: what the order-writer makes of each record, in log order, against ledger and rows. The
//! rules are those of the protocol, in its numbering. Nothing is read or written here: the caller
//! gives what is [`Known`] and carries out what is [`Decided`], in this order: rows, settle,
//! ledger.

mod allotment;
mod limit;
mod numbers;
mod row;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    id::{BatchId, BuyerId, Epoch, Generation, LaneId, OfferId, OrderId, Position, PurchaseNumber, RecordId},
    order::{Decision, OrderRow, Reason, Release, Status},
    record::{Batch, Record, Released, Reservation},
    stock::{Gone, GoneWhy},
};

pub use allotment::AllotmentMove;
pub use limit::LimitMove;
pub use numbers::{LaneLedger, Lanes, OfferLedger};

/// A record with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Generation of the partition.
    pub generation: Generation,
    /// Its offset.
    pub offset: u64,
    /// Its `ce_id`.
    pub id: RecordId,
    /// The record.
    pub record: Record,
}

impl Placed {
    fn at(&self, index: usize) -> Position {
        // A batch has at most 256 reservations.
        Position { generation: self.generation, offset: self.offset, index: u8::try_from(index).unwrap_or(u8::MAX) }
    }
}

/// A buyer's live rows in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Their units.
    pub units: u32,
    /// Their purchase numbers.
    pub numbers: Vec<PurchaseNumber>,
}

/// What the rows say about the orders and buyers of a span.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The rows that exist, of the orders of the span.
    pub rows: HashMap<OrderId, OrderRow>,
    /// Live rows of the buyers of the span.
    pub live: HashMap<(LaneId, BuyerId), Live>,
    /// Orders whose rows the database refuses, each with its words: they get no row and count
    /// nothing.
    pub refused: HashMap<OrderId, String>,
}

/// The stock movement of one record: enough to write its rows again (R11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Offset of the record.
    pub offset: u64,
    /// Its lane.
    pub lane: Option<LaneId>,
    /// Units sold (positive) or given back, by offer.
    pub units: Vec<(OfferId, i64)>,
    /// [`Decision::packed`] of each reservation; for a release 1 if it counted, else 0.
    pub decisions: Vec<u8>,
}

/// Something that must never happen under the current epoch: the lane closes and an operator is
/// called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// The lane whose promises did not hold.
    pub lane: LaneId,
    /// The order that had to be rejected.
    pub order: OrderId,
    /// Why.
    pub reason: Reason,
}

/// A record that cannot be decided, or not all of it: for the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecidable {
    /// Its offset.
    pub offset: u64,
    /// Why.
    pub cause: String,
}

/// What a span of records comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// Rows to insert.
    pub rows: Vec<OrderRow>,
    /// Rows whose release is decided here, by order (R1).
    pub releases: Vec<Release>,
    /// Journal entries that are decided, those of duplicates too.
    pub batches: Vec<(LaneId, BatchId)>,
    /// Releases that count: the offset of the record, and what the order's row is then.
    pub given_back: Vec<(u64, Status)>,
    /// Orders that are not live any more.
    pub gone: Vec<(LaneId, Gone)>,
    /// Change of units sold, by lane and offer.
    pub sold: BTreeMap<(LaneId, OfferId), i64>,
    /// Epochs that begin: whoever commits them loads the lane (R4).
    pub epochs: Vec<(LaneId, Epoch)>,
    /// Lanes that are retired, each under its last epoch: whoever commits that deletes their keys
    /// (R14).
    pub retired_lanes: Vec<(LaneId, Epoch)>,
    /// R5: lanes with an order below the lowest one known. Whoever commits a lane's first opening
    /// adds its own.
    pub first_orders: BTreeMap<LaneId, OrderId>,
    /// Allotments that change.
    pub allotments: Vec<AllotmentMove>,
    /// Limits per buyer that change: whoever commits them tells the lanes (R16).
    pub limits: Vec<LimitMove>,
    /// Units that leave allotments above their targets, by lane and offer (R9).
    pub retired: BTreeMap<(LaneId, OfferId), u64>,
    /// One per record.
    pub movements: Vec<Movement>,
    /// Promises that did not hold.
    pub alarms: Vec<Alarm>,
    /// Records that cannot be decided, or not all of them.
    pub undecidable: Vec<Undecidable>,
    /// Reservations accepted and newly written, for the counters.
    pub accepted: u64,
}

/// How far an epoch may be ahead of the ledger's: further than any keeper comes with a ledger that
/// lost its tail, and so near that nobody's record uses the epochs up.
const EPOCHS_AHEAD_MAX: u64 = 1 << 20;

/// Whether a record ends the span that it stands in: it changes what comes after it. A run of
/// releases may stand together.
pub const fn ends_span(record: &Record) -> bool {
    matches!(
        record,
        Record::EpochOpened { .. }
            | Record::LaneRetired { .. }
            | Record::AllotmentChanged(_)
            | Record::LimitChanged(_)
            | Record::Genesis(_)
    )
}

/// Whether two records may stand in one span, next to each other.
pub const fn may_follow(previous: &Record, next: &Record) -> bool {
    !ends_span(previous) && !ends_span(next) && matches!(previous, Record::Batch(_)) == matches!(next, Record::Batch(_))
}

/// Whether the rows must be read before this span can be decided. They need not be where reading
/// cannot change a decision: only batches of known lanes, all of the current epoch, one unit a
/// buyer (so that the unique key (buyer, lane, number) catches a second purchase; a buyer of a
/// higher limit of before may hold another number), and units enough for all of them. The primary
/// key catches replays and duplicates.
pub fn must_read(lanes: &Lanes, span: &[Placed]) -> bool {
    let mut wanted: BTreeMap<(LaneId, OfferId), u64> = BTreeMap::new();
    for placed in span {
        let Record::Batch(batch) = &placed.record else { return true };
        let Some(lane) = lanes.get(&batch.lane) else { return true };
        let is_always_one = lane.limit_per_buyer == 1 && lane.limit_changed_at == 0;
        if batch.epoch != lane.epoch || lane.is_retired || !is_always_one {
            return true;
        }
        for (number, reservation) in &batch.reservations {
            if number.0 != 1 || reservation.quantity != 1 {
                return true;
            }
            *wanted.entry((batch.lane, reservation.offer)).or_default() += 1;
        }
    }
    wanted.iter().any(|((lane, offer), &units)| {
        lanes
            .get(lane)
            .and_then(|lane| lane.offers.get(offer))
            .is_none_or(|offer| offer.allotment.saturating_sub(offer.sold) < units)
    })
}

/// Decides a span in log order. Spans that [`must_read`] come with what is known; others with an
/// empty [`Known`].
pub fn decide(lanes: &Lanes, span: &[Placed], known: &Known) -> Decided {
    let reservations = span.iter().map(|placed| match &placed.record {
        Record::Batch(batch) => batch.reservations.len(),
        _ => 0,
    });
    let count = reservations.sum();
    let mut state = Deciding {
        lanes,
        known,
        seen: HashSet::with_capacity(count),
        fresh: HashMap::with_capacity(count),
        contradiction: None,
        out: Decided { rows: Vec::with_capacity(count), ..Decided::default() },
    };
    span.iter().for_each(|placed| state.record(placed));
    state.out
}

struct Deciding<'a> {
    lanes: &'a Lanes,
    known: &'a Known,
    /// Orders that stood in this span already.
    seen: HashSet<OrderId>,
    /// Live rows that this span adds and [`Known`] does not hold.
    fresh: HashMap<(LaneId, BuyerId), Live>,
    /// The first contradiction in the batch at hand.
    contradiction: Option<String>,
    out: Decided,
}

impl Deciding<'_> {
    fn record(&mut self, placed: &Placed) {
        let mut movement =
            Movement { offset: placed.offset, lane: placed.record.lane(), units: Vec::new(), decisions: Vec::new() };
        let at = placed.at(0);
        match &placed.record {
            Record::Batch(batch) => self.batch(at, batch, &mut movement),
            Record::Released(released) => self.released(at, released, &mut movement),
            &Record::EpochOpened { lane, epoch } => {
                if self.begins(at, lane, epoch) {
                    self.out.epochs.push((lane, epoch));
                }
            }
            &Record::LaneRetired { lane, epoch } => {
                if self.begins(at, lane, epoch) {
                    self.out.retired_lanes.push((lane, epoch));
                }
            }
            Record::AllotmentChanged(change) => self.allotment(at, change),
            Record::LimitChanged(change) => self.limit(at, change),
            Record::Genesis(_) => {}
        }
        self.out.movements.push(movement);
    }

    fn undecidable(&mut self, at: Position, cause: String) {
        self.out.undecidable.push(Undecidable { offset: at.offset, cause });
    }

    fn batch(&mut self, at: Position, batch: &Batch, movement: &mut Movement) {
        let Some(lane) = self.lanes.get(&batch.lane) else {
            return self.undecidable(at, format!("lane {} has no ledger row", batch.lane));
        };
        let (id, epoch) = (batch.lane, batch.epoch);
        let mut units: BTreeMap<OfferId, i64> = BTreeMap::new();
        movement.decisions.reserve_exact(batch.reservations.len());
        for (index, &(number, ref reservation)) in batch.reservations.iter().enumerate() {
            let position = Position { index: u8::try_from(index).unwrap_or(u8::MAX), ..at };
            let (offer, quantity) = (reservation.offer, i64::from(reservation.quantity));
            let decision = self.reservation(id, lane, epoch, number, reservation, position);
            if decision == Decision::Accepted {
                *units.entry(offer).or_default() += quantity;
                *self.out.sold.entry((id, offer)).or_default() += quantity;
            }
            movement.decisions.push(decision.packed());
        }
        movement.units = units.into_iter().collect();
        self.lower_first_order(id, lane, batch);
        self.out.batches.push((id, batch.id));
        if let Some(what) = self.contradiction.take() {
            self.undecidable(at, what);
        }
    }

    /// R5: an order that is older than the lane's first opening says (an engine's clock, or a
    /// ledger that lost its tail) moves the bound of its rows, whatever was decided of it.
    fn lower_first_order(&mut self, id: LaneId, lane: &LaneLedger, batch: &Batch) {
        let lowest = batch.reservations.iter().map(|(_, reservation)| reservation.order).min();
        if let (Some(lowest), Some(first)) = (lowest, lane.first_order)
            && lowest < first
        {
            let known = self.out.first_orders.entry(id).or_insert(lowest);
            *known = lowest.min(*known);
        }
    }

    /// Something in a reservation is against what the ledger or a row holds, or cannot be stored.
    /// The others of its batch are decided all the same: an engine promises to several buyers at
    /// once.
    fn contradict(&mut self, position: Position, what: impl FnOnce() -> String) {
        self.contradiction.get_or_insert_with(|| format!("reservation {}: {}", position.index, what()));
    }

    /// Rules 1 to 6.
    fn reservation(
        &mut self,
        id: LaneId,
        lane: &LaneLedger,
        epoch: Epoch,
        number: PurchaseNumber,
        reservation: &Reservation,
        position: Position,
    ) -> Decision {
        let first_sight = self.seen.insert(reservation.order);
        let known = self.known;
        if let Some(row) = known.rows.get(&reservation.order) {
            if (row.lane, row.buyer) != (id, reservation.buyer) {
                // The row's buyer came first; what the lane may hold for this one goes back.
                self.contradict(position, || format!("{} is of buyer {} in lane {}", row.order, row.buyer, row.lane));
                self.gone(id, reservation.order, reservation.buyer, GoneWhy::Rejected);
                return Decision::Duplicate;
            }
            if !(first_sight && row.position == position) {
                return Decision::Duplicate; // 2
            }
            if row.reason == Some(Reason::Foreign) {
                self.contradict(position, || foreign(id, lane, reservation));
            }
            return self.replay(id, row); // 1
        }
        if !first_sight {
            return Decision::Duplicate; // 2
        }
        if let Some(why) = known.refused.get(&reservation.order) {
            self.contradict(position, || format!("order {} cannot be stored: {why}", reservation.order));
            self.gone(id, reservation.order, reservation.buyer, GoneWhy::Rejected);
            return Decision::Duplicate;
        }
        let decision = self.fresh_decision(id, lane, epoch, number, reservation);
        match decision {
            Decision::Accepted => {
                let live = self.fresh.entry((id, reservation.buyer)).or_default();
                live.units = live.units.saturating_add(reservation.quantity);
                live.numbers.push(number);
                self.out.accepted += 1;
            }
            Decision::Rejected(reason) => {
                match reason {
                    Reason::Limit | Reason::Stock => {
                        self.out.alarms.push(Alarm { lane: id, order: reservation.order, reason });
                    }
                    Reason::Foreign => self.contradict(position, || foreign(id, lane, reservation)),
                    Reason::Superseded => {}
                }
                self.gone(id, reservation.order, reservation.buyer, rejected(reason));
            }
            Decision::Duplicate => {}
        }
        self.out.rows.extend(OrderRow::decided(id, number, reservation, position, decision));
        decision
    }

    fn fresh_decision(
        &self,
        id: LaneId,
        lane: &LaneLedger,
        epoch: Epoch,
        number: PurchaseNumber,
        reservation: &Reservation,
    ) -> Decision {
        let is_owned = (reservation.tenant, reservation.sale) == (lane.tenant, lane.sale);
        let Some(offer) = lane.offers.get(&reservation.offer).filter(|_| is_owned) else {
            // The lane's first owner keeps it.
            return Decision::Rejected(Reason::Foreign);
        };
        if epoch != lane.epoch || lane.is_retired {
            // 3, R14. A newer epoch than the ledger's cannot be: its lane is loaded after the
            // ledger's commit only.
            return Decision::Rejected(Reason::Superseded);
        }
        let key = (id, reservation.buyer);
        let rows = [self.known.live.get(&key), self.fresh.get(&key)];
        let held: u32 = rows.iter().flatten().map(|live| live.units).fold(0, u32::saturating_add);
        let taken = rows.iter().flatten().any(|live| live.numbers.contains(&number));
        if taken || held.saturating_add(reservation.quantity) > lane.limit_per_buyer {
            return Decision::Rejected(Reason::Limit); // 4
        }
        let moved = self.out.sold.get(&(id, reservation.offer)).copied().unwrap_or(0);
        let left = offer.allotment.saturating_sub(offer.sold.saturating_add_signed(moved));
        if u64::from(reservation.quantity) > left {
            return Decision::Rejected(Reason::Stock); // 5
        }
        Decision::Accepted // 6
    }

    /// The stored decision stands and is counted as it was.
    fn replay(&mut self, id: LaneId, row: &OrderRow) -> Decision {
        match row.reason {
            None => Decision::Accepted,
            Some(reason) => {
                self.gone(id, row.order, row.buyer, rejected(reason));
                Decision::Rejected(reason)
            }
        }
    }

    /// R1: the first release of an order counts, its replay counts as it did, any other is a no-op;
    /// each is settled, so that a repeated one still gives back what a lost settle did not. R8: a
    /// row that lost its mark takes it from the record. R9: while the allotment is above its
    /// target, units that come back lower it.
    fn released(&mut self, at: Position, released: &Released, movement: &mut Movement) {
        let Some(row) = self.known.rows.get(&released.order) else {
            return self.undecidable(at, format!("release of order {}, which has no row", released.order));
        };
        if row.reason.is_some() {
            return self.undecidable(at, format!("release of order {}, which was rejected", released.order));
        }
        let is_of = |row: &OrderRow| (row.lane, row.buyer, row.offer, row.quantity, row.key);
        let Released { lane, buyer, offer, quantity, key, became, .. } = *released;
        let numbers = self.lanes.get(&row.lane).and_then(|lane| lane.offers.get(&row.offer));
        let (Some(numbers), true) = (numbers, is_of(row) == (lane, buyer, offer, quantity, key)) else {
            return self.undecidable(at, format!("release of order {}, whose row says otherwise", released.order));
        };
        let Some(status) = row.status.released(became) else {
            let what = format!("release of order {}, which is {}", released.order, row.status.as_str());
            return self.undecidable(at, what);
        };
        let first_here = self.seen.insert(row.order);
        let counts = first_here && row.released.is_none_or(|released| released == at);
        let mut retired = 0;
        if counts {
            let units = i64::from(row.quantity);
            let moved = self.out.sold.get(&(row.lane, row.offer)).map_or(0, |moved| *moved) - units;
            if numbers.sold.checked_add_signed(moved).is_none() {
                return self.undecidable(at, format!("release of order {}, of which nothing is sold", released.order));
            }
            self.out.sold.insert((row.lane, row.offer), moved);
            movement.units.push((row.offer, -units));
            self.out.given_back.push((at.offset, status));
            if row.released.is_none() {
                self.out.releases.push(Release { order: row.order, at, became });
            }
            retired = self.retire(row.lane, row.offer, row.quantity);
        }
        movement.decisions.push(u8::from(counts));
        self.gone(row.lane, row.order, row.buyer, GoneWhy::Released { retired });
    }

    /// R4, R14: whether an epoch begins here, to open the lane or to retire it. One that is not
    /// above the ledger's is a no-op.
    fn begins(&mut self, at: Position, id: LaneId, epoch: Epoch) -> bool {
        let Some(lane) = self.lanes.get(&id) else {
            self.undecidable(at, format!("lane {id} has no ledger row"));
            return false;
        };
        if epoch.0.saturating_sub(lane.epoch.0) > EPOCHS_AHEAD_MAX {
            self.undecidable(at, format!("epoch {epoch} of lane {id}, which is in epoch {}", lane.epoch));
            return false;
        }
        let is_new = epoch > lane.epoch;
        if is_new {
            self.retire_unsold(id, lane);
        }
        is_new
    }

    fn gone(&mut self, lane: LaneId, order: OrderId, buyer: BuyerId, why: GoneWhy) {
        self.out.gone.push((lane, Gone { order, buyer, why }));
    }
}

fn foreign(id: LaneId, lane: &LaneLedger, reservation: &Reservation) -> String {
    let Reservation { order, tenant, sale, offer, .. } = reservation;
    let LaneLedger { tenant: owner, sale: own, .. } = lane;
    format!("order {order} is of tenant {tenant}, sale {sale}, offer {offer}; lane {id} of tenant {owner}, sale {own}")
}

const fn rejected(reason: Reason) -> GoneWhy {
    match reason {
        Reason::Stock => GoneWhy::RejectedForStock,
        Reason::Superseded | Reason::Limit | Reason::Foreign => GoneWhy::Rejected,
    }
}

#[cfg(test)]
mod tests;
