//! The thread that writes: a group is one transaction, and its records are answered when the commit
//! is on the disk.
//!
//! After a failure nobody knows whether the group is in the file (R7). The connection is given up
//! and a fresh one opened for the next group: what SQLite still thought of the failed transaction
//! goes with it. Offsets are counted from what the file has inside each transaction, so that none
//! is acknowledged twice.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{
    Shared, SqliteSetupError, Stream,
    file::{next_offset, place},
    mailbox::{Answer, Append, Aside, Order, Rarity, Taken},
    streams,
    tail::Kept,
};
use crate::{
    elapsed::Since,
    log::{Unacknowledged, retention_ms},
};

/// How often retention looks for old records.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// Records of a partition that one transaction deletes, at most: those who append wait meanwhile.
const PURGE_STEP: u64 = 256;
/// Parked records wait for people.
const DEAD_RETENTION_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// The thread, while it runs.
pub(super) struct Running(JoinHandle<()>);

impl Running {
    /// Waits until everything is written and the file is closed.
    pub(super) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the log's thread panicked; what it had was not acknowledged");
        }
    }
}

/// Starts the thread with the connection that it begins with.
pub(super) fn start(shared: &Arc<Shared>, connection: Connection) -> Result<Running, SqliteSetupError> {
    let writer = Writer {
        purge_at_ms: (shared.settings.now_ms)(),
        shared: Arc::clone(shared),
        connection: Some(connection),
        refused: 0,
    };
    let thread = thread::Builder::new().name("log-writer".into()).spawn(|| writer.run());
    thread.map(Running).map_err(SqliteSetupError::Thread)
}

struct Writer {
    shared: Arc<Shared>,
    /// `None` after a failure.
    connection: Option<Connection>,
    /// When retention looks again.
    purge_at_ms: u64,
    /// Records refused since the last commit: one warning a series, not one a record.
    refused: usize,
}

/// However the thread ends, nobody waits for it.
impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.mailbox.abandon();
    }
}

impl Writer {
    fn run(mut self) {
        let mut group = Vec::new();
        let mut wait = PURGE_EVERY;
        loop {
            match self.shared.mailbox.take(&mut group, wait) {
                Taken::Group(waited) => self.carry_out(&mut group, waited),
                Taken::Nothing => {}
                Taken::Closed => return,
            }
            wait = if self.purge_if_due() { Duration::ZERO } else { PURGE_EVERY };
        }
    }

    fn carry_out(&mut self, group: &mut Vec<Order>, waited: Duration) {
        let records = group.iter().filter(|order| order.is_record()).count();
        let outcome = if records == 0 { Ok(Vec::new()) } else { self.write(group, waited) };
        match outcome {
            Ok(places) => self.committed(group, places),
            Err(cause) => self.failed(group, &cause, records),
        }
    }

    /// The transaction of a group, on the disk; for each order its offset, or a number that says
    /// nothing.
    fn write(&mut self, group: &[Order], waited: Duration) -> Result<Vec<u64>, String> {
        let began = Since::now();
        let now_ms = (self.shared.settings.now_ms)().cast_signed();
        let streams = self.shared.tails.len();
        let places = self.in_transaction(|transaction| insert(transaction, group, streams, now_ms))?;
        self.shared.tally.committed(waited, began.elapsed());
        Ok(places)
    }

