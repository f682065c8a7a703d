//! The log in a file, for one process: settings, and what its parts share. The file, the queue, the
//! thread that writes, reading, membership and the sales have a file each. Nothing here looks into
//! a record.

mod append;
mod dead;
mod file;
mod look;
mod mailbox;
mod membership;
mod read;
mod sales;
mod tail;
mod tally;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use domain::{id::PartitionId, record::Topic};
use tokio::sync::watch;

use self::{file::LogFile, mailbox::Mailbox, read::Readers, tail::Tail, tally::Tally};
use super::room::{Queue, RECORD_BYTES_MAX};

pub use append::SqliteLog;
pub use look::SqliteLogView;
pub use membership::SoleMember;
pub use read::{SqliteReader, SqliteSource};
pub use sales::SqliteSalesFollower;

/// Default of [`SqliteSettings::queue_records_max`].
pub const QUEUE_RECORDS_MAX: usize = 4_096;
/// Default of [`SqliteSettings::queue_bytes_max`].
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Default of [`SqliteSettings::tail_bytes_max`].
pub const TAIL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Default of [`SqliteSettings::retention_ms`]: 7 days.
pub const RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Partitions of a log, at most: a record's partition and offset share one number.
pub const PARTITIONS_MAX: u32 = 4_096;

/// How the log is shaped.
#[derive(Clone)]
pub struct SqliteSettings {
    /// Partitions of each [`Topic`]. Fixed for ever: lanes are bound to them.
    pub partitions: u32,
    /// Milliseconds for which records are kept, of the topic `counts` a day at most; of `orders`
    /// those that are not decided are kept longer ([`SqliteLog::keep_from`]).
    pub retention_ms: u64,
    /// Records on the way, at most.
    pub queue_records_max: usize,
    /// Bytes on the way, at most; a room that holds no record yet counts [`RECORD_BYTES_MAX`].
    pub queue_bytes_max: usize,
    /// Bytes of the newest records of the topic `orders` that stay in memory for readers that keep
    /// up, over all partitions.
    pub tail_bytes_max: usize,
    /// Bytes of the file, at most; `None` for as many as its disk has. At the limit nothing is
    /// acknowledged, as on a full disk.
    pub file_bytes_max: Option<u64>,
    /// Milliseconds since 1970.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl SqliteSettings {
    /// The defaults.
    pub fn new(partitions: u32, now_ms: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        Self {
            partitions,
            retention_ms: RETENTION_MS,
            queue_records_max: QUEUE_RECORDS_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            tail_bytes_max: TAIL_BYTES_MAX,
            file_bytes_max: None,
            now_ms,
        }
    }
}

/// The log cannot be opened. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SqliteSetupError {
    /// [`SqliteSettings::queue_bytes_max`] or [`SqliteSettings::queue_records_max`] has no room for
    /// a single record.
    #[error(
        "the queue has no room for a record: it needs queue_records_max >= 1 and queue_bytes_max >= {RECORD_BYTES_MAX}"
    )]
    NoRoom,
    /// [`SqliteSettings::partitions`] is 0 or above the limit.
    #[error("a log has 1 to {PARTITIONS_MAX} partitions, the settings say {0}: set partitions within that")]
    NoSuchShape(u32),
    /// The file exists with another number of partitions.
    #[error(
        "{path} has {found} partitions, the settings say {expected}: set partitions to {found}, or choose another data \
         folder; never add partitions to it, because lanes are bound to them"
    )]
    Partitions {
        /// The file.
        path: PathBuf,
        /// Partitions it has.
        found: u32,
        /// Partitions it should have.
        expected: u32,
    },
    /// The file is not an order log.
    #[error(
        "{0} is no order log: it is damaged or another program's file, and was left as it is; restore it from a copy of the folder, or choose another data folder"
    )]
    Foreign(PathBuf),
    /// A newer version of this program wrote the file.
    #[error(
        "{path} has format {found}, this program knows {known}; it was left as it is: run the version that wrote it"
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this program.
        known: u32,
    },
    /// SQLite did not take a setting on which durability depends.
    #[error(
        "{path}: {pragma} is {found:?} and not {wanted:?}, so records could be lost: put the data folder on a local disk \
         (no network file system)"
    )]
    NotInForce {
        /// The file.
        path: PathBuf,
        /// The setting.
        pragma: &'static str,
        /// The value that is needed.
        wanted: &'static str,
        /// The value that was read back.
        found: String,
    },
    /// The file cannot be opened, read or written; the text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// No thread could be started.
    #[error("the log's thread cannot be started: {0}; look at the limit of processes")]
    Thread(std::io::Error),
}

