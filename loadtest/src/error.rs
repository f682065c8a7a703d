//! Why a run has no report, and the exit status for it.

use kit::exit::Exit;

use crate::{
    backends::BackendsError, durable::LookFailed, generator::GeneratorError, requests::RequestsError,
    services::ServiceError,
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A store is away.
    #[error(transparent)]
    Stores(#[from] BackendsError),
    /// A store went away while everything was to become durable.
    #[error("cannot see whether everything is durable: {0}")]
    LookFailed(#[from] LookFailed),
    /// A service does not do what it should.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The load could not be made.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// The requests could not be made.
    #[error(transparent)]
    Requests(#[from] RequestsError),
    /// The sale did not open.
    #[error("{0}")]
    NotOpen(String),
    /// The lanes of a sale that is over are not retired.
    #[error("{0}")]
    NotRetired(String),
    /// The load test's own machine fails: its disk, its network, one of its programs.
    #[error(transparent)]
    Local(Box<dyn std::error::Error + Send + Sync>),
}

impl RunError {
    /// The status with which a program ends that has nothing to report.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Local(_) | Self::Generator(_) | Self::Requests(_) => Exit::of_chain(self).unwrap_or(Exit::Software),
            Self::Stores(_) | Self::LookFailed(_) | Self::Service(_) | Self::NotOpen(_) | Self::NotRetired(_) => {
                Exit::Unavailable
            }
        }
    }
}

/// For `map_err`: a failure of the load test's own machine.
pub(crate) fn local(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RunError {
    RunError::Local(error.into())
}
