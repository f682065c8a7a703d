//! The log: append, read in batches, positions, topic by topic. It orders and keeps records and
//! never looks into them.

#[cfg(feature = "production")]
pub mod kafka;
#[cfg(any(feature = "embedded", feature = "production"))]
pub mod room;
#[cfg(feature = "embedded")]
pub mod sqlite;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use domain::{
    id::{PartitionId, RecordId},
    record::Topic,
    sale::Sale,
};

use crate::{cause::Cause, figures::ProducerFigures};

/// How long the topic `counts` keeps records, at most: what nobody took in a day is not missed.
#[cfg(any(feature = "embedded", feature = "production"))]
const COUNTS_RETENTION_MS: u64 = 24 * 60 * 60 * 1000;

/// How long a topic keeps records, where the log keeps its records so long.
#[cfg(any(feature = "embedded", feature = "production"))]
fn retention_ms(topic: Topic, log_ms: u64) -> u64 {
    match topic {
        Topic::Counts => log_ms.min(COUNTS_RETENTION_MS),
        Topic::Orders | Topic::OrderEvents => log_ms,
    }
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `ce_id`.
    pub id: RecordId,
    /// `ce_type`.
    pub kind: &'static str,
    /// The record's bytes.
    pub payload: Bytes,
}

/// A record read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its offset in the partition.
    pub offset: u64,
    /// `ce_id`; `None` when the header is missing or no id.
    pub id: Option<RecordId>,
    /// `ce_type`; empty when missing.
    pub kind: String,
    /// Its bytes.
    pub payload: Bytes,
}

/// No acknowledgement. R7: the record may or may not be in the log, and may still come; nobody
/// gives anything back.
#[derive(Debug, thiserror::Error)]
#[error("no acknowledgement from the log: {0}")]
pub struct Unacknowledged(#[source] pub Cause);

/// Reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log cannot be reached now.
    #[error("the log cannot be read: {0}")]
    Unavailable(#[source] Cause),
    /// The position asked for is not in the log any more: it lost records (R10).
    #[error("the log has no record at offset {offset} of partition {partition}: it lost records")]
    OutOfRange {
        /// The partition.
        partition: PartitionId,
        /// The offset asked for.
        offset: u64,
    },
}

/// Room for one record in the producer's queue, taken before units are promised (R7); goes back
/// when dropped.
pub trait Room: Send + 'static {}

/// Appends to one topic: `orders`, unless [`Topics::of`] says another.
pub trait OrderLog: Clone + Send + Sync + 'static {
    /// The permit type.
    type Room: Room;

    /// Room for one record, `None` when the queue is full.
    fn room(&self) -> Option<Self::Room>;

    /// Appends and waits until the record is durable: acknowledged by all in-sync replicas, or on
    /// the disk. Returns the record's offset. The record MUST be on its way when this returns:
    /// dropping the future takes nothing back, and the room goes back when the record's fate is
    /// known.
    fn append(
        &self,
        partition: PartitionId,
        record: Envelope,
        room: Self::Room,
    ) -> impl Future<Output = Result<u64, Unacknowledged>> + Send;

    /// Sends all that waits, at most `deadline` long; says how many records are still
    /// unacknowledged.
    fn flush(&self, deadline: Duration) -> impl Future<Output = usize> + Send;

    /// Rooms taken: records that are on the way or about to be.
    fn in_flight(&self) -> usize;

    /// What became of its records since it was made.
    fn figures(&self) -> ProducerFigures;
}

/// A log with several topics.
pub trait Topics: Clone {
    /// The same log, queue and all, appending to this topic. Cheap.
    #[must_use]
    fn of(&self, topic: Topic) -> Self;
}

/// Offsets between which a partition can be read: `low` is the first record, `high` the next to be
/// written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset.
    pub low: u64,
    /// One past the last.
    pub high: u64,
}

/// Reads one partition in order.
pub trait PartitionReader: Send + Sync + 'static {
    /// Where the partition begins and ends now.
    fn watermarks(&mut self) -> impl Future<Output = Result<Watermarks, ReadError>> + Send;

    /// The record at exactly this offset, `None` when there is none. The reader then stands
    /// anywhere: seek before reading on.
    fn entry_at(&mut self, offset: u64) -> impl Future<Output = Result<Option<Entry>, ReadError>> + Send;

    /// Goes to this offset; the next read begins there. A new reader stands at the first record.
    fn seek(&mut self, offset: u64) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// At least one record, unless `wait` passes; at most `max_records` and about `max_bytes`.
    /// Reads what is there and does not wait to fill up.
    fn read(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Entry>, ReadError>> + Send;
}

/// What happened to a member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipEvent {
    /// These partitions are ours now.
    Assigned(Vec<PartitionId>),
    /// These are somebody else's now. Only a hint: the ledger's compare-and-set is the fence.
    Revoked(Vec<PartitionId>),
}

/// Membership in a group that shares a topic's partitions: who works on which.
pub trait Membership: Send + 'static {
    /// The next change.
    fn next(&mut self) -> impl Future<Output = Result<MembershipEvent, ReadError>> + Send;

    /// Tells the group how far a partition is decided: for lag displays, and for a log that keeps
    /// what is not decided.
    fn report(&self, partition: PartitionId, next_offset: u64);

    /// Leaves the group, so that others take over at once and not when the session ends; at most
    /// `deadline` long.
    fn leave(self, deadline: Duration) -> impl Future<Output = ()> + Send;
}

/// Opens readers of the partitions of one topic.
pub trait OrderLogSource: Clone + Send + Sync + 'static {
    /// The reader type.
    type Reader: PartitionReader;

    /// A reader of one partition, for one who works on it.
    fn reader(&self, partition: PartitionId) -> Result<Self::Reader, ReadError>;
}

/// Publishes to the compacted topic `sales`.
pub trait SalesPublisher: Send + Sync + 'static {
    /// Appends this version under the sale's id and waits for the acknowledgement.
    fn publish(&self, sale: &Sale) -> impl Future<Output = Result<(), Unacknowledged>> + Send;
}

/// Follows the topic `sales` from its beginning, without a group.
pub trait SalesFollower: Send + 'static {
    /// The next sales, as they come; an empty vector when the topic's end, as it stood at the
    /// start, is reached for the first time. Damaged records are logged and skipped.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] once when the topic lost what it had: from then on it is read from
    /// its beginning, and its end is told again.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Sale>, ReadError>> + Send;
}

/// A record in the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its number there; later ones have higher numbers.
    pub number: u64,
    /// The partition that it was in.
    pub partition: PartitionId,
    /// The record, with its offset in that partition.
    pub entry: Entry,
    /// Why it is here.
    pub cause: String,
    /// Since when, in epoch milliseconds.
    pub parked_at_ms: u64,
}

/// Reads the dead letters: for operators.
pub trait ParkedRecords: Send + Sync {
    /// Those from number `from` on, in the order of their numbers, at most `limit`; less only when
    /// there are no more.
    fn parked(&self, from: u64, limit: usize) -> impl Future<Output = Result<Vec<Parked>, ReadError>> + Send;
}

/// Records that cannot be decided, with their cause, on `orders.dead`.
pub trait DeadLetters: Clone + Send + Sync + 'static {
    /// Parks a record.
    fn park(
        &self,
        partition: PartitionId,
        entry: &Entry,
        cause: &str,
    ) -> impl Future<Output = Result<(), Unacknowledged>> + Send;
}
