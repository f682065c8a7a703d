//! Why a request has no answer of its own: a problem that the client is told as it is, or a fault.

use std::borrow::Cow;

use domain::id::OrderId;
use kit::{
    api::{Fault, FaultKind},
    problem::{Code, Problem},
    random::NoRandomness,
    seal::Damaged,
};
use serde::Serialize;
use store::sql::SqlError;

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
        Problem::not_found("order").into()
    }

    /// The state of things does not allow it; `current` shows it.
    pub(super) fn conflict(detail: impl Into<Cow<'static, str>>, current: &impl Serialize) -> Self {
        Problem::new(Code::Conflict, detail).with_current(current).into()
    }
}

impl Fault for Refused {
    fn problem(self) -> Result<Box<Problem>, Self> {
        match self {
            Self::Problem(problem) => Ok(problem),
            fault => Err(fault),
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Sql(error) => FaultKind::of(error.is_unknown(), error.is_retryable()),
            _ => FaultKind::Broken,
        }
    }
}
