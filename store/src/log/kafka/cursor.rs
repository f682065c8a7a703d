//! A consumer of one partition whose place its owner sets: no group is joined, no offset committed.

use std::{
    future::{Future, Pending, pending, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use domain::id::PartitionId;
use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{Consumer as _, ConsumerContext, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    util::AsyncRuntime,
};
use tokio::time::sleep;

use super::{Held, KafkaSettings, Quiet, blocking, failed, unavailable};
use crate::{
    elapsed::Since,
    log::{ReadError, Watermarks},
};

const LEADER_PAUSE: Duration = Duration::from_millis(50);

pub(super) type Consumer = StreamConsumer<Quiet, NoTask>;

impl ConsumerContext for Quiet {}

/// A stream consumer starts a task that wakes it now and then, so that its group does not expel it.
/// Ours is in no group; without the task it can be made outside a runtime.
pub(super) struct NoTask;

impl AsyncRuntime for NoTask {
    type Delay = Pending<()>;

    fn spawn<T: Future<Output = ()> + Send + 'static>(_: T) {}

    fn delay_for(_: Duration) -> Pending<()> {
        pending()
    }
}

pub(super) struct Cursor {
    consumer: Held<Consumer>,
    topic: Arc<str>,
    partition: i32,
    request_timeout: Duration,
    placed: bool,
}

impl Cursor {
    /// `more`: settings of the client beyond the common ones.
    pub(super) fn new(
        settings: &KafkaSettings,
        topic: String,
        partition: PartitionId,
        more: &[(&str, &str)],
    ) -> Result<Self, ReadError> {
        let mut config = settings.client();
        config
            // The client asks for a group's name even where none is joined.
            .set("group.id", format!("{}.reader", settings.namespace))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("check.crcs", "true")
            .set("fetch.min.bytes", settings.fetch_bytes_min.to_string())
            .set("fetch.wait.max.ms", settings.fetch_wait_ms_max.to_string())
            .set("queued.max.messages.kbytes", (settings.read_ahead_bytes_max / 1024).to_string())
            // Nothing is fetched while records wait to be taken: all that come meanwhile come by
            // one request, and a request costs the broker as much as many records. A reader that
            // has taken everything hears of a new record at once, as before.
            .set("queued.min.messages", "1")
            // A reader that fell behind goes on a moment after there is space again; the default is
            // a second.
            .set("fetch.queue.backoff.ms", "10");
        for (key, value) in more {
            config.set(*key, *value);
        }
        let consumer = Consumer::from_config_and_context(&config, Quiet).map_err(failed)?;
        Ok(Self {
            consumer: Held::new(consumer),
            topic: topic.into(),
            partition: i32::try_from(partition.0).map_err(failed)?,
            request_timeout: settings.request_timeout(),
            placed: false,
        })
    }

    pub(super) fn consumer(&self) -> Result<Arc<Consumer>, ReadError> {
        self.consumer.get()
    }

    /// The next record is the one at this offset, and nothing fetched before comes any more.
    pub(super) async fn place(&mut self, offset: Offset) -> Result<(), ReadError> {
        let (consumer, topic, partition) = (self.consumer.get()?, Arc::clone(&self.topic), self.partition);
        let assign = move || {
            let mut place = TopicPartitionList::with_capacity(1);
            place.add_partition_offset(&topic, partition, offset)?;
            // An assignment begins anew even for the same partition, and unlike a seek needs no
            // broker to do so.
            consumer.assign(&place)
        };
        blocking(assign).await.map_err(failed)?.map_err(failed)?;
        self.placed = true;
        Ok(())
    }

    /// A new cursor stands at the beginning.
    pub(super) async fn place_if_new(&mut self) -> Result<(), ReadError> {
        if self.placed { Ok(()) } else { self.place(Offset::Beginning).await }
    }

    /// Asked again while the partition changes its leader, for as long as one request may take.
    pub(super) async fn watermarks(&self) -> Result<Watermarks, ReadError> {
        let since = Since::now();
        loop {
            let (consumer, topic, partition) = (self.consumer.get()?, Arc::clone(&self.topic), self.partition);
            let left = self.request_timeout.saturating_sub(since.elapsed());
            let ask = move || consumer.fetch_watermarks(&topic, partition, left);
            let error = match blocking(ask).await.map_err(failed)? {
                Ok((low, high)) => return marks(low, high),
                Err(error) => error,
            };
            if !changes_leader(&error) || since.elapsed() + LEADER_PAUSE >= self.request_timeout {
                return Err(failed(error));
            }
            sleep(LEADER_PAUSE).await;
        }
    }
}

/// A broker that was just told to lead, or no longer leads, says so; the client's next answer is
/// another one.
fn changes_leader(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition};
    matches!(error.rdkafka_error_code(), Some(LeaderNotAvailable | NotLeaderForPartition))
}

fn marks(low: i64, high: i64) -> Result<Watermarks, ReadError> {
    match (u64::try_from(low), u64::try_from(high)) {
        (Ok(low), Ok(high)) => Ok(Watermarks { low, high }),
        _ => Err(unavailable(format!("the broker says that the partition goes from {low} to {high}"))),
    }
}

/// What the future has now, without waiting.
pub(super) async fn at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
