//! Why a request has no answer of its own: a problem that the client is told as it is, or a fault
//! of the database, which becomes one.

use std::time::Duration;

use kit::{
    access::Permissions,
    api::{Fault, lacking},
    problem::{Code, Problem},
    random::NoRandomness,
};
use serde::Serialize;
use store::sql::SqlError;

use crate::vault::VaultError;

/// When to come back after a fault.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request has no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The client's doing, or the state of things.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// No randomness: nothing secret can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Personal data does not open, or is gone.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A fault of ours: what happened, for the log.
    #[error("{0}")]
    Broken(String),
}

impl From<Box<Problem>> for Refused {
    fn from(problem: Box<Problem>) -> Self {
        Self::Problem(problem)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl Refused {
    /// Nothing here, or nothing of this tenant.
    pub fn not_found(what: &'static str) -> Self {
        Problem::new(Code::NotFound, format!("there is no such {what}")).into()
    }

    /// The state of things does not allow it.
    pub fn conflict(detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Problem::new(Code::Conflict, detail).into()
    }

    /// A stale write. `current`: what is there now, as its route shows it.
    pub fn stale(current: &impl Serialize) -> Self {
        let detail = "it was changed since you read it; look at `current`, then write with its version";
        Problem::new(Code::PreconditionFailed, detail).with_current(current).into()
    }

    /// Refuses a write that expects another version than is there. `current`: as in
    /// [`Refused::stale`].
    ///
    /// # Errors
    /// `precondition_failed`.
    pub fn unless_seen(expected: Option<u64>, version: u64, current: &impl Serialize) -> Result<(), Self> {
        let is_stale = expected.is_some_and(|expected| expected != version);
        if is_stale { Err(Self::stale(current)) } else { Ok(()) }
    }

    /// One member of the body is wrong.
    pub fn field(field: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Problem::new(Code::InvalidRequest, "a member of the body is wrong; see `errors`")
            .with_field(field, message)
            .into()
    }

    /// Several members are wrong, each with what is wrong about it.
    pub fn fields(flaws: Vec<(String, &'static str)>) -> Self {
        let problem = Problem::new(Code::InvalidRequest, "some of what was sent is wrong; see `errors`");
        flaws.into_iter().fold(problem, |problem, (field, message)| problem.with_field(field, message)).into()
    }

    /// Nobody grants what he lacks: the first of what is granted beyond what the granter has.
    ///
    /// # Errors
    /// `forbidden` that names it.
    pub fn grant(granted: Permissions, granter: Permissions) -> Result<(), Self> {
        granted.beyond(granter).iter().next().map_or(Ok(()), |first| Err(lacking(first).into()))
    }
}

impl Fault for Refused {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Sql(error) if error.is_retryable())
    }

    fn into_problem(self, is_read: bool) -> Box<Problem> {
        let problem = match self {
            Self::Problem(problem) => return problem,
            Self::Sql(error) if error.is_unknown() && !is_read => {
                tracing::warn!(%error, "nobody can know whether a change was made");
                let detail = "whether it was done is not known: look, or repeat it with the same Idempotency-Key";
                Problem::new(Code::OutcomeUnknown, detail).with_retry_after(RETRY_AFTER)
            }
            Self::Sql(error) if error.is_unknown() || error.is_retryable() => {
                tracing::warn!(%error, "the database is away or busy");
                let detail = "the database is away or busy; nothing was done, come back";
                Problem::new(Code::TemporarilyUnavailable, detail).with_retry_after(RETRY_AFTER)
            }
            Self::Sql(SqlError::Unfit(error)) => {
                tracing::warn!(%error, "a value does not fit its column");
                Problem::new(Code::InvalidRequest, "a value is longer or larger than can be stored")
            }
            fault => {
                tracing::error!(error = %fault, "a request failed");
                Problem::new(Code::Internal, "a fault of ours; nothing was done. The trace id finds it in the log")
            }
        };
        Box::new(problem)
    }
}
