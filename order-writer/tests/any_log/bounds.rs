//! R4 and R5: what a rebuild starts from, when the sale was brought forward and when the ledger is
//! of an older moment.

use domain::{id::Epoch, sale::Sale};
use kit::clock::{Clock, SystemClock};

use super::{
    audit,
    rig::{LANES, Rig, id, offer_of, sale, until},
};

const HOURS_3_MS: u64 = 3 * 3_600_000;

/// To open in three hours.
fn later() -> Sale {
    let mut later = sale();
    let now_ms = SystemClock::new().now_ms();
    (later.window.opens_at_ms, later.window.closes_at_ms) = (now_ms + HOURS_3_MS, now_ms + 2 * HOURS_3_MS);
    later
}

/// R5, fault 21: a sale that was to open in three hours is opened now. An orderly restart keeps its
/// buyers' entries, so that a repeat gets its order and nothing is sold twice; and again when the
/// log is gone too.
#[tokio::test(flavor = "multi_thread")]
async fn r5_a_sale_brought_forward_keeps_its_orders() {
    let mut rig = Rig::open_with(later()).await;
    let mut forward = sale();
    forward.version = 2;
    rig.sales.send_modify(|known| drop(std::sync::Arc::make_mut(known).insert(forward.id, forward)));
    for buyer in 1..=9 {
        assert_eq!(rig.buy(LANES[0], buyer, false).await.len(), 1);
    }
    rig.until_rest().await;
    rig.restart().await;
    rig.until_rest().await;
    audit::all(&rig, 0).await;
    // R10: the record before the ledger's position is another one.
    rig.stop().await;
    rig.sql("shop_ledger.db", "UPDATE partitions SET record_id = 4711");
    rig.restart().await;
    rig.until_rest().await;
    audit::all(&rig, 0).await;
    rig.close().await;
}

/// R4: the ledger is restored to a moment before an epoch in which units were sold, and the lanes
/// are lost. The epoch that the log holds opens nothing when it is decided again: its numbers are
/// of before those sales.
#[tokio::test(flavor = "multi_thread")]
async fn r4_an_epoch_decided_again_opens_no_lane() {
    let mut rig = Rig::open().await;
    rig.buy(LANES[0], 1, false).await;
    rig.until_rest().await;
    rig.stop().await;
    rig.back_ledger_up();
    rig.restart().await;
    rig.until_rest().await;
    assert_eq!(rig.is_open(LANES[0]).await, Some(Epoch(2)));
    for buyer in 2..=9 {
        assert_eq!(rig.buy(LANES[0], buyer, false).await.len(), 1);
    }
    rig.until_rest().await;
    rig.stop().await;
    rig.restore_ledger();
    rig.restart().await;
    until("the lane is open again", || async { rig.is_open(LANES[0]).await == Some(Epoch(3)) }).await;
    rig.until_rest().await;
    audit::all(&rig, 0).await;
    rig.close().await;
}

/// R5: a lane that an older program opened has no bound, and all its rows are found.
#[tokio::test(flavor = "multi_thread")]
async fn r5_a_lane_of_an_older_program_is_read_from_the_beginning() {
    let mut rig = Rig::open().await;
    rig.buy(LANES[0], 1, false).await;
    rig.until_rest().await;
    rig.stop().await;
    let first = rig.store.ledger.lane(id(LANES[0])).await.unwrap().unwrap().first_order;
    assert!(first.is_some(), "its first opening bounds it");
    rig.sql("shop_ledger.db", "UPDATE lanes SET first_order = NULL");
    rig.restart().await;
    rig.until_rest().await;
    audit::all(&rig, 0).await;
    let lane = rig.store.ledger.lane(id(LANES[0])).await.unwrap().unwrap();
    assert_eq!((lane.first_order, lane.offers[0].offer), (None, id(offer_of(LANES[0]))));
    rig.close().await;
}
