//! Goal: what is promised is journaled, appended and told as the rules say, whatever gets lost on
//! the way. Method: whole purchases against the pure lane machine and a log in memory, with faults
//! on demand; the virtual clock shows that nobody waits for a timer.

use std::time::Duration;

use domain::{
    id::{Epoch, RecordId},
    record::{BATCH_MAX, BATCH_TYPE},
};
use tokio::task::JoinSet;

use super::*;
use crate::{
    append::ACCEPT_DEADLINE,
    purchase::Quantity,
    testing::{Fault, LogMode, Shop, purchase},
};

fn state(bought: Result<Bought, Declined>) -> PurchaseState {
    bought.expect("bought").state
}

/// Many buyers at once, each in a task of its own.
async fn rush(shop: &Arc<Shop>, buyers: std::ops::Range<u64>) -> Vec<Result<Bought, Declined>> {
    let mut rush = JoinSet::new();
    for buyer in buyers {
        let shop = Arc::clone(shop);
        rush.spawn(async move { shop.buy(buyer, "k", 1).await });
    }
    rush.join_all().await
}

#[tokio::test(start_paused = true)]
async fn buyers_of_a_lane_travel_together_and_wait_for_no_timer() {
    let shop = Arc::new(Shop::new(1_000));
    let started = tokio::time::Instant::now();
    let bought = rush(&shop, 1..1_001).await;
    assert!(bought.into_iter().all(|bought| state(bought) == PurchaseState::Accepted));
    assert_eq!(started.elapsed(), Duration::ZERO, "the hot path awaits no timer");
    let sizes: Vec<usize> = shop.stock.calls().into_iter().map(|(_, size)| size).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 1_000);
    assert!(sizes.len() <= 8 && sizes.iter().all(|size| *size <= BATCH_MAX), "{sizes:?}");
    assert_eq!(shop.log.records().len(), sizes.len(), "a batch is one record");
    assert_eq!(shop.stock.left(1), 0);
    assert_eq!(shop.metrics.permits_in_use.get(), 0);
}

#[tokio::test]
async fn while_a_call_is_out_the_next_batch_collects() {
    let shop = Arc::new(Shop::new(1_000));
    shop.stock.hold(true);
    let (first, shop2) = (
        tokio::spawn({
            let shop = Arc::clone(&shop);
            async move { shop.buy(1, "k", 1).await }
        }),
        Arc::clone(&shop),
    );
    while shop.stock.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    let others = tokio::spawn(async move { rush(&shop2, 2..100).await });
    while shop.metrics.permits_in_use.get() < 99 {
        tokio::task::yield_now().await;
    }
    assert_eq!(shop.stock.calls().len(), CALLS_OUT_MAX);
    shop.stock.hold(false);
    assert_eq!(state(first.await.unwrap()), PurchaseState::Accepted);
    assert_eq!(others.await.unwrap().len(), 98);
    let sizes: Vec<usize> = shop.stock.calls().into_iter().map(|(_, size)| size).collect();
    assert_eq!(sizes, [1, 98]);
}

/// Journal entry and record are the same bytes, under the same id, in the lane's partition.
#[tokio::test]
async fn the_record_is_the_journal_entry() {
    let shop = Arc::new(Shop::new(3));
    let bought = rush(&shop, 1..6).await;
    assert_eq!(bought.iter().filter(|bought| bought.is_ok()).count(), 3);
    let journal = shop.stock.lane(1, |lane, _| lane.journal());
    let [(partition, record)] = &shop.log.records()[..] else { panic!("one record") };
    let [(batch, bytes)] = &journal[..] else { panic!("one entry") };
    assert_eq!((record.id, record.kind), (RecordId::new(batch.get()).unwrap(), BATCH_TYPE));
    assert_eq!((&record.payload, partition.0), (bytes, 2));
    let read = Batch::decode(record.payload.clone()).unwrap();
    assert_eq!((read.lane, read.epoch, read.reservations.len()), (crate::testing::lane_id(1), Epoch(1), 3));
}

#[tokio::test]
async fn business_refusals_are_the_lanes() {
    let shop = Shop::new(3);
    let first = shop.buy(1, "k", 2).await.unwrap();
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::Mismatch));
    assert_eq!(shop.buy(1, "other", 1).await, Err(Declined::LimitReached));
    assert_eq!(shop.buy(2, "k", 2).await, Err(Declined::SoldOut));
    assert_eq!(shop.buy(1, "k", 2).await, Ok(first), "R13");
    assert!(shop.buy(2, "k1", 1).await.is_ok(), "one was left");
}

