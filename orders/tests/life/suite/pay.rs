//! Goal: an accepted order becomes money once, by the provider's word alone.

use domain::{
    event::{EventKind, OrderEvent},
    order::Status,
};
use orders::simulator::{Fault, NoticePlan};
use serde_json::json;

use super::rig::{Rig, TOTAL, Till, WINDOW_MS};

/// The attempt is opened once, whoever asks again; the notice pays the order, with its event and
/// its line in the same step; its repetition changes nothing.
#[tokio::test]
async fn an_order_is_paid_once_by_the_notice_of_its_provider() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let first = rig.pay(order, 1).await;
    assert_eq!(first.expect(200)["amount"], json!({"amount": TOTAL, "currency": "CNY"}));
    let opened = first.body["page"].as_str().or(first.body["code"].as_str()).unwrap();
    let (page, code) = (format!("/simulated/cashier/7/{order}_1"), ["weixin://", "https://qr.alipay.com/"]);
    assert!(opened.ends_with(&page) || code.iter().any(|code| opened.starts_with(code)), "{opened}");
    assert_eq!(rig.pay(order, 1).await.body, first.body);
    let number = format!("{order}_1").parse().unwrap();
    rig.bank.pay_with(rig.till.account(), &number, NoticePlan { copies: 2, ..NoticePlan::PLAIN }).unwrap();
    assert_eq!(rig.deliver().await, 2);
    assert_eq!(rig.status(order).await, Status::Paid);
    let (releases, events) = rig.outbox().await;
    assert!(releases.is_empty());
    let [OrderEvent { kind: EventKind::Paid, sequence: 2, quantity: 3, order: of, .. }] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(of, order);
    let told = rig.timeline(order).await;
    assert_eq!(told, [("buyer".into(), "attempt".into()), (rig.till.name().into(), "paid".into())]);
    rig.pay(order, 1).await.refused(409, "conflict");
}

/// Of two requests at once one makes the attempt, and both show it.
#[tokio::test]
async fn two_at_once_open_one_payment() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let (one, other) = tokio::join!(rig.pay(order, 1), rig.pay(order, 1));
    assert_eq!(one.expect(200)["number"], other.expect(200)["number"]);
    assert_eq!(rig.timeline(order).await.len(), 1);
}

/// Another buyer's order, and another tenant's, is absent.
#[tokio::test]
async fn an_order_of_somebody_else_is_absent() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let body = || Some(json!({"method": rig.till.method()}));
    let path = format!("/v1/orders/{order}/pay");
    let absent = rig.post("/v1/orders/77/pay", &rig.buyer_token(7, 1), "k", body()).await;
    absent.refused(404, "not_found");
    for token in [rig.buyer_token(7, 2), rig.buyer_token(8, 1)] {
        let refused = rig.post(&path, &token, "k", body()).await;
        assert_eq!(refused.refused(404, "not_found")["detail"], absent.body["detail"]);
        rig.post(&format!("/v1/orders/{order}/cancel"), &token, "k", None).await.refused(404, "not_found");
    }
    rig.post(&path, "staff-7", "k", body()).await.refused(401, "unauthenticated");
    let merchant = |token: String| {
        let rig = &rig;
        async move { rig.post(&format!("/v1/merchant/orders/{order}/cancel"), &token, "k", None).await }
    };
    merchant(rig.buyer_token(7, 1)).await.refused(401, "unauthenticated");
    merchant("staff-8".into()).await.refused(404, "not_found");
    assert_eq!((rig.status(order).await, rig.timeline(order).await.len()), (Status::PendingPayment, 0));
}

#[tokio::test]
async fn every_wrong_member_is_named_and_a_method_without_an_account_is_a_conflict() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let (path, token) = (format!("/v1/orders/{order}/pay"), rig.buyer_token(7, 1));
    let wrong = rig.post(&path, &token, "k", Some(json!({"method": "cash", "now": true}))).await;
    assert!(wrong.refused(400, "invalid_request")["errors"].as_array().unwrap().len() >= 2, "{}", wrong.body);
    let none = rig.post(&path, &token, "k", Some(json!({"method": rig.till.method_elsewhere()}))).await;
    assert_eq!(none.refused(409, "conflict")["current"]["status"], "pending_payment");
}

