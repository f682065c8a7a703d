//! Goal: WeChat is told of goods that were sent, of each payment whose money waits for it, whatever
//! fails and whoever dies; somebody is called when the time is nearly over.

use domain::id::OrderId;
use orders::simulator::Fault;
use serde_json::{Value, json};

use super::super::mortal::When;
use super::rig::Rig;

const HOUR_MS: u64 = 3_600_000;

/// An order that was paid inside WeChat, with a recipient.
async fn paid_inside(rig: &mut Rig, buyer: u64) -> OrderId {
    let order = rig.buy([buyer]).await[0];
    let (token, openid) = (rig.buyer_token(7, buyer), format!("o_{buyer}"));
    let recipient = json!({"name": "Lin", "phone": "13812341234", "address": "1 Road, Town"});
    rig.put(&format!("/v1/orders/{order}/recipient"), &token, recipient).await.expect(200);
    let body = json!({"method": "wechat_jsapi", "openid": openid});
    let opened = rig.post(&format!("/v1/orders/{order}/pay"), &token, "k", Some(body)).await;
    let number = opened.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.bank.pay(rig.till.account(), &number).unwrap();
    assert_eq!(rig.deliver().await, 1);
    order
}

/// What WeChat was told of an order's payment.
fn told(rig: &Rig, order: OrderId) -> Option<Value> {
    rig.bank.trade(rig.till.account(), &format!("{order}_1").parse().unwrap()).unwrap().shipping
}

async fn waiting(rig: &Rig) -> usize {
    rig.count("SELECT order_id FROM shipping_uploads").await
}

async fn near_limit(rig: &Rig) -> u64 {
    let mut near = 0;
    for shard in rig.shards() {
        near += rig.life.count_near_limit(shard).await.unwrap();
    }
    near
}

#[tokio::test]
async fn wechat_is_told_of_goods_that_were_sent() {
    let mut rig = Rig::start().await;
    let order = paid_inside(&mut rig, 1).await;
    let other = rig.buy([2]).await[0];
    rig.paid(other, 2).await;
    rig.tick().await;
    assert_eq!((told(&rig, order), waiting(&rig).await), (None, 1), "nothing was sent");
    for order in [order, other] {
        rig.ship(order, "SF1").await.expect(200);
    }
    rig.tick().await;
    let said = told(&rig, order).unwrap();
    let item = &said["shipping_list"][0];
    assert_eq!((&said["payer"]["openid"], &said["logistics_type"]), (&json!("o_1"), &json!(1)));
    assert_eq!((&item["tracking_no"], &item["express_company"]), (&json!("SF1"), &json!("SF")));
    assert_eq!(item["contact"]["receiver_contact"], "138****1234");
    assert_eq!((told(&rig, other), waiting(&rig).await), (None, 0), "its money waits for no word");
    assert_eq!(rig.timeline(order).await.last().unwrap(), &("wechat".to_owned(), "shipping_told".to_owned()));
}

#[tokio::test]
async fn goods_that_no_carrier_brings_are_told_as_such() {
    let mut rig = Rig::start().await;
    rig.goods_are("pickup").await;
    let order = paid_inside(&mut rig, 1).await;
    let path = format!("/v1/orders/{order}/pickup");
    let code = rig.get(&path, &rig.buyer_token(7, 1)).await.expect(200)["code"].as_str().unwrap().to_owned();
    rig.pick_up(order, &code).await.expect(200);
    rig.tick().await;
    assert_eq!(told(&rig, order).unwrap()["logistics_type"], 4);
}

#[tokio::test]
async fn what_the_platform_does_not_take_is_told_again() {
    let mut rig = Rig::start().await;
    let order = paid_inside(&mut rig, 1).await;
    rig.ship(order, "SF1").await.expect(200);
    for (fault, again_ms) in [(Fault::FailsAfter, 60_000), (Fault::TooOften, 600_000)] {
        rig.bank.fault(fault);
        rig.tick().await;
        rig.tick().await;
        assert_eq!((told(&rig, order), waiting(&rig).await), (None, 1));
        rig.pass(again_ms);
    }
    rig.tick().await;
    assert_eq!((told(&rig, order).is_some(), waiting(&rig).await), (true, 0));
    assert_eq!(rig.timeline(order).await.iter().filter(|(_, what)| what == "shipping_told").count(), 1);
}

/// Sent or not: after 36 of 48 hours somebody is called.
#[tokio::test]
async fn a_payment_near_the_end_of_its_time_is_counted() {
    let mut rig = Rig::start().await;
    let orders = [paid_inside(&mut rig, 1).await, paid_inside(&mut rig, 2).await];
    rig.pass(36 * HOUR_MS - 1_000);
    assert_eq!(near_limit(&rig).await, 0);
    rig.pass(1_000);
    assert_eq!(near_limit(&rig).await, 2);
    rig.ship(orders[0], "SF1").await.expect(200);
    rig.tick().await;
    // Of what is refunded before it is sent nobody is told.
    rig.refund(orders[1], "a", None).await.expect(201);
    assert_eq!((near_limit(&rig).await, waiting(&rig).await), (0, 0));
}

#[tokio::test]
async fn a_death_at_any_write_leaves_nobody_untold() {
    let (mut rig, mut buyer, mut deaths) = (Rig::start().await, 0, 0);
    for when in [When::Written, When::Durable] {
        for nth in 1.. {
            buyer += 1;
            let order = paid_inside(&mut rig, buyer).await;
            rig.ship(order, "SF1").await.expect(200);
            let has_died = rig.dying((nth, when), async || rig.tick().await).await;
            assert_eq!((told(&rig, order).is_some(), waiting(&rig).await), (true, 0), "dead at write {nth}, {when:?}");
            let lines = rig.timeline(order).await;
            assert_eq!(lines.iter().filter(|(_, what)| what == "shipping_told").count(), 1);
            if !has_died {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths >= 4, "{deaths} deaths");
}
