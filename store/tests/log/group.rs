//! Group commit, retention, the one member, and dead letters.

use std::time::Duration;

use domain::id::PartitionId;
use store::log::{
    DeadLetters, Membership, MembershipEvent, OrderLog, OrderLogSource, PartitionReader, Watermarks,
    sqlite::{SoleMember, SqliteLog, SqliteSource},
};

use super::rig::Folder;
use crate::contract::{FIRST, PARTITIONS, PATIENCE, SECOND, append_all, entry, read, record};

/// What waits while a commit is out goes with the next: fewer commits than records, no gap, and in
/// the order in which it was called.
#[tokio::test]
async fn many_appends_share_commits_and_leave_no_gap() {
    let log = Folder::new().open();
    let appends: Vec<_> = (0..400)
        .map(|number| {
            let partition = PartitionId(number % PARTITIONS);
            let appended = log.append(partition, record(u64::from(number) + 1, "p"), log.room().unwrap());
            (u64::from(number / PARTITIONS), appended)
        })
        .collect();
    for (expected, appended) in appends {
        assert_eq!(appended.await.unwrap(), expected);
    }
    assert_eq!(log.flush(PATIENCE).await, 0);
    let commits = log.figures().client.produce_requests;
    assert!((1..100).contains(&commits), "{commits} commits");
    assert!(log.figures().client.round_trip_p99_s > 0.0);
}

/// Reading and appending at once, with a memory that holds a few records: nothing is lost between
/// memory and file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_falls_behind_and_catches_up_sees_everything_once() {
    const RECORDS: u64 = 2_000;
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.tail_bytes_max = 40_000;
    let log = SqliteLog::open(&folder.path(), &settings).unwrap();
    let mut reader = SqliteSource::new(&log).reader(FIRST).unwrap();
    let appends = tokio::spawn(async move {
        for number in 1..=RECORDS {
            let append = log.append(FIRST, record(number, vec![1; 500]), log.room().unwrap());
            if number % 50 == 0 {
                append.await.unwrap();
            }
        }
        assert_eq!(log.flush(PATIENCE).await, 0);
    });
    let mut next = 0;
    while next < RECORDS {
        for entry in reader.read(7, usize::MAX, PATIENCE).await.unwrap() {
            assert_eq!((entry.offset, entry.id.unwrap().get()), (next, next + 1));
            next += 1;
        }
    }
    appends.await.unwrap();
}

/// R10: the record before the ledger's position is what it stands on; what is not decided is
/// nobody's to delete.
#[tokio::test]
async fn retention_deletes_what_is_old_and_decided_all_but_the_last() {
    let folder = Folder::new();
    let log = folder.open();
    append_all(&log, FIRST, 600).await;
    let mut reader = SqliteSource::new(&log).reader(FIRST).unwrap();
    let member = SoleMember::new(&log);
    folder.pass_retention();
    assert_eq!(log.purge().await.unwrap(), 0, "nothing is decided");
    member.report(FIRST, 400);
    member.report(FIRST, 300);
    assert_eq!(log.purge().await.unwrap(), 399, "the furthest report counts");
    assert_eq!(reader.watermarks().await.unwrap(), Watermarks { low: 399, high: 600 });
    let young = append_all(&log, FIRST, 2).await;
    member.report(FIRST, 10_000);
    assert_eq!(log.purge().await.unwrap(), 201, "the young ones stay");
    folder.pass_retention();
    assert_eq!(log.purge().await.unwrap(), 1, "the newest stays");
    assert_eq!(read(&mut reader, 1).await, young[1..]);

    drop((log, member, reader));
    let log = folder.open();
    assert_eq!(append_all(&log, FIRST, 1).await[0].offset, 602, "no offset comes twice");
}

#[tokio::test]
async fn the_one_member_has_all_partitions_for_ever() {
    let log = Folder::new().open();
    let mut member = SoleMember::new(&log);
    let all = (0..PARTITIONS).map(PartitionId).collect();
    assert_eq!(member.next().await.unwrap(), MembershipEvent::Assigned(all));
    tokio::select! {
        biased;
        event = member.next() => panic!("{event:?}"),
        () = std::future::ready(()) => {}
    }
    member.leave(Duration::ZERO).await;
}

#[tokio::test]
async fn a_dead_letter_says_whence_and_why() {
    let folder = Folder::new();
    let log = folder.open();
    log.park(SECOND, &entry(17, &record(42, "damaged")), "malformed: no lane").await.unwrap();
    let raw = rusqlite::Connection::open(folder.path()).unwrap();
    let sql = "SELECT partition_id, log_offset, record_id, cause, payload FROM dead";
    let parked: (u32, i64, i64, String, Vec<u8>) = raw.query_row(sql, (), |row| row.try_into()).unwrap();
    assert_eq!(parked, (1, 17, 42, "malformed: no lane".into(), b"damaged".to_vec()));
}
