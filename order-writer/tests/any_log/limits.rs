//! R16: the limit per buyer changes while a lane sells.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    id::Epoch,
    record::{LimitChange, Record},
    stock::LaneAnswer,
};
use store::{log::Envelope, stock::LaneKeeping};

use super::rig::{LANES, Promise, Rig, SALE, id, until};

const LANE: u64 = LANES[0];

fn publish(rig: &Rig, limit: u32) {
    rig.sales.send_modify(|known| {
        let sale = Arc::make_mut(known).get_mut(&id(SALE)).unwrap();
        sale.version += 1;
        sale.lanes[0].limit_per_buyer = limit;
    });
}

/// The ledger decides by it, and the lane promises by it.
async fn until_in_force(rig: &Rig, limit: u32) {
    until("the limit is in force", || async {
        let decided = rig.store.ledger.lane(id(LANE)).await.unwrap().unwrap().limit_per_buyer;
        (decided, rig.view(LANE).await.limit_per_buyer) == (limit, limit)
    })
    .await;
}

async fn changed_at(rig: &Rig) -> i64 {
    rig.store.ledger.lane(id(LANE)).await.unwrap().unwrap().limit_changed_at
}

/// A unit promised, its record not appended.
async fn promise(rig: &mut Rig, buyer: u64) -> Option<(Vec<Promise>, Envelope)> {
    let reservation = rig.reservation(LANE, id(buyer));
    let mut field = Vec::new();
    reservation.append_field(&mut field);
    rig.promise(LANE, vec![(reservation, field.into())]).await
}

/// Buyers buy all the while; of every third purchase the record is left to whoever drains the
/// journal and comes late besides.
#[tokio::test(flavor = "multi_thread")]
async fn r16_limits_change_amid_purchases_and_no_promise_is_broken() {
    let mut rig = Rig::open().await;
    let (mut promised, mut late) = (Vec::new(), Vec::new());
    let mut held: BTreeMap<u64, u32> = BTreeMap::new();
    for (round, limit) in (1..).zip([5, 1, 4, 2, 6, 1]) {
        publish(&rig, limit);
        for n in 0..60 {
            let buyer = (round - n % 2) * 10 + n % 7 + 1;
            let bought = if n % 3 > 0 {
                rig.buy(LANE, buyer, n % 5 == 0).await
            } else if let Some((promises, envelope)) = promise(&mut rig, buyer).await {
                late.push(envelope);
                promises
            } else {
                Vec::new()
            };
            *held.entry(buyer).or_default() += u32::try_from(bought.len()).unwrap();
            promised.extend(bought);
        }
        until_in_force(&rig, limit).await;
        for (&buyer, held) in &mut held {
            while let Some(bought) = rig.buy(LANE, buyer, false).await.pop() {
                promised.push(bought);
                *held += 1;
                assert!(*held <= limit, "INV-2: buyer {buyer} of round {round}");
            }
        }
    }
    assert!(held.values().any(|&units| units > 1), "whoever held more keeps it");
    for envelope in late {
        rig.append(envelope).await;
    }
    until("the journal is empty", || async { rig.view(LANE).await.journal_len == 0 }).await;
    rig.until_rest().await;
    for promise in &promised {
        assert_eq!(rig.row(promise.order).await.unwrap().reason, None, "{promise:?}");
    }
    assert_eq!(rig.figure("flashsale_broken_promises_total"), "0");
    super::audit::all(&rig, 0).await;
    rig.close().await;
}

/// A keeper lowers the limit in the lane and dies: the next one gives it back by a record, after
/// which the dead one's own, which comes late, is void. So is one of an epoch that is over.
#[tokio::test(flavor = "multi_thread")]
async fn r16_a_keeper_that_died_between_lane_and_record_leaves_no_limit_behind() {
    let mut rig = Rig::open().await;
    let lower = |epoch, after| Record::LimitChanged(LimitChange { lane: id(LANE), limit: 1, epoch, after });
    let stale = async |rig: &Rig, number: u64, record: Record| {
        let (id, payload) = (id(number), record.encode().into());
        rig.append(Envelope { id, kind: record.kind(), payload }).await;
        rig.until_decided().await;
        until_in_force(rig, 3).await;
    };
    let lowered = rig.keeping.limit(id(LANE), Epoch(1), 3, 0, 1).await.unwrap();
    assert_eq!(lowered, LaneAnswer::Open(Some(1)));
    until("the limit is asked for", || async { changed_at(&rig).await > 0 }).await;
    until_in_force(&rig, 3).await;
    stale(&rig, 71, lower(Epoch(1), 0)).await;

    rig.restart().await;
    until("the next epoch", || async { rig.is_open(LANE).await == Some(Epoch(2)) }).await;
    stale(&rig, 72, lower(Epoch(1), changed_at(&rig).await)).await;

    publish(&rig, 1);
    until_in_force(&rig, 1).await;
    rig.restart().await;
    until("the lane is loaded with the ledger's limit", || async { rig.is_open(LANE).await == Some(Epoch(3)) }).await;
    assert_eq!(rig.view(LANE).await.limit_per_buyer, 1);
    rig.close().await;
}

/// What a crash keeps from the lane, its next keeper tells it.
#[tokio::test(flavor = "multi_thread")]
async fn r16_a_lane_hears_of_a_limit_that_was_decided_before_a_crash() {
    let mut rig = Rig::open().await;
    rig.stop().await;
    let higher = Record::LimitChanged(LimitChange { lane: id(LANE), limit: 9, epoch: Epoch(0), after: 0 });
    rig.append(Envelope { id: id(73), kind: higher.kind(), payload: higher.encode().into() }).await;
    publish(&rig, 9);
    rig.start();
    until_in_force(&rig, 9).await;
    rig.close().await;
}
