//! Why a request has no answer of its own: a problem that the client is told as it is, or a fault.

use std::borrow::Cow;

use kit::{
    api::{Fault, FaultKind},
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::SqlError;

use crate::{closings::CloseRefused, people::BindRefused, share::BadCode, withdrawals::WithdrawRefused};

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
        Problem::not_found(what).into()
    }

    /// The state of things does not allow it.
    pub(super) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(Code::Conflict, detail).into()
    }

    /// Refuses a write that expects another version than is there. `current`: what is there.
    pub(super) fn unless_seen(expected: Option<u64>, version: u64, current: &impl Serialize) -> Result<(), Self> {
        Ok(Problem::unless_seen(expected, version, current)?)
    }

    /// Several parts of what was sent are wrong, each with what to do.
    pub(super) fn fields(flaws: impl IntoIterator<Item = (String, String)>) -> Self {
        Problem::fields(flaws).into()
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
            Self::Problem(_) => FaultKind::Broken,
        }
    }
}
