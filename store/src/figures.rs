//! What the adapters tell of themselves, as plain values for whoever shows them to operators.
//! Counting is a relaxed addition; nothing decides anything by these numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One figure under its stable name.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Its name, without a prefix. A count's ends in `_total`.
    pub name: &'static str,
    /// What it counts or measures, in a sentence.
    pub help: &'static str,
    /// Counted since the start; else it goes up and down.
    pub is_count: bool,
    /// Label names with their values.
    pub labels: Vec<(&'static str, &'static str)>,
    /// In the base unit.
    pub value: f64,
}

impl Figure {
    pub(crate) fn count(
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &'static str)],
        value: u64,
    ) -> Self {
        Self { name, help, is_count: true, labels: labels.to_vec(), value: value as f64 }
    }

    fn level(name: &'static str, help: &'static str, labels: &[(&'static str, &'static str)], value: f64) -> Self {
        Self { name, help, is_count: false, labels: labels.to_vec(), value }
    }
}

/// As whoever shows it takes it: name, help, whether it counts, labels, value.
type Plain = (&'static str, &'static str, bool, Vec<(&'static str, &'static str)>, f64);

impl From<Figure> for Plain {
    fn from(figure: Figure) -> Self {
        let Figure { name, help, is_count, labels, value } = figure;
        (name, help, is_count, labels, value)
    }
}

/// How a pool of connections is used at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolUse {
    /// Connections that carry a call.
    pub in_use: u64,
    /// Connections that wait for work.
    pub idle: u64,
    /// Callers who wait for a connection.
    pub waiting: u64,
    /// Connections that the pool opens at most.
    pub max: u64,
}

impl PoolUse {
    /// Under the pool's name.
    pub fn figures(&self, pool: &'static str) -> Vec<Figure> {
        let help = "Connections of a pool, by what they do.";
        let state = |state, count: u64| {
            Figure::level("pool_connections", help, &[("pool", pool), ("state", state)], count as f64)
        };
        let level = |name, help, count: u64| Figure::level(name, help, &[("pool", pool)], count as f64);
        vec![
            state("in_use", self.in_use),
            state("idle", self.idle),
            level("pool_waiting", "Callers who wait for a connection of the pool.", self.waiting),
            level("pool_connections_max", "Connections of a pool, at most.", self.max),
        ]
    }
}

impl std::ops::AddAssign for PoolUse {
    fn add_assign(&mut self, other: Self) {
        self.in_use += other.in_use;
        self.idle += other.idle;
        self.waiting += other.waiting;
        self.max += other.max;
    }
}

/// Calls to a server since the start, by what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// The server did as it was asked.
    pub answered: u64,
    /// It could not for a reason that belongs to the work: a taken key, a deadlock, a lock that
    /// others hold.
    pub refused: u64,
    /// It never left this process, for want of a connection.
    pub unsent: u64,
    /// No answer: it may have happened or not.
    pub unknown: u64,
    /// An error that an operator must look at.
    pub broken: u64,
}

impl Calls {
    /// As calls of the lanes' server, which refuses nothing.
    pub fn stock_figures(&self) -> Vec<Figure> {
        let help = "Calls of the lanes' server, by what came of them.";
        let Self { answered, unsent, unknown, broken, .. } = *self;
        let outcomes = [("answered", answered), ("unsent", unsent), ("unknown", unknown), ("broken", broken)];
        outcomes.map(|(name, calls)| Figure::count("stock_calls_total", help, &[("outcome", name)], calls)).to_vec()
    }

    /// As statements of a database.
    fn statement_figures(&self, database: &'static str) -> Vec<Figure> {
        let help = "SQL statements, by what came of them.";
        let Self { answered, refused, unknown, broken, .. } = *self;
        let outcomes = [("answered", answered), ("refused", refused), ("unknown", unknown), ("broken", broken)];
        let figure = |(outcome, statements)| {
            let labels = [("database", database), ("outcome", outcome)];
            Figure::count("sql_statements_total", help, &labels, statements)
        };
        outcomes.map(figure).to_vec()
    }
}

impl std::ops::AddAssign for Calls {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.unsent += other.unsent;
        self.unknown += other.unknown;
        self.broken += other.broken;
    }
}

/// What came of a call, as [`Calls`] counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// See [`Calls::answered`].
    Answered,
    /// See [`Calls::refused`].
    Refused,
    /// See [`Calls::unsent`].
    Unsent,
    /// See [`Calls::unknown`].
    Unknown,
    /// See [`Calls::broken`].
    Broken,
}

/// The count behind [`Calls`].
#[derive(Debug, Default)]
pub(crate) struct CallCount {
    answered: AtomicU64,
    refused: AtomicU64,
    unsent: AtomicU64,
    unknown: AtomicU64,
    broken: AtomicU64,
}

