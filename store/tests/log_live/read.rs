//! Reading without a broker, and from topics that were made anew (R10).

use std::time::Duration;

use rdkafka::admin::AdminOptions;
use store::log::{
    OrderLogSource, PartitionReader, ReadError, SalesFollower, SalesPublisher, Watermarks,
    kafka::{KafkaLog, KafkaSalesFollower, KafkaSource, ensure_topics},
};

use super::*;
use crate::contract::sale;

#[tokio::test]
async fn without_a_broker_reading_is_unavailable() {
    let mut reader = KafkaSource::new(&unreachable()).reader(FIRST).unwrap();
    assert!(matches!(reader.watermarks().await, Err(ReadError::Unavailable(_))));
    assert!(matches!(reader.entry_at(0).await, Err(ReadError::Unavailable(_))));
    let read = reader.read(1, 1, Duration::from_secs(1)).await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
}

/// R10: a recreated topic shows in its watermarks, and a reader behind the old end is out of range.
#[tokio::test]
async fn a_recreated_topic_is_noticed() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        append_all(&log, FIRST, 3).await;
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        read(&mut reader, 3).await;
        admin().delete_topics(&[&settings.orders_topic()], &AdminOptions::new()).await.unwrap();
        ensure_topics(&settings).await.unwrap();
        while reader.watermarks().await.ok() != Some(Watermarks { low: 0, high: 0 }) {}
        let error = loop {
            match reader.read(1, 1, SHORT).await {
                Ok(entries) => assert_eq!(entries, []),
                Err(ReadError::Unavailable(_)) => {}
                Err(error) => break error,
            }
        };
        assert!(is_out_of_range(&error, 3), "{error}");
    })
    .await;
}

/// Fault 28: a follower that runs says that its topic lost what it had, and then reads what is
/// there now.
#[tokio::test]
async fn a_lost_topic_of_sales_is_noticed_by_who_follows_it() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        for id in 1..=3 {
            log.publish(&sale(id, 1)).await.unwrap();
        }
        let mut follower = KafkaSalesFollower::new(&settings).unwrap();
        while !follower.next().await.unwrap().is_empty() {}
        admin().delete_topics(&[&settings.sales_topic()], &AdminOptions::new()).await.unwrap();
        while ensure_topics(&settings).await.is_err() {}
        let error = loop {
            match follower.next().await {
                Ok(sales) => assert_eq!(sales, []),
                Err(ReadError::Unavailable(_)) => {}
                Err(error) => break error,
            }
        };
        assert!(is_out_of_range(&error, 3), "{error}");
        while log.publish(&sale(2, 5)).await.is_err() {}
        let mut sales = Vec::new();
        while sales != [sale(2, 5)] {
            sales.extend(follower.next().await.unwrap_or_default());
        }
    })
    .await;
}
