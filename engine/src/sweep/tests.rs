//! Goal: a batch that stayed in a journal is appended again with the same bytes, and not by
//! everybody at once. Method: promises whose append was lost, a clock moved by hand, rounds called
//! one by one.

use domain::id::Epoch;

use super::*;
use crate::{
    append::Acknowledged,
    reserve::SWEEP_AFTER_MS,
    testing::{Fault, LogMode, MemoryLog, MemoryStock, NOW_MS, Shop, WORKER, sale},
};

type TestSweeper = Sweeper<MemoryStock, MemoryLog, kit::clock::ManualClock>;

/// A sweeper of the engine with this memory and mint.
fn sweeper(shop: &Shop, acknowledged: &Arc<Acknowledged>, mint: &Arc<Mint>) -> TestSweeper {
    let appender =
        Appender::new(shop.log.clone(), shop.clock.clone(), Arc::clone(acknowledged), Arc::clone(&shop.metrics));
    let (directory, metrics) = (Arc::clone(&shop.directory), Arc::clone(&shop.metrics));
    Sweeper::new(shop.stock.clone(), Arc::new(appender), directory, Arc::clone(mint), shop.clock.clone(), metrics)
}

fn own(shop: &Shop) -> TestSweeper {
    sweeper(shop, &shop.acknowledged, &shop.mint)
}

fn pass(shop: &Shop, ms: u64) {
    shop.clock.advance(Duration::from_millis(ms));
}

/// Failures 4 and 5: the record was lost; the sweeper appends the same bytes under the same id, and
/// the repeat is accepted then.
#[tokio::test]
async fn what_was_lost_is_appended_again() {
    let shop = Shop::new(10);
    shop.log.mode(LogMode::Lose);
    let first = shop.buy(1, "k", 1).await.unwrap();
    shop.log.mode(LogMode::Acknowledge);
    let mut sweeper = own(&shop);
    pass(&shop, SWEEP_AFTER_MS - 1);
    assert_eq!(sweeper.round().await, Swept::default(), "not due yet");
    pass(&shop, 1);
    assert_eq!(sweeper.round().await, Swept { claimed: 1, appended: 1, oldest_ms: SWEEP_AFTER_MS });
    let journal = shop.stock.lane(1, |lane, _| lane.journal());
    let records = shop.log.records();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].1.id.get(), &records[0].1.payload), (journal[0].0.get(), &journal[0].1));
    let again = shop.buy(1, "k", 1).await.unwrap();
    assert_eq!((again.order, again.state), (first.order, PurchaseState::Accepted), "R12: acknowledged here");
    assert_eq!(shop.metrics.sweep_appended.get(), 1);
}

#[tokio::test]
async fn what_was_acknowledged_a_moment_ago_is_left_alone() {
    let shop = Shop::new(10);
    shop.buy(1, "k", 1).await.unwrap();
    let mut sweeper = own(&shop);
    pass(&shop, TRUST_MS - 1);
    assert_eq!(sweeper.round().await.appended, 0);
    pass(&shop, BACKOFF_MS);
    assert_eq!(sweeper.round().await.appended, 1, "a minute is long: perhaps the log lost it");
    assert_eq!(shop.log.records().len(), 2);
}

/// Another engine's batch is left to it for ten seconds; who died is taken over.
#[tokio::test]
async fn another_engines_batch_is_taken_over_when_it_is_old() {
    let shop = Shop::new(10);
    shop.log.mode(LogMode::Lose);
    shop.buy(1, "k", 1).await.unwrap();
    shop.log.mode(LogMode::Acknowledge);
    let mint = Arc::new(Mint::default());
    mint.lend(WORKER + 1, u64::MAX >> 8, u64::MAX);
    let mut other = sweeper(&shop, &Arc::default(), &mint);
    pass(&shop, OTHERS_AFTER_MS);
    assert_eq!(other.round().await, Swept { claimed: 1, appended: 0, oldest_ms: OTHERS_AFTER_MS });
    pass(&shop, BACKOFF_MS);
    assert_eq!(other.round().await.appended, 1);
}

