//! Releases: what the log carries of them, whom they wait for, and how they end.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use domain::{
    id::{ID_MAX, OrderId, PartitionId, RecordId},
    order::{OrderRow, Status, Transition},
    record::{RELEASED_TYPE, Record, Released, Topic},
    shard::ShardId,
};
use order_writer::desk;
use rusqlite::Connection;
use store::{
    log::Envelope,
    orders::{Marked, OutboxRow},
};

use super::{
    audit, events,
    rig::{LANES, PARTITION, Promise, Rig, id, offer_of, until},
    unpaid::{an_expiry_goes_on_where_it_was_ended, unpaid},
};

const SHARDS: [&str; 2] = ["shop_orders_00.db", "shop_orders_01.db"];
const LEDGER: &str = "shop_ledger.db";

impl Rig {
    /// A copy of a database, as it is now.
    fn copy(&self, file: &str) {
        let copy = self.file(&format!("{file}.copy"));
        std::fs::remove_file(&copy).ok();
        let connection = Connection::open(self.file(file)).unwrap();
        connection.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    }

    /// The database as it was when it was copied.
    fn put_back(&self, file: &str) {
        let connection = Connection::open(self.file(file)).unwrap();
        connection.busy_timeout(Duration::from_secs(60)).unwrap();
        let copy = self.file(&format!("{file}.copy"));
        connection.execute("ATTACH ?1 AS kept", [copy.to_str().unwrap()]).unwrap();
        let names = "SELECT name FROM kept.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
        let mut names = connection.prepare(names).unwrap();
        let names: Vec<String> = names.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let each =
            |name: &String| format!("DELETE FROM main.{name}; INSERT INTO main.{name} SELECT * FROM kept.{name};");
        let all: String = names.iter().map(each).collect();
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {all} COMMIT")).unwrap();
    }

    async fn cancel(&self, order: OrderId) {
        desk::cancel(&self.store.orders, &self.store.ledger, order).await.unwrap();
    }

    async fn outbox_is_empty(&self) -> bool {
        let mut partitions = Vec::new();
        for shard in [0, 1].map(ShardId) {
            partitions.extend(self.store.orders.outbox_partitions(shard).await.unwrap());
        }
        partitions.is_empty()
    }

    async fn statuses(&self, orders: &[Promise]) -> Vec<(Status, bool)> {
        let mut found = Vec::new();
        for promise in orders {
            let row = self.row(promise.order).await;
            found.push(row.map_or((Status::Rejected, false), |row| (row.status, row.released.is_some())));
        }
        found
    }
}

/// Fault 24, R8 and R11: databases that come back as they were before the marks, one by one and all
/// together, get them from the log with the releases. What was not relayed before a database lost
/// it never happened.
#[tokio::test(flavor = "multi_thread")]
async fn r8_a_cancelled_order_stays_cancelled_when_a_database_loses_its_tail() {
    for files in [&SHARDS[..1], &SHARDS[1..], &SHARDS, &[LEDGER], &[SHARDS[0], SHARDS[1], LEDGER]] {
        let mut rig = Rig::open().await;
        let mut sold = Vec::new();
        for buyer in 1..=8 {
            sold.extend(rig.buy(LANES[0], buyer, false).await);
        }
        rig.until_rest().await;
        rig.stop().await;
        files.iter().for_each(|file| rig.copy(file));
        rig.start();
        for promise in &sold[..4] {
            rig.cancel(promise.order).await;
        }
        until("the releases are decided", || async { rig.outbox_is_empty().await }).await;
        let before = rig.statuses(&sold).await;
        assert_eq!(before, [[(Status::Cancelled, true); 4], [(Status::PendingPayment, false); 4]].concat());
        rig.until_rest().await;
        rig.stop().await;
        // Marked, and lost with its outbox row before anybody relayed it.
        if files == &SHARDS[..] {
            rig.cancel(sold[7].order).await;
        }
        files.iter().for_each(|file| rig.put_back(file));
        rig.restart().await;
        until("the cancelled orders are cancelled again", || async { rig.statuses(&sold).await == before }).await;
        rig.until_rest().await;
        audit::all(&rig, 0).await;
        assert_eq!((rig.parked().len(), rig.halts().as_str()), (0, ""), "{files:?}");
        rig.close().await;
    }
}

/// Whoever marks first is told so: a release that says otherwise of a row that gives back already
/// gives its units back once and leaves the row as it is. One that its row contradicts by a payment
/// is parked.
#[tokio::test(flavor = "multi_thread")]
async fn r8_a_mark_that_stands_is_not_overwritten() {
    let mut rig = Rig::open().await;
    let mut sold = Vec::new();
    for buyer in 1..=2 {
        sold.extend(rig.buy(LANES[0], buyer, false).await);
    }
    rig.until_rest().await;
    let release = |promise: &Promise| {
        let r = &promise.reservation;
        let (lane, key) = (id(promise.lane), r.key);
        let became = Some(Status::Expired);
        Record::Released(Released { lane, order: r.order, buyer: r.buyer, offer: r.offer, quantity: 1, key, became })
    };
    for (promise, way) in sold.iter().zip([Transition::Cancel, Transition::Pay]) {
        let marked = rig.store.orders.mark(promise.order, way, None).await.unwrap();
        assert_eq!(marked, Marked::Done);
        let record = release(promise);
        rig.append(Envelope { id: id(promise.buyer.get()), kind: record.kind(), payload: record.encode().into() })
            .await;
    }
    rig.until_decided().await;
    assert_eq!(rig.statuses(&sold).await, [(Status::Cancelled, true), (Status::Paid, false)]);
    events::tell_what_the_rows_say(&rig, &LANES, 0).await;
    assert!(matches!(&rig.parked()[..], [cause] if cause.ends_with("which is paid")), "{:?}", rig.parked());
    rig.until_rest().await;
    audit::all(&rig, 0).await;
    rig.close().await;
}

