//! Lanes are loaded beside their worker. Method: a load waits, its rows read, until the test lets
//! it go on.

use domain::id::{Epoch, LaneId, OrderId};
use order_writer::desk;
use store::stock::LaneKeeping;

use super::{
    audit,
    rig::{LANES, Rig, id, until},
};

/// Six orders in the first lane, which was closed; its load waits with the rows read.
async fn waiting() -> (Rig, Vec<OrderId>) {
    let mut rig = Rig::open().await;
    let mut orders = Vec::new();
    for buyer in 1..=6 {
        orders.push(rig.buy(LANES[0], buyer, false).await[0].order);
    }
    rig.until_rest().await;
    rig.gate.hold(id(LANES[0]));
    rig.keeping.close(id(LANES[0]), Epoch(2)).await.unwrap();
    until("the load waits", || async { rig.gate.waiting() > 0 }).await;
    (rig, orders)
}

/// A load holds up nobody: another lane of the partition sells and is decided.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_load_holds_up_no_other_lane() {
    let (mut rig, _) = waiting().await;
    let sold = rig.buy(LANES[1], 50, false).await;
    until("its order is decided", || async { rig.row(sold[0].order).await.is_some() }).await;
    assert_eq!(rig.is_open(LANES[0]).await, None, "it still waits");
    rig.gate.let_go(id(LANES[0]));
    rig.until_rest().await;
    assert_eq!(rig.is_open(LANES[0]).await, Some(Epoch(2)));
    audit::all(&rig, 0).await;
    rig.close().await;
}

/// R1: what is released while its lane is loaded is on sale when the lane opens, and its key keeps
/// its order.
#[tokio::test(flavor = "multi_thread")]
async fn r1_a_release_during_a_load_is_not_forgotten() {
    let (rig, orders) = waiting().await;
    desk::cancel(&rig.store.orders, &rig.store.ledger, orders[2]).await.unwrap();
    let lane: LaneId = id(LANES[0]);
    until("the release is decided", || async {
        rig.store.ledger.lane(lane).await.unwrap().unwrap().offers[0].sold == 5
    })
    .await;
    assert_eq!(rig.is_open(LANES[0]).await, None, "it still waits");
    rig.gate.let_go(lane);
    rig.until_rest().await;
    audit::all(&rig, 0).await;
    let kept = rig.keeping.buyers(lane).await.unwrap();
    let tombstones: Vec<_> = kept.iter().flat_map(|(_, some)| some).filter(|p| p.number.is_none()).collect();
    assert!(matches!(tombstones[..], [one] if one.order == orders[2]), "{tombstones:?}");
    rig.close().await;
}

/// R4: a worker that ends drops its loads; the next one asks for another epoch, and so does one
/// whose lane was closed again meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_load_that_was_overtaken_opens_nothing() {
    let (mut rig, _) = waiting().await;
    let lane: LaneId = id(LANES[0]);
    rig.stop().await;
    let before = rig.gate.waiting();
    rig.start();
    until("the next load waits", || async { rig.gate.waiting() > before }).await;
    assert_eq!(rig.store.ledger.lane(lane).await.unwrap().unwrap().epoch, Epoch(3));
    rig.keeping.close(lane, Epoch(7)).await.unwrap();
    rig.gate.let_go(lane);
    until("the lane is open", || async { rig.is_open(LANES[0]).await == Some(Epoch(7)) }).await;
    rig.until_rest().await;
    audit::all(&rig, 0).await;
    rig.close().await;
}
