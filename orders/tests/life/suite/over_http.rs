//! Goal: at a provider over HTTP an order ends as at the bank's own port, and nobody believes what
//! is not signed.

use domain::order::Status;
use orders::simulator::{Fault, NoticePlan};

use super::rig::{Rig, TOTAL, Till, WINDOW_MS};

/// An open attempt is closed at the provider, then the order expires and its units go back once.
#[tokio::test]
async fn an_open_payment_is_closed_before_its_order_expires() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.pass(WINDOW_MS);
    assert_eq!(rig.expire().await, 0, "it may be paid at this moment");
    rig.work().await;
    assert_eq!(rig.status(order).await, Status::Expired);
    assert!(rig.bank.pay(rig.till.account(), &number).is_err());
    assert_eq!(rig.outbox().await.0.len(), 1);
}

/// Paid in the last second, and the notice is late: the close is refused, and the order is paid.
#[tokio::test]
async fn a_payment_of_the_last_second_counts() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.pass(WINDOW_MS - 16_000);
    rig.bank.pay(rig.till.account(), &number).unwrap();
    rig.pass(16_000);
    rig.work().await;
    assert_eq!((rig.status(order).await, rig.outbox().await.0.len()), (Status::Paid, 0));
}

/// An answer whose signature is wrong or missing is unknown, whatever it says: of an opening, of a
/// query, of a close and of a refund. The same number is asked about, and nothing happens twice.
#[tokio::test]
async fn an_answer_that_is_not_signed_rightly_is_unknown() {
    let mut rig = Rig::start().await;
    for (buyer, fault) in [(1, Fault::WrongSignature), (2, Fault::NotSigned)] {
        let order = rig.buy([buyer]).await[0];
        rig.bank.fault(fault);
        rig.pay(order, buyer).await.refused(503, "outcome_unknown");
        let number = rig.pay(order, buyer).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
        rig.bank.pay_with(rig.till.account(), &number, NoticePlan { copies: 0, ..NoticePlan::PLAIN }).unwrap();
        rig.pass(60_000);
        rig.bank.fault(fault);
        rig.work().await;
        assert_eq!(rig.status(order).await, Status::PendingPayment, "{fault:?}: nobody vouches for that");
        rig.pass(60_000);
        rig.work().await;
        assert_eq!(rig.status(order).await, Status::Paid);
        rig.refund(order, "a", None).await.expect(201);
        rig.bank.fault(fault);
        rig.work().await;
        assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunding, TOTAL), "{fault:?}");
        rig.pass(rig.till.gap_ms());
        rig.work().await;
        assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunded, TOTAL), "{fault:?}");
    }
}

/// Any byte of a notice that is changed, and any signing header that is missing, is not believed;
/// it is answered as the provider's documents say, and the true one is taken afterwards.
#[tokio::test]
async fn a_notice_that_was_changed_is_answered_as_not_taken() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.bank.pay(rig.till.account(), &number).unwrap();
    let post = rig.due_notices().remove(0);
    let headers: Vec<(&str, &str)> = post.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut changed = post.body.to_vec();
    let last = changed.len() - 3;
    changed[last] ^= 1;
    let answer = rig.post_raw(&post.url, &headers, Some(changed.into())).await;
    match rig.till {
        Till::Alipay => assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, Some("fail"))),
        _ => assert_eq!(answer.expect(400)["code"], "FAIL"),
    }
    assert_eq!(rig.status(order).await, Status::PendingPayment);
    for _ in 0..2 {
        let answer = rig.post_raw(&post.url, &headers, Some(post.body.clone())).await;
        match rig.till {
            Till::Alipay => assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, Some("success"))),
            _ => drop(answer.expect(204)),
        }
        assert_eq!(rig.status(order).await, Status::Paid);
    }
    assert_eq!(rig.outbox().await.1.len(), 1, "one event");
}
