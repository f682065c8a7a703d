//! What became of the producer's records, and the client's own account. Written by the client's
//! polling thread, read by whoever looks.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use rdkafka::{
    Statistics,
    error::{KafkaError, RDKafkaErrorCode},
    statistics::Window,
};

use crate::figures::{Appended, ProducerClient, ProducerFigures};

/// Why a record was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    TimedOut,
    QueueFull,
    TooLarge,
    ProducerFailed,
    Refused,
}

impl Lost {
    pub(super) fn by(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::RequestTimedOut) => Self::TimedOut,
            Some(RDKafkaErrorCode::QueueFull) => Self::QueueFull,
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => Self::TooLarge,
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                Self::ProducerFailed
            }
            _ => Self::Refused,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    acknowledged: AtomicU64,
    acknowledged_bytes: AtomicU64,
    timed_out: AtomicU64,
    queue_full: AtomicU64,
    too_large: AtomicU64,
    producer_failed: AtomicU64,
    refused: AtomicU64,
    replaced: AtomicU64,
    client: Mutex<ProducerClient>,
}

impl Tally {
    pub(super) fn acknowledged(&self, bytes: usize) {
        self.acknowledged.fetch_add(1, Relaxed);
        self.acknowledged_bytes.fetch_add(u64::try_from(bytes).unwrap_or(0), Relaxed);
    }

    pub(super) fn lost(&self, why: Lost) {
        let count = match why {
            Lost::TimedOut => &self.timed_out,
            Lost::QueueFull => &self.queue_full,
            Lost::TooLarge => &self.too_large,
            Lost::ProducerFailed => &self.producer_failed,
            Lost::Refused => &self.refused,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn replaced(&self) {
        self.replaced.fetch_add(1, Relaxed);
    }

    /// Keeps the client's latest account.
    pub(super) fn keep(&self, statistics: &Statistics) {
        let brokers = || statistics.brokers.values();
        let produced = brokers().filter_map(|broker| broker.req.get("Produce")).map(|sent| sent.max(&0)).sum::<i64>();
        let slowest = |window: fn(&rdkafka::statistics::Broker) -> Option<&Window>, of: fn(&Window) -> i64| {
            let slowest = brokers().filter_map(window).map(of).max().unwrap_or(0);
            // Microseconds, far below where a float loses whole numbers.
            slowest as f64 / 1_000_000.0
        };
        let client = ProducerClient {
            queue_records: statistics.msg_cnt,
            queue_bytes: statistics.msg_size,
            produce_requests: produced.cast_unsigned(),
            retries: brokers().map(|broker| broker.txretries).sum(),
            request_timeouts: brokers().map(|broker| broker.req_timeouts).sum(),
            round_trip_p50_s: slowest(|broker| broker.rtt.as_ref(), |window| window.p50),
            round_trip_p99_s: slowest(|broker| broker.rtt.as_ref(), |window| window.p99),
            queued_p50_s: slowest(|broker| broker.int_latency.as_ref(), |window| window.p50),
            queued_p99_s: slowest(|broker| broker.int_latency.as_ref(), |window| window.p99),
        };
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    pub(super) fn figures(&self, rooms_taken: u64, room_bytes: u64) -> ProducerFigures {
        ProducerFigures {
            appended: Appended {
                acknowledged: self.acknowledged.load(Relaxed),
                acknowledged_bytes: self.acknowledged_bytes.load(Relaxed),
                timed_out: self.timed_out.load(Relaxed),
                queue_full: self.queue_full.load(Relaxed),
                too_large: self.too_large.load(Relaxed),
                producer_failed: self.producer_failed.load(Relaxed),
                refused: self.refused.load(Relaxed),
            },
            rooms_taken,
            room_bytes,
            replaced: self.replaced.load(Relaxed),
            client: *self.client.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
