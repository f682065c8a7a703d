//! One damage each, and what the worker makes of it.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    id::{Epoch, LaneId, RecordId},
    order::{Reason, Status},
    record::{BATCH_TYPE, Record, Reservation},
};
use store::{log::Envelope, stock::LaneKeeping};

use super::rig::{LANES, Rig, id, until};

fn field(reservation: &Reservation) -> Bytes {
    let mut field = Vec::new();
    reservation.append_field(&mut field);
    field.into()
}

async fn promised(rig: &mut Rig, wishes: Vec<(Reservation, Bytes)>) -> (Vec<Reservation>, Envelope) {
    let (promised, envelope) = rig.promise(LANES[0], wishes).await.unwrap();
    (promised.into_iter().map(|promise| promise.reservation).collect(), envelope)
}

/// Failure point 17: one value that the database refuses costs its own reservation and nothing
/// else: neither those of its batch, nor those of its span, nor the partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_database_refuses_is_parked_alone() {
    let mut rig = Rig::open().await;
    for shard in ["shop_orders_00.db", "shop_orders_01.db"] {
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON orders_0 WHEN NEW.sku = 666 BEGIN SELECT RAISE(ABORT, 'no 666'); END";
        rig.sql(shard, refuse);
    }
    rig.stop().await;
    let mut wishes: Vec<Reservation> = (1..=12).map(|buyer| rig.reservation(LANES[0], id(buyer))).collect();
    wishes[4].sku = id(666);
    let wishes = wishes.into_iter().map(|reservation| (reservation.clone(), field(&reservation))).collect();
    let (reserved, envelope) = promised(&mut rig, wishes).await;
    rig.append(envelope).await;
    let later = rig.buy(LANES[0], 20, false).await;
    // The lane must not be rebuilt: what it gives back is asked for.
    rig.start();
    rig.until_decided().await;
    for (index, reservation) in reserved.iter().enumerate() {
        assert_eq!(rig.row(reservation.order).await.is_some(), index != 4, "reservation {index}");
    }
    assert_eq!(rig.row(later[0].order).await.unwrap().status, Status::PendingPayment);
    assert!(
        matches!(&rig.parked()[..], [cause] if cause.starts_with("reservation 4: order") && cause.contains("no 666"))
    );
    assert_eq!(rig.halts(), "");
    let view = rig.view(LANES[0]).await;
    assert_eq!(
        (view.offers[0].1, view.journal_len),
        (5_000 - 12, 0),
        "its unit is on sale again, its journal entry gone"
    );
    super::audit::all(&rig, 0).await;
    rig.close().await;
}

/// INV-7: an engine that took the lane for another tenant's promised to several at once. The others
/// are sold.
#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_of_another_tenant_is_rejected_alone() {
    let mut rig = Rig::open().await;
    let mut wishes: Vec<Reservation> = (1..=3).map(|buyer| rig.reservation(LANES[0], id(buyer))).collect();
    wishes[1].tenant = id(8);
    let wishes = wishes.into_iter().map(|reservation| (reservation.clone(), field(&reservation))).collect();
    let (reserved, envelope) = promised(&mut rig, wishes).await;
    rig.append(envelope).await;
    rig.until_decided().await;
    let mut became = Vec::new();
    for reservation in &reserved {
        let row = rig.row(reservation.order).await.unwrap();
        became.push((row.status, row.reason));
    }
    let sold = (Status::PendingPayment, None);
    assert_eq!(became, [sold, (Status::Rejected, Some(Reason::Foreign)), sold]);
    assert_eq!(rig.parked().len(), 1);
    assert_eq!(rig.is_open(LANES[0]).await, Some(Epoch(1)), "the lane kept its promises");
    assert_eq!(rig.view(LANES[0]).await.offers[0].1, 5_000 - 2);
    rig.close().await;
}

/// What no record is would be appended by sweepers for ever: the lane is rebuilt, and its journal
/// ends. A damaged copy of a sound entry leaves the lane alone, and the order is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_in_a_journal_ends_with_its_lane() {
    let mut rig = Rig::open().await;
    let reservation = rig.reservation(LANES[0], id(1));
    let sound = field(&reservation);
    let (_, journaled) = promised(&mut rig, vec![(reservation.clone(), sound)]).await;
    let mut copy = journaled.clone();
    copy.payload = copy.payload.slice(..copy.payload.len() - 9);
    rig.append(copy).await;
    rig.until_decided().await;
    rig.append(journaled).await;
    rig.until_decided().await;
    assert_eq!(rig.row(reservation.order).await.unwrap().status, Status::PendingPayment);
    assert_eq!((rig.parked().len(), rig.is_open(LANES[0]).await), (1, Some(Epoch(1))));

    let other = rig.reservation(LANES[0], id(2));
    let (_, journaled) = promised(&mut rig, vec![(other.clone(), Bytes::from_static(&[0x0a, 3, 1, 2, 3]))]).await;
    rig.append(journaled).await;
    until("the lane is rebuilt", || async { rig.is_open(LANES[0]).await == Some(Epoch(2)) }).await;
    rig.until_rest().await;
    assert_eq!(rig.row(other.order).await, None);
    super::audit::all(&rig, 0).await;
    assert_eq!(rig.halts(), "");
    rig.close().await;
}