/// R13: same buyer, offer and key, same order, at any time; and twins in one call are one order.
#[tokio::test]
async fn r13_the_same_key_is_the_same_order() {
    let shop = Arc::new(Shop::new(10));
    let twins = [shop.buy(1, "k", 1), shop.buy(1, "k", 1)];
    let [one, two] = twins.map(Box::pin);
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one, two);
    assert_eq!(shop.buy(1, "k", 1).await, one);
    assert_ne!(shop.buy(1, "other", 1).await, one);
    assert_eq!(shop.stock.left(1), 8);
}

/// A repeat mints nothing, and a refusal neither: however often one key comes, or whatever else the
/// lane refuses, the next order has the next id.
#[tokio::test]
async fn repeats_and_refusals_use_up_no_ids() {
    let shop = Shop::new(3);
    let first = shop.buy(1, "k", 1).await.unwrap();
    for _ in 0..15 {
        assert_eq!(shop.buy(1, "k", 1).await, Ok(first));
        assert_eq!(shop.buy(1, "k", 2).await, Err(Declined::Mismatch));
        assert_eq!(shop.buy(1, "more", 2).await, Err(Declined::LimitReached));
    }
    let next = shop.buy(1, "next", 1).await.unwrap();
    assert_eq!((next.order.minted_at_ms(), next.order.sequence()), (first.order.minted_at_ms(), 1));
}

/// R7: a full log refuses before it promises.
#[tokio::test]
async fn r7_room_in_the_log_is_taken_before_the_promise() {
    let shop = Shop::new(10);
    let taken = shop.log.fill();
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::Overloaded));
    assert!(shop.stock.calls().is_empty());
    drop(taken);
    let rooms = shop.log.rooms();
    assert_eq!(state(shop.buy(1, "k", 1).await), PurchaseState::Accepted);
    assert_eq!(shop.buy(1, "other", 2).await, Err(Declined::LimitReached));
    assert_eq!(shop.log.rooms(), rooms, "every room came back");
}

/// R7: whatever becomes of the record, nothing is released; the journal holds it for the sweeper.
#[tokio::test]
async fn r7_an_append_that_fails_releases_nothing() {
    for mode in [LogMode::LoseAcknowledgement, LogMode::Lose] {
        let shop = Shop::new(10);
        shop.log.mode(mode);
        assert_eq!(state(shop.buy(1, "k", 1).await), PurchaseState::Pending);
        assert_eq!(shop.stock.left(1), 9, "{mode:?}");
        assert_eq!(shop.stock.lane(1, |lane, _| lane.journal().len()), 1);
    }
}

/// R7: buyers wait three seconds for the log. R12: an acknowledgement that comes later counts for
/// their repeats.
#[tokio::test(start_paused = true)]
async fn r7_r12_a_late_acknowledgement_is_pending_first_and_accepted_on_repeat() {
    let shop = Shop::new(10);
    shop.log.mode(LogMode::Hold);
    let started = tokio::time::Instant::now();
    let first = shop.buy(1, "k", 1).await.unwrap();
    assert_eq!((first.state, started.elapsed()), (PurchaseState::Pending, ACCEPT_DEADLINE));
    assert_eq!(state(shop.buy(1, "k", 1).await), PurchaseState::Pending, "nobody knows yet");
    shop.log.mode(LogMode::Acknowledge);
    shop.purchases.lanes.tasks().close();
    shop.purchases.lanes.tasks().wait().await;
    let again = shop.buy(1, "k", 1).await.unwrap();
    assert_eq!((again.order, again.state), (first.order, PurchaseState::Accepted));
}

/// R12: a repeat is accepted when its batch is settled, also by an engine that saw no
/// acknowledgement.
#[tokio::test]
async fn r12_a_settled_repeat_is_accepted() {
    let shop = Shop::new(10);
    shop.log.mode(LogMode::LoseAcknowledgement);
    let first = shop.buy(1, "k", 1).await.unwrap();
    assert_eq!(state(shop.buy(1, "k", 1).await), PurchaseState::Pending);
    let batch = shop.stock.calls()[0].0;
    shop.stock.lane(1, |lane, run| lane.settle(run, Epoch(1), &[batch], &[]));
    assert_eq!(shop.buy(1, "k", 1).await, Ok(Bought { state: PurchaseState::Accepted, ..first }));
}

