//! Goal: a process that dies between a provider and our books leaves nothing paid twice, nothing
//! refunded twice, and no unit lost. Method: the provider does what it is asked and its answer
//! never comes; the work that waits for it is dropped, as a kill drops it, and another goes on.

use domain::order::Status;

use super::rig::{DiesAfter, Rig, TOTAL, WINDOW_MS};

/// Works until it waits for an answer that does not come, and dies there.
async fn die(rig: &Rig, point: DiesAfter, work: impl Future<Output = ()>) {
    *rig.death.point.lock().unwrap() = Some(point);
    tokio::select! {
        () = work => panic!("it went on after {point:?}"),
        () = rig.death.reached.notified() => {}
    }
    *rig.death.point.lock().unwrap() = None;
}

#[tokio::test]
async fn between_the_opening_of_a_payment_and_its_row() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    die(&rig, DiesAfter::Create, async { drop(rig.pay(order, 1).await) }).await;
    assert_eq!(rig.pay(order, 1).await.expect(200)["number"], format!("{order}_1"));
    rig.paid(order, 1).await;
}

#[tokio::test]
async fn between_the_close_of_a_payment_and_the_release() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.pay(order, 1).await.expect(200);
    rig.pass(WINDOW_MS);
    die(&rig, DiesAfter::Close, rig.work()).await;
    assert_eq!((rig.status(order).await, rig.outbox().await.0.len()), (Status::PendingPayment, 0));
    assert_eq!(rig.expire().await, 0, "nobody knows yet that it is closed");
    rig.pass(20_000);
    rig.work().await;
    assert_eq!((rig.status(order).await, rig.outbox().await.0.len()), (Status::Expired, 1));
}

#[tokio::test]
async fn between_a_refund_and_its_row() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.paid(order, 1).await;
    rig.refund(order, "a", None).await.expect(201);
    die(&rig, DiesAfter::Refund, rig.work()).await;
    assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunding, TOTAL));
    // Alipay calls a repetition neither done nor not: a query says which.
    for _ in 0..2 {
        rig.pass(20_000.max(rig.till.gap_ms()));
        rig.work().await;
    }
    assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunded, TOTAL));
}
