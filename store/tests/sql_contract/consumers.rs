//! Goal: a consumer's position and what it made of the records are one change, whatever ends it and
//! whoever else consumes. Method: a topic in memory; a handler that notes each record under a
//! unique key in the same database, so that a record that counts twice is an error.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    id::{PartitionId, RecordId},
    record::Topic,
};
use store::{
    consumer::{Consumer, Handler, share},
    log::{Entry, Membership, MembershipEvent, PartitionReader, ReadError, Watermarks},
    sql::{Sql, SqlError, Tx},
};

use super::support::{Adapter, PARTITION, deployment};

/// A partition that holds the records from `low` to `high`.
struct Held {
    low: u64,
    high: u64,
    next: u64,
}

impl Held {
    fn new(low: u64, high: u64) -> Self {
        Self { low, high, next: low }
    }
}

impl PartitionReader for Held {
    async fn watermarks(&mut self) -> Result<Watermarks, ReadError> {
        Ok(Watermarks { low: self.low, high: self.high })
    }

    async fn entry_at(&mut self, _offset: u64) -> Result<Option<Entry>, ReadError> {
        Ok(None)
    }

    async fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        self.next = offset;
        Ok(())
    }

    /// Three at once, so that a few steps are needed.
    async fn read(&mut self, _: usize, _: usize, wait: Duration) -> Result<Vec<Entry>, ReadError> {
        if !(self.low..=self.high).contains(&self.next) {
            return Err(ReadError::OutOfRange { partition: PARTITION, offset: self.next });
        }
        if self.next == self.high {
            tokio::time::sleep(wait).await;
        }
        let offsets = self.next..self.high.min(self.next + 3);
        self.next = offsets.end;
        let entry =
            |offset| Entry { offset, id: RecordId::new(offset + 1).ok(), kind: "k".into(), payload: Bytes::new() };
        Ok(offsets.map(entry).collect())
    }
}

/// Notes offsets; refuses one of them as long as it is told to.
struct Noting {
    refused: Option<u64>,
}

impl<S: Sql> Handler<S> for Noting {
    async fn handle(&mut self, tx: &mut S::Tx, partition: PartitionId, records: &[Entry]) -> Result<(), SqlError> {
        for record in records {
            let note = "INSERT INTO skips (partition_id, log_offset, record_id, skipped_at) VALUES (?, ?, 0, 0)";
            tx.exec(note, vec![partition.0.into(), record.offset.cast_signed().into()]).await?;
            if self.refused == Some(record.offset) {
                return Err(SqlError::Broken("refused".into()));
            }
        }
        Ok(())
    }
}

async fn noted<S: Sql>(db: &S) -> Vec<i64> {
    let rows = db.rows("SELECT log_offset FROM skips ORDER BY log_offset", vec![]).await.unwrap();
    rows.into_iter().map(|mut row| row.int().unwrap()).collect()
}

fn consumer<S: Sql>(db: &S, held: Held) -> Consumer<S, Held> {
    Consumer::new(db.clone(), "toy", Topic::OrderEvents, PARTITION, held)
}

const WAIT: Duration = Duration::ZERO;

pub(crate) async fn a_position_moves_with_what_was_made_of_the_records<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let db = d.space.hand(&d.space.ledger());
    let mut first = consumer(&db, Held::new(2, 9));
    let mut handler = Noting { refused: None };
    assert_eq!(first.step(&mut handler, WAIT).await.unwrap(), 3);
    assert_eq!(noted(&db).await, [2, 3, 4], "it began where the topic begins");

    // A refused record undoes the step, position and all; it comes again until it is taken.
    handler.refused = Some(6);
    for _ in 0..2 {
        assert!(first.step(&mut handler, WAIT).await.is_err());
        assert_eq!(noted(&db).await, [2, 3, 4]);
    }
    handler.refused = None;
    assert_eq!(first.step(&mut handler, WAIT).await.unwrap(), 3);

    // A process that starts goes on from there, and one that believes in an older position is
    // fenced.
    let mut second = consumer(&db, Held::new(2, 9));
    assert_eq!(second.step(&mut handler, WAIT).await.unwrap(), 1);
    assert_eq!(first.step(&mut handler, WAIT).await.unwrap(), 0, "the second one has its record");
    assert_eq!(noted(&db).await, (2..9).collect::<Vec<_>>());
    for consumer in [&mut first, &mut second] {
        assert_eq!(consumer.step(&mut handler, WAIT).await.unwrap(), 0);
    }
    assert_eq!(noted(&db).await, (2..9).collect::<Vec<_>>());

    // Another name is another consumer, another partition's position too.
    let mut other = Consumer::new(db.clone(), "other", Topic::OrderEvents, PartitionId(0), Held::new(5, 6));
    assert_eq!(other.step(&mut handler, WAIT).await.unwrap(), 1);
    db.close().await;
}

pub(crate) async fn what_a_topic_lost_is_passed_over<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let db = d.space.hand(&d.space.ledger());
    let mut handler = Noting { refused: None };
    assert_eq!(consumer(&db, Held::new(0, 3)).step(&mut handler, WAIT).await.unwrap(), 3);
    let mut late = consumer(&db, Held::new(7, 9));
    assert_eq!(late.step(&mut handler, WAIT).await.unwrap(), 0);
    assert_eq!(late.step(&mut handler, WAIT).await.unwrap(), 2);
    // A topic that was made anew is shorter.
    let mut anew = consumer(&db, Held::new(0, 1));
    assert_eq!(anew.step(&mut handler, WAIT).await.unwrap(), 0);
    assert!(anew.step(&mut handler, WAIT).await.is_err(), "its first record is noted already");
    assert_eq!(noted(&db).await, [0, 1, 2, 7, 8]);
    db.close().await;
}

/// Tells these events, and nothing more.
struct Group(Vec<MembershipEvent>);

impl Membership for Group {
    async fn next(&mut self) -> Result<MembershipEvent, ReadError> {
        match self.0.pop() {
            Some(event) => Ok(event),
            None => std::future::pending().await,
        }
    }

    fn report(&self, _: PartitionId, _: u64) {}

    async fn leave(self, _: Duration) {}
}

pub(crate) async fn a_process_consumes_the_partitions_that_it_is_given<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let db = d.space.hand(&d.space.ledger());
    let group = Group(vec![
        MembershipEvent::Assigned(vec![PartitionId(2)]),
        MembershipEvent::Revoked(vec![PartitionId(1)]),
        MembershipEvent::Assigned(vec![PartitionId(0), PartitionId(1)]),
    ]);
    let begin = |partition: PartitionId| {
        let first = 10 * u64::from(partition.0);
        // What is revoked at once has nothing to read, so that it is not seen to be so early or
        // late.
        let held = if partition.0 == 1 { Held::new(10, 10) } else { Held::new(first, first + 4) };
        Ok((Consumer::new(db.clone(), "toy", Topic::OrderEvents, partition, held), Noting { refused: None }))
    };
    let all_noted = async {
        while noted(&db).await != [0, 1, 2, 3, 20, 21, 22, 23] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        shared = share(group, begin) => panic!("the group ended: {shared:?}"),
        () = all_noted => {}
    }
    db.close().await;
}