    fn in_transaction<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.shared.file.open_to_write().map_err(|error| error.to_string())?,
        };
        let transact = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        let done = transact(&mut connection).map_err(|error| self.shared.file.advice(&error))?;
        // Not reached after a failure: the connection is closed, and with it all that it knew.
        self.connection = Some(connection);
        Ok(done)
    }

    /// Readers hear of the records before those who appended them: who has an answer finds the
    /// record.
    fn committed(&mut self, group: &mut Vec<Order>, places: Vec<u64>) {
        if self.refused > 0 && !places.is_empty() {
            tracing::info!(records = self.refused, "the log acknowledges records again");
            self.refused = 0;
        }
        self.announce(group, &places);
        let (records, bytes) = group
            .iter()
            .filter(|order| order.is_record())
            .fold((0, 0), |(records, bytes), order| (records + 1, bytes + order.bytes()));
        self.shared.tally.acknowledged(records, bytes);
        let mut places = places.into_iter();
        for order in group.drain(..) {
            let place = places.next().unwrap_or(0);
            match order {
                Order::Append(append) => append.fate.settle(Ok(place)),
                Order::Aside(aside) => aside.fate.settle(Ok(place)),
                Order::Purge(answer) => self.purge(answer),
                // Nobody may be waiting any more.
                Order::Mark(answer) => drop(answer.send(Ok(0))),
            }
        }
    }

    fn announce(&self, group: &[Order], places: &[u64]) {
        let mut highs = vec![None; self.shared.tails.len()];
        let mut sale = None;
        for (order, &place) in group.iter().zip(places) {
            match order {
                Order::Append(Append { stream, id, kind, payload, .. }) => {
                    let at = stream.index;
                    if let (Some(tail), Some(high)) = (self.shared.tails.get(at), highs.get_mut(at)) {
                        tail.keep(Kept { offset: place, id: *id, kind, payload: payload.clone() });
                        *high = Some(place + 1);
                    }
                }
                Order::Aside(Aside { what: Rarity::Sale { .. }, .. }) => sale = Some(place),
                _ => {}
            }
        }
        for (tail, high) in self.shared.tails.iter().zip(highs) {
            if let Some(high) = high {
                tail.announce(high);
            }
        }
        if let Some(sequence) = sale {
            self.shared.sales.send_replace(sequence);
        }
    }

    fn failed(&mut self, group: &mut Vec<Order>, cause: &str, records: usize) {
        if self.refused == 0 {
            tracing::warn!(
                cause,
                records,
                "a group of records was not acknowledged; they are pending, more may follow"
            );
        } else {
            tracing::debug!(cause, records, "a group of records was not acknowledged");
        }
        self.refused += records;
        self.shared.tally.refused(records);
        let unacknowledged = || Unacknowledged(cause.into());
        for order in group.drain(..) {
            match order {
                Order::Append(append) => append.fate.settle(Err(unacknowledged())),
                Order::Aside(aside) => aside.fate.settle(Err(unacknowledged())),
                Order::Purge(answer) => self.purge(answer),
                Order::Mark(answer) => drop(answer.send(Ok(0))),
            }
        }
    }

    fn purge(&mut self, answer: Answer) {
        let mut deleted = 0;
        let outcome = loop {
            match self.purge_step() {
                Ok(0) => break Ok(deleted),
                Ok(records) => deleted += records,
                Err(cause) => break Err(Unacknowledged(cause.into())),
            }
        };
        answer.send(outcome).ok();
    }

    /// Whether there is more to delete at once.
    fn purge_if_due(&mut self) -> bool {
        let now_ms = (self.shared.settings.now_ms)();
        if now_ms < self.purge_at_ms {
            return false;
        }
        match self.purge_step() {
            Ok(records) if records > 0 => return true,
            Ok(_) => {}
            Err(cause) => tracing::warn!(cause, "old records were not deleted; it is tried again in a minute"),
        }
        self.purge_at_ms = now_ms.saturating_add(u64::try_from(PURGE_EVERY.as_millis()).unwrap_or(u64::MAX));
        false
    }

    /// Deletes some old records, in a transaction of its own: what it meets is no fault of those
    /// who append.
    fn purge_step(&mut self) -> Result<u64, String> {
        let shared = Arc::clone(&self.shared);
        let now_ms = (shared.settings.now_ms)();
        let cutoff_ms = |stream: Stream| {
            now_ms.saturating_sub(retention_ms(stream.topic, shared.settings.retention_ms)).cast_signed()
        };
        let step = |transaction: &Transaction<'_>| {
            let mut lows = Vec::new();
            let streams = streams(shared.settings.partitions);
            for (stream, (tail, kept)) in streams.zip(shared.tails.iter().zip(&shared.keep_from)) {
                let (marks, decided) = (tail.now(), kept.load(Relaxed));
                // The newest record says which offset comes next, and the one before the ledger's
                // position what it stands on.
                let end = decided.min(marks.high).saturating_sub(1).min(marks.low + PURGE_STEP);
                lows.push(delete(transaction, stream.number, marks.low, end, cutoff_ms(stream))?);
            }
            let forgotten = now_ms.saturating_sub(DEAD_RETENTION_MS).cast_signed();
            transaction.prepare_cached("DELETE FROM dead WHERE parked_at_ms < ?1")?.execute([forgotten])?;
            Ok(lows)
        };
        let lows = self.in_transaction(step)?;
        let mut deleted = 0;
        for (tail, low) in shared.tails.iter().zip(lows) {
            let before = tail.now().low;
            if low > before {
                deleted += low - before;
                tail.forget_before(low);
            }
        }
        Ok(deleted)
    }
}

