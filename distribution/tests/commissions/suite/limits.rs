//! Goal: a limit over a time is never passed, whatever partitions the lines come by, and what goes
//! back makes room for the lines after it.

use domain::{
    event::{EventKind, OrderEvent},
    record::ORDER_EVENTS_TYPE,
};
use kit::clock::Clock as _;

use super::{
    rig::{Answer, DAY_MS, Log, Rig, SALE, bought, bytes_of, later},
    teams::at_once,
};

fn plan(rule: &str, limit: &str, of_plan: &str) -> String {
    format!(
        "plan \"two\" v2 profile CN-2 budget 30% {{\n base net_paid where not tag(flash_sale)\n \
         rule direct: on matured walk(referral, slots 2, rate {rule}) {limit}\n {of_plan}\n \
         settle cash after receipt+22d, channel transfer, clawback full\n}}"
    )
}

/// Customers 20 and 21 of 12, which stands below 11.
async fn limited(rule: &str, limit: &str, of_plan: &str) -> Rig {
    let rig = Rig::start().await;
    rig.publish(&plan(rule, limit, of_plan)).await.expect(201);
    rig.bind(21, 12).await.expect(200);
    rig.pass(5_000);
    rig
}

async fn breakage(rig: &Rig) -> i64 {
    rig.sql_int("SELECT CAST(COALESCE(SUM(breakage), 0) AS SIGNED) FROM entries").await
}

/// 9.99 and 4.99 of each line; 25.00 a month for each of the two. Another month has its own room.
#[tokio::test]
async fn a_limit_per_user_ends_at_its_amount_and_begins_anew_with_its_window() {
    let rig = limited("[10%, 5%]", "limit 25.00 per user month breakage", "").await;
    for sequence in 0..6 {
        rig.feed(&bought(20 + u64::from(sequence % 2), rig.clock.now_ms(), sequence)).await;
        let lines = i64::from(sequence) + 1;
        assert_eq!(rig.pending(12).await, (999 * lines).min(2_500));
        assert_eq!(rig.pending(11).await, (499 * lines).min(2_500));
    }
    assert_eq!(breakage(&rig).await, 6 * 999 - 2_500 + (6 * 499 - 2_500));
    rig.pass(20 * DAY_MS);
    rig.feed(&bought(20, rig.clock.now_ms(), 6)).await;
    assert_eq!((rig.pending(12).await, rig.pending(11).await), (2_500 + 999, 2_500 + 499));
    rig.sums_to_zero().await;
}

/// 20.00 a day: the third line gets 0.02. The first one comes back, and the fourth has its room.
#[tokio::test]
async fn what_goes_back_makes_room_for_the_lines_after_it() {
    let rig = limited("10%", "limit 20.00 per user day breakage", "").await;
    let orders: Vec<[OrderEvent; 2]> = (0..3).map(|sequence| bought(20, rig.clock.now_ms(), sequence)).collect();
    for order in &orders {
        rig.feed(order).await;
    }
    assert_eq!(rig.pending(12).await, 2_000);
    let in_part = later(&orders[0][0], 9, EventKind::RefundedInPart, 3_333);
    // Twice told, once counted.
    rig.feed(&[in_part, in_part]).await;
    assert_eq!(rig.pending(12).await, 2_000 - 333);
    rig.feed(&[later(&orders[0][0], 7, EventKind::Refunded, 0)]).await;
    assert_eq!(rig.pending(12).await, 2_000 - 999);
    rig.feed(&bought(20, rig.clock.now_ms(), 3)).await;
    assert_eq!(rig.pending(12).await, 2_000);
    // The line that was cut gives back what it got.
    rig.feed(&[later(&orders[2][0], 7, EventKind::Refunded, 0)]).await;
    assert_eq!(rig.pending(12).await, 2_000 - 2);
    assert_eq!(rig.sql_int("SELECT paid FROM limit_uses WHERE person = 12").await, 2_000 - 2);
    rig.sums_to_zero().await;
}

/// All rules and people together: what is above shrinks in proportion.
#[tokio::test]
async fn a_limit_of_the_plan_bounds_all_people_together() {
    let rig = limited("[10%, 5%]", "", "limit 20.00 per plan total scale").await;
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    rig.feed(&bought(21, rig.clock.now_ms(), 1)).await;
    // 20.00 less 14.98 for 9.99 and 4.99: 3.35 and 1.67.
    assert_eq!((rig.pending(12).await, rig.pending(11).await), (999 + 335, 499 + 167));
    rig.feed(&bought(21, rig.clock.now_ms(), 2)).await;
    assert_eq!(rig.pending(12).await + rig.pending(11).await, 2_000);
    rig.sums_to_zero().await;
}

/// Two partitions take lines of one distributor in at once: the limit is reached, and not passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_partitions_at_once_do_not_pass_a_limit_together() {
    let rig = limited("10%", "limit 100.00 per user month breakage", "").await;
    let logs = [Log::default(), Log::default()];
    for (log, buyer) in logs.iter().zip([20, 21]) {
        for sequence in 0..12 {
            log.append(ORDER_EVENTS_TYPE, bytes_of(&bought(buyer, rig.clock.now_ms(), sequence)));
        }
    }
    at_once(&rig, &logs, 12).await;
    assert_eq!(rig.pending(12).await, 10_000);
    // The same for who stands above.
    assert_eq!(breakage(&rig).await, 2 * (24 * 999 - 10_000));
    rig.sums_to_zero().await;
}

#[tokio::test]
async fn limits_that_are_not_kept_are_refused() {
    let rig = Rig::start().await;
    rig.switch(SALE, true).await;
    let refused = async |limit: &str, of_plan: &str, why: &str| {
        let refused: Answer = rig.publish(&plan("10%", limit, of_plan)).await;
        assert!(refused.refused(400, "invalid_request").to_string().contains(why), "{}", refused.body);
    };
    refused("limit 20.00 per user month carry", "", "puts off").await;
    refused("limit 5% per user month breakage", "", "is an amount").await;
    refused("", "limit 5% per line carry", "puts off").await;
    rig.publish(&plan("10%", "limit 20.00 per user month roll_up", "limit 5% per line scale")).await.expect(201);
}
