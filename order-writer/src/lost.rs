//! R15: a shard lost rows whose records the log does not hold any more (its backup is older than
//! the log's retention, or log and shard were lost together). The loss is noted in the ledger's
//! database first; then the shard's progress passes it, so that the partition goes on; then every
//! row that an open lane still holds is written again, and what stays lost is noted for people. A
//! crash anywhere is gone on from: a loss stays open until all of that is done.
//!
//! A row that is written again has price and time to pay of the sale as it is published now, no
//! context, and a position that no record has: offset `to` - 1, index 255. Units that the ledger
//! counts and no row holds stay sold: nothing shows that they are free.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{BuyerId, LaneId, OfferId, OrderId, Position},
    order::{OrderRow, Status},
    record::{Record, pay_by_ms},
    sale::PAYMENT_WINDOW_S_DEFAULT,
    shard::ShardId,
    stock::Purchase,
};
use store::{
    ledger::{Loss, LostOrder},
    log::{PartitionReader, ReadError},
    orders::{Progress, ShardWrite, Written},
    sql::SqlError,
    stock::LaneKeeping,
};

use crate::{
    partition::Partition,
    ports::{Halt, Ports},
};

/// Rows counted at once.
const COUNT_PAGE: u32 = 5_000;
/// Purchases looked up and written at once.
const CHUNK: usize = 1_000;
/// Records of the log read at once.
const READ_RECORDS: usize = 512;
/// Bytes of the log read at once.
const READ_BYTES: usize = 4 << 20;
/// How long the log may take to give records that it has.
const READ_WAIT: Duration = Duration::from_secs(10);
/// Lost orders that are logged one by one; the table has all.
const LOGGED_MAX: usize = 20;

/// What a rebuild goes by and comes to.
struct Rebuild {
    /// Where the rows of a shard are said to stand.
    positions: BTreeMap<ShardId, Position>,
    /// Orders whose records are still to be decided: theirs to write.
    undecided: HashSet<OrderId>,
    /// How far the log was read for them.
    read_to: u64,
    /// Live units by rows.
    live: BTreeMap<OfferId, u64>,
    /// Those of them that the ledger counts.
    counted: BTreeMap<OfferId, u64>,
    /// Rows written again, by shard.
    rebuilt: BTreeMap<ShardId, u64>,
    lost: Vec<LostOrder>,
}

impl<P: Ports> Partition<P> {
    /// Notes that a shard lost its rows of the records from its progress to the offset `to` for
    /// good.
    pub(crate) async fn note_loss(&self, shard: ShardId, to: u64) -> Result<(), Halt> {
        let Progress { generation, offset: from, .. } = self.progress(shard);
        tracing::error!(partition = %self.id, shard = shard.0, from, to, "a shard lost rows whose records the log does not hold any \
            more: they are written again as far as the lanes hold them, and the partition goes on");
        let loss = Loss { partition: self.id, generation, shard, from, to };
        self.shared.ledger.note_loss(loss).await?;
        Ok(())
    }

    /// Moves a shard's progress to where the log begins, over rows that are lost for good.
    pub(crate) async fn pass_over(&mut self, shard: ShardId, low: u64) -> Result<(), Halt> {
        let to = low.min(self.row().offset);
        self.note_loss(shard, to).await?;
        let expected = self.progress(shard);
        let next = Progress { generation: self.row().generation, offset: to, record: None };
        if !self.shared.orders.move_progress(shard, self.id, expected, next).await? {
            return Err(Halt::Fenced(self.id));
        }
        self.note_progress(shard, next);
        Ok(())
    }

    /// Does about every loss what can be done. All rows that the log can give back MUST be written
    /// before.
    pub(crate) async fn rebuild_lost_rows(&mut self) -> Result<(), Halt> {
        let losses = self.shared.ledger.open_losses(self.id).await?;
        if !losses.is_empty() {
            let positions = losses.iter().map(|loss| {
                let offset = loss.to.saturating_sub(1);
                (loss.shard, Position { generation: loss.generation, offset, index: u8::MAX })
            });
            let mut rebuild = Rebuild {
                positions: positions.collect(),
                undecided: HashSet::new(),
                read_to: self.row().offset,
                live: BTreeMap::new(),
                counted: BTreeMap::new(),
                rebuilt: BTreeMap::new(),
                lost: Vec::new(),
            };
            self.count_rows(&mut rebuild).await?;
            for lane in self.lanes().keys().copied().collect::<Vec<_>>() {
                match self.rebuild_from(lane, &mut rebuild).await {
                    Err(Halt::Stock(error)) => self.set_aside(lane, error).await?,
                    done => done?,
                }
            }
            self.close_losses(&losses, rebuild).await?;
        }
        let lost = self.shared.ledger.lost_units(self.id).await?;
        self.shared.metrics.lost(self.id, lost.iter().map(|(_, units)| units).sum());
        Ok(())
    }

