//! What a worker does before it decides anything: read the ledger, make sure that the log still
//! holds what the ledger says was decided (R10), bring shards that lost their tail up to it (R11),
//! and close lanes that are not open as the ledger has them (R4).

use std::sync::Arc;

use domain::{
    id::{Generation, LaneId, PartitionId, RecordId},
    record::{Genesis, Record},
    shard::ShardId,
};
use kit::clock::Clock;
use store::{
    ledger::PartitionRow,
    log::{OrderLogSource, PartitionReader, Watermarks},
    orders::Progress,
};

use crate::{
    partition::{Partition, random_record_id},
    ports::{Halt, Ports, Shared},
    same_log::identity_of,
    stalls::Pulse,
};

impl<P: Ports> Partition<P> {
    /// Takes a partition up where the ledger left it. `lost`: a generation of which a worker found
    /// that its log lost records, and what it saw.
    ///
    /// # Errors
    /// Any [`Halt`].
    pub async fn resume(
        shared: Arc<Shared<P>>,
        id: PartitionId,
        pulse: Arc<Pulse>,
        lost: Option<&(Generation, String)>,
    ) -> Result<Self, Halt> {
        let reader = shared.source.reader(id)?;
        let skips = shared.ledger.skips(id).await?;
        let mut partition = Self::unread(shared, id, reader, skips, pulse);
        let row = match partition.shared.ledger.partition(id).await? {
            Some(row) => row,
            None => partition.begin().await?,
        };
        partition.restart_at(row);
        partition.read_progress().await?;
        // What a worker has read past is not seen at the position any more.
        let seen =
            lost.filter(|(generation, _)| *generation == partition.row().generation).map(|(_, what)| what.clone());
        let loss = match seen {
            Some(what) => Some(what),
            None => partition.find_loss().await?,
        };
        if let Some(loss) = loss {
            partition.recover(&loss).await?;
        }
        partition.rewrite_lost_rows().await?;
        partition.read_lanes().await?;
        partition.rebuild_lost_rows().await?;
        partition.fence_closed_lanes().await?;
        partition.begin_deciding().await?;
        Ok(partition)
    }

    /// A partition without a ledger row: its log begins with a genesis record. Of two that write
    /// one the first counts.
    async fn begin(&mut self) -> Result<PartitionRow, Halt> {
        if self.reader.watermarks().await?.high == 0 {
            let log_id = random_record_id().get();
            self.append(&Record::Genesis(Genesis { partition: self.id, generation: Generation(1), log_id })).await?;
        }
        let low = self.reader.watermarks().await?.low;
        let first = self.reader.entry_at(low).await?;
        let log_id = first.as_ref().map_or(0, identity_of);
        // The record itself is decided like any other, so a log whose first record is another loses
        // nothing.
        let row = PartitionRow { partition: self.id, generation: Generation(1), log_id, offset: low, record: None };
        self.shared.ledger.begin_partition(&row).await?;
        let row = self.shared.ledger.partition(self.id).await?;
        row.ok_or_else(|| self.contradiction("its ledger row vanished; restore the ledger database".into()))
    }

    async fn read_progress(&mut self) -> Result<(), Halt> {
        let found = self.shared.orders.progress(self.id).await?;
        let first = Progress { generation: self.row().generation, offset: 0, record: None };
        for (number, progress) in (0u16..).zip(&found) {
            if progress.is_none() {
                // A new shard, or one that lost everything: below the ledger, so its rows are
                // written again.
                self.shared.orders.begin_progress(ShardId(number), self.id, first).await?;
            }
        }
        let found = self.shared.orders.progress(self.id).await?;
        let shards: Vec<Progress> = found.into_iter().flatten().collect();
        if shards.len() == usize::from(self.shared.orders.map().shards()) {
            self.note_all_progress(shards);
            return Ok(());
        }
        Err(self.contradiction("a shard has no progress row after one was made; look at its database".into()))
    }

