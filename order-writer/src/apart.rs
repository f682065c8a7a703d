//! What one record or one lane spoils is taken apart, so that it stops nothing else (failure point
//! 17). A span with a value that the database refuses is carried out record by record, and the
//! record that fails by itself row by row: its sound rows stand, the refused ones are left out and
//! parked. A lane whose stock answers nonsense is closed and left alone for a while.

use std::collections::HashMap;

use domain::{
    id::{ID_MAX, LaneId, OrderId},
    record::{BATCH_TYPE, Batch, Record},
    shard::ShardId,
    stock::CloseAnswer,
};
use kit::clock::Clock;
use store::{
    orders::{Progress, ShardWrite, Written},
    sql::SqlError,
    stock::{LaneKeeping, StockError},
};

use domain::decide::Known;

use crate::{
    carry_out::Span,
    partition::Partition,
    ports::{Halt, Ports},
};

impl<P: Ports> Partition<P> {
    /// A span that failed as a whole with this error of its values: nothing of a failed shard is
    /// written, and each shard's progress is known.
    pub(crate) async fn take_apart(&mut self, span: Span, error: SqlError) -> Result<(), Halt> {
        if span.entries.len() == 1 {
            return self.salvage(span, error).await;
        }
        tracing::warn!(partition = %self.id, next = span.next, %error, "a span is taken apart to find what is refused");
        for single in span.singles() {
            match self.attempt(&single).await {
                Err(Halt::Sql(error)) if error.is_of_values() => self.salvage(single, error).await?,
                done => done?,
            }
        }
        Ok(())
    }

    /// One record that fails by itself.
    async fn salvage(&mut self, single: Span, error: SqlError) -> Result<(), Halt> {
        if !matches!(single.records.first().map(|placed| &placed.record), Some(Record::Batch(_))) {
            // Nothing of such a record stands anywhere before the ledger has it.
            let damaged = single.entries.iter().map(|entry| (entry.offset, error.to_string())).collect();
            return self.attempt(&Span { records: Vec::new(), damaged, ..single }).await;
        }
        let started = self.shared.clock.monotonic();
        let refused = self.write_each(&single).await?;
        let known = Known { refused, ..self.read_known(&single.records).await? };
        let mut decided = self.decide(&single.records, &known);
        if !decided.rows.is_empty() || !self.write_rows(&mut decided, self.after(&single)).await? {
            return Err(self.contradiction(format!("rows of the record at {} come and go", single.next - 1)));
        }
        self.conclude(decided, &single, started).await
    }

