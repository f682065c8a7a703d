//! What the ports of the order log promise, for every adapter. Method: each rule gets a rig of its
//! own, with an empty log of [`PARTITIONS`] partitions; what an adapter does beside the ports is in
//! its own files.

use std::{collections::BTreeSet, future::Future, time::Duration};

use bytes::Bytes;
use domain::{
    id::{LaneId, OfferId, PartitionId, RecordId, SaleId, SkuId, TenantId},
    money::Money,
    record::{ORDER_EVENTS_TYPE, Topic},
    sale::{Lane, Offer, Sale, SubjectKind, Window},
};
use store::log::{
    DeadLetters, Entry, Envelope, OrderLog, OrderLogSource, ParkedRecords, PartitionReader, ReadError, SalesFollower,
    SalesPublisher, Topics, Watermarks, room::RECORD_BYTES_MAX,
};

/// One adapter on an empty log of its own.
pub(crate) trait Rig: Send + Sync + 'static {
    type Log: OrderLog + Topics + SalesPublisher + DeadLetters;
    type Dead: ParkedRecords;
    type Source: OrderLogSource;
    type Follower: SalesFollower;

    fn log(&self) -> Self::Log;

    /// Another producer, with room for so much.
    fn narrow_log(&self, records_max: usize, bytes_max: usize) -> Self::Log;

    fn source(&self) -> Self::Source {
        self.source_of(Topic::Orders)
    }

    fn source_of(&self, topic: Topic) -> Self::Source;

    fn follower(&self) -> Self::Follower;

    fn dead(&self) -> Self::Dead;

    /// Deletes what stands before this offset in the partition [`FIRST`].
    fn delete_before(&self, offset: u64) -> impl Future<Output = ()> + Send;

    /// Puts among the sales what a follower must skip.
    fn damage_sales(&self) -> impl Future<Output = ()> + Send;
}

pub(crate) const KIND: &str = "flashsale.batch.v1";
pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const FIRST: PartitionId = PartitionId(0);
pub(crate) const SECOND: PartitionId = PartitionId(1);
/// Long enough for a slow machine; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// For reads that must find nothing.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// All rules, on rigs that a function makes.
macro_rules! contract {
    ($on_rig:path) => {
        contract! { $on_rig:
            appends_in_parallel_are_acknowledged_each_with_its_own_offset
            without_room_it_refuses_at_once_and_room_comes_back
            a_dropped_append_is_still_appended
            a_record_above_the_limit_is_refused
            the_log_tells_what_became_of_its_records
            a_partition_that_does_not_exist_is_refused
            what_is_appended_comes_back_in_order
            a_reader_goes_where_it_is_sent
            entry_at_gives_the_record_of_that_offset_or_none
            a_read_keeps_to_its_bounds
            a_read_at_the_end_waits_and_then_gives_what_comes
            a_position_outside_the_log_is_out_of_range
            a_cancelled_read_loses_nothing
            topics_have_records_of_their_own
            parked_records_are_read_back_page_by_page
            sales_come_from_the_beginning_then_the_end_then_as_they_are_published
        }
    };
    ($on_rig:path: $($rule:ident)*) => {
        $(#[tokio::test]
        async fn $rule() {
            $on_rig($crate::contract::$rule).await;
        })*
    };
}

pub(crate) fn record(number: u64, payload: impl Into<Bytes>) -> Envelope {
    Envelope { id: RecordId::new(number).unwrap(), kind: KIND, payload: payload.into() }
}

pub(crate) fn entry(offset: u64, record: &Envelope) -> Entry {
    Entry { offset, id: Some(record.id), kind: record.kind.into(), payload: record.payload.clone() }
}

pub(crate) async fn append(log: &impl OrderLog, partition: PartitionId, record: &Envelope) -> u64 {
    let room = log.room().unwrap();
    log.append(partition, record.clone(), room).await.unwrap()
}

/// Appends records 1 to `count`.
pub(crate) async fn append_all(log: &impl OrderLog, partition: PartitionId, count: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    for number in 1..=count {
        let record = record(number, format!("payload {number}"));
        entries.push(entry(append(log, partition, &record).await, &record));
    }
    entries
}

/// Reads until this many records came.
pub(crate) async fn read(reader: &mut impl PartitionReader, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(reader.read(count, usize::MAX, PATIENCE).await.unwrap());
    }
    entries
}

