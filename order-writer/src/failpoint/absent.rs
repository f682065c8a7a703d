//! What stands for the failpoints in a program that has none.

use std::time::Duration;

use clap::Args;
use domain::id::PartitionId;
use store::log::{Membership, MembershipEvent, ReadError};

use super::Step;

/// No failpoint: the process lives.
#[derive(Debug, Clone)]
pub struct Failpoint;

/// No flags.
#[derive(Debug, Args)]
pub struct CrashArgs;

impl CrashArgs {
    /// None.
    pub const fn failpoint(&self) -> Failpoint {
        Failpoint
    }

    /// Nobody.
    pub const fn contender(&self, _partitions: u32) -> Option<Contender> {
        None
    }
}

/// Nobody.
#[derive(Debug)]
pub enum Contender {}

impl Membership for Contender {
    async fn next(&mut self) -> Result<MembershipEvent, ReadError> {
        match *self {}
    }

    fn report(&self, _partition: PartitionId, _next_offset: u64) {
        match *self {}
    }

    async fn leave(self, _deadline: Duration) {
        match self {}
    }
}

impl Failpoint {
    /// No failpoint.
    pub const fn none() -> Self {
        Self
    }

    /// Never.
    pub const fn is(&self, _: Step) -> bool {
        false
    }

    /// Goes on.
    pub const fn reach(&self, _: Step) {}
}
