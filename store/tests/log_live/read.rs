//! Reading: what comes back, from where, and what a position outside the log means (R10).

use std::time::Duration;

use domain::id::PartitionId;
use rdkafka::{Offset, TopicPartitionList, admin::AdminOptions};
use store::log::{
    OrderLogSource, PartitionReader, ReadError, Watermarks,
    kafka::{KafkaLog, KafkaSource, RECORD_BYTES_MAX, ensure_topics},
};

use super::*;

fn is_out_of_range(error: &ReadError, expected: u64) -> bool {
    matches!(error, ReadError::OutOfRange { partition: FIRST, offset } if *offset == expected)
}

#[tokio::test]
async fn what_is_appended_comes_back_in_order() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let large = record(7, vec![7; RECORD_BYTES_MAX - 1024]);
        let mut expected = append_all(&log, SECOND, 5).await;
        expected.push(entry(append(&log, SECOND, &large).await, &large));
        assert_eq!(expected.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);

        let source = KafkaSource::new(&settings);
        let mut reader = source.reader(SECOND).unwrap();
        assert_eq!(read(&mut reader, 6).await, expected);
        assert_eq!(reader.watermarks().await.unwrap(), Watermarks { low: 0, high: 6 });
        let mut other = source.reader(FIRST).unwrap();
        assert_eq!(other.watermarks().await.unwrap(), Watermarks { low: 0, high: 0 });
        assert!(source.reader(PartitionId(PARTITIONS)).is_err());
    })
    .await;
}

#[tokio::test]
async fn a_reader_goes_where_it_is_sent() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let entries = append_all(&log, FIRST, 6).await;
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        for offset in [3, 5, 0, 1] {
            reader.seek(offset).await.unwrap();
            let from = usize::try_from(offset).unwrap();
            assert_eq!(read(&mut reader, 6 - from).await, entries[from..], "from offset {offset}");
        }
    })
    .await;
}

#[tokio::test]
async fn entry_at_gives_the_record_of_that_offset_or_none() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let entries = append_all(&log, FIRST, 4).await;
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        assert_eq!(reader.entry_at(2).await.unwrap().as_ref(), Some(&entries[2]));
        assert_eq!(reader.entry_at(0).await.unwrap().as_ref(), Some(&entries[0]));
        assert_eq!(reader.entry_at(4).await.unwrap(), None, "the next to be written");
        assert_eq!(reader.entry_at(4000).await.unwrap(), None, "far beyond");
        reader.seek(1).await.unwrap();
        assert_eq!(read(&mut reader, 3).await, entries[1..]);
    })
    .await;
}

#[tokio::test]
async fn a_read_keeps_to_its_bounds() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let entries = append_all(&log, FIRST, 6).await;
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        let mut back = Vec::new();
        while back.len() < 6 {
            // Nine bytes a payload: one record, or two, but never three.
            let some = reader.read(4, 10, PATIENCE).await.unwrap();
            assert!((1..=2).contains(&some.len()), "{}", some.len());
            back.extend(some);
        }
        assert_eq!(back, entries);
        reader.seek(0).await.unwrap();
        assert_eq!(reader.read(1, usize::MAX, PATIENCE).await.unwrap(), entries[..1]);
    })
    .await;
}

#[tokio::test]
async fn a_read_at_the_end_waits_and_then_gives_what_comes() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        append_all(&log, FIRST, 3).await;
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        reader.seek(3).await.unwrap();
        assert_eq!(reader.read(10, usize::MAX, SHORT).await.unwrap(), []);
        let late = record(9, "late");
        let (read, offset) = tokio::join!(reader.read(10, usize::MAX, PATIENCE), append(&log, FIRST, &late));
        assert_eq!(read.unwrap(), [entry(offset, &late)]);
    })
    .await;
}

/// R10: a position that the log does not have any more, or not yet again, is an error until the writer decides.
#[tokio::test]
async fn a_position_outside_the_log_is_out_of_range() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let entries = append_all(&log, FIRST, 5).await;
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        reader.seek(50).await.unwrap();
        for _ in 0..2 {
            let error = reader.read(10, usize::MAX, PATIENCE).await.unwrap_err();
            assert!(is_out_of_range(&error, 50), "{error}");
        }

        delete_before(settings.orders_topic(), 3).await;
        assert_eq!(reader.watermarks().await.unwrap(), Watermarks { low: 3, high: 5 });
        reader.seek(1).await.unwrap();
        let error = reader.read(10, usize::MAX, PATIENCE).await.unwrap_err();
        assert!(is_out_of_range(&error, 1), "{error}");
        assert_eq!(reader.entry_at(1).await.unwrap(), None);
        reader.seek(3).await.unwrap();
        assert_eq!(read(&mut reader, 2).await, entries[3..]);
    })
    .await;
}

async fn delete_before(topic: String, offset: i64) {
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&topic, 0, Offset::Offset(offset)).unwrap();
    admin().delete_records(&place, &AdminOptions::new()).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    on_fresh_topics(async |settings| {
        let log = KafkaLog::new(&settings).unwrap();
        let entries = append_all(&log, FIRST, 3).await;
        let mut reader = KafkaSource::new(&settings).reader(FIRST).unwrap();
        let mut back = Vec::new();
        while back.len() < 3 {
            tokio::select! {
                biased;
                some = reader.read(1, usize::MAX, PATIENCE) => back.extend(some.unwrap()),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        assert_eq!(back, entries);
    })
    .await;
}

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
