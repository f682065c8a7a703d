//! R15 and R10: shards and ledgers restored to before what the log still holds.

use std::collections::HashMap;

use domain::{
    id::{Generation, OrderId, Position},
    order::{OrderRow, Status},
};
use order_writer::desk;

use super::rig::{LANES, PARTITION, Promise, Rig, id, until};

const SHARD: &str = "shop_orders_00.db";

async fn bought(rig: &mut Rig, buyers: std::ops::RangeInclusive<u64>) -> Vec<OrderId> {
    let mut promised: Vec<Promise> = Vec::new();
    for buyer in buyers {
        promised.extend(rig.buy(LANES[0], buyer, false).await);
    }
    rig.until_rest().await;
    promised.into_iter().map(|promise| promise.order).collect()
}

async fn rows(rig: &Rig, orders: &[OrderId]) -> HashMap<OrderId, OrderRow> {
    rig.store.orders.find(orders).await.unwrap()
}

async fn sold(rig: &Rig) -> u64 {
    rig.store.ledger.lane(id(LANES[0])).await.unwrap().unwrap().offers[0].sold
}

async fn next_generation(rig: &Rig) {
    until("a generation begins", || async {
        rig.store.ledger.partition(PARTITION).await.unwrap().unwrap().generation == Generation(2)
    })
    .await;
}

/// Retention takes everything that is decided, but the record before the position.
async fn forget_decided(rig: &Rig) {
    rig.sql("log.db", "UPDATE records SET appended_at_ms = 0");
    rig.log.keep_from(PARTITION, rig.position().await);
    assert!(rig.log.purge().await.unwrap() > 0);
}

/// One shard is what it was before the first order.
fn restore_shard(rig: &Rig) {
    assert!(rig.sql(SHARD, "DELETE FROM orders_0") > 0);
    rig.sql(SHARD, "UPDATE progress SET log_offset = 1, record_id = 0");
}

fn count(rig: &Rig, file: &str, query: &str) -> i64 {
    let connection = rusqlite::Connection::open(rig.file(file)).unwrap();
    connection.query_row(query, (), |row| row.get(0)).unwrap()
}

/// Without what only the first row said.
fn outline(row: &OrderRow) -> OrderRow {
    let position = Position { generation: Generation(0), offset: 0, index: 0 };
    let (released, pay_by_ms) = (row.released.map(|_| position), row.pay_by_ms.map(|_| 0));
    OrderRow { position, released, pay_by_ms, reserved_at_ms: 0, ..row.clone() }
}

/// R15, fault 27: rows below the log's beginning come back from an open lane, live ones and
/// tombstones; what is still to be decided gets its own row; the partition goes on, and doing it
/// again changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn r14_rows_that_the_log_forgot_come_back_from_the_lanes() {
    let mut rig = Rig::open().await;
    let orders = bought(&mut rig, 1..=12).await;
    let shard = |order: &OrderId| rig.store.orders.map().home_of_order(*order).shard.0;
    let gone = *orders.iter().find(|order| shard(order) == 0).unwrap();
    desk::cancel(&rig.store.orders, &rig.store.ledger, gone).await.unwrap();
    until("its unit is back", || async { sold(&rig).await == 11 }).await;
    rig.until_rest().await;
    rig.stop().await;
    let before = rows(&rig, &orders).await;
    forget_decided(&rig).await;
    restore_shard(&rig);
    let lost = 12 - rows(&rig, &orders).await.len();
    let later = rig.buy(LANES[0], 13, false).await[0].order;
    for _ in 0..2 {
        rig.start();
        rig.until_rest().await;
        let after = rows(&rig, &orders).await;
        for (order, row) in &before {
            assert_eq!(outline(&after[order]), outline(row), "order {order}");
        }
        assert_eq!(rig.halts(), "");
        assert_eq!(rig.row(later).await.unwrap().position.index, 0, "by its own record");
        super::audit::all(&rig, 0).await;
        rig.stop().await;
        // The process died before it had noted that it was done.
        rig.sql("shop_ledger.db", "UPDATE losses SET done_at = 0");
    }
    let rebuilt = "SELECT count(*) FROM orders_0 WHERE position & 255 = 255";
    assert_eq!(count(&rig, SHARD, rebuilt), i64::try_from(lost).unwrap());
    assert_eq!(count(&rig, "shop_ledger.db", "SELECT count(*) FROM lost_orders"), 0);
    rig.close().await;
}

