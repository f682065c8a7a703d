//! Losses: of log records, of a shard's tail; records that cannot be decided.

use domain::{
    id::{Epoch, Generation, RecordId},
    order::Status,
    record::{AllotmentChange, Record, Released},
};
use mysql_async::prelude::Queryable;
use order_writer::desk;
use store::{
    log::{Envelope, kafka::ensure_topics},
    orders::Progress,
};

use super::rig::{PARTITION, Rig, env, until};

/// R10: the topic is lost and made anew. The writer sees another genesis, starts a new generation,
/// derives sold from the rows, and what was promised and only in the lost log comes back from the
/// journal. Nothing is sold twice.
#[tokio::test]
async fn a_lost_log_starts_a_new_generation() {
    let mut rig = Rig::open(10, 1).await;
    rig.buy(Epoch(1), &[1, 2]).await;
    rig.until_at_rest(2).await;
    rig.stop().await;
    let acknowledged = rig.buy(Epoch(1), &[3]).await;
    rig.delete_topics().await;
    until("the topics are there again", || async { ensure_topics(&rig.kafka).await.is_ok() }).await;
    rig.start();
    rig.until_open(Epoch(2)).await;
    assert_eq!(rig.until_row(acknowledged[0].order).await.status, Status::PendingPayment);
    rig.until_at_rest(3).await;
    let row = rig.store.ledger.partition(PARTITION).await.unwrap().unwrap();
    assert_eq!(row.generation, Generation(2));
    rig.close().await;
}

/// R5, fault 21: a sale that was to open in three hours is opened now. When Redis loses the lane, a
/// repeat gets its order, and when the log is lost too, the units sold are still counted.
#[tokio::test]
async fn r5_a_sale_brought_forward_is_not_sold_twice() {
    let mut rig = Rig::open_in(3 * 3_600_000, 10, 1).await;
    rig.publish(2, 10, 1);
    let sold = rig.buy(Epoch(1), &[1, 2, 3, 4, 5, 6]).await;
    rig.until_at_rest(6).await;
    rig.lose_lane().await;
    rig.until_open(Epoch(2)).await;
    let again = rig.request(1, "key", 1);
    let replies = rig.reserve(Epoch(2), domain::id::BatchId::new(again.order.get()).unwrap(), &[again]).await;
    assert!(
        matches!(replies[..], [domain::stock::ReserveReply::Repeat { order, .. }] if order == sold[0].order),
        "{replies:?}"
    );
    rig.stop().await;
    rig.lose_lane().await;
    rig.delete_topics().await;
    until("the topics are there again", || async { ensure_topics(&rig.kafka).await.is_ok() }).await;
    rig.start();
    rig.until_open(Epoch(3)).await;
    assert_eq!((rig.left().await, rig.ledger().await.sold), (4, 6));
    rig.close().await;
}

/// R9 and R10: the log is lost in the middle of a reduction, with a release whose row was written
/// and whose commit was not. The target stands in the ledger; what the lost commit would have
/// retired is not sold by the lane's next epoch either.
#[tokio::test]
async fn r9_a_lost_log_forgets_no_reduction() {
    let mut rig = Rig::open(10, 1).await;
    let orders: Vec<_> = rig.buy(Epoch(1), &(1..=10).collect::<Vec<_>>()).await.iter().map(|p| p.order).collect();
    rig.until_at_rest(10).await;
    rig.publish(2, 5, 1);
    rig.until_numbers(10, 10, 5).await;
    rig.cancel(&orders[..2]).await;
    rig.until_numbers(8, 8, 5).await;
    rig.stop().await;
    // The ledger as it was before the last release.
    let mut ledger =
        mysql_async::Conn::from_url(format!("{}/{}_ledger", env("FLASHSALE_MYSQL_URL"), rig.namespace)).await.unwrap();
    ledger.query_drop("UPDATE offers SET sold = sold + 1, allotment = allotment + 1").await.unwrap();
    rig.delete_topics().await;
    until("the topics are there again", || async { ensure_topics(&rig.kafka).await.is_ok() }).await;
    rig.start();
    rig.until_open(Epoch(2)).await;
    rig.until_numbers(8, 8, 5).await;
    rig.cancel(&orders[2..6]).await;
    rig.until_numbers(4, 5, 5).await;
    rig.close().await;
}

