//! Records that were set aside, for operators: what is in the dead letters and which record a
//! partition waits at (`list`), setting the record aside that stops a partition (`skip`), and
//! appending a parked one again when it can be decided by now (`replay`).

use std::time::Duration;

use clap::Subcommand;
use domain::{
    id::{LaneId, PartitionId, RecordId},
    record::Record,
    stock::{CloseAnswer, LaneMode},
};
use jiff::Timestamp;
use serde_json::json;
use store::{
    ledger::Ledger,
    log::{
        Entry, Envelope, OrderLog, OrderLogSource, Parked, ParkedRecords, PartitionReader, ReadError, Unacknowledged,
    },
    sql::{Sql, SqlError},
    stock::{LaneKeeping, StockError},
};

use crate::{
    partition::{Partition, random_record_id},
    ports::{Halt, Ports},
};

/// Parked records of a page, at most.
pub const PAGE_MAX: u16 = 1_000;
/// Between two looks whether the record that stops a partition was set aside.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is asked about parked records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ParkedCommand {
    /// Shows what was parked and why, oldest first, and at which record of unknown type a partition
    /// waits.
    List {
        /// Begin with this number: the `next` of the page before.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Records to show.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(PAGE_MAX)))]
        limit: u16,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sets a record of unknown type aside, for ever: it is parked, and its partition goes on.
    Skip {
        /// The partition.
        #[arg(value_parser = partition)]
        partition: PartitionId,
        /// The record's offset in it.
        offset: u64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Appends a parked record again, at the end of its partition. What it says that was decided
    /// since changes nothing.
    Replay {
        /// Its number in the list.
        number: u64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

impl ParkedCommand {
    /// What was told of it, as it is printed. A list has its form already.
    #[must_use]
    pub fn printed(&self, told: String) -> String {
        match self {
            Self::Skip { json: true, .. } | Self::Replay { json: true, .. } => {
                format!("{:#}\n", json!({ "done": told.trim_end() }))
            }
            _ => told,
        }
    }
}

fn partition(text: &str) -> Result<PartitionId, std::num::ParseIntError> {
    text.parse().map(PartitionId)
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum ParkedError {
    /// What was asked for is not there, or may not be done.
    #[error("{0}")]
    Refused(String),
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The log, to read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log, to append.
    #[error(transparent)]
    Append(#[from] Unacknowledged),
    /// The lanes.
    #[error(transparent)]
    Stock(#[from] StockError),
}

/// What the commands stand on.
pub struct Stores<'a, S, D, O, L, K> {
    /// The ledger.
    pub ledger: &'a Ledger<S>,
    /// The dead letters, to be read.
    pub dead: &'a D,
    /// To read partitions.
    pub source: &'a O,
    /// To append.
    pub log: &'a L,
    /// The lanes.
    pub stock: &'a K,
    /// Partitions of the log.
    pub partitions: u32,
}

impl<S: Sql, D: ParkedRecords, O: OrderLogSource, L: OrderLog, K: LaneKeeping> Stores<'_, S, D, O, L, K> {
    /// Does it; returns what to print.
    ///
    /// # Errors
    /// [`ParkedError`]; asking again is harmless.
    pub async fn carry_out(&self, command: ParkedCommand) -> Result<String, ParkedError> {
        match command {
            ParkedCommand::List { from, limit, json } => self.list(from, limit, json).await,
            ParkedCommand::Skip { partition, offset, .. } => self.skip(partition, offset).await,
            ParkedCommand::Replay { number, .. } => self.replay(number).await,
        }
    }

    async fn list(&self, from: u64, limit: u16, as_json: bool) -> Result<String, ParkedError> {
        let mut waiting = Vec::new();
        for id in (0..self.partitions).map(PartitionId) {
            let Some(row) = self.ledger.partition(id).await? else { continue };
            if let Some(entry) = self.source.reader(id)?.entry_at(row.offset).await?
                && unknown_type(&entry).is_some()
                && !self.ledger.skips(id).await?.contains(&(entry.offset, entry.id))
            {
                waiting.push((id, entry));
            }
        }
        let limit = usize::from(limit);
        let mut parked = self.dead.parked(from, limit + 1).await?;
        let next = parked.get(limit).map(|first| first.number);
        parked.truncate(limit);
        Ok(if as_json { as_object(&waiting, &parked, next) } else { as_lines(&waiting, &parked, next) })
    }

    async fn skip(&self, id: PartitionId, offset: u64) -> Result<String, ParkedError> {
        let refused = |why: String| ParkedError::Refused(why);
        let next = self.ledger.partition(id).await?.map(|row| row.offset);
        let next =
            next.ok_or_else(|| refused(format!("there is no partition {id}: `parked list` names those that wait")))?;
        let entry = self.source.reader(id)?.entry_at(offset).await?;
        let entry = entry.ok_or_else(|| refused(format!("partition {id} has no record at offset {offset}")))?;
        if offset < next {
            return Err(refused(format!(
                "the record at offset {offset} of partition {id} is decided: it stops nothing"
            )));
        }
        let Some(kind) = unknown_type(&entry) else {
            return Err(refused(format!(
                "the record at offset {offset} of partition {id} has the known type {}: it stops nothing, and is decided in its turn",
                entry.kind
            )));
        };
        let is_new = self.ledger.skip(id, offset, entry.id).await?;
        let what = if is_new { "is set aside" } else { "was set aside before" };
        Ok(format!(
            "the record of type {kind} at offset {offset} of partition {id} {what}: it goes to the dead letters, and the partition goes \
             on within a second\n"
        ))
    }

    async fn replay(&self, number: u64) -> Result<String, ParkedError> {
        let found = self.dead.parked(number, 1).await?.pop().filter(|parked| parked.number == number);
        let parked = found.ok_or_else(|| ParkedError::Refused(format!("there is no parked record {number}")))?;
        let Entry { id, kind, payload, .. } = parked.entry;
        let record = Record::read(&kind, payload.clone())
            .map_err(|error| ParkedError::Refused(format!("this program would park it again: {error}")))?;
        let mut rebuilt = String::new();
        if let Record::Batch(batch) = &record
            && self.close(batch.lane).await?
        {
            // Its units may be on sale again: a lane that is open would promise them a second time.
            rebuilt = format!("; lane {} was closed before and is rebuilt from the rows", batch.lane);
        }
        let id = id.unwrap_or_else(random_record_id);
        let room = self.log.room().ok_or_else(|| Unacknowledged("the producer's queue is full".into()))?;
        let envelope = Envelope { id, kind: record.kind(), payload };
        let offset = self.log.append(parked.partition, envelope, room).await?;
        Ok(format!("record {id} is appended again at offset {offset} of partition {}{rebuilt}\n", parked.partition))
    }

    /// Whether the lane was open.
    async fn close(&self, id: LaneId) -> Result<bool, ParkedError> {
        let Some(lane) = self.ledger.lane(id).await? else { return Ok(false) };
        if !matches!(self.stock.inspect(id).await?.mode, LaneMode::Open { .. }) {
            return Ok(false);
        }
        if let CloseAnswer::RefusedOpen { epoch } = self.stock.close(id, lane.epoch.next()).await? {
            self.stock.close(id, epoch.next()).await?;
        }
        Ok(true)
    }
}

/// The type of a record that only a newer program can decide.
fn unknown_type(entry: &Entry) -> Option<&str> {
    let is_unknown = Record::read(&entry.kind, entry.payload.clone()).is_err_and(|error| error.is_newer());
    is_unknown.then_some(&entry.kind)
}

/// In UTC, RFC 3339.
fn rfc3339(epoch_ms: u64) -> String {
    let at = i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| "at an unknown time".into(), |at| at.to_string())
}

fn record(id: Option<RecordId>) -> String {
    id.map_or_else(|| "none".into(), |id| id.to_string())
}

fn as_lines(waiting: &[(PartitionId, Entry)], parked: &[Parked], next: Option<u64>) -> String {
    let mut lines = Vec::new();
    for (id, Entry { offset, id: found, kind, payload }) in waiting {
        let (found, bytes) = (record(*found), payload.len());
        lines.push(format!(
            "partition {id} waits at offset {offset}: type {kind}, record {found}, {bytes} bytes; `parked skip {id} {offset}` sets it aside"
        ));
    }
    for Parked { number, partition, entry, cause, parked_at_ms } in parked {
        let (id, kind, offset, bytes) = (record(entry.id), &entry.kind, entry.offset, entry.payload.len());
        let at = rfc3339(*parked_at_ms);
        lines.push(format!(
            "{number}  {at}  partition {partition}, offset {offset}, type {kind}, record {id}, {bytes} bytes: {cause}"
        ));
    }
    if waiting.is_empty() && parked.is_empty() {
        lines.push("nothing is parked, and no partition waits at a record of unknown type".into());
    }
    if let Some(next) = next {
        lines.push(format!("there are more: --from {next}"));
    }
    lines.join("\n") + "\n"
}

fn as_object(waiting: &[(PartitionId, Entry)], parked: &[Parked], next: Option<u64>) -> String {
    let entry = |partition: PartitionId, entry: &Entry| {
        json!({
            "partition": partition.0, "offset": entry.offset, "type": entry.kind, "bytes": entry.payload.len(),
            "record": entry.id.map(|id| id.to_string()),
        })
    };
    let waiting: Vec<_> = waiting.iter().map(|(id, found)| entry(*id, found)).collect();
    let parked = parked.iter().map(|parked| {
        let mut shown = entry(parked.partition, &parked.entry);
        shown["number"] = json!(parked.number);
        shown["cause"] = json!(parked.cause);
        shown["parked_at"] = json!(rfc3339(parked.parked_at_ms));
        shown
    });
    let parked: Vec<_> = parked.collect();
    format!("{}\n", json!({ "waiting": waiting, "parked": parked, "next": next }))
}

impl<P: Ports> Partition<P> {
    /// Waits until the record that only a newer program may decide is set aside, and goes back to
    /// it.
    ///
    /// # Errors
    /// Any [`Halt`]: the partition moved without this worker, or the log is another one.
    pub(crate) async fn wait_for_skip(&mut self, halt: Halt) -> Result<(), Halt> {
        let Halt::NewerRecord { offset, .. } = halt else { return Err(halt) };
        tracing::error!(partition = %self.id, %halt, "this partition waits");
        self.shared.metrics.halted(halt.cause());
        self.pulse.halted(&halt);
        let is_new = |skips: &[(u64, Option<RecordId>)], known: &[_]| {
            skips.iter().any(|skip| skip.0 == offset && !known.contains(skip))
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.stop_if_stale().await?;
            self.undecided().await?;
            let skips = self.shared.ledger.skips(self.id).await?;
            if is_new(&skips, self.skips()) {
                self.note_skips(skips);
                break;
            }
        }
        self.reader.seek(self.row().offset).await?;
        Ok(())
    }
}
