//! Consumers of a topic: a service that makes something of a topic's records keeps how far it is in
//! the database in which it keeps what it made, and moves both in one transaction. So a record
//! changes that database once, although the topic may hold it twice or give it twice.
//!
//! | what if | then |
//! |---|---|
//! | the process dies | the transaction is undone or done, and the next start reads its position |
//! | the answer to the commit is lost | the position is read again before anything is done |
//! | a record comes twice by its position | it is below the position, and not read |
//! | the topic holds a record twice | its handler tells (an event: by order and sequence) |
//! | two work on one partition | the second finds the position moved, and undoes its own work |
//! | retention deleted what was not read | an error is logged; the first record left is next |
//! | a record is damaged, or contradicts | parked with its cause in that step; others go on |
//! | the database cannot hold one | they are taken one by one, and that one is parked |
//! | a newer program wrote a record | those before it are taken; it waits for the update |

/// Counts.
mod counts;

/// What is put aside.
mod parked;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    id::PartitionId,
    record::{RecordError, Topic},
};

use tokio::task::JoinSet;

use self::counts::Counts;
pub use self::{counts::figures, parked::Aside};
use crate::{
    log::{Entry, Membership, MembershipEvent, PartitionReader, ReadError},
    sql::{Sql, SqlError, Tx, Value, stored},
};

const FIND: &str = "SELECT log_offset FROM consumer_positions WHERE consumer = ? AND topic = ? AND partition_id = ?";
const BEGIN: &str = "INSERT INTO consumer_positions (consumer, topic, partition_id, log_offset) VALUES (?, ?, ?, ?)";
// The fence: who moves it has the records from there on for itself.
const MOVE: &str = "UPDATE consumer_positions SET log_offset = ? \
                    WHERE consumer = ? AND topic = ? AND partition_id = ? AND log_offset = ?";

/// Records handed over at once, at most.
pub const RECORDS_MAX: usize = 512;
/// Bytes of them, about, at most.
const BYTES_MAX: usize = 4 << 20;
/// How long a read waits for the first record.
const WAIT: Duration = Duration::from_millis(500);
/// Pause after a fault.
const AGAIN: Duration = Duration::from_millis(500);

/// What a service makes of a topic's records.
pub trait Handler<S: Sql>: Send {
    /// What it reads of a record.
    type Read: Send;

    /// Reads a record of this `ce_type`.
    ///
    /// # Errors
    /// [`RecordError::is_newer`] for one that waits until this program is updated; any other for
    /// one that is parked.
    fn read(kind: &str, payload: Bytes) -> Result<Self::Read, RecordError>;

    /// Takes these records of one partition, each with its offset, in their order, and changes the
    /// database in this transaction only. What contradicts what is known goes into `parked`, and
    /// the others go on. A record may be handed over again whose changes stand, when the topic
    /// holds it twice. After an error the transaction is undone and the same records come again.
    ///
    /// # Errors
    /// Whatever kept it from being done. [`SqlError::is_of_values`] condemns the record, if it
    /// comes again when the record is handed over alone.
    fn handle(
        &mut self,
        tx: &mut S::Tx,
        partition: PartitionId,
        records: Vec<(u64, Self::Read)>,
        parked: &mut Vec<Aside>,
    ) -> impl Future<Output = Result<(), SqlError>> + Send;
}

/// Why a step was not done. Doing it again is right.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The topic.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The next record is of a newer program: the partition waits until this one is updated.
    #[error("the record at offset {offset} is of a newer program: {error}")]
    Newer {
        /// Where it is.
        offset: u64,
        /// What is unknown.
        #[source]
        error: RecordError,
    },
}

/// Which partition of which topic, for whom.
#[derive(Debug, Clone, Copy)]
struct Place {
    consumer: &'static str,
    topic: Topic,
    partition: PartitionId,
}

/// One partition of a topic, as a named consumer reads it.
pub struct Consumer<S, R> {
    db: S,
    place: Place,
    reader: R,
    /// The next record; `None` when the database must be asked.
    position: Option<u64>,
    /// Records below it are handed over one by one: together the database refused them.
    apart_until: u64,
    counts: Arc<Counts>,
    /// What was the next record when that was last known.
    seen: Option<u64>,
}

