//! Reconciliation: what differs is listed, in pieces that survive a restart, once a night by
//! itself.

use std::time::Duration;

use catalog::stock::keep;
use serde_json::{Value, json};
use store::sql::Sql as _;

use super::{
    rig::Rig,
    stock::{Promise, Shop},
};

#[tokio::test]
async fn every_figure_that_differs_from_its_parts_is_found() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    assert_eq!(shop.get("/v1/stock/reconciliation").await.expect(200)["run"], Value::Null);
    shop.batch("POT", "B", "2027-01-01T00:00:00Z").await;
    shop.moves(&[json!({ "kind": "receive", "sku": "POT", "units": 9, "batch": "B" })]).await.expect(200);
    shop.promise(Promise::Allocate, "a", 4).await.unwrap();
    shop.promise(Promise::Accept, "b", 1).await.unwrap();
    let sound = shop.reconcile().await;
    assert_eq!((&sound["run"]["checked"], &sound["items"]), (&json!(1), &json!([])));
    for column in ["on_hand", "allotted", "unshipped", "placed"] {
        rig.db.exec(&format!("UPDATE inventory_levels SET {column} = {column} + 1"), vec![]).await.unwrap();
    }
    let found = shop.reconcile().await;
    let differing: Vec<_> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            (finding["what"].as_str().unwrap(), finding["level"].as_i64().unwrap(), finding["sum"].as_i64().unwrap())
        })
        .collect();
    let expected =
        [("on_hand", 10, 9), ("allotted", 4, 3), ("unshipped", 2, 1), ("placed", 10, 9), ("allotments", 4, 3)];
    assert_eq!(differing, expected);
    assert_eq!((&found["run"]["found"], &found["items"][0]["sku"]), (&json!(5), &json!("POT")));
    let other = Shop::new(&rig, 8);
    other.get("/v1/stock/reconciliation?run=1").await.refused(404, "not_found");
    assert_eq!(other.get("/v1/stock/reconciliation").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_run_that_is_under_way_is_the_run_also_for_the_next_who_asks_and_after_a_restart() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let first = {
        let shop = Shop::open(&rig, &["POT"]).await;
        shop.receive("POT", 9).await;
        let first = shop.post("/v1/stock/reconciliation", &json!({})).await.expect(202);
        assert_eq!(shop.post("/v1/stock/reconciliation", &json!({})).await.expect(202), first);
        first
    };
    let rig = rig.restart().await;
    let shop = Shop::new(&rig, 7);
    let shown = shop.get("/v1/stock/reconciliation").await.expect(200);
    assert_eq!((&shown["run"], &shown["run"]["state"]), (&first, &json!("running")));
    assert_eq!(shop.until_done("/v1/stock/reconciliation").await["run"]["checked"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_night_one_run_begins_by_itself_whoever_looks() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.receive("POT", 9).await;
    let nights = async || {
        let (one, other) = tokio::join!(keep(&rig.catalog), keep(&rig.catalog));
        // One of the two may have met the other's lock; the next look goes on.
        drop((one, other));
        let shown = shop.until_done("/v1/stock/reconciliation").await;
        assert_eq!(shown["run"]["started_by"], "nightly");
        shown["run"]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!((nights().await, nights().await), ("1".to_owned(), "1".to_owned()));
    rig.clock.advance(Duration::from_secs(18 * 3600));
    assert_eq!(nights().await, "1", "it is 18:00 UTC");
    rig.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!((nights().await, nights().await), ("2".to_owned(), "2".to_owned()));
}

#[tokio::test]
async fn what_expired_makes_a_level_low_at_night() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.batch("POT", "B", "2026-11-12T00:00:00Z").await;
    shop.moves(&[json!({ "kind": "receive", "sku": "POT", "units": 9, "batch": "B" })]).await.expect(200);
    shop.putting("/v1/stock/1/1/threshold", &json!({ "threshold": 5 })).send().await.expect(200);
    shop.reconcile().await;
    assert!(shop.all("/v1/stock/events").await.is_empty());
    rig.clock.advance(Duration::from_secs(24 * 3600));
    shop.reconcile().await;
    shop.reconcile().await;
    assert_eq!(shop.all("/v1/stock/events").await.len(), 1);
    assert_eq!(shop.figures(1).await, [9, 0, 0, 0]);
}

#[tokio::test]
async fn a_large_stock_is_compared_in_pieces() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let codes: Vec<String> = (1..=450).map(|number| format!("SKU-{number:03}")).collect();
    let shop = Shop::open(&rig, &codes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let lines: Vec<Value> =
        codes.iter().map(|code| json!({ "sku": code, "warehouse": "MAIN", "on_hand": 2, "version": 1 })).collect();
    let taken = shop.post("/v1/stock/feed", &json!({ "source": "erp", "lines": lines })).await.expect(200);
    assert_eq!(taken["applied"], 450);
    rig.db.exec("UPDATE inventory_levels SET on_hand = 3 WHERE sku > 330", vec![]).await.unwrap();
    let found = shop.reconcile().await;
    assert_eq!((&found["run"]["checked"], &found["run"]["found"]), (&json!(450), &json!(120)));
    let path = "/v1/stock/reconciliation?limit=100";
    assert_eq!(shop.all(path).await.len(), 120);
}
