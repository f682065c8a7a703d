//! Room in an adapter's queue: how much is on the way to the log, how much may be, and how large a
//! record may be.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use domain::record::{BATCH_MAX, CONTEXT_MAX};

use super::{Room, Unacknowledged};

/// Bytes of a record of the topic `orders`, headers and bookkeeping included, at most.
pub const RECORD_BYTES_MAX: usize = 128 * 1024;
/// What headers and bookkeeping add to a payload, at most.
const RECORD_OVERHEAD: usize = 512;
/// Bytes of a reservation without its context, at most.
const RESERVATION_BYTES_MAX: usize = 160;
/// Records on the way to `sales` and `orders.dead` at one time: rare ones, that take no room from
/// the orders.
pub(super) const SIDE_RECORDS_MAX: usize = 64;
const _: () = assert!(BATCH_MAX * (RESERVATION_BYTES_MAX + CONTEXT_MAX) + RECORD_OVERHEAD <= RECORD_BYTES_MAX);

/// What is on the way, and how much may be.
pub(super) struct Queue {
    records: AtomicUsize,
    bytes: AtomicUsize,
    unacknowledged: AtomicUsize,
    records_max: usize,
    bytes_max: usize,
}

impl Queue {
    /// `None` when not a single record has room.
    pub(super) fn new(records_max: usize, bytes_max: usize) -> Option<Arc<Self>> {
        let count = || AtomicUsize::new(0);
        let (records, bytes, unacknowledged) = (count(), count(), count());
        let queue = Self { records, bytes, unacknowledged, records_max, bytes_max };
        (records_max > 0 && bytes_max >= RECORD_BYTES_MAX).then(|| Arc::new(queue))
    }

    /// Rooms taken.
    pub(super) fn records(&self) -> usize {
        self.records.load(Relaxed)
    }

    /// Bytes that have room.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Records handed over, of any topic, whose fate is not known.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged.load(Relaxed)
    }
}

fn take(counter: &AtomicUsize, amount: usize, max: usize) -> bool {
    let take = |now: usize| now.checked_add(amount).filter(|&after| after <= max);
    counter.fetch_update(Relaxed, Relaxed, take).is_ok()
}

/// Room for one record; it counts [`RECORD_BYTES_MAX`] until its record is known.
pub struct QueueRoom {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Room for QueueRoom {}

impl QueueRoom {
    /// `None` when the queue is full.
    pub(super) fn take(queue: &Arc<Queue>) -> Option<Self> {
        if !take(&queue.records, 1, queue.records_max) {
            return None;
        }
        if !take(&queue.bytes, RECORD_BYTES_MAX, queue.bytes_max) {
            queue.records.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Self { queue: Arc::clone(queue), bytes: RECORD_BYTES_MAX })
    }

    /// Gives back what a record of this payload does not need; one above the limit is refused.
    pub(super) fn fit(&mut self, payload: usize) -> Result<(), Unacknowledged> {
        let bytes = payload + RECORD_OVERHEAD;
        if bytes > RECORD_BYTES_MAX {
            let why = format!("a record of {bytes} bytes is never sent: {RECORD_BYTES_MAX} is the limit");
            return Err(Unacknowledged(why.into()));
        }
        self.queue.bytes.fetch_sub(self.bytes.saturating_sub(bytes), Relaxed);
        self.bytes = self.bytes.min(bytes);
        Ok(())
    }
}

impl Drop for QueueRoom {
    fn drop(&mut self) {
        self.queue.bytes.fetch_sub(self.bytes, Relaxed);
        self.queue.records.fetch_sub(1, Relaxed);
    }
}

/// One record that was handed over.
pub(super) struct Counted(Arc<Queue>);

impl Counted {
    pub(super) fn new(queue: &Arc<Queue>) -> Self {
        queue.unacknowledged.fetch_add(1, Relaxed);
        Self(Arc::clone(queue))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.unacknowledged.fetch_sub(1, Relaxed);
    }
}
