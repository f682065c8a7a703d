//! Goal: goods that no carrier brings reach their buyer once: by the code that he shows, or by
//! redeem codes, one a unit, which nobody else ever gets.

use domain::{event::EventKind, id::OrderId, order::Status};
use serde_json::{Value, json};

use super::rig::{Answer, Rig, TOTAL};

const OFFER: &str = "/v1/merchant/order-handovers/8";

impl Rig {
    pub(crate) async fn goods_are(&self, kind: &str) {
        self.put(OFFER, "staff-7", json!({"kind": kind})).await.expect(200);
        self.pass(10_000);
    }

    pub(crate) async fn import(&self, codes: &[String]) -> Answer {
        self.post(&format!("{OFFER}/codes"), "staff-7", "k", Some(json!({"codes": codes}))).await
    }

    pub(crate) async fn codes(&self, order: OrderId, buyer: u64) -> Vec<String> {
        let answer = self.get(&format!("/v1/orders/{order}/codes"), &self.buyer_token(7, buyer)).await;
        let codes = answer.expect(200)["codes"].as_array().unwrap();
        codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn pick_up(&self, order: OrderId, code: &str) -> Answer {
        let path = format!("/v1/merchant/orders/{order}/pickup");
        self.post(&path, "staff-7", "k", Some(json!({"code": code}))).await
    }

    pub(crate) async fn pickup_code(&self, order: OrderId, buyer: u64) -> Answer {
        self.get(&format!("/v1/orders/{order}/pickup"), &self.buyer_token(7, buyer)).await
    }
}

pub(crate) fn codes(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("CODE-{number}")).collect()
}

fn other(code: &str) -> String {
    let first = if code.starts_with('0') { "1" } else { "0" };
    format!("{first}{}", &code[1..])
}

