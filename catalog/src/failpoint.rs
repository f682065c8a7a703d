//! Where a crash test makes this process die in a change, in a piece of a job or in a scheduled
//! action, as if by kill -9, or freeze, as if by SIGSTOP.
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
    /// The ledger's database has it published, and the sale's row has not heard of it.
    Published,
    /// The sale's row has heard of it.
    Confirmed,
}

#[cfg(feature = "failpoints")]
impl Step {
    /// The step of this name.
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"written" => Some(Self::Written),
            b"durable" => Some(Self::Durable),
            b"published" => Some(Self::Published),
            b"confirmed" => Some(Self::Confirmed),
            _ => None,
        }
    }
}

/// The step at which the process dies, as the header `flashsale-die-at` of a request asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failpoint {
    #[cfg(feature = "failpoints")]
    step: Option<Step>,
    #[cfg(feature = "failpoints")]
    freezes: bool,
}

/// Where the process dies in the next piece of a job.
#[cfg(feature = "failpoints")]
static IN_PIECES: std::sync::OnceLock<Step> = std::sync::OnceLock::new();

/// Has this process die at this step of the next piece of a job.
#[cfg(feature = "failpoints")]
pub fn die_in_pieces(step: Step) {
    IN_PIECES.get_or_init(|| step);
}

/// Where the process dies, or freezes once, in the next scheduled action.
#[cfg(feature = "failpoints")]
static IN_ACTIONS: std::sync::OnceLock<(Step, bool)> = std::sync::OnceLock::new();

/// Has this process die at this step of the next scheduled action, or freeze there until somebody
/// lets it go on.
#[cfg(feature = "failpoints")]
pub fn end_in_actions(step: Step, freezes: bool) {
    IN_ACTIONS.get_or_init(|| (step, freezes));
}

/// Stops all threads of this process, the first time that it is called.
#[cfg(feature = "failpoints")]
fn freeze_once() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let _sent = std::process::Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
    });
}

#[cfg(feature = "failpoints")]
impl Failpoint {
    pub(crate) fn of(call: &Call<'_>) -> Self {
        let step = call.headers().get("flashsale-die-at").and_then(|step| Step::named(step.as_bytes()));
        Self { step, freezes: false }
    }

    pub(crate) fn of_pieces() -> Self {
        Self { step: IN_PIECES.get().copied(), freezes: false }
    }

    pub(crate) fn of_actions() -> Self {
        let (step, freezes) = IN_ACTIONS.get().copied().unzip();
        Self { step, freezes: freezes.unwrap_or(false) }
    }

    /// Ends or freezes here if this is the step.
    pub(crate) fn reach(self, step: Step) {
        match (self.step == Some(step), self.freezes) {
            (false, _) => {}
            (true, true) => freeze_once(),
            // Not exit(): no destructor may run, as none runs at kill -9.
            (true, false) => std::process::abort(),
        }
    }
}

#[cfg(not(feature = "failpoints"))]
impl Failpoint {
    /// None.
    pub(crate) const fn of(_: &Call<'_>) -> Self {
        Self {}
    }

    /// None.
    pub(crate) const fn of_pieces() -> Self {
        Self {}
    }

    /// None.
    pub(crate) const fn of_actions() -> Self {
        Self {}
    }

    /// Goes on.
    pub(crate) const fn reach(self, _: Step) {}
}