/// Records that were read.
struct Portion<T> {
    from: u64,
    /// The record after them.
    next: u64,
    sound: Vec<(u64, T)>,
    parked: Vec<Aside>,
}

impl<S: Sql, R: PartitionReader> Consumer<S, R> {
    /// The consumer with this name, at most 64 bytes, which keeps its position in this database:
    /// there the migrations [`CONSUMERS_TABLE`](crate::shards::CONSUMERS_TABLE) and
    /// [`PARKED_TABLE`](crate::shards::PARKED_TABLE) MUST be applied. `reader`: of that partition
    /// of the topic.
    pub fn new(db: S, name: &'static str, topic: Topic, partition: PartitionId, reader: R) -> Self {
        let place = Place { consumer: name, topic, partition };
        Self { db, place, reader, position: None, apart_until: 0, counts: Counts::of(name), seen: None }
    }

    /// Records that wait, by the position that was last known: it grows too while the database is
    /// away.
    ///
    /// # Errors
    /// When the topic does not answer, or the database, where no position is known yet.
    pub async fn behind(&mut self) -> Result<u64, ConsumeError> {
        let seen = match self.seen {
            Some(seen) => seen,
            None => self.find().await?,
        };
        Ok(self.reader.watermarks().await?.high.saturating_sub(seen))
    }

    /// Hands over what comes within `wait`, and moves on. How many records that were, parked ones
    /// too; 0 when another process was quicker, too.
    ///
    /// # Errors
    /// [`ConsumeError`]: nothing happened, or after [`SqlError::is_unknown`] maybe all. The next
    /// step looks.
    pub async fn step<H: Handler<S>>(&mut self, handler: &mut H, wait: Duration) -> Result<usize, ConsumeError> {
        let from = match self.position {
            Some(position) => position,
            None => self.find().await?,
        };
        // Forgotten until the step is done: whatever ends it, the next one asks the database.
        self.position = None;
        let is_apart = from < self.apart_until;
        let records = match self.reader.read(if is_apart { 1 } else { RECORDS_MAX }, BYTES_MAX, wait).await {
            Err(ReadError::OutOfRange { .. }) => return self.pass_over(from).await,
            read => read?,
        };
        let (portion, newer) = read_portion::<S, H>(from, &records);
        let (passed, next) = (portion.sound.len() + portion.parked.len(), portion.next);
        match newer {
            Some((offset, error)) if passed == 0 => {
                self.counts.waits();
                return Err(ConsumeError::Newer { offset, error });
            }
            _ if passed == 0 => {}
            _ => match (self.hand_over(handler, portion).await, &records[..]) {
                (Ok(true), _) => {}
                (Ok(false), _) => return Ok(0),
                (Err(error), [alone]) if is_apart && error.is_of_values() => {
                    let parked = vec![Aside::whole(alone, &error)];
                    if !self.hand_over(handler, Portion { from, next, sound: Vec::new(), parked }).await? {
                        return Ok(0);
                    }
                }
                (Err(error), _) => {
                    self.apart_until = if error.is_of_values() { next } else { self.apart_until };
                    return Err(error.into());
                }
            },
        }
        // The reader is past a record that waits.
        (self.position, self.seen) = (newer.is_none().then_some(next), Some(next));
        Ok(passed)
    }

    /// `false`: another process was quicker.
    async fn hand_over<H: Handler<S>>(&self, handler: &mut H, portion: Portion<H::Read>) -> Result<bool, SqlError> {
        let Portion { from, next, sound, mut parked } = portion;
        let taken = sound.len();
        let mut tx = self.db.begin().await?;
        let handled = async {
            if tx.exec(MOVE, self.moved(from, next)?).await? != 1 {
                return Ok(false);
            }
            if !sound.is_empty() {
                handler.handle(&mut tx, self.place.partition, sound, &mut parked).await?;
            }
            parked::write::<S>(&mut tx, &self.place, &parked).await.map(|()| true)
        }
        .await;
        match handled {
            Ok(true) => tx.commit().await?,
            undone => {
                tx.rollback().await;
                return undone;
            }
        }
        parked::report(&self.place, &parked);
        self.counts.passed(taken, parked.len());
        Ok(true)
    }