/// R11: a shard comes back without its tail. Its rows are written again with the decisions that
/// were made, before anything else.
#[tokio::test]
async fn a_shard_that_lost_its_tail_gets_its_rows_again() {
    let mut rig = Rig::open(20, 1).await;
    let buyers: Vec<u64> = (1..=12).collect();
    let promises = rig.buy(Epoch(1), &buyers).await;
    rig.until_at_rest(12).await;
    rig.stop().await;
    let before = rig.store.orders.find(&promises.iter().map(|p| p.order).collect::<Vec<_>>()).await.unwrap();
    let mut shard = mysql_async::Conn::from_url(format!("{}/{}_orders_00", env("FLASHSALE_MYSQL_URL"), rig.namespace))
        .await
        .unwrap();
    for table in ["orders_0", "orders_1"] {
        shard.query_drop(format!("DELETE FROM {table}")).await.unwrap();
    }
    shard.query_drop("UPDATE progress SET log_offset = 0, record_id = 0").await.unwrap();
    let left = rig.store.orders.find(&promises.iter().map(|p| p.order).collect::<Vec<_>>()).await.unwrap();
    assert!(left.len() < before.len(), "the shard had rows to lose");
    rig.start();
    until("all rows are there again", || async {
        rig.store.orders.find(&promises.iter().map(|p| p.order).collect::<Vec<_>>()).await.unwrap() == before
    })
    .await;
    rig.until_at_rest(12).await;
    rig.close().await;
}

/// R2: a writer whose shard was moved by another one writes nothing and reads everything anew.
#[tokio::test]
async fn a_fenced_writer_resumes() {
    let rig = Rig::open(10, 1).await;
    let first = rig.buy(Epoch(1), &[1]).await;
    rig.until_row(first[0].order).await;
    rig.until_at_rest(1).await;
    let found = rig.store.orders.progress(PARTITION).await.unwrap();
    let moved = found[0].unwrap();
    let away = Progress { record: RecordId::new(4711).ok(), ..moved };
    assert!(rig.store.orders.move_progress(domain::shard::ShardId(0), PARTITION, moved, away).await.unwrap());
    let second = rig.buy(Epoch(1), &[2]).await;
    assert_eq!(rig.until_row(second[0].order).await.status, Status::PendingPayment);
    rig.until_at_rest(2).await;
    rig.close().await;
}

/// Failure point 17: a damaged record is parked and the partition moves on.
#[tokio::test]
async fn a_damaged_record_does_not_block_the_line() {
    let rig = Rig::open(10, 1).await;
    let garbage = vec![0xff; 40].into();
    rig.append(Envelope { id: RecordId::new(7).unwrap(), kind: domain::record::BATCH_TYPE, payload: garbage }).await;
    let promises = rig.buy(Epoch(1), &[1]).await;
    rig.until_row(promises[0].order).await;
    rig.until_at_rest(1).await;
    rig.close().await;
}

/// An unknown record type is a newer program's: the partition stops before it and decides nothing
/// behind it.
#[tokio::test]
async fn an_unknown_record_type_stops_the_partition() {
    let rig = Rig::open(10, 1).await;
    rig.buy(Epoch(1), &[1]).await;
    rig.until_at_rest(1).await;
    let before = rig.store.ledger.partition(PARTITION).await.unwrap().unwrap();
    rig.append(Envelope { id: RecordId::new(8).unwrap(), kind: "flashsale.tomorrow.v9", payload: vec![1].into() })
        .await;
    let behind = rig.buy(Epoch(1), &[2]).await;
    // The worker has ended its work when the lane is no longer looked at; its position tells.
    until("the worker has met the record", || async { rig.has_stopped() }).await;
    assert_eq!(rig.store.ledger.partition(PARTITION).await.unwrap().unwrap(), before);
    assert_eq!(rig.row(behind[0].order).await, None);
    rig.close().await;
}

