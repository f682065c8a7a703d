//! Goal: a cancelled order gives its units back once, and never while it can still be paid.

use domain::order::Status;
use orders::simulator::Fault;

use super::rig::{Rig, TOTAL};

/// The release stands in the outbox with the change of the row; repeated it is the same answer.
#[tokio::test]
async fn a_buyer_cancels_once() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    assert_eq!(rig.cancel(order, 1).await.expect(200)["status"], "cancelled");
    assert_eq!(rig.cancel(order, 1).await.expect(200)["status"], "cancelled");
    let (releases, events) = rig.outbox().await;
    assert_eq!((releases.len(), events.len()), (1, 0));
    assert_eq!((releases[0].order, releases[0].quantity, releases[0].became), (order, 3, Some(Status::Cancelled)));
    assert_eq!(rig.timeline(order).await, [("buyer".to_owned(), "cancelled".to_owned())]);
    rig.pay(order, 1).await.refused(409, "conflict");
}

#[tokio::test]
async fn of_two_who_cancel_at_once_one_release_comes() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let (one, other) = tokio::join!(rig.cancel(order, 1), rig.merchant_cancel(order, "staff-7"));
    assert_eq!(
        (one.expect(200)["status"].clone(), other.expect(200)["status"].clone()),
        ("cancelled".into(), "cancelled".into())
    );
    assert_eq!(rig.outbox().await.0.len(), 1);
}

/// An open attempt is closed at the provider before the units go back.
#[tokio::test]
async fn an_open_payment_is_closed_first() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.cancel(order, 1).await.expect(200);
    assert!(rig.bank.pay(rig.till.account(), &number).is_err(), "closed at the bank");
    assert_eq!((rig.status(order).await, rig.outbox().await.0.len()), (Status::Cancelled, 1));
}

/// Where the provider does not answer, nothing is given back until it does; nobody pays meanwhile.
#[tokio::test]
async fn a_provider_that_does_not_answer_holds_the_units() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.pay(order, 1).await.expect(200);
    rig.bank.fault(Fault::FailsBefore);
    rig.bank.fault(Fault::FailsBefore);
    assert_eq!(rig.cancel(order, 1).await.expect(202)["status"], "pending_payment");
    assert_eq!(rig.outbox().await.0.len(), 0);
    rig.pay(order, 1).await.refused(409, "conflict");
    rig.pass(60_000);
    rig.work().await;
    assert_eq!((rig.status(order).await, rig.outbox().await.0.len()), (Status::Cancelled, 1));
}

/// The buyer was faster at the bank: the order is paid, and the cancel is told so.
#[tokio::test]
async fn a_cancel_that_meets_a_payment_is_refused() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.bank.pay(rig.till.account(), &number).unwrap();
    assert_eq!(rig.cancel(order, 1).await.refused(409, "conflict")["current"]["status"], "paid");
    assert_eq!(rig.deliver().await, 1, "its notice is a repetition");
    assert_eq!((rig.outbox().await.0.len(), rig.outbox().await.1.len()), (0, 1));
    rig.cancel(order, 1).await.refused(409, "conflict");
}

/// What a merchant cancels of what was paid is refunded, by who may refund.
#[tokio::test]
async fn a_paid_order_that_the_shop_cancels_is_refunded() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.paid(order, 1).await;
    rig.merchant_cancel(order, "weak-7").await.refused(403, "forbidden");
    assert_eq!(rig.merchant_cancel(order, "staff-7").await.expect(200)["status"], "refunding");
    assert_eq!(rig.merchant_cancel(order, "staff-7").await.expect(200)["status"], "refunding");
    rig.work().await;
    rig.deliver().await;
    assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunded, TOTAL));
    assert_eq!(rig.outbox().await.0.len(), 1);
}
