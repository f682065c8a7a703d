//! Goal: what the shop holds or switches off stops, keeps nobody else waiting, and goes on by
//! itself once nothing stops it.

use domain::event::EventKind;
use kit::clock::Clock as _;
use serde_json::{Value, json};

use super::{
    rig::{Answer, DAY_MS, Rig, bought, later},
    withdrawals::with_money,
};

async fn hold(rig: &Rig, what: &str, number: &str) -> Answer {
    rig.merchant("POST", "holds", Some(json!({what: number, "reason": "looks odd"}))).await
}

async fn release(rig: &Rig, hold: &Value) -> Answer {
    let path = format!("holds/{}/release", hold["hold"].as_str().unwrap());
    rig.merchant("POST", &path, Some(json!({"reason": "was right"}))).await
}

async fn switch(rig: &Rig, earning: bool, withdrawing: bool) {
    let body = json!({"earning": earning, "withdrawing": withdrawing, "reason": "counsel asks"});
    rig.merchant("PUT", "switch", Some(body)).await.expect(200);
}

async fn rounds(rig: &Rig) {
    for _ in 0..4 {
        rig.pass(2_000);
        rig.service.round().await.unwrap();
    }
}

async fn approve(rig: &Rig, wish: &Answer) -> Answer {
    rig.merchant("POST", &format!("withdrawals/{}/approve", wish.body["withdrawal"].as_str().unwrap()), None).await
}

#[tokio::test]
async fn a_held_persons_money_stays_until_the_release() {
    let rig = with_money(1).await;
    let ask = async |amount: i64| rig.own("POST", "withdrawals", 12, Some(json!({ "amount": amount }))).await;
    let (one, two) = (ask(100).await, ask(50).await);
    approve(&rig, &one).await.expect(200);
    let (first, second) = tokio::join!(hold(&rig, "person", "12"), hold(&rig, "person", "12"));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "one hold is enough");
    let held = if first.status == 201 { &first.body } else { &second.body };
    assert_eq!(rig.own("GET", "me", 12, None).await.expect(200)["stopped"], json!(["held"]));
    ask(1).await.refused(409, "conflict");
    approve(&rig, &two).await.refused(409, "conflict");
    rounds(&rig).await;
    assert_eq!(rig.payouts.paid(), 0, "what was approved before waits too");
    assert_eq!(release(&rig, held).await.expect(200)["released_why"], "was right");
    release(&rig, held).await.refused(409, "conflict");
    rounds(&rig).await;
    approve(&rig, &two).await.expect(200);
    rounds(&rig).await;
    assert_eq!((rig.payouts.paid(), rig.balance(12).await), (150, [0, 849, 0, 150, 0]));
    hold(&rig, "person", "99").await.refused(409, "conflict");
    rig.merchant("POST", "holds", Some(json!({"reason": "x"}))).await.refused(400, "invalid_request");
    rig.sums_to_zero().await;
}

#[tokio::test]
async fn a_held_orders_payouts_stay_pending_and_those_behind_it_mature() {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    let ([first, paid], [other, other_paid]) = (bought(20, now_ms, 0), bought(20, now_ms, 1));
    let received = |order| later(order, 4, EventKind::Completed, 0);
    rig.feed(&[first, paid, received(&first)]).await;
    rig.pass(1_000);
    let held = hold(&rig, "order_id", &first.order.to_string()).await;
    hold(&rig, "order_id", &first.order.to_string()).await.refused(409, "conflict");
    // Held before it is received.
    rig.feed(&[other, other_paid]).await;
    let other_held = hold(&rig, "order_id", &other.order.to_string()).await;
    rig.feed(&[received(&other)]).await;
    let last = bought(20, now_ms, 2);
    rig.feed(&last).await;
    rig.feed(&[received(&last[0])]).await;
    rig.pass(22 * DAY_MS);
    rounds(&rig).await;
    assert_eq!(rig.balance(12).await, [1_998, 999, 0, 0, 0]);
    release(&rig, held.expect(201)).await.expect(200);
    rounds(&rig).await;
    assert_eq!(rig.balance(12).await, [999, 1_998, 0, 0, 0]);
    // A refund takes back what is held.
    rig.feed(&[later(&other, 7, EventKind::Refunded, 0)]).await;
    release(&rig, other_held.expect(201)).await.expect(200);
    rounds(&rig).await;
    assert_eq!(rig.balance(12).await, [0, 1_998, 0, 0, 0]);
    hold(&rig, "order_id", &first.order.to_string()).await.refused(409, "conflict");
    hold(&rig, "order_id", "77").await.refused(409, "conflict");
    rig.sums_to_zero().await;
}

