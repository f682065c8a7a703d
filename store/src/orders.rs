//! The order rows, over all shards: the writer's transaction (`write`), reads (`find`), the desk's
//! changes (`desk`), the outbox that they fill (`outbox`), and transactions of who keeps more
//! beside a row (`step`). It decides nothing.

mod desk;
mod find;
mod listed;
mod outbox;
mod purchases;
mod row;
mod step;
mod texts;
mod write;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use domain::{
    id::{Generation, LaneId, OrderId, PartitionId, RecordId},
    order::{OrderRow, Release, Status},
    shard::{Home, ShardId, ShardMap},
};

use crate::figures::DatabaseFigures;
use crate::sql::{Sql, SqlError, all};

pub use desk::MARKED_MAX;
pub use listed::Listed;
pub use purchases::{LanePurchase, SCAN_LANES_MAX};
use texts::{TableTexts, Texts};

/// How far the records of a partition are in a shard's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Generation of the partition.
    pub generation: Generation,
    /// The next offset: rows of all records before it are written.
    pub offset: u64,
    /// Id of the record before it; `None` when there is none, or it has no id.
    pub record: Option<RecordId>,
}

/// What a writer changes in one shard, in one transaction.
#[derive(Debug, Clone)]
pub struct ShardWrite {
    /// The partition the changes come from.
    pub partition: PartitionId,
    /// What the shard's progress MUST be, all of it.
    pub expected: Progress,
    /// What it becomes.
    pub next: Progress,
    /// New rows, all of this shard, in any order.
    pub rows: Vec<OrderRow>,
    /// Releases in log order, all of this shard: set once, after the rows; a release of a released,
    /// rejected or unknown order does nothing (R1). With it a row that lost its mark takes it, as
    /// [`Status::released`] says (R8).
    pub released: Vec<Release>,
}

/// What became of a [`ShardWrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It is durable.
    Done,
    /// One of the order ids or purchase numbers exists: nothing happened.
    KeyTaken,
    /// The shard's progress is not as expected: nothing happened (R2).
    Fenced,
}

/// What became of a change of status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Marked {
    /// The status is changed, and the outbox row, if any, stands.
    Done,
    /// The order has this status instead: nothing happened.
    Conflict(Status),
    /// An attempt to pay it is not closed: the buyer may still pay. Nothing happened.
    Held,
    /// No such order.
    NotFound,
}

/// A record on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Id of the record.
    pub id: RecordId,
    /// The order that it is about: says which shard keeps this row.
    pub order: OrderId,
    /// Its lane.
    pub lane: LaneId,
    /// The partition to append to.
    pub partition: PartitionId,
    /// Its type, one that is registered ([`domain::record::registered`]), at most 64 bytes.
    pub kind: Cow<'static, str>,
    /// The name of the topic.
    pub topic: Cow<'static, str>,
    /// The record's bytes, at most 1024.
    pub payload: Bytes,
}

/// All order tables of a deployment.
#[derive(Debug, Clone)]
pub struct Orders<S> {
    map: Arc<ShardMap>,
    shards: Arc<[S]>,
    texts: Arc<Texts>,
}

impl<S: Sql> Orders<S> {
    /// The repository over these databases, which hold the tables of this map: one handle per
    /// shard, by its number.
    pub fn new(map: ShardMap, shards: Vec<S>) -> Self {
        debug_assert_eq!(shards.len(), usize::from(map.shards()));
        let texts = Texts::new(map.tables(), S::NOW_MS);
        Self { map: Arc::new(map), shards: shards.into(), texts: Arc::new(texts) }
    }

    /// Which slot lives where.
    pub fn map(&self) -> &ShardMap {
        &self.map
    }

    /// The clock of a shard's database, in epoch milliseconds.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn now_ms(&self, shard: ShardId) -> Result<u64, SqlError> {
        let rows = self.shard(shard)?.rows(&self.texts.now, vec![]).await?;
        rows.into_iter().next().ok_or_else(|| SqlError::Broken("the clock gave no row".into()))?.number()
    }

    /// How the pools of all shards are used, and what came of their statements.
    pub fn figures(&self) -> DatabaseFigures {
        let mut figures = DatabaseFigures::default();
        self.shards.iter().for_each(|shard| figures += shard.figures());
        figures
    }

    /// Closes all pools.
    pub async fn close(&self) {
        all(self.shards.iter().map(Sql::close)).await;
    }

    fn shard(&self, shard: ShardId) -> Result<&S, SqlError> {
        self.shards
            .get(usize::from(shard.0))
            .ok_or_else(|| SqlError::Broken(format!("there is no shard {}", shard.0).into()))
    }

    fn table(&self, home: Home) -> Result<&TableTexts, SqlError> {
        let table = self.texts.tables.get(usize::from(home.table.0));
        table.ok_or_else(|| SqlError::Broken(format!("there is no order table {}", home.table.0).into()))
    }
}
