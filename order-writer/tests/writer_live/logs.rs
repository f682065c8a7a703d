//! Logs that are made anew or lose their head, under running writers and beside restored shards.

use domain::{
    id::{Epoch, Generation, OrderId},
    order::Status,
};
use mysql_async::prelude::Queryable;
use rdkafka::{Offset, TopicPartitionList, admin::AdminOptions};
use store::log::{Envelope, OrderLog, kafka::ensure_topics};

use super::rig::{PARTITION, Promise, Rig, admin, env, until};

/// Appends until it is acknowledged, as sweepers do.
async fn swept(rig: &Rig, record: &Envelope) {
    until("the record is acknowledged", || async {
        let room = rig.log.room().unwrap();
        rig.log.append(PARTITION, record.clone(), room).await.is_ok()
    })
    .await;
}

async fn query(rig: &Rig, database: &str, statement: &str) {
    let url = format!("{}/{}_{database}", env("FLASHSALE_MYSQL_URL"), rig.namespace);
    mysql_async::Conn::from_url(url).await.unwrap().query_drop(statement).await.unwrap();
}

async fn count(rig: &Rig, database: &str, query: &str) -> u64 {
    let url = format!("{}/{}_{database}", env("FLASHSALE_MYSQL_URL"), rig.namespace);
    mysql_async::Conn::from_url(url).await.unwrap().query_first(query).await.unwrap().unwrap()
}

/// R10, fault 28: the topic is deleted and made anew under a running writer, and grows past its
/// position at once. Every order has its row within seconds, without a restart.
#[tokio::test]
async fn r10_a_topic_made_anew_under_a_running_writer_is_noticed() {
    let rig = Rig::open(100, 1).await;
    rig.buy(Epoch(1), &[1, 2, 3]).await;
    rig.until_at_rest(3).await;
    let mut promised: Vec<Promise> = Vec::new();
    for buyer in 10..40 {
        promised.extend(rig.promise(Epoch(1), &[buyer]).await);
    }
    rig.delete_topics().await;
    until("the topics are there again", || async { ensure_topics(&rig.kafka).await.is_ok() }).await;
    let begun = std::time::Instant::now();
    swept(&rig, &promised[0].batch).await;
    let rest =
        promised[1..].iter().map(|promise| rig.log.append(PARTITION, promise.batch.clone(), rig.log.room().unwrap()));
    for append in rest.collect::<Vec<_>>() {
        append.await.unwrap();
    }
    for promise in &promised {
        assert_eq!(rig.until_row(promise.order).await.status, Status::PendingPayment);
    }
    println!("every row is there after {:?}", begun.elapsed());
    rig.until_at_rest(33).await;
    let row = rig.store.ledger.partition(PARTITION).await.unwrap().unwrap();
    assert_eq!(row.generation, Generation(2));
    rig.close().await;
}

/// R15, fault 27: a shard is restored to before what the log still holds. What the lane holds comes
/// back, what nobody knows is reported and stays sold, and the partition goes on. Movements of what
/// the log forgot are deleted.
#[tokio::test]
async fn r14_a_shard_below_the_logs_beginning_gets_what_the_lane_holds() {
    let mut rig = Rig::open(40, 1).await;
    let promises = rig.buy(Epoch(1), &(1..=12).collect::<Vec<_>>()).await;
    rig.until_at_rest(12).await;
    rig.cancel(&[promises[0].order]).await;
    rig.until_at_rest(11).await;
    rig.stop().await;
    let orders: Vec<OrderId> = promises.iter().map(|promise| promise.order).collect();
    let before = rig.store.orders.find(&orders).await.unwrap();
    let position = rig.store.ledger.partition(PARTITION).await.unwrap().unwrap().offset;
    let mut head = TopicPartitionList::new();
    head.add_partition_offset(&rig.kafka.orders_topic(), 0, Offset::Offset(position.cast_signed() - 1)).unwrap();
    admin().delete_records(&head, &AdminOptions::new()).await.unwrap();
    for table in ["orders_0", "orders_1"] {
        query(&rig, "orders_00", &format!("DELETE FROM {table}")).await;
    }
    query(&rig, "orders_00", "UPDATE progress SET log_offset = 1, record_id = 0").await;
    let left = rig.store.orders.find(&orders).await.unwrap().len();
    assert!(left < 12, "the shard had rows to lose");
    // One that the lane does not hold either: forgotten by a hand that is not ours.
    let unknown = promises[1..].iter().find(|promise| is_lost(&rig, promise.order)).unwrap();
    rig.forget_buyer(unknown.buyer).await;
    rig.start();
    let later = rig.buy(Epoch(1), &[50]).await;
    assert_eq!(rig.until_row(later[0].order).await.status, Status::PendingPayment);
    until("the rows are there again", || async { rig.store.orders.find(&orders).await.unwrap().len() == 11 }).await;
    for (order, row) in rig.store.orders.find(&orders).await.unwrap() {
        let was = &before[&order];
        let told = |row: &domain::order::OrderRow| (row.buyer, row.number, row.status, row.unit_price, row.key);
        assert_eq!(told(&row), told(was));
    }
    assert_eq!(rig.store.ledger.lost_units(PARTITION).await.unwrap(), [(rig.offer, 1)]);
    until("11 as before and the later one are sold: what is lost stays so", || async { rig.ledger().await.sold == 12 })
        .await;
    until("old movements are gone", || async {
        count(&rig, "ledger", &format!("SELECT COUNT(*) FROM movements WHERE log_offset < {}", position - 1)).await == 0
    })
    .await;
    assert_eq!(count(&rig, "ledger", "SELECT COUNT(*) FROM losses WHERE done_at > 0").await, 1);
    rig.close().await;
}

fn is_lost(rig: &Rig, order: OrderId) -> bool {
    rig.store.orders.map().home_of_order(order).shard.0 == 0
}
