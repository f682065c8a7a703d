//! Why a handler has no answer, and what the client is told of it.

use std::fmt::Display;
use std::time::Duration;

use crate::problem::{Code, Problem};

/// When to come back after a fault.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known of what a handler did before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Nobody can know: no answer came.
    Unknown,
    /// None: it met a lock or a deadlock, and doing it again at once may succeed.
    RolledBack,
    /// None: a value cannot be stored, whoever sends it.
    Unfit,
    /// None: a fault of ours.
    Broken,
}

impl FaultKind {
    /// Of an error of a store, by what it says of itself.
    #[must_use]
    pub const fn of(is_unknown: bool, is_retryable: bool) -> Self {
        match (is_unknown, is_retryable) {
            (true, _) => Self::Unknown,
            (false, true) => Self::RolledBack,
            (false, false) => Self::Broken,
        }
    }
}

/// Why a handler has no answer: a problem that the client is told as it is, or a fault, which
/// becomes one.
pub trait Fault: Display + Send + Sized {
    /// The problem; else itself.
    ///
    /// # Errors
    ///
    /// Itself, where it is a fault.
    fn problem(self) -> Result<Box<Problem>, Self>;

    /// What is known of what the handler did; of a problem [`FaultKind::Broken`].
    fn kind(&self) -> FaultKind;

    /// Whether what it did was surely rolled back, and doing it again at once may succeed.
    fn is_retryable(&self) -> bool {
        self.kind() == FaultKind::RolledBack
    }

    /// What the client is told. `is_read`: the request changes nothing, so that nothing can be
    /// unknown about it.
    fn into_problem(self, is_read: bool) -> Box<Problem> {
        let fault = match self.problem() {
            Ok(problem) => return problem,
            Err(fault) => fault,
        };
        Box::new(match fault.kind() {
            FaultKind::Unknown if !is_read => {
                tracing::warn!(error = %fault, "nobody can know whether a change was made");
                let detail = "whether it was done is not known: look, or repeat the same request, with the same \
                              Idempotency-Key where it has one";
                Problem::new(Code::OutcomeUnknown, detail).with_retry_after(RETRY_AFTER)
            }
            FaultKind::Unknown | FaultKind::RolledBack => {
                tracing::warn!(error = %fault, "the database is away or busy");
                let detail = "the database is away or busy; nothing was done, come back";
                Problem::new(Code::TemporarilyUnavailable, detail).with_retry_after(RETRY_AFTER)
            }
            FaultKind::Unfit => {
                tracing::warn!(error = %fault, "a value does not fit its column");
                Problem::new(Code::InvalidRequest, "a value is longer or larger than can be stored")
            }
            FaultKind::Broken => {
                tracing::error!(error = %fault, "a request failed");
                Problem::new(Code::Internal, "a fault of ours; nothing was done. The trace id finds it in the log")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("why")]
    struct Failed(FaultKind);

    impl Fault for Failed {
        fn problem(self) -> Result<Box<Problem>, Self> {
            Err(self)
        }

        fn kind(&self) -> FaultKind {
            self.0
        }
    }

    /// No answer in time means that nobody knows, unless nothing was to be changed.
    #[test]
    fn a_change_without_an_answer_is_unknown_and_a_read_is_not() {
        let code = |effect, is_read| Failed(effect).into_problem(is_read).code;
        let unknown = FaultKind::of(true, true);
        assert_eq!(code(unknown, false), Code::OutcomeUnknown);
        assert_eq!(code(unknown, true), Code::TemporarilyUnavailable);
        assert!(!Failed(unknown).is_retryable());
        let undone = FaultKind::of(false, true);
        assert_eq!([code(undone, false), code(undone, true)], [Code::TemporarilyUnavailable; 2]);
        assert!(Failed(undone).is_retryable());
        assert_eq!(code(FaultKind::Unfit, false), Code::InvalidRequest);
        assert_eq!(code(FaultKind::of(false, false), false), Code::Internal);
    }
}
