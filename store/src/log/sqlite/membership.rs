//! The group of order-writers where there is one process.

use std::{future::pending, sync::Arc, time::Duration};

use domain::id::PartitionId;

use super::{Shared, SqliteLog};
use crate::log::{Membership, MembershipEvent, ReadError};

/// Has all partitions, from the start and for ever: one process owns the folder. What it reports as
/// decided, retention may delete.
pub struct SoleMember {
    log: Arc<Shared>,
    told: bool,
}

impl SoleMember {
    /// The member of this log.
    pub fn new(log: &SqliteLog) -> Self {
        Self { log: log.shared(), told: false }
    }
}

impl Membership for SoleMember {
    async fn next(&mut self) -> Result<MembershipEvent, ReadError> {
        if self.told {
            return pending().await;
        }
        self.told = true;
        Ok(MembershipEvent::Assigned((0..self.log.settings.partitions).map(PartitionId).collect()))
    }

    fn report(&self, partition: PartitionId, next_offset: u64) {
        self.log.keep_from(partition, next_offset);
    }

    async fn leave(self, _deadline: Duration) {}
}
