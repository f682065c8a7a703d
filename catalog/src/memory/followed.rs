//! How far this process has followed what is published.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How far what is published is followed.
#[derive(Debug, Default)]
pub(crate) struct Followed(Mutex<Option<Mark>>);

/// A place in what is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// When all of it was compared, by the monotonic clock.
    pub(crate) whole_at: Duration,
    /// What was written before is known, by the clock of the ledger's database.
    pub(crate) known_ms: u64,
}

impl Followed {
    pub(crate) fn get(&self) -> Option<Mark> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, mark: Mark) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
    }
}
