//! The end of a partition: where it is, and its newest records in memory, so that a reader that
//! keeps up asks no file.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use domain::id::RecordId;
use tokio::sync::watch;

use crate::log::{Entry, Watermarks};

/// What a record costs in memory besides its payload, about.
const KEPT_OVERHEAD: usize = 64;

pub(super) struct Tail {
    marks: watch::Sender<Watermarks>,
    newest: Mutex<Newest>,
    bytes_max: usize,
}

/// Without gaps, the oldest first.
#[derive(Default)]
struct Newest {
    records: VecDeque<Kept>,
    bytes: usize,
}

/// A record that is in the log.
pub(super) struct Kept {
    pub(super) offset: u64,
    pub(super) id: RecordId,
    pub(super) kind: &'static str,
    pub(super) payload: Bytes,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.payload.len() + KEPT_OVERHEAD
    }

    fn entry(&self) -> Entry {
        Entry { offset: self.offset, id: Some(self.id), kind: self.kind.into(), payload: self.payload.clone() }
    }
}

impl Tail {
    pub(super) fn new(marks: Watermarks, bytes_max: usize) -> Self {
        Self { marks: watch::Sender::new(marks), newest: Mutex::default(), bytes_max }
    }

    pub(super) fn marks(&self) -> watch::Receiver<Watermarks> {
        self.marks.subscribe()
    }

    pub(super) fn now(&self) -> Watermarks {
        *self.marks.borrow()
    }

    /// Keeps a record, and lets the oldest go.
    pub(super) fn keep(&self, record: Kept) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        // Another program wrote between: what stands before the gap is of no use.
        if newest.records.back().is_some_and(|last| last.offset + 1 != record.offset) {
            *newest = Newest::default();
        }
        newest.bytes += record.bytes();
        newest.records.push_back(record);
        while newest.bytes > self.bytes_max {
            let Some(oldest) = newest.records.pop_front() else { break };
            newest.bytes -= oldest.bytes();
        }
    }

    /// Records from this offset on; `None` when the file must be asked.
    pub(super) fn read(&self, offset: u64, records_max: usize, bytes_max: usize) -> Option<Vec<Entry>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let first = newest.records.front()?.offset;
        let skip = usize::try_from(offset.checked_sub(first)?).ok()?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for kept in newest.records.range(skip.min(newest.records.len())..) {
            if !entries.is_empty() && (entries.len() >= records_max || bytes >= bytes_max) {
                break;
            }
            bytes += kept.payload.len();
            entries.push(kept.entry());
        }
        Some(entries).filter(|entries| !entries.is_empty())
    }

    /// Tells the readers that the partition ends here now.
    pub(super) fn announce(&self, high: u64) {
        self.marks.send_modify(|marks| marks.high = high);
    }

    /// Tells the readers that the partition begins here now.
    pub(super) fn forget_before(&self, low: u64) {
        self.marks.send_modify(|marks| marks.low = low);
    }
}
