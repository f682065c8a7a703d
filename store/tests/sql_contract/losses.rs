//! Goal: what is lost for good, and what an operator set aside, is noted once and stays (R15);
//! movements go in order and in steps.

use domain::{
    decide::Movement,
    id::{Generation, OrderId, RecordId},
    shard::ShardId,
};
use store::ledger::{Committed, Ledger, LedgerCommit, Loss, LostOrder, PartitionRow};
use store::sql::Sql;

use super::support::{Adapter, PARTITION, deployment, offer};

fn loss(shard: u16, from: u64) -> Loss {
    Loss { partition: PARTITION, generation: Generation(3), shard: ShardId(shard), from, to: 90 }
}

pub(crate) async fn a_loss_is_open_until_it_is_closed<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    assert_eq!(d.ledger.open_losses(PARTITION).await.unwrap(), []);
    assert!(d.ledger.note_loss(loss(1, 7)).await.unwrap());
    assert!(!d.ledger.note_loss(loss(1, 7)).await.unwrap(), "noted before");
    assert!(d.ledger.note_loss(loss(0, 9)).await.unwrap());
    assert_eq!(d.ledger.open_losses(PARTITION).await.unwrap(), [loss(0, 9), loss(1, 7)]);
    for _ in 0..2 {
        d.ledger.close_loss(loss(0, 9), 5).await.unwrap();
    }
    assert_eq!(d.ledger.open_losses(PARTITION).await.unwrap(), [loss(1, 7)]);
}

pub(crate) async fn what_stays_lost_is_noted_once<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let lost = |order: Option<u64>, units| LostOrder {
        offer: offer(10),
        order: order.map(|order| OrderId::new(order).unwrap()),
        units,
        cause: "nobody knows".into(),
    };
    for units in [3, 2] {
        d.ledger.note_lost(PARTITION, &lost(Some(77), 1)).await.unwrap();
        d.ledger.note_lost(PARTITION, &lost(None, units)).await.unwrap();
        assert_eq!(d.ledger.lost_units(PARTITION).await.unwrap(), [(offer(10), units)], "the last that was told");
        assert_eq!(d.space.count(&d.space.ledger(), "lost_orders").await, 2);
    }
    d.ledger.note_lost(PARTITION, &lost(None, 0)).await.unwrap();
    assert_eq!(d.ledger.lost_units(PARTITION).await.unwrap(), []);
    assert_eq!(d.space.count(&d.space.ledger(), "lost_orders").await, 1);
}

pub(crate) async fn a_record_is_set_aside_once<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let id = RecordId::new(8).ok();
    assert!(d.ledger.skip(PARTITION, 5, id).await.unwrap());
    assert!(!d.ledger.skip(PARTITION, 5, id).await.unwrap());
    assert!(d.ledger.skip(PARTITION, 5, None).await.unwrap(), "another record at that offset");
    assert_eq!(d.ledger.skips(PARTITION).await.unwrap(), [(5, None), (5, id)]);
}

/// Commits so many records of a generation.
async fn decided<S: Sql>(ledger: &Ledger<S>, generation: u16, count: u64) {
    let movements = (0..count).map(|offset| Movement { offset, lane: None, units: vec![], decisions: vec![1] });
    let commit = LedgerCommit {
        partition: PARTITION,
        generation: Generation(generation),
        expected_offset: 0,
        next_offset: count,
        next_record: None,
        sold: vec![],
        first_orders: vec![],
        epochs: vec![],
        retired_lanes: vec![],
        allotments: vec![],
        limits: vec![],
        retired: vec![],
        movements: movements.collect(),
    };
    assert_eq!(ledger.commit(&commit).await.unwrap(), Committed::Done);
}

pub(crate) async fn movements_are_deleted_oldest_first_and_in_steps<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let at = |generation, offset| PartitionRow {
        partition: PARTITION,
        generation: Generation(generation),
        log_id: 1,
        offset,
        record: None,
    };
    d.ledger.begin_partition(&at(1, 0)).await.unwrap();
    decided(&d.ledger, 1, 5).await;
    assert_eq!(d.ledger.restart(&at(1, 5), &at(2, 0), &[], &[]).await.unwrap(), Committed::Done);
    decided(&d.ledger, 2, 10).await;
    let delete = async |below, most| d.ledger.delete_movements(PARTITION, Generation(2), below, most).await.unwrap();
    assert_eq!(
        (delete(6, 3).await, delete(6, 3).await),
        (3, 2),
        "first those of the older generation, whatever their offset"
    );
    assert_eq!((delete(6, 4).await, delete(6, 4).await, delete(6, 4).await), (4, 2, 0));
    let left = d.ledger.movements(PARTITION, Generation(2), 0, 100).await.unwrap();
    assert_eq!(left.iter().map(|movement| movement.offset).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert_eq!(d.ledger.delete_movements(PARTITION, Generation(1), 6, 4).await.unwrap(), 0, "a writer that is behind");
}
