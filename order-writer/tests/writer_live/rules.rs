//! The rules of opening, deciding, releasing and changing allotments.

use std::time::Duration;

use domain::{
    id::{BatchId, Epoch, RecordId},
    order::{Reason, Status, Transition},
    record::{AllotmentChange, Record, Released},
    stock::ReserveReply,
};
use order_writer::desk;
use store::{log::Envelope, orders::Marked, stock::LaneKeeping};

use super::rig::{Rig, until};

/// The way of a purchase below HTTP: a lane opens by itself, promises become rows, ledger and lane
/// agree (INV-4).
#[tokio::test]
async fn promises_become_rows() {
    let rig = Rig::open(10, 1).await;
    let promises = rig.buy(Epoch(1), &[1, 2, 3]).await;
    for promise in &promises {
        let row = rig.until_row(promise.order).await;
        assert_eq!((row.buyer, row.status, row.quantity), (promise.buyer, Status::PendingPayment, 1));
    }
    rig.until_at_rest(3).await;
    rig.close().await;
}

/// Decide rule 2: the same batch twice in the log counts once, in one span and in two.
#[tokio::test]
async fn a_batch_appended_twice_counts_once() {
    let rig = Rig::open(10, 1).await;
    let promises = rig.promise(Epoch(1), &[1, 2]).await;
    rig.append(promises[0].batch.clone()).await;
    rig.append(promises[0].batch.clone()).await;
    rig.until_at_rest(2).await;
    rig.append(promises[0].batch.clone()).await;
    let more = rig.buy(Epoch(1), &[3]).await;
    rig.until_row(more[0].order).await;
    rig.until_at_rest(3).await;
    rig.close().await;
}

/// Limits above one are decided by the rows: several purchases of a buyer, each with its own
/// number.
#[tokio::test]
async fn a_buyer_may_buy_up_to_the_limit() {
    let rig = Rig::open(10, 2).await;
    let first = rig.buy(Epoch(1), &[1]).await;
    let request = rig.request(1, "another key", 1);
    let batch = domain::id::BatchId::new(request.order.get()).unwrap();
    let replies = rig.reserve(Epoch(1), batch, std::slice::from_ref(&request)).await;
    assert_eq!(replies, [domain::stock::ReserveReply::Reserved(domain::id::PurchaseNumber(2))]);
    let journal = rig.keeping.journal(rig.lane).await.unwrap();
    let (_, payload) = journal.into_iter().find(|(id, _)| *id == batch).unwrap();
    let id = RecordId::new(batch.get()).unwrap();
    rig.append(Envelope { id, kind: domain::record::BATCH_TYPE, payload }).await;
    rig.until_row(first[0].order).await;
    assert_eq!(rig.until_row(request.order).await.status, Status::PendingPayment);
    rig.until_at_rest(2).await;
    rig.close().await;
}

/// R1 and R8: a cancelled order gives its unit back exactly once, however often its release is
/// relayed; its outbox row is gone only when the ledger has passed the release. R6: its key still
/// answers with it.
#[tokio::test]
async fn a_cancelled_order_gives_back_once() {
    let rig = Rig::open(10, 1).await;
    let order = rig.buy(Epoch(1), &[1, 2]).await[0].order;
    rig.until_at_rest(2).await;
    desk::cancel(&rig.store.orders, &rig.store.ledger, order).await.unwrap();
    rig.until_at_rest(1).await;
    let row = rig.row(order).await.unwrap();
    assert_eq!((row.status, row.number, row.released.is_some()), (Status::Cancelled, None, true));
    until("the outbox is empty", || async {
        rig.store.orders.outbox(domain::shard::ShardId(0), 10).await.unwrap().is_empty()
            && rig.store.orders.outbox(domain::shard::ShardId(1), 10).await.unwrap().is_empty()
    })
    .await;
    let released =
        Released { lane: rig.lane, order, buyer: row.buyer, offer: row.offer, quantity: 1, key: row.key, became: None };
    let record = Record::Released(released);
    let again = Envelope { id: RecordId::new(99).unwrap(), kind: record.kind(), payload: record.encode().into() };
    rig.append(again).await;
    let other = rig.buy(Epoch(1), &[3]).await;
    rig.until_row(other[0].order).await;
    rig.until_at_rest(2).await;
    assert_eq!(rig.row(order).await.unwrap().released, row.released, "R1: set once");
    let late = rig.request(1, "key", 1);
    let batch = domain::id::BatchId::new(late.order.get()).unwrap();
    let replies = rig.reserve(Epoch(1), batch, &[late]).await;
    assert_eq!(replies, [domain::stock::ReserveReply::Released { order }]);
    rig.close().await;
}

