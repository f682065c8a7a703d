//! Why a request has no answer of its own: a problem that the client is told as it is, or a fault
//! of the database, which becomes one.

use std::borrow::Cow;

use kit::{
    access::Permissions,
    api::{Fault, FaultKind, lacking},
    problem::{Code, Problem},
    random::NoRandomness,
};
use serde::Serialize;
use store::sql::SqlError;

use crate::vault::VaultError;

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
        Problem::not_found(what).into()
    }

    /// The state of things does not allow it.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(Code::Conflict, detail).into()
    }

    /// A stale write. `current`: what is there now, as its route shows it.
    pub fn stale(current: &impl Serialize) -> Self {
        Problem::stale(current).into()
    }

    /// Refuses a write that expects another version than is there. `current`: as in
    /// [`Refused::stale`].
    ///
    /// # Errors
    /// `precondition_failed`.
    pub fn unless_seen(expected: Option<u64>, version: u64, current: &impl Serialize) -> Result<(), Self> {
        Ok(Problem::unless_seen(expected, version, current)?)
    }

    /// One member of the body is wrong.
    pub fn field(field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(Code::InvalidRequest, "a member of the body is wrong; see `errors`")
            .with_field(field, message)
            .into()
    }

    /// Several members are wrong, each with what is wrong about it.
    pub fn fields(flaws: Vec<(String, &'static str)>) -> Self {
        Problem::fields(flaws).into()
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
    fn problem(self) -> Result<Box<Problem>, Self> {
        match self {
            Self::Problem(problem) => Ok(problem),
            fault => Err(fault),
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Sql(SqlError::Unfit(_)) => FaultKind::Unfit,
            Self::Sql(error) => FaultKind::of(error.is_unknown(), error.is_retryable()),
            _ => FaultKind::Broken,
        }
    }
}
