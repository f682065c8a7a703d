//! Expiry of unpaid orders by their time to pay, without an index of it, which would cost the
//! writer with each row. Ids rise with time, and there are few different times to pay: for each of
//! them the orders that are due are a range of ids that only moves on. Which ones there are is seen
//! in some of the newest rows. A time that is rare among them, and rows that were written late, are
//! found by a look at all that is unpaid.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    id::OrderId,
    order::Transition,
    shard::{Home, ShardId},
};
use kit::clock::Clock as _;
use store::orders::{MARKED_MAX, Marked};

use super::{ports::Kinds, refused::Refused, service::Life};

/// Orders that are read and marked at once.
const BATCH: u32 = MARKED_MAX as u32;
/// Between the clocks of an id and of its row's times, and back: rows about a range's end are read
/// again.
const SLACK_MS: u64 = 5_000;
/// How often some new rows of a table are read, how many, and how old the oldest of them are: few,
/// since they are read beside the purchases that write them.
const NEWEST_EVERY: Duration = Duration::from_secs(5);
const NEWEST: u32 = 500;
const NEW_MS: u64 = 6_000;
/// How often all unpaid rows are, at most; a look that takes long is rarer.
const ALL_EVERY: Duration = Duration::from_secs(60);
const ALL_SHARE: u32 = 100;
/// How far back that looks, once nothing older is unpaid.
const ALL_MS: u64 = 3_600_000;

/// How far the expiry of one shard is.
#[derive(Debug)]
pub struct Expiry {
    shard: ShardId,
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    home: Home,
    /// By time to pay: all ids up to here are looked at.
    windows: BTreeMap<u64, u64>,
    newest_at: Option<Duration>,
    all_at: Option<Duration>,
    all_every: Duration,
    /// No order with a lower id is unpaid.
    lowest: u64,
}

impl Expiry {
    /// Of a shard, from the beginning.
    pub fn new<K: Kinds>(life: &Life<K>, shard: ShardId) -> Self {
        let table = |home| Table {
            home,
            windows: BTreeMap::new(),
            newest_at: None,
            all_at: None,
            all_every: ALL_EVERY,
            lowest: 0,
        };
        let homes = life.orders().map().all().filter(|home| home.shard == shard);
        Self { shard, tables: homes.map(table).collect() }
    }

    /// Expires what is due and has no attempt to pay that is still open. How many orders.
    ///
    /// # Errors
    /// [`Refused`] when a database fails; the next call goes on.
    pub async fn run<K: Kinds>(&mut self, life: &Life<K>) -> Result<u64, Refused> {
        let (mut expired, began) = (0, life.ports().clock.monotonic());
        for table in &mut self.tables {
            table.find_windows(life).await?;
            expired += table.expire(life).await?;
        }
        life.note_expired(self.shard, began);
        Ok(expired)
    }
}

impl Table {
    async fn find_windows<K: Kinds>(&mut self, life: &Life<K>) -> Result<(), Refused> {
        let (now, now_ms) = (life.ports().clock.monotonic(), life.now_ms());
        let is_due = |at: Option<Duration>, every| at.is_none_or(|at| now.saturating_sub(at) >= every);
        if is_due(self.all_at, self.all_every) {
            let found = life.orders().pay_windows(self.home, self.lowest).await?;
            let lowest = found.iter().map(|(_, lowest)| lowest.get() - 1).min();
            self.lowest = lowest.unwrap_or_else(|| OrderId::floor_at(now_ms.saturating_sub(ALL_MS)).max(self.lowest));
            self.take_up(&found);
            let took = life.ports().clock.monotonic().saturating_sub(now);
            self.all_every = ALL_EVERY.max(took.saturating_mul(ALL_SHARE));
            (self.all_at, self.newest_at) = (Some(now), Some(now));
        } else if is_due(self.newest_at, NEWEST_EVERY) {
            let after = OrderId::floor_at(now_ms.saturating_sub(NEW_MS));
            for window_ms in life.orders().newest_pay_windows(self.home, after, NEWEST).await? {
                self.windows.entry(window_ms).or_insert(self.lowest);
            }
            self.newest_at = Some(now);
        }
        Ok(())
    }

    /// A row below the range of its time was written late: the range begins with it again.
    fn take_up(&mut self, found: &[(u64, OrderId)]) {
        for &(window_ms, lowest) in found {
            let before = lowest.get() - 1;
            self.windows.entry(window_ms).and_modify(|at| *at = before.min(*at)).or_insert(before);
        }
    }

    async fn expire<K: Kinds>(&mut self, life: &Life<K>) -> Result<u64, Refused> {
        let mut expired = 0;
        for (&window_ms, at) in &mut self.windows {
            let now_ms = life.now_ms();
            let minted_ms = now_ms.saturating_sub(window_ms);
            let (mut after, before) = (*at, OrderId::floor_at(minted_ms.saturating_add(SLACK_MS)));
            loop {
                let rows = life.orders().due_between(self.home, (after, before), now_ms, BATCH).await?;
                let Some(last) = rows.last() else { break };
                after = last.order.get();
                let releases = life.outbox_rows(&rows, Transition::Expire).await?;
                let marked = life.orders().mark_all(self.home, Transition::Expire, &releases).await?;
                // One with an open attempt is closed at its provider first; what was paid stays so.
                expired += marked.values().filter(|marked| **marked == Marked::Done).count() as u64;
                if rows.len() < BATCH as usize {
                    break;
                }
            }
            let passed = OrderId::floor_at(minted_ms.saturating_sub(SLACK_MS));
            *at = passed.saturating_sub(1).max(*at);
        }
        Ok(expired)
    }
}
