//! R14: the end of a lane, on files, and the figures of what is gone.

use std::{future::pending, sync::Mutex, time::Duration};

use domain::{
    id::{Epoch, PartitionId},
    order::{Reason, Status},
    stock::{LaneAnswer, LaneMode, ReserveAnswer, ReserveCall, ReserveReply, ReserveRequest},
};
use order_writer::{desk, service};
use store::{
    log::{Membership, MembershipEvent, ReadError},
    stock::{LaneKeeping, LaneStock},
};
use tokio_util::sync::CancellationToken;

use super::rig::{LANES, PARTITION, Rig, id, until};

/// So long ago that every lane of the sale is settled.
const LONG_AGO_MS: i64 = -600_000;

async fn until_retired(rig: &Rig, lane: u64) {
    until("the lane is retired and gone", || async {
        let ledger = rig.store.ledger.lane(id(lane)).await.unwrap().unwrap();
        ledger.is_retired && rig.view(lane).await.mode == LaneMode::Missing
    })
    .await;
}

async fn sold(rig: &Rig, lane: u64) -> u64 {
    rig.store.ledger.lane(id(lane)).await.unwrap().unwrap().offers.iter().map(|offer| offer.sold).sum()
}

/// Whether the page has a figure with this label.
fn shows(rig: &Rig, label: &str) -> bool {
    rig.metrics().contains(label)
}

/// The sale ends: what only the journal had becomes a row, nothing of the lane stays in the process
/// nor among the figures, over a restart too; its orders are cancelled and counted; late records
/// are superseded. Prolonged, it is rebuilt from rows, and its keys find their orders.
#[tokio::test(flavor = "multi_thread")]
async fn r14_a_lane_is_retired_after_its_sale_and_rebuilt_when_it_is_prolonged() {
    let mut rig = Rig::open().await;
    let [lane, other] = LANES;
    let bought = rig.until_buys(lane).await;
    rig.until_buys(lane).await;
    let reservation = rig.reservation(lane, id(77));
    let mut field = Vec::new();
    reservation.append_field(&mut field);
    let (stranded, envelope) = rig.promise(lane, vec![(reservation, field.into())]).await.unwrap();
    let lane_label = format!("lane=\"{lane}\"");
    until("the lane has figures", || async { shows(&rig, &lane_label) }).await;

    rig.publish_end(LONG_AGO_MS);
    for lane in [lane, other] {
        until_retired(&rig, lane).await;
    }
    let row = rig.row(stranded[0].order).await.unwrap();
    assert_eq!(row.status, Status::PendingPayment, "its journal was drained");
    assert_eq!(sold(&rig, lane).await, 3);
    until("the figures are gone", || async { !shows(&rig, &lane_label) }).await;
    assert!(rig.metrics().contains("flashsale_lane_retirements_total 2"));

    rig.append(envelope.clone()).await;
    let mut late = rig.reservation(lane, id(78));
    late.quantity = 1;
    let batch = domain::record::Batch {
        lane: id(lane),
        id: id(late.order.get()),
        epoch: Epoch(1),
        reservations: vec![(domain::id::PurchaseNumber(1), late.clone())],
    };
    let record = domain::record::Record::Batch(batch);
    rig.append(store::log::Envelope { id: id(late.order.get()), kind: record.kind(), payload: record.encode().into() })
        .await;
    desk::cancel(&rig.store.orders, &rig.store.ledger, bought.order).await.unwrap();
    until("the release is counted", || async { sold(&rig, lane).await == 2 }).await;
    rig.until_decided().await;
    assert_eq!(rig.row(late.order).await.unwrap().reason, Some(Reason::Superseded));

    rig.restart().await;
    until("the partition is resumed", || async { shows(&rig, "flashsale_log_lag_records{partition=\"0\"} 0") }).await;
    assert_eq!((rig.view(lane).await.mode, shows(&rig, &lane_label)), (LaneMode::Missing, false));

    rig.publish_end(3_600_000);
    rig.until_open(lane).await;
    assert!(!rig.store.ledger.lane(id(lane)).await.unwrap().unwrap().is_retired);
    assert_eq!(rig.keeping.inspect(id(lane)).await.unwrap().offers[0].1, 5_000 - 2);
    assert_eq!(repeated(&rig, lane, &stranded[0].reservation).await, Some(stranded[0].order));
    rig.until_buys(lane).await;
    until("it is counted", || async { sold(&rig, lane).await == 3 }).await;
    assert_eq!(rig.halts(), "");
    rig.close().await;
}

