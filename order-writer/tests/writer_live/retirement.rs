//! R14 on real servers: the end of a lane.

use domain::{
    id::{BatchId, Epoch},
    order::{Reason, Status},
    stock::ReserveReply,
};

use super::rig::{Rig, until};

const LONG_AGO_MS: i64 = -600_000;

async fn until_retired(rig: &Rig) {
    until("the lane is retired and Redis holds nothing of it", || async {
        rig.store.ledger.lane(rig.lane).await.unwrap().unwrap().is_retired && rig.keys().await.is_empty()
    })
    .await;
}

/// Nothing is lost by the end of a lane: what only the journal had becomes a row; releases are
/// decided from rows; late records are superseded; what an old copy of Redis brings back goes
/// again. Prolonged, the lane is rebuilt from rows and its keys find their orders.
#[tokio::test]
async fn r14_a_lane_is_retired_after_its_sale_and_rebuilt_when_it_is_prolonged() {
    let mut rig = Rig::open(10, 1).await;
    let bought = rig.buy(Epoch(1), &[1, 2]).await;
    rig.until_at_rest(2).await;
    let stranded = rig.promise(Epoch(1), &[3]).await;
    let copy = rig.keys().await;
    assert_eq!(copy.len(), 4);

    rig.publish_until(2, (10, 1), LONG_AGO_MS);
    until_retired(&rig).await;
    assert_eq!(rig.row(stranded[0].order).await.unwrap().status, Status::PendingPayment, "its journal was drained");
    rig.append(stranded[0].batch.clone()).await;
    rig.cancel(&[bought[0].order]).await;
    until("the release is counted", || async { rig.ledger().await.sold == 2 }).await;

    // An old copy of Redis, whose lane was open, with and without a restart of the writer.
    rig.restore(&copy).await;
    until_retired(&rig).await;
    rig.stop().await;
    rig.restore(&copy).await;
    rig.start();
    until_retired(&rig).await;
    assert_eq!(rig.ledger().await.sold, 2);

    rig.publish_until(3, (10, 1), 3_600_000);
    let epoch = Epoch(3);
    rig.until_open(epoch).await;
    rig.until_at_rest(2).await;
    let again = rig.request(3, "key", 1);
    let replies = rig.reserve(epoch, BatchId::new(again.order.get()).unwrap(), &[again]).await;
    let order = stranded[0].order;
    assert!(matches!(replies[0], ReserveReply::Repeat { order: first, .. } if first == order), "{replies:?}");
    rig.buy(epoch, &[4]).await;
    rig.until_at_rest(3).await;
    rig.close().await;
}

/// A Redis that lost a lane after its sale's end: the lane is retired at once, not loaded, and a
/// promise of its last second is superseded.
#[tokio::test]
async fn r14_a_lane_lost_after_the_end_is_retired_at_once() {
    let mut rig = Rig::open(10, 1).await;
    rig.buy(Epoch(1), &[1]).await;
    rig.until_at_rest(1).await;
    let lost = rig.promise(Epoch(1), &[2]).await;
    rig.stop().await;
    rig.lose_lane().await;
    rig.publish_until(2, (10, 1), -100_000);
    rig.start();
    until_retired(&rig).await;
    rig.append(lost[0].batch.clone()).await;
    let row = rig.until_row(lost[0].order).await;
    assert_eq!((row.status, row.reason), (Status::Rejected, Some(Reason::Superseded)));
    assert_eq!(rig.ledger().await.sold, 1);
    rig.close().await;
}
