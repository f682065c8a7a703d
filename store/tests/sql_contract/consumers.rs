//! Goal: a consumer's position and what it made of the records are one change, whatever ends it and
//! whoever else consumes; nothing in a topic stops it for ever. Method: a topic in memory; a
//! handler that notes each record under a unique key in the same database, so that a record that
//! counts twice is an error.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    id::{OrderId, PartitionId, RecordId, TenantId},
    record::{RecordError, Topic},
};
use store::{
    consumer::{Aside, ConsumeError, Consumer, Handler, figures, share},
    log::{Entry, Membership, MembershipEvent, PartitionReader, ReadError, Watermarks},
    shards::{CONSUMERS_TABLE, PARKED_TABLE, open_own},
    sql::{Row, Sql, SqlError, Tx},
};

use super::support::{Adapter, PARTITION, Space, SqlOf};

const NOTED: &str = "CREATE TABLE noted (partition_id INT NOT NULL, log_offset BIGINT NOT NULL, word VARCHAR(8) NOT NULL, \
                     PRIMARY KEY (partition_id, log_offset), CHECK (word <> 'unfit'))";

/// A consumer's database, which is dropped with it.
async fn database<A: Adapter>(adapter: A) -> (Space<A>, SqlOf<A>) {
    let space = Space::new(&adapter);
    let schema = [("001-consumers", CONSUMERS_TABLE), ("002-parked", PARKED_TABLE), ("003-noted", NOTED)];
    let database = open_own(&adapter.server(), &space.name.listing(), &schema).await.unwrap();
    (space, database)
}

/// A partition that holds the records from `low` to `high`.
struct Held {
    low: u64,
    high: u64,
    next: u64,
    /// Types and payloads of some; the others are sound.
    told: Vec<(u64, &'static str, &'static str)>,
}

impl Held {
    fn new(low: u64, high: u64) -> Self {
        Self { low, high, next: low, told: Vec::new() }
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
    async fn read(&mut self, most: usize, _: usize, wait: Duration) -> Result<Vec<Entry>, ReadError> {
        if !(self.low..=self.high).contains(&self.next) {
            return Err(ReadError::OutOfRange { partition: PARTITION, offset: self.next });
        }
        if self.next == self.high {
            tokio::time::sleep(wait).await;
        }
        let offsets = self.next..self.high.min(self.next + most.min(3) as u64);
        self.next = offsets.end;
        let entry = |offset| {
            let told = self.told.iter().find(|(at, ..)| *at == offset);
            let (_, kind, payload) = told.copied().unwrap_or((offset, KIND, "sound"));
            Entry { offset, id: RecordId::new(offset + 1).ok(), kind: kind.into(), payload: payload.into() }
        };
        Ok(offsets.map(entry).collect())
    }
}

const KIND: &str = "flashsale.toy.v1";

/// Notes offsets and words; refuses one of them as long as it is told to, and parks a word that
/// contradicts.
struct Noting {
    refused: Option<u64>,
}

impl<S: Sql> Handler<S> for Noting {
    type Read = Bytes;

    fn read(kind: &str, payload: Bytes) -> Result<Bytes, RecordError> {
        match (kind, &payload[..]) {
            (KIND, b"damaged") => Err(RecordError::Malformed { kind: KIND, why: "a word that is none".into() }),
            (KIND, b"newer") => Err(RecordError::UnknownValue { kind: KIND, what: "a newer word".into() }),
            (KIND, _) => Ok(payload),
            (other, _) => Err(RecordError::UnknownType(other.into())),
        }
    }

