//! The writer's side: positions by compare-and-set, and what moves with them.

use std::collections::BTreeMap;

use domain::{
    decide::AllotmentMove,
    id::{Generation, LaneId, OfferId, OrderId, PartitionId, RecordId},
};

use super::{
    Committed, Ledger, LedgerCommit, PartitionRow,
    movement::{self, INSERT_MOVEMENTS},
};
use crate::sql::{Fixed, Insert, Row, Sql, SqlError, Tx, Value, retried, stored};

const PARTITION: &str =
    "SELECT partition_id, generation, log_id, log_offset, record_id FROM partitions WHERE partition_id = ?";
const PARTITIONS: &str =
    "SELECT partition_id, generation, log_id, log_offset, record_id FROM partitions ORDER BY partition_id";
const BEGIN_PARTITION: &str =
    "INSERT INTO partitions (partition_id, generation, log_id, log_offset, record_id) VALUES (?, ?, ?, ?, ?)";
// The fence of a batch: one writer's view of the partition is right.
const MOVE_PARTITION: &str = "UPDATE partitions SET log_offset = ?, record_id = ? \
                              WHERE partition_id = ? AND generation = ? AND log_offset = ?";
// The fence of a new generation: all of the old row, because two writers may have noticed the loss.
const RESTART_PARTITION: &str = "UPDATE partitions SET generation = ?, log_id = ?, log_offset = ?, record_id = ? \
     WHERE partition_id = ? AND generation = ? AND log_id = ? AND log_offset = ? AND record_id = ?";
// An epoch never goes back.
const MOVE_EPOCH: &str = "UPDATE lanes SET epoch = ? WHERE lane = ? AND epoch <= ?";
// R14: the lane is retired while its epoch is this one.
const RETIRE_LANE: &str = "UPDATE lanes SET retired_epoch = ?, epoch = ? WHERE lane = ? AND epoch <= ?";
// R5: only ever lower. No row is matched where it is as low already.
const LOWER_FIRST_ORDER: &str =
    "UPDATE lanes SET first_order = ? WHERE lane = ? AND (first_order IS NULL OR first_order > ?)";
// As in `CommitTexts::sell`, together with the allotment, so that the condition is asked of what
// both become.
const MOVE_ALLOTMENT: &str = "UPDATE offers SET sold = sold + ?, allotment = allotment + ?, target = ?, sale_version = ?, \
                              changed_at = ? WHERE offer = ? AND sold + ? BETWEEN 0 AND allotment + ?";

// As above; the target and its change stay.
const RETIRE: &str = "UPDATE offers SET sold = sold + ?, allotment = allotment + ? WHERE offer = ? \
                      AND sold + ? BETWEEN 0 AND allotment + ?";

const MOVE_LIMIT: &str = "UPDATE lanes SET limit_per_buyer = ?, limit_changed_at = ? WHERE lane = ?";

/// The statements of fixed sizes.
#[derive(Debug)]
pub(super) struct CommitTexts {
    sell: Fixed,
    set_sold: Fixed,
    movements: Insert,
}

impl CommitTexts {
    pub(super) fn new() -> Self {
        Self {
            // The condition is the assertion: an offer that would leave it, or that is not there,
            // is not matched, and the count of matched rows tells.
            sell: Fixed::new(
                "UPDATE offers SET sold = sold + CASE offer [WHEN ? THEN ? ] ELSE 0 END WHERE offer IN ([?,]) \
                 AND sold + CASE offer [WHEN ? THEN ? ] ELSE 0 END BETWEEN 0 AND allotment",
            ),
            set_sold: Fixed::new(
                "UPDATE offers SET sold = CASE offer [WHEN ? THEN ? ] ELSE sold END WHERE offer IN ([?,])",
            ),
            movements: Insert::new(INSERT_MOVEMENTS),
        }
    }
}