#[tokio::test]
async fn goods_are_picked_up_by_the_code_that_the_buyer_shows() {
    let mut rig = Rig::start().await;
    rig.goods_are("pickup").await;
    let orders = rig.buy([1, 2]).await;
    rig.pickup_code(orders[0], 1).await.refused(409, "conflict");
    rig.paid(orders[0], 1).await;
    rig.paid(orders[1], 2).await;
    rig.pickup_code(orders[0], 2).await.refused(404, "not_found");
    let code = rig.pickup_code(orders[0], 1).await.expect(200)["code"].as_str().unwrap().to_owned();
    rig.ship(orders[0], "SF1").await.refused(409, "conflict");
    rig.pick_up(orders[0], "1").await.refused(400, "invalid_request");
    rig.pick_up(orders[0], &other(&code)).await.refused(409, "conflict");
    for _ in 0..2 {
        assert_eq!(rig.pick_up(orders[0], &code).await.expect(200)["status"], "fulfilled");
    }
    let told: Vec<String> = rig.timeline(orders[0]).await.into_iter().map(|(_, what)| what).collect();
    assert_eq!(told, ["attempt", "paid", "pickup_refused", "fulfilled", "delivered"]);
    rig.pass(7 * 86_400_000);
    rig.tick().await;
    assert_eq!(rig.status(orders[0]).await, Status::Completed);
    // Who guesses is stopped.
    let code = rig.pickup_code(orders[1], 2).await.expect(200)["code"].as_str().unwrap().to_owned();
    for _ in 0..10 {
        rig.pick_up(orders[1], &other(&code)).await.refused(409, "conflict");
    }
    rig.pick_up(orders[1], &code).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_change_of_an_offers_kind_counts_for_orders_that_are_paid_after_it() {
    let mut rig = Rig::start().await;
    let orders = rig.buy([1, 2]).await;
    rig.paid(orders[0], 1).await;
    rig.put(OFFER, "staff-7", json!({"kind": "pickup"})).await.expect(200);
    rig.ship(orders[0], "SF1").await.expect(200);
    rig.pass(10_000);
    rig.paid(orders[1], 2).await;
    rig.ship(orders[1], "SF2").await.refused(409, "conflict");
    rig.put(OFFER, "staff-7", json!({"kind": "flown"})).await.refused(400, "invalid_request");
    rig.put(OFFER, "nobody-7", json!({"kind": "pickup"})).await.refused(401, "unauthenticated");
    assert_eq!(rig.get(OFFER, "staff-8").await.expect(200)["kind"], "express", "another tenant's is its own");
}

/// A payment that is under way when the kind changes has what holds when it is confirmed.
#[tokio::test]
async fn a_change_of_an_offers_kind_counts_from_its_moment_for_payments_under_way() {
    let mut rig = Rig::start().await;
    let orders = rig.buy([1, 2]).await;
    for (order, buyer) in orders.iter().zip(1..) {
        rig.pay(*order, buyer).await.expect(200);
    }
    rig.put(OFFER, "staff-7", json!({"kind": "pickup"})).await.expect(200);
    rig.pass(9_999);
    rig.paid(orders[0], 1).await;
    rig.pass(1);
    rig.paid(orders[1], 2).await;
    rig.pickup_code(orders[0], 1).await.refused(409, "conflict");
    rig.ship(orders[0], "SF1").await.expect(200);
    rig.ship(orders[1], "SF2").await.refused(409, "conflict");
    let code = rig.pickup_code(orders[1], 2).await.expect(200)["code"].as_str().unwrap().to_owned();
    rig.pick_up(orders[1], &code).await.expect(200);
}

#[tokio::test]
async fn codes_are_given_once_one_a_unit() {
    let mut rig = Rig::start().await;
    rig.import(&codes(0..1)).await.refused(409, "conflict");
    rig.goods_are("code").await;
    assert_eq!(rig.import(&codes(0..7)).await.expect(200), &json!({"added": 7, "known": 0}));
    assert_eq!(rig.import(&codes(0..7)).await.expect(200), &json!({"added": 0, "known": 7}));
    let orders = rig.buy([1, 2, 3]).await;
    for (order, buyer) in orders.iter().zip(1..) {
        rig.paid(*order, buyer).await;
        assert!(rig.codes(*order, buyer).await.is_empty());
    }
    tokio::join!(rig.tick(), rig.tick());
    rig.tick().await;
    let mut given: Vec<String> = Vec::new();
    let mut waiting = Vec::new();
    for (order, buyer) in orders.iter().zip(1..) {
        let codes = rig.codes(*order, buyer).await;
        match rig.status(*order).await {
            Status::Fulfilled => assert_eq!(codes.len(), 3),
            status => {
                assert_eq!((status, codes.len()), (Status::Paid, 0), "it waits, and has no part of its codes");
                waiting.push((*order, buyer));
            }
        }
        given.extend(codes);
    }
    given.sort();
    given.dedup();
    assert_eq!((given.len(), waiting.len()), (6, 1));
    assert_eq!(rig.get(OFFER, "staff-7").await.expect(200)["codes_left"], 1);
    rig.import(&codes(7..9)).await.expect(200);
    rig.pass(20_000);
    rig.tick().await;
    assert_eq!(rig.codes(waiting[0].0, waiting[0].1).await.len(), 3);
    let fulfilled = rig.outbox().await.1.iter().filter(|event| event.kind == EventKind::Fulfilled).count();
    assert_eq!(fulfilled, 3);
    let answer = rig.get(&format!("/v1/orders/{}/codes", orders[0]), &rig.buyer_token(7, 2)).await;
    answer.refused(404, "not_found");
}

#[tokio::test]
async fn codes_of_a_refunded_order_are_withdrawn_and_nobody_elses() {
    let mut rig = Rig::start().await;
    rig.goods_are("code").await;
    rig.import(&codes(0..6)).await.expect(200);
    let orders = rig.buy([1, 2, 3]).await;
    rig.paid(orders[0], 1).await;
    rig.tick().await;
    assert_eq!(rig.codes(orders[0], 1).await.len(), 3);
    rig.refund(orders[0], "a", None).await.expect(201);
    assert!(rig.codes(orders[0], 1).await.is_empty(), "not shown from the refund on");
    // One that is refunded before it got its codes takes none away.
    rig.paid(orders[1], 2).await;
    rig.refund(orders[1], "b", None).await.expect(201);
    rig.tick().await;
    rig.paid(orders[2], 3).await;
    rig.tick().await;
    assert_eq!(rig.codes(orders[2], 3).await.len(), 3);
    let offer = rig.get(OFFER, "staff-7").await;
    let count = |name: &str| offer.body[name].as_u64().unwrap();
    assert_eq!((count("codes_left"), count("codes_given"), count("codes_withdrawn")), (0, 6, 3));
    rig.work().await;
    assert_eq!((rig.status(orders[0]).await, rig.given_back(orders[0], 1)), (Status::Refunded, TOTAL));
}

#[tokio::test]
async fn an_import_names_what_is_wrong_of_it() {
    let rig = Rig::start().await;
    rig.goods_are("code").await;
    for wrong in [json!({"codes": []}), json!({"codes": [""]}), json!({"codes": ["x".repeat(121)]}), Value::Null] {
        let answer = rig.post(&format!("{OFFER}/codes"), "staff-7", "k", Some(wrong)).await;
        answer.refused(400, "invalid_request");
    }
}