/// A forged notice is counted, answered as not taken, and changes nothing; nor does a genuine one
/// that was signed for another account.
#[tokio::test]
async fn a_forged_notice_changes_nothing() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.bank.pay_with(rig.till.account(), &number, NoticePlan { copies: 1, forged: 1, ..NoticePlan::PLAIN }).unwrap();
    let mut taken = 0;
    for post in rig.due_notices() {
        let headers: Vec<(&str, &str)> =
            post.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if rig.till == Till::Simulated {
            let other = post.url.replace("account=7", "account=8");
            assert_eq!(rig.post_raw(&other, &headers, Some(post.body.clone())).await.status.as_u16(), 400);
        }
        let is_before = rig.status(order).await == Status::PendingPayment;
        let answer = rig.post_raw(&post.url, &headers, Some(post.body.clone())).await;
        match (answer.status.as_u16(), answer.body.as_str()) {
            (204, None) | (200, Some("success")) => taken += 1,
            (400, None) | (200, Some("fail")) => {
                assert_eq!(rig.status(order).await == Status::PendingPayment, is_before);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((taken, rig.status(order).await), (1, Status::Paid));
}

/// An answer that is lost leaves the attempt; asked again, or looked at by the work, it is the same
/// number and one payment.
#[tokio::test]
async fn a_lost_answer_of_the_provider_is_asked_again_with_its_number() {
    let mut rig = Rig::start().await;
    let orders = rig.buy([1, 2]).await;
    for (order, fault) in orders.iter().zip([Fault::FailsAfter, Fault::FailsBefore]) {
        let buyer = if order == &orders[0] { 1 } else { 2 };
        rig.bank.fault(fault);
        rig.pay(*order, buyer).await.refused(503, "outcome_unknown");
        let again = rig.pay(*order, buyer).await;
        assert_eq!(again.expect(200)["number"], format!("{order}_1"));
    }
}

/// A notice that never comes: the provider is asked, and says the same.
#[tokio::test]
async fn a_payment_without_a_notice_is_found_by_asking() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.bank.pay_with(rig.till.account(), &number, NoticePlan { copies: 0, ..NoticePlan::PLAIN }).unwrap();
    rig.work().await;
    assert_eq!(rig.status(order).await, Status::PendingPayment, "not yet its time");
    rig.pass(60_000);
    rig.work().await;
    assert_eq!(rig.status(order).await, Status::Paid);
}

/// A payment that comes after the end of its order goes back by itself, and its line tells of it.
#[tokio::test]
async fn a_late_payment_goes_back_by_itself() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    // Paid in time, and the notice is late; the close of the attempt was believed before.
    rig.bank
        .pay_with(rig.till.account(), &number, NoticePlan { delay_ms: 2 * WINDOW_MS, ..NoticePlan::PLAIN })
        .unwrap();
    let shard = rig.store.orders.map().home_of_order(order).shard;
    rig.store.orders.change_beside(shard, "UPDATE attempts SET state = 5, next_at = NULL", vec![]).await.unwrap();
    rig.pass(WINDOW_MS);
    assert_eq!(rig.expire().await, 1);
    rig.pass(2 * WINDOW_MS);
    assert_eq!(rig.deliver().await, 1);
    assert_eq!(rig.status(order).await, Status::Expired);
    rig.work().await;
    assert_eq!(rig.given_back(order, 1), TOTAL);
    rig.deliver().await;
    let told: Vec<String> = rig.timeline(order).await.into_iter().map(|(_, what)| what).collect();
    assert_eq!(told, ["attempt", "paid_late", "refund_done"]);
    let told = rig.outbox().await.1.last().map(|event| (event.kind, event.refunded));
    assert_eq!(told, Some((EventKind::RefundedInPart, TOTAL)), "services that follow hear of it");
    assert_eq!(rig.status(order).await, Status::Expired);
}
