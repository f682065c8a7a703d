//! What became of the records. Written by the thread that writes, read by whoever looks.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    figures::{Appended, GROUPS_REMEMBERED, ProducerClient, ProducerFigures},
    log::room::Queue,
};

#[derive(Default)]
pub(super) struct Tally {
    acknowledged: AtomicU64,
    acknowledged_bytes: AtomicU64,
    too_large: AtomicU64,
    refused: AtomicU64,
    groups: AtomicU64,
    recent: Mutex<VecDeque<Group>>,
}

/// What a group took: its first record's wait, and its commit.
struct Group {
    waited: Duration,
    committed: Duration,
}

impl Tally {
    pub(super) fn too_large(&self) {
        self.too_large.fetch_add(1, Relaxed);
    }

    pub(super) fn acknowledged(&self, records: usize, bytes: usize) {
        self.acknowledged.fetch_add(number(records), Relaxed);
        self.acknowledged_bytes.fetch_add(number(bytes), Relaxed);
    }

    pub(super) fn refused(&self, records: usize) {
        self.refused.fetch_add(number(records), Relaxed);
    }

    pub(super) fn committed(&self, waited: Duration, committed: Duration) {
        self.groups.fetch_add(1, Relaxed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == GROUPS_REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(Group { waited, committed });
    }

    pub(super) fn figures(&self, queue: &Queue) -> ProducerFigures {
        let (waited, committed): (Vec<_>, Vec<_>) = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.iter().map(|group| (group.waited, group.committed)).unzip()
        };
        let (waited, committed) = (sorted(waited), sorted(committed));
        ProducerFigures {
            appended: Appended {
                acknowledged: self.acknowledged.load(Relaxed),
                acknowledged_bytes: self.acknowledged_bytes.load(Relaxed),
                too_large: self.too_large.load(Relaxed),
                refused: self.refused.load(Relaxed),
                ..Appended::default()
            },
            rooms_taken: number(queue.records()),
            room_bytes: number(queue.bytes()),
            replaced: 0,
            client: ProducerClient {
                queue_records: number(queue.unacknowledged()),
                queue_bytes: number(queue.bytes()),
                produce_requests: self.groups.load(Relaxed),
                round_trip_p50_s: quantile(&committed, 50),
                round_trip_p99_s: quantile(&committed, 99),
                queued_p50_s: quantile(&waited, 50),
                queued_p99_s: quantile(&waited, 99),
                ..ProducerClient::default()
            },
        }
    }
}

fn sorted(mut durations: Vec<Duration>) -> Vec<Duration> {
    durations.sort_unstable();
    durations
}

/// In seconds; 0 of nothing.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, Duration::as_secs_f64)
}

fn number(amount: usize) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}