/// Expiry is decided by the database's clock and leaves others alone.
#[tokio::test]
async fn unpaid_orders_expire() {
    let rig = Rig::open(10, 1).await;
    let order = rig.buy(Epoch(1), &[1]).await[0].order;
    rig.until_at_rest(1).await;
    let hour = Duration::from_secs(3_600);
    assert_eq!(rig.expire(hour).await, 0);
    until("the order is overdue", || async { rig.expire(Duration::ZERO).await == 1 }).await;
    rig.until_at_rest(0).await;
    assert_eq!(rig.row(order).await.unwrap().status, Status::Expired);
    rig.close().await;
}

/// R3: Redis comes back under another run with all its data. The lane is closed by itself; the
/// journal is drained before the next epoch, so what was promised and not yet in the log is sold.
#[tokio::test]
async fn a_rebuild_drains_the_journal() {
    let rig = Rig::open(10, 1).await;
    rig.buy(Epoch(1), &[1]).await;
    let stranded = rig.promise(Epoch(1), &[2]).await;
    rig.restart_run().await;
    rig.until_open(Epoch(2)).await;
    assert_eq!(rig.until_row(stranded[0].order).await.status, Status::PendingPayment);
    rig.until_at_rest(2).await;
    rig.close().await;
}

/// R3: a promise that Redis lost and whose record comes after the next epoch's is superseded:
/// visibly rejected, never sold twice.
#[tokio::test]
async fn a_late_record_of_an_old_epoch_is_superseded() {
    let rig = Rig::open(1, 1).await;
    let lost = rig.promise(Epoch(1), &[1]).await;
    rig.lose_lane().await;
    rig.until_open(Epoch(2)).await;
    let sold = rig.buy(Epoch(2), &[2]).await;
    rig.append(lost[0].batch.clone()).await;
    let row = rig.until_row(lost[0].order).await;
    assert_eq!((row.status, row.reason), (Status::Rejected, Some(Reason::Superseded)));
    assert_eq!(rig.until_row(sold[0].order).await.status, Status::PendingPayment);
    rig.until_at_rest(1).await;
    rig.close().await;
}

/// R5: for a rebuild a row is live until its release is decided, whatever its status: its unit and
/// its buyer's limit stay taken.
#[tokio::test]
async fn a_rebuild_counts_a_cancelled_row_until_it_is_released() {
    let rig = Rig::open(10, 1).await;
    let order = rig.buy(Epoch(1), &[1]).await[0].order;
    rig.until_at_rest(1).await;
    let marked = rig.store.orders.mark(order, Transition::Cancel, None).await.unwrap();
    assert_eq!(marked, Marked::Done);
    rig.lose_lane().await;
    rig.until_open(Epoch(2)).await;
    assert_eq!(rig.left().await, 9);
    let buyers = rig.keeping.buyers(rig.lane).await.unwrap();
    assert!(buyers.iter().any(|(_, purchases)| purchases.iter().any(|p| p.order == order && p.number.is_some())));
    rig.close().await;
}

/// R1: what is released while its lane is loaded is on sale when the lane opens, and its key keeps
/// its order.
#[tokio::test]
async fn r1_a_release_during_a_load_is_not_forgotten() {
    let rig = Rig::open(10, 1).await;
    let orders = rig.buy(Epoch(1), &[1, 2, 3]).await;
    rig.until_at_rest(3).await;
    rig.gate.hold(rig.lane);
    rig.lose_lane().await;
    until("the load waits", || async { rig.gate.waiting() > 0 }).await;
    rig.cancel(&[orders[1].order]).await;
    until("the release is decided", || async { rig.ledger().await.sold == 2 }).await;
    rig.gate.let_go(rig.lane);
    rig.until_open(Epoch(2)).await;
    rig.until_at_rest(2).await;
    let late = rig.request(2, "key", 1);
    let batch = domain::id::BatchId::new(late.order.get()).unwrap();
    let replies = rig.reserve(Epoch(2), batch, &[late]).await;
    assert_eq!(replies, [domain::stock::ReserveReply::Released { order: orders[1].order }]);
    rig.close().await;
}

