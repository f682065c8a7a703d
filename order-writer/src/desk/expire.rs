//! Expiry of all unpaid orders whose time to pay is over, or of some age, in batches: each is one
//! transaction of one table, so that whatever ends it between two of them, what is marked has its
//! outbox row, and the next call goes on with the rest.

use std::{
    collections::HashMap,
    ops::{AddAssign, ControlFlow},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use domain::{
    id::{LaneId, PartitionId},
    order::Transition,
    shard::{Home, ShardId},
};
use store::{
    cause::Cause,
    ledger::Ledger,
    orders::{MARKED_MAX, Marked, Orders},
    sql::{Sql, SqlError},
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{DeskError, release_of};

/// Overdue orders of one table that are read and marked at once.
const BATCH: u32 = 500;
const _: () = assert!(BATCH as usize <= MARKED_MAX);
/// Batches that wait to be told of.
const UNTOLD: usize = 16;

/// How far an expiry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expiry {
    /// Orders that are expired.
    pub expired: u64,
    /// Orders that were paid or cancelled between the look and the mark: they stay so.
    pub kept: u64,
    /// Orders whose lane the ledger does not have: they cannot be released, and stay unpaid.
    pub without_lane: u64,
    /// Whether the caller ended it before the last order was looked at.
    pub is_ended: bool,
}

impl Expiry {
    /// Orders that were looked at.
    pub const fn seen(&self) -> u64 {
        self.expired + self.kept + self.without_lane
    }

    /// In words.
    pub fn told(&self) -> String {
        let mut told = format!("{} of {} overdue orders were expired", self.expired, self.seen());
        if self.kept > 0 {
            told += &format!("; {} were paid or cancelled meanwhile", self.kept);
        }
        if self.without_lane > 0 {
            told += &format!("; {} have no lane in the ledger: restore the ledger database", self.without_lane);
        }
        told
    }
}

impl AddAssign for Expiry {
    fn add_assign(&mut self, more: Self) {
        self.expired += more.expired;
        self.kept += more.kept;
        self.without_lane += more.without_lane;
        self.is_ended |= more.is_ended;
    }
}

/// Expires every order that is unpaid after its time to pay, or with `older_than` so long after it
/// was reserved, whatever its time to pay; by the database's clock, the shards side by side.
/// `watch` hears after each batch how far it is, and may end it there.
///
/// # Errors
/// [`DeskError::Interrupted`] when a database fails; the other shards are done with then. Calling
/// again goes on with the rest.
pub async fn expire<S: Sql>(
    orders: &Orders<S>,
    ledger: &Ledger<S>,
    older_than: Option<Duration>,
    mut watch: impl FnMut(&Expiry) -> ControlFlow<()>,
) -> Result<Expiry, DeskError> {
    let now_ms = orders.now_ms(ShardId(0)).await?;
    let age_ms = older_than.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let due = age_ms.map_or(Due::PayBy { now_ms }, |age_ms| Due::Age { before_ms: now_ms.saturating_sub(age_ms) });
    let (is_ended, mut sweeps) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    let (told, mut batches) = mpsc::channel(UNTOLD);
    for shard in (0..orders.map().shards()).map(ShardId) {
        let (orders, ledger, partitions) = (orders.clone(), ledger.clone(), HashMap::new());
        let (is_ended, told) = (is_ended.clone(), told.clone());
        let mut sweep = Sweep { orders, ledger, due, partitions, is_ended, told };
        sweeps.spawn(async move { sweep.shard(shard).await });
    }
    drop(told);
    let mut done = Expiry::default();
    while let Some(batch) = batches.recv().await {
        done += batch;
        if watch(&done).is_break() {
            is_ended.store(true, Relaxed);
        }
    }
    while let Some(swept) = sweeps.join_next().await {
        match swept.unwrap_or_else(|error| {
            Err(SqlError::Broken(Cause::new(format!("the expiry of a shard ended: {error}"), error)))
        }) {
            Ok(()) => {}
            Err(cause) => return Err(DeskError::Interrupted { done, cause }),
        }
    }
    done.is_ended = is_ended.load(Relaxed);
    Ok(done)
}

/// Which unpaid orders expire.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// Those whose time to pay is over.
    PayBy { now_ms: u64 },
    /// Those that were reserved before, also of programs that knew no time to pay.
    Age { before_ms: u64 },
}

/// The expiry of one shard.
struct Sweep<S> {
    orders: Orders<S>,
    ledger: Ledger<S>,
    due: Due,
    /// Of the lanes that were met; `None` for one that the ledger does not have.
    partitions: HashMap<LaneId, Option<PartitionId>>,
    is_ended: Arc<AtomicBool>,
    told: mpsc::Sender<Expiry>,
}

impl<S: Sql> Sweep<S> {
    async fn shard(&mut self, shard: ShardId) -> Result<(), SqlError> {
        let homes: Vec<Home> = self.orders.map().all().filter(|home| home.shard == shard).collect();
        for home in homes {
            self.table(home).await?;
        }
        Ok(())
    }

    async fn table(&mut self, home: Home) -> Result<(), SqlError> {
        let mut after = None;
        while !self.is_ended.load(Relaxed) {
            let page = match self.due {
                Due::PayBy { now_ms } => self.orders.past_pay_by(home, after, now_ms, BATCH).await?,
                Due::Age { before_ms } => self.orders.overdue(home, after, before_ms, BATCH).await?,
            };
            let Some(last) = page.last() else { break };
            after = Some(last.order);
            let (mut batch, mut releases) = (Expiry::default(), Vec::with_capacity(page.len()));
            for row in &page {
                match self.partition_of(row.lane).await? {
                    Some(partition) => releases.push(release_of(row, partition, Transition::Expire)),
                    None => batch.without_lane += 1,
                }
            }
            let marked = self.orders.mark_all(home, Transition::Expire, &releases).await?;
            for marked in marked.values() {
                // What was paid or cancelled since it was read is its buyer's good right.
                *if *marked == Marked::Done { &mut batch.expired } else { &mut batch.kept } += 1;
            }
            let is_last = page.len() < BATCH as usize;
            if self.told.send(batch).await.is_err() || is_last {
                break;
            }
        }
        Ok(())
    }

    async fn partition_of(&mut self, lane: LaneId) -> Result<Option<PartitionId>, SqlError> {
        if let Some(known) = self.partitions.get(&lane) {
            return Ok(*known);
        }
        let partition = self.ledger.lane(lane).await?.map(|lane| lane.partition);
        self.partitions.insert(lane, partition);
        Ok(partition)
    }
}