pub(crate) fn is_out_of_range(error: &ReadError, expected: u64) -> bool {
    matches!(error, ReadError::OutOfRange { partition: FIRST, offset } if *offset == expected)
}

pub(crate) async fn appends_in_parallel_are_acknowledged_each_with_its_own_offset(rig: impl Rig) {
    let log = rig.log();
    let mut appends = tokio::task::JoinSet::new();
    for number in 1..=200 {
        let log = log.clone();
        appends.spawn(async move { append(&log, FIRST, &record(number, "p")).await });
    }
    let offsets: BTreeSet<u64> = appends.join_all().await.into_iter().collect();
    assert_eq!(offsets, (0..200).collect());
    assert_eq!(log.in_flight(), 0);
}

/// A partition of one topic knows nothing of the same one of another topic; the queue is the same.
pub(crate) async fn topics_have_records_of_their_own(rig: impl Rig) {
    let (orders, events) = (rig.log(), rig.log().of(Topic::OrderEvents));
    let mut written = Vec::new();
    for number in 1..=3 {
        let record = Envelope { kind: ORDER_EVENTS_TYPE, ..record(number, format!("event {number}")) };
        written.push(entry(append(&events, FIRST, &record).await, &record));
    }
    let promised = append_all(&orders, FIRST, 2).await;
    append_all(&events, SECOND, 1).await;
    let mut of_orders = rig.source().reader(FIRST).unwrap();
    let mut of_events = rig.source_of(Topic::OrderEvents).reader(FIRST).unwrap();
    assert_eq!(read(&mut of_events, 3).await, written);
    assert_eq!(read(&mut of_orders, 2).await, promised);
    assert_eq!(of_events.watermarks().await.unwrap(), Watermarks { low: 0, high: 3 });
    assert_eq!(of_orders.watermarks().await.unwrap(), Watermarks { low: 0, high: 2 });
    assert_eq!(of_events.entry_at(1).await.unwrap().as_ref(), Some(&written[1]));
    assert!(rig.source_of(Topic::OrderEvents).reader(PartitionId(PARTITIONS)).is_err());
}

/// R7: a full queue refuses before anything is promised.
pub(crate) async fn without_room_it_refuses_at_once_and_room_comes_back(rig: impl Rig) {
    let log = rig.narrow_log(3, usize::MAX);
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

    let log = rig.narrow_log(100, 2 * RECORD_BYTES_MAX);
    let rooms = (log.room().unwrap(), log.room().unwrap());
    assert!(log.room().is_none(), "bytes are bounded too");
    drop(rooms);
    assert!(log.room().is_some());
}

pub(crate) async fn a_dropped_append_is_still_appended(rig: impl Rig) {
    let log = rig.log();
    let record = record(1, "p");
    drop(log.append(FIRST, record.clone(), log.room().unwrap()));
    assert_eq!(log.flush(PATIENCE).await, 0);
    assert_eq!(log.in_flight(), 0);
    let mut reader = rig.source().reader(FIRST).unwrap();
    assert_eq!(read(&mut reader, 1).await, [entry(0, &record)]);
}

pub(crate) async fn a_record_above_the_limit_is_refused(rig: impl Rig) {
    let log = rig.log();
    log.append(FIRST, record(1, vec![0; RECORD_BYTES_MAX]), log.room().unwrap()).await.unwrap_err();
    assert_eq!(log.in_flight(), 0);
    assert_eq!(append(&log, FIRST, &record(2, "p")).await, 0, "nothing of it is in the log");
}

/// Records by what became of them, and the room they hold.
pub(crate) async fn the_log_tells_what_became_of_its_records(rig: impl Rig) {
    let log = rig.log();
    append_all(&log, FIRST, 3).await;
    log.append(FIRST, record(4, vec![0; RECORD_BYTES_MAX]), log.room().unwrap()).await.unwrap_err();
    let appended = log.figures().appended;
    assert_eq!((appended.acknowledged, appended.acknowledged_bytes, appended.too_large), (3, 27, 1));
    assert_eq!((appended.timed_out, appended.queue_full, appended.refused, appended.producer_failed), (0, 0, 0, 0));
    let _room = log.room().unwrap();
    let figures = log.figures();
    assert_eq!((figures.rooms_taken, figures.room_bytes), (1, RECORD_BYTES_MAX as u64));
}

pub(crate) async fn a_partition_that_does_not_exist_is_refused(rig: impl Rig) {
    let log = rig.log();
    log.append(PartitionId(PARTITIONS), record(1, "p"), log.room().unwrap()).await.unwrap_err();
    assert_eq!(log.in_flight(), 0);
    assert!(rig.source().reader(PartitionId(PARTITIONS)).is_err());
}

