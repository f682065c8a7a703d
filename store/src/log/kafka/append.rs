//! Appends records: one idempotent producer, acknowledged by all in-sync replicas, with a permit
//! for each record on the way.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use domain::{
    id::PartitionId,
    record::{SALE_TYPE, Topic, encode_sale},
    sale::Sale,
};
use rdkafka::{
    ClientConfig, ClientContext, Message, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    KafkaSettings, KafkaSetupError, SIDE_BYTES_MAX, blocking, envelope, log_line, on_own_thread,
    tally::{Lost, Tally},
};
use crate::cause::Cause;
use crate::figures::ProducerFigures;
use crate::log::{
    DeadLetters, Entry, Envelope, OrderLog, SalesPublisher, Topics, Unacknowledged,
    room::{Counted, Queue, QueueRoom, SIDE_RECORDS_MAX},
};

/// The topics `sales` and `orders.dead` have one partition.
const ONLY_PARTITION: PartitionId = PartitionId(0);

type Producer = ThreadedProducer<Deliveries>;
type Answer = oneshot::Receiver<Result<u64, Unacknowledged>>;
type Record<'a> = BaseRecord<'a, [u8], [u8], Box<Delivery>>;

/// Appends to one [`Topic`], to `orders.dead` and to `sales`. [`Topics::of`] gives a clone that
/// appends to another one.
///
/// A record is on its way when [`OrderLog::append`] returns its future: dropping the future loses
/// neither the record nor its room. What is on the way when the last clone is dropped gets another
/// `message_timeout_ms`, on a thread of its own; a process that ends calls [`OrderLog::flush`]
/// first. A record that the broker stored without telling where (it said so to an earlier attempt
/// whose answer was lost) counts as unacknowledged.
#[derive(Clone)]
pub struct KafkaLog {
    inner: Arc<Inner>,
    topic: Topic,
}

struct Inner {
    /// Replaced when it fails for good; `None` once dropped.
    producer: ArcSwapOption<Producer>,
    replacing: Mutex<()>,
    config: ClientConfig,
    queue: Arc<Queue>,
    tally: Arc<Tally>,
    side: Arc<Semaphore>,
    /// By [`Topic::number`].
    topics: [String; Topic::ALL.len()],
    dead_topic: String,
    sales_topic: String,
    last_flush: Duration,
}

impl KafkaLog {
    /// A log that connects as it is used: brokers that cannot be reached show when records are not
    /// acknowledged.
    ///
    /// # Errors
    /// [`KafkaSetupError::NoRoom`]; [`KafkaSetupError::Client`] for settings that contradict each
    /// other.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaSetupError> {
        let queue = Queue::new(settings.queue_records_max, settings.queue_bytes_max).ok_or(KafkaSetupError::NoRoom)?;
        let config = producer_config(settings);
        let tally = Arc::new(Tally::default());
        let producer = config.create_with_context(Deliveries::new(&tally))?;
        let inner = Inner {
            producer: ArcSwapOption::from_pointee(Some(producer)),
            replacing: Mutex::new(()),
            config,
            queue,
            tally,
            side: Arc::new(Semaphore::new(SIDE_RECORDS_MAX)),
            topics: Topic::ALL.map(|topic| settings.topic(topic)),
            dead_topic: settings.dead_topic(),
            sales_topic: settings.sales_topic(),
            last_flush: Duration::from_millis(settings.message_timeout_ms.into()),
        };
        Ok(Self { inner: Arc::new(inner), topic: Topic::Orders })
    }
}

/// The client's own queue is twice what we let in: a room goes back a moment before the client
/// forgets the record.
fn producer_config(settings: &KafkaSettings) -> ClientConfig {
    let records = 2 * (settings.queue_records_max + SIDE_RECORDS_MAX);
    let kilobytes = 2 * (settings.queue_bytes_max + SIDE_RECORDS_MAX * SIDE_BYTES_MAX) / 1024;
    let mut config = settings.client();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", settings.linger_ms.to_string())
        .set("max.in.flight.requests.per.connection", settings.requests_in_flight.to_string())
        .set("message.timeout.ms", settings.message_timeout_ms.to_string())
        .set("statistics.interval.ms", settings.statistics_ms.to_string())
        .set("queue.buffering.max.messages", records.to_string())
        .set("queue.buffering.max.kbytes", kilobytes.to_string());
    config
}

/// Travels with a record through the client and comes back with its fate.
struct Delivery {
    id: String,
    answer: oneshot::Sender<Result<u64, Unacknowledged>>,
    _counted: Counted,
    _permit: Permit,
}

#[allow(dead_code, reason = "held for their drop")]
enum Permit {
    Room(QueueRoom),
    Side(OwnedSemaphorePermit),
}

