//! What an order pays to those above its buyer, on servers: asked at the engine, answered and
//! posted by two services of commissions, which read the same partitions, whatever of them dies.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use kit::clock::{Clock as _, SystemClock};
use serde_json::json;
use verify::{
    merchants::answered,
    order_services::{OrderServices, PATIENCE},
};

use super::*;

const PLAN: &str = r#"plan "two" v1 profile INTL budget 15% {
  base net_paid where not tag(flash_sale)
  rule levels: on matured walk(referral, slots 2, rate [10%, 5%])
  settle cash after receipt+0d, channel transfer, clawback full
}"#;
/// What a change of the shop holds from on, and more.
const LEAD_MS: u64 = 3_000;

/// A shop with a plan, and two distributors: `low` stands below `high`, buyers below `low`.
struct Shop {
    place: OrderServices,
    low: String,
    high: String,
}

fn open(name: &str) -> Shop {
    let place = OrderServices::open(name, 100).unwrap();
    for service in [0, 1] {
        place.start_commissions(service).unwrap();
    }
    let ask = |engine, what: &str, body: Value| {
        let (status, answer) = place.as_shop(engine, what, &body).unwrap();
        assert!((200..300).contains(&status), "{what}: {status} {answer}");
        answer
    };
    ask(0, "POST /v1/merchant/commissions/plans", json!({ "text": PLAN }));
    ask(1, &format!("PUT /v1/merchant/commissions/sales/{}", place.sale.id), json!({ "enabled": true }));
    let settings = json!({
        "joins_at_once": true, "share_days": 30, "withdraw_least": 1, "withdraw_day_max": 1_000_000,
        "two_approve_from": 1_000_000
    });
    ask(0, "PUT /v1/merchant/commissions/settings", settings);
    let [low, high] = [90, 91].map(|buyer| place.token(buyer).unwrap());
    for (token, engine) in [(&low, 0), (&high, 1)] {
        assert_eq!(place.post(engine, "/v1/commissions/join", token, &Value::Null).unwrap().0, 201);
    }
    let holds_from = SystemClock::new().now_ms() + LEAD_MS;
    let shop = Shop { place, low, high };
    shop.touch(&shop.low, &shop.high);
    wait_until("what the shop said is in force", PATIENCE, || Ok(SystemClock::new().now_ms() > holds_from)).unwrap();
    shop
}

impl Shop {
    /// Opens the link of a distributor, which the one service signs and the other one reads.
    fn touch(&self, visitor: &str, sharer: &str) {
        let link = answered(self.place.engine(0), "GET /v1/commissions/link", sharer, "", &Value::Null).unwrap();
        assert_eq!(link.0, 200, "{}", link.1);
        let code = json!({ "code": link.1["code"] });
        let (status, answer) = self.place.post(1, "/v1/commissions/touches", visitor, &code).unwrap();
        assert_eq!((status, &answer["bound"]), (200, &json!(true)), "{answer}");
    }

    /// Token of a buyer below `low`, and the order that waits for its payment.
    fn bought(&self, buyer: u32) -> (String, String) {
        let token = self.place.token(buyer).unwrap();
        self.touch(&token, &self.low);
        let order = self.place.bought(0, &token).unwrap();
        (token, order)
    }

    fn pay(&self, token: &str, order: &str) {
        let (status, page) = self.place.pay(0, order, token).unwrap();
        assert_eq!(status, 200, "{page}");
        assert_eq!(self.place.post(0, &format!("{page}/pay"), token, &Value::Null).unwrap().0, 303);
        self.place.becomes(order, token, "paid").unwrap();
    }

    /// Refunds, once the refund before it is over.
    fn refund(&self, order: &str, amount: i64) {
        let body = json!({ "reason": "a scratch", "amount": amount });
        let what = format!("POST /v1/merchant/orders/{order}/refunds");
        let refund = || Ok(self.place.as_shop(0, &what, &body)?.0 == 201);
        wait_until("it is refunded", PATIENCE, refund).unwrap();
    }

    /// Pending and available of a distributor, at an engine; nothing while nobody answers there.
    fn has(&self, engine: usize, token: &str) -> Option<[i64; 2]> {
        let asked = answered(self.place.engine(engine), "GET /v1/commissions/me", token, "", &Value::Null);
        let (_, account) = asked.ok().filter(|(status, _)| *status == 200)?;
        Some(["pending", "available"].map(|name| account[name].as_i64().unwrap()))
    }

    /// Both distributors have that, pending and available, says whoever answers at the engine.
    fn have(&self, engine: usize, low: [i64; 2], high: [i64; 2]) {
        let found = || (self.has(engine, &self.low), self.has(engine, &self.high));
        let have = || Ok(found() == (Some(low), Some(high)));
        wait_until("the commissions are posted", 2 * PATIENCE, have)
            .unwrap_or_else(|error| panic!("{error}: {:?}, not {:?}", found(), (low, high)));
    }

