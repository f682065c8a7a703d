//! Goal: buyers who let orders expire meet what the rule of the shop says, once, also when who does
//! it dies; others, and shops without a rule, meet nothing. Method: rows as a writer leaves them,
//! their events on a log in a file, which the lists' consumer follows.

use std::time::Duration;

use domain::{id::OrderId, namespace::Namespace, order::Status};
use kit::http::Method;
use serde_json::{Value, json};
use store::sql::{Server as _, Sql as _};

use super::{follow::Followed, mortal::When, rig::WINDOW_MS};

const RULE: &str = "/v1/merchant/hoarders";
const PATIENCE: Duration = Duration::from_secs(60);
/// Above the time for which a note is left alone that somebody took.
const LATER_MS: u64 = 31_000;

fn rule(consequence: &str, more: (&str, u32)) -> Value {
    let mut rule = json!({"expiries": 2, "within_days": 30, "consequence": consequence});
    if !more.0.is_empty() {
        rule[more.0] = more.1.into();
    }
    rule
}

impl Followed {
    /// A shop in which each of these buyers let two orders expire, and buyer 100 one, and whose
    /// rule is this.
    async fn with_hoarders(buyers: impl Iterator<Item = u64> + Clone, rule: Value) -> Self {
        let mut shop = Self::start().await;
        for buyers in [buyers.clone().collect::<Vec<_>>(), buyers.chain([100]).collect()] {
            let count = buyers.len() as u64;
            shop.rig.buy(buyers).await;
            shop.rig.pass(WINDOW_MS + 1);
            assert_eq!(shop.rig.expire().await, count);
        }
        let put = shop.rig.put(RULE, "staff-7", rule.clone()).await;
        assert_eq!(put.expect(200), &rule);
        shop
    }

    /// Orders of these buyers, which a process has noted.
    async fn accept(&mut self, buyers: impl Iterator<Item = u64>) -> Vec<OrderId> {
        self.rig.pass(1);
        let rows = self.rows(buyers);
        self.place(&rows).await;
        self.rig.pass(1_000);
        rows.iter().map(|row| row.order).collect()
    }

    /// Waits until a process has noted something.
    async fn noted(&self) {
        let name = Namespace::new(&self.rig.place.namespace()).unwrap().listing();
        let lists = self.rig.place.server().open(&name);
        let noting = async {
            while lists.rows("SELECT part FROM hoarder_looks", vec![]).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, noting).await.unwrap();
    }