/// R11 and fault 11: what a shard's rows were decided to must be known before they are written
/// again. A movement that is missing, or that says something unknown, is a contradiction: nothing
/// is written and nothing decided until people mended it, and then all goes on.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_their_decisions_are_not_written_again() {
    let mut rig = Rig::open().await;
    let mut orders = Vec::new();
    for buyer in 1..=9 {
        orders.extend(rig.buy(LANES[0], buyer, false).await.into_iter().map(|promise| promise.order));
    }
    rig.append(Envelope { id: id(7), kind: BATCH_TYPE, payload: Bytes::from_static(&[0xff]) }).await;
    rig.until_rest().await;
    rig.stop().await;
    let found = rig.store.orders.find(&orders).await.unwrap();
    let lost = rig.sql("shop_orders_00.db", "DELETE FROM orders_0");
    assert!(lost > 0 && lost < orders.len(), "{lost}");
    rig.sql("shop_orders_00.db", "UPDATE progress SET log_offset = 0, record_id = 0");
    rig.sql("shop_ledger.db", "CREATE TABLE kept AS SELECT * FROM movements");
    let damages = [
        ("DELETE FROM movements WHERE length(decisions) = 1", "has no movement"),
        ("UPDATE movements SET decisions = x'09' WHERE length(decisions) = 1", "does not fit"),
        ("UPDATE movements SET decisions = x'0101' WHERE length(decisions) = 1", "does not fit"),
    ];
    for (damage, word) in damages {
        assert!(rig.sql("shop_ledger.db", damage) > 0);
        let before = rig.position().await;
        rig.start();
        until("the shard is set aside", || async { rig.halts().contains("contradiction") }).await;
        until("the probe says so", || async { rig.readiness.reason().contains(word) }).await;
        let told = rig.readiness.reason();
        assert!(told.contains("partition 0") && told.contains("shard 0") && told.contains("Restore"), "{told}");
        assert_eq!(rig.store.orders.find(&orders).await.unwrap().len(), orders.len() - lost, "nothing is written");
        assert_eq!(rig.position().await, before);
        rig.stop().await;
        rig.sql("shop_ledger.db", "DELETE FROM movements");
        rig.sql("shop_ledger.db", "INSERT INTO movements SELECT * FROM kept");
    }
    rig.restart().await;
    rig.until_rest().await;
    assert_eq!(rig.store.orders.find(&orders).await.unwrap(), found);
    super::audit::all(&rig, 0).await;
    rig.close().await;
}

/// Fault 12: a record of a newer program stops the partition. What stands before it is decided, and
/// the probe names partition and cause.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_waits_is_told_by_the_probe() {
    let mut rig = Rig::open().await;
    until("nothing is wrong", || async { rig.readiness.is_ready() }).await;
    rig.stop().await;
    let before = rig.buy(LANES[0], 1, false).await;
    rig.append(Envelope { id: id::<RecordId>(8), kind: "flashsale.tomorrow.v9", payload: Bytes::from_static(&[1]) })
        .await;
    let behind = rig.buy(LANES[0], 2, false).await;
    rig.start();
    until("what stands before it is decided", || async { rig.row(before[0].order).await.is_some() }).await;
    until("the probe says so", || async { !rig.readiness.reason().is_empty() && !rig.readiness.is_ready() }).await;
    let told = rig.readiness.reason();
    assert!(
        told.starts_with("partition 0 has not been decided for") && told.contains("flashsale.tomorrow.v9"),
        "{told}"
    );
    assert_eq!(rig.row(behind[0].order).await, None);
    rig.close().await;
}

/// An epoch that no keeper can have asked for would leave its lane none to be rebuilt under, and
/// the ledger could not hold it.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_beyond_all_bounds_is_parked() {
    let mut rig = Rig::open().await;
    let lane: LaneId = id(LANES[0]);
    for epoch in [u64::MAX, i64::MAX as u64, Epoch::MAX.0] {
        let record = Record::EpochOpened { lane, epoch: Epoch(epoch) };
        rig.append(Envelope { id: id(epoch >> 1), kind: record.kind(), payload: record.encode().into() }).await;
    }
    let promise = rig.until_buys(LANES[0]).await;
    rig.until_decided().await;
    assert_eq!(rig.row(promise.order).await.unwrap().status, Status::PendingPayment);
    assert_eq!((rig.parked().len(), rig.halts().as_str()), (3, ""));
    assert!(rig.keeping.journal(lane).await.unwrap().is_empty());
    tokio::time::timeout(Duration::from_secs(60), rig.close()).await.unwrap();
}