/// Hears of the fate of each record, on the client's polling thread.
struct Deliveries {
    tally: Arc<Tally>,
    /// Idempotence is lost: this producer accepts nothing any more.
    failed: AtomicBool,
    /// Records lost sight of since the last acknowledgement: one warning a series, not one a
    /// record.
    unacknowledged: AtomicU64,
}

impl Deliveries {
    fn new(tally: &Arc<Tally>) -> Self {
        Self { tally: Arc::clone(tally), failed: AtomicBool::new(false), unacknowledged: AtomicU64::new(0) }
    }

    fn fail(&self, reason: &str) {
        if !self.failed.swap(true, Relaxed) {
            tracing::error!(reason, "the Kafka producer failed for good; it is replaced");
        }
    }

    fn acknowledged(&self) {
        if self.unacknowledged.load(Relaxed) != 0 {
            let records = self.unacknowledged.swap(0, Relaxed);
            tracing::info!(records, "the log acknowledges records again");
        }
    }

    fn not_acknowledged(&self, id: &str, message: &impl Message, error: &KafkaError) {
        let (topic, partition) = (message.topic(), message.partition());
        if self.unacknowledged.fetch_add(1, Relaxed) == 0 {
            tracing::warn!(%error, topic, partition, id, "a record was not acknowledged; it is pending, more may follow");
        } else {
            tracing::debug!(%error, topic, partition, id, "a record was not acknowledged");
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.tally.keep(&statistics);
    }

    /// The client logs all of these but the last itself.
    fn error(&self, error: KafkaError, reason: &str) {
        if is_fatal(&error) {
            self.fail(reason);
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        let Delivery { id, answer, _counted: counted, _permit: permit } = *delivery;
        let outcome = match result {
            Ok(message) => {
                self.acknowledged();
                let offset = u64::try_from(message.offset());
                match offset {
                    Ok(_) => self.tally.acknowledged(message.payload().map_or(0, <[u8]>::len)),
                    Err(_) => self.tally.lost(Lost::Refused),
                }
                offset.map_err(|_| Unacknowledged("stored, but nobody knows where".into()))
            }
            Err((error, message)) => {
                self.not_acknowledged(&id, message, error);
                self.tally.lost(Lost::by(error));
                Err(Unacknowledged(Cause::of(error.clone())))
            }
        };
        // Before the answer: who has it finds the room free.
        drop((counted, permit));
        // Nobody may be waiting any more.
        answer.send(outcome).ok();
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// A record with its place.
struct Outgoing<'a> {
    topic: &'a str,
    partition: PartitionId,
    key: Option<&'a [u8]>,
    id: &'a str,
    payload: &'a [u8],
    headers: OwnedHeaders,
}

impl Inner {
    /// Hands a record to the client; never waits.
    fn submit(&self, outgoing: Outgoing<'_>, permit: Permit) -> Result<Answer, Unacknowledged> {
        let Outgoing { topic, partition, key, id, payload, headers } = outgoing;
        let (answer, answered) = oneshot::channel();
        let delivery = Delivery { id: id.into(), answer, _counted: Counted::new(&self.queue), _permit: permit };
        let record = BaseRecord {
            topic,
            partition: Some(i32::try_from(partition.0).unwrap_or(i32::MAX)),
            payload: Some(payload),
            key,
            timestamp: None,
            headers: Some(headers),
            delivery_opaque: Box::new(delivery),
        };
        self.send(record).map(|()| answered).map_err(|why| {
            tracing::warn!(why, topic, partition = partition.0, id, "a record was not taken by the Kafka producer");
            Unacknowledged(why.into())
        })
    }

    fn send(&self, mut record: Record<'_>) -> Result<(), String> {
        // A producer that failed took nothing of this record, so that a fresh one may have it.
        for _ in 0..2 {
            let Some(producer) = self.producer.load_full() else {
                self.tally.lost(Lost::ProducerFailed);
                return Err("the log was closed".into());
            };
            let deliveries = producer.client().context();
            if !deliveries.failed.load(Relaxed) {
                match producer.send(record) {
                    Ok(()) => return Ok(()),
                    Err((error, returned)) if is_fatal(&error) => {
                        deliveries.fail(&error.to_string());
                        record = returned;
                    }
                    Err((error, _)) => {
                        self.tally.lost(Lost::by(&error));
                        return Err(error.to_string());
                    }
                }
            }
            self.replace(&producer).inspect_err(|_| self.tally.lost(Lost::ProducerFailed))?;
        }
        self.tally.lost(Lost::ProducerFailed);
        Err("the Kafka producer failed again".into())
    }

    /// Puts a fresh producer in the place of one that failed for good; what that one still had
    /// comes back unacknowledged.
    fn replace(&self, failed: &Arc<Producer>) -> Result<(), String> {
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.producer.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, failed)) {
            return Ok(());
        }
        let fresh = self.config.create_with_context(Deliveries::new(&self.tally)).map_err(|error| error.to_string())?;
        self.tally.replaced();
        if let Some(failed) = self.producer.swap(Some(Arc::new(fresh))) {
            retire(failed, self.last_flush);
        }
        Ok(())
    }

    /// Sends a record that takes no room from the orders, and waits for its acknowledgement.
    async fn send_aside(&self, outgoing: Outgoing<'_>) -> Result<u64, Unacknowledged> {
        let permit = Arc::clone(&self.side).acquire_owned().await.map_err(|_| closed())?;
        answer(self.submit(outgoing, Permit::Side(permit))).await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.swap(None) {
            retire(producer, self.last_flush);
        }
    }
}

/// Dropping a producer throws away what it still has, and blocks: it is flushed before, on a thread
/// that nobody waits for.
fn retire(producer: Arc<Producer>, last_flush: Duration) {
    on_own_thread("kafka-retire", move || {
        if let Err(error) = producer.flush(last_flush) {
            tracing::warn!(%error, records = producer.in_flight_count(), "records left behind by a closed producer");
        }
    });
}

async fn answer(sent: Result<Answer, Unacknowledged>) -> Result<u64, Unacknowledged> {
    sent?.await.unwrap_or_else(|_| Err(closed()))
}

fn closed() -> Unacknowledged {
    Unacknowledged("the log was closed".into())
}

impl Topics for KafkaLog {
    fn of(&self, topic: Topic) -> Self {
        Self { inner: Arc::clone(&self.inner), topic }
    }
}

impl OrderLog for KafkaLog {
    type Room = QueueRoom;

