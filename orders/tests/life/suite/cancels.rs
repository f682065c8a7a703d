//! Goal: a job cancels all orders of a sale, of an offer, or of a list that can be cancelled, each
//! once, and refunds what was paid; a kill in the middle changes nothing of that.

use domain::{id::OrderId, order::Status};
use orders::follow;
use serde_json::{Value, json};

use super::{
    mortal::When,
    rig::{Answer, Rig, TOTAL},
};

const JOBS: &str = "/v1/merchant/order-cancels";

impl Rig {
    async fn cancel_all(&self, key: &str, which: Value) -> Answer {
        let mut body = which;
        body["reason"] = "the goods were lost".into();
        self.post(JOBS, "staff-7", key, Some(body)).await
    }

    /// The work of a job and of its refunds, until it is done. Its last answer.
    async fn finish(&self, job: &str) -> Value {
        for _ in 0..60 {
            while self.life.cancel_piece().await.unwrap() > 0 {}
            self.work().await;
            self.deliver().await;
            let now = self.get(&format!("{JOBS}/{job}"), "staff-7").await;
            if now.expect(200)["state"] == "done" {
                return now.body;
            }
            self.pass(5_000);
        }
        panic!("the job does not end");
    }

    /// Lists what was written.
    async fn list_all(&self) {
        follow::walk(&self.store.orders, &self.blocks, self.clock_ms()).await;
    }

    fn clock_ms(&self) -> u64 {
        kit::clock::Clock::now_ms(&self.clock) + 60_000
    }
}

fn count(job: &Value, name: &str) -> u64 {
    job["orders"][name].as_u64().unwrap()
}

/// Of 30 orders: 10 unpaid, 5 with an open payment, 5 paid, 5 sent, 5 expired.
async fn many(rig: &mut Rig) -> Vec<OrderId> {
    let mut orders = rig.buy_within(26..=30, 1_000).await;
    rig.pass(1_000);
    assert_eq!(rig.expire().await, 5);
    orders.splice(0..0, rig.buy(1..=25).await);
    for (order, buyer) in orders.iter().zip(1..=20).skip(10) {
        rig.pay(*order, buyer).await.expect(200);
        if buyer > 15 {
            rig.paid(*order, buyer).await;
        }
    }
    for (order, buyer) in orders.iter().zip(1..=25).skip(20) {
        rig.paid(*order, buyer).await;
        rig.ship(*order, "SF1").await.expect(200);
    }
    rig.list_all().await;
    orders
}

async fn is_cancelled(rig: &Rig, orders: &[OrderId], job: &Value) {
    let names = ["cancelled", "closing", "refunding", "refunded", "untouched"];
    assert_eq!(names.map(|name| count(job, name)), [15, 0, 0, 5, 10], "{job}");
    for (order, at) in orders.iter().zip(0..) {
        let expected = match at {
            0..15 => Status::Cancelled,
            15..20 => Status::Refunded,
            20..25 => Status::Fulfilled,
            _ => Status::Expired,
        };
        assert_eq!(rig.status(*order).await, expected, "order {at}");
        if expected == Status::Refunded {
            assert_eq!(rig.given_back(*order, 1), TOTAL);
        }
    }
    assert_eq!(rig.outbox().await.0.len(), 25, "a release for each that gave its units back");
}

#[tokio::test]
async fn a_job_cancels_the_orders_of_an_offer() {
    let mut rig = Rig::start().await;
    let orders = many(&mut rig).await;
    let job = rig.cancel_all("k", json!({"offer_id": "8"})).await.expect(202)["id"].as_str().unwrap().to_owned();
    assert_eq!(rig.cancel_all("k", json!({"offer_id": "8"})).await.expect(202)["id"], *job);
    rig.cancel_all("k", json!({"sale_id": "6"})).await.refused(422, "idempotency_mismatch");
    rig.get(&format!("{JOBS}/{job}"), "staff-8").await.refused(404, "not_found");
    let done = rig.finish(&job).await;
    is_cancelled(&rig, &orders, &done).await;
    // Repeated under another key it finds them so.
    let again = rig.cancel_all("l", json!({"sale_id": "6"})).await.expect(202)["id"].as_str().unwrap().to_owned();
    let done = rig.finish(&again).await;
    is_cancelled(&rig, &orders, &done).await;
}

/// Every write of the job, with nothing durable and with nobody told.
#[tokio::test]
async fn a_job_whose_process_dies_goes_on() {
    for when in [When::Written, When::Durable] {
        let mut rig = Rig::start().await;
        let orders = many(&mut rig).await;
        let job = rig.cancel_all("k", json!({"sale_id": "6"})).await.expect(202)["id"].as_str().unwrap().to_owned();
        let mut deaths = 0;
        for nth in [1, 2, 3, 5, 8, 13, 21, 1, 2] {
            rig.fate.is(nth, when);
            let died = tokio::select! {
                done = rig.life.cancel_piece() => done.is_err(),
                () = rig.fate.met.notified() => true,
            };
            rig.fate.is_averted();
            deaths += usize::from(died);
            rig.pass(30_000);
        }
        assert!(deaths >= 3, "{deaths} deaths");
        let done = rig.finish(&job).await;
        is_cancelled(&rig, &orders, &done).await;
    }
}

#[tokio::test]
async fn a_list_is_cancelled_and_nothing_else() {
    let mut rig = Rig::start().await;
    let orders = rig.buy(1..=5).await;
    rig.paid(orders[1], 2).await;
    let ids: Vec<String> = orders[..2].iter().map(OrderId::to_string).chain(["5".to_owned()]).collect();
    let job = rig.cancel_all("k", json!({"order_ids": ids})).await.expect(202)["id"].as_str().unwrap().to_owned();
    let done = rig.finish(&job).await;
    assert_eq!((count(&done, "cancelled"), count(&done, "refunded"), count(&done, "untouched")), (1, 1, 1));
    for order in &orders[2..] {
        assert_eq!(rig.status(*order).await, Status::PendingPayment);
    }
}

#[tokio::test]
async fn a_job_that_names_no_orders_or_comes_of_who_may_not_is_refused() {
    let rig = Rig::start().await;
    for wrong in
        [json!({}), json!({"sale_id": "6", "offer_id": "8"}), json!({"order_ids": []}), json!({"sale_id": "x"})]
    {
        rig.cancel_all("k", wrong).await.refused(400, "invalid_request");
    }
    let body = json!({"sale_id": "6", "reason": "r"});
    rig.post(JOBS, "weak-7", "k", Some(body)).await.refused(403, "forbidden");
    rig.get(&format!("{JOBS}/9"), "staff-7").await.refused(404, "not_found");
}
