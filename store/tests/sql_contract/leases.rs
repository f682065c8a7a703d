//! Goal: no worker number has two holders, nor a new one too early. Method: rows are moved in time,
//! nobody sleeps.

use std::collections::HashSet;

use domain::id::SaleId;
use store::{
    ledger::{EngineNews, WORKER_REST_MS},
    sql::Sql,
};

use super::support::{Adapter, SqlOf, deployment};

const TTL_MS: u64 = 30_000;
/// Longer than any test takes.
const LONG_MS: u64 = 600_000;
/// A day, by which clocks are set wrong here.
const DAY_MS: u64 = 86_400_000;

pub(crate) async fn a_lease_is_prolonged_and_ended_by_its_holder_only<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let a = d.ledger.lease_worker("a", TTL_MS, 0).await.unwrap().unwrap();
    let b = d.ledger.lease_worker("b", TTL_MS, 0).await.unwrap().unwrap();
    assert_ne!(a.number, b.number);
    assert_eq!((a.live, b.live, a.ttl_ms), (1, 2, TTL_MS));
    let now = d.ledger.now_ms().await.unwrap();
    assert!(b.database_now_ms <= now && now - b.database_now_ms < 10_000, "{b:?} at {now}");

    let renewed = d.ledger.renew_worker(&a, 2 * TTL_MS, 0).await.unwrap().unwrap();
    assert_eq!((renewed.number, renewed.live, renewed.ttl_ms), (a.number, 2, 2 * TTL_MS));
    assert!(renewed.database_now_ms >= a.database_now_ms);
    let forged = store::ledger::WorkerLease { holder: "b".into(), ..a.clone() };
    assert_eq!(d.ledger.renew_worker(&forged, TTL_MS, 0).await.unwrap(), None);
    d.ledger.release_worker(&forged, 0).await.unwrap();

    d.ledger.release_worker(&a, 0).await.unwrap();
    d.ledger.release_worker(&a, 0).await.unwrap();
    assert_eq!(d.ledger.renew_worker(&a, TTL_MS, 0).await.unwrap(), None, "ended is lost");
    assert_eq!(d.ledger.renew_worker(&b, TTL_MS, 0).await.unwrap().unwrap().live, 1);
}

/// 256 engines at once get 256 numbers; the next one gets none, until a number has rested.
pub(crate) async fn numbers_run_out_and_come_back_after_a_rest<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let engines: Vec<_> = (0..256)
        .map(|n| {
            let ledger = d.ledger.clone();
            tokio::spawn(async move {
                // None may also mean that every free number was just being leased.
                loop {
                    if let Some(lease) = ledger.lease_worker(&format!("engine {n}"), LONG_MS, 0).await.unwrap() {
                        return lease.number;
                    }
                }
            })
        })
        .collect();
    let mut numbers = HashSet::new();
    for engine in engines {
        assert!(numbers.insert(engine.await.unwrap()), "leased twice");
    }
    assert_eq!(d.ledger.lease_worker("late", LONG_MS, 0).await.unwrap(), None);

    let hand = d.space.hand(&d.space.ledger());
    let ended = async |ago: u64| {
        let now = SqlOf::<A>::NOW_MS;
        let end = format!("UPDATE workers SET ends_at = {now} - {ago} WHERE number = 77");
        assert_eq!(hand.exec(&end, vec![]).await.unwrap(), 1);
    };
    ended(WORKER_REST_MS - 5_000).await;
    assert_eq!(d.ledger.lease_worker("late", LONG_MS, 0).await.unwrap(), None, "rests");
    ended(WORKER_REST_MS).await;
    let lease = d.ledger.lease_worker("late", LONG_MS, 0).await.unwrap().unwrap();
    assert_eq!((lease.number, lease.live), (77, 256));
    hand.close().await;
}

/// Failure line 30: a number whose ids ran ahead of the clock is given to nobody before the clock
/// has passed them, although its lease ended long ago. Its holder prolongs and releases it as ever.
pub(crate) async fn a_number_rests_until_its_ids_are_past<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let now = d.ledger.now_ms().await.unwrap();
    let held = d.ledger.lease_worker("ahead", TTL_MS, now + DAY_MS).await.unwrap().unwrap();
    let held = d.ledger.renew_worker(&held, TTL_MS, now + DAY_MS).await.unwrap().unwrap();
    d.ledger.release_worker(&held, now + DAY_MS).await.unwrap();
    let hand = d.space.hand(&d.space.ledger());
    let set = async |change: &str| {
        assert_eq!(hand.exec(&format!("UPDATE workers SET {change} WHERE number = 0"), vec![]).await.unwrap(), 1);
    };
    set(&format!("ends_at = {} - {WORKER_REST_MS}", SqlOf::<A>::NOW_MS)).await;
    assert_eq!(d.ledger.lease_worker("next", TTL_MS, 0).await.unwrap().unwrap().number, 1, "0 has ids of tomorrow");
    set(&format!("ids_until = {} - {WORKER_REST_MS}", SqlOf::<A>::NOW_MS)).await;
    assert_eq!(d.ledger.lease_worker("later", TTL_MS, 0).await.unwrap().unwrap().number, 0, "they are past");
    hand.close().await;
}