/// The order that the lane has for a reservation's key.
async fn repeated(rig: &Rig, lane: u64, of: &domain::record::Reservation) -> Option<domain::id::OrderId> {
    let order = id(of.order.get() ^ 1);
    let (offer, quantity, key, buyer) = (of.offer, of.quantity, of.key, of.buyer);
    let request = ReserveRequest { order, buyer, offer, quantity, key, field: vec![1].into() };
    let epoch = rig.is_open(lane).await?;
    let (lane, batch) = (id(lane), id(order.get()));
    let call = ReserveCall { lane, epoch, batch, now_ms: 1, sweep_after_ms: 60_000, journal_max: 100 };
    match rig.stock.reserve(call, &[request]).await.unwrap() {
        LaneAnswer::Open(ReserveAnswer::Decided { replies, .. }) => match replies[0] {
            ReserveReply::Repeat { order, .. } => Some(order),
            _ => None,
        },
        _ => None,
    }
}

/// A lane that is found closed after the end of its sale is of no use: it is retired at once, and
/// not loaded.
#[tokio::test(flavor = "multi_thread")]
async fn r14_a_lane_found_closed_after_the_end_is_retired_at_once() {
    let mut rig = Rig::open().await;
    let lane = LANES[0];
    rig.until_buys(lane).await;
    rig.publish_end(-100_000);
    rig.restart().await;
    until_retired(&rig, lane).await;
    assert_eq!(sold(&rig, lane).await, 1);
    rig.close().await;
}

/// A group that gives the partition and takes it away when it is told to.
struct Group(Mutex<Vec<MembershipEvent>>, CancellationToken);

impl Membership for Group {
    async fn next(&mut self) -> Result<MembershipEvent, ReadError> {
        // Whoever asks may give up: nothing is taken before it can be answered.
        if matches!(self.0.lock().unwrap().last(), Some(MembershipEvent::Revoked(_))) {
            self.1.cancelled().await;
        }
        let event = self.0.lock().unwrap().pop();
        match event {
            Some(event) => Ok(event),
            None => pending().await,
        }
    }

    fn report(&self, _: PartitionId, _: u64) {}

    async fn leave(self, _: Duration) {}
}

/// What another member shows must not be shown here too, for ever and as it was: neither the
/// partition's figures nor those of its lanes.
#[tokio::test(flavor = "multi_thread")]
async fn figures_of_a_partition_that_moved_away_are_gone() {
    let mut rig = Rig::open().await;
    rig.stop().await;
    let (shared, stop, revoke) = (rig.shared(), CancellationToken::new(), CancellationToken::new());
    let events = vec![MembershipEvent::Revoked(vec![PARTITION]), MembershipEvent::Assigned(vec![PARTITION])];
    let group = Group(Mutex::new(events), revoke.clone());
    let running = tokio::spawn(service::run(shared, group, rig.readiness.clone(), stop.clone()));
    let shown = |rig: &Rig| {
        let text = rig.metrics();
        let of = |label: &str| text.lines().any(|line| line.contains(label));
        (of("partition=\"0\""), of("lane=\""))
    };
    // Its gauge of a stall is written once a second.
    until("all its figures are shown", || async {
        shown(&rig) == (true, true) && rig.metrics().contains("flashsale_partition_stalled_seconds{partition=\"0\"}")
    })
    .await;
    revoke.cancel();
    until("none of them is", || async { shown(&rig) == (false, false) }).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(shown(&rig), (false, false), "nor does anybody write them again");
    stop.cancel();
    running.await.unwrap().unwrap();
    rig.close().await;
}

/// Where lanes are never retired, one of an ended sale is opened like any other: it must not be
/// closed under one epoch after another.
#[tokio::test(flavor = "multi_thread")]
async fn r14_a_lane_that_is_never_retired_opens_after_its_sale() {
    let mut rig = Rig::open().await;
    let [lane, _] = LANES;
    rig.until_buys(lane).await;
    rig.until_rest().await;
    rig.stop().await;
    rig.settling = None;
    rig.publish_end(LONG_AGO_MS);
    rig.restart().await;
    rig.until_open(lane).await;
    assert_eq!(rig.is_open(lane).await, Some(Epoch(2)), "one rebuild is enough");
    assert!(!rig.store.ledger.lane(id(lane)).await.unwrap().unwrap().is_retired);
    rig.close().await;
}
