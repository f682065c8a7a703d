//! Releases: what the log carries of them, and how fast many go.

use std::time::{Duration, Instant};

use domain::{
    id::{Epoch, OrderId},
    order::Status,
    shard::ShardId,
};
use kit::metrics::ProcessSample;
use mysql_async::prelude::Queryable;

use super::{
    rig::{Rig, env, until},
    unpaid::an_expiry_goes_on_where_it_was_ended,
};

const ROWS: [&str; 4] = ["orders_0", "orders_1", "progress", "outbox"];
const LEDGER: [&str; 4] = ["partitions", "lanes", "offers", "movements"];

/// A database of the rig, with the tables that hold what a sale changes.
type Kept = (&'static str, [&'static str; 4]);

impl Rig {
    async fn by_hand(&self, (database, tables): Kept, statements: impl Fn(&str) -> Vec<String>) {
        let url = format!("{}/{}_{database}", env("FLASHSALE_MYSQL_URL"), self.namespace);
        let mut hand = mysql_async::Conn::from_url(url).await.unwrap();
        hand.query_drop("START TRANSACTION").await.unwrap();
        for statement in tables.into_iter().flat_map(statements) {
            hand.query_drop(statement).await.unwrap();
        }
        hand.query_drop("COMMIT").await.unwrap();
        hand.disconnect().await.unwrap();
    }

    async fn copy(&self, kept: Kept) {
        self.by_hand(kept, |table| vec![format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")]).await;
    }

    async fn put_back(&self, kept: Kept) {
        let back = |table: &str| {
            vec![format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM kept_{table}")]
        };
        self.by_hand(kept, back).await;
    }

    async fn outbox_is_empty(&self) -> bool {
        let mut is_empty = true;
        for shard in [0, 1].map(ShardId) {
            is_empty &= self.store.orders.outbox_partitions(shard).await.unwrap().is_empty();
        }
        is_empty
    }

    async fn statuses(&self, orders: &[OrderId]) -> Vec<(Status, bool)> {
        let found = self.store.orders.find(orders).await.unwrap();
        let told = orders.iter().map(|order| found.get(order).map(|row| (row.status, row.released.is_some())));
        told.map(|told| told.unwrap_or((Status::Rejected, false))).collect()
    }
}

/// Fault 24, R8 and R11: databases that come back as they were before the marks, one by one and all
/// together, get them from the log with the releases.
#[tokio::test]
async fn r8_a_cancelled_order_stays_cancelled_when_a_database_loses_its_tail() {
    let [first, second, ledger] = [("orders_00", ROWS), ("orders_01", ROWS), ("ledger", LEDGER)];
    for databases in [vec![first], vec![first, second], vec![first, second, ledger]] {
        let mut rig = Rig::open(20, 1).await;
        let sold = rig.buy(Epoch(1), &(1..=8).collect::<Vec<_>>()).await;
        let orders: Vec<OrderId> = sold.iter().map(|promise| promise.order).collect();
        rig.until_at_rest(8).await;
        rig.stop().await;
        for &kept in &databases {
            rig.copy(kept).await;
        }
        rig.start();
        rig.cancel(&orders[..4]).await;
        rig.until_at_rest(4).await;
        until("the outbox is empty", || rig.outbox_is_empty()).await;
        let before = rig.statuses(&orders).await;
        assert_eq!(before, [[(Status::Cancelled, true); 4], [(Status::PendingPayment, false); 4]].concat());
        rig.stop().await;
        for &kept in &databases {
            rig.put_back(kept).await;
        }
        assert_ne!(rig.statuses(&orders).await, before, "the rows had something to lose");
        rig.start();
        until("the cancelled orders are cancelled again", || async { rig.statuses(&orders).await == before }).await;
        rig.until_at_rest(4).await;
        assert_eq!(rig.figure("flashsale_dead_letters_total"), "0");
        rig.close().await;
    }
}

#[tokio::test]
async fn an_expiry_goes_on_where_it_was_ended_or_killed() {
    let mut rig = Rig::open(10, 1).await;
    rig.stop().await;
    an_expiry_goes_on_where_it_was_ended(&rig.store, (rig.lane, rig.offer)).await;
    rig.close().await;
}

/// Fault 30: many orders expire by batches, and their releases go as many at once. It prints how
/// fast both are.
#[tokio::test]
async fn thousands_of_orders_expire_and_give_their_units_back() {
    const COUNT: u64 = 6_000;
    let mut rig = Rig::open(COUNT, 1).await;
    rig.minted_before_ms = 30_000;
    const ALONE: usize = 100;
    let mut alone = Vec::new();
    for first in (1..=COUNT).step_by(200) {
        let sold = rig.buy(Epoch(1), &(first..first + 200).collect::<Vec<_>>()).await;
        alone.extend(sold.into_iter().map(|promise| promise.order));
    }
    alone.truncate(ALONE);
    rig.until_at_rest(COUNT).await;
    let (begun, cpu) = (Instant::now(), cpu());
    rig.cancel(&alone).await;
    told("marked one by one", ALONE as u64, (begun, cpu));
    let (begun, cpu, count) = (Instant::now(), self::cpu(), COUNT - ALONE as u64);
    assert_eq!(rig.expire(Duration::ZERO).await, count);
    told("marked", count, (begun, cpu));
    rig.until_at_rest(0).await;
    told("marked and released", count, (begun, cpu));
    until("the outbox is empty", || rig.outbox_is_empty()).await;
    told("and the outbox empty", count, (begun, cpu));
    assert_eq!(rig.figure("flashsale_releases_relayed_total"), COUNT.to_string(), "each once");
    rig.close().await;
}

fn cpu() -> f64 {
    ProcessSample::of_self().unwrap().cpu_ms as f64 / 1_000.0
}

#[allow(clippy::print_stdout, reason = "a test that measures tells what it saw")]
fn told(what: &str, orders: u64, (begun, cpu_before): (Instant, f64)) {
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu() - cpu_before);
    let rate = |seconds: f64| (orders as f64 / seconds).round();
    println!("{orders} orders {what}: {took:.2} s, {}/s; {cpu:.2} s of this process, {}/s", rate(took), rate(cpu));
}
