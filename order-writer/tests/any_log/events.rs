//! The events of orders: what the topic `order-events` tells is what the rows say, in the order of
//! each order's sequence, also over restarts and over appends that fail.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use domain::{
    event::{EventKind, OrderEvent, decode_events},
    id::{LaneId, OrderId, PartitionId},
    order::{OrderRow, Status, Transition},
    record::{ORDER_EVENTS_TYPE, Topic},
};
use order_writer::desk;
use store::{
    log::{OrderLog, OrderLogSource, PartitionReader, sqlite::SqliteSource},
    orders::{Marked, OutboxRow},
};

use super::rig::{LANES, PARTITION, PATIENCE, Rig, id, until};

/// Events of an order, as they came first; later copies are left out.
type Told = BTreeMap<OrderId, Vec<OrderEvent>>;

async fn told(rig: &Rig) -> Told {
    let source = SqliteSource::of(&rig.log, Topic::OrderEvents);
    let (mut told, mut seen) = (Told::new(), BTreeSet::new());
    for partition in (0..=rig.last.0).map(PartitionId) {
        let mut reader = source.reader(partition).unwrap();
        let high = reader.watermarks().await.unwrap().high;
        let mut next = 0;
        while next < high {
            let records = reader.read(usize::MAX, usize::MAX, PATIENCE).await.unwrap();
            next = records.last().unwrap().offset + 1;
            for record in records {
                for event in decode_events(&record.kind, record.payload).unwrap() {
                    if seen.insert((event.order, event.sequence)) {
                        told.entry(event.order).or_default().push(event);
                    }
                }
            }
        }
    }
    told
}

fn expected(row: &OrderRow) -> Vec<(u8, EventKind)> {
    let first = if row.status == Status::Rejected { Transition::Reject } else { Transition::Accept };
    let given_back = match row.status {
        Status::Cancelled => Some(Transition::Cancel),
        Status::Expired => Some(Transition::Expire),
        // Of a forged release.
        Status::Refunding | Status::Refunded => Some(Transition::RefundPaid),
        _ => None,
    };
    let given_back = given_back.filter(|_| row.released.is_some());
    let mut events: Vec<_> =
        [Some(first), given_back].into_iter().flatten().map(|way| (way.sequence(), way.event())).collect();
    events.extend(given_back.map(|way| (way.sequence() + 1, EventKind::Released)));
    events
}

/// Every row of these lanes has exactly its events, in their order.
pub(crate) async fn tell_what_the_rows_say(rig: &Rig, lanes: &[u64], seed: u64) {
    let lanes: Vec<LaneId> = lanes.iter().map(|&lane| id(lane)).collect();
    let mut told = told(rig).await;
    let mut count = 0;
    for home in rig.store.orders.map().all() {
        for row in rig.store.orders.scan(home, &lanes, 0, None, 100_000).await.unwrap() {
            let events = told.remove(&row.order).unwrap_or_default();
            let heads: Vec<_> = events.iter().map(|event| (event.sequence, event.kind)).collect();
            assert_eq!(heads, expected(&row), "seed {seed}: {row:?}");
            for event in events {
                let of = (event.tenant, event.sale, event.offer, event.buyer, event.quantity);
                assert_eq!(of, (row.tenant, row.sale, row.offer, row.buyer, row.quantity), "seed {seed}: INV-7");
                assert_eq!(event.reason, row.reason.filter(|_| event.kind == EventKind::Rejected));
            }
            count += 1;
        }
    }
    assert!(count > 0, "seed {seed}");
    assert!(told.is_empty(), "seed {seed}: events of no row: {told:?}");
}

