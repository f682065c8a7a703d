//! What may go wrong with a database, and the one retry that is always right.

use std::{
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};

use crate::{cause::Cause, figures::Outcome};

/// A call to a database failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// No connection, or it broke, or the server cannot serve now. Whether a change under way
    /// happened is unknown.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] Cause),
    /// No answer in time. Whether a change under way happened is unknown.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// A row with the same primary or unique key exists.
    #[error("the key exists already: {0}")]
    KeyTaken(#[source] Cause),
    /// Chosen as a deadlock's victim: nothing happened.
    #[error("rolled back because of a deadlock: {0}")]
    Deadlock(#[source] Cause),
    /// Somebody else held a row for too long: the statement did nothing.
    #[error("waited too long for a row that somebody else holds: {0}")]
    LockWait(#[source] Cause),
    /// One of the values cannot be stored, whoever asks: a column does not take it, or a
    /// constraint. Nothing happened, and the database is as sound as before: the same statement
    /// with other values goes on.
    #[error("the database cannot hold this: {0}")]
    Unfit(#[source] Cause),
    /// The statement, the database or an assertion is wrong: repeating it does not help, an
    /// operator must look.
    #[error("the database refused: {0}")]
    Broken(#[source] Cause),
}

impl SqlError {
    /// Whether the whole transaction, which surely did nothing, may be tried again at once.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Deadlock(_) | Self::LockWait(_))
    }

    /// Whether it is one of the values that failed: nothing happened, and other values go on.
    pub const fn is_of_values(&self) -> bool {
        matches!(self, Self::Unfit(_) | Self::KeyTaken(_))
    }

    /// Whether a change may or may not have happened: look before repeating what is not idempotent.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Timeout(_))
    }
}

impl From<&SqlError> for Outcome {
    fn from(error: &SqlError) -> Self {
        match error {
            SqlError::KeyTaken(_) | SqlError::Deadlock(_) | SqlError::LockWait(_) | SqlError::Unfit(_) => Self::Refused,
            SqlError::Unreachable(_) | SqlError::Timeout(_) => Self::Unknown,
            SqlError::Broken(_) => Self::Broken,
        }
    }
}

/// Tries of a transaction that deadlocks or waits for locks.
pub(crate) const TRIES_MAX: u32 = 4;
const RETRY_WAIT_MIN: Duration = Duration::from_millis(2);
const RETRY_WAIT_MAX: Duration = Duration::from_millis(100);

/// Repeats a whole transaction while it deadlocks or waits for locks, a few times, with growing and
/// random pauses.
pub(crate) async fn retried<T, W, F>(transaction: W) -> Result<T, SqlError>
where
    W: FnMut() -> F,
    F: Future<Output = Result<T, SqlError>>,
{
    let pauses = ExponentialBuilder::new()
        .with_min_delay(RETRY_WAIT_MIN)
        .with_max_delay(RETRY_WAIT_MAX)
        .with_max_times(TRIES_MAX as usize - 1)
        .with_jitter()
        // Without a seed all processes pause alike. The standard library's hasher has a random one.
        .with_jitter_seed(RandomState::new().build_hasher().finish());
    transaction.retry(pauses).when(SqlError::is_retryable).await
}
