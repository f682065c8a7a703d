//! Where a crash test makes this process die in a change, as if by kill -9. It is there with the
//! feature `failpoints` only: the released program reads no such header and has no such code.

use kit::api::Call;

/// A step of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// All of it is written, nothing is durable.
    Written,
    /// All of it is durable, nobody was answered.
    Durable,
}

/// The step at which the process dies, as the header `flashsale-die-at` of a request asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failpoint {
    #[cfg(feature = "failpoints")]
    step: Option<Step>,
}

#[cfg(feature = "failpoints")]
impl Failpoint {
    /// None.
    pub(crate) const NONE: Self = Self { step: None };

    pub(crate) fn of(call: &Call<'_>) -> Self {
        let step = match call.headers().get("flashsale-die-at").map(|step| step.as_bytes()) {
            Some(b"written") => Some(Step::Written),
            Some(b"durable") => Some(Step::Durable),
            _ => None,
        };
        Self { step }
    }

    /// Dies here if this is the step.
    pub(crate) fn reach(self, step: Step) {
        if self.step == Some(step) {
            // Not exit(): no destructor may run, as none runs at kill -9.
            std::process::abort();
        }
    }
}

#[cfg(not(feature = "failpoints"))]
impl Failpoint {
    /// None.
    pub(crate) const NONE: Self = Self {};

    /// None.
    pub(crate) const fn of(_: &Call<'_>) -> Self {
        Self {}
    }

    /// Goes on.
    pub(crate) const fn reach(self, _: Step) {}
}
