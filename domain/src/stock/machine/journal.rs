//! The journal: what was promised and is not decided yet, and when a sweeper may bring it into the
//! log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::id::BatchId;

/// Batches with their bytes, by id and by due time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Journal {
    entries: BTreeMap<BatchId, (Bytes, u64)>,
    /// Every entry once more, oldest first: the sweeper asks each second, the keeper more often.
    by_due: BTreeSet<(u64, BatchId)>,
}

impl Journal {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, batch: BatchId) -> bool {
        self.entries.contains_key(&batch)
    }

    pub(super) fn insert(&mut self, batch: BatchId, bytes: Bytes, due_ms: u64) {
        self.remove(batch);
        self.entries.insert(batch, (bytes, due_ms));
        self.by_due.insert((due_ms, batch));
    }

    pub(super) fn remove(&mut self, batch: BatchId) {
        if let Some((_, due_ms)) = self.entries.remove(&batch) {
            self.by_due.remove(&(due_ms, batch));
        }
    }

    /// At most `n` entries that are due at `now_ms`, oldest first, then by id; they are due again
    /// at `next_ms`.
    pub(super) fn claim(&mut self, now_ms: u64, n: usize, next_ms: u64) -> Vec<(BatchId, Bytes)> {
        let is_due = |&&(at, _): &&(u64, BatchId)| at <= now_ms;
        let due: Vec<BatchId> = self.by_due.iter().take_while(is_due).take(n).map(|&(_, batch)| batch).collect();
        let mut claimed = Vec::with_capacity(due.len());
        for batch in due {
            let Some((bytes, due_ms)) = self.entries.get_mut(&batch) else { continue };
            claimed.push((batch, bytes.clone()));
            self.by_due.remove(&(std::mem::replace(due_ms, next_ms), batch));
            self.by_due.insert((next_ms, batch));
        }
        claimed
    }

    /// When the oldest entry is due.
    pub(super) fn oldest_due_ms(&self) -> Option<u64> {
        self.by_due.first().map(|&(due_ms, _)| due_ms)
    }

    /// Every entry, by id: its bytes and when it is due.
    pub(super) fn iter(&self) -> impl Iterator<Item = (BatchId, &Bytes, u64)> {
        self.entries.iter().map(|(&batch, (bytes, due_ms))| (batch, bytes, *due_ms))
    }
}