/// Fault 26: thousands of releases of a partition that waits for a newer program delay nobody
/// else's, whatever their ids are; each of them is in its log once.
#[tokio::test(flavor = "multi_thread")]
async fn releases_of_a_partition_that_waits_delay_no_other() {
    const COUNT: u64 = 3_000;
    let mut rig = Rig::open_over_two().await;
    let sold = rig.buy(LANES[1], 1, false).await.remove(0);
    until("its row is there", || async { rig.row(sold.order).await.is_some() }).await;
    rig.append(Envelope { id: id(8), kind: "flashsale.tomorrow.v9", payload: Bytes::from_static(&[1]) }).await;
    until("the first partition waits", || async { rig.halts().contains("newer_record") }).await;
    let (position, high) = (rig.position().await, rig.high().await);
    let lane = (id(LANES[0]), id(offer_of(LANES[0])));
    unpaid(&rig.store.orders, lane, 1..COUNT + 1).await;
    let watch = |_: &desk::Expiry| ControlFlow::Continue(());
    let (orders, ledger) = (&rig.store.orders, &rig.store.ledger);
    let expired = desk::expire(orders, ledger, Some(Duration::from_secs(300)), watch).await.unwrap();
    assert_eq!(expired.expired, COUNT);
    let row = rig.row(sold.order).await.unwrap();
    // Behind all others by its id.
    let release = OutboxRow { id: id(ID_MAX), partition: rig.last, ..outbox_row(&row, row.quantity) };
    let marked = orders.mark(row.order, Transition::Cancel, Some(release)).await.unwrap();
    assert_eq!(marked, Marked::Done);
    until("its release is decided", || async { rig.row(row.order).await.unwrap().released.is_some() }).await;
    until("only the first partition has releases left", || async {
        let of = [0, 1].map(|shard| orders.outbox_partitions(ShardId(shard)));
        let [first, second] = of;
        (first.await.unwrap(), second.await.unwrap()) == (vec![PARTITION], vec![PARTITION])
    })
    .await;
    until("each is in the log", || async { rig.high().await == high + COUNT }).await;
    // Some more rounds: nothing is appended again while it waits.
    let other = rig.buy(LANES[1], 2, false).await.remove(0);
    until("another row is there", || async { rig.row(other.order).await.is_some() }).await;
    rig.cancel(other.order).await;
    until("its release is decided", || async { rig.row(other.order).await.unwrap().released.is_some() }).await;
    assert_eq!((rig.position().await, rig.high().await), (position, high + COUNT));
    assert_eq!(rig.figure("flashsale_releases_relayed_total"), (COUNT + 2).to_string());
    rig.close().await;
}

/// Fault 26: a release that is parked leaves the outbox: it is in the dead letters, told, and not
/// appended for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_release_ends_its_outbox_row() {
    let mut rig = Rig::open().await;
    let sold = rig.buy(LANES[0], 1, false).await.remove(0);
    rig.until_rest().await;
    let row = rig.row(sold.order).await.unwrap();
    let wrong = outbox_row(&row, 2);
    let marked = rig.store.orders.mark(row.order, Transition::Cancel, Some(wrong)).await.unwrap();
    assert_eq!(marked, Marked::Done);
    until("the outbox is empty", || async { rig.outbox_is_empty().await }).await;
    assert!(rig.parked().iter().all(|cause| cause.ends_with("whose row says otherwise")), "{:?}", rig.parked());
    assert_eq!((rig.parked().len(), rig.figure("flashsale_releases_parked_total").as_str()), (2, "1"));
    assert_eq!(rig.statuses(&[sold]).await, [(Status::Cancelled, false)]);
    audit::all(&rig, 0).await;
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_goes_on_where_it_was_ended_or_killed() {
    let mut rig = Rig::open().await;
    rig.stop().await;
    an_expiry_goes_on_where_it_was_ended(&rig.store, (id(LANES[0]), id(offer_of(LANES[0])))).await;
    rig.close().await;
}

fn outbox_row(row: &OrderRow, quantity: u32) -> OutboxRow {
    let OrderRow { lane, order, buyer, offer, key, .. } = *row;
    let released = Released { lane, order, buyer, offer, quantity, key, became: Some(Status::Cancelled) };
    let (id, partition): (RecordId, PartitionId) = (id(77), PARTITION);
    let (kind, topic) = (RELEASED_TYPE.into(), Topic::Orders.name().into());
    let payload = Record::Released(released).encode().into();
    OutboxRow { id, order, lane, partition, kind, topic, payload }
}
