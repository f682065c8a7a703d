//! Movements go with the records that they belong to: R11 asks for one only to write the rows of a
//! record again that the log still holds. So those below the log's beginning and below every
//! shard's progress are deleted, and those of older generations.

use std::time::Duration;

use kit::clock::Clock;
use store::log::PartitionReader;

use crate::{
    partition::Partition,
    ports::{Halt, Ports},
};

/// Offsets whose movements one step deletes: a few milliseconds of the ledger.
const STEP: u64 = 2_000;
/// Between two steps while there is more: beside them the partition is decided as ever.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// The deletion of a partition's old movements.
#[derive(Debug, Default)]
pub(crate) struct Purge {
    /// When it goes on, by the monotonic clock.
    at: Duration,
    /// Deleted since it last came to an end.
    deleted: u64,
}

impl Purge {
    /// One step, if it is due and the partition has nothing else to do. A fault is for the next
    /// one.
    pub(crate) async fn look<P: Ports>(&mut self, partition: &mut Partition<P>) {
        let now = partition.shared.clock.monotonic();
        if now < self.at {
            return;
        }
        let deleted = step(partition).await.unwrap_or_else(|halt| {
            tracing::warn!(partition = %partition.id, %halt, "old movements are not deleted now");
            0
        });
        self.at = now + if deleted > 0 { AGAIN } else { EVERY };
        self.deleted += deleted;
        partition.shared.metrics.movements_deleted.inc_by(deleted);
        if deleted == 0 && self.deleted > 0 {
            let count = std::mem::take(&mut self.deleted);
            tracing::info!(partition = %partition.id, count, "movements were deleted whose records the log does not hold any more");
        }
    }
}

async fn step<P: Ports>(partition: &mut Partition<P>) -> Result<u64, Halt> {
    let (marks, row) = (partition.reader.watermarks().await?, partition.row());
    if marks.high > row.offset {
        return Ok(0);
    }
    let below = partition.shards().iter().map(|shard| shard.offset).fold(marks.low.min(row.offset), u64::min);
    Ok(partition.shared.ledger.delete_movements(partition.id, row.generation, below, STEP).await?)
}