impl<S: Sql> Ledger<S> {
    /// How many records of a partition are not decided yet, when its log ends before the offset
    /// `high`.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn lag(&self, partition: PartitionId, high: u64) -> Result<u64, SqlError> {
        let next = self.partition(partition).await?.map_or(0, |row| row.offset);
        Ok(high.saturating_sub(next))
    }

    /// A partition's position; `None` before its first genesis is decided.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn partition(&self, partition: PartitionId) -> Result<Option<PartitionRow>, SqlError> {
        let rows = self.db.rows(PARTITION, vec![partition.0.into()]).await?;
        rows.into_iter().next().map(read_partition).transpose()
    }

    /// The positions of all partitions that are begun, by number.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn partitions(&self) -> Result<Vec<PartitionRow>, SqlError> {
        self.db.rows(PARTITIONS, vec![]).await?.into_iter().map(read_partition).collect()
    }

    /// Begins a partition; `false` if it is begun.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn begin_partition(&self, row: &PartitionRow) -> Result<bool, SqlError> {
        let mut params = vec![row.partition.0.into()];
        params.extend(position(row)?);
        self.db.insert_absent(BEGIN_PARTITION, params).await
    }

    /// Moves a partition's position with everything that its records changed, in one transaction.
    /// Deadlocks are tried again inside.
    ///
    /// # Errors
    /// [`SqlError::Broken`] when sold would leave 0..=allotment, or an offer or lane does not
    /// exist: nothing happened. Others when the database fails; after [`SqlError::is_unknown`] read
    /// the partition.
    pub async fn commit(&self, commit: &LedgerCommit) -> Result<Committed, SqlError> {
        let plan = Plan::new(commit)?;
        retried(async || self.attempt(async |tx| self.change(tx, &plan).await).await).await
    }

    /// Begins a new generation of a partition with the sold units, and the lowest order of each
    /// lane, derived from the rows (R10): `from` MUST be the row as it is.
    ///
    /// # Errors
    /// As [`Ledger::commit`]; sold is not compared with the allotment.
    pub async fn restart(
        &self,
        from: &PartitionRow,
        to: &PartitionRow,
        sold: &[(OfferId, u64)],
        first_orders: &[(LaneId, OrderId)],
    ) -> Result<Committed, SqlError> {
        let mut fence: Vec<Value> = position(to)?.into();
        fence.push(from.partition.0.into());
        fence.extend(position(from)?);
        let sold = sold.iter().map(|&(offer, units)| Ok((offer.stored(), stored(units)?)));
        let sold: BTreeMap<i64, i64> = sold.collect::<Result<_, SqlError>>()?;
        let sold: Vec<(i64, i64)> = sold.into_iter().collect();
        let first_orders = lowest(first_orders);
        retried(async || self.attempt(async |tx| self.set(tx, &fence, &sold, &first_orders).await).await).await
    }

    /// One transaction, undone unless `change` answers `true`.
    async fn attempt(
        &self,
        change: impl AsyncFnOnce(&mut S::Tx) -> Result<bool, SqlError>,
    ) -> Result<Committed, SqlError> {
        let mut tx = self.db.begin().await?;
        let undone = match change(&mut tx).await {
            Ok(true) => return tx.commit().await.map(|()| Committed::Done),
            Ok(false) => Ok(Committed::Fenced),
            Err(error) => Err(error),
        };
        tx.rollback().await;
        undone
    }

    /// `false`: fenced. Locks are taken in one order: partition, offers and lanes by id.
    async fn change(&self, tx: &mut S::Tx, plan: &Plan) -> Result<bool, SqlError> {
        if tx.exec(MOVE_PARTITION, plan.fence.clone()).await? != 1 {
            return Ok(false);
        }
        for (update, sold) in self.texts.commit.sell.padded(&plan.sold) {
            let mut params = pairs(&sold);
            params.extend(sold.iter().map(|&(offer, _)| Value::Int(offer)));
            params.extend(pairs(&sold));
            all_matched(tx.exec(update, params).await?, &sold, "0 <= sold <= allotment of each offer")?;
        }
        for AllotmentUpdate { offer, statement, params } in &plan.allotments {
            let matched = tx.exec(statement, params.clone()).await?;
            all_matched(matched, &[(*offer, 0)], "0 <= sold <= allotment of each offer")?;
        }
        for &(lane, (epoch, is_retired)) in &plan.epochs {
            let mut params = vec![epoch.into(), lane.into(), epoch.into()];
            let statement = if is_retired { RETIRE_LANE } else { MOVE_EPOCH };
            params.splice(..0, is_retired.then(|| epoch.into()));
            let matched = tx.exec(statement, params).await?;
            all_matched(matched, &[(lane, epoch)], "that the lane is there and its epoch does not go back")?;
        }
        for &(lane, limit, changed_at) in &plan.limits {
            let matched = tx.exec(MOVE_LIMIT, vec![limit.into(), changed_at.into(), lane.into()]).await?;
            all_matched(matched, &[(lane, changed_at)], "that the lane is there")?;
        }
        lower(tx, &plan.first_orders).await?;
        if !plan.movements.is_empty() {
            tx.insert(&self.texts.commit.movements, plan.movements.clone()).await?;
        }
        Ok(true)
    }

    async fn set(
        &self,
        tx: &mut S::Tx,
        fence: &[Value],
        sold: &[(i64, i64)],
        first_orders: &[(i64, i64)],
    ) -> Result<bool, SqlError> {
        if tx.exec(RESTART_PARTITION, fence.to_vec()).await? != 1 {
            return Ok(false);
        }
        for (update, sold) in self.texts.commit.set_sold.padded(sold) {
            let mut params = pairs(&sold);
            params.extend(sold.iter().map(|&(offer, _)| Value::Int(offer)));
            all_matched(tx.exec(update, params).await?, &sold, "that each offer is there")?;
        }
        lower(tx, first_orders).await?;
        Ok(true)
    }
}

