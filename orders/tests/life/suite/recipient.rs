//! Goal: who gets the goods is the buyer's to say until they are sent, his and nobody else's to
//! read but of merchants who may, found by the end of the phone, and gone when he is erased.

use std::time::Duration;

use domain::{id::OrderId, order::Status};
use kit::{clock::Clock as _, http::Method};
use serde_json::{Value, json};
use store::sql::Tx as _;

use super::{
    mortal::When,
    rig::{Answer, Rig, WINDOW_MS, row},
};

fn recipient(phone: &str) -> Value {
    json!({"name": "Lin", "phone": phone, "address": "1 Road, Town"})
}

impl Rig {
    async fn say(&self, order: OrderId, (tenant, buyer): (u32, u64), recipient: Value) -> Answer {
        self.put(&format!("/v1/orders/{order}/recipient"), &self.buyer_token(tenant, buyer), recipient).await
    }

    async fn said(&self, order: OrderId, (tenant, buyer): (u32, u64)) -> Answer {
        self.get(&format!("/v1/orders/{order}/recipient"), &self.buyer_token(tenant, buyer)).await
    }

    async fn said_to(&self, order: OrderId, token: &str) -> Answer {
        self.get(&format!("/v1/merchant/orders/{order}/recipient"), token).await
    }

    async fn found(&self, tail: &str) -> Vec<String> {
        let answer = self.get(&format!("/v1/merchant/orders?phone_tail={tail}"), "staff-7").await;
        let items = answer.expect(200)["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["order_id"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_recipient_is_said_until_the_goods_are_sent_and_frozen_then() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.said(order, (7, 1)).await.refused(404, "not_found");
    for phone in ["+8613800001234", "+8613800001234", "+8613800005678"] {
        let said = rig.say(order, (7, 1), recipient(phone)).await;
        assert_eq!(
            (said.expect(200)["is_frozen"].clone(), said.body["recipient"]["phone"].clone()),
            (json!(false), json!(phone))
        );
    }
    rig.paid(order, 1).await;
    rig.say(order, (7, 1), recipient("13800009999")).await.expect(200);
    rig.ship(order, "SF1").await.expect(200);
    rig.say(order, (7, 1), recipient("13800000000")).await.refused(409, "conflict");
    let last = rig.say(order, (7, 1), recipient("13800009999")).await;
    assert_eq!(last.expect(200)["is_frozen"], true, "the same again is no change");
    assert_eq!(rig.said(order, (7, 1)).await.expect(200)["recipient"], recipient("13800009999"));
    let told = rig.timeline(order).await.into_iter().filter(|(_, what)| what == "recipient").count();
    assert_eq!(told, 3, "a repetition is not told");
}

#[tokio::test]
async fn a_recipient_is_nobody_elses_to_say_or_read() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.say(order, (7, 1), recipient("13800001234")).await.expect(200);
    for other in [(7, 2), (8, 1)] {
        rig.say(order, other, recipient("13800000000")).await.refused(404, "not_found");
        rig.said(order, other).await.refused(404, "not_found");
    }
    rig.said_to(order, "staff-8").await.refused(404, "not_found");
    rig.said_to(order, "weak-7").await.refused(403, "forbidden");
    assert_eq!(rig.said_to(order, "staff-7").await.expect(200)["recipient"], recipient("13800001234"));
    let wrong = rig.say(order, (7, 1), json!({"name": "", "phone": "x"})).await;
    let fields = wrong.refused(400, "invalid_request")["errors"].as_array().unwrap().len();
    assert!(fields >= 3, "{}", wrong.body);
}

/// Nothing of it stands in the databases in clear.
#[tokio::test]
async fn a_recipient_is_sealed() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.say(order, (7, 1), recipient("13800001234")).await.expect(200);
    let shard = rig.store.orders.map().home_of_order(order).shard;
    let query = "SELECT r.sealed, k.sealed_key FROM recipients r JOIN recipient_keys k ON k.buyer = r.buyer";
    let mut stored = rig.store.orders.beside(shard, query, vec![]).await.unwrap();
    let (mut row, has) =
        (stored.pop().unwrap(), |text: &[u8], part: &[u8]| text.windows(part.len()).any(|at| at == part));
    let (sealed, key) = (row.bytes().unwrap(), row.bytes().unwrap());
    assert!(stored.is_empty() && !has(&sealed, b"Lin") && !has(&sealed, b"1234") && key.len() > 32);
}

#[tokio::test]
async fn orders_are_found_by_the_end_of_their_recipients_phone_over_all_shards() {
    let mut rig = Rig::start().await;
    let orders = rig.buy(1..=40).await;
    for (order, buyer) in orders.iter().zip(1..) {
        let phone = if buyer % 2 == 0 { "13800001234" } else { "13800004321" };
        rig.say(*order, (7, buyer), recipient(phone)).await.expect(200);
    }
    let mut even: Vec<OrderId> = orders.iter().copied().skip(1).step_by(2).collect();
    even.sort_unstable_by(|a, b| b.cmp(a));
    let even: Vec<String> = even.iter().map(OrderId::to_string).collect();
    assert_eq!(rig.found("1234").await, even);
    assert!(rig.found("9999").await.is_empty());
    rig.get("/v1/merchant/orders?phone_tail=12x", "staff-7").await.refused(400, "invalid_request");
    let page = rig.get("/v1/merchant/orders?phone_tail=1234&limit=3&status=pending_payment", "staff-7").await;
    assert_eq!(page.expect(200)["items"].as_array().unwrap().len(), 3);
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let next = rig.get(&format!("/v1/merchant/orders?phone_tail=1234&limit=50&cursor={cursor}"), "staff-7").await;
    assert_eq!(next.expect(200)["items"].as_array().unwrap().len(), 17);
}

