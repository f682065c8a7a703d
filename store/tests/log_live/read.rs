//! Reading without a broker, and from topics that were made anew (R10).

use std::time::Duration;

use rdkafka::admin::AdminOptions;
use store::log::{
    OrderLogSource, PartitionReader, ReadError, Watermarks,
    kafka::{KafkaLog, KafkaSource, ensure_topics},
};

use super::*;

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
