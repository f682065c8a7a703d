//! Appends records: hands them to the thread that writes, each with its room, and waits for their
//! fate.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use domain::{
    id::PartitionId,
    record::{Topic, encode_sale},
    sale::Sale,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{
    Shared, SqliteSettings, SqliteSetupError,
    mailbox::{Append, Aside, Fate, Order, Rarity},
    no_such,
    writer::Running,
};
use crate::{
    figures::ProducerFigures,
    log::{
        DeadLetters, Entry, Envelope, OrderLog, SalesPublisher, Topics, Unacknowledged,
        room::{Counted, QueueRoom, SIDE_RECORDS_MAX},
    },
};

type Answered = oneshot::Receiver<Result<u64, Unacknowledged>>;

/// Appends to a topic of a log in a file, to `orders` unless [`Topics::of`] says another, and opens
/// its readers.
///
/// A record is on its way when [`OrderLog::append`] returns its future: dropping the future loses
/// neither the record nor its room. It is acknowledged when the transaction that holds it, and all
/// that came with it, is on the disk. When the last clone is dropped, what is on the way is still
/// written, which the drop waits for: then the file is closed.
///
/// Two logs on one file hand out no offset twice, but the readers of one hear of the other's
/// records only with the next of its own. Whoever owns the folder keeps others away.
#[derive(Clone)]
pub struct SqliteLog {
    owner: Arc<Owner>,
    topic: Topic,
}

struct Owner {
    shared: Arc<Shared>,
    side: Arc<Semaphore>,
    running: Option<Running>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.readers.close();
        self.shared.mailbox.close();
        if let Some(running) = self.running.take() {
            running.join();
        }
    }
}

impl SqliteLog {
    /// Opens the log's file, which it makes when there is none; the folder must exist. Blocks for
    /// some milliseconds.
    ///
    /// # Errors
    /// [`SqliteSetupError`]: each says what to do, and has changed nothing.
    pub fn open(path: &Path, settings: &SqliteSettings) -> Result<Self, SqliteSetupError> {
        let (shared, running) = Shared::open(path, settings)?;
        let side = Arc::new(Semaphore::new(SIDE_RECORDS_MAX));
        let owner = Arc::new(Owner { shared, side, running: Some(running) });
        Ok(Self { owner, topic: Topic::Orders })
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.owner.shared)
    }

    /// Everything before this offset of the topic `orders` is decided for good. Of that, retention
    /// deletes what is older than [`SqliteSettings::retention_ms`], all but the record right before
    /// this offset: the ledger's position names it (R10). Until this is called, nothing is deleted.
    pub fn keep_from(&self, partition: PartitionId, next_offset: u64) {
        self.owner.shared.keep_from(partition, next_offset);
    }

    /// Deletes now what retention lets go, which the log does by itself every minute, and says how
    /// many records that were.
    ///
    /// # Errors
    /// [`Unacknowledged`] with what to do; what was deleted before stays so.
    pub async fn purge(&self) -> Result<u64, Unacknowledged> {
        let (answer, answered) = oneshot::channel();
        self.owner.shared.mailbox.put(Order::Purge(answer));
        fate(answered).await
    }

    /// Hands over a record that takes no room from the orders, and waits for its fate.
    async fn send_aside(&self, what: Rarity) -> Result<u64, Unacknowledged> {
        let permit = Arc::clone(&self.owner.side).acquire_owned().await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        let fate_of = Fate { answer, counted: Counted::new(&self.owner.shared.queue), permit };
        self.owner.shared.mailbox.put(Order::Aside(Aside { what, fate: fate_of }));
        fate(answered).await
    }

    /// Never waits.
    fn submit(
        &self,
        partition: PartitionId,
        record: Envelope,
        mut room: QueueRoom,
    ) -> Result<Answered, Unacknowledged> {
        let shared = &self.owner.shared;
        let Some(stream) = shared.stream(self.topic, partition) else {
            shared.tally.refused(1);
            return Err(Unacknowledged(no_such(partition, shared.settings.partitions).into()));
        };
        room.fit(record.payload.len()).inspect_err(|_| shared.tally.too_large())?;
        let (answer, answered) = oneshot::channel();
        let Envelope { id, kind, payload } = record;
        let fate = Fate { answer, counted: Counted::new(&shared.queue), permit: room };
        shared.mailbox.put(Order::Append(Append { stream, id, kind, payload, fate }));
        Ok(answered)
    }
}

async fn fate(answered: Answered) -> Result<u64, Unacknowledged> {
    answered.await.unwrap_or_else(|_| Err(closed()))
}

fn closed() -> Unacknowledged {
    Unacknowledged("the log was closed: the program ends, or its thread failed; see the lines logged before".into())
}

impl Topics for SqliteLog {
    fn of(&self, topic: Topic) -> Self {
        Self { owner: Arc::clone(&self.owner), topic }
    }
}

impl OrderLog for SqliteLog {
    type Room = QueueRoom;

    fn room(&self) -> Option<QueueRoom> {
        QueueRoom::take(&self.owner.shared.queue)
    }

    fn append(
        &self,
        partition: PartitionId,
        record: Envelope,
        room: QueueRoom,
    ) -> impl Future<Output = Result<u64, Unacknowledged>> + Send {
        let submitted = self.submit(partition, record, room);
        async move { fate(submitted?).await }
    }

    async fn flush(&self, deadline: Duration) -> usize {
        let queue = &self.owner.shared.queue;
        if queue.unacknowledged() > 0 {
            let (answer, answered) = oneshot::channel();
            self.owner.shared.mailbox.put(Order::Mark(answer));
            // One that does not come in time shows in the count.
            timeout(deadline, answered).await.ok();
        }
        queue.unacknowledged()
    }

    fn in_flight(&self) -> usize {
        self.owner.shared.queue.records()
    }

    fn figures(&self) -> ProducerFigures {
        self.owner.shared.tally.figures(&self.owner.shared.queue)
    }
}

impl SalesPublisher for SqliteLog {
    async fn publish(&self, sale: &Sale) -> Result<(), Unacknowledged> {
        self.send_aside(Rarity::Sale { id: sale.id.stored(), payload: encode_sale(sale) }).await.map(drop)
    }
}

impl DeadLetters for SqliteLog {
    async fn park(&self, partition: PartitionId, entry: &Entry, cause: &str) -> Result<(), Unacknowledged> {
        self.send_aside(Rarity::Dead { partition, entry: entry.clone(), cause: cause.into() }).await.map(drop)
    }
}
