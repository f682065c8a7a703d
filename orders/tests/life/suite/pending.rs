//! Goal: what a buyer calls off before it has its row is cancelled as soon as it has, and nobody
//! else's is.

use domain::order::Status;
use kit::clock::Clock as _;

use super::{
    mortal::When,
    rig::{Rig, WINDOW_MS, row},
};

#[tokio::test]
async fn a_pending_order_is_cancelled_once_it_has_its_row() {
    let mut rig = Rig::start().await;
    let (mine, late) = (row(1, rig.clock.now_ms(), WINDOW_MS), row(2, rig.clock.now_ms(), WINDOW_MS));
    for order in [mine.order, late.order] {
        let buyer = if order == mine.order { 1 } else { 2 };
        for _ in 0..2 {
            assert_eq!(rig.cancel(order, buyer).await.expect(202)["status"], "pending");
        }
    }
    rig.tick().await;
    rig.write(std::slice::from_ref(&mine)).await;
    rig.pass(2_000);
    for _ in 0..2 {
        rig.tick().await;
    }
    assert_eq!((rig.status(mine.order).await, rig.outbox().await.0.len()), (Status::Cancelled, 1));
    assert_eq!(rig.timeline(mine.order).await, [("buyer".to_owned(), "cancelled".to_owned())]);
    rig.pass(600_000);
    rig.tick().await;
    rig.write(std::slice::from_ref(&late)).await;
    rig.tick().await;
    assert_eq!(rig.status(late.order).await, Status::PendingPayment, "a wish is not kept for ever");
}

#[tokio::test]
async fn a_wish_of_another_buyer_or_tenant_cancels_nothing() {
    let mut rig = Rig::start().await;
    let theirs = row(1, rig.clock.now_ms(), WINDOW_MS);
    let path = format!("/v1/orders/{}/cancel", theirs.order);
    rig.post(&path, &rig.buyer_token(8, 1), "k", None).await.expect(202);
    // Another slot: it cannot be his.
    rig.cancel(theirs.order, 2).await.refused(404, "not_found");
    rig.write(std::slice::from_ref(&theirs)).await;
    rig.tick().await;
    assert_eq!(rig.status(theirs.order).await, Status::PendingPayment);
}

/// What was paid before the wish was looked at stays so.
#[tokio::test]
async fn a_wish_that_meets_a_payment_changes_nothing() {
    let mut rig = Rig::start().await;
    let mine = row(1, rig.clock.now_ms(), WINDOW_MS);
    rig.cancel(mine.order, 1).await.expect(202);
    rig.write(std::slice::from_ref(&mine)).await;
    rig.paid(mine.order, 1).await;
    rig.tick().await;
    assert_eq!((rig.status(mine.order).await, rig.outbox().await.0.len()), (Status::Paid, 0));
}

/// Whoever dies at whatever write, of the wish or of what it comes to: the order is cancelled once.
#[tokio::test]
async fn a_death_at_any_write_of_an_early_cancel_cancels_once() {
    let (mut rig, mut buyer, mut deaths) = (Rig::start().await, 0, 0);
    for when in [When::Written, When::Durable] {
        for nth in 1.. {
            buyer += 1;
            let (mine, before) = (row(buyer, rig.clock.now_ms(), WINDOW_MS), rig.outbox().await.0.len());
            let wished = rig.dying((nth, when), async || {
                rig.cancel(mine.order, buyer).await.expect(202);
            });
            let has_died = wished.await;
            rig.write(std::slice::from_ref(&mine)).await;
            rig.pass(2_000);
            let has_died = rig.dying((nth, when), async || rig.tick().await).await || has_died;
            let stands = (rig.status(mine.order).await, rig.outbox().await.0.len() - before);
            assert_eq!(stands, (Status::Cancelled, 1), "dead at write {nth}, {when:?}");
            assert_eq!(rig.timeline(mine.order).await.len(), 1);
            assert_eq!(rig.count("SELECT order_id FROM cancel_wishes").await, 0);
            if !has_died {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths >= 4, "{deaths} deaths");
}
