//! Goal: no worker number has two holders, nor a new one too early. Method: rows are moved in time, nobody sleeps.

use std::collections::HashSet;

use store::{ledger::WORKER_REST_MS, sql::Sql};

use super::support::{Adapter, SqlOf, deployment};

const TTL_MS: u64 = 30_000;

pub(crate) async fn a_lease_is_prolonged_and_ended_by_its_holder_only<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let a = d.ledger.lease_worker("a", TTL_MS).await.unwrap().unwrap();
    let b = d.ledger.lease_worker("b", TTL_MS).await.unwrap().unwrap();
    assert_ne!(a.number, b.number);
    assert_eq!((a.live, b.live, a.ttl_ms), (1, 2, TTL_MS));
    let now = d.ledger.now_ms().await.unwrap();
    assert!(b.database_now_ms <= now && now - b.database_now_ms < 10_000, "{b:?} at {now}");

    let renewed = d.ledger.renew_worker(&a, 2 * TTL_MS).await.unwrap().unwrap();
    assert_eq!((renewed.number, renewed.live, renewed.ttl_ms), (a.number, 2, 2 * TTL_MS));
    assert!(renewed.database_now_ms >= a.database_now_ms);
    let forged = store::ledger::WorkerLease { holder: "b".into(), ..a.clone() };
    assert_eq!(d.ledger.renew_worker(&forged, TTL_MS).await.unwrap(), None);
    d.ledger.release_worker(&forged).await.unwrap();

    d.ledger.release_worker(&a).await.unwrap();
    d.ledger.release_worker(&a).await.unwrap();
    assert_eq!(d.ledger.renew_worker(&a, TTL_MS).await.unwrap(), None, "ended is lost");
    assert_eq!(d.ledger.renew_worker(&b, TTL_MS).await.unwrap().unwrap().live, 1);
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
                    if let Some(lease) = ledger.lease_worker(&format!("engine {n}"), 600_000).await.unwrap() {
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
    assert_eq!(d.ledger.lease_worker("late", TTL_MS).await.unwrap(), None);

    let hand = d.space.hand(&d.space.ledger());
    let ended = async |ago: u64| {
        let now = SqlOf::<A>::NOW_MS;
        let end = format!("UPDATE workers SET ends_at = {now} - {ago} WHERE number = 77");
        assert_eq!(hand.exec(&end, vec![]).await.unwrap(), 1);
    };
    ended(WORKER_REST_MS - 5_000).await;
    assert_eq!(d.ledger.lease_worker("late", TTL_MS).await.unwrap(), None, "rests");
    ended(WORKER_REST_MS).await;
    let lease = d.ledger.lease_worker("late", TTL_MS).await.unwrap().unwrap();
    assert_eq!((lease.number, lease.live), (77, 256));
    hand.close().await;
}
