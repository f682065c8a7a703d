//! Why a request has no answer of its own: a problem that the client is told as it is, or a fault.

use std::{borrow::Cow, time::Duration};

use domain::id::OrderId;
use kit::{
    api::Fault,
    problem::{Code, Problem},
    random::NoRandomness,
    seal::Damaged,
};
use serde::Serialize;
use store::sql::SqlError;

/// When to come back after a fault.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request has no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The client's doing, or the state of things.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// A database.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// No randomness: no record gets an id.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Sealed data does not open: the deployment's key is another one.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The order's lane is not in the ledger, so that nobody knows its partition.
    #[error("order {0} has no lane in the ledger: restore the ledger database first")]
    NoLane(OrderId),
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
    /// No such order, or none of this caller: the same answer.
    pub(crate) fn not_found() -> Self {
        Problem::new(Code::NotFound, "there is no such order").into()
    }

    /// The state of things does not allow it; `current` shows it.
    pub(super) fn conflict(detail: impl Into<Cow<'static, str>>, current: &impl Serialize) -> Self {
        Problem::new(Code::Conflict, detail).with_current(current).into()
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
                tracing::warn!(%error, "nobody can know whether a step was made");
                let detail = "whether it was done is not known: look at the order, or repeat the request";
                Problem::new(Code::OutcomeUnknown, detail).with_retry_after(RETRY_AFTER)
            }
            Self::Sql(error) if error.is_unknown() || error.is_retryable() => {
                tracing::warn!(%error, "the database is away or busy");
                let detail = "the database is away or busy; nothing was done, come back";
                Problem::new(Code::TemporarilyUnavailable, detail).with_retry_after(RETRY_AFTER)
            }
            fault => {
                tracing::error!(error = %fault, "a request failed");
                Problem::new(Code::Internal, "a fault of ours; nothing was done. The trace id finds it in the log")
            }
        };
        Box::new(problem)
    }
}
