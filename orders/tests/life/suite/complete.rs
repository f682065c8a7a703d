//! Goal: what was sent is completed by the clock, once, when the after-sale window is over, and not
//! before; a refund keeps it from that.

use domain::{event::EventKind, id::OrderId, order::Status};

use super::rig::{Answer, Rig};

const DAY_MS: u64 = 86_400_000;

impl Rig {
    pub(crate) async fn delivered(&self, order: OrderId, token: &str) -> Answer {
        self.post(&format!("/v1/merchant/orders/{order}/delivered"), token, "k", None).await
    }

    async fn sent(&mut self, buyers: impl IntoIterator<Item = u64> + Clone) -> Vec<OrderId> {
        let orders = self.buy(buyers.clone()).await;
        for (order, buyer) in orders.iter().zip(buyers) {
            self.paid(*order, buyer).await;
            self.ship(*order, "SF1").await.expect(200);
        }
        orders
    }
}

#[tokio::test]
async fn goods_that_arrived_are_completed_seven_days_later() {
    let mut rig = Rig::start().await;
    let order = rig.sent([1]).await[0];
    rig.delivered(order, "staff-8").await.refused(404, "not_found");
    for _ in 0..2 {
        assert_eq!(rig.delivered(order, "staff-7").await.expect(200)["status"], "fulfilled");
        rig.pass(DAY_MS);
    }
    rig.pass(5 * DAY_MS - 1);
    rig.tick().await;
    assert_eq!(rig.status(order).await, Status::Fulfilled, "said again it does not begin again");
    rig.pass(1);
    for _ in 0..2 {
        rig.tick().await;
    }
    assert_eq!(rig.status(order).await, Status::Completed);
    assert_eq!(rig.timeline(order).await.last().unwrap(), &("clock".to_owned(), "completed".to_owned()));
    let events = rig.outbox().await.1;
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::Completed).count(), 1);
    assert_eq!(rig.delivered(order, "staff-7").await.expect(200)["status"], "completed");
}

#[tokio::test]
async fn what_nobody_says_arrived_is_completed_fifteen_days_after_it_was_sent() {
    let mut rig = Rig::start().await;
    let orders = rig.sent(1..=5).await;
    let unpaid = rig.buy([9]).await[0];
    rig.delivered(unpaid, "staff-7").await.refused(409, "conflict");
    rig.receive(orders[0], 7, 1).await.expect(200);
    rig.refund(orders[1], "a", None).await.expect(201);
    rig.pass(15 * DAY_MS);
    // Two processes at once: each order is completed by one of them.
    tokio::join!(rig.tick(), rig.tick());
    rig.tick().await;
    for order in &orders[2..] {
        assert_eq!(rig.status(*order).await, Status::Completed);
    }
    assert_eq!(rig.status(orders[1]).await, Status::Refunding);
    let events = rig.outbox().await.1;
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::Completed).count(), 4);
    for shard in rig.shards() {
        let left = rig.store.orders.beside(shard, "SELECT order_id FROM completions", vec![]).await.unwrap();
        assert!(left.is_empty(), "the clock has nothing left to read");
    }
}

/// Two processes and the buyer, each about the same orders at once: each order is completed once.
#[tokio::test]
async fn who_completes_one_order_at_once_completes_it_once() {
    let mut rig = Rig::start().await;
    let orders = rig.sent(1..=10).await;
    rig.pass(15 * DAY_MS);
    let received = async {
        for (order, buyer) in orders.iter().zip(1..) {
            rig.receive(*order, 7, buyer).await.expect(200);
        }
    };
    tokio::join!(rig.tick(), received, rig.tick());
    for order in &orders {
        let done = rig.timeline(*order).await.into_iter().filter(|(_, what)| what == "completed").count();
        assert_eq!((rig.status(*order).await, done), (Status::Completed, 1));
    }
    let events = rig.outbox().await.1;
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::Completed).count(), 10);
}