/// Deletes the records of `low..end` that stand before the first young one; where the partition
/// begins then.
fn delete(transaction: &Transaction<'_>, number: usize, low: u64, end: u64, cutoff_ms: i64) -> rusqlite::Result<u64> {
    if low >= end {
        return Ok(low);
    }
    let (from, to) = (place(number, low), place(number, end));
    let young =
        "SELECT place FROM records WHERE place >= ?1 AND place < ?2 AND appended_at_ms >= ?3 ORDER BY place LIMIT 1";
    let mut young = transaction.prepare_cached(young)?;
    let first: Option<i64> = young.query_row((from, to, cutoff_ms), |row| row.get(0)).optional()?;
    let to = first.unwrap_or(to);
    transaction.prepare_cached("DELETE FROM records WHERE place >= ?1 AND place < ?2")?.execute((from, to))?;
    Ok(low + to.abs_diff(from))
}

/// Inserts a group. Offsets go on from what the file has.
fn insert(transaction: &Transaction<'_>, group: &[Order], streams: usize, now_ms: i64) -> rusqlite::Result<Vec<u64>> {
    let sql = "INSERT INTO records (place, record_id, appended_at_ms, kind, payload) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut record = transaction.prepare_cached(sql)?;
    let mut next: Vec<Option<u64>> = vec![None; streams];
    let mut places = Vec::with_capacity(group.len());
    for order in group {
        places.push(match order {
            Order::Append(append) => {
                let Stream { index, number, .. } = append.stream;
                let offset = match next.get(index).copied().flatten() {
                    Some(offset) => offset,
                    None => next_offset(transaction, number)?,
                };
                let Append { id, kind, payload, .. } = append;
                record.execute((place(number, offset), id.stored(), now_ms, kind, payload.as_ref()))?;
                if let Some(next) = next.get_mut(index) {
                    *next = Some(offset + 1);
                }
                offset
            }
            Order::Aside(aside) => insert_aside(transaction, &aside.what, now_ms)?,
            Order::Purge(_) | Order::Mark(_) => 0,
        });
    }
    Ok(places)
}

fn insert_aside(transaction: &Transaction<'_>, what: &Rarity, now_ms: i64) -> rusqlite::Result<u64> {
    match what {
        Rarity::Sale { id, payload } => {
            // Of a sale's versions the one published last is kept. No sequence comes twice: the
            // last one is never deleted.
            let sql = "INSERT INTO sales (sale_id, sequence, payload)
                VALUES (?1, (SELECT coalesce(max(sequence), 0) + 1 FROM sales), ?2)
                ON CONFLICT (sale_id) DO UPDATE SET sequence = excluded.sequence, payload = excluded.payload
                RETURNING sequence";
            let mut sale = transaction.prepare_cached(sql)?;
            sale.query_row((id, payload), |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        }
        Rarity::Dead { partition, entry, cause } => {
            let sql = "INSERT INTO dead (partition_id, log_offset, record_id, kind, cause, parked_at_ms, payload)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let (id, offset) = (entry.id.map(|id| id.stored()), entry.offset.cast_signed());
            let values = (partition.0, offset, id, &entry.kind, cause, now_ms, entry.payload.as_ref());
            transaction.prepare_cached(sql)?.execute(values)?;
            Ok(0)
        }
    }
}