/// Failure 2: the answer is lost. The same call is sent again and finds that it happened: pending,
/// and the sweeper's to append.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_under_the_same_batch() {
    let shop = Shop::new(10);
    shop.stock.fail(&[Fault::LoseAnswer]);
    let bought = shop.buy(1, "k", 1).await.unwrap();
    assert_eq!(bought.state, PurchaseState::Pending);
    let calls = shop.stock.calls();
    assert_eq!((calls.len(), calls[0]), (2, calls[1]));
    assert_eq!((shop.stock.left(1), shop.log.records().len()), (9, 0));
    assert_eq!(shop.buy(1, "k", 1).await.unwrap().order, bought.order);
}

#[tokio::test(start_paused = true)]
async fn a_lost_call_is_sent_again_and_succeeds() {
    let shop = Shop::new(10);
    shop.stock.fail(&[Fault::LoseCall, Fault::LoseCall]);
    assert_eq!(state(shop.buy(1, "k", 1).await), PurchaseState::Accepted);
    assert_eq!(shop.stock.calls().len(), 3);
}

/// R13: of an outcome that stays unknown no id is told, whether the call happened or not; nothing
/// is released, and the key finds the order that there is.
#[tokio::test(start_paused = true)]
async fn r13_an_unknown_outcome_tells_no_id_and_its_key_finds_the_order() {
    for (fault, left) in [(Fault::LoseAnswer, 9), (Fault::LoseCall, 10)] {
        let shop = Shop::new(10);
        shop.stock.fail(&[fault; 3]);
        assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::OutcomeUnknown));
        assert_eq!((shop.stock.calls().len(), shop.stock.left(1)), (3, left), "{fault:?}");
        assert_eq!((shop.metrics.reserve_unknown.get(), shop.metrics.permits_in_use.get()), (1, 0));
        let found = shop.buy(1, "k", 1).await.unwrap();
        assert_eq!(shop.buy(1, "k", 1).await.unwrap().order, found.order);
        assert_eq!(shop.stock.left(1), 9, "one order, {fault:?}");
        let other = shop.buy(2, "k", 1).await.unwrap().order;
        assert!(other > found.order, "the ids of an unknown call are not used again");
    }
}

/// R13: what never left this engine promises nothing, takes nothing, and is not asked for again; a
/// later purchase gets the same id.
#[tokio::test(start_paused = true)]
async fn r13_a_call_that_was_not_sent_promises_nothing() {
    let shop = Shop::new(10);
    let first = shop.buy(1, "first", 1).await.unwrap();
    shop.stock.fail(&[Fault::NotSent]);
    let started = tokio::time::Instant::now();
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::LaneClosed));
    assert_eq!((started.elapsed(), shop.stock.calls().len()), (Duration::ZERO, 2));
    assert_eq!((shop.metrics.reserve_unsent.get(), shop.metrics.reserve_unknown.get()), (1, 0));
    assert_eq!((shop.metrics.permits_in_use.get(), shop.stock.left(1)), (0, 9));
    let next = shop.buy(1, "k", 1).await.unwrap();
    assert_eq!((next.order.minted_at_ms(), next.order.sequence()), (first.order.minted_at_ms(), 1));
}

/// R13: what denies a promise after a lost answer speaks of the later try alone: the earlier one
/// may have happened.
#[tokio::test(start_paused = true)]
async fn r13_after_a_lost_answer_only_a_decision_is_an_answer() {
    for later in [&[Fault::Break][..], &[Fault::NotSent, Fault::NotSent], &[Fault::NotSent, Fault::Break]] {
        let shop = Shop::new(10);
        shop.stock.fail(&[&[Fault::LoseAnswer], later].concat());
        assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::OutcomeUnknown), "{later:?}");
        assert_eq!((shop.stock.left(1), shop.stock.calls().len()), (9, 1 + later.len()));
    }
    // Closed between the two tries, by a rebuild that drained the journal.
    let shop = Arc::new(Shop::new(10));
    shop.stock.fail(&[Fault::LoseAnswer]);
    let bought = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.buy(1, "k", 1).await }
    });
    while shop.stock.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    shop.stock.lane(1, |lane, run| lane.close(run, Epoch(2)));
    assert_eq!(bought.await.unwrap(), Err(Declined::OutcomeUnknown));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_within_its_budget() {
    let shop = Shop::new(10);
    shop.stock.hold(true);
    let started = tokio::time::Instant::now();
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::OutcomeUnknown));
    assert_eq!(started.elapsed(), ask::CALL_BUDGET);
}

