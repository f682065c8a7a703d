//! Goal: a status changes only from what it was, together with its outbox row (R8), and the sweep
//! finds what is overdue.

use bytes::Bytes;
use domain::{
    id::{OrderId, PartitionId, RecordId},
    order::{OrderRow, Status, Transition},
    record::{RELEASED_TYPE, Topic},
};
use store::{
    orders::{Marked, OutboxRow},
    sql::{Sql, SqlError, Value},
};

use super::support::{Adapter, MINTED_AT_MS, PARTITION, deployment, later, row, write};

fn release(order: &OrderRow, id: u64) -> OutboxRow {
    OutboxRow {
        id: RecordId::new(id).unwrap(),
        order: order.order,
        lane: order.lane,
        partition: PARTITION,
        kind: RELEASED_TYPE.into(),
        topic: Topic::Orders.name().into(),
        payload: Bytes::from_static(b"\x00\xff record"),
    }
}

pub(crate) async fn a_mark_and_its_outbox_row_are_one_change<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 2, 4).await;
    let rows: Vec<OrderRow> = (1..=9).map(row).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    let (order, shard) = (rows[0].order, d.orders.map().home_of_order(rows[0].order).shard);
    let (pending, cancel, refund) = (Status::PendingPayment, Transition::Cancel, Transition::RefundPaid);

    let conflict = d.orders.mark(order, refund, Some(release(&rows[0], 50))).await.unwrap();
    assert_eq!(conflict, Marked::Conflict(pending));
    let missing = row(99).order;
    assert_eq!(d.orders.mark(missing, Transition::Pay, None).await.unwrap(), Marked::NotFound);
    assert_eq!(d.orders.outbox(shard, 10).await.unwrap(), []);

    assert_eq!(d.orders.mark(order, cancel, Some(release(&rows[0], 50))).await.unwrap(), Marked::Done);
    assert_eq!(d.orders.outbox(shard, 10).await.unwrap(), [release(&rows[0], 50)]);

    // An outbox row that cannot be written undoes the mark.
    let other = rows[1..].iter().find(|row| d.orders.map().home_of_order(row.order).shard == shard).unwrap();
    let taken = d.orders.mark(other.order, Transition::Expire, Some(release(other, 50))).await;
    assert!(matches!(taken, Err(SqlError::KeyTaken(_))), "{taken:?}");
    assert_eq!(d.orders.find(&[other.order]).await.unwrap()[&other.order].status, pending);
    let another = rows.iter().find(|row| row.order != order).unwrap();
    assert!(d.orders.mark(order, refund, Some(release(another, 51))).await.is_err(), "another's outbox row");

    // A transition that makes a row marks none, and one that gives nothing back has no releases.
    let home = d.orders.map().home_of_order(other.order);
    assert!(d.orders.mark(other.order, Transition::Accept, None).await.is_err());
    assert!(d.orders.mark_all(home, Transition::Pay, &[release(other, 52)]).await.is_err());
    assert_eq!(d.orders.find(&[other.order]).await.unwrap()[&other.order].status, pending);

    // The row that a program before the kinds puts in is read as what it is.
    let hand = d.space.hand(&d.space.orders(shard.0));
    let older = "INSERT INTO outbox (id, order_id, lane, partition_id, payload, created_at) VALUES (?, ?, ?, ?, ?, 1)";
    let row = release(other, 40);
    let values = [row.id.stored(), row.order.stored(), row.lane.stored(), PARTITION.0.into()];
    let mut params: Vec<Value> = values.into_iter().map(Value::from).collect();
    params.push(row.payload.clone().into());
    assert_eq!(hand.exec(older, params).await.unwrap(), 1);
    assert_eq!(d.orders.outbox(shard, 10).await.unwrap(), [row, release(&rows[0], 50)]);
    hand.close().await;
}

