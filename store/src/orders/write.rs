//! The writer's side: progress of partitions, and rows with progress in one transaction (R2, R11).

use domain::{
    id::{Generation, OrderId, PartitionId, RecordId},
    order::{OrderRow, Release, Status},
    shard::{Home, ShardId},
};

use super::{
    Orders, Progress, ShardWrite, Written,
    row::{is_new, packed, push, push_new},
};
use crate::sql::{Insert, Row, Sql, SqlError, Tx, Value, all, retried, stored};

const PROGRESS: &str = "SELECT generation, log_offset, record_id FROM progress WHERE partition_id = ?";
const BEGIN_PROGRESS: &str =
    "INSERT INTO progress (partition_id, generation, log_offset, record_id) VALUES (?, ?, ?, ?)";
// The fence: all of what is expected, or nothing.
const MOVE_PROGRESS: &str = "UPDATE progress SET generation = ?, log_offset = ?, record_id = ? \
                             WHERE partition_id = ? AND generation = ? AND log_offset = ? AND record_id = ?";

impl<S: Sql> Orders<S> {
    /// How far a partition is in each shard, by the shard's number; `None` where it was never
    /// begun.
    ///
    /// # Errors
    /// [`SqlError`] of the first shard that fails.
    pub async fn progress(&self, partition: PartitionId) -> Result<Vec<Option<Progress>>, SqlError> {
        let shards = self.shards.iter().map(async |shard| {
            let rows = shard.rows(PROGRESS, vec![partition.0.into()]).await?;
            rows.into_iter().next().map(read_progress).transpose()
        });
        all(shards).await.into_iter().collect()
    }

    /// Begins a partition in a shard, unless it is begun.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; repeating is safe.
    pub async fn begin_progress(&self, shard: ShardId, p: PartitionId, first: Progress) -> Result<(), SqlError> {
        let mut params = vec![p.0.into()];
        params.extend(values(first)?);
        self.shard(shard)?.insert_absent(BEGIN_PROGRESS, params).await.map(drop)
    }

    /// Moves a partition's progress without rows, if it is as expected: raises a generation, which
    /// fences older writers (R10).
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; after [`SqlError::is_unknown`] read the progress.
    pub async fn move_progress(
        &self,
        shard: ShardId,
        p: PartitionId,
        expected: Progress,
        next: Progress,
    ) -> Result<bool, SqlError> {
        let (db, params) = (self.shard(shard)?, move_params(p, expected, next)?);
        retried(async || db.exec(MOVE_PROGRESS, params.clone()).await).await.map(|matched| matched == 1)
    }

    /// Writes rows and releases of one shard with its progress, in one transaction. Deadlocks are
    /// tried again inside.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails, or for rows of another shard; after
    /// [`SqlError::is_unknown`] read the progress.
    pub async fn write(&self, shard: ShardId, write: ShardWrite) -> Result<Written, SqlError> {
        let plan = Plan::new(self, shard, write)?;
        let db = self.shard(shard)?;
        retried(async || self.attempt(db, &plan).await).await
    }

    async fn attempt(&self, db: &S, plan: &Plan) -> Result<Written, SqlError> {
        let mut tx = db.begin().await?;
        let undone = match self.change(&mut tx, plan).await {
            Ok(true) => return tx.commit().await.map(|()| Written::Done),
            Ok(false) => Ok(Written::Fenced),
            Err(SqlError::KeyTaken(_)) => Ok(Written::KeyTaken),
            Err(error) => Err(error),
        };
        tx.rollback().await;
        undone
    }