    async fn handle(
        &mut self,
        tx: &mut S::Tx,
        partition: PartitionId,
        records: Vec<(u64, Bytes)>,
        parked: &mut Vec<Aside>,
    ) -> Result<(), SqlError> {
        for (offset, payload) in records {
            let word = String::from_utf8(payload.to_vec()).unwrap();
            if word == "contrary" {
                let (order, cause, kind) = (Some(of_shop()), "it contradicts".into(), KIND.into());
                parked.push(Aside { offset, item: 2, order, cause, kind, payload });
                continue;
            }
            let note = "INSERT INTO noted (partition_id, log_offset, word) VALUES (?, ?, ?)";
            tx.exec(note, vec![partition.0.into(), offset.cast_signed().into(), word.as_str().into()]).await?;
            if self.refused == Some(offset) {
                return Err(SqlError::Broken("refused".into()));
            }
        }
        Ok(())
    }
}

fn of_shop() -> (TenantId, OrderId) {
    (TenantId::new(7).unwrap(), OrderId::new(900).unwrap())
}

async fn noted<S: Sql>(db: &S) -> Vec<i64> {
    let rows = db.rows("SELECT log_offset FROM noted ORDER BY log_offset", vec![]).await.unwrap();
    rows.into_iter().map(|mut row| row.int().unwrap()).collect()
}

fn consumer<S: Sql>(db: &S, held: Held) -> Consumer<S, Held> {
    Consumer::new(db.clone(), "toy", Topic::OrderEvents, PARTITION, held)
}

const WAIT: Duration = Duration::ZERO;

pub(crate) async fn a_position_moves_with_what_was_made_of_the_records<A: Adapter>(adapter: A) {
    let (_space, db) = database(adapter).await;
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
    let (_space, db) = database(adapter).await;
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
    assert_eq!(anew.step(&mut handler, WAIT).await.unwrap(), 1, "alone it is refused again: parked");
    assert_eq!(anew.step(&mut handler, WAIT).await.unwrap(), 0);
    db.close().await;
}

/// What is parked, in the order of the topic: offset, item, order, cause, payload.
async fn parked<S: Sql>(db: &S) -> Vec<(i64, i64, i64, String, Bytes)> {
    let query = "SELECT log_offset, item, order_id, cause, payload FROM parked_records \
                 WHERE consumer = ? AND topic = 'order-events' AND tenant IN (0, 7) AND kind = ? AND parked_at > 0 \
                 ORDER BY log_offset";
    let rows = db.rows(query, vec!["toy".into(), KIND.into()]).await.unwrap();
    let read = |mut row: Row| {
        let (offset, item, order) = (row.int().unwrap(), row.int().unwrap(), row.int().unwrap());
        (offset, item, order, row.text().unwrap(), row.bytes().unwrap())
    };
    rows.into_iter().map(read).collect()
}

/// Steps until nothing comes; a refused span comes again.
async fn to_the_end<S: Sql>(consumer: &mut Consumer<S, Held>, handler: &mut Noting) {
    let mut idle = 0;
    for _ in 0..100 {
        idle = if matches!(consumer.step(handler, WAIT).await, Ok(0)) { idle + 1 } else { 0 };
        if idle == 3 {
            return;
        }
    }
    panic!("the topic has an end");
}

/// Damaged, contradicting and unfit records between sound ones: each is parked once with its cause,
/// and all others are taken, whoever goes on with it.
pub(crate) async fn what_is_damaged_or_contradicts_is_parked_and_the_others_go_on<A: Adapter>(adapter: A) {
    let (_space, db) = database(adapter).await;
    let told = vec![(1, KIND, "damaged"), (4, KIND, "contrary"), (6, KIND, "unfit"), (7, KIND, "damaged")];
    let held = || Held { told: told.clone(), ..Held::new(0, 10) };
    let mut handler = Noting { refused: Some(2) };
    let mut first = consumer(&db, held());
    assert!(first.step(&mut handler, WAIT).await.is_err());
    assert_eq!((noted(&db).await, parked(&db).await), (vec![], vec![]), "parked with the position, or not at all");
    handler.refused = None;
    to_the_end(&mut first, &mut handler).await;
    to_the_end(&mut consumer(&db, held()), &mut handler).await;
    assert_eq!(noted(&db).await, [0, 2, 3, 5, 8, 9]);
    let parked = parked(&db).await;
    let places: Vec<_> = parked.iter().map(|(offset, item, order, ..)| (*offset, *item, *order)).collect();
    assert_eq!(places, [(1, 0, 0), (4, 2, 900), (6, 0, 0), (7, 0, 0)]);
    for ((_, _, _, cause, payload), (_, _, told)) in parked.iter().zip(&told) {
        assert_eq!(payload, told.as_bytes());
        let word = match *told {
            "damaged" => "a word that is none",
            "contrary" => "it contradicts",
            _ => "the database cannot hold this",
        };
        assert!(cause.contains(word), "{cause}");
    }
    db.close().await;
}

/// A record of a newer program waits, and those before it are taken; once the program is updated it
/// goes on where it was. An operator sees both in the figures.
pub(crate) async fn what_a_newer_program_wrote_waits_for_the_update<A: Adapter>(adapter: A) {
    let (_space, db) = database(adapter).await;
    let consumer = |told| {
        let held = Held { told, ..Held::new(0, 6) };
        Consumer::new(db.clone(), "toy_of_before", Topic::OrderEvents, PARTITION, held)
    };
    let mut handler = Noting { refused: None };
    for newer in [(2, "flashsale.tomorrow.v1", "sound"), (2, KIND, "newer")] {
        let mut of_before = consumer(vec![(0, KIND, "damaged"), newer]);
        for _ in 0..3 {
            match of_before.step(&mut handler, WAIT).await {
                Ok(taken) => assert_eq!(taken, 2),
                Err(ConsumeError::Newer { offset, .. }) => assert_eq!(offset, 2),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(noted(&db).await, [1]);
        }
    }
    let counted = |outcome| {
        let labels = vec![("consumer", "toy_of_before"), ("outcome", outcome)];
        figures(&["toy_of_before"]).into_iter().find(|figure| figure.labels == labels).unwrap().value
    };
    assert!(counted("newer") >= 5.0 && counted("parked") >= 1.0 && counted("taken") >= 1.0);
    to_the_end(&mut consumer(vec![]), &mut handler).await;
    assert_eq!(noted(&db).await, [1, 2, 3, 4, 5]);
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
    let (_space, db) = database(adapter).await;
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
