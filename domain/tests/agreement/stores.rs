//! Shadows of the log, the order tables and the ledger: each step on them is one transaction.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use domain::{
    decide::{Decided, Known, Lanes, Live, Placed},
    id::{BatchId, BuyerId, Generation, LaneId, OrderId, RecordId},
    order::{OrderRow, Release, Status},
    record::{BATCH_TYPE, Record, Released},
};

/// Databases of order rows; a buyer's rows are all in one.
pub const SHARDS: usize = 2;

/// The shard of a buyer.
pub fn shard_of(buyer: BuyerId) -> usize {
    (buyer.get() % SHARDS as u64) as usize
}

/// How far records are decided or written: the next offset, and the id of the record before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub generation: Generation,
    pub offset: u64,
    pub record: Option<RecordId>,
}

impl Mark {
    /// The beginning of a generation.
    pub const fn start(generation: Generation) -> Self {
        Self { generation, offset: 0, record: None }
    }
}

/// One record of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: RecordId,
    pub kind: &'static str,
    pub payload: Bytes,
}

/// The log: one partition.
#[derive(Debug, Default)]
pub struct Log(pub Vec<Entry>);

impl Log {
    pub fn append(&mut self, id: RecordId, record: &Record) {
        self.0.push(Entry { id, kind: record.kind(), payload: record.encode().into() });
    }

    /// A journal entry under its batch's id, unread.
    pub fn append_batch(&mut self, batch: BatchId, payload: Bytes) {
        self.0.push(Entry { id: RecordId::new(batch.get()).unwrap(), kind: BATCH_TYPE, payload });
    }

    pub fn end(&self) -> u64 {
        self.0.len() as u64
    }

    /// R10: whether the record before a mark is not the one that was there.
    pub fn has_lost(&self, mark: Mark) -> bool {
        let before = mark.offset.checked_sub(1).and_then(|at| self.0.get(usize::try_from(at).ok()?));
        mark.offset > self.end() || mark.record.is_some() && before.map(|entry| entry.id) != mark.record
    }

    /// Whether this batch stands at this offset.
    pub fn has_batch(&self, offset: u64, batch: BatchId) -> bool {
        let entry = usize::try_from(offset).ok().and_then(|at| self.0.get(at));
        entry.is_some_and(|entry| entry.id.get() == batch.get())
    }

    /// The record at an offset, read back from its bytes.
    pub fn read(&self, generation: Generation, offset: u64) -> Option<Placed> {
        let entry = self.0.get(usize::try_from(offset).ok()?)?;
        let record = Record::decode(entry.kind, entry.payload.clone()).unwrap();
        Some(Placed { generation, offset, id: entry.id, record })
    }
}

/// A release that the desk wrote beside its row.
#[derive(Debug, Clone, Copy)]
pub struct Outbox {
    pub id: RecordId,
    pub release: Released,
}

/// One database of order rows.
#[derive(Debug, Clone)]
pub struct Shard {
    /// R11: the next offset, moved with the rows.
    pub progress: Mark,
    pub rows: BTreeMap<OrderId, OrderRow>,
    pub outbox: Vec<Outbox>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Done,
    KeyTaken,
    Fenced,
}

impl Shard {
    /// Rows and progress in one transaction: all or nothing.
    pub fn write(&mut self, expected: Mark, next: Mark, rows: &[&OrderRow], released: &[Release]) -> Written {
        if self.progress != expected {
            return Written::Fenced;
        }
        let before = self.rows.clone();
        for &row in rows {
            let same_number = |other: &OrderRow| {
                row.number.is_some() && (other.buyer, other.lane, other.number) == (row.buyer, row.lane, row.number)
            };
            if self.rows.contains_key(&row.order) || self.rows.values().any(same_number) {
                self.rows = before;
                return Written::KeyTaken;
            }
            self.rows.insert(row.order, row.clone());
        }
        for Release { order, at, became } in released {
            if let Some(row) = self.rows.get_mut(order).filter(|row| row.released.is_none()) {
                (row.released, row.number) = (Some(*at), None);
                row.status = row.status.released(*became).unwrap_or(row.status);
            }
        }
        self.progress = next;
        Written::Done
    }
}

/// All order rows.
#[derive(Debug)]
pub struct Tables(pub [Shard; SHARDS]);

impl Default for Tables {
    fn default() -> Self {
        let shard = || Shard { progress: Mark::start(Generation(1)), rows: BTreeMap::new(), outbox: Vec::new() };
        Self([shard(), shard()])
    }
}

impl Tables {
    pub fn rows(&self) -> impl Iterator<Item = &OrderRow> {
        self.0.iter().flat_map(|shard| shard.rows.values())
    }

    pub fn row(&self, order: OrderId) -> Option<&OrderRow> {
        self.0.iter().find_map(|shard| shard.rows.get(&order))
    }

    /// What a writer reads before it decides a span.
    pub fn known(&self, span: &[Placed]) -> Known {
        let mut known = Known::default();
        for placed in span {
            match &placed.record {
                Record::Batch(batch) => {
                    for (_, reservation) in &batch.reservations {
                        self.know(&mut known.rows, reservation.order);
                        let held = self.held(batch.lane, reservation.buyer);
                        known.live.extend(held.map(|held| ((batch.lane, reservation.buyer), held)));
                    }
                }
                Record::Released(released) => self.know(&mut known.rows, released.order),
                _ => {}
            }
        }
        known
    }

    fn know(&self, rows: &mut HashMap<OrderId, OrderRow>, order: OrderId) {
        rows.extend(self.row(order).map(|row| (order, row.clone())));
    }

    fn held(&self, lane: LaneId, buyer: BuyerId) -> Option<Live> {
        let rows = self.0[shard_of(buyer)].rows.values();
        let mut live = rows.filter(|row| row.lane == lane && row.buyer == buyer && row.is_live()).peekable();
        live.peek()?;
        Some(live.fold(Live::default(), |mut held, row| {
            held.units += row.quantity;
            held.numbers.extend(row.number);
            held
        }))
    }

    /// The desk: a cancellation by compare-and-set, with an outbox row in the same transaction.
    pub fn cancel(&mut self, order: OrderId, id: RecordId, carried: Option<Status>) {
        let Some(shard) = self.0.iter_mut().find(|shard| shard.rows.contains_key(&order)) else { return };
        let Some(row) = shard.rows.get_mut(&order).filter(|row| row.status == Status::PendingPayment) else { return };
        row.status = Status::Cancelled;
        let OrderRow { lane, buyer, offer, quantity, key, .. } = *row;
        let release = Released { lane, order, buyer, offer, quantity, key, became: carried };
        shard.outbox.push(Outbox { id, release });
    }
}

/// The ledger: positions and numbers, moved together.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// How far it is decided.
    pub at: Mark,
    pub lanes: Lanes,
    /// What each record of this generation was decided to, by offset (R11).
    pub movements: BTreeMap<u64, Vec<u8>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { at: Mark::start(Generation(1)), lanes: Lanes::new(), movements: BTreeMap::new() }
    }
}

impl Ledger {
    /// Compare-and-set on the position.
    pub fn commit(&mut self, expected: Mark, next: Mark, decided: &Decided) -> bool {
        if self.at != expected {
            return false;
        }
        self.at = next;
        self.keep(&decided.movements);
        decided.apply(&mut self.lanes);
        true
    }
}