/// R15: lanes that are gone too tell nothing. The units are reported and stay sold, over a lost log
/// too; the partition goes on.
#[tokio::test(flavor = "multi_thread")]
async fn r14_what_no_row_and_no_lane_tells_of_stays_sold_and_is_reported() {
    let mut rig = Rig::open().await;
    let orders = bought(&mut rig, 1..=12).await;
    rig.stop().await;
    forget_decided(&rig).await;
    restore_shard(&rig);
    rig.restart().await;
    rig.until_rest().await;
    let lost = 12 - rows(&rig, &orders).await.len() as u64;
    assert!(lost > 0 && rig.halts().is_empty(), "{}", rig.halts());
    assert_eq!((sold(&rig).await, rig.view(LANES[0]).await.offers[0].1), (12, 5_000 - 12));
    let offer = rig.store.ledger.lane(id(LANES[0])).await.unwrap().unwrap().offers[0].offer;
    assert_eq!(rig.store.ledger.lost_units(PARTITION).await.unwrap(), [(offer, lost)]);
    let more = bought(&mut rig, 21..=22).await;
    assert_eq!((rows(&rig, &more).await.len(), sold(&rig).await), (2, 14));

    // The log begins anew: sold is derived from the rows, and what nobody knows is not put on sale.
    rig.stop().await;
    rig.sql("shop_ledger.db", "UPDATE partitions SET record_id = 4711");
    rig.start();
    next_generation(&rig).await;
    rig.until_rest().await;
    assert_eq!(sold(&rig).await, 14);
    rig.close().await;
}

/// R10: a ledger that was restored to before the log's beginning derives what is sold from the
/// rows.
#[tokio::test(flavor = "multi_thread")]
async fn r10_a_ledger_from_before_the_logs_beginning_starts_from_the_rows() {
    let mut rig = Rig::open().await;
    let orders = bought(&mut rig, 1..=6).await;
    rig.stop().await;
    let before = rows(&rig, &orders).await;
    forget_decided(&rig).await;
    rig.sql("shop_ledger.db", "UPDATE partitions SET log_offset = 2, record_id = 0");
    rig.sql("shop_ledger.db", "UPDATE offers SET sold = 0");
    rig.start();
    next_generation(&rig).await;
    rig.until_rest().await;
    assert_eq!((rows(&rig, &orders).await, sold(&rig).await), (before, 6));
    super::audit::all(&rig, 0).await;
    rig.close().await;
}

/// R10 and R15 together: log and shard are lost at once. The lanes still hold what the shard lost.
#[tokio::test(flavor = "multi_thread")]
async fn r14_a_shard_that_is_lost_with_the_log_comes_back_from_the_lanes() {
    let mut rig = Rig::open().await;
    let orders = bought(&mut rig, 1..=12).await;
    rig.stop().await;
    let before = rows(&rig, &orders).await;
    restore_shard(&rig);
    forget_decided(&rig).await;
    rig.sql("shop_ledger.db", "UPDATE partitions SET record_id = 4711");
    rig.start();
    next_generation(&rig).await;
    rig.until_rest().await;
    let after = rows(&rig, &orders).await;
    assert!(orders.iter().all(|order| outline(&after[order]) == outline(&before[order])), "{after:?}");
    assert!(after.values().all(|row| row.status == Status::PendingPayment));
    assert_eq!(sold(&rig).await, 12);
    super::audit::all(&rig, 0).await;
    rig.close().await;
}

/// R11: movements go with the records that they belong to, and no sooner.
#[tokio::test(flavor = "multi_thread")]
async fn r11_movements_go_with_their_records() {
    let mut rig = Rig::open().await;
    bought(&mut rig, 1..=6).await;
    rig.stop().await;
    let position = rig.position().await;
    let movements = |rig: &Rig| count(rig, "shop_ledger.db", "SELECT count(*) FROM movements");
    assert_eq!(movements(&rig), i64::try_from(position).unwrap());
    rig.start();
    rig.until_rest().await;
    assert_eq!(movements(&rig), i64::try_from(rig.position().await).unwrap(), "the log has all its records");
    rig.stop().await;
    forget_decided(&rig).await;
    rig.start();
    until("only that of the last record is left", || async { movements(&rig) == 1 }).await;
    rig.close().await;
}