#[tokio::test]
async fn a_rebuilt_lane_is_followed_once() {
    let shop = Shop::new(10);
    shop.stock.open(1, 7, 5);
    assert_eq!(state(shop.buy(1, "k", 1).await), PurchaseState::Accepted);
    assert_eq!(shop.stock.calls().len(), 2, "told the epoch, then asked under it");
    assert_eq!(Batch::decode(shop.log.records()[0].1.payload.clone()).unwrap().epoch, Epoch(7));
    assert_eq!(state(shop.buy(2, "k", 1).await), PurchaseState::Accepted);
    assert_eq!(shop.stock.calls().len(), 3, "the epoch is known now");
}

/// Failure 12: closed, missing and restarted lanes are never "sold out".
#[tokio::test]
async fn a_closed_lane_is_never_sold_out() {
    let shop = Shop::new(10);
    shop.stock.lane(1, |lane, run| lane.close(run, Epoch(2)));
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::LaneClosed));
    shop.stock.lane(1, |lane, _| *lane = domain::stock::LaneMachine::default());
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::LaneClosed));
    let shop = Shop::new(10);
    shop.stock.restart();
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::LaneClosed));
    let shop = Shop::new(10);
    shop.stock.fail(&[Fault::Break]);
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::LaneClosed), "a server that cannot decide says no such thing");
}

/// Failure 22: a journal at its limit promises nothing more.
#[tokio::test]
async fn a_full_journal_is_overload() {
    let shop = Shop::bounded(10, 10, 10, 1);
    assert!(shop.buy(1, "k", 1).await.is_ok());
    assert_eq!(shop.buy(2, "k", 1).await, Err(Declined::Overloaded));
    assert_eq!(shop.stock.left(1), 9);
}

#[tokio::test]
async fn without_a_worker_number_nothing_is_asked() {
    let shop = Shop::new(10);
    shop.mint.stop();
    assert_eq!(shop.buy(1, "k", 1).await, Err(Declined::LaneClosed));
    assert!(shop.stock.calls().is_empty());
}

/// A client that hangs up takes nothing back: its batch is appended, and the same key finds the
/// order.
#[tokio::test]
async fn who_hangs_up_has_bought_all_the_same() {
    let shop = Arc::new(Shop::new(10));
    shop.stock.hold(true);
    let gone = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.buy(1, "k", 1).await }
    });
    while shop.stock.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    shop.stock.hold(false);
    while shop.log.records().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(state(shop.buy(1, "k", 1).await), PurchaseState::Accepted);
    assert_eq!(shop.stock.left(1), 9);
}

#[tokio::test]
async fn a_queue_that_is_full_refuses() {
    let queue = Arc::new(Queue::default());
    let shop = Shop::bounded(10, WAITING_MAX as u32 + 10, WAITING_MAX as u32 + 10, 10);
    let waiting = || {
        // Tests of other limits are elsewhere: the same admitted purchase over and over, from a
        // buyer with tokens left.
        shop.clock.advance(Duration::from_millis(20));
        let admitted = shop.admission.admit(purchase(&shop.token(1), "k", 1)).expect("admitted");
        let (reservation, offered, permit) = admitted.freeze(OrderId::new(1).unwrap());
        let request = ReserveRequest {
            order: reservation.order,
            buyer: reservation.buyer,
            offer: reservation.offer,
            quantity: Quantity::new(1).unwrap().get(),
            key: reservation.key,
            field: Bytes::new(),
        };
        let answer = oneshot::channel().0;
        Queued { request, waiter: Waiter { answer, offered, since: Duration::ZERO, _permit: permit } }
    };
    let joined: Vec<bool> = (0..WAITING_MAX).map(|_| queue.join(waiting()).unwrap()).collect();
    assert_eq!(joined.iter().filter(|must_drive| **must_drive).count(), CALLS_OUT_MAX);
    assert_eq!(queue.join(waiting()), Err(Declined::Overloaded));
    let mut driving = Driving::new(Arc::clone(&queue));
    assert_eq!(driving.next().unwrap().len(), BATCH_MAX);
    drop(driving);
    assert_eq!(queue.join(waiting()), Ok(true), "a driver that was lost half way is replaced");
}
