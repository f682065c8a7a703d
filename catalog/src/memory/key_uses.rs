//! When keys were last used. Noted here, and written by the housekeeping: a request waits for none
//! of it.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, PoisonError},
};

use store::sql::{Sql, SqlError, stored};

/// How long a key's last use stays as it is written.
const FRESH_MS: u64 = 60_000;

const WRITE: &str =
    "UPDATE api_keys SET last_used_at = ? WHERE key_number = ? AND (last_used_at IS NULL OR last_used_at < ?)";

/// Uses that are not written yet: one for each key, at most.
#[derive(Debug, Default)]
pub(crate) struct KeyUses {
    waiting: Mutex<BTreeMap<u32, u64>>,
}

impl KeyUses {
    /// Notes a use, unless one within a minute is written already.
    pub(crate) fn note(&self, key: u32, written_ms: Option<u64>, now_ms: u64) {
        if written_ms.is_none_or(|written_ms| now_ms.saturating_sub(written_ms) >= FRESH_MS) {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now_ms);
        }
    }

    /// Writes the uses that wait. One that cannot be written is lost; the key's next use is noted
    /// again.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub(crate) async fn write<S: Sql>(&self, sql: &S) -> Result<(), SqlError> {
        let waiting = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, used_ms) in waiting {
            let used_at = stored(used_ms)?;
            sql.exec(WRITE, vec![used_at.into(), key.into(), used_at.into()]).await?;
        }
        Ok(())
    }
}
