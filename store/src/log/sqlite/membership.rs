//! A group where there is one process.

use std::{future::pending, sync::Arc, time::Duration};

use domain::{id::PartitionId, record::Topic};

use super::{Shared, SqliteLog};
use crate::log::{Membership, MembershipEvent, ReadError};

/// Has all partitions, from the start and for ever: one process owns the folder. What it reports as
/// decided of the topic `orders`, retention may delete.
pub struct SoleMember {
    log: Arc<Shared>,
    topic: Topic,
    told: bool,
}

impl SoleMember {
    /// The member that shares this log's topic `orders` with nobody.
    pub fn new(log: &SqliteLog) -> Self {
        Self::of(log, Topic::Orders)
    }

    /// The same of another topic.
    pub fn of(log: &SqliteLog, topic: Topic) -> Self {
        Self { log: log.shared(), topic, told: false }
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
        if self.topic == Topic::Orders {
            self.log.keep_from(partition, next_offset);
        }
    }

    async fn leave(self, _deadline: Duration) {}
}