/// After a clock was set back, leases of the time before lie far ahead: they are no engines, and
/// take no share of the rates.
pub(crate) async fn a_lease_from_a_clock_that_was_ahead_is_no_live_engine<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let gone = d.ledger.lease_worker("gone", TTL_MS, 0).await.unwrap().unwrap();
    let hand = d.space.hand(&d.space.ledger());
    let ahead = format!("UPDATE workers SET ends_at = ends_at + {DAY_MS} WHERE number = {}", gone.number);
    assert_eq!(hand.exec(&ahead, vec![]).await.unwrap(), 1);
    let next = d.ledger.lease_worker("next", TTL_MS, 0).await.unwrap().unwrap();
    assert_eq!((next.number, next.live), (1, 1));
    let renewed = d.ledger.renew_worker(&gone, TTL_MS, 0).await.unwrap().unwrap();
    assert_eq!(renewed.live, 2, "one that prolongs is there");
    hand.close().await;
}

/// What an engine tells is kept under its number for as long as it holds it; whoever has the number
/// next begins anew, and whoever lost it changes nothing.
pub(crate) async fn what_an_engine_tells_holds_while_it_holds_its_number<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let (winter, spring) = (SaleId::new(1).unwrap(), SaleId::new(2).unwrap());
    let lease = d.ledger.lease_worker("first", TTL_MS, 0).await.unwrap().unwrap();
    let (now, first) = (d.ledger.now_ms().await.unwrap(), (lease.number, "first"));
    let news =
        |clock_ms, is_whole, sales: &[(SaleId, Option<u32>)]| EngineNews { clock_ms, is_whole, sales: sales.to_vec() };
    let versions =
        async |sale| d.ledger.engines(sale).await.unwrap().iter().map(|seen| seen.version).collect::<Vec<_>>();
    let seen = d.ledger.engines(winter).await.unwrap();
    assert_eq!((seen.len(), seen[0].silent_ms, seen[0].version), (1, None, None), "it told nothing yet");

    assert!(d.ledger.tell_engine(first, &news(now, true, &[(winter, Some(3)), (spring, Some(1))])).await.unwrap());
    let seen = d.ledger.engines(winter).await.unwrap()[0];
    assert_eq!((seen.number, seen.version), (lease.number, Some(3)));
    assert!(seen.silent_ms.unwrap() < 10_000 && seen.skew_ms < 10_000, "{seen:?}");
    assert!(d.ledger.tell_engine(first, &news(now + DAY_MS, false, &[])).await.unwrap());
    assert!(d.ledger.engines(winter).await.unwrap()[0].skew_ms > DAY_MS / 2, "its clock is off");
    assert!(d.ledger.tell_engine(first, &news(now, false, &[(winter, Some(4)), (spring, None)])).await.unwrap());
    assert_eq!((versions(winter).await, versions(spring).await), (vec![Some(4)], vec![None]));

    let hand = d.space.hand(&d.space.ledger());
    let set = async |change: &str| hand.exec(&format!("UPDATE workers SET {change} WHERE number = 0"), vec![]).await;
    set("ends_at = 0, ids_until = 0").await.unwrap();
    assert!(!d.ledger.tell_engine(first, &news(now, true, &[(spring, Some(9))])).await.unwrap(), "it is lost");
    assert_eq!(versions(winter).await, [], "an engine whose lease ended is none");
    let next = d.ledger.lease_worker("next", TTL_MS, 0).await.unwrap().unwrap();
    assert_eq!(next.number, lease.number);
    for is_whole in [false, true] {
        assert!(!d.ledger.tell_engine(first, &news(now, is_whole, &[(spring, Some(9))])).await.unwrap());
    }
    assert!(d.ledger.tell_engine((next.number, "next"), &news(now, true, &[(spring, Some(2))])).await.unwrap());
    assert_eq!((versions(winter).await, versions(spring).await), (vec![None], vec![Some(2)]));
    hand.close().await;
}
