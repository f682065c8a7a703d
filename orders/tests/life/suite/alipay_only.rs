//! Goal: what Alipay alone has: a page that makes the trade only when it is opened.

use domain::order::Status;
use serde_json::json;

use super::rig::{Rig, WINDOW_MS};

/// The page that nobody opens makes no trade: its units wait until it can come to be no more.
#[tokio::test]
async fn a_page_that_is_never_opened_holds_the_units_to_its_end() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let (path, token) = (format!("/v1/orders/{order}/pay"), rig.buyer_token(7, 1));
    let opened = rig.post(&path, &token, "k", Some(json!({"method": "alipay_wap"}))).await;
    assert!(opened.expect(200)["page"].as_str().unwrap().contains("/gateway.do?"), "{}", opened.body);
    rig.cancel(order, 1).await.expect(202);
    rig.pass(60_000);
    rig.work().await;
    assert_eq!((rig.status(order).await, rig.outbox().await.0.len()), (Status::PendingPayment, 0));
    rig.pass(WINDOW_MS);
    rig.work().await;
    assert_eq!((rig.status(order).await, rig.outbox().await.0.len()), (Status::Cancelled, 1));
}

/// The buyer's browser carries the signed request; the payment on it pays the order.
#[tokio::test]
async fn a_page_that_is_opened_is_paid() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    for method in ["alipay_wap", "alipay_page"] {
        let path = format!("/v1/orders/{order}/pay");
        let opened = rig.post(&path, &rig.buyer_token(7, 1), "k", Some(json!({"method": method}))).await;
        if method == "alipay_page" {
            opened.refused(409, "conflict");
            break;
        }
        let page = opened.expect(200)["page"].as_str().unwrap().to_owned();
        rig.post_raw(&page, &[], None).await.expect(303);
    }
    let number = format!("{order}_1").parse().unwrap();
    rig.bank.pay(rig.till.account(), &number).unwrap();
    assert_eq!(rig.deliver().await, 1);
    assert_eq!(rig.status(order).await, Status::Paid);
}
