//! The order log on Kafka: settings, topics, and what all its clients share. Appending, reading,
//! membership and the topic `sales` have a file each. Nothing here looks into a record.

mod append;
mod cursor;
mod dead;
mod envelope;
mod membership;
mod read;
mod sales;
mod tally;
mod topics;

use std::{error::Error, sync::Arc, thread, time::Duration};

use domain::record::Topic;
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::task::JoinError;

use crate::{
    cause::Cause,
    log::{ReadError, room::RECORD_BYTES_MAX},
};

pub use append::KafkaLog;
pub use dead::KafkaDeadLetters;
pub use membership::KafkaMembership;
pub use read::{KafkaReader, KafkaSource};
pub use sales::KafkaSalesFollower;
pub use topics::ensure_topics;

/// Kafka's usual limit of one record.
const SIDE_BYTES_MAX: usize = 1024 * 1024;
const _: () = assert!(RECORD_BYTES_MAX <= SIDE_BYTES_MAX);

/// Default of [`KafkaSettings::linger_ms`]: the front threads answer at about the same time, and
/// their records share a request.
pub const LINGER_MS: u32 = 1;
/// Default of [`KafkaSettings::requests_in_flight`]: what comes while a request is out goes with
/// the next one.
pub const REQUESTS_IN_FLIGHT: u32 = 1;
/// Default of [`KafkaSettings::message_timeout_ms`].
pub const MESSAGE_TIMEOUT_MS: u32 = 5_000;
/// Default of [`KafkaSettings::queue_records_max`].
pub const QUEUE_RECORDS_MAX: usize = 4_096;
/// Default of [`KafkaSettings::queue_bytes_max`].
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Default of [`KafkaSettings::request_timeout_ms`].
pub const REQUEST_TIMEOUT_MS: u32 = 5_000;
/// Default of [`KafkaSettings::fetch_wait_ms_max`].
pub const FETCH_WAIT_MS_MAX: u32 = 500;
/// Default of [`KafkaSettings::read_ahead_bytes_max`].
pub const READ_AHEAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Default of [`KafkaSettings::session_timeout_ms`].
pub const SESSION_TIMEOUT_MS: u32 = 10_000;
/// Default of [`KafkaSettings::statistics_ms`].
pub const STATISTICS_MS: u32 = 5_000;
/// Default of [`KafkaSettings::retention_ms`]: 7 days.
pub const RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// How the log is reached and shaped. Bounds are checked by the Kafka client when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Begins the names of topics and groups: deployments of one namespace are one system.
    pub namespace: String,
    /// Partitions of each [`Topic`] but `counts`, which has one. Fixed for ever: lanes are bound to
    /// them.
    pub partitions: u32,
    /// Copies of each record: 3, or 1 on one machine.
    pub replication: u16,
    /// Copies that must exist before a record is acknowledged: 2, or 1 on one machine.
    pub min_insync: u16,
    /// Milliseconds for which each [`Topic`] keeps records (`counts` a day at most); longer than
    /// any outage of an order-writer and of a consumer.
    pub retention_ms: u64,
    /// Milliseconds for which a record waits for others of its partition, so that they share a
    /// request.
    pub linger_ms: u32,
    /// Produce requests that are out to one broker at a time, 1 to 5. A request costs 160 µs of CPU
    /// however much it carries, so the fewer the cheaper an order; one of several partitions is
    /// several. More than 1 pays where a broker is far away and has many hot partitions.
    pub requests_in_flight: u32,
    /// Milliseconds after which an unacknowledged record is given up: its buyers are told "pending"
    /// (R7).
    pub message_timeout_ms: u32,
    /// Milliseconds between two accounts that the producer's client gives of itself; 0 for none.
    pub statistics_ms: u32,
    /// Records on the way, at most.
    pub queue_records_max: usize,
    /// Bytes on the way, at most; a room that holds no record yet counts [`RECORD_BYTES_MAX`].
    pub queue_bytes_max: usize,
    /// Milliseconds for questions about topics and offsets.
    pub request_timeout_ms: u32,
    /// Bytes for which the broker holds back an answer to a reader, for at most
    /// [`Self::fetch_wait_ms_max`]; 1 for the lowest latency, more for fewer requests.
    pub fetch_bytes_min: u32,
    /// Milliseconds for which the broker holds back an answer to a reader that has read everything.
    pub fetch_wait_ms_max: u32,
    /// Bytes a reader holds ahead of its caller, about.
    pub read_ahead_bytes_max: usize,
    /// Milliseconds without a heartbeat after which a member's partitions go to others.
    pub session_timeout_ms: u32,
}

