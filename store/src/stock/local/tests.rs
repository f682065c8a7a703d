//! What the ports do not show; their contract is in `store/tests/stock.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::stock::{LaneLoad, LaneMode};

use super::*;
use crate::stock::LoadAtOnce;

fn lane(number: u64) -> LaneId {
    LaneId::new(number).unwrap()
}

fn call(number: u64) -> ReserveCall {
    let batch = BatchId::new(1).unwrap();
    ReserveCall { lane: lane(number), epoch: Epoch(1), batch, now_ms: 0, sweep_after_ms: 1, journal_max: 9 }
}

/// Lane 1, open and empty.
async fn opened() -> (LocalStock, LocalKeeping) {
    let stock = LocalStock::new(RunId(1));
    let keeping = stock.keeping();
    let load = LaneLoad { limit_per_buyer: 1, offers: Vec::new(), purchases: Vec::new() };
    assert_eq!(keeping.close(lane(1), Epoch(1)).await.unwrap(), CloseAnswer::Closed);
    assert_eq!(keeping.load(lane(1), Epoch(1), &load).await.unwrap(), LoadAnswer::Loaded);
    (stock, keeping)
}

/// Callers name lanes as they like: only a keeper's close makes one.
#[tokio::test]
async fn calls_of_missing_lanes_keep_nothing() {
    let (stock, keeping) = opened().await;
    for number in 2..100 {
        stock.reserve(call(number), &[]).await.unwrap();
        stock.find(lane(number), BuyerId::new(1).unwrap()).await.unwrap();
        stock.claim(lane(number), 9, 9, 9).await.unwrap();
        keeping.settle(lane(number), Epoch(1), &[], &[]).await.unwrap();
        keeping.inspect(lane(number)).await.unwrap();
    }
    assert_eq!(stock.lanes.kept.read().unwrap().len(), 1);
    assert_eq!((stock.calls()().answered, keeping.calls().answered), (3 * 98, 4 + 2 * 98), "each port counts its own");
}

/// A lane of which nobody knows how far a call came is a lost one: closed, and free to be rebuilt.
#[tokio::test]
async fn a_panic_in_a_lane_loses_that_lane_alone() {
    let (stock, keeping) = opened().await;
    keeping.close(lane(2), Epoch(1)).await.unwrap();
    let panics = || stock.lanes.ask(lane(1), |_, _| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(keeping.inspect(lane(1)).await.unwrap().mode, LaneMode::Missing);
    assert_eq!(keeping.inspect(lane(2)).await.unwrap().mode, LaneMode::Closed { marker: Epoch(1) });
    assert_eq!(keeping.close(lane(1), Epoch(2)).await.unwrap(), CloseAnswer::Closed);
}

/// R14: a retired lane takes no room, and who still holds it finds it missing.
#[tokio::test]
async fn r14_a_retired_lane_leaves_the_map() {
    let (stock, keeping) = opened().await;
    let held = Arc::clone(&stock.lanes.kept.read().unwrap()[&lane(1)]);
    assert_eq!(keeping.retire(lane(1), Epoch(1)).await.unwrap(), RetireAnswer::Refused, "open");
    assert_eq!(keeping.close(lane(1), Epoch(2)).await.unwrap(), CloseAnswer::Closed);
    assert_eq!(keeping.retire(lane(1), Epoch(2)).await.unwrap(), RetireAnswer::Gone);
    assert!(stock.lanes.kept.read().unwrap().is_empty());
    assert_eq!(held.lock().unwrap().machine, LaneMachine::default());
}