fn read_partition(mut row: Row) -> Result<PartitionRow, SqlError> {
    Ok(PartitionRow {
        partition: PartitionId(row.number()?),
        generation: Generation(row.number()?),
        log_id: row.int()?.cast_unsigned(),
        offset: row.number()?,
        record: RecordId::new(row.number()?).ok(),
    })
}

async fn lower<T: Tx>(tx: &mut T, first_orders: &[(i64, i64)]) -> Result<(), SqlError> {
    for &(lane, order) in first_orders {
        tx.exec(LOWER_FIRST_ORDER, vec![order.into(), lane.into(), order.into()]).await?;
    }
    Ok(())
}

/// As parameters, each lane once, in the order of locks.
fn lowest(first_orders: &[(LaneId, OrderId)]) -> Vec<(i64, i64)> {
    let mut lowest: BTreeMap<i64, i64> = BTreeMap::new();
    for &(lane, order) in first_orders {
        let known = lowest.entry(lane.stored()).or_insert_with(|| order.stored());
        *known = order.stored().min(*known);
    }
    lowest.into_iter().collect()
}

/// A [`LedgerCommit`] as parameters, each offer in one statement only, in the order of locks.
struct Plan {
    fence: Vec<Value>,
    sold: Vec<(i64, i64)>,
    allotments: Vec<AllotmentUpdate>,
    /// By lane: the epoch, and whether it retires the lane.
    epochs: Vec<(i64, (i64, bool))>,
    /// By lane: the limit per buyer, and the position of its change.
    limits: Vec<(i64, u32, i64)>,
    first_orders: Vec<(i64, i64)>,
    /// Row after row.
    movements: Vec<Value>,
}

/// The change of an offer whose allotment moves.
struct AllotmentUpdate {
    offer: i64,
    statement: &'static str,
    params: Vec<Value>,
}

