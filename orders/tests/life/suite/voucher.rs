//! Goal: a voucher that the shop signed lowers what the buyer pays of its one order; refunds give
//! back what was paid, and who follows the events hears of the net.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{event::EventKind, id::OrderId, order::Status};
use kit::{clock::Clock as _, digest::hmac_sha256};
use serde_json::{Value, json};

use super::rig::{Answer, Rig, TOTAL};

impl Rig {
    pub(crate) async fn signed(&self, token: &str, claims: &Value) -> String {
        let answer = self.get("/v1/merchant/order-vouchers/key", token).await;
        let key = URL_SAFE_NO_PAD.decode(answer.expect(200)["key"].as_str().unwrap()).unwrap();
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(hmac_sha256(&key, payload.as_bytes())))
    }

    pub(crate) fn claims(&self, order: OrderId, id: &str, amount: i64) -> Value {
        json!({"id": id, "order_id": order.to_string(), "amount": amount, "expires_at": self.clock.now_ms() / 1_000 + 60})
    }

    pub(crate) async fn pay_with(&self, order: OrderId, buyer: u64, voucher: Option<&str>) -> Answer {
        let mut body = json!({"method": self.till.method()});
        if let Some(voucher) = voucher {
            body["voucher"] = voucher.into();
        }
        self.post(&format!("/v1/orders/{order}/pay"), &self.buyer_token(7, buyer), "k", Some(body)).await
    }
}

#[tokio::test]
async fn a_voucher_lowers_what_is_paid_and_refunds_are_of_the_net() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let voucher = rig.signed("staff-7", &rig.claims(order, "autumn-1", 6_664)).await;
    for voucher in [Some(&*voucher), Some(&voucher), None] {
        let paid = rig.pay_with(order, 1, voucher).await;
        assert_eq!(paid.expect(200)["amount"]["amount"], TOTAL - 6_664, "used once, it counts on");
    }
    rig.paid(order, 1).await;
    let events = rig.outbox().await.1;
    let net = events.iter().find(|event| event.kind == EventKind::RefundedInPart).unwrap();
    assert_eq!((net.sequence, net.refunded), (8, 6_664));
    rig.refund(order, "a", Some(TOTAL)).await.refused(409, "conflict");
    rig.refund(order, "b", Some(5_000)).await.expect(201);
    rig.work().await;
    rig.pass(60_000);
    let events = rig.outbox().await.1;
    let most = events.iter().filter(|event| event.kind == EventKind::RefundedInPart).map(|event| event.refunded).max();
    assert_eq!(most, Some(11_664), "with what the voucher paid");
    rig.refund(order, "c", None).await.expect(201);
    rig.work().await;
    assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunded, TOTAL - 6_664));
}

#[tokio::test]
async fn a_voucher_that_does_not_fit_is_not_taken() {
    let mut rig = Rig::start().await;
    let orders = rig.buy([1, 2]).await;
    let order = orders[0];
    rig.get("/v1/merchant/order-vouchers/key", "weak-7").await.refused(403, "forbidden");
    let claims = rig.claims(order, "a", 100);
    let changed = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let of_another_shop = rig.signed("staff-8", &claims).await;
    let of_another_order = rig.signed("staff-7", &changed("order_id", json!(orders[1].to_string()))).await;
    let too_late = rig.signed("staff-7", &changed("expires_at", json!(rig.clock.now_ms() / 1_000 - 1))).await;
    let of_nothing = rig.signed("staff-7", &changed("amount", json!(0))).await;
    let of_less = rig.signed("staff-7", &changed("amount", json!(-5))).await;
    for voucher in ["x", "a.b", &of_another_shop, &of_another_order, &too_late, &of_nothing, &of_less] {
        let refused = rig.pay_with(order, 1, Some(voucher)).await;
        assert_eq!(refused.refused(400, "invalid_request")["errors"][0]["field"], "voucher");
    }
    let all = rig.signed("staff-7", &changed("amount", json!(TOTAL))).await;
    rig.pay_with(order, 1, Some(&all)).await.refused(409, "conflict");
    let good = rig.signed("staff-7", &claims).await;
    rig.pay_with(order, 1, Some(&good)).await.expect(200);
    let second = rig.signed("staff-7", &changed("id", json!("b"))).await;
    rig.pay_with(order, 1, Some(&second)).await.refused(409, "conflict");
    // An open payment of the whole price is not lowered.
    rig.pay_with(orders[1], 2, None).await.expect(200);
    let late = rig.signed("staff-7", &rig.claims(orders[1], "c", 100)).await;
    rig.pay_with(orders[1], 2, Some(&late)).await.refused(409, "conflict");
    let told = rig.timeline(orders[1]).await;
    assert!(told.iter().all(|(_, what)| what != "voucher"), "{told:?}");
}
