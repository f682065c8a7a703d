//! Goal: a team's figure is what all below somebody bought, without a row that all of them wait
//! for.

use std::time::Duration;

use distribution::intake::CONSUMER;
use domain::{
    event::EventKind,
    id::PartitionId,
    record::{ORDER_EVENTS_TYPE, Topic},
};
use kit::clock::Clock as _;
use store::{
    consumer::Consumer,
    sql::{Lock, Sql as _, Tx as _},
};

use super::rig::{DAY_MS, Log, Rig, bought, bytes_of, later};

fn plan(over: &str) -> String {
    format!(
        "plan \"two\" v2 profile INTL budget 30% {{\n base net_paid where not tag(flash_sale)\n \
         rule team: on matured walk(referral, slots 3, rate tier(sum(sales, {over}, month), \
         [0.00 → 1%, 150.00 → 2%, 350.00 → 3%], slab))\n \
         settle cash after receipt+22d, channel transfer, clawback full\n}}"
    )
}

/// 20 buys by 12, 21 by 11, 22 by 10; 12 stands below 11, which stands below 10.
async fn team(over: &str) -> Rig {
    let rig = Rig::start().await;
    rig.publish(&plan(over)).await.expect(201);
    rig.bind(21, 11).await.expect(200);
    rig.bind(22, 10).await.expect(200);
    rig.pass(5_000);
    rig
}

/// Each of these logs is a partition, whose consumer takes in so many records, all at once.
pub(super) async fn at_once(rig: &Rig, logs: &[Log; 2], records: usize) {
    let consume = async |number: usize| {
        let mut reader = logs[number].reader();
        // A span of one record: the two take turns.
        reader.at_most(1);
        let partition = PartitionId(u32::try_from(number).unwrap());
        let mut consumer = Consumer::new(rig.sql.clone(), CONSUMER, Topic::OrderEvents, partition, reader);
        let mut intake = rig.intake();
        let mut done = 0;
        while done < records {
            // Two that wait for each other are told apart by the database: one does it again.
            done += consumer.step(&mut intake, Duration::ZERO).await.unwrap_or(0);
        }
    };
    let both = Box::pin(async { tokio::join!(consume(0), consume(1)) });
    tokio::time::timeout(Duration::from_secs(120), both).await.unwrap();
}

async fn pending(rig: &Rig) -> [i64; 3] {
    [rig.pending(12).await, rig.pending(11).await, rig.pending(10).await]
}

/// Lines of 99.99, rate by what the team has bought with the line.
#[tokio::test]
async fn a_subtree_counts_the_person_and_all_below_and_what_goes_back_is_taken_off() {
    let rig = team("subtree 0").await;
    let first = bought(20, rig.clock.now_ms(), 0);
    rig.feed(&first).await;
    assert_eq!(pending(&rig).await, [99, 99, 99]);
    // Not of the team of 12: 199.98 for 11 and 10.
    rig.feed(&bought(21, rig.clock.now_ms(), 1)).await;
    assert_eq!(pending(&rig).await, [99, 99 + 199, 99 + 199]);
    // 299.97 for 10 alone.
    rig.feed(&bought(22, rig.clock.now_ms(), 2)).await;
    assert_eq!(pending(&rig).await, [99, 298, 298 + 199]);
    // All of the first comes back: its payouts, and its part of all teams.
    rig.feed(&[later(&first[0], 7, EventKind::Refunded, 0)]).await;
    assert_eq!(pending(&rig).await, [0, 199, 199 + 199]);
    rig.feed(&bought(20, rig.clock.now_ms(), 3)).await;
    // 99.99, 199.98 and 299.97.
    assert_eq!(pending(&rig).await, [99, 199 + 199, 398 + 199]);
    rig.pass(20 * DAY_MS);
    rig.feed(&bought(20, rig.clock.now_ms(), 4)).await;
    assert_eq!(pending(&rig).await, [198, 398 + 99, 597 + 99], "the next month begins anew");
    rig.sums_to_zero().await;
}