impl Plan {
    fn new(c: &LedgerCommit) -> Result<Self, SqlError> {
        let mut sold: BTreeMap<i64, i64> = BTreeMap::new();
        for &(offer, units) in &c.sold {
            *sold.entry(offer.stored()).or_default() += units;
        }
        let allotments = allotments(c, &mut sold)?;
        sold.retain(|_, units| *units != 0);
        let mut epochs: BTreeMap<i64, (i64, bool)> = BTreeMap::new();
        let opened = c.epochs.iter().map(|opened| (opened, false));
        for (&(lane, epoch), is_retired) in opened.chain(c.retired_lanes.iter().map(|retired| (retired, true))) {
            // Of two epochs of a lane the higher one, which is the last, stands.
            let (last, moved) = (epochs.entry(lane.stored()).or_default(), (stored(epoch.0)?, is_retired));
            *last = moved.max(*last);
        }
        let (partition, generation) = (c.partition, c.generation);
        let movements = c.movements.iter().map(|m| movement::values(partition, generation, m));
        let movements = movements.collect::<Result<Vec<_>, SqlError>>()?;
        Ok(Self {
            fence: vec![
                stored(c.next_offset)?.into(),
                c.next_record.map_or(0, RecordId::stored).into(),
                partition.0.into(),
                generation.0.into(),
                stored(c.expected_offset)?.into(),
            ],
            sold: sold.into_iter().collect(),
            allotments,
            epochs: epochs.into_iter().collect(),
            limits: c.limits.iter().map(|change| (change.lane.stored(), change.limit, change.changed_at)).collect(),
            first_orders: lowest(&c.first_orders),
            movements: movements.into_iter().flatten().collect(),
        })
    }
}

/// The statements of the offers whose allotment moves; they are taken out of `sold`.
fn allotments(c: &LedgerCommit, sold: &mut BTreeMap<i64, i64>) -> Result<Vec<AllotmentUpdate>, SqlError> {
    let mut moves: BTreeMap<i64, (i64, Option<&AllotmentMove>)> = BTreeMap::new();
    for change in &c.allotments {
        let (delta, last) = moves.entry(change.offer.stored()).or_default();
        (*delta, *last) = (*delta + change.delta, Some(change));
    }
    for &(offer, units) in &c.retired {
        moves.entry(offer.stored()).or_default().0 -= stored(units)?;
    }
    let moves = moves.into_iter().map(|(offer, (delta, change))| {
        let units = sold.remove(&offer).unwrap_or(0);
        let mut params = vec![units.into(), delta.into()];
        if let Some(change) = change {
            params.extend([stored(change.target)?.into(), change.sale_version.into(), change.changed_at.into()]);
        }
        params.extend([offer.into(), units.into(), delta.into()]);
        let statement = if change.is_some() { MOVE_ALLOTMENT } else { RETIRE };
        Ok(AllotmentUpdate { offer, statement, params })
    });
    moves.collect()
}

fn position(row: &PartitionRow) -> Result<[Value; 4], SqlError> {
    let log_id = row.log_id.cast_signed();
    Ok([
        row.generation.0.into(),
        log_id.into(),
        stored(row.offset)?.into(),
        row.record.map_or(0, RecordId::stored).into(),
    ])
}

fn pairs(items: &[(i64, i64)]) -> Vec<Value> {
    let mut params = Vec::with_capacity(5 * items.len());
    items.iter().for_each(|&(key, value)| params.extend([Value::Int(key), Value::Int(value)]));
    params
}

/// `items` may repeat its last.
fn all_matched(matched: u64, items: &[(i64, i64)], asserted: &str) -> Result<(), SqlError> {
    let distinct = items.chunk_by(|a, b| a.0 == b.0).count() as u64;
    if matched == distinct {
        return Ok(());
    }
    let shown = &items[..items.len().min(8)];
    Err(SqlError::Broken(
        format!("the ledger asserts {asserted}; {matched} of {distinct} hold it, of {shown:?}").into(),
    ))
}
