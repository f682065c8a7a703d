//! The log or a shard lost data. R10: a log that lost records starts a new generation, with units sold derived from the rows and the
//! lanes rebuilt, and is decided again from its beginning: whatever has a row is a duplicate and counts nothing, and the journals bring
//! back what was lost. R11: a shard that lost its tail gets its rows again, with the decisions that were made.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use domain::{
    id::{Generation, LaneId, OfferId, OrderId, Position},
    order::{Decision, OrderRow},
    record::{Genesis, Record},
    shard::ShardId,
};
use store::{
    ledger::{Committed, PartitionRow},
    log::{PartitionReader, ReadError},
    orders::{Progress, ShardWrite, Written},
};

use crate::{
    carry_out::Span,
    partition::{Partition, random_record_id},
    ports::{Halt, Ports},
    resume::genesis_of,
};

/// Generations that a position can hold.
const GENERATIONS: u16 = 1 << 12;
/// Records read at once when rows are written again.
const REWRITE_RECORDS: usize = 64;
/// Bytes read at once when rows are written again.
const REWRITE_BYTES: usize = 4 << 20;
/// How long the log may take to give records that it has.
const REWRITE_WAIT: Duration = Duration::from_secs(10);

impl<P: Ports> Partition<P> {
    /// R10: raises the generation and starts over from the rows.
    pub(crate) async fn recover(&mut self, loss: &str) -> Result<(), Halt> {
        tracing::error!(partition = %self.id, loss, "the log lost records: starting a new generation from the rows");
        self.shared.metrics.recoveries.inc();
        let highest = self.shards.iter().map(|shard| shard.generation).max().unwrap_or(self.row.generation);
        let generation = Generation(highest.max(self.row.generation).0 + 1);
        if generation.0 >= GENERATIONS {
            return Err(self.contradiction("all generations are used up: move its lanes to a new partition".into()));
        }
        let (low, log_id) = self.begin_generation(generation).await?;
        // Fences zombies of older generations before the rows are counted.
        let start = Progress { generation, offset: low, record: None };
        for (number, expected) in (0u16..).zip(self.shards.clone()) {
            if !self.shared.orders.move_progress(ShardId(number), self.id, expected, start).await? {
                return Err(Halt::Fenced(self.id));
            }
        }
        self.shards.fill(start);
        self.read_lanes().await?;
        let sold = self.sold_by_rows().await?;
        let row = PartitionRow { partition: self.id, generation, log_id, offset: low, record: None };
        match self.shared.ledger.restart(&self.row, &row, &sold).await? {
            Committed::Done => self.row = row,
            Committed::Fenced => return Err(Halt::Fenced(self.id)),
        }
        self.facts.values_mut().for_each(|facts| facts.distrusted = true);
        Ok(())
    }

    /// Where the log begins now, and the identity of its genesis; an empty log gets one.
    async fn begin_generation(&mut self, generation: Generation) -> Result<(u64, u64), Halt> {
        let marks = self.reader.watermarks().await?;
        if marks.low == marks.high {
            let log_id = random_record_id().get();
            self.append(&Record::Genesis(Genesis { partition: self.id, generation, log_id })).await?;
        }
        let low = self.reader.watermarks().await?.low;
        let genesis = self.reader.entry_at(low).await?.as_ref().and_then(genesis_of);
        Ok((low, if low == 0 { genesis.map_or(0, |genesis| genesis.log_id) } else { 0 }))
    }

    async fn sold_by_rows(&self) -> Result<Vec<(OfferId, u64)>, Halt> {
        let mut sold: BTreeMap<OfferId, u64> =
            self.lanes.values().flat_map(|lane| lane.offers.keys().map(|&offer| (offer, 0))).collect();
        let lanes: Vec<LaneId> = self.lanes.keys().copied().collect();
        self.scan(&lanes, |row| {
            if row.is_live()
                && let Some(units) = sold.get_mut(&row.offer)
            {
                *units += u64::from(row.quantity);
            }
        })
        .await?;
        Ok(sold.into_iter().collect())
    }

    /// R11: writes a stretch of a shard's rows again, from its progress towards the ledger's position.
    pub(crate) async fn rewrite_some(&mut self, shard: ShardId) -> Result<(), Halt> {
        let from = self.shards[usize::from(shard.0)].offset;
        tracing::warn!(partition = %self.id, shard = shard.0, from, to = self.row.offset, "a shard lost its tail: writing its rows again");
        self.reader.seek(from).await?;
        let mut entries = self.reader.read(REWRITE_RECORDS, REWRITE_BYTES, REWRITE_WAIT).await?;
        entries.retain(|entry| entry.offset < self.row.offset);
        let Some(last) = entries.last() else {
            return Err(ReadError::OutOfRange { partition: self.id, offset: from }.into());
        };
        let (generation, through) = (self.row.generation, last.offset);
        let movements = self.shared.ledger.movements(self.id, generation, from, through).await?;
        let decisions: HashMap<u64, Vec<u8>> = movements.into_iter().map(|m| (m.offset, m.decisions)).collect();
        for span in self.spans(entries, from).await? {
            self.rewrite_span(shard, span, &decisions).await?;
        }
        Ok(())
    }

    async fn rewrite_span(
        &mut self,
        shard: ShardId,
        span: Span,
        decisions: &HashMap<u64, Vec<u8>>,
    ) -> Result<(), Halt> {
        let next = Progress { generation: self.row.generation, offset: span.next, record: span.last };
        let mut rows: Vec<OrderRow> = Vec::new();
        let mut released: Vec<(OrderId, Position)> = Vec::new();
        for placed in span.records {
            let made = decisions.get(&placed.offset).map_or(&[][..], Vec::as_slice);
            let at = Position { generation: placed.generation, offset: placed.offset, index: 0 };
            match placed.record {
                Record::Batch(batch) => {
                    for (index, ((number, reservation), &byte)) in batch.reservations.into_iter().zip(made).enumerate()
                    {
                        let position = Position { index: u8::try_from(index).unwrap_or(u8::MAX), ..at };
                        let decision = Decision::unpack(byte).unwrap_or(Decision::Duplicate);
                        rows.extend(OrderRow::decided(batch.lane, number, &reservation, position, decision));
                    }
                }
                Record::Released(release) if made == [1] => released.push((release.order, at)),
                _ => {}
            }
        }
        let map = self.shared.orders.map();
        rows.retain(|row| map.home_of_order(row.order).shard == shard);
        released.retain(|(order, _)| map.home_of_order(*order).shard == shard);
        let ids: Vec<OrderId> = rows.iter().map(|row| row.order).collect();
        let present = self.shared.orders.find(&ids).await?;
        rows.retain(|row| !present.contains_key(&row.order));
        self.shared.metrics.rows_rewritten.inc_by(rows.len() as u64);
        let expected = self.shards[usize::from(shard.0)];
        let write = ShardWrite { partition: self.id, expected, next, rows, released };
        match self.shared.orders.write(shard, write).await? {
            Written::Done => self.shards[usize::from(shard.0)] = next,
            Written::Fenced | Written::KeyTaken => return Err(Halt::Fenced(self.id)),
        }
        Ok(())
    }
}
