//! Appending: headers, what survives the log's drop, and what happens without a broker.

use std::time::Duration;

use domain::id::PartitionId;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use store::log::{
    DeadLetters, OrderLog, OrderLogSource,
    kafka::{KafkaLog, KafkaSettings, KafkaSource},
};

use super::*;

#[tokio::test]
async fn a_record_carries_cloud_events_headers() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        append(&log, FIRST, &record(42, "p")).await;
        let expected =
            [("ce_specversion", "1.0"), ("ce_id", "42"), ("ce_type", KIND), ("ce_source", "/flashsale/orders")];
        assert_eq!(first_headers(settings.orders_topic()).await, owned(&expected));
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_says_whence_and_why() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let parked = entry(17, &record(42, "damaged"));
        log.park(PartitionId(3), &parked, "malformed: no lane").await.unwrap();
        let expected = [
            ("ce_specversion", "1.0"),
            ("ce_id", "42"),
            ("ce_type", KIND),
            ("ce_source", "/flashsale/orders/dead"),
            ("cause", "malformed: no lane"),
            ("original_partition", "3"),
            ("original_offset", "17"),
        ];
        assert_eq!(first_headers(settings.dead_topic()).await, owned(&expected));
    })
    .await;
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|&(key, value)| (key.into(), value.into())).collect()
}

/// The headers of the first record of a topic, read without our code.
async fn first_headers(topic: String) -> Vec<(String, String)> {
    let read = move || {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers()).set("group.id", "test").create().unwrap();
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&place).unwrap();
        let message = consumer.poll(PATIENCE).unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        message.headers().unwrap().iter().map(|h| (h.key.to_owned(), text(h.value.unwrap()))).collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

#[tokio::test]
async fn records_on_the_way_survive_the_drop_of_the_log() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let record = record(1, "p");
        drop(log.append(FIRST, record.clone(), log.room().unwrap()));
        drop(log);
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        assert_eq!(read(&mut reader, 1).await, [entry(0, &record)]);
    })
    .await;
}

#[tokio::test]
async fn without_a_broker_nothing_is_acknowledged() {
    let log = KafkaLog::new(&unreachable()).unwrap();
    let append = log.append(FIRST, record(1, "p"), log.room().unwrap());
    assert_eq!(log.flush(Duration::from_millis(1)).await, 1);
    let error = tokio::time::timeout(PATIENCE, append).await.unwrap().unwrap_err();
    assert!(error.0.to_string().contains("timed out"), "{error}");
    assert_eq!(log.figures().appended.timed_out, 1);
    assert_eq!(log.in_flight(), 0);
    assert_eq!(log.flush(PATIENCE).await, 0);
}

/// The client's own account comes after a while.
#[tokio::test]
async fn the_producer_tells_of_its_client() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&KafkaSettings { statistics_ms: 50, ..settings }).unwrap();
        append_all(&log, FIRST, 3).await;
        while log.figures().client.produce_requests == 0 {
            tokio::task::yield_now().await;
        }
        let client = log.figures().client;
        assert!(client.round_trip_p99_s >= client.round_trip_p50_s);
    })
    .await;
}

/// A producer whose idempotence is lost accepts nothing any more: another takes its place, unseen
/// from outside.
#[tokio::test]
async fn a_producer_that_failed_for_good_is_replaced() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("mock.orders", 1, 1).unwrap();
    let refusal = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED];
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &refusal);
    let log = KafkaLog::new(&KafkaSettings::new(cluster.bootstrap_servers(), "mock", 1)).unwrap();
    let first = log.append(FIRST, record(1, "lost with the producer"), log.room().unwrap());
    first.await.expect_err("it had no acknowledgement");
    assert_eq!(append(&log, FIRST, &record(2, "p")).await, 0);
    assert_eq!(append(&log, FIRST, &record(3, "p")).await, 1);
    assert_eq!(log.in_flight(), 0);
    let figures = log.figures();
    assert_eq!((figures.replaced, figures.appended.producer_failed, figures.appended.acknowledged), (1, 1, 2));
}
