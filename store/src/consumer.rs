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

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use domain::{id::PartitionId, record::Topic};

use tokio::task::JoinSet;

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
    /// Takes these records of one partition, in their order, and changes the database in this
    /// transaction only. A record may be handed over again whose changes stand, when the topic
    /// holds it twice. After an error the transaction is undone and the same records come again.
    ///
    /// # Errors
    /// Whatever kept it from being done; [`SqlError::Broken`] for a record that it cannot read,
    /// which stops the partition until this program is updated.
    fn handle(
        &mut self,
        tx: &mut S::Tx,
        partition: PartitionId,
        records: &[Entry],
    ) -> impl Future<Output = Result<(), SqlError>> + Send;
}

/// Why a step was not done. Doing it again is right.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The topic.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database, or a record that cannot be read.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

/// One partition of a topic, as a named consumer reads it.
pub struct Consumer<S, R> {
    db: S,
    name: Arc<str>,
    topic: Topic,
    partition: PartitionId,
    reader: R,
    /// The next record; `None` when the database must be asked.
    position: Option<u64>,
    /// What was the next record when that was last known.
    seen: Option<u64>,
}

impl<S: Sql, R: PartitionReader> Consumer<S, R> {
    /// The consumer with this name, at most 64 bytes, which keeps its position in this database:
    /// there the migration [`consumers`](crate::shards::consumers) MUST be applied. `reader`: of
    /// that partition of the topic.
    pub fn new(db: S, name: &str, topic: Topic, partition: PartitionId, reader: R) -> Self {
        Self { db, name: name.into(), topic, partition, reader, position: None, seen: None }
    }

    /// The partition.
    pub const fn partition(&self) -> PartitionId {
        self.partition
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

    /// Hands over what comes within `wait`, and moves on. How many records that were; 0 when
    /// another process was quicker, too.
    ///
    /// # Errors
    /// [`ConsumeError`]: nothing happened, or after [`SqlError::is_unknown`] maybe all. The next
    /// step looks.
    pub async fn step(&mut self, handler: &mut impl Handler<S>, wait: Duration) -> Result<usize, ConsumeError> {
        let from = match self.position {
            Some(position) => position,
            None => self.find().await?,
        };
        // Forgotten until the step is done: whatever ends it, the next one asks the database.
        self.position = None;
        let records = match self.reader.read(RECORDS_MAX, BYTES_MAX, wait).await {
            Err(ReadError::OutOfRange { .. }) => return self.pass_over(from).await,
            read => read?,
        };
        let next = records.last().map_or(from, |last| last.offset + 1);
        if !records.is_empty() && !self.hand_over(handler, (from, next), &records).await? {
            return Ok(0);
        }
        (self.position, self.seen) = (Some(next), Some(next));
        Ok(records.len())
    }

    /// `false`: another process was quicker.
    async fn hand_over(
        &self,
        handler: &mut impl Handler<S>,
        (from, next): (u64, u64),
        records: &[Entry],
    ) -> Result<bool, SqlError> {
        let mut tx = self.db.begin().await?;
        let handled = async {
            if tx.exec(MOVE, self.moved(from, next)?).await? != 1 {
                return Ok(false);
            }
            handler.handle(&mut tx, self.partition, records).await.map(|()| true)
        }
        .await;
        match handled {
            Ok(true) => tx.commit().await.map(|()| true),
            undone => {
                tx.rollback().await;
                undone
            }
        }
    }

    /// The position in the database, where the reader goes. A new consumer begins with the first
    /// record that the topic holds.
    async fn find(&mut self) -> Result<u64, ConsumeError> {
        let found = self.db.rows(FIND, self.key()).await?.into_iter().next();
        let position = match found {
            Some(mut row) => row.number()?,
            None => {
                let low = self.reader.watermarks().await?.low;
                let mut params = self.key();
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
        let consumer = &*self.name;
        tracing::error!(consumer, topic = self.topic.name(), partition = %self.partition, from, to = low,
            "a topic lost records before they were consumed: what they told is to be had from the database of their service");
        self.db.exec(MOVE, self.moved(from, low)?).await?;
        Ok(0)
    }

    fn key(&self) -> Vec<Value> {
        vec![(&*self.name).into(), self.topic.name().into(), self.partition.0.into()]
    }

    fn moved(&self, from: u64, to: u64) -> Result<Vec<Value>, SqlError> {
        let mut params = vec![stored(to)?.into()];
        params.extend(self.key());
        params.push(stored(from)?.into());
        Ok(params)
    }
}

/// Consumes a partition until the future is dropped, which may be at any moment. Faults are logged,
/// and tried again.
pub async fn follow<S: Sql, R: PartitionReader>(mut consumer: Consumer<S, R>, mut handler: impl Handler<S>) {
    loop {
        if let Err(error) = consumer.step(&mut handler, WAIT).await {
            let (name, topic, partition) = (&*consumer.name, consumer.topic.name(), consumer.partition);
            tracing::warn!(consumer = name, topic, %partition, %error, "a consumer waits; it goes on by itself");
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