impl CallCount {
    /// Counts a call. An error counts as it says.
    pub(crate) fn note<T, E>(&self, result: &Result<T, E>)
    where
        for<'a> Outcome: From<&'a E>,
    {
        let count = match result.as_ref().map_or_else(Outcome::from, |_| Outcome::Answered) {
            Outcome::Answered => &self.answered,
            Outcome::Refused => &self.refused,
            Outcome::Unsent => &self.unsent,
            Outcome::Unknown => &self.unknown,
            Outcome::Broken => &self.broken,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Calls {
        Calls {
            answered: self.answered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unsent: self.unsent.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            broken: self.broken.load(Relaxed),
        }
    }
}

/// What a database's handle tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatabaseFigures {
    /// How its connections are used.
    pub pool: PoolUse,
    /// Its statements, those that begin and end transactions included.
    pub statements: Calls,
}

impl DatabaseFigures {
    /// Under the database's name, which is its pool's too.
    pub fn figures(&self, database: &'static str) -> Vec<Figure> {
        [self.pool.figures(database), self.statements.statement_figures(database)].concat()
    }
}

impl std::ops::AddAssign for DatabaseFigures {
    fn add_assign(&mut self, other: Self) {
        self.pool += other.pool;
        self.statements += other.statements;
    }
}

/// What became of the records given to the log's producer, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Acknowledged by all in-sync replicas, or on the disk.
    pub acknowledged: u64,
    /// Payload bytes of those.
    pub acknowledged_bytes: u64,
    /// No acknowledgement in time.
    pub timed_out: u64,
    /// The producer's queue was full.
    pub queue_full: u64,
    /// Too large to be sent.
    pub too_large: u64,
    /// Lost with a producer that failed for good, or was closed.
    pub producer_failed: u64,
    /// Refused by the broker, or stored without telling where; in a group that could not be
    /// committed.
    pub refused: u64,
}

impl Appended {
    fn figures(&self) -> Vec<Figure> {
        let help = "Records given to the log's producer, by what became of them.";
        let outcomes = [
            ("acknowledged", self.acknowledged),
            ("timed_out", self.timed_out),
            ("queue_full", self.queue_full),
            ("too_large", self.too_large),
            ("producer_failed", self.producer_failed),
            ("refused", self.refused),
        ];
        let records = |(outcome, records)| Figure::count("log_records_total", help, &[("outcome", outcome)], records);
        let bytes = "Payload bytes of the records that were acknowledged.";
        let bytes = Figure::count("log_acknowledged_bytes_total", bytes, &[], self.acknowledged_bytes);
        outcomes.map(records).into_iter().chain([bytes]).collect()
    }
}

/// What Kafka's client library tells of itself every few seconds. Of a log in a file: a request is
/// a group of records that is committed at once, its round trip the commit, and the intervals are
/// its last [`GROUPS_REMEMBERED`] groups.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProducerClient {
    /// Records in its queues.
    pub queue_records: u64,
    /// Bytes of the records in its queues.
    pub queue_bytes: u64,
    /// Produce requests sent since it was made.
    pub produce_requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that timed out.
    pub request_timeouts: u64,
    /// From sending a request to its answer, of the slowest broker, over the last interval: the
    /// median, in seconds.
    pub round_trip_p50_s: f64,
    /// The same, the 99th percentile.
    pub round_trip_p99_s: f64,
    /// From taking a record to sending it, of the slowest broker, over the last interval: the
    /// median, in seconds.
    pub queued_p50_s: f64,
    /// The same, the 99th percentile.
    pub queued_p99_s: f64,
}

/// Commits by which a log in a file tells how long one takes.
pub const GROUPS_REMEMBERED: usize = 512;

/// What the log's producer tells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProducerFigures {
    /// What became of the records.
    pub appended: Appended,
    /// Records of the topic `orders` that have room.
    pub rooms_taken: u64,
    /// Bytes of those; one whose record is not known yet counts the largest.
    pub room_bytes: u64,
    /// Producers that failed for good and were replaced.
    pub replaced: u64,
    /// The client's own account.
    pub client: ProducerClient,
}

impl ProducerFigures {
    /// All of them under their stable names.
    pub fn figures(&self) -> Vec<Figure> {
        let Self { replaced, room_bytes, client, .. } = *self;
        let count = |name, help, value| Figure::count(name, help, &[], value);
        let level = |name, help, value: u64| Figure::level(name, help, &[], value as f64);
        let rtt = "From sending a request to the log's slowest broker to its answer, over the last seconds.";
        let queued = "From taking a record to sending it, by the slowest broker, over the last seconds.";
        let quantile = |name, help, quantile, seconds| Figure::level(name, help, &[("quantile", quantile)], seconds);
        let mut figures = self.appended.figures();
        figures.extend([
            count("log_producers_replaced_total", "Producers that failed for good.", replaced),
            count("log_produce_requests_total", "Produce requests sent.", client.produce_requests),
            count("log_request_retries_total", "Requests to brokers sent again.", client.retries),
            count("log_request_timeouts_total", "Requests to brokers that timed out.", client.request_timeouts),
            level("log_room_bytes", "Bytes that have room in the producer's queue.", room_bytes),
            level("log_client_queue_records", "Records in the client's queues.", client.queue_records),
            level("log_client_queue_bytes", "Bytes in the client's queues.", client.queue_bytes),
            quantile("log_round_trip_seconds", rtt, "0.5", client.round_trip_p50_s),
            quantile("log_round_trip_seconds", rtt, "0.99", client.round_trip_p99_s),
            quantile("log_queued_seconds", queued, "0.5", client.queued_p50_s),
            quantile("log_queued_seconds", queued, "0.99", client.queued_p99_s),
        ]);
        figures
    }
}