    fn room(&self) -> Option<QueueRoom> {
        QueueRoom::take(&self.inner.queue)
    }

    fn append(
        &self,
        partition: PartitionId,
        record: Envelope,
        mut room: QueueRoom,
    ) -> impl Future<Output = Result<u64, Unacknowledged>> + Send {
        let fits = room.fit(record.payload.len()).inspect_err(|_| self.inner.tally.lost(Lost::TooLarge));
        let sent = fits.and_then(|()| {
            let id = record.id.to_string();
            let headers = envelope::headers(&id, record.kind, envelope::source(self.topic));
            let (topic, payload) = (&self.inner.topics[usize::from(self.topic.number())], &record.payload);
            self.inner.submit(Outgoing { topic, partition, key: None, id: &id, payload, headers }, Permit::Room(room))
        });
        answer(sent)
    }

    async fn flush(&self, deadline: Duration) -> usize {
        let queue = &self.inner.queue;
        if let Some(producer) = self.inner.producer.load_full().filter(|_| queue.unacknowledged() > 0) {
            // A flush that does not end in time shows in the count.
            blocking(move || producer.flush(deadline)).await.ok();
        }
        queue.unacknowledged()
    }

    fn in_flight(&self) -> usize {
        self.inner.queue.records()
    }

    fn figures(&self) -> ProducerFigures {
        let number = |amount| u64::try_from(amount).unwrap_or(u64::MAX);
        self.inner.tally.figures(number(self.inner.queue.records()), number(self.inner.queue.bytes()))
    }
}

impl SalesPublisher for KafkaLog {
    async fn publish(&self, sale: &Sale) -> Result<(), Unacknowledged> {
        let (key, id) = (sale.id.to_string(), format!("{}-{}", sale.id, sale.version));
        let headers = envelope::headers(&id, SALE_TYPE, envelope::SALES);
        let (topic, payload) = (&self.inner.sales_topic, &encode_sale(sale));
        let outgoing =
            Outgoing { topic, partition: ONLY_PARTITION, key: Some(key.as_bytes()), id: &id, payload, headers };
        self.inner.send_aside(outgoing).await.map(drop)
    }
}

impl DeadLetters for KafkaLog {
    async fn park(&self, partition: PartitionId, entry: &Entry, cause: &str) -> Result<(), Unacknowledged> {
        let offset = entry.offset.to_string();
        let id = entry.id.map_or_else(|| format!("{partition}-{offset}"), |id| id.to_string());
        let headers = envelope::headers(&id, &entry.kind, envelope::DEAD);
        let headers = envelope::put(headers, envelope::CAUSE, cause);
        let headers = envelope::put(headers, envelope::ORIGINAL_PARTITION, &partition.to_string());
        let headers = envelope::put(headers, envelope::ORIGINAL_OFFSET, &offset);
        let (topic, payload) = (&self.inner.dead_topic, &entry.payload);
        let outgoing = Outgoing { topic, partition: ONLY_PARTITION, key: None, id: &id, payload, headers };
        self.inner.send_aside(outgoing).await.map(drop)
    }
}
