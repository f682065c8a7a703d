//! Goal: a tier pays what the whole volume of its window comes to, whatever partitions the lines
//! come by and whatever goes back.

use domain::{
    event::{EventKind, OrderEvent},
    record::ORDER_EVENTS_TYPE,
};
use kit::clock::Clock as _;

use super::{
    rig::{DAY_MS, Log, Rig, bought, bytes_of, later},
    teams::at_once,
};

/// 5 % up to 300.00 a month, 10 % of what is above.
const TIERS: &str = r#"plan "two" v2 profile CN-1 budget 12% {
  base net_paid where not tag(flash_sale)
  rule direct: on matured walk(referral, slots 1, rate tier(sum(sales, self, month), [0.00 → 5%, 300.00 → 10%], marginal))
  settle cash after receipt+22d, channel transfer, clawback full
}"#;

/// What the tiers come to for so much in a month, computed apart from the evaluator: in millionths
/// first, rounded down once.
pub(super) fn of_a_month(volume: i64) -> i64 {
    let (low, high) = (volume.min(30_000), (volume - 30_000).max(0));
    (low * 50_000 + high * 100_000) / 1_000_000
}

pub(super) async fn tiers() -> Rig {
    let rig = Rig::start().await;
    rig.publish(TIERS).await.expect(201);
    rig.bind(21, 12).await.expect(200);
    rig.bind(22, 11).await.expect(200);
    rig.pass(5_000);
    rig
}

async fn pending(rig: &Rig, person: u64) -> i64 {
    rig.balance(person).await[0]
}

/// Lines of both customers count together, those of others do not; the next month begins anew.
#[tokio::test]
async fn a_marginal_tier_pays_what_the_sales_of_a_month_come_to() {
    let rig = tiers().await;
    for sequence in 0..7 {
        let buyer = if sequence % 2 == 0 { 20 } else { 21 };
        rig.feed(&bought(buyer, rig.clock.now_ms(), sequence)).await;
        assert_eq!(pending(&rig, 12).await, of_a_month(9_999 * (i64::from(sequence) + 1)));
    }
    rig.feed(&bought(22, rig.clock.now_ms(), 7)).await;
    assert_eq!((pending(&rig, 11).await, pending(&rig, 12).await), (of_a_month(9_999), of_a_month(69_993)));
    let last_month = bought(20, rig.clock.now_ms(), 8);
    rig.pass(20 * DAY_MS);
    rig.feed(&bought(20, rig.clock.now_ms(), 9)).await;
    assert_eq!(pending(&rig, 12).await, of_a_month(69_993) + of_a_month(9_999));
    // A line counts in the month in which it was ordered, whenever its payment is heard of.
    rig.feed(&last_month).await;
    assert_eq!(pending(&rig, 12).await, of_a_month(79_992) + of_a_month(9_999));
    rig.sums_to_zero().await;
}

/// A refund takes back what the line itself was paid, and the volume is that much lower for the
/// lines after it; an event that comes again counts once.
#[tokio::test]
async fn what_goes_back_is_taken_off_the_sales_that_the_next_line_stands_on() {
    let rig = tiers().await;
    let orders: Vec<[OrderEvent; 2]> = (0..4).map(|sequence| bought(20, rig.clock.now_ms(), sequence)).collect();
    for order in &orders {
        rig.feed(order).await;
    }
    let all = of_a_month(4 * 9_999);
    assert_eq!(pending(&rig, 12).await, all);
    let first = of_a_month(9_999);
    let in_part = later(&orders[0][0], 9, EventKind::RefundedInPart, 3_333);
    rig.feed(&[in_part, in_part]).await;
    assert_eq!(pending(&rig, 12).await, all - (first - of_a_month(6_666)));
    rig.feed(&[later(&orders[0][0], 7, EventKind::Refunded, 0), in_part]).await;
    assert_eq!(pending(&rig, 12).await, all - first);
    rig.feed(&bought(20, rig.clock.now_ms(), 4)).await;
    // Three lines are left, and this one stands on them.
    let fifth = of_a_month(4 * 9_999) - of_a_month(3 * 9_999);
    assert_eq!(pending(&rig, 12).await, all - first + fifth);
    rig.sums_to_zero().await;
}

/// Two partitions take lines of one distributor in at once: no threshold is passed twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_partitions_at_once_pay_what_their_sales_come_to_together() {
    let rig = tiers().await;
    let logs = [Log::default(), Log::default()];
    for (log, buyer) in logs.iter().zip([20, 21]) {
        for sequence in 0..12 {
            log.append(ORDER_EVENTS_TYPE, bytes_of(&bought(buyer, rig.clock.now_ms(), sequence)));
        }
    }
    at_once(&rig, &logs, 12).await;
    assert_eq!(pending(&rig, 12).await, of_a_month(24 * 9_999));
    rig.sums_to_zero().await;
}

/// A condition on the number of orders, which counts the line itself.
#[tokio::test]
async fn a_condition_counts_the_orders_of_the_day() {
    let rig = tiers().await;
    let plan = r#"plan "two" v3 profile CN-1 budget 12% {
  base net_paid where not tag(flash_sale)
  rule direct: on matured walk(referral, filter count(orders, self, day) >= 2, slots 1, rate 10%)
  settle cash after receipt+22d, channel transfer, clawback full
}"#;
    rig.publish(plan).await.expect(201);
    rig.pass(5_000);
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    assert_eq!(pending(&rig, 12).await, 0);
    rig.feed(&bought(21, rig.clock.now_ms(), 1)).await;
    assert_eq!(pending(&rig, 12).await, 999);
    rig.pass(DAY_MS);
    rig.feed(&bought(21, rig.clock.now_ms(), 2)).await;
    assert_eq!(pending(&rig, 12).await, 999, "a new day");
}

#[tokio::test]
async fn the_tiers_template_is_published_and_what_is_not_collected_is_refused() {
    let rig = Rig::empty().await;
    let (_, template) = distribution::template::TEMPLATES.iter().find(|(name, _)| *name == "tiers").unwrap();
    rig.publish(template).await.expect(201);
    for (over, why) in [("leg", "over self, direct and subtree"), ("subtree 2", "over `self` alone")] {
        let team =
            TIERS.replace("CN-1", "INTL").replace("sum(sales, self, month)", &format!("sum(sales, {over}, month)"));
        let refused = rig.publish(&team).await;
        assert!(refused.refused(400, "invalid_request").to_string().contains(why), "{}", refused.body);
    }
    // Of the sales of the second above him the line is no part.
    let second = TIERS.replace("slots 1", "slots 2").replace("v2", "v3");
    let refused = rig.publish(&second).await;
    assert!(refused.refused(400, "invalid_request").to_string().contains("marginal"), "{}", refused.body);
}