/// Failure line 30: what stands in the journal is swept as ever, although the clock was set back
/// since.
#[tokio::test]
async fn a_clock_that_is_set_back_delays_no_sweep() {
    let shop = Shop::new(10);
    shop.log.mode(LogMode::Lose);
    shop.buy(1, "k", 1).await.unwrap();
    shop.clock.set_wall(NOW_MS - 3 * 60_000);
    shop.buy(2, "k", 1).await.unwrap();
    shop.log.mode(LogMode::Acknowledge);
    pass(&shop, SWEEP_AFTER_MS);
    assert_eq!(own(&shop).round().await, Swept { claimed: 2, appended: 2, oldest_ms: SWEEP_AFTER_MS });
}

#[tokio::test]
async fn a_claimed_batch_is_not_claimed_again_at_once() {
    let shop = Shop::new(10);
    shop.log.mode(LogMode::Lose);
    shop.buy(1, "k", 1).await.unwrap();
    let mut sweeper = own(&shop);
    pass(&shop, SWEEP_AFTER_MS);
    assert_eq!(sweeper.round().await, Swept { claimed: 1, appended: 0, oldest_ms: SWEEP_AFTER_MS });
    assert_eq!(sweeper.round().await.claimed, 0);
    pass(&shop, BACKOFF_MS);
    assert_eq!(sweeper.round().await.claimed, 1, "the log failed: tried again");
    assert_eq!(shop.stock.left(1), 9, "nobody gave anything back");
}

#[tokio::test]
async fn a_long_journal_is_swept_in_one_round() {
    let shop = Shop::new(1_000);
    shop.log.mode(LogMode::Lose);
    for buyer in 1..=40 {
        shop.buy(buyer, "k", 1).await.unwrap();
    }
    shop.log.mode(LogMode::Acknowledge);
    pass(&shop, SWEEP_AFTER_MS);
    assert_eq!(own(&shop).round().await, Swept { claimed: 40, appended: 40, oldest_ms: SWEEP_AFTER_MS });
}

#[tokio::test]
async fn closed_lanes_and_errors_are_passed_over() {
    let shop = Shop::new(10);
    shop.log.mode(LogMode::Lose);
    shop.buy(1, "k", 1).await.unwrap();
    pass(&shop, SWEEP_AFTER_MS);
    let mut sweeper = own(&shop);
    shop.stock.fail(&[Fault::LoseCall]);
    assert_eq!(sweeper.round().await, Swept::default());
    shop.stock.lane(1, |lane, run| lane.close(run, Epoch(2)));
    assert_eq!(sweeper.round().await, Swept::default(), "the keeper drains it");
}

/// Lanes are swept from before their opening until a day after their end; idle ones more rarely.
#[tokio::test]
async fn lanes_are_swept_as_long_as_anything_may_be_left() {
    let shop = Shop::new(10);
    let mut sweeper = own(&shop);
    let window = sale(1).window;
    let lanes_at = |sweeper: &mut TestSweeper, wall_ms| sweeper.lanes(Moment { wall_ms, monotonic_ms: 1 }).len();
    assert_eq!(lanes_at(&mut sweeper, window.opens_at_ms - BEFORE_OPENING_MS - 1), 0);
    assert_eq!(lanes_at(&mut sweeper, window.opens_at_ms - BEFORE_OPENING_MS), 1);
    assert_eq!(lanes_at(&mut sweeper, NOW_MS), 1);
    assert_eq!(lanes_at(&mut sweeper, window.closes_at_ms + AFTER_END_MS - 1), 1);
    assert_eq!(lanes_at(&mut sweeper, window.closes_at_ms + AFTER_END_MS), 0);
    shop.clock.set_wall(window.closes_at_ms);
    sweeper.round().await;
    let now = Moment::of(&shop.clock);
    assert!(sweeper.lanes(now).is_empty(), "nothing was due: it rests");
    assert_eq!(sweeper.lanes(Moment { monotonic_ms: now.monotonic_ms + IDLE_EVERY_MS, ..now }).len(), 1);
}