pub(crate) async fn what_is_appended_comes_back_in_order(rig: impl Rig) {
    let log = rig.log();
    let large = record(7, vec![7; RECORD_BYTES_MAX - 1024]);
    let mut expected = append_all(&log, SECOND, 5).await;
    expected.push(entry(append(&log, SECOND, &large).await, &large));
    assert_eq!(expected.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);

    let source = rig.source();
    let mut reader = source.reader(SECOND).unwrap();
    assert_eq!(read(&mut reader, 6).await, expected);
    assert_eq!(reader.watermarks().await.unwrap(), Watermarks { low: 0, high: 6 });
    let mut other = source.reader(FIRST).unwrap();
    assert_eq!(other.watermarks().await.unwrap(), Watermarks { low: 0, high: 0 });
}

pub(crate) async fn a_reader_goes_where_it_is_sent(rig: impl Rig) {
    let entries = append_all(&rig.log(), FIRST, 6).await;
    let mut reader = rig.source().reader(FIRST).unwrap();
    for offset in [3, 5, 0, 1] {
        reader.seek(offset).await.unwrap();
        let from = usize::try_from(offset).unwrap();
        assert_eq!(read(&mut reader, 6 - from).await, entries[from..], "from offset {offset}");
    }
}

pub(crate) async fn entry_at_gives_the_record_of_that_offset_or_none(rig: impl Rig) {
    let entries = append_all(&rig.log(), FIRST, 4).await;
    let mut reader = rig.source().reader(FIRST).unwrap();
    assert_eq!(reader.entry_at(2).await.unwrap().as_ref(), Some(&entries[2]));
    assert_eq!(reader.entry_at(0).await.unwrap().as_ref(), Some(&entries[0]));
    assert_eq!(reader.entry_at(4).await.unwrap(), None, "the next to be written");
    assert_eq!(reader.entry_at(4000).await.unwrap(), None, "far beyond");
    reader.seek(1).await.unwrap();
    assert_eq!(read(&mut reader, 3).await, entries[1..]);
}

pub(crate) async fn a_read_keeps_to_its_bounds(rig: impl Rig) {
    let entries = append_all(&rig.log(), FIRST, 6).await;
    let mut reader = rig.source().reader(FIRST).unwrap();
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
}

pub(crate) async fn a_read_at_the_end_waits_and_then_gives_what_comes(rig: impl Rig) {
    let log = rig.log();
    append_all(&log, FIRST, 3).await;
    let mut reader = rig.source().reader(FIRST).unwrap();
    reader.seek(3).await.unwrap();
    assert_eq!(reader.read(10, usize::MAX, SHORT).await.unwrap(), []);
    let late = record(9, "late");
    let (read, offset) = tokio::join!(reader.read(10, usize::MAX, PATIENCE), append(&log, FIRST, &late));
    assert_eq!(read.unwrap(), [entry(offset, &late)]);
}

/// R10: a position that the log does not have any more, or not yet again, is an error until the
/// writer decides.
pub(crate) async fn a_position_outside_the_log_is_out_of_range(rig: impl Rig) {
    let entries = append_all(&rig.log(), FIRST, 5).await;
    let mut reader = rig.source().reader(FIRST).unwrap();
    reader.seek(50).await.unwrap();
    for _ in 0..2 {
        let error = reader.read(10, usize::MAX, PATIENCE).await.unwrap_err();
        assert!(is_out_of_range(&error, 50), "{error}");
    }

    rig.delete_before(3).await;
    assert_eq!(reader.watermarks().await.unwrap(), Watermarks { low: 3, high: 5 });
    reader.seek(1).await.unwrap();
    let error = reader.read(10, usize::MAX, PATIENCE).await.unwrap_err();
    assert!(is_out_of_range(&error, 1), "{error}");
    assert_eq!(reader.entry_at(1).await.unwrap(), None);
    reader.seek(3).await.unwrap();
    assert_eq!(read(&mut reader, 2).await, entries[3..]);
    let mut fresh = rig.source().reader(FIRST).unwrap();
    assert_eq!(read(&mut fresh, 2).await, entries[3..], "a new reader stands at the first record");
}

