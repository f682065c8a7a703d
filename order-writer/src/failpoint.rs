//! Points at which a crash test makes this process die, as if by kill -9. They are there with the
//! feature `failpoints` only: the released program has none, and no flag that sets one.

#[cfg(not(feature = "failpoints"))]
mod absent;
#[cfg(feature = "failpoints")]
mod armed;
#[cfg(feature = "failpoints")]
mod contender;

#[cfg(not(feature = "failpoints"))]
pub use absent::{Contender, CrashArgs, Failpoint};
#[cfg(feature = "failpoints")]
pub use armed::{CrashArgs, Failpoint, STEPS, UnknownFailpoint};
#[cfg(feature = "failpoints")]
pub use contender::Contender;

/// A step after which the process may be made to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A span is decided, nothing is written.
    Decided,
    /// The rows of the first shard are durable, those of the others are not.
    FirstShard,
    /// All rows are durable.
    Rows,
    /// Redis gave back what is gone.
    Settled,
    /// The ledger has moved.
    Ledger,
    /// A lane is closed under the next epoch.
    Closed,
    /// Its journal is in the log.
    Drained,
    /// The epoch record is in the log.
    EpochAppended,
    /// The epoch is committed in the ledger, the lane is not loaded.
    EpochCommitted,
    /// The lane is loaded.
    Loaded,
    /// The record of a lane's retirement is in the log.
    RetiredAppended,
    /// The retirement is committed in the ledger, the lane's keys are there.
    RetiredCommitted,
    /// A lane holds to a lower limit per buyer, and nothing of it is in the log.
    LimitFenced,
    /// The record of another limit per buyer is in the log.
    LimitAppended,
    /// The other limit is committed in the ledger, the lane was not told.
    LimitCommitted,
}