pub(crate) async fn the_outbox_is_read_by_id_and_emptied_by_id<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let rows: Vec<OrderRow> = (1..=9).map(row).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    for (row, id) in rows.iter().zip((1..=9).rev()) {
        let marked = d.orders.mark(row.order, Transition::Expire, Some(release(row, id))).await.unwrap();
        assert_eq!(marked, Marked::Done);
    }
    let ids = |rows: &[OutboxRow]| rows.iter().map(|row| row.id.get()).collect::<Vec<_>>();
    let shard = domain::shard::ShardId(0);
    assert_eq!(ids(&d.orders.outbox(shard, 4).await.unwrap()), [1, 2, 3, 4]);
    let done: Vec<RecordId> = [1, 3, 5, 77].map(|id| RecordId::new(id).unwrap()).to_vec();
    d.orders.outbox_done(shard, &done).await.unwrap();
    d.orders.outbox_done(shard, &done).await.unwrap();
    assert_eq!(ids(&d.orders.outbox(shard, 100).await.unwrap()), [2, 4, 6, 7, 8, 9]);
}

pub(crate) async fn only_unpaid_orders_are_overdue<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 2).await;
    let rows: Vec<OrderRow> = (1..=20).map(row).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    assert_eq!(d.orders.mark(rows[2].order, Transition::Pay, None).await.unwrap(), Marked::Done);
    let mut overdue: Vec<OrderId> = Vec::new();
    for home in d.orders.map().all() {
        let found = d.orders.overdue(home, None, MINTED_AT_MS + 11, 100).await.unwrap();
        let mut paged = Vec::new();
        while let [row] = &d.orders.overdue(home, paged.last().copied(), MINTED_AT_MS + 11, 1).await.unwrap()[..] {
            paged.push(row.order);
        }
        assert_eq!(paged, found.iter().map(|row| row.order).collect::<Vec<_>>());
        overdue.extend(found.iter().map(|row| row.order));
    }
    overdue.sort_unstable();
    let expected = rows[..10].iter().filter(|row| row.order != rows[2].order);
    assert_eq!(overdue, expected.map(|row| row.order).collect::<Vec<_>>());
    let now = d.orders.now_ms(domain::shard::ShardId(0)).await.unwrap();
    assert!(now > MINTED_AT_MS);
}

/// Each page goes on after the one before, also among orders of one moment; what is paid, what is
/// due later and what says no time is left out.
pub(crate) async fn orders_past_their_time_to_pay_are_found_by_it<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 2).await;
    let rows: Vec<OrderRow> = (1..=40).map(row).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    assert_eq!(d.orders.mark(rows[2].order, Transition::Pay, None).await.unwrap(), Marked::Done);
    let now_ms = MINTED_AT_MS + 900_001;
    let mut due: Vec<OrderId> = Vec::new();
    for home in d.orders.map().all() {
        let found = d.orders.past_pay_by(home, None, now_ms, 100).await.unwrap();
        let mut paged = Vec::new();
        while let [row] = &d.orders.past_pay_by(home, paged.last().copied(), now_ms, 1).await.unwrap()[..] {
            paged.push(row.order);
        }
        assert_eq!(paged, found.iter().map(|row| row.order).collect::<Vec<_>>());
        due.extend(paged);
    }
    due.sort_unstable();
    let is_due = |row: &&OrderRow| row.pay_by_ms.is_some_and(|ms| ms <= now_ms) && row.order != rows[2].order;
    let mut expected: Vec<OrderId> = rows.iter().filter(is_due).map(|row| row.order).collect();
    expected.sort_unstable();
    assert!(expected.len() > 10 && expected.len() < 30);
    assert_eq!(due, expected);
}