#[tokio::test]
async fn a_shop_that_switches_earning_off_pays_nothing_new_and_takes_back_as_before() {
    let rig = Rig::start().await;
    let [before, before_paid] = bought(20, rig.clock.now_ms(), 0);
    let [refunded, refunded_paid] = bought(20, rig.clock.now_ms(), 1);
    let received = |order| later(order, 4, EventKind::Completed, 0);
    rig.feed(&[before, before_paid, received(&before), refunded, refunded_paid]).await;
    switch(&rig, false, true).await;
    rig.pass(2_000);
    // Of the moment when it is off: it never pays, whenever it is paid for.
    let [while_off, while_off_paid] = bought(20, rig.clock.now_ms(), 0);
    rig.feed(&[while_off, while_off_paid, later(&refunded, 7, EventKind::Refunded, 0)]).await;
    assert_eq!(rig.balance(12).await, [999, 0, 0, 0, 0], "a refund takes back");
    rig.pass(22 * DAY_MS);
    rounds(&rig).await;
    assert_eq!(rig.balance(12).await, [999, 0, 0, 0, 0], "nothing matures");
    let credit = |amount: i64| Some(json!({"person": "12", "amount": amount, "reason": "x"}));
    rig.merchant("POST", "adjustments", credit(5)).await.refused(409, "conflict");
    rig.merchant("POST", "adjustments", credit(-9)).await.expect(201);
    assert_eq!(rig.own("GET", "me", 12, None).await.expect(200)["stopped"], json!(["earning"]));
    let shown = rig.merchant("GET", "switch", None).await;
    assert_eq!((&shown.expect(200)["earning"], &shown.body["who"]), (&false.into(), &"user:5".into()));
    assert_eq!(shown.body["reason"], "counsel asks");
    switch(&rig, true, true).await;
    rig.pass(2_000);
    rounds(&rig).await;
    rig.feed(&[while_off, while_off_paid]).await;
    assert_eq!(rig.balance(12).await, [0, 990, 0, 0, 0], "what waited matures; what was bought meanwhile never pays");
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    assert_eq!(rig.balance(12).await, [999, 990, 0, 0, 0]);
    let audit = "SELECT COUNT(*) FROM audit_log WHERE action = 'commissions.shop_switch' AND actor = 'user:5'";
    let rows = store::sql::Sql::rows(&rig.sql, audit, vec![]).await.unwrap();
    assert_eq!(rows.into_iter().next().unwrap().int().unwrap(), 2);
    rig.sums_to_zero().await;
}

#[tokio::test]
async fn a_shop_that_switches_withdrawals_off_sends_nothing_new() {
    let rig = with_money(1).await;
    let ask = async || rig.own("POST", "withdrawals", 12, Some(json!({"amount": 100}))).await;
    let (approved, asked, declined) = (ask().await, ask().await, ask().await);
    approve(&rig, &approved).await.expect(200);
    switch(&rig, true, false).await;
    ask().await.refused(409, "conflict");
    approve(&rig, &asked).await.refused(409, "conflict");
    let path = format!("withdrawals/{}/decline", declined.body["withdrawal"].as_str().unwrap());
    rig.merchant("POST", &path, None).await.expect(200);
    rounds(&rig).await;
    assert_eq!((rig.payouts.paid(), rig.balance(12).await), (0, [0, 799, 200, 0, 0]));
    let other = rig.call("GET", "merchant/commissions/switch", "user-5-8", None, &[]).await;
    assert_eq!(other.expect(200), &json!({"earning": true, "withdrawing": true}), "another shop's is its own");
    switch(&rig, true, true).await;
    rounds(&rig).await;
    approve(&rig, &asked).await.expect(200);
    rounds(&rig).await;
    assert_eq!((rig.payouts.paid(), rig.balance(12).await), (200, [0, 799, 0, 200, 0]));
    rig.sums_to_zero().await;
}