impl KafkaSettings {
    /// The defaults, for one broker: a cluster sets `replication` 3 and `min_insync` 2.
    pub fn new(brokers: impl Into<String>, namespace: impl Into<String>, partitions: u32) -> Self {
        Self {
            brokers: brokers.into(),
            namespace: namespace.into(),
            partitions,
            replication: 1,
            min_insync: 1,
            retention_ms: RETENTION_MS,
            linger_ms: LINGER_MS,
            requests_in_flight: REQUESTS_IN_FLIGHT,
            message_timeout_ms: MESSAGE_TIMEOUT_MS,
            statistics_ms: STATISTICS_MS,
            queue_records_max: QUEUE_RECORDS_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            request_timeout_ms: REQUEST_TIMEOUT_MS,
            fetch_bytes_min: 1,
            fetch_wait_ms_max: FETCH_WAIT_MS_MAX,
            read_ahead_bytes_max: READ_AHEAD_BYTES_MAX,
            session_timeout_ms: SESSION_TIMEOUT_MS,
        }
    }

    /// With so many copies of each record, of which so many must exist before it is acknowledged.
    #[must_use]
    pub fn with_copies(self, replication: u16, min_insync: u16) -> Self {
        Self { replication, min_insync, ..self }
    }

    /// The name of a topic.
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}.{}", self.namespace, topic.name())
    }

    /// The topic of the orders.
    pub fn orders_topic(&self) -> String {
        self.topic(Topic::Orders)
    }

    /// The topic of the orders' events.
    pub fn events_topic(&self) -> String {
        self.topic(Topic::OrderEvents)
    }

    /// All topics of a deployment: for tests, which delete them.
    pub fn topics(&self) -> Vec<String> {
        let named = Topic::ALL.map(|topic| self.topic(topic));
        named.into_iter().chain([self.dead_topic(), self.sales_topic()]).collect()
    }

    /// The topic of records that cannot be decided.
    pub fn dead_topic(&self) -> String {
        format!("{}.orders.dead", self.namespace)
    }

    /// The compacted topic of the sales.
    pub fn sales_topic(&self) -> String {
        format!("{}.sales", self.namespace)
    }

    /// The group of a service that shares a topic's partitions among its processes.
    pub fn group(&self, service: &str) -> String {
        format!("{}.{service}", self.namespace)
    }

    /// The group of the order-writers.
    pub fn writers_group(&self) -> String {
        self.group("order-writer")
    }

    fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms.into())
    }

    /// What every client sets.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "flashsale")
            // A broker that comes back is found within a second, not within the default's ten.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("socket.timeout.ms", "10000")
            .set("socket.keepalive.enable", "true")
            .set("log.connection.close", "false");
        config
    }
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSetupError {
    /// The client refuses the settings, or cannot be made.
    #[error("the Kafka client cannot be made: {0}")]
    Client(#[from] KafkaError),
    /// [`KafkaSettings::queue_bytes_max`] or [`KafkaSettings::queue_records_max`] has no room for a
    /// single record.
    #[error(
        "the queue has no room for a record: it needs queue_records_max >= 1 and queue_bytes_max >= {RECORD_BYTES_MAX}"
    )]
    NoRoom,
    /// A thread or task of ours could not run.
    #[error("the Kafka client cannot run: {0}")]
    Thread(#[source] Cause),
    /// The broker refuses a topic.
    #[error("topic {topic} cannot be created: {code} (check replication and min_insync against the number of brokers)")]
    Topic {
        /// Its name.
        topic: String,
        /// The broker's answer.
        code: RDKafkaErrorCode,
    },
    /// A topic exists with another number of partitions.
    #[error(
        "topic {topic} has {found} partitions, the settings say {expected}: set partitions to {found}, or choose another \
         namespace; never add partitions to it, because lanes are bound to them"
    )]
    Partitions {
        /// Its name.
        topic: String,
        /// Partitions it has.
        found: usize,
        /// Partitions it should have.
        expected: u32,
    },
    /// The brokers cannot be reached, or a topic got no leaders in time.
    #[error("topic {topic} is not ready: {why}")]
    NotReady {
        /// Its name.
        topic: String,
        /// What was last heard.
        why: String,
    },
}

/// Carries the client library's log lines to `tracing`. Errors of a client are handled where they
/// surface.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "error of a Kafka client");
    }
}

fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// Owns a client whose drop blocks, and has it dropped by a thread that nobody waits for.
struct Held<T: Send + Sync + 'static>(Option<Arc<T>>);

impl<T: Send + Sync + 'static> Held<T> {
    fn new(client: T) -> Self {
        Self(Some(Arc::new(client)))
    }

    fn get(&self) -> Result<Arc<T>, ReadError> {
        self.0.clone().ok_or_else(|| unavailable("it was closed"))
    }
}

impl<T: Send + Sync + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            on_own_thread("kafka-drop", move || drop(client));
        }
    }
}

fn on_own_thread(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(name.into()).spawn(work) {
        tracing::error!(%error, name, "no thread for the end of a Kafka client");
    }
}

/// Runs a call that blocks where it may.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(call).await
}

/// The same by an error.
fn failed(error: impl Error + Send + Sync + 'static) -> ReadError {
    unavailable(Cause::of(error))
}

fn unavailable(why: impl Into<Cause>) -> ReadError {
    ReadError::Unavailable(why.into())
}