/// Many orders at once: each by compare-and-set, with its outbox row or not at all, and the others
/// whatever one of them is.
pub(crate) async fn many_orders_are_marked_with_their_outbox_rows<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 2, 2).await;
    let rows: Vec<OrderRow> = (1..=700).map(row).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    let (pending, expired, expire) = (Status::PendingPayment, Status::Expired, Transition::Expire);
    let home = d.orders.map().home_of_order(rows[0].order);
    let here: Vec<&OrderRow> = rows.iter().filter(|row| d.orders.map().home_of_order(row.order) == home).collect();
    let paid = here[1].order;
    assert_eq!(d.orders.mark(paid, Transition::Pay, None).await.unwrap(), Marked::Done);
    let gone = later(here[0], 5, 2);
    let releases: Vec<OutboxRow> =
        here.iter().rev().copied().chain([&gone]).zip(1..).map(|(row, id)| release(row, id)).collect();
    let marked = d.orders.mark_all(home, expire, &releases).await.unwrap();
    assert_eq!(marked.len(), releases.len());
    for (order, marked) in &marked {
        let expected = match *order {
            order if order == paid => Marked::Conflict(Status::Paid),
            order if order == gone.order => Marked::NotFound,
            _ => Marked::Done,
        };
        assert_eq!(*marked, expected);
    }
    let mut found = d.orders.outbox(home.shard, 1_000).await.unwrap();
    found.sort_unstable_by_key(|row| row.id);
    let expected: Vec<_> = releases.iter().filter(|row| marked[&row.order] == Marked::Done).cloned().collect();
    assert_eq!(found, expected);
    let again = d.orders.mark_all(home, expire, &releases[..2]).await.unwrap();
    assert!(again.values().all(|marked| *marked == Marked::Conflict(expired)), "{again:?}");

    // An outbox row that cannot be written undoes all of them.
    let other = d.orders.map().all().find(|other| other.shard == home.shard && *other != home).unwrap();
    let there: Vec<&OrderRow> = rows.iter().filter(|row| d.orders.map().home_of_order(row.order) == other).collect();
    let taken = [release(there[0], 9_001), release(there[1], releases[2].id.get())];
    let refused = d.orders.mark_all(other, expire, &taken).await;
    assert!(matches!(refused, Err(SqlError::KeyTaken(_))), "{refused:?}");
    assert_eq!(d.orders.find(&[there[0].order]).await.unwrap()[&there[0].order].status, pending);
    assert!(d.orders.mark_all(other, expire, &releases[..1]).await.is_err(), "another table's order");
    assert!(d.orders.mark_all(home, expire, &vec![releases[0].clone(); 501]).await.is_err());
    assert!(d.orders.mark_all(home, expire, &[]).await.unwrap().is_empty());
}

/// Fault 26: what waits for one partition hides nothing of another.
pub(crate) async fn the_outbox_is_read_by_partition<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let shard = domain::shard::ShardId(0);
    assert_eq!(d.orders.outbox_partitions(shard).await.unwrap(), []);
    let rows: Vec<OrderRow> = (1..=300).map(row).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    let home = d.orders.map().home_of_order(rows[0].order);
    let last = PartitionId(u32::MAX);
    let releases: Vec<OutboxRow> = (1..=300)
        .zip(&rows)
        .map(|(id, row)| OutboxRow { partition: if id > 297 { last } else { PartitionId(3) }, ..release(row, id) })
        .collect();
    let marked = d.orders.mark_all(home, Transition::Expire, &releases).await.unwrap();
    assert!(marked.values().all(|marked| *marked == Marked::Done));
    assert_eq!(d.orders.outbox_partitions(shard).await.unwrap(), [PartitionId(3), last]);
    assert_eq!(d.orders.outbox_of(shard, last, None, 100).await.unwrap(), releases[297..]);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = d.orders.outbox_of(shard, PartitionId(3), after, 100).await.unwrap();
        after = page.last().map(|row| row.id);
        let is_last = page.len() < 100;
        found.extend(page);
        if is_last {
            break;
        }
    }
    assert_eq!(found, releases[..297]);
    d.orders.outbox_done(shard, &found.iter().map(|row| row.id).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(d.orders.outbox_partitions(shard).await.unwrap(), [last]);
    assert_eq!(d.orders.outbox_of(shard, PartitionId(3), None, 100).await.unwrap(), []);
}