    /// R10: what shows that the log is not the one that the ledger and the shards were written
    /// from.
    async fn find_loss(&mut self) -> Result<Option<String>, Halt> {
        let marks = self.reader.watermarks().await?;
        let row = self.row();
        if row.offset > marks.high {
            return Ok(Some(format!("the log ends at {}, the ledger is at {}", marks.high, row.offset)));
        }
        if row.offset < marks.low {
            return Ok(Some(format!("the log begins at {}, the ledger is at {}", marks.low, row.offset)));
        }
        if let Some(loss) = self.unlike(marks, row.offset, row.record, "ledger").await? {
            return Ok(Some(loss));
        }
        if marks.low == 0 && row.log_id != 0 && marks.high > 0 {
            let first = self.reader.entry_at(0).await?;
            if first.as_ref().map(identity_of) != Some(row.log_id) {
                return Ok(Some("the log begins with another record".into()));
            }
        }
        for (number, shard) in self.shards().to_vec().into_iter().enumerate() {
            if shard.generation != row.generation {
                return Ok(Some(format!("shard {number} is in generation {}", shard.generation.0)));
            }
            if shard.offset > row.offset
                && let Some(loss) = self.unlike(marks, shard.offset, shard.record, "shard").await?
            {
                return Ok(Some(loss));
            }
        }
        Ok(None)
    }

    /// Whether the record before `next` is another one than was decided there. One that retention
    /// has deleted shows nothing.
    async fn unlike(
        &mut self,
        marks: Watermarks,
        next: u64,
        record: Option<RecordId>,
        who: &str,
    ) -> Result<Option<String>, Halt> {
        let before = next.checked_sub(1).filter(|&before| before >= marks.low);
        let (Some(before), Some(expected)) = (before, record) else { return Ok(None) };
        let found = self.reader.entry_at(before).await?.and_then(|entry| entry.id);
        Ok((found != Some(expected)).then(|| format!("the record at {before} is not the one that the {who} knows")))
    }

    /// R11: a shard behind the ledger lost its tail. Its rows are written again with the decisions
    /// of the stock movements, before anything else is decided or loaded.
    async fn rewrite_lost_rows(&mut self) -> Result<(), Halt> {
        for number in 0..self.shared.orders.map().shards() {
            while self.progress(ShardId(number)).offset < self.row().offset {
                self.rewrite_some(ShardId(number)).await?;
            }
        }
        Ok(())
    }

    /// R4, for a starting writer: a lane not open at the ledger's epoch, and on a second look still
    /// not, is closed under the next epoch before anything is decided, so that no load that another
    /// worker began opens it any more. It is rebuilt, or retired after the end of its sale, when
    /// this worker has caught up: a ledger that lost its tail knows of no epoch that the log holds
    /// beyond it, and one that sold must not begin again. Of a retired lane there is nothing to
    /// close.
    async fn fence_closed_lanes(&mut self) -> Result<(), Halt> {
        self.recall_distrusted().await?;
        let (sales, now_ms) = (self.shared.sales.borrow().clone(), self.shared.clock.now_ms());
        let lanes: Vec<_> = self.lanes().iter().map(|(&id, lane)| (id, lane.is_retired)).collect();
        for (lane, is_retired) in lanes {
            if self.is_aside(lane) || is_retired && self.is_over_here(&sales, lane, now_ms) {
                continue;
            }
            match self.fence_closed(lane).await {
                Err(Halt::Stock(error)) => self.set_aside(lane, error).await?,
                done => done?,
            }
        }
        Ok(())
    }

    async fn fence_closed(&mut self, lane: LaneId) -> Result<(), Halt> {
        if self.is_open(lane).await? || self.is_open(lane).await? {
            return Ok(());
        }
        self.facts.of(lane).mark_due();
        let next = self.lanes().get(&lane).map(|lane| lane.epoch).unwrap_or_default().next();
        self.close(lane, next).await.map(drop)
    }
}