/// Failure point 17: one value that the database refuses costs its own reservation, and nothing
/// else of its batch or span.
#[tokio::test]
async fn a_row_that_the_database_refuses_is_parked_alone() {
    let mut rig = Rig::open(20, 1).await;
    rig.stop().await;
    for shard in ["orders_00", "orders_01"] {
        let url = format!("{}/{}_{shard}", env("FLASHSALE_MYSQL_URL"), rig.namespace);
        let mut shard = mysql_async::Conn::from_url(url).await.unwrap();
        for table in ["orders_0", "orders_1"] {
            shard.query_drop(format!("ALTER TABLE {table} ADD CONSTRAINT no_5 CHECK (buyer <> 5)")).await.unwrap();
        }
    }
    let buyers: Vec<u64> = (1..=9).collect();
    let promises = rig.buy(Epoch(1), &buyers).await;
    let later = rig.buy(Epoch(1), &[10]).await;
    rig.start();
    rig.until_row(later[0].order).await;
    rig.until_at_rest(9).await;
    for (promise, buyer) in promises.iter().zip(buyers) {
        assert_eq!(rig.row(promise.order).await.is_some(), buyer != 5, "buyer {buyer}");
    }
    assert_eq!(rig.figure("flashsale_dead_letters_total"), "1");
    rig.close().await;
}

/// Values that the ledger cannot hold, and a release of nobody's order, are parked; the partition
/// goes on.
#[tokio::test]
async fn values_beyond_all_bounds_are_parked() {
    let rig = Rig::open(10, 1).await;
    let promises = rig.buy(Epoch(1), &[1]).await;
    rig.until_at_rest(1).await;
    let key = domain::id::KeyHash([0; 16]);
    let (lane, offer, order, buyer, epoch) = (rig.lane, rig.offer, promises[0].order, promises[0].buyer, Epoch(1));
    let records = [
        Record::EpochOpened { lane, epoch: Epoch(u64::MAX) },
        Record::EpochOpened { lane, epoch: Epoch::MAX },
        Record::AllotmentChanged(AllotmentChange {
            lane,
            offer,
            sale_version: 2,
            delta: i64::MAX,
            target: None,
            epoch,
            after: 0,
        }),
        Record::Released(Released { lane, order, buyer, offer, quantity: 1, key, became: None }),
    ];
    for (number, record) in (20..).zip(records) {
        let id = RecordId::new(number).unwrap();
        rig.append(Envelope { id, kind: record.kind(), payload: record.encode().into() }).await;
    }
    let later = rig.buy(Epoch(1), &[2]).await;
    assert_eq!(rig.until_row(later[0].order).await.status, Status::PendingPayment);
    rig.until_at_rest(2).await;
    assert_eq!(rig.figure("flashsale_dead_letters_total"), "4");
    rig.close().await;
}

/// The stock of one lane answers nonsense at a settlement: the lane is set aside and rebuilt from
/// its rows, the partition goes on.
#[tokio::test]
async fn a_lane_whose_stock_is_damaged_is_set_aside_and_rebuilt() {
    let rig = Rig::open(10, 1).await;
    let promises = rig.buy(Epoch(1), &[1, 2]).await;
    rig.until_at_rest(2).await;
    rig.damage_entry(promises[0].buyer).await;
    desk::cancel(&rig.store.orders, &rig.store.ledger, promises[0].order).await.unwrap();
    until("the release is decided", || async { rig.ledger().await.sold == 1 }).await;
    rig.until_open(Epoch(2)).await;
    rig.until_at_rest(1).await;
    assert_eq!(rig.row(promises[1].order).await.unwrap().status, Status::PendingPayment);
    rig.close().await;
}