/// While the topic takes nothing the ledger does not pass the records, and nothing is lost: all is
/// told when it takes records again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_by_the_ledger_before_its_events_are_durable() {
    let mut rig = Rig::open().await;
    let sold = rig.buy(LANES[0], 1, false).await.remove(0);
    rig.until_rest().await;
    let position = rig.position().await;
    // Of the file's records those of the topic `order-events` stand from here on.
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON records WHEN new.place >= 4096 << 44 \
                  BEGIN SELECT RAISE(ABORT, 'the topic takes nothing'); END";
    rig.sql("log.db", refuse);
    let buyer = rig.buy(LANES[0], 2, false).await.remove(0);
    until("the append fails, again and again", || async {
        rig.figure_of("flashsale_writer_halts_total{cause=\"append\"}") >= 2
    })
    .await;
    assert_eq!((rig.position().await, rig.row(buyer.order).await.is_some()), (position, true));
    rig.sql("log.db", "DROP TRIGGER refuse");
    rig.until_rest().await;
    desk::cancel(&rig.store.orders, &rig.store.ledger, sold.order).await.unwrap();
    until("its release is decided", || async { rig.row(sold.order).await.unwrap().released.is_some() }).await;
    rig.until_rest().await;
    tell_what_the_rows_say(&rig, &LANES, 0).await;
    rig.close().await;
}

/// A full producer is waited for, and a span that tells more than it has room for is told all the
/// same, without a halt.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_waits_for_room_for_its_events() {
    let mut rig = Rig::open().await;
    rig.stop().await;
    let mut sold = Vec::new();
    for buyer in 1..=5 {
        sold.extend(rig.buy(LANES[0], buyer, false).await);
    }
    let mut rooms: Vec<_> = std::iter::from_fn(|| rig.log.room()).collect();
    rig.start();
    until("the rows are there", || async { rig.row(sold[4].order).await.is_some() }).await;
    // Room for one record at a time.
    drop(rooms.pop());
    rig.until_rest().await;
    assert_eq!(rig.figure_of("flashsale_writer_halts_total{cause=\"append\"}"), 0);
    drop(rooms);
    tell_what_the_rows_say(&rig, &LANES, 0).await;
    rig.close().await;
}

/// A row of the outbox goes to the topic that it names, under its kind, and is out when it is
/// acknowledged. What this program does not know waits, and delays nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_row_goes_to_its_topic_and_an_unknown_kind_waits() {
    let mut rig = Rig::open().await;
    let mut sold = Vec::new();
    for buyer in 1..=2 {
        sold.extend(rig.buy(LANES[0], buyer, false).await);
    }
    rig.until_rest().await;
    let kinds = [(ORDER_EVENTS_TYPE, "order-events"), ("flashsale.tomorrow.v1", "order-events")];
    for (promise, (number, (kind, topic))) in sold.iter().zip((71..).zip(kinds)) {
        let row = rig.row(promise.order).await.unwrap();
        let OrderRow { order, lane, tenant, sale, offer, buyer, quantity, .. } = row;
        let way = Transition::Pay;
        let (sequence, kind_of, none) = (way.sequence(), way.event(), None);
        let event = OrderEvent {
            order,
            sequence,
            kind: kind_of,
            tenant,
            sale,
            offer,
            buyer,
            quantity,
            purchased: none,
            reason: None,
            refunded: 0,
        };
        let mut payload = Vec::new();
        event.append(&mut payload);
        let payload = Bytes::from(payload);
        let out = OutboxRow {
            id: id(number),
            order,
            lane,
            partition: PARTITION,
            kind: kind.into(),
            topic: topic.into(),
            payload,
        };
        assert_eq!(rig.store.orders.mark(order, way, Some(out)).await.unwrap(), Marked::Done);
    }
    until("the payment is told", || async { told(&rig).await[&sold[0].order].len() == 2 }).await;
    let of_first = &told(&rig).await[&sold[0].order];
    assert_eq!((of_first[1].sequence, of_first[1].kind), (2, EventKind::Paid));
    until("only the other row is left", || async {
        let mut left = Vec::new();
        for shard in [0, 1].map(domain::shard::ShardId) {
            left.extend(rig.store.orders.outbox(shard, 10).await.unwrap());
        }
        left.iter().map(|row| &*row.kind).eq(["flashsale.tomorrow.v1"])
    })
    .await;
    let other = rig.buy(LANES[0], 3, false).await.remove(0);
    until("another row is there", || async { rig.row(other.order).await.is_some() }).await;
    desk::cancel(&rig.store.orders, &rig.store.ledger, other.order).await.unwrap();
    until("its release is decided", || async { rig.row(other.order).await.unwrap().released.is_some() }).await;
    assert_eq!(told(&rig).await[&sold[1].order].len(), 1);
    rig.close().await;
}