    async fn count_rows(&self, rebuild: &mut Rebuild) -> Result<(), Halt> {
        let lanes: Vec<LaneId> = self.lanes().keys().copied().collect();
        let passed = |at: Position| at.generation < self.row().generation || at.offset < self.row().offset;
        for home in self.shared.orders.map().all() {
            let mut after = None;
            loop {
                let page = self.shared.orders.scan(home, &lanes, 0, after, COUNT_PAGE).await?;
                for row in &page {
                    let units = u64::from(row.quantity);
                    if row.is_live() {
                        *rebuild.live.entry(row.offer).or_default() += units;
                    }
                    // What shards ahead of the ledger hold, the ledger has still to count or to
                    // give back.
                    let is_released = row.released.is_some_and(passed);
                    if row.status != Status::Rejected && passed(row.position) && !is_released {
                        *rebuild.counted.entry(row.offer).or_default() += units;
                    }
                }
                let Some(last) = page.last().filter(|_| page.len() >= COUNT_PAGE as usize) else { break };
                after = Some(last.order);
            }
        }
        Ok(())
    }

    /// The rows of one lane. An entry whose batch is in the journal, or in the part of the log that
    /// is not decided, is no lost row.
    async fn rebuild_from(&mut self, id: LaneId, rebuild: &mut Rebuild) -> Result<(), Halt> {
        let is_trusted = self.is_open(id).await?;
        let map = self.shared.orders.map();
        let is_lost = |order: OrderId| rebuild.positions.contains_key(&map.home_of_order(order).shard);
        let entries = self.shared.stock.buyers(id).await?;
        let entries = entries.into_iter().flat_map(|(buyer, purchases)| purchases.into_iter().map(move |p| (buyer, p)));
        let mut entries: Vec<(BuyerId, Purchase)> = entries.filter(|(_, purchase)| is_lost(purchase.order)).collect();
        // In this order: what leaves the journal between the two was decided, and what is decided
        // is in the log that is read after.
        let journal: BTreeSet<_> = self.shared.stock.journal(id).await?.into_iter().map(|(batch, _)| batch).collect();
        entries.retain(|(_, purchase)| purchase.batch.is_none_or(|batch| !journal.contains(&batch)));
        if entries.is_empty() {
            return Ok(());
        }
        self.read_undecided(rebuild).await?;
        entries.retain(|(_, purchase)| !rebuild.undecided.contains(&purchase.order));
        for some in entries.chunks(CHUNK) {
            let orders: Vec<OrderId> = some.iter().map(|(_, purchase)| purchase.order).collect();
            let found = self.shared.orders.find(&orders).await?;
            let missing = some.iter().filter(|(_, purchase)| !found.contains_key(&purchase.order));
            let mut rows: BTreeMap<ShardId, Vec<OrderRow>> = BTreeMap::new();
            for (buyer, purchase) in missing {
                match self.row_of(id, *buyer, purchase, (is_trusted, &*rebuild)) {
                    Ok(row) => {
                        if row.is_live() {
                            *rebuild.live.entry(row.offer).or_default() += u64::from(row.quantity);
                            *rebuild.counted.entry(row.offer).or_default() += u64::from(row.quantity);
                        }
                        rows.entry(self.shared.orders.map().home_of_order(row.order).shard).or_default().push(row);
                    }
                    Err(cause) => rebuild.lost.push(lost(purchase, cause)),
                }
            }
            for (shard, rows) in rows {
                self.write_again(shard, rows, rebuild).await?;
            }
        }
        Ok(())
    }

    /// The row of a lane's entry, or why it cannot be written.
    fn row_of(
        &self,
        id: LaneId,
        buyer: BuyerId,
        purchase: &Purchase,
        (is_trusted, rebuild): (bool, &Rebuild),
    ) -> Result<OrderRow, String> {
        if !is_trusted {
            return Err("its lane was not open, so it may hold what was released since".into());
        }
        let lane = self.lanes().get(&id).ok_or("its lane is not in the ledger")?;
        let sales = self.shared.sales.borrow();
        let sale = sales.get(&lane.sale).ok_or("its sale is not published any more, so its price is not known")?;
        let offer = sale.offers().map(|(_, offer)| offer).find(|offer| offer.id == purchase.offer);
        let offer = offer.ok_or("its offer is not published any more, so its price is not known")?;
        let allotment = lane.offers.get(&purchase.offer).map_or(0, |numbers| numbers.allotment);
        let live = rebuild.live.get(&purchase.offer).copied().unwrap_or(0);
        if purchase.number.is_some() && live + u64::from(purchase.quantity) > allotment {
            return Err("its offer has no unit left for it".into());
        }
        let position = rebuild.positions.get(&self.shared.orders.map().home_of_order(purchase.order).shard);
        let position = *position.ok_or("its shard lost nothing")?;
        let is_live = purchase.number.is_some();
        // What the engine froze is lost with the row.
        let pay_within_s = sale.orders.pay_within_s(PAYMENT_WINDOW_S_DEFAULT);
        let reserved_at_ms = purchase.order.minted_at_ms();
        Ok(OrderRow {
            order: purchase.order,
            tenant: lane.tenant,
            buyer,
            lane: id,
            number: purchase.number,
            sale: lane.sale,
            sale_version: sale.version,
            offer: offer.id,
            sku: offer.sku,
            quantity: purchase.quantity,
            unit_price: offer.price,
            key: purchase.key,
            // Which way a released order went only its row said.
            status: if is_live { Status::PendingPayment } else { Status::Cancelled },
            reason: None,
            position,
            released: (!is_live).then_some(position),
            reserved_at_ms,
            context: Bytes::new(),
            pay_by_ms: Some(pay_by_ms(reserved_at_ms, pay_within_s)),
        })
    }

