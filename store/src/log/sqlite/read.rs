//! Reads one partition: from memory while it keeps up, else from the file, on connections that only
//! read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{PartitionId, RecordId},
    record::Topic,
};
use rusqlite::{Connection, Row};
use tokio::{sync::watch, time::timeout};

use super::{
    Shared, SqliteLog, Stream,
    file::{LogFile, offset_of, place},
    no_such,
};
use crate::{
    cause::Cause,
    log::{Entry, OrderLogSource, PartitionReader, ReadError, Watermarks},
};

/// Connections kept for the next read, at most.
const IDLE_MAX: usize = 8;

/// Connections that read. Each question runs where it may block.
pub(super) struct Readers {
    file: LogFile,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    connections: Vec<Connection>,
    /// The log ends: nothing is kept any more.
    closed: bool,
}

impl Readers {
    pub(super) fn new(file: &LogFile) -> Self {
        Self { file: file.clone(), idle: Mutex::default() }
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let kept = self.idle().connections.pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.file.open_to_read()?,
        };
        // After an error the connection is closed: the next question gets a fresh one.
        let answer = question(&connection)?;
        let mut idle = self.idle();
        if idle.connections.len() < IDLE_MAX && !idle.closed {
            idle.connections.push(connection);
        }
        Ok(answer)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the writer's connection, so that this is the last one: only that carries the
    /// write-ahead log over and removes it.
    pub(super) fn close(&self) {
        *self.idle() = Idle { connections: Vec::new(), closed: true };
    }
}

impl Shared {
    /// Asks the file.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || shared.readers.ask(question)).await;
        let answer = asked
            .map_err(|error| ReadError::Unavailable(Cause::new(format!("a read was given up: {error}"), error)))?;
        answer.map_err(|error| ReadError::Unavailable(self.file.cause(error)))
    }
}

/// Opens readers of one topic of a log in a file.
#[derive(Clone)]
pub struct SqliteSource {
    log: Arc<Shared>,
    topic: Topic,
}

impl SqliteSource {
    /// Of this log's topic `orders`.
    pub fn new(log: &SqliteLog) -> Self {
        Self::of(log, Topic::Orders)
    }

    /// Of another topic of this log.
    pub fn of(log: &SqliteLog, topic: Topic) -> Self {
        Self { log: log.shared(), topic }
    }
}

impl OrderLogSource for SqliteSource {
    type Reader = SqliteReader;

    fn reader(&self, partition: PartitionId) -> Result<SqliteReader, ReadError> {
        let stream = self.log.stream(self.topic, partition);
        let found = stream.and_then(|stream| Some((stream, self.log.tails.get(stream.index)?.marks())));
        let no_such = || ReadError::Unavailable(no_such(partition, self.log.settings.partitions).into());
        let (stream, marks) = found.ok_or_else(no_such)?;
        Ok(SqliteReader { log: Arc::clone(&self.log), partition, stream, marks, next: None, lost: false })
    }
}

/// Reads one partition. A cancelled [`PartitionReader::read`] loses nothing; after
/// [`ReadError::OutOfRange`] every read says so again until the next seek.
pub struct SqliteReader {
    log: Arc<Shared>,
    partition: PartitionId,
    stream: Stream,
    marks: watch::Receiver<Watermarks>,
    /// Offset asked for next; `None` before the first read.
    next: Option<u64>,
    /// The log has no record there.
    lost: bool,
}

impl SqliteReader {
    fn out_of_range(&mut self, offset: u64) -> ReadError {
        self.lost = true;
        ReadError::OutOfRange { partition: self.partition, offset }
    }

    /// Waits until there is a record at this offset; whether one came in time.
    async fn arrival(&mut self, offset: u64, wait: Duration) -> Result<bool, ReadError> {
        let arrival = async {
            loop {
                let Watermarks { low, high } = *self.marks.borrow_and_update();
                if !(low..=high).contains(&offset) {
                    return Err(self.out_of_range(offset));
                }
                if offset < high {
                    return Ok(true);
                }
                if self.marks.changed().await.is_err() {
                    return Err(ReadError::Unavailable("the log was closed".into()));
                }
            }
        };
        timeout(wait, arrival).await.unwrap_or(Ok(false))
    }

    /// Records from this offset on that are in the log; none when the file has no record at that
    /// very offset.
    async fn records(&self, offset: u64, records_max: usize, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        let tail = self.log.tails.get(self.stream.index);
        let newest = tail.and_then(|tail| tail.read(offset, records_max, bytes_max));
        match newest {
            Some(entries) => Ok(entries),
            None => {
                let number = self.stream.number;
                self.log.ask(move |connection| read(connection, number, offset, records_max, bytes_max)).await
            }
        }
    }
}

/// Only what the ledger has not seen go: a gap ends the read, and one at its beginning is for R10.
pub(super) fn read(
    connection: &Connection,
    number: usize,
    offset: u64,
    records_max: usize,
    bytes_max: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let sql = "SELECT place, record_id, kind, payload FROM records WHERE place >= ?1 AND place < ?2 ORDER BY place";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((place(number, offset), place(number + 1, 0)))?;
    let (mut entries, mut bytes, mut next) = (Vec::new(), 0, offset);
    while entries.is_empty() || (entries.len() < records_max && bytes < bytes_max) {
        let Some(row) = rows.next()? else { break };
        let entry = entry(row)?;
        if entry.offset != next {
            break;
        }
        next += 1;
        bytes += entry.payload.len();
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        offset: offset_of(row.get(0)?),
        id: RecordId::new(row.get::<_, i64>(1)?.cast_unsigned()).ok(),
        kind: row.get(2)?,
        payload: Bytes::from(row.get::<_, Vec<u8>>(3)?),
    })
}

impl PartitionReader for SqliteReader {
    async fn watermarks(&mut self) -> Result<Watermarks, ReadError> {
        Ok(*self.marks.borrow())
    }

    async fn entry_at(&mut self, offset: u64) -> Result<Option<Entry>, ReadError> {
        let Watermarks { low, high } = *self.marks.borrow();
        if !(low..high).contains(&offset) {
            return Ok(None);
        }
        Ok(self.records(offset, 1, usize::MAX).await?.into_iter().next())
    }

    async fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        (self.next, self.lost) = (Some(offset), false);
        Ok(())
    }

    async fn read(&mut self, max_records: usize, max_bytes: usize, wait: Duration) -> Result<Vec<Entry>, ReadError> {
        let low = self.marks.borrow().low;
        let offset = *self.next.get_or_insert(low);
        if self.lost {
            return Err(self.out_of_range(offset));
        }
        if !self.arrival(offset, wait).await? {
            return Ok(Vec::new());
        }
        // The file may hold more already than the watermarks tell: whoever read that would be past
        // the end.
        let told = usize::try_from(self.marks.borrow().high.saturating_sub(offset)).unwrap_or(usize::MAX);
        let entries = self.records(offset, max_records.min(told), max_bytes).await?;
        match entries.last() {
            Some(last) => self.next = Some(last.offset + 1),
            // It went while we asked, or somebody took it out.
            None => return Err(self.out_of_range(offset)),
        }
        Ok(entries)
    }
}
