//! A second writer at odds with the first, for crash tests.

use std::time::Duration;

use domain::id::PartitionId;
use store::log::{Membership, MembershipEvent, ReadError};

/// A member that nobody invited: it works on every partition, whoever else does. For crash tests,
/// which want two writers at odds.
pub struct Contender {
    partitions: Option<Vec<PartitionId>>,
}

impl Contender {
    /// For all partitions of the log.
    pub fn new(partitions: u32) -> Self {
        Self { partitions: Some((0..partitions).map(PartitionId).collect()) }
    }
}

impl Membership for Contender {
    async fn next(&mut self) -> Result<MembershipEvent, ReadError> {
        match self.partitions.take() {
            Some(partitions) => Ok(MembershipEvent::Assigned(partitions)),
            None => std::future::pending().await,
        }
    }

    fn report(&self, _partition: PartitionId, _next_offset: u64) {}

    async fn leave(self, _deadline: Duration) {}
}
