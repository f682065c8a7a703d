//! Goal: what WeChat Pay alone has: payments inside WeChat and on a phone's browser, and its pace of
//! refunds.

use domain::order::Status;
use serde_json::json;

use super::{
    super::till::merchant_key,
    rig::{Rig, TOTAL},
};

/// The page gets parameters that the shop signed; repeated it is the same payment, freshly signed.
/// The id stands with the attempt: the work beside the requests opens it with the same.
#[tokio::test]
async fn a_buyer_inside_wechat_gets_signed_parameters() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let (path, token) = (format!("/v1/orders/{order}/pay"), rig.buyer_token(7, 1));
    let pay = |body| rig.post(&path, &token, "k", Some(body));
    for wrong in [json!({"method": "wechat_jsapi"}), json!({"method": "wechat_native", "openid": "o_1"})] {
        let refused = pay(wrong).await;
        assert_eq!(refused.refused(400, "invalid_request")["errors"][0]["field"], "openid");
    }
    let opened = pay(json!({"method": "wechat_jsapi", "openid": "o_1"})).await;
    let jsapi = &opened.expect(200)["jsapi"];
    let part = |name: &str| jsapi[name].as_str().unwrap().to_owned();
    let package = part("package");
    assert!(package.starts_with("prepay_id=wx") && part("signType") == "RSA", "{jsapi}");
    let signed = format!("{}\n{}\n{}\n{package}\n", part("appId"), part("timeStamp"), part("nonceStr"));
    assert!(merchant_key().verifies(signed.as_bytes(), &part("paySign")));
    let again = pay(json!({"method": "wechat_jsapi", "openid": "o_1"})).await;
    let (first, now) = (&opened.body, again.expect(200));
    assert_eq!((&now["number"], &now["jsapi"]["package"]), (&first["number"], &first["jsapi"]["package"]));
    pay(json!({"method": "wechat_jsapi", "openid": "o_2"})).await.refused(409, "conflict");
    let number = now["number"].as_str().unwrap().parse().unwrap();
    rig.bank.pay(rig.till.account(), &number).unwrap();
    assert_eq!(rig.deliver().await, 1);
    assert_eq!(rig.status(order).await, Status::Paid);
}

/// A phone's browser gets WeChat's page; the address of who asks goes with the request.
#[tokio::test]
async fn a_buyer_in_a_phones_browser_gets_a_page() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let (path, token) = (format!("/v1/orders/{order}/pay"), rig.buyer_token(7, 1));
    let opened = rig.post(&path, &token, "k", Some(json!({"method": "wechat_h5"}))).await;
    assert!(opened.expect(200)["page"].as_str().unwrap().starts_with("http"), "{}", opened.body);
    let shard = rig.store.orders.map().home_of_order(order).shard;
    let rows = rig.store.orders.beside(shard, "SELECT payer FROM attempts", vec![]).await.unwrap();
    let payers: Vec<String> = rows.into_iter().map(|mut row| row.text().unwrap()).collect();
    assert_eq!(payers, ["127.0.0.1"]);
}

/// WeChat takes one refund of a payment a minute: the second waits for its minute, with its number.
#[tokio::test]
async fn a_second_partial_refund_waits_for_its_minute() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.paid(order, 1).await;
    rig.refund(order, "a", Some(TOTAL / 3)).await.expect(201);
    rig.refund(order, "b", Some(TOTAL / 3)).await.expect(201);
    for (wait_ms, back) in [(0, TOTAL / 3), (30_000, TOTAL / 3), (31_000, TOTAL * 2 / 3)] {
        rig.pass(wait_ms);
        rig.work().await;
        assert_eq!(rig.given_back(order, 1), back, "{wait_ms}");
    }
    assert_eq!(rig.status(order).await, Status::Paid);
}
