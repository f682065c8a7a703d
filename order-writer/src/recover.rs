//! The log or a shard lost data. R10: a log that lost records starts a new generation, with units
//! sold derived from the rows and the lanes rebuilt, and is decided again from its beginning:
//! whatever has a row is a duplicate and counts nothing, and the journals bring back what was lost.
//! R11: a shard that lost its tail gets its rows again, with the decisions that were made.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use domain::{
    decide::{LaneLedger, Placed},
    id::{Generation, LaneId, OfferId, OrderId, Position},
    order::{Decision, OrderRow, Release},
    record::{Genesis, Record},
    shard::ShardId,
    stock::CloseAnswer,
};
use store::{
    ledger::{Committed, PartitionRow},
    log::{PartitionReader, ReadError},
    orders::{LanePurchase, Progress, SCAN_LANES_MAX, ShardWrite, Written},
    stock::LaneKeeping,
};

use crate::{
    carry_out::Span,
    partition::{Partition, random_record_id},
    ports::{Halt, Ports},
    same_log::identity_of,
};

/// Rows counted at once.
const COUNT_PAGE: u32 = 5_000;
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
        let highest = self.shards().iter().map(|shard| shard.generation).max().unwrap_or(self.row().generation);
        let generation = Generation(highest.max(self.row().generation).0 + 1);
        if generation.0 >= GENERATIONS {
            return Err(self.contradiction("all generations are used up: move its lanes to a new partition".into()));
        }
        let (low, log_id) = self.begin_generation(generation).await?;
        // Fences zombies of older generations before the rows are counted.
        let start = Progress { generation, offset: low, record: None };
        for (number, expected) in (0u16..).zip(self.shards().to_vec()) {
            if expected.generation <= self.row().generation && expected.offset < self.row().offset {
                self.note_loss(ShardId(number), self.row().offset).await?;
            }
            if !self.shared.orders.move_progress(ShardId(number), self.id, expected, start).await? {
                return Err(Halt::Fenced(self.id));
            }
        }
        self.restart_shards(start);
        self.read_lanes().await?;
        // While the lanes that can be trusted still differ from the others.
        self.rebuild_lost_rows().await?;
        self.close_lanes().await?;
        let (sold, first_orders) = self.numbers_by_rows().await?;
        let row = PartitionRow { partition: self.id, generation, log_id, offset: low, record: None };
        match self.shared.ledger.restart(&self.row(), &row, &sold, &first_orders).await? {
            Committed::Done => self.restart_at(row),
            Committed::Fenced => return Err(Halt::Fenced(self.id)),
        }
        self.distrust_all();
        Ok(())
    }

    /// No lane stays open over a lost log, whatever happens to this process: units of a release
    /// that was written and not settled would never come back. Closed, a lane is rebuilt by whoever
    /// sees it. Of retired lanes there is nothing to close.
    async fn close_lanes(&mut self) -> Result<(), Halt> {
        let kept = self.lanes().iter().filter(|(_, lane)| !lane.is_retired);
        let lanes: Vec<_> = kept.map(|(&id, lane)| (id, lane.epoch.next())).collect();
        for (id, epoch) in lanes {
            let closed = match self.shared.stock.close(id, epoch).await {
                // The ledger lost its tail, too.
                Ok(CloseAnswer::RefusedOpen { epoch: open }) => self.shared.stock.close(id, open.next()).await,
                other => other,
            };
            if let Err(error) = closed {
                self.set_aside(id, error).await?;
            }
        }
        Ok(())
    }

    /// Where the log begins now, and its identity; an empty log gets a genesis.
    async fn begin_generation(&mut self, generation: Generation) -> Result<(u64, u64), Halt> {
        let marks = self.reader.watermarks().await?;
        if marks.low == marks.high {
            let log_id = random_record_id().get();
            self.append(&Record::Genesis(Genesis { partition: self.id, generation, log_id })).await?;
        }
        let low = self.reader.watermarks().await?.low;
        Ok((low, self.reader.entry_at(low).await?.as_ref().map_or(0, identity_of)))
    }

    /// Units sold and the lowest order of each lane. The rows may be of a later moment than the
    /// ledger, so it does not bound them.
    async fn numbers_by_rows(&self) -> Result<(Vec<(OfferId, u64)>, Vec<(LaneId, OrderId)>), Halt> {
        let mut sold: BTreeMap<OfferId, u64> =
            self.lanes().values().flat_map(|lane| lane.offers.keys().map(|&offer| (offer, 0))).collect();
        let mut first_orders: BTreeMap<LaneId, OrderId> = BTreeMap::new();
        let lanes: Vec<LaneId> = self.lanes().keys().copied().collect();
        for lanes in lanes.chunks(SCAN_LANES_MAX) {
            for home in self.shared.orders.map().all() {
                let mut from = 0;
                loop {
                    let page = self.shared.orders.purchases(home, lanes, from, COUNT_PAGE).await?;
                    for LanePurchase { lane, purchase, .. } in &page {
                        let first = first_orders.entry(*lane).or_insert(purchase.order);
                        *first = purchase.order.min(*first);
                        let units = sold.get_mut(&purchase.offer).filter(|_| purchase.number.is_some());
                        units.into_iter().for_each(|units| *units += u64::from(purchase.quantity));
                    }
                    let Some(last) = page.last().filter(|_| page.len() >= COUNT_PAGE as usize) else { break };
                    from = last.purchase.order.get() + 1;
                }
            }
        }
        // R15: what no row holds any more is not sold again.
        for (offer, lost) in self.shared.ledger.lost_units(self.id).await? {
            if let Some(units) = sold.get_mut(&offer) {
                let allotment =
                    self.lanes().values().find_map(|lane| lane.offers.get(&offer)).map_or(0, |o| o.allotment);
                *units = (*units).max(allotment.min(*units + lost));
            }
        }
        // A lane that an older program opened stays without a bound, which that program would not
        // lower.
        let is_bounded = |lane: &LaneLedger| lane.first_order.is_some() || lane.was_never_open();
        first_orders.retain(|lane, _| self.lanes().get(lane).is_some_and(is_bounded));
        Ok((sold.into_iter().collect(), first_orders.into_iter().collect()))
    }

    /// R11: writes a stretch of a shard's rows again, from its progress towards the ledger's
    /// position.
    pub(crate) async fn rewrite_some(&mut self, shard: ShardId) -> Result<(), Halt> {
        let from = self.progress(shard).offset;
        tracing::warn!(partition = %self.id, shard = shard.0, from, to = self.row().offset, "a shard lost its tail: writing its rows again");
        let low = self.reader.watermarks().await?.low;
        if from < low {
            return self.pass_over(shard, low).await;
        }
        self.reader.seek(from).await?;
        let mut entries = self.reader.read(REWRITE_RECORDS, REWRITE_BYTES, REWRITE_WAIT).await?;
        entries.retain(|entry| entry.offset < self.row().offset);
        let Some(last) = entries.last() else {
            return Err(ReadError::OutOfRange { partition: self.id, offset: from }.into());
        };
        let (generation, through) = (self.row().generation, last.offset);
        let movements = self.shared.ledger.movements(self.id, generation, from, through).await?;
        let decisions: HashMap<u64, Vec<u8>> = movements.into_iter().map(|m| (m.offset, m.decisions)).collect();
        let (spans, end) = self.spans(entries, from);
        for span in spans {
            self.rewrite_span(shard, span, &decisions).await?;
        }
        end.map_or(Ok(()), Err)
    }

    async fn rewrite_span(
        &mut self,
        shard: ShardId,
        span: Span,
        decisions: &HashMap<u64, Vec<u8>>,
    ) -> Result<(), Halt> {
        let next = self.after(&span);
        let mut made = Remade::default();
        let parked = span.damaged.iter().try_for_each(|(offset, _)| of_damaged(*offset, decisions.get(offset)));
        let mut placed = span.records.into_iter();
        let remade = parked
            .and_then(|()| placed.try_for_each(|placed| made.take(&placed, decisions.get(&placed.offset))))
            .map_err(|what| self.unlike_its_rows(shard, &what));
        remade?;
        let map = self.shared.orders.map();
        let Remade { mut rows, mut released } = made;
        rows.retain(|row| map.home_of_order(row.order).shard == shard);
        released.retain(|release| map.home_of_order(release.order).shard == shard);
        let ids: Vec<OrderId> = rows.iter().map(|row| row.order).collect();
        let present = self.shared.orders.find(&ids).await?;
        if let Some(row) = rows.iter().find(|row| present.get(&row.order).is_some_and(|is| is.position != row.position))
        {
            let what =
                format!("order {} has a row of another record than the one at {}", row.order, row.position.offset);
            return Err(self.unlike_its_rows(shard, &what));
        }
        rows.retain(|row| !present.contains_key(&row.order));
        self.shared.metrics.rows_rewritten.inc_by(rows.len() as u64);
        let expected = self.progress(shard);
        let write = ShardWrite { partition: self.id, expected, next, rows, released };
        match self.shared.orders.write(shard, write).await? {
            Written::Done => self.note_progress(shard, next),
            Written::Fenced => return Err(Halt::Fenced(self.id)),
            Written::KeyTaken => {
                let what = format!("a purchase number of the records before {} is taken", next.offset);
                return Err(self.unlike_its_rows(shard, &what));
            }
        }
        Ok(())
    }

    /// Rows would vanish, or stand beside others, if it went on: people must look.
    fn unlike_its_rows(&self, shard: ShardId, what: &str) -> Halt {
        self.contradiction(format!(
            "the rows of shard {} cannot be written again: {what}. Restore that shard's database and the ledger's to the same \
             moment, or to a later one; the partition goes on by itself then",
            shard.0
        ))
    }
}