/// R9: ten of ten sold, five published: units that come back serve the reduction, not the next
/// buyer, whatever happens to lane and worker meanwhile; below the target they are sold again.
#[tokio::test]
async fn r9_returned_units_serve_a_reduction_before_the_next_buyer() {
    let mut rig = Rig::open(10, 1).await;
    let orders: Vec<_> = rig.buy(Epoch(1), &(1..=10).collect::<Vec<_>>()).await.iter().map(|p| p.order).collect();
    rig.until_at_rest(10).await;
    rig.publish(2, 5, 1);
    rig.until_numbers(10, 10, 5).await;
    rig.cancel(&orders[..3]).await;
    rig.until_numbers(7, 7, 5).await;
    // Redis loses everything, and the worker what it held.
    rig.lose_lane().await;
    rig.until_open(Epoch(2)).await;
    rig.until_numbers(7, 7, 5).await;
    rig.stop().await;
    rig.cancel(&orders[3..5]).await;
    rig.start();
    rig.until_numbers(5, 5, 5).await;
    rig.cancel(&orders[5..6]).await;
    rig.until_numbers(4, 5, 5).await;
    rig.buy(Epoch(2), &[11]).await;
    rig.until_numbers(5, 5, 5).await;
    rig.close().await;
}

/// R9: a program that knew no targets decided the reduction, and forgot what it could not take: the
/// same version is asked for again.
#[tokio::test]
async fn r9_a_target_that_an_older_program_forgot_is_asked_for_again() {
    let mut rig = Rig::open(10, 1).await;
    let orders: Vec<_> = rig.buy(Epoch(1), &(1..=10).collect::<Vec<_>>()).await.iter().map(|p| p.order).collect();
    rig.until_at_rest(10).await;
    rig.stop().await;
    let (lane, offer, epoch) = (rig.lane, rig.offer, Epoch(1));
    let older = AllotmentChange { lane, offer, sale_version: 2, delta: 0, target: None, epoch, after: 0 };
    let record = Record::AllotmentChanged(older);
    rig.append(Envelope { id: RecordId::new(98).unwrap(), kind: record.kind(), payload: record.encode().into() }).await;
    rig.publish(2, 5, 1);
    rig.start();
    rig.until_numbers(10, 10, 5).await;
    assert_eq!(rig.ledger().await.sale_version, 2);
    rig.cancel(&orders[..1]).await;
    rig.until_numbers(9, 9, 5).await;
    rig.close().await;
}

/// R9: a larger allotment is on sale after its record; a smaller one takes only what is free.
#[tokio::test]
async fn allotments_change_by_record() {
    let rig = Rig::open(10, 1).await;
    rig.buy(Epoch(1), &[1, 2, 3]).await;
    rig.until_at_rest(3).await;
    rig.publish(2, 15, 1);
    until("five more units are on sale", || async { rig.ledger().await.allotment == 15 && rig.left().await == 12 })
        .await;
    rig.publish(3, 2, 1);
    until("all free units are withdrawn", || async { rig.ledger().await.allotment == 3 && rig.left().await == 0 })
        .await;
    rig.until_at_rest(3).await;
    rig.close().await;
}

/// R16: more a buyer after the record; fewer first in the lane, and what it promised before, with
/// its record on no log yet, is accepted.
#[tokio::test]
async fn r16_a_limit_changes_by_record_while_the_lane_sells() {
    let rig = Rig::open(20, 1).await;
    let in_force = |limit| {
        let rig = &rig;
        until("the limit is in force", move || async move {
            let decided = rig.store.ledger.lane(rig.lane).await.unwrap().unwrap().limit_per_buyer;
            (decided, rig.keeping.inspect(rig.lane).await.unwrap().limit_per_buyer) == (limit, limit)
        })
    };
    let wish = async |number, key| {
        let request = rig.request(number, key, 1);
        let batch = BatchId::new(request.order.get()).unwrap();
        (rig.reserve(Epoch(1), batch, std::slice::from_ref(&request)).await.remove(0), request.order)
    };
    rig.buy(Epoch(1), &[1, 2]).await;
    assert!(matches!(wish(1, "second").await.0, ReserveReply::LimitReached { held: 1 }));
    rig.publish(2, 20, 2);
    in_force(2).await;
    let (reply, stranded) = wish(1, "second").await;
    assert!(matches!(reply, ReserveReply::Reserved(_)), "{reply:?}");
    rig.publish(3, 20, 1);
    in_force(1).await;
    assert_eq!(rig.until_row(stranded).await.reason, None, "promised under the higher limit");
    assert!(matches!(wish(2, "second").await.0, ReserveReply::LimitReached { held: 1 }));
    rig.until_at_rest(3).await;
    assert_eq!(rig.figure("flashsale_broken_promises_total"), "0");
    rig.close().await;
}