    /// Looks at what is noted, as soon as a process has noted it.
    async fn meet(&self) {
        let following = self.follow();
        self.noted().await;
        following.abort();
        assert!(self.rig.life.meet_hoarders().await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_refused_hoarders_order_is_cancelled_and_anothers_is_not() {
    let mut shop = Followed::with_hoarders(1..=1, rule("refuse", ("", 0))).await;
    let before = shop.rig.outbox().await.0.len();
    let orders = shop.accept([1, 100, 2].into_iter()).await;
    shop.meet().await;
    let mut stands = Vec::new();
    for order in &orders {
        stands.push(shop.rig.status(*order).await);
    }
    assert_eq!(stands, [Status::Cancelled, Status::PendingPayment, Status::PendingPayment]);
    assert_eq!(shop.rig.timeline(orders[0]).await, [("service".to_owned(), "cancelled".to_owned())]);
    assert_eq!((shop.rig.outbox().await.0.len() - before, shop.rig.life.meet_hoarders().await.unwrap()), (1, 0));
}

/// A payment that is open already is closed first; one that has come stays.
#[tokio::test]
async fn an_order_that_a_refused_hoarder_has_paid_stays() {
    let mut shop = Followed::with_hoarders(1..=2, rule("refuse", ("", 0))).await;
    let orders = shop.accept(1..=2).await;
    shop.rig.paid(orders[0], 1).await;
    shop.rig.pay(orders[1], 2).await.expect(200);
    shop.meet().await;
    shop.rig.pass(6_000);
    shop.rig.work().await;
    assert_eq!((shop.rig.status(orders[0]).await, shop.rig.status(orders[1]).await), (Status::Paid, Status::Cancelled));
}

#[tokio::test]
async fn a_hoarder_has_less_time_to_pay() {
    let mut shop = Followed::with_hoarders(1..=2, rule("shorter_window", ("pay_minutes", 2))).await;
    let orders = shop.accept([1, 2, 100].into_iter()).await;
    // One of them is at the cashier already.
    let number = shop.rig.pay(orders[1], 2).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    shop.meet().await;
    let rows = shop.rig.store.orders.find(&orders).await.unwrap();
    let given = |order| rows[&order].pay_by_ms.unwrap() - rows[&order].reserved_at_ms;
    assert_eq!(orders.iter().map(|order| given(*order)).collect::<Vec<_>>(), [120_000, 120_000, WINDOW_MS]);
    shop.rig.pass(118_000);
    assert_eq!(shop.rig.expire().await, 0, "a second before");
    shop.rig.pass(1_500);
    assert_eq!(shop.rig.expire().await, 1, "the one without an open payment");
    shop.rig.work().await;
    assert_eq!(shop.rig.status(orders[1]).await, Status::Expired);
    assert!(shop.rig.bank.pay(shop.rig.till.account(), &number).is_err(), "its payment is closed");
    assert_eq!(shop.rig.status(orders[2]).await, Status::PendingPayment);
}

/// A look that comes late leaves time to pay all the same.
#[tokio::test]
async fn a_late_look_leaves_time_to_pay() {
    let mut shop = Followed::with_hoarders(1..=1, rule("shorter_window", ("pay_minutes", 2))).await;
    let order = shop.accept(1..=1).await[0];
    shop.rig.pass(300_000);
    shop.meet().await;
    let row = &shop.rig.store.orders.find(&[order]).await.unwrap()[&order];
    assert_eq!(row.pay_by_ms.unwrap() - row.reserved_at_ms, 420_000, "the first whole minute that leaves 90 s");
}

#[tokio::test]
async fn a_hoarder_has_fewer_units_of_a_lane() {
    let mut shop = Followed::with_hoarders(1..=1, rule("fewer_units", ("units_max", 3))).await;
    let first = shop.accept(1..=1).await[0];
    let second = shop.accept(1..=1).await[0];
    shop.meet().await;
    while shop.rig.life.meet_hoarders().await.unwrap() > 0 {}
    assert_eq!(shop.rig.status(first).await, Status::PendingPayment, "three units are allowed");
    assert_eq!(shop.rig.status(second).await, Status::Cancelled, "six are not");
}

#[tokio::test]
async fn an_expiry_of_long_ago_does_not_count() {
    let mut shop = Followed::with_hoarders(1..=1, rule("refuse", ("", 0))).await;
    shop.rig.pass(30 * 86_400_000);
    let order = shop.accept(1..=1).await[0];
    shop.meet().await;
    assert_eq!(shop.rig.status(order).await, Status::PendingPayment);
}

/// Whoever dies at whatever write, each order is cancelled once, and no note is left.
#[tokio::test]
async fn a_death_at_any_write_refuses_each_hoarder_once() {
    let mut shop = Followed::with_hoarders(1..=6, rule("refuse", ("", 0))).await;
    let before = shop.rig.outbox().await.0.len();
    let orders = shop.accept(1..=6).await;
    let following = shop.follow();
    shop.noted().await;
    following.abort();
    drop(following.await);
    let mut deaths = 0;
    for nth in 1.. {
        let when = if nth % 2 == 0 { When::Durable } else { When::Written };
        shop.rig.fate.is(nth, when);
        let looked = tokio::select! {
            looked = shop.rig.life.meet_hoarders() => Some(looked.unwrap()),
            () = shop.rig.fate.met.notified() => None,
        };
        shop.rig.fate.is_averted();
        shop.rig.pass(LATER_MS);
        match looked {
            Some(0) => break,
            Some(_) => {}
            None => deaths += 1,
        }
    }
    assert!(deaths >= 3, "{deaths} deaths");
    for order in &orders {
        assert_eq!(shop.rig.status(*order).await, Status::Cancelled);
        assert_eq!(shop.rig.timeline(*order).await.len(), 1);
    }
    assert_eq!(shop.rig.outbox().await.0.len() - before, 6);
}

#[tokio::test]
async fn a_rule_is_the_shops_own_and_says_what_is_wrong_of_it() {
    let shop = Followed::with_hoarders(1..=1, rule("refuse", ("", 0))).await;
    let rig = &shop.rig;
    rig.get(RULE, "staff-8").await.refused(404, "not_found");
    assert_eq!(rig.get(RULE, "staff-7").await.expect(200), &rule("refuse", ("", 0)));
    let wrong = [
        json!({"expiries": 0, "within_days": 91, "consequence": "exile"}),
        rule("shorter_window", ("", 0)),
        rule("refuse", ("units_max", 1)),
        rule("shorter_window", ("pay_minutes", 1)),
    ];
    for body in wrong {
        rig.put(RULE, "staff-7", body).await.refused(400, "invalid_request");
    }
    let both = rig.put(RULE, "staff-7", rule("fewer_units", ("pay_minutes", 5))).await;
    assert_eq!(both.refused(400, "invalid_request")["errors"].as_array().unwrap().len(), 2);
    rig.put(RULE, "nobody-7", rule("refuse", ("", 0))).await.refused(401, "unauthenticated");
    rig.ask_as(Method::DELETE, RULE, "weak-8", None).await.expect(204);
    rig.get(RULE, "staff-7").await.expect(200);
    for _ in 0..2 {
        rig.ask_as(Method::DELETE, RULE, "staff-7", None).await.expect(204);
    }
    rig.get(RULE, "staff-7").await.refused(404, "not_found");
}
