//! Goal: what is paid is sent once, received once, and can be refunded after that without its
//! units.

use domain::{event::EventKind, order::Status};
use serde_json::json;

use super::rig::{Answer, Rig, TOTAL};
use domain::id::OrderId;

impl Rig {
    pub(crate) async fn ship(&self, order: OrderId, number: &str) -> Answer {
        let body = json!({"carrier": "SF", "number": number});
        self.post(&format!("/v1/merchant/orders/{order}/ship"), "staff-7", "k", Some(body)).await
    }

    pub(crate) async fn receive(&self, order: OrderId, tenant: u32, buyer: u64) -> Answer {
        self.post(&format!("/v1/orders/{order}/receive"), &self.buyer_token(tenant, buyer), "k", None).await
    }
}

#[tokio::test]
async fn goods_are_sent_received_and_refunded_without_their_units() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    rig.ship(order, "SF1").await.refused(409, "conflict");
    rig.paid(order, 1).await;
    rig.receive(order, 7, 1).await.refused(409, "conflict");
    for number in ["SF1", "SF1", "SF2"] {
        assert_eq!(rig.ship(order, number).await.expect(200)["status"], "fulfilled");
    }
    rig.ship(order, "?").await.refused(400, "invalid_request");
    rig.merchant_cancel(order, "staff-7").await.refused(409, "conflict");
    rig.receive(order, 7, 2).await.refused(404, "not_found");
    rig.receive(order, 8, 1).await.refused(404, "not_found");
    for _ in 0..2 {
        assert_eq!(rig.receive(order, 7, 1).await.expect(200)["status"], "completed");
    }
    let told: Vec<String> = rig.timeline(order).await.into_iter().map(|(_, what)| what).collect();
    assert_eq!(told, ["attempt", "paid", "fulfilled", "parcel", "completed"]);
    rig.refund(order, "a", None).await.expect(201);
    rig.work().await;
    assert_eq!((rig.status(order).await, rig.given_back(order, 1)), (Status::Refunded, TOTAL));
    let (releases, mut events) = rig.outbox().await;
    events.sort_unstable_by_key(|event| event.sequence);
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    use EventKind::{Completed, Fulfilled, Paid, Refunded, Refunding};
    assert_eq!((releases.len(), kinds), (0, vec![Paid, Fulfilled, Completed, Refunding, Refunded]));
}
