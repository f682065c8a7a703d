//! The keys that sign people's tokens, as this process read them last.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use kit::token::PersonSigner;

/// A key that signs people's tokens.
#[derive(Debug)]
pub(crate) struct SigningKey {
    pub(crate) number: i64,
    pub(crate) created_ms: u64,
    pub(crate) signer: PersonSigner,
}

/// All of them, the oldest first, and when they were read.
#[derive(Debug, Default)]
pub(crate) struct SigningKeys {
    read: RwLock<Option<(Duration, Arc<[SigningKey]>)>>,
}

impl SigningKeys {
    /// Those that were read less than `age_max` ago.
    pub(crate) fn known(&self, now: Duration, age_max: Duration) -> Option<Arc<[SigningKey]>> {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        let (read_at, keys) = read.as_ref()?;
        (now.saturating_sub(*read_at) < age_max).then(|| Arc::clone(keys))
    }

    /// Takes in what was read now.
    pub(crate) fn learn(&self, now: Duration, keys: Arc<[SigningKey]>) {
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = Some((now, keys));
    }

    /// Forgets them: the next look sees what was just made.
    pub(crate) fn forget(&self) {
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