pub(crate) async fn a_cancelled_read_loses_nothing(rig: impl Rig) {
    let entries = append_all(&rig.log(), FIRST, 3).await;
    let mut reader = rig.source().reader(FIRST).unwrap();
    let mut back = Vec::new();
    while back.len() < 3 {
        tokio::select! {
            biased;
            some = reader.read(1, usize::MAX, PATIENCE) => back.extend(some.unwrap()),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    assert_eq!(back, entries);
}

/// Fault 29: whatever was parked is found with its cause, one that is no record at all too.
pub(crate) async fn parked_records_are_read_back_page_by_page(rig: impl Rig) {
    let (log, dead) = (rig.log(), rig.dead());
    assert_eq!(dead.parked(0, 10).await.unwrap(), []);
    let strange = Entry { offset: 9, id: None, kind: String::new(), payload: Bytes::from_static(&[0xff; 3]) };
    let entries = [entry(4, &record(41, "first")), strange, entry(7, &record(42, "third"))];
    for (number, entry) in entries.iter().enumerate() {
        log.park(SECOND, entry, &format!("cause {number}")).await.unwrap();
    }
    let all = dead.parked(0, 10).await.unwrap();
    let found: Vec<&Entry> = all.iter().map(|parked| &parked.entry).collect();
    assert_eq!(found, entries.iter().collect::<Vec<_>>());
    let causes: Vec<&str> = all.iter().map(|parked| parked.cause.as_str()).collect();
    assert_eq!(causes, ["cause 0", "cause 1", "cause 2"]);
    assert!(all.iter().all(|parked| parked.partition == SECOND && parked.parked_at_ms > 0));
    assert!(all.is_sorted_by(|one, next| one.number < next.number));
    assert_eq!(dead.parked(0, 2).await.unwrap(), all[..2]);
    assert_eq!(dead.parked(all[1].number, 10).await.unwrap(), all[1..]);
    assert_eq!(dead.parked(all[2].number + 1, 10).await.unwrap(), []);
}

pub(crate) fn sale(id: u64, version: u32) -> Sale {
    let offer = Offer {
        paused: false,
        id: OfferId::new(id).unwrap(),
        sku: SkuId::new(1).unwrap(),
        title: "offer".into(),
        price: Money { amount: 100, currency: "EUR".parse().unwrap() },
        allotment: 10,
        rate_per_s: 1_000,
    };
    let lane =
        Lane { paused: false, id: LaneId::new(id).unwrap(), partition: FIRST, limit_per_buyer: 1, offers: vec![offer] };
    Sale {
        id: SaleId::new(id).unwrap(),
        tenant: TenantId::new(1).unwrap(),
        version,
        title: "sale".into(),
        window: Window { opens_at_ms: 1, closes_at_ms: 2 },
        paused: false,
        buyer_rate_per_s: 1,
        shard_map_version: 1,
        limit_by: SubjectKind::Account,
        members_only: false,
        visible_from_ms: 0,
        orders: domain::sale::OrderTerms::default(),
        lanes: vec![lane],
    }
}

/// The newest version of each sale for certain, older ones maybe, each after those before it.
pub(crate) async fn sales_come_from_the_beginning_then_the_end_then_as_they_are_published(rig: impl Rig) {
    let mut early = rig.follower();
    assert_eq!(early.next().await.unwrap(), [], "an empty topic ends at once");
    let log = rig.log();
    for version in 1..=3 {
        log.publish(&sale(1, version)).await.unwrap();
    }
    rig.damage_sales().await;
    log.publish(&sale(2, 1)).await.unwrap();
    let mut sales = Vec::new();
    while !sales.contains(&sale(2, 1)) {
        sales.extend(early.next().await.unwrap());
    }
    assert_in_order(&sales);

    let mut follower = rig.follower();
    let mut sales = Vec::new();
    loop {
        let some = follower.next().await.unwrap();
        if some.is_empty() {
            break;
        }
        sales.extend(some);
    }
    assert_in_order(&sales);
    let live = sale(1, 4);
    let (some, published) = tokio::join!(follower.next(), log.publish(&live));
    published.unwrap();
    assert_eq!(some.unwrap(), [live]);
}

/// Of what was published: versions 1 to 3 of the first sale, then the second.
fn assert_in_order(sales: &[Sale]) {
    let all = [sale(1, 1), sale(1, 2), sale(1, 3), sale(2, 1)];
    assert!(sales.ends_with(&all[2..]), "the newest come for certain: {sales:?}");
    assert!(all.ends_with(sales), "nothing else, and nothing twice: {sales:?}");
}
