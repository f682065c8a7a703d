//! Where a crash test makes this process die in a change or in a piece of a job, as if by kill -9.
//! It is there with the feature `failpoints` only: the released program reads no such header and
//! has no such code.

use kit::api::Call;

/// A step of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All of it is written, nothing is durable.
    Written,
    /// All of it is durable, nobody was answered.
    Durable,
}

#[cfg(feature = "failpoints")]
impl Step {
    /// The step of this name.
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"written" => Some(Self::Written),
            b"durable" => Some(Self::Durable),
            _ => None,
        }
    }
}

/// The step at which the process dies, as the header `flashsale-die-at` of a request asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failpoint {
    #[cfg(feature = "failpoints")]
    step: Option<Step>,
}

/// Where the process dies in the next piece of a job.
#[cfg(feature = "failpoints")]
static IN_PIECES: std::sync::OnceLock<Step> = std::sync::OnceLock::new();

/// Has this process die at this step of the next piece of a job.
#[cfg(feature = "failpoints")]
pub fn die_in_pieces(step: Step) {
    IN_PIECES.get_or_init(|| step);
}

#[cfg(feature = "failpoints")]
impl Failpoint {
    /// None.
    pub(crate) const NONE: Self = Self { step: None };

    pub(crate) fn of(call: &Call<'_>) -> Self {
        Self { step: call.headers().get("flashsale-die-at").and_then(|step| Step::named(step.as_bytes())) }
    }

    pub(crate) fn of_pieces() -> Self {
        Self { step: IN_PIECES.get().copied() }
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

    /// None.
    pub(crate) const fn of_pieces() -> Self {
        Self {}
    }

    /// Goes on.
    pub(crate) const fn reach(self, _: Step) {}
}
