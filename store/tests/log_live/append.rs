//! Appending: acknowledgement, headers, room, and what happens without a broker.

use std::{collections::BTreeSet, time::Duration};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use store::log::{
    DeadLetters, OrderLog, OrderLogSource,
    kafka::{KafkaLog, KafkaSettings, KafkaSource, RECORD_BYTES_MAX},
};

use super::*;

#[tokio::test]
async fn appends_in_parallel_are_acknowledged_each_with_its_own_offset() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let mut appends = tokio::task::JoinSet::new();
        for number in 1..=200 {
            let log = log.clone();
            appends.spawn(async move { append(&log, FIRST, &record(number, "p")).await });
        }
        let offsets: BTreeSet<u64> = appends.join_all().await.into_iter().collect();
        assert_eq!(offsets, (0..200).collect());
        assert_eq!(log.in_flight(), 0);
    })
    .await;
}

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

/// R7: a full queue refuses before anything is promised.
#[tokio::test]
async fn without_room_it_refuses_at_once_and_room_comes_back() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&KafkaSettings { queue_records_max: 3, ..settings.clone() }).unwrap();
        let mut rooms: Vec<_> = (0..3).map(|_| log.room().unwrap()).collect();
        assert!(log.room().is_none());
        assert_eq!(log.in_flight(), 3);
        drop(rooms.pop());
        let regained = log.room().unwrap();
        assert!(log.room().is_none());
        log.append(FIRST, record(1, "p"), regained).await.unwrap();
        assert_eq!(log.in_flight(), 2);
        rooms.push(log.room().unwrap());
        drop(rooms);
        assert_eq!(log.in_flight(), 0);

        let bytes = KafkaSettings { queue_bytes_max: 2 * RECORD_BYTES_MAX, ..settings };
        let log = KafkaLog::new(&bytes).unwrap();
        let rooms = (log.room().unwrap(), log.room().unwrap());
        assert!(log.room().is_none(), "bytes are bounded too");
        drop(rooms);
        assert!(log.room().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_dropped_append_is_still_appended() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let record = record(1, "p");
        drop(log.append(FIRST, record.clone(), log.room().unwrap()));
        assert_eq!(log.flush(PATIENCE).await, 0);
        assert_eq!(log.in_flight(), 0);
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        assert_eq!(read(&mut reader, 1).await, [entry(0, &record)]);
    })
    .await;
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
    assert!(error.0.contains("timed out"), "{error}");
    assert_eq!(log.figures().appended.timed_out, 1);
    assert_eq!(log.in_flight(), 0);
    assert_eq!(log.flush(PATIENCE).await, 0);
}

#[tokio::test]
async fn a_record_above_the_limit_is_refused() {
    let log = KafkaLog::new(&unreachable()).unwrap();
    let append = log.append(FIRST, record(1, vec![0; RECORD_BYTES_MAX]), log.room().unwrap());
    assert!(append.await.is_err());
    assert_eq!(log.in_flight(), 0);
}

/// Records by what became of them, and the client's own account, which comes after a while.
#[tokio::test]
async fn the_producer_tells_what_became_of_its_records() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&KafkaSettings { statistics_ms: 50, ..settings }).unwrap();
        append_all(&log, FIRST, 3).await;
        log.append(FIRST, record(4, vec![0; RECORD_BYTES_MAX]), log.room().unwrap()).await.unwrap_err();
        let appended = log.figures().appended;
        assert_eq!((appended.acknowledged, appended.acknowledged_bytes, appended.too_large), (3, 27, 1));
        assert_eq!((appended.timed_out, appended.queue_full, appended.refused, appended.producer_failed), (0, 0, 0, 0));
        while log.figures().client.produce_requests == 0 {
            tokio::task::yield_now().await;
        }
        let _room = log.room().unwrap();
        let figures = log.figures();
        assert_eq!((figures.rooms_taken, figures.room_bytes), (1, RECORD_BYTES_MAX as u64));
        assert!(figures.client.round_trip_p99_s >= figures.client.round_trip_p50_s);
    })
    .await;
}

/// A producer whose idempotence is lost accepts nothing any more: another takes its place, unseen from outside.
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