    /// The position in the database, where the reader goes. A new consumer begins with the first
    /// record that the topic holds.
    async fn find(&mut self) -> Result<u64, ConsumeError> {
        let found = self.db.rows(FIND, self.place.key()).await?.into_iter().next();
        let position = match found {
            Some(mut row) => row.number()?,
            None => {
                let low = self.reader.watermarks().await?.low;
                let mut params = self.place.key();
                params.push(stored(low)?.into());
                // Where another process was quicker, its position fences this one's first step.
                self.db.insert_absent(BEGIN, params).await?;
                low
            }
        };
        self.reader.seek(position).await?;
        self.seen = Some(position);
        Ok(position)
    }

    /// The topic does not have the record at the position: retention deleted it, or the topic is
    /// another one.
    async fn pass_over(&mut self, from: u64) -> Result<usize, ConsumeError> {
        let low = self.reader.watermarks().await?.low;
        let Place { consumer, topic, partition } = self.place;
        tracing::error!(consumer, topic = topic.name(), %partition, from, to = low,
            "a topic lost records before they were consumed: what they told is to be had from the database of their service");
        self.db.exec(MOVE, self.moved(from, low)?).await?;
        Ok(0)
    }

    /// Logs why a step was not done.
    pub fn report(&self, error: &ConsumeError) {
        let (consumer, topic, partition) = (self.place.consumer, self.place.topic.name(), self.place.partition);
        match error {
            ConsumeError::Newer { .. } => {
                tracing::error!(consumer, topic, %partition, %error, "a consumer waits for a newer program");
            }
            error => tracing::warn!(consumer, topic, %partition, %error, "a consumer waits; it goes on by itself"),
        }
    }

    fn moved(&self, from: u64, to: u64) -> Result<Vec<Value>, SqlError> {
        let mut params = vec![stored(to)?.into()];
        params.extend(self.place.key());
        params.push(stored(from)?.into());
        Ok(params)
    }
}

impl Place {
    fn key(&self) -> Vec<Value> {
        vec![self.consumer.into(), self.topic.name().into(), self.partition.0.into()]
    }
}

/// What a handler is handed of these records, and the first one of a newer program, if there is
/// one.
fn read_portion<S: Sql, H: Handler<S>>(from: u64, records: &[Entry]) -> (Portion<H::Read>, Option<(u64, RecordError)>) {
    let mut portion = Portion { from, next: from, sound: Vec::with_capacity(records.len()), parked: Vec::new() };
    for record in records {
        match H::read(&record.kind, record.payload.clone()) {
            Ok(read) => portion.sound.push((record.offset, read)),
            Err(error) if error.is_newer() => return (portion, Some((record.offset, error))),
            Err(error) => portion.parked.push(Aside::whole(record, &error)),
        }
        portion.next = record.offset + 1;
    }
    (portion, None)
}

/// Consumes a partition until the future is dropped, which may be at any moment. Faults are logged,
/// and tried again.
pub async fn follow<S: Sql, R: PartitionReader>(mut consumer: Consumer<S, R>, mut handler: impl Handler<S>) {
    loop {
        if let Err(error) = consumer.step(&mut handler, WAIT).await {
            consumer.report(&error);
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Consumes the partitions that a group gives to this process, side by side, until the future is
/// dropped, which may be at any moment. `begin` makes the consumer of a partition and its handler.
/// That two processes work on a partition for a moment does no harm: the position fences one of
/// them.
///
/// # Errors
/// [`ReadError`] when the group cannot be followed any more, or `begin` fails.
pub async fn share<S: Sql, R: PartitionReader, H: Handler<S> + 'static>(
    mut membership: impl Membership,
    mut begin: impl FnMut(PartitionId) -> Result<(Consumer<S, R>, H), ReadError>,
) -> Result<(), ReadError> {
    let (mut tasks, mut working) = (JoinSet::new(), BTreeMap::new());
    loop {
        let event = tokio::select! {
            event = membership.next() => event?,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                match ended {
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    // Revoked.
                    _ => continue,
                }
            }
        };
        match event {
            MembershipEvent::Assigned(partitions) => {
                for partition in partitions {
                    let (consumer, handler) = begin(partition)?;
                    working.insert(partition, tasks.spawn(follow(consumer, handler)));
                }
            }
            MembershipEvent::Revoked(partitions) => {
                for task in partitions.iter().filter_map(|partition| working.remove(partition)) {
                    task.abort();
                }
            }
        }
    }
}
