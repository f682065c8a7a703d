//! Goal: a status changes only from what it was, together with its outbox row (R8), and the sweep finds what is overdue.

use bytes::Bytes;
use domain::{
    id::{OrderId, RecordId},
    order::{OrderRow, Status},
};
use store::{
    orders::{Marked, OutboxRow},
    sql::SqlError,
};

use super::support::{Adapter, MINTED_AT_MS, PARTITION, deployment, row, write};

fn release(order: &OrderRow, id: u64) -> OutboxRow {
    OutboxRow {
        id: RecordId::new(id).unwrap(),
        order: order.order,
        lane: order.lane,
        partition: PARTITION,
        payload: Bytes::from_static(b"\x00\xff record"),
    }
}

pub(crate) async fn a_mark_and_its_outbox_row_are_one_change<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 2, 4).await;
    let rows: Vec<OrderRow> = (1..=3).map(row).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    let (order, shard) = (rows[0].order, d.orders.map().home_of_order(rows[0].order).shard);
    let (pending, paid, cancelled) = (Status::PendingPayment, Status::Paid, Status::Cancelled);

    let conflict = d.orders.mark(order, paid, cancelled, Some(release(&rows[0], 50))).await.unwrap();
    assert_eq!(conflict, Marked::Conflict(pending));
    let missing = row(99).order;
    assert_eq!(d.orders.mark(missing, pending, paid, None).await.unwrap(), Marked::NotFound);
    assert_eq!(d.orders.outbox(shard, 10).await.unwrap(), []);

    assert_eq!(d.orders.mark(order, pending, cancelled, Some(release(&rows[0], 50))).await.unwrap(), Marked::Done);
    assert_eq!(d.orders.outbox(shard, 10).await.unwrap(), [release(&rows[0], 50)]);

    // An outbox row that cannot be written undoes the mark.
    let other = rows[1..].iter().find(|row| d.orders.map().home_of_order(row.order).shard == shard);
    let other = other.unwrap_or(&rows[0]);
    let from = if other.order == order { cancelled } else { pending };
    let taken = d.orders.mark(other.order, from, paid, Some(release(other, 50))).await;
    assert!(matches!(taken, Err(SqlError::KeyTaken(_))), "{taken:?}");
    assert_eq!(d.orders.find(&[other.order]).await.unwrap()[&other.order].status, from);
    assert!(d.orders.mark(order, cancelled, paid, Some(release(&rows[1], 51))).await.is_err(), "another's outbox row");
}

pub(crate) async fn the_outbox_is_read_by_id_and_emptied_by_id<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let rows: Vec<OrderRow> = (1..=9).map(row).collect();
    let _ = write(&d.orders, 1, &rows, &[]).await;
    for (row, id) in rows.iter().zip((1..=9).rev()) {
        let marked = d.orders.mark(row.order, row.status, Status::Expired, Some(release(row, id))).await.unwrap();
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
    assert_eq!(d.orders.mark(rows[2].order, Status::PendingPayment, Status::Paid, None).await.unwrap(), Marked::Done);
    let mut overdue: Vec<OrderId> = Vec::new();
    for home in d.orders.map().all() {
        let found = d.orders.overdue(home, MINTED_AT_MS + 11, 100).await.unwrap();
        assert!(d.orders.overdue(home, MINTED_AT_MS + 11, 1).await.unwrap().len() <= 1);
        overdue.extend(found.iter().map(|row| row.order));
    }
    overdue.sort_unstable();
    let expected = rows[..10].iter().filter(|row| row.order != rows[2].order);
    assert_eq!(overdue, expected.map(|row| row.order).collect::<Vec<_>>());
    let now = d.orders.now_ms(domain::shard::ShardId(0)).await.unwrap();
    assert!(now > MINTED_AT_MS);
}