    /// All at once; what the database refuses then, one by one.
    async fn write_again(&mut self, shard: ShardId, rows: Vec<OrderRow>, rebuild: &mut Rebuild) -> Result<(), Halt> {
        let count = rows.len() as u64;
        if self.try_to_write(shard, rows.clone()).await?.is_ok() {
            *rebuild.rebuilt.entry(shard).or_default() += count;
            self.shared.metrics.rows_rebuilt.inc_by(count);
            return Ok(());
        }
        for row in rows {
            let (order, offer, units, is_live) = (row.order, row.offer, u64::from(row.quantity), row.is_live());
            match self.try_to_write(shard, vec![row]).await? {
                Ok(()) => {
                    *rebuild.rebuilt.entry(shard).or_default() += 1;
                    self.shared.metrics.rows_rebuilt.inc();
                }
                Err(cause) => {
                    for numbers in [&mut rebuild.live, &mut rebuild.counted] {
                        let counted = numbers.entry(offer).or_default();
                        *counted = counted.saturating_sub(if is_live { units } else { 0 });
                    }
                    rebuild.lost.push(LostOrder { offer, order: Some(order), units, cause });
                }
            }
        }
        Ok(())
    }

    /// The inner error: why the database refuses it.
    async fn try_to_write(&self, shard: ShardId, rows: Vec<OrderRow>) -> Result<Result<(), String>, Halt> {
        let expected = self.progress(shard);
        let write = ShardWrite { partition: self.id, expected, next: expected, rows, released: Vec::new() };
        match self.shared.orders.write(shard, write).await {
            Ok(Written::Done) => Ok(Ok(())),
            Ok(Written::Fenced) => Err(Halt::Fenced(self.id)),
            Ok(Written::KeyTaken) => Ok(Err("its purchase number is another order's".into())),
            Err(error @ (SqlError::Unfit(_) | SqlError::KeyTaken(_))) => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// The orders of the log that the ledger has not passed.
    async fn read_undecided(&mut self, rebuild: &mut Rebuild) -> Result<(), Halt> {
        let marks = self.reader.watermarks().await?;
        let mut next = rebuild.read_to.max(marks.low);
        if next < marks.high {
            self.reader.seek(next).await?;
        }
        while next < marks.high {
            let entries = self.reader.read(READ_RECORDS, READ_BYTES, READ_WAIT).await?;
            let Some(last) = entries.last() else {
                return Err(ReadError::Unavailable(format!("the record at offset {next} does not come").into()).into());
            };
            next = last.offset + 1;
            rebuild.read_to = next;
            for entry in entries {
                if let Ok(Record::Batch(batch)) = Record::read(&entry.kind, entry.payload) {
                    rebuild.undecided.extend(batch.reservations.iter().map(|(_, reservation)| reservation.order));
                }
            }
        }
        Ok(())
    }

    async fn close_losses(&self, losses: &[Loss], rebuild: Rebuild) -> Result<(), Halt> {
        let Rebuild { positions, counted, rebuilt, mut lost, .. } = rebuild;
        let orders = lost.len();
        for (&offer, numbers) in self.lanes().values().flat_map(|lane| &lane.offers) {
            let units = numbers.sold.saturating_sub(counted.get(&offer).copied().unwrap_or(0));
            let cause = "sold by the ledger, and no row tells of them, the orders listed by id among them; they are not sold \
                         again. Ask the payments whose they are, or restore the shard from a later backup";
            lost.push(LostOrder { offer, order: None, units, cause: cause.into() });
        }
        for (number, lost) in lost.iter().enumerate() {
            self.shared.ledger.note_lost(self.id, lost).await?;
            if number < LOGGED_MAX && lost.units > 0 {
                let order = lost.order.map_or_else(|| "unknown".to_owned(), |order| order.to_string());
                tracing::error!(partition = %self.id, order, offer = %lost.offer, units = lost.units, cause = lost.cause, "lost");
            }
        }
        for &loss in losses {
            let rows = rebuilt.get(&loss.shard).copied().unwrap_or(0);
            self.shared.ledger.close_loss(loss, rows).await?;
            let position = positions.get(&loss.shard).and_then(|position| position.pack());
            tracing::error!(partition = %self.id, shard = loss.shard.0, from = loss.from, to = loss.to, rows, position, orders,
                "rows were written again from the lanes, as unpaid or cancelled, at this position: compare them with the payments; \
                 what stays lost stands in the table lost_orders of the ledger");
        }
        Ok(())
    }
}

fn lost(purchase: &Purchase, cause: String) -> LostOrder {
    let units = u64::from(purchase.quantity);
    LostOrder { offer: purchase.offer, order: Some(purchase.order), units, cause }
}
