//! Why a request has no answer of its own: a problem that the client is told as it is, or a fault.

use std::{borrow::Cow, time::Duration};

use kit::{
    api::Fault,
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::SqlError;

use crate::{closings::CloseRefused, people::BindRefused, share::BadCode, withdrawals::WithdrawRefused};

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

impl From<BindRefused> for Refused {
    fn from(error: BindRefused) -> Self {
        match error {
            BindRefused::Sql(error) => Self::Sql(error),
            refused => Self::conflict(refused.to_string()),
        }
    }
}

impl From<CloseRefused> for Refused {
    fn from(error: CloseRefused) -> Self {
        match error {
            CloseRefused::Sql(error) => Self::Sql(error),
            refused => Self::conflict(refused.to_string()),
        }
    }
}

impl From<BadCode> for Refused {
    fn from(error: BadCode) -> Self {
        Problem::new(Code::Forbidden, error.to_string()).into()
    }
}

impl From<WithdrawRefused> for Refused {
    fn from(error: WithdrawRefused) -> Self {
        match error {
            WithdrawRefused::Sql(error) => Self::Sql(error),
            WithdrawRefused::NotFound => Self::not_found("withdrawal"),
            refused => Self::conflict(refused.to_string()),
        }
    }
}

impl Refused {
    /// Nothing here, or nothing of this tenant.
    pub(super) fn not_found(what: &'static str) -> Self {
        Problem::new(Code::NotFound, format!("there is no such {what}")).into()
    }

    /// The state of things does not allow it.
    pub(super) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(Code::Conflict, detail).into()
    }

    /// Refuses a write that expects another version than is there. `current`: what is there.
    pub(super) fn unless_seen(expected: Option<u64>, version: u64, current: &impl Serialize) -> Result<(), Self> {
        if expected.is_none_or(|expected| expected == version) {
            return Ok(());
        }
        let detail = "it was changed since you read it; look at `current`, then write with its version";
        Err(Problem::new(Code::PreconditionFailed, detail).with_current(current).into())
    }

    /// Several parts of what was sent are wrong, each with what to do.
    pub(super) fn fields(flaws: impl IntoIterator<Item = (String, String)>) -> Self {
        let problem = Problem::new(Code::InvalidRequest, "some of what was sent is wrong; see `errors`");
        flaws.into_iter().fold(problem, |problem, (field, message)| problem.with_field(field, message)).into()
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
            Self::Sql(error) => {
                tracing::error!(%error, "a request failed");
                Problem::new(Code::Internal, "a fault of ours; nothing was done. The trace id finds it in the log")
            }
        };
        Box::new(problem)
    }
}