/// `direct`: what the customers of those bought whom somebody brought, not the own ones.
/// `subtree 1`: the own ones and theirs.
#[tokio::test]
async fn direct_and_bounded_subtrees_count_their_levels() {
    for (over, first, second) in [("direct", [99, 99, 99], [99, 99, 199]), ("subtree 1", [99, 99, 99], [99, 199, 199])]
    {
        let rig = team(over).await;
        // Two lines of customers of 11: direct of 10, and below 10 by one level.
        rig.feed(&bought(21, rig.clock.now_ms(), 0)).await;
        assert_eq!(pending(&rig).await[1..], first[1..], "{over}");
        rig.feed(&bought(21, rig.clock.now_ms(), 1)).await;
        let then = pending(&rig).await;
        assert_eq!([then[1] - first[1], then[2] - first[2]], second[1..], "{over}");
        // Two levels below 10: counts for neither of its figures.
        let before = rig.sql_int("SELECT sales FROM team_parts WHERE person = 10").await;
        rig.feed(&bought(20, rig.clock.now_ms(), 2)).await;
        assert_eq!(rig.sql_int("SELECT sales FROM team_parts WHERE person = 10").await, before, "{over}");
    }
}

/// Lines of two partitions at once: the team's figure is the sum of both, and a condition on it
/// holds from the first line on that is evaluated after them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_teams_figure_is_the_sum_of_what_all_partitions_counted() {
    let rig = team("subtree 0").await;
    let logs = [Log::default(), Log::default()];
    for (log, buyer) in logs.iter().zip([20, 21]) {
        for sequence in 0..12 {
            log.append(ORDER_EVENTS_TYPE, bytes_of(&bought(buyer, rig.clock.now_ms(), sequence)));
        }
    }
    at_once(&rig, &logs, 12).await;
    let sum = "SELECT CAST(SUM(sales) AS SIGNED) FROM team_parts WHERE person = ";
    let sums = [rig.sql_int(&format!("{sum}12")).await, rig.sql_int(&format!("{sum}10")).await];
    assert_eq!(sums, [12 * 9_999, 24 * 9_999]);
    let before = rig.pending(10).await;
    rig.feed(&bought(22, rig.clock.now_ms(), 0)).await;
    assert_eq!(rig.pending(10).await - before, 299, "3 % of the line");
    rig.sums_to_zero().await;
}

/// A transaction holds what another partition has counted for the person at the top, and all of the
/// own sales of nobody: the intake does not wait for it.
#[tokio::test]
async fn nobody_waits_for_the_person_at_the_top_of_a_team() {
    let rig = team("subtree 0").await;
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    rig.change(
        "INSERT INTO team_parts (tenant, window_kind, period, scope, person, part, sales, orders) \
         VALUES (7, 2, 202611, 0, 10, 999, 0, 0)",
        vec![],
    )
    .await;
    // On a file there is one writer at a time, whatever it writes.
    if !crate::place::IS_SERVER {
        return;
    }
    let mut tx = rig.sql.begin().await.unwrap();
    let held = "SELECT sales FROM team_parts WHERE tenant = 7 AND window_kind = 2 AND period = 202611 AND scope = 0 \
                AND person = 10 AND part = 999";
    assert_eq!(tx.lock_rows(held, vec![], Lock::Wait).await.unwrap().len(), 1);
    rig.feed(&bought(20, rig.clock.now_ms(), 1)).await;
    assert_eq!(pending(&rig).await, [99 + 199, 99 + 199, 99 + 199]);
    tx.rollback().await;
}

/// A walk that passes people over looks beyond its slots.
#[tokio::test]
async fn a_walk_that_compresses_looks_as_far_as_it_must() {
    let rig = Rig::start().await;
    let plan = plan("subtree 0").replace("slots 3", "filter kyc, compress, slots 1");
    rig.publish(&plan).await.expect(201);
    rig.verify(10).await;
    rig.pass(5_000);
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    assert_eq!(pending(&rig).await, [0, 0, 99]);
}