/// What the parts of an open log share.
struct Shared {
    settings: SqliteSettings,
    file: LogFile,
    mailbox: Mailbox,
    queue: Arc<Queue>,
    tally: Tally,
    readers: Readers,
    /// By [`Stream::index`].
    tails: Vec<Tail>,
    /// Sequence of the sale published last.
    sales: watch::Sender<u64>,
    /// What retention must keep, by [`Stream::index`].
    keep_from: Vec<AtomicU64>,
}

impl Shared {
    /// Opens the file, which it makes when there is none, and starts the thread that writes.
    fn open(path: &Path, settings: &SqliteSettings) -> Result<(Arc<Self>, writer::Running), SqliteSetupError> {
        let queue = Queue::new(settings.queue_records_max, settings.queue_bytes_max).ok_or(SqliteSetupError::NoRoom)?;
        if !(1..=PARTITIONS_MAX).contains(&settings.partitions) {
            return Err(SqliteSetupError::NoSuchShape(settings.partitions));
        }
        let file = LogFile::new(path, settings);
        let connection = file.open_to_write()?;
        let (marks, sales) = file.positions(&connection)?;
        let streams = || streams(settings.partitions);
        let bytes_max = settings.tail_bytes_max / usize::try_from(settings.partitions).unwrap_or(usize::MAX).max(1);
        let tail = |(stream, marks): (Stream, _)| Tail::new(marks, if stream.is_decided() { bytes_max } else { 0 });
        // What nobody decides is kept for as long as retention says.
        let keep_from = |stream: Stream| AtomicU64::new(if stream.is_decided() { 0 } else { u64::MAX });
        let shared = Arc::new(Self {
            settings: settings.clone(),
            readers: Readers::new(&file),
            file,
            mailbox: Mailbox::default(),
            queue,
            tally: Tally::default(),
            keep_from: streams().map(keep_from).collect(),
            tails: streams().zip(marks).map(tail).collect(),
            sales: watch::Sender::new(sales),
        });
        let running = writer::start(&shared, connection)?;
        Ok((shared, running))
    }

    fn stream(&self, topic: Topic, partition: PartitionId) -> Option<Stream> {
        Stream::new(topic, partition, self.settings.partitions)
    }

    /// Of the topic `orders`. The largest of the offsets told counts.
    fn keep_from(&self, partition: PartitionId, next_offset: u64) {
        let stream = self.stream(Topic::Orders, partition);
        if let Some(kept) = stream.and_then(|stream| self.keep_from.get(stream.index)) {
            kept.fetch_max(next_offset, Relaxed);
        }
    }
}

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stream {
    /// Whose partition it is.
    topic: Topic,
    /// Its place in the vectors of [`Shared`]: those of a topic stand together.
    index: usize,
    /// What its records' places in the file begin with. Those of the topic `orders` are the
    /// partitions' own numbers, as files of older programs have them.
    number: usize,
}

impl Stream {
    /// `None` where the topic has no such partition.
    fn new(topic: Topic, partition: PartitionId, partitions: u32) -> Option<Self> {
        let at =
            |each: u32| usize::try_from(u32::from(topic.number()).checked_mul(each)?.checked_add(partition.0)?).ok();
        let (index, number) = (at(partitions)?, at(PARTITIONS_MAX)?);
        (partition.0 < partitions).then_some(Self { topic, index, number })
    }

    /// Whether it is of the topic `orders`.
    const fn is_decided(self) -> bool {
        matches!(self.topic, Topic::Orders)
    }
}

/// All of a log, by [`Stream::index`].
fn streams(partitions: u32) -> impl Iterator<Item = Stream> {
    let of_topic = move |topic| (0..partitions).filter_map(move |p| Stream::new(topic, PartitionId(p), partitions));
    Topic::ALL.into_iter().flat_map(of_topic)
}

fn no_such(partition: PartitionId, partitions: u32) -> String {
    format!("there is no partition {partition}: there are {partitions}")
}