    /// The amounts that the rule paid out for an order, in the order of its events.
    fn payouts(&self, order: &str) -> Vec<i64> {
        let what = format!("GET /v1/merchant/commissions/orders/{order}");
        let (status, shown) = self.place.as_shop(1, &what, &Value::Null).unwrap();
        assert_eq!(status, 200, "{shown}");
        let entries = shown["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "payout");
        let expenses = entries.flat_map(|entry| entry["lines"].as_array().unwrap());
        let expenses = expenses.filter(|line| line["account"] == "expense");
        let mut amounts: Vec<i64> = expenses.map(|line| -line["amount"].as_i64().unwrap()).collect();
        amounts.sort_unstable();
        amounts
    }
}

/// Paid, refunded in part, received and matured, refunded late: before each step both services are
/// killed, and another one comes back than the last time.
#[test]
fn a_commission_is_posted_clawed_back_and_matured_whichever_service_is_killed_at_each_step() {
    let shop = open("commission");
    let (token, order) = shop.bought(0);
    shop.place.kill_commissions(0).unwrap();
    shop.place.kill_commissions(1).unwrap();
    let (status, away) = shop.place.post(0, "/v1/commissions/join", &token, &Value::Null).unwrap();
    assert_eq!((status, &away["code"]), (503, &json!("temporarily_unavailable")), "{away}");

    // 199.00 is paid while no service is there.
    shop.pay(&token, &order);
    shop.place.start_commissions(0).unwrap();
    shop.have(0, [1_990, 0], [995, 0]);
    shop.place.kill_commissions(0).unwrap();
    shop.refund(&order, 5_000);
    shop.place.start_commissions(1).unwrap();
    shop.have(1, [1_490, 0], [745, 0]);
    shop.place.kill_commissions(1).unwrap();
    let parcel = json!({ "carrier": "sf", "number": "SF1" });
    let ship = format!("POST /v1/merchant/orders/{order}/ship");
    assert_eq!(shop.place.as_shop(0, &ship, &parcel).unwrap().0, 200);
    let receive = format!("/v1/orders/{order}/receive");
    let (status, received) = shop.place.post(0, &receive, &token, &Value::Null).unwrap();
    assert_eq!(status, 200, "{received}");
    shop.place.start_commissions(0).unwrap();
    shop.have(0, [0, 1_490], [0, 745]);
    shop.place.kill_commissions(0).unwrap();
    shop.refund(&order, 14_900);
    shop.place.start_commissions(1).unwrap();
    shop.have(1, [0, 0], [0, 0]);
    assert_eq!(shop.payouts(&order), [-1_490, -745, -500, -250, 995, 1_990]);

    shop.place.start_commissions(0).unwrap();
    let behind =
        || Ok((0..2).all(|service| shop.place.commissions_behind(service).is_ok_and(|records| records == 0.0)));
    wait_until("no record waits at either service", PATIENCE, behind).unwrap();
    for service in [0, 1] {
        shop.place.drain_commissions(service).unwrap();
    }
    // What was sent stays sold: its refund moves money alone.
    shop.place.audit(1).unwrap();
}

/// Two services on the same partitions, killed and started again in turn, while orders are paid and
/// refunded: every fen is posted once.
#[test]
fn two_services_of_commissions_that_are_killed_in_turn_post_each_event_once() {
    let shop = open("killed_in_turn");
    let orders: Vec<(String, String)> = (0..8).map(|buyer| shop.bought(buyer)).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut kills = 0;
            while !is_over.load(Ordering::Relaxed) || kills < 4 {
                shop.place.kill_commissions(kills % 2).unwrap();
                shop.place.start_commissions(kills % 2).unwrap();
                kills += 1;
            }
        });
        for (token, order) in &orders {
            shop.pay(token, order);
            shop.refund(order, 3_333);
            shop.refund(order, 3_333);
        }
        is_over.store(true, Ordering::Relaxed);
        killer.join().unwrap();
    });
    // 199.00 at 10 % and 5 %, of which 66.66 went back: 1990 - 667, 995 - 334, each.
    let each = [1_323, 661];
    shop.have(0, [8 * each[0], 0], [8 * each[1], 0]);
    shop.have(1, [8 * each[0], 0], [8 * each[1], 0]);
    for (_, order) in &orders {
        assert_eq!(shop.payouts(order).len(), 6, "a payout and two refunds for each of two");
        assert_eq!(shop.payouts(order).iter().sum::<i64>(), each[0] + each[1]);
    }
    let (_, parked) = shop.place.as_shop(0, "GET /v1/merchant/commissions/parked", &Value::Null).unwrap();
    assert_eq!(parked["items"], json!([]));
}
