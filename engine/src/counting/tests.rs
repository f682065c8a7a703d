//! Goal: each purchase is counted once at each step, and each count is told once, whatever the log
//! says. Method: a shop in memory; its counts go to a log of their own.

use std::time::Duration;

use domain::{
    counts::{Counts, Step, decode_counts},
    id::TenantId,
};

use super::*;
use crate::{
    purchase::{Declined, PurchaseState},
    testing::{Fault, LogMode, MemoryLog, NOW_MS, Shop, offer_id, purchase, sale},
};

type TestCounting = Counting<MemoryLog, kit::clock::ManualClock>;

fn counting(shop: &Shop) -> (TestCounting, MemoryLog) {
    let log = MemoryLog::default();
    let (directory, metrics) = (Arc::clone(&shop.directory), Arc::clone(&shop.metrics));
    (Counting::new(log.clone(), shop.clock.clone(), directory, metrics, u64::MAX), log)
}

fn told(log: &MemoryLog) -> Vec<EngineCounts> {
    let records = log.records();
    assert!(records.iter().all(|(partition, _)| *partition == PARTITION));
    records.into_iter().map(|(_, record)| decode_counts(record.kind, record.payload).unwrap()).collect()
}

/// What is counted of the only offer since the last call.
fn taken(shop: &Shop) -> Counts {
    shop.directory.now().offer(offer_id(1)).unwrap().1.counts.take().unwrap_or_default()
}

#[track_caller]
fn expect(shop: &Shop, steps: &[(Step, u64)]) {
    let mut expected = Counts::default();
    steps.iter().for_each(|&(step, times)| expected.add(step, times));
    let counts = taken(shop);
    assert_eq!(counts, expected);
    let of = |is_meant: fn(Step) -> bool| {
        Step::ALL.iter().filter(|step| is_meant(**step)).map(|step| counts.get(*step)).sum::<u64>()
    };
    let ended = of(Step::is_refusal) + counts.get(Step::Reserved) + counts.get(Step::Repeated);
    assert_eq!(ended, counts.get(Step::Arrived), "each that arrived ends once");
}

#[tokio::test]
async fn each_purchase_is_counted_once_at_each_step() {
    let shop = Shop::new(3);
    let first = shop.buy(1, "k", 2).await.unwrap();
    expect(&shop, &[(Step::Arrived, 1), (Step::Admitted, 1), (Step::Reserved, 1), (Step::ReservedUnits, 2)]);
    assert_eq!(shop.buy(1, "k", 2).await.unwrap().order, first.order);
    expect(&shop, &[(Step::Arrived, 1), (Step::Admitted, 1), (Step::Repeated, 1)]);
    for (buyer, key, quantity, refusal, step) in [
        (1, "k", 1, Declined::Mismatch, Step::Mismatch),
        (1, "other", 1, Declined::LimitReached, Step::LimitReached),
        (2, "k", 2, Declined::SoldOut, Step::SoldOut),
    ] {
        assert_eq!(shop.buy(buyer, key, quantity).await, Err(refusal));
        expect(&shop, &[(Step::Arrived, 1), (Step::Admitted, 1), (step, 1)]);
    }
    // Refused again by what is remembered of it: it is not admitted.
    assert_eq!(shop.buy(2, "k", 2).await, Err(Declined::SoldOut));
    expect(&shop, &[(Step::Arrived, 1), (Step::SoldOut, 1)]);
    let taken = shop.log.fill();
    assert_eq!(shop.buy(3, "k", 1).await, Err(Declined::Overloaded));
    expect(&shop, &[(Step::Arrived, 1), (Step::Admitted, 1), (Step::Overloaded, 1)]);
    drop(taken);
    shop.mint.stop();
    assert_eq!(shop.buy(3, "k", 1).await, Err(Declined::LaneClosed));
    expect(&shop, &[(Step::Arrived, 1), (Step::Admitted, 1), (Step::LaneClosed, 1)]);
}

/// A token of another shop, or none, counts nothing of this one's offer.
#[tokio::test]
async fn who_is_not_of_the_shop_is_not_counted() {
    let shop = Shop::new(3);
    let foreign = shop.token_of(TenantId::new(9).unwrap(), 1);
    assert_eq!(shop.purchases.buy(purchase(&foreign, "k", 1)).await, Err(Declined::UnknownOffer));
    let nobody = crate::purchase::Purchase { token: None, ..purchase("", "k", 1) };
    assert_eq!(shop.purchases.buy(nobody).await, Err(Declined::NoToken));
    expect(&shop, &[]);
}

