//! When keys were last used. Noted in memory, and written by the housekeeping: a request waits for
//! none of it.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, PoisonError},
};

use store::sql::{Sql as _, stored};

use crate::{ports::Ports, refused::Refused, service::Catalog};

/// How long a key's last use stays as it is written.
const FRESH_MS: u64 = 60_000;

const WRITE: &str =
    "UPDATE api_keys SET last_used_at = ? WHERE key_number = ? AND (last_used_at IS NULL OR last_used_at < ?)";

/// Uses that are not written yet: one for each key, at most.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    waiting: Mutex<BTreeMap<u32, u64>>,
}

impl Uses {
    /// Notes a use, unless one within a minute is written already.
    pub(super) fn note(&self, key: u32, written_ms: Option<u64>, now_ms: u64) {
        if written_ms.is_none_or(|written_ms| now_ms.saturating_sub(written_ms) >= FRESH_MS) {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now_ms);
        }
    }

    fn take(&self) -> BTreeMap<u32, u64> {
        mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes the uses that wait. One that cannot be written is lost; the key's next use is noted
/// again.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn write<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    for (key, used_ms) in catalog.key_uses().take() {
        let used_at = stored(used_ms)?;
        catalog.sql().exec(WRITE, vec![used_at.into(), key.into(), used_at.into()]).await?;
    }
    Ok(())
}