/// What a stretch of the log was decided to, once more.
#[derive(Default)]
struct Remade {
    rows: Vec<OrderRow>,
    released: Vec<Release>,
}

impl Remade {
    /// Takes what one record came to by its movement. Each record that was decided has one: an
    /// empty one if it was parked.
    fn take(&mut self, placed: &Placed, made: Option<&Vec<u8>>) -> Result<(), String> {
        let made = made.ok_or_else(|| format!("the ledger has no movement of the record at {}", placed.offset))?;
        let unlike = || format!("the movement at {} does not fit its record: {made:?}", placed.offset);
        let at = Position { generation: placed.generation, offset: placed.offset, index: 0 };
        match (&placed.record, &made[..]) {
            (_, []) => {}
            (Record::Batch(batch), made) if made.len() == batch.reservations.len() => {
                for (index, ((number, reservation), &byte)) in (0_u8..=u8::MAX).zip(batch.reservations.iter().zip(made))
                {
                    let decision = Decision::unpack(byte).ok_or_else(unlike)?;
                    let position = Position { index, ..at };
                    self.rows.extend(OrderRow::decided(batch.lane, *number, reservation, position, decision));
                }
            }
            // With what became of the order: the row alone knew it otherwise (R8).
            (Record::Released(released), [1]) => {
                self.released.push(Release { order: released.order, at, became: released.became });
            }
            (Record::Released(_), [0]) => {}
            (Record::Batch(_) | Record::Released(_), _)
            | (Record::EpochOpened { .. } | Record::LaneRetired { .. }, _)
            | (Record::AllotmentChanged(_) | Record::LimitChanged(_) | Record::Genesis(_), _) => {
                return Err(unlike());
            }
        }
        Ok(())
    }
}

/// A damaged record decided nothing. (Those of earlier programs have no movement at all.)
fn of_damaged(offset: u64, made: Option<&Vec<u8>>) -> Result<(), String> {
    match made {
        None => Ok(()),
        Some(made) if made.is_empty() => Ok(()),
        Some(made) => Err(format!("the record at {offset} is damaged and was decided to {made:?}")),
    }
}