    /// Writes each row of a batch in a transaction of its own; those that are refused, with the
    /// database's words.
    async fn write_each(&mut self, single: &Span) -> Result<HashMap<OrderId, String>, Halt> {
        let known = self.read_known(&single.records).await?;
        let (decided, after) = (self.decide(&single.records, &known), self.after(single));
        let mut refused = HashMap::new();
        for row in decided.rows {
            let (order, shard) = (row.order, self.shared.orders.map().home_of_order(row.order).shard);
            match self.write_one(shard, after, row).await {
                Ok(Written::Done) => {}
                Ok(Written::Fenced) => return Err(Halt::Fenced(self.id)),
                Ok(Written::KeyTaken) => drop(refused.insert(order, "its purchase number is taken".into())),
                Err(error) if error.is_of_values() => drop(refused.insert(order, error.to_string())),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(refused)
    }

    async fn write_one(
        &mut self,
        shard: ShardId,
        after: Progress,
        row: domain::order::OrderRow,
    ) -> Result<Written, SqlError> {
        let (partition, expected) = (self.id, self.progress(shard));
        let next = if expected.offset > after.offset { expected } else { after };
        let write = ShardWrite { partition, expected, next, rows: vec![row], released: Vec::new() };
        let written = self.shared.orders.write(shard, write).await?;
        if written == Written::Done {
            self.note_progress(shard, next);
        }
        Ok(written)
    }

    /// A damaged batch that its lane's journal holds too would be appended by the sweepers for
    /// ever, and what it promised is not known: the lane is rebuilt from its rows, and its journal
    /// ends with it. A damaged copy of a sound entry changes nothing.
    pub(crate) async fn distrust_damaged(&mut self, span: &Span) -> Result<(), Halt> {
        let is_damaged = |offset| span.damaged.iter().any(|(damaged, _)| *damaged == offset);
        for entry in span.entries.iter().filter(|entry| entry.kind == BATCH_TYPE && is_damaged(entry.offset)) {
            let Some((lane, batch)) = Batch::named(&entry.payload).filter(|(lane, _)| self.lanes().contains_key(lane))
            else {
                continue;
            };
            match self.shared.stock.journal(lane).await {
                Ok(journal) => {
                    let is_journaled = journal.iter().any(|(id, bytes)| *id == batch && *bytes == entry.payload);
                    if is_journaled {
                        self.facts.of(lane).distrust();
                    }
                }
                Err(error) => self.set_aside(lane, error).await?,
            }
        }
        Ok(())
    }

    /// The stock of one lane answers nonsense: the lane is closed, so that it is rebuilt from
    /// ledger and rows whatever happens to this process; where it cannot even be closed it is left
    /// alone for a while. A server that does not answer is another matter ([`away`](crate::away)),
    /// and trouble of the whole server is waited for.
    pub(crate) async fn set_aside(&mut self, lane: LaneId, error: StockError) -> Result<(), Halt> {
        if error.is_retryable() {
            return self.leave_out(lane, error).await;
        }
        let stock = &self.shared.stock;
        let epoch = self.lanes().get(&lane).map(|lane| lane.epoch).unwrap_or_default().next();
        let closed = stock.close(lane, epoch).await;
        match &closed {
            Ok(CloseAnswer::Closed | CloseAnswer::RefusedMarker { .. } | CloseAnswer::RefusedOpen { .. }) => {}
            Err(unknown) if unknown.is_retryable() => return Err(error.into()),
            // Not even its state is readable, so it sells nothing. A lane that can be read, or a
            // server that refuses any lane, is another matter: the server has no memory, or no
            // rights are given.
            Err(_) => {
                let other = LaneId::new(ID_MAX).map_err(|error| self.contradiction(error.to_string()))?;
                if stock.inspect(lane).await.is_ok() || stock.inspect(other).await.is_err() {
                    return Err(error.into());
                }
            }
        }
        tracing::error!(%lane, %error, is_closed = closed.is_ok(), "this lane is damaged, and rebuilt from ledger and rows; what could not be \
            read of it is kept for a week under its keys with `:damaged`");
        self.shared.metrics.lanes_aside.inc();
        let until = self.shared.clock.monotonic() + self.shared.pace.rebuild_patience;
        let facts = self.facts.of(lane);
        facts.distrust();
        facts.set_aside(closed.is_err().then_some(until));
        Ok(())
    }

    /// Whether the keeper leaves a lane alone for now.
    pub(crate) fn is_aside(&self, lane: LaneId) -> bool {
        let now = self.shared.clock.monotonic();
        self.facts.get(lane).is_some_and(|facts| facts.is_aside(now))
    }
}

impl Span {
    /// The same, an entry each.
    fn singles(self) -> impl Iterator<Item = Self> {
        let (mut records, mut damaged) = (self.records.into_iter().peekable(), self.damaged.into_iter().peekable());
        self.entries.into_iter().map(move |entry| Self {
            records: records.next_if(|placed| placed.offset == entry.offset).into_iter().collect(),
            damaged: damaged.next_if(|(offset, _)| *offset == entry.offset).into_iter().collect(),
            weight: 1,
            next: entry.offset + 1,
            last: entry.id,
            entries: vec![entry],
        })
    }
}