/// A sale that is stopped refuses who is new, and knows who bought before.
#[tokio::test]
async fn a_repeat_past_the_window_is_no_refusal() {
    let shop = Shop::new(3);
    shop.buy(1, "k", 1).await.unwrap();
    taken(&shop);
    let mut paused = sale(1);
    (paused.version, paused.paused) = (2, true);
    shop.directory.take_in(vec![paused], NOW_MS);
    shop.buy(1, "k", 1).await.unwrap();
    expect(&shop, &[(Step::Arrived, 1), (Step::Repeated, 1)]);
    assert_eq!(shop.buy(1, "k", 2).await, Err(Declined::Mismatch));
    assert_eq!(shop.buy(2, "k", 1).await, Err(Declined::Paused));
    expect(&shop, &[(Step::Arrived, 2), (Step::Mismatch, 1), (Step::Paused, 1)]);
    // Too early, where nobody can have bought: nobody is asked, and it is counted all the same.
    let shop = Shop::new(3);
    let mut early = sale(1);
    (early.version, early.window.opens_at_ms) = (2, NOW_MS + 60_000);
    early.lanes[0].id = crate::testing::lane_id(7);
    shop.directory.take_in(vec![early], NOW_MS);
    assert!(matches!(shop.buy(1, "k", 1).await, Err(Declined::NotStarted { .. })));
    expect(&shop, &[(Step::Arrived, 1), (Step::NotStarted, 1)]);
}

/// R13: what nobody knows is no promise yet; its key finds the order, which is a repeat. A lost
/// answer that is found by the same call is a promise.
#[tokio::test(start_paused = true)]
async fn lost_answers_are_counted_as_what_they_are() {
    let shop = Shop::new(9);
    shop.stock.fail(&[Fault::LoseAnswer]);
    assert_eq!(shop.buy(1, "k", 1).await.unwrap().state, PurchaseState::Pending);
    expect(&shop, &[(Step::Arrived, 1), (Step::Admitted, 1), (Step::Reserved, 1), (Step::ReservedUnits, 1)]);
    shop.stock.fail(&[Fault::LoseAnswer; 3]);
    assert_eq!(shop.buy(2, "k", 1).await, Err(Declined::OutcomeUnknown));
    shop.buy(2, "k", 1).await.unwrap();
    expect(&shop, &[(Step::Arrived, 2), (Step::Admitted, 2), (Step::OutcomeUnknown, 1), (Step::Repeated, 1)]);
}

/// Who hangs up is counted as the one who bought.
#[tokio::test]
async fn who_hangs_up_is_counted() {
    let shop = Arc::new(Shop::new(9));
    shop.stock.hold(true);
    let gone = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.buy(1, "k", 1).await }
    });
    while shop.stock.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    gone.abort();
    shop.stock.hold(false);
    while shop.log.records().is_empty() {
        tokio::task::yield_now().await;
    }
    expect(&shop, &[(Step::Arrived, 1), (Step::Admitted, 1), (Step::Reserved, 1), (Step::ReservedUnits, 1)]);
}

/// What was not acknowledged is told again under its number, byte for byte; what came meanwhile
/// waits for the next one. Nothing is told of an offer that nobody came to.
#[tokio::test]
async fn what_is_not_acknowledged_is_told_again_and_counts_once() {
    let shop = Shop::new(9);
    let (mut counting, log) = counting(&shop);
    counting.tell().await;
    assert!(log.records().is_empty(), "nothing was counted");
    shop.buy(1, "k", 1).await.unwrap();
    for mode in [LogMode::LoseAcknowledgement, LogMode::Lose] {
        log.mode(mode);
        counting.tell().await;
    }
    shop.buy(2, "k", 2).await.unwrap();
    log.mode(LogMode::Acknowledge);
    shop.clock.advance(Duration::from_secs(1));
    counting.tell().await;
    counting.tell().await;
    let told = told(&log);
    assert_eq!(told.len(), 3);
    assert_eq!(told[0], told[1], "the same record again");
    assert_eq!(told.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(told[1].second + 1, NOW_MS / 1_000);
    let units = |record: &EngineCounts| record.offers[0].counts.get(Step::ReservedUnits);
    assert_eq!((units(&told[1]), units(&told[2])), (1, 2));
    assert_eq!(shop.metrics.counts_unacknowledged.get(), 2);
    let records = log.records();
    assert_eq!(records[0].1.id, records[1].1.id);
    assert_ne!(records[0].1.id, records[2].1.id);
}

/// A new version of the sale goes on counting.
#[tokio::test]
async fn counts_outlive_a_new_version_of_their_sale() {
    let shop = Shop::new(9);
    shop.buy(1, "k", 1).await.unwrap();
    let mut newer = sale(1);
    newer.version = 2;
    shop.directory.take_in(vec![newer], NOW_MS);
    assert_eq!(taken(&shop).get(Step::Reserved), 1);
}

/// Many offers are told in several records, each with its own number.
#[tokio::test]
async fn many_offers_are_told_in_records_that_fit() {
    let shop = Shop::new(9);
    let (mut counting, log) = counting(&shop);
    let offers = OFFERS_MAX as u64 + 1;
    shop.directory
        .take_in((1..=offers).map(sale).map(|sale| domain::sale::Sale { version: 2, ..sale }).collect(), NOW_MS);
    for promotion in shop.directory.now().sales() {
        promotion.offers.iter().for_each(|offered| offered.counts.reserved(1));
    }
    counting.tell().await;
    let told = told(&log);
    assert_eq!(
        told.iter().map(|record| (record.sequence, record.offers.len())).collect::<Vec<_>>(),
        [(1, OFFERS_MAX), (2, 1)]
    );
}