    /// `false`: fenced.
    async fn change(&self, tx: &mut S::Tx, plan: &Plan) -> Result<bool, SqlError> {
        // First, because its row lock makes writers of one partition take turns.
        if tx.exec(MOVE_PROGRESS, plan.progress.clone()).await? != 1 {
            return Ok(false);
        }
        for rows in plan.rows.chunk_by(|a, b| a.0 == b.0) {
            let texts = self.table(rows[0].0)?;
            let (new, other): (Vec<_>, Vec<_>) = rows.iter().map(|(_, row)| row).partition(|row| is_new(row));
            insert(tx, &texts.insert_new, &new, push_new).await?;
            insert(tx, &texts.insert, &other, push).await?;
        }
        for released in plan.released.chunk_by(|a, b| (a.home, a.became) == (b.home, b.became)) {
            let texts = self.table(released[0].home)?;
            let became = Value::from(released[0].became.map(|status| status.stored().into()));
            for (update, released) in texts.release.padded(released) {
                let mut params: Vec<Value> = Vec::with_capacity(3 * released.len() + 2);
                released.iter().for_each(|one| params.extend([one.order.stored().into(), one.at.into()]));
                params.extend([became.clone(), became.clone()]);
                params.extend(released.iter().map(|one| Value::from(one.order.stored())));
                tx.exec(update, params).await?;
            }
        }
        Ok(true)
    }
}

async fn insert<T: Tx>(
    tx: &mut T,
    insert: &Insert,
    rows: &[&OrderRow],
    push: impl Fn(&mut Vec<Value>, &OrderRow) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut values = Vec::with_capacity(rows.len() * insert.columns());
    rows.iter().try_for_each(|row| push(&mut values, row))?;
    tx.insert(insert, values).await
}

/// A [`ShardWrite`] in the order in which every transaction takes its locks: table by table, by
/// primary key.
struct Plan {
    progress: Vec<Value>,
    rows: Vec<(Home, OrderRow)>,
    released: Vec<Planned>,
}

/// A release with its place.
#[derive(Clone, Copy)]
struct Planned {
    home: Home,
    order: OrderId,
    at: i64,
    became: Option<Status>,
}

impl Plan {
    fn new<S: Sql>(orders: &Orders<S>, shard: ShardId, write: ShardWrite) -> Result<Self, SqlError> {
        let home_of = |order: OrderId| match orders.map.home_of_order(order) {
            home if home.shard == shard => Ok(home),
            _ => Err(SqlError::Broken(format!("order {order} does not live in shard {}", shard.0).into())),
        };
        let rows = write.rows.into_iter().map(|row| Ok((home_of(row.order)?, row)));
        let mut rows = rows.collect::<Result<Vec<_>, SqlError>>()?;
        rows.sort_unstable_by_key(|(home, row)| (home.table, row.order));
        let planned =
            |Release { order, at, became }| Ok(Planned { home: home_of(order)?, order, at: packed(at)?, became });
        let mut released = write.released.into_iter().map(planned).collect::<Result<Vec<_>, SqlError>>()?;
        // Of two releases of one order only the first counts.
        released.sort_unstable_by_key(|one| (one.home.table, one.order, one.at));
        released.dedup_by_key(|one| one.order);
        // A statement says one status, so that it compares no row with two lists.
        released.sort_by_key(|one| (one.home.table, one.became.map(Status::stored)));
        let progress = move_params(write.partition, write.expected, write.next)?;
        Ok(Self { progress, rows, released })
    }
}

fn values(progress: Progress) -> Result<[Value; 3], SqlError> {
    Ok([
        progress.generation.0.into(),
        stored(progress.offset)?.into(),
        progress.record.map_or(0, RecordId::stored).into(),
    ])
}

fn move_params(partition: PartitionId, expected: Progress, next: Progress) -> Result<Vec<Value>, SqlError> {
    let mut params = Vec::with_capacity(7);
    params.extend(values(next)?);
    params.push(partition.0.into());
    params.extend(values(expected)?);
    Ok(params)
}

fn read_progress(mut row: Row) -> Result<Progress, SqlError> {
    let generation = Generation(row.number()?);
    Ok(Progress { generation, offset: row.number()?, record: RecordId::new(row.number()?).ok() })
}