#[tokio::test]
async fn an_erased_buyer_has_no_recipient_any_more() {
    let mut rig = Rig::start().await;
    let orders = rig.buy([1, 2]).await;
    for (order, buyer) in orders.iter().zip(1..) {
        rig.say(*order, (7, buyer), recipient("13800001234")).await.expect(200);
    }
    let erase = "/v1/merchant/order-recipients/1";
    rig.ask_as(Method::DELETE, erase, "weak-7", None).await.refused(403, "forbidden");
    rig.ask_as(Method::DELETE, erase, "staff-8", None).await.expect(204);
    rig.said(orders[0], (7, 1)).await.expect(200);
    for _ in 0..2 {
        rig.ask_as(Method::DELETE, erase, "staff-7", None).await.expect(204);
    }
    rig.said(orders[0], (7, 1)).await.refused(404, "not_found");
    rig.said_to(orders[0], "staff-7").await.refused(404, "not_found");
    assert_eq!(rig.found("1234").await, [orders[1].to_string()]);
}

/// What is said before the row is there counts once it is, if it names the same buyer.
#[tokio::test]
async fn a_pending_order_is_addressed_like_any_other() {
    let mut rig = Rig::start().await;
    let pending = row(1, rig.clock.now_ms(), WINDOW_MS);
    let said = rig.say(pending.order, (7, 1), recipient("13800001234")).await;
    assert_eq!(said.expect(200)["status"], "pending");
    rig.said(pending.order, (7, 1)).await.expect(200);
    rig.say(pending.order, (8, 1), recipient("13800004321")).await.expect(200);
    rig.said_to(pending.order, "staff-7").await.refused(404, "not_found");
    rig.write(std::slice::from_ref(&pending)).await;
    assert_eq!(rig.said(pending.order, (7, 1)).await.expect(200)["status"], "pending_payment");
    rig.said(pending.order, (8, 1)).await.refused(404, "not_found");
    assert_eq!(rig.said_to(pending.order, "staff-7").await.expect(200)["recipient"], recipient("13800001234"));
    let later = row(3, rig.clock.now_ms(), WINDOW_MS);
    rig.pass(600_000);
    rig.say(later.order, (7, 3), recipient("13800001234")).await.refused(404, "not_found");
}

/// Asked again it is whole; the data and its key go together.
#[tokio::test]
async fn a_death_at_any_write_of_an_erasure_leaves_nothing_of_it_half_done() {
    let (mut rig, mut buyer, mut deaths) = (Rig::start().await, 0, 0);
    for when in [When::Written, When::Durable] {
        for nth in 1.. {
            buyer += 1;
            let order = rig.buy([buyer]).await[0];
            rig.say(order, (7, buyer), recipient("13800001234")).await.expect(200);
            let path = format!("/v1/merchant/order-recipients/{buyer}");
            let erased = rig.dying((nth, when), async || {
                let found = rig.said(order, (7, buyer)).await.status.as_u16();
                assert!([200, 404].contains(&found), "it is there, or it is gone: {found}");
                rig.ask_as(Method::DELETE, &path, "staff-7", None).await.expect(204);
            });
            let has_died = erased.await;
            rig.said(order, (7, buyer)).await.refused(404, "not_found");
            let left = (
                rig.count("SELECT order_id FROM recipients").await,
                rig.count("SELECT buyer FROM recipient_keys").await,
            );
            assert_eq!(left, (0, 0), "dead at write {nth}, {when:?}");
            if !has_died {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths >= 2, "{deaths} deaths");
}

/// Who saw no row yet has said somebody, and is not through: the goods are not sent meanwhile, so
/// that nobody is said after they were.
#[tokio::test]
async fn goods_are_not_sent_while_somebody_is_being_said() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.paid(order, 1).await;
    let mut saying = rig.store.orders.begin(order).await.unwrap();
    let say =
        "INSERT INTO recipients (order_id, tenant, buyer, sealed, phone_tail, updated_at) VALUES (?, 7, 1, ?, '', 0)";
    let sealed = kit::http::Bytes::from_static(b"sealed");
    saying.exec(say, vec![order.stored().into(), sealed.into()]).await.unwrap();
    let mut shipping = Box::pin(rig.ship(order, "SF1"));
    // A second is enough to send what nothing keeps back.
    let waited = tokio::time::timeout(Duration::from_secs(1), &mut shipping).await;
    assert!(waited.is_err(), "sent: {:?}", waited.map(|answer| answer.status));
    saying.commit().await.unwrap();
    shipping.await.expect(200);
    assert_eq!(rig.status(order).await, Status::Fulfilled);
}
