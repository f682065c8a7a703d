//! Fault 25: one dead node of a cluster is a fault of its lanes, not of their partition.

use std::sync::atomic::Ordering::SeqCst;

use domain::{
    id::{Epoch, LaneId},
    order::Status,
};
use order_writer::desk;

use super::{
    gate::Dead,
    rig::{LANES, Rig, id, until},
};

fn first_lane() -> Dead {
    Dead::These([id::<LaneId>(LANES[0])].into())
}

/// The partition goes on after one silence, orders of the dead lane become rows, what was cancelled
/// meanwhile is given back by the rebuild, also when the worker that left the lane out is another
/// one by then.
#[tokio::test(flavor = "multi_thread")]
async fn r3_a_lane_whose_node_is_dead_is_left_out_and_rebuilt() {
    for dies_too in [false, true] {
        let mut rig = Rig::open().await;
        let kept = rig.buy(LANES[0], 1, false).await.remove(0);
        let cancelled = rig.buy(LANES[0], 2, false).await.remove(0);
        rig.until_rest().await;
        rig.gate.die(first_lane());
        // Its engines still reach it: promised, and in the log.
        let late = rig.buy(LANES[0], 3, false).await.remove(0);
        desk::cancel(&rig.store.orders, &rig.store.ledger, cancelled.order).await.unwrap();
        for buyer in 10..30 {
            let other = rig.buy(LANES[1], buyer, false).await.remove(0);
            until("other lanes go on", || async { rig.row(other.order).await.is_some() }).await;
        }
        rig.until_decided().await;
        until("the release is decided", || async { rig.row(cancelled.order).await.unwrap().released.is_some() }).await;
        assert_eq!(rig.row(late.order).await.unwrap().status, Status::PendingPayment);
        let waited = rig.gate.silent.load(SeqCst);
        assert!((1..=3).contains(&waited), "one silence is paid, not one for each call: {waited}");
        assert_eq!(rig.is_open(LANES[0]).await, Some(Epoch(1)), "open all the while");
        if dies_too {
            rig.stop().await;
        }
        rig.gate.die(Dead::None);
        if dies_too {
            rig.start();
        }
        until("the lane is rebuilt", || async { rig.is_open(LANES[0]).await >= Some(Epoch(2)) }).await;
        rig.until_rest().await;
        assert_eq!(rig.is_open(LANES[1]).await, Some(Epoch(1)), "the other one is left alone");
        let view = rig.view(LANES[0]).await;
        assert_eq!(
            (view.offers[0].1, view.journal_len),
            (5_000 - 2, 0),
            "two are sold, the cancelled one is on sale again"
        );
        assert_eq!(rig.row(kept.order).await.unwrap().status, Status::PendingPayment);
        super::audit::all(&rig, 0).await;
        rig.close().await;
    }
}

/// Where nothing answers the partition waits, nothing is distrusted, and it goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_server_that_is_away_altogether_is_waited_for() {
    let mut rig = Rig::open().await;
    rig.gate.die(Dead::All);
    let promise = rig.buy(LANES[0], 1, false).await.remove(0);
    until("it waits", || async { rig.halts().contains("stock") }).await;
    rig.gate.die(Dead::None);
    until("it goes on", || async { rig.row(promise.order).await.is_some() }).await;
    rig.until_rest().await;
    assert_eq!((rig.is_open(LANES[0]).await, rig.is_open(LANES[1]).await), (Some(Epoch(1)), Some(Epoch(1))));
    super::audit::all(&rig, 0).await;
    rig.close().await;
}
