//! Goal: what WeChat Pay alone has: payments inside WeChat and on a phone's browser, its pace of
//! refunds, and its bill.

use domain::order::Status;
use serde_json::json;

use super::super::till::merchant_key;
use super::rig::{Rig, TOTAL, WINDOW_MS};

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

/// Work of an account that was taken out of the file waits, and is done once it is back; what
/// others owe goes on meanwhile.
#[tokio::test]
async fn an_account_that_is_taken_out_holds_up_nobody_else() {
    let mut rig = Rig::start().await;
    let orders = rig.buy([1, 2]).await;
    rig.paid(orders[0], 1).await;
    rig.refund(orders[0], "a", None).await.expect(201);
    rig.pay(orders[1], 2).await.expect(200);
    let text = rig.accounts_file(|text| text.replace("tenant = \"7\"", "tenant = \"9\""));
    for _ in 0..3 {
        rig.work().await;
        rig.pass(WINDOW_MS);
    }
    let now = (rig.status(orders[0]).await, rig.status(orders[1]).await);
    assert_eq!(now, (Status::Refunding, Status::PendingPayment), "nobody can ask: nothing is given back");
    rig.accounts_file(|_| text.clone());
    for _ in 0..3 {
        rig.work().await;
        rig.pass(61_000);
    }
    let now = (rig.status(orders[0]).await, rig.status(orders[1]).await);
    assert_eq!((now, rig.given_back(orders[0], 1)), ((Status::Refunded, Status::Expired), TOTAL));
}

/// A bill as WeChat writes it: our number, the refund's or none, and the amount.
fn bill(lines: &[(&str, Option<&str>, i64)]) -> String {
    let yuan = |amount: i64| format!("{}.{:02}", amount / 100, amount % 100);
    let (mut text, mut sums) =
        ("微信订单号,商户订单号,交易状态,商户退款单号,手续费,订单金额,申请退款金额\n".to_owned(), (0, 0));
    for (number, refund, amount) in lines {
        let (state, paid, back) = if refund.is_some() { ("REFUND", 0, *amount) } else { ("SUCCESS", *amount, 0) };
        sums = (sums.0 + paid, sums.1 + back);
        let (refund, paid, back) = (refund.unwrap_or("0"), yuan(paid), yuan(back));
        text += &format!("`4200,`{number},`{state},`{refund},`0.60000,`{paid},`{back}\n");
    }
    let (count, paid, back) = (lines.len(), yuan(sums.0), yuan(sums.1));
    text + &format!("总交易单数,订单总金额,申请退款总金额\n`{count},`{paid},`{back}\n")
}

/// A day's bill agrees with what was booked, or each difference is listed, and they add up.
#[tokio::test]
async fn a_days_bill_is_held_against_the_books() {
    let mut rig = Rig::start().await;
    let orders = rig.buy([1, 2]).await;
    for (order, buyer) in orders.iter().zip([1, 2]) {
        rig.paid(*order, buyer).await;
    }
    rig.refund(orders[0], "a", Some(TOTAL / 3)).await.expect(201);
    rig.work().await;
    let path = "/v1/merchant/settlements/wechat/2026-11-11";
    let ask = |path: &str, token: &str, text: String| {
        let (path, authorization) = (path.to_owned(), format!("Bearer {token}"));
        let rig = &rig;
        async move { rig.post_raw(&path, &[("authorization", &authorization)], Some(text.into())).await }
    };
    let (one, two, refund) = (format!("{}_1", orders[0]), format!("{}_1", orders[1]), format!("{}_r1", orders[0]));
    let whole = bill(&[(&one, None, TOTAL), (&two, None, TOTAL), (&one, Some(&refund), TOTAL / 3)]);
    let agrees = ask(path, "staff-7", whole.clone()).await;
    let sums = json!({"received": 2 * TOTAL, "refunded": TOTAL / 3});
    let body = agrees.expect(200);
    assert_eq!((&body["ours"], &body["theirs"], &body["difference"]), (&sums, &sums, &json!(0)));
    assert_eq!((&body["differences"], &body["fees_e5"]), (&json!([]), &json!(180_000)));
    let differs = ask(path, "staff-7", bill(&[(&one, None, TOTAL + 1), ("777_1", None, 5)])).await;
    let listed: Vec<_> = differs.expect(200)["differences"].as_array().unwrap().iter().collect();
    let named = |number: &str| listed.iter().find(|one| one["number"] == number).unwrap()["difference"].clone();
    assert_eq!(listed.len(), 4, "{listed:?}");
    assert_eq!((named(&one), named("777_1")), (json!("amount_differs"), json!("missing_here")));
    assert_eq!((named(&two), named(&refund)), (json!("missing_there"), json!("missing_there")));
    assert_eq!(differs.body["difference"], 6 - TOTAL + TOTAL / 3);
    let nobody = ask(path, "staff-8", whole.clone()).await;
    assert_eq!(nobody.expect(200)["ours"], json!({"received": 0, "refunded": 0}), "another tenant's books");
    let day_before = ask("/v1/merchant/settlements/wechat/2026-11-10", "staff-7", whole.clone()).await;
    assert_eq!(day_before.expect(200)["ours"]["received"], 0);
    ask(path, "weak-7", whole.clone()).await.refused(403, "forbidden");
    ask("/v1/merchant/settlements/cash/2026-11-11", "staff-7", whole.clone()).await.refused(404, "not_found");
    let day = ask("/v1/merchant/settlements/wechat/today", "staff-7", whole.clone()).await;
    assert_eq!(day.refused(400, "invalid_request")["errors"][0]["field"], "day");
    let cut = ask(path, "staff-7", whole[..whole.len() - 40].to_owned()).await;
    assert_eq!(cut.refused(400, "invalid_request")["errors"][0]["field"], "body");
}
