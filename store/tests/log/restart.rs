//! What is there after the log is opened again.

use domain::record::Topic;
use store::log::{
    OrderLog, OrderLogSource, PartitionReader, SalesFollower, SalesPublisher, Topics, Watermarks,
    sqlite::{SqliteLog, SqliteSalesFollower, SqliteSettings, SqliteSource},
};

use super::rig::Folder;
use crate::contract::{FIRST, SECOND, append, append_all, entry, read, record, sale};

const DAY_MS: u64 = 24 * 3_600 * 1_000;

#[tokio::test]
async fn every_acknowledged_record_is_there_again_and_offsets_go_on() {
    let folder = Folder::new();
    let log = folder.open();
    let (mut firsts, seconds) = (append_all(&log, FIRST, 30).await, append_all(&log, SECOND, 3).await);
    log.publish(&sale(1, 1)).await.unwrap();
    drop(log);

    let log = folder.open();
    let source = SqliteSource::new(&log);
    let mut reader = source.reader(FIRST).unwrap();
    assert_eq!(reader.watermarks().await.unwrap(), Watermarks { low: 0, high: 30 });
    let more = record(99, "more");
    firsts.push(entry(append(&log, FIRST, &more).await, &more));
    assert_eq!(firsts[30].offset, 30);
    assert_eq!(read(&mut reader, 31).await, firsts);
    assert_eq!(read(&mut source.reader(SECOND).unwrap(), 3).await, seconds);
    let mut follower = SqliteSalesFollower::new(&log);
    assert_eq!(follower.next().await.unwrap(), [sale(1, 1)]);
    assert_eq!(follower.next().await.unwrap(), []);
}

/// Nobody decides events, so they go by their age alone, all but the newest.
#[tokio::test]
async fn events_are_there_again_and_retention_asks_nobody_about_them() {
    let folder = Folder::new();
    let log = folder.open();
    let promised = append_all(&log, SECOND, 2).await;
    let written = append_all(&log.of(Topic::OrderEvents), SECOND, 5).await;
    drop(log);

    let log = folder.open();
    let mut reader = SqliteSource::of(&log, Topic::OrderEvents).reader(SECOND).unwrap();
    assert_eq!(read(&mut reader, 5).await, written);
    folder.pass_retention();
    assert_eq!(append(&log.of(Topic::OrderEvents), SECOND, &record(6, "young")).await, 5);
    // The log may have done so by itself.
    log.purge().await.unwrap();
    assert_eq!(reader.watermarks().await.unwrap(), Watermarks { low: 5, high: 6 });
    assert_eq!(read(&mut SqliteSource::new(&log).reader(SECOND).unwrap(), 2).await, promised);
}

/// What engines counted goes after a day, however long the log keeps its records.
#[tokio::test]
async fn counts_are_kept_for_a_day_and_events_as_long_as_the_log_says() {
    let folder = Folder::new();
    let settings = SqliteSettings { retention_ms: 7 * DAY_MS, ..folder.settings() };
    let log = SqliteLog::open(&folder.path(), &settings).unwrap();
    let marks = async |topic| SqliteSource::of(&log, topic).reader(FIRST).unwrap().watermarks().await.unwrap();
    for topic in [Topic::Counts, Topic::OrderEvents] {
        append_all(&log.of(topic), FIRST, 3).await;
    }
    folder.pass(DAY_MS - 1);
    log.purge().await.unwrap();
    assert_eq!(marks(Topic::Counts).await.low, 0, "not yet");
    folder.pass(2);
    append(&log.of(Topic::Counts), FIRST, &record(4, "young")).await;
    log.purge().await.unwrap();
    assert_eq!(marks(Topic::Counts).await, Watermarks { low: 3, high: 4 });
    assert_eq!(marks(Topic::OrderEvents).await, Watermarks { low: 0, high: 3 });
}

/// What a killed process leaves: the file and its write-ahead log as they are at the moment of an
/// acknowledgement.
#[tokio::test]
async fn what_is_acknowledged_is_in_the_files_at_that_moment() {
    let folder = Folder::new();
    let log = folder.open();
    let entries = append_all(&log, FIRST, 20).await;
    let left = Folder::new();
    for suffix in ["", "-wal"] {
        let of = |folder: &Folder| folder.path().with_file_name(format!("log.db{suffix}"));
        std::fs::copy(of(&folder), of(&left)).unwrap();
    }
    let log_after = left.open();
    assert_eq!(read(&mut SqliteSource::new(&log_after).reader(FIRST).unwrap(), 20).await, entries);
    assert_eq!(append(&log_after, FIRST, &record(21, "p")).await, 20);
}

#[tokio::test]
async fn records_on_the_way_survive_the_drop_of_the_log() {
    let folder = Folder::new();
    let log = folder.open();
    for number in 1..=50 {
        drop(log.append(FIRST, record(number, "p"), log.room().unwrap()));
    }
    drop(log);
    let log = folder.open();
    assert_eq!(read(&mut SqliteSource::new(&log).reader(FIRST).unwrap(), 50).await.len(), 50);
}

/// Nobody should, but nothing is lost or said twice.
#[tokio::test]
async fn two_logs_on_one_file_hand_out_no_offset_twice() {
    let folder = Folder::new();
    let (one, other) = (folder.open(), folder.open());
    let mut offsets = Vec::new();
    for round in 0..20 {
        let first = one.append(FIRST, record(2 * round + 1, "one"), one.room().unwrap());
        let second = other.append(FIRST, record(2 * round + 2, "other"), other.room().unwrap());
        offsets.extend([first.await.unwrap(), second.await.unwrap()]);
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (0..40).collect::<Vec<_>>());
    drop((one, other));
    let log = SqliteLog::open(&folder.path(), &folder.settings()).unwrap();
    assert_eq!(read(&mut SqliteSource::new(&log).reader(FIRST).unwrap(), 40).await.len(), 40);
}
