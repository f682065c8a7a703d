//! Movements: all lines or none, once however often they come, and their sum is the level, whoever
//! moves at the same time.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    rig::Rig,
    stock::{Promise, Shop},
};

#[tokio::test]
async fn all_lines_are_done_or_none_and_every_wrong_one_is_named() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT", "PAN"]).await;
    shop.receive("POT", 5).await;
    shop.promise(Promise::Allocate, "a", 3).await.unwrap();
    let adjust = |sku: &str, units: i64| json!({ "kind": "adjust", "sku": sku, "units": units, "reason": "count" });
    let refused = shop.moves(&[adjust("POT", 1), adjust("POT", -4), adjust("PAN", -1), adjust("POT", -9)]).await;
    let problem = refused.refused(409, "conflict");
    assert_eq!(refused.wrong_fields(), ["lines[1].units", "lines[2].units", "lines[3].units"]);
    let messages: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["message"].as_str().unwrap()).collect();
    assert!(messages[0].contains("only 3 are available") && messages[1].contains("only 0 lie there"), "{messages:?}");
    assert_eq!(shop.figures(1).await, [5, 3, 0, 2]);
    shop.get("/v1/stock/2/1").await.refused(404, "not_found");
    let ship = json!({ "kind": "ship", "sku": "POT", "units": 1 });
    shop.moves(&[ship]).await.refused(409, "conflict");
}

#[tokio::test]
async fn what_does_not_go_together_or_does_not_exist_is_named_at_once() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let lines = json!([
        { "kind": "receive", "sku": "POT", "warehouse": "MAIN", "units": 0 },
        { "kind": "ship", "sku": "POT", "warehouse": "MAIN", "units": -1, "to_bin": "A" },
        { "kind": "adjust", "sku": "POT", "warehouse": "MAIN", "units": -1 },
        { "kind": "transfer", "sku": "POT", "warehouse": "MAIN", "units": 1 },
    ]);
    let refused = shop.post("/v1/stock/movements", &json!({ "lines": lines })).await;
    refused.refused(400, "invalid_request");
    let expected = ["lines[0].units", "lines[1].to_bin", "lines[1].units", "lines[2].reason", "lines[3].to_warehouse"];
    assert_eq!(refused.wrong_fields(), expected);
    let lines = json!([
        { "kind": "receive", "sku": "CUP", "warehouse": "NONE", "units": 1 },
        { "kind": "receive", "sku": "POT", "warehouse": "MAIN", "units": 1, "bin": "X", "batch": "Y" },
        { "kind": "transfer", "sku": "POT", "warehouse": "MAIN", "units": 1, "to_warehouse": "NONE" },
    ]);
    let refused = shop.post("/v1/stock/movements", &json!({ "lines": lines })).await;
    refused.refused(400, "invalid_request");
    let expected = ["lines[0].sku", "lines[0].warehouse", "lines[1].batch", "lines[1].bin", "lines[2].to_warehouse"];
    assert_eq!(refused.wrong_fields(), expected);
    let line = json!({ "kind": "receive", "sku": "POT", "warehouse": "MAIN", "units": 1 });
    for count in [0, 101] {
        let refused = shop.post("/v1/stock/movements", &json!({ "lines": vec![&line; count] })).await;
        refused.refused(400, "invalid_request");
    }
    let wrong =
        json!({ "lines": [{ "kind": "allocate", "sku": "POT", "warehouse": "MAIN", "units": 1, "tenant": 8 }] });
    let refused = shop.post("/v1/stock/movements", &wrong).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["lines[0].kind", "lines[0].tenant"]);
    assert!(shop.all("/v1/stock/movements").await.is_empty());
}

#[tokio::test]
async fn a_repeated_call_moves_once_also_after_a_restart() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let body = json!({ "lines": [{ "kind": "receive", "sku": "POT", "warehouse": "MAIN", "units": 3 }] });
    let first = {
        let shop = Shop::open(&rig, &["POT"]).await;
        shop.keyed("/v1/stock/movements", "same").json(&body).send().await.expect(200)
    };
    let rig = rig.restart().await;
    let shop = Shop::new(&rig, 7);
    assert_eq!(shop.keyed("/v1/stock/movements", "same").json(&body).send().await.expect(200), first);
    assert_eq!(shop.figures(1).await[0], 3);
    let more = json!({ "lines": [{ "kind": "receive", "sku": "POT", "warehouse": "MAIN", "units": 4 }] });
    let other = shop.keyed("/v1/stock/movements", "same").json(&more).send().await;
    other.refused(422, "idempotency_mismatch");
}

#[tokio::test]
async fn the_ledger_says_who_moved_what_and_what_was_there_after_it() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT", "PAN"]).await;
    shop.receive("PAN", 1).await;
    let line = json!({ "kind": "receive", "sku": "POT", "units": 5, "reference": "PO-1", "reason": "first" });
    shop.moves(&[line]).await.expect(200);
    shop.moves(&[json!({ "kind": "return", "sku": "POT", "units": 2 })]).await.expect(200);
    let ledger = shop.all("/v1/stock/movements?limit=1").await;
    let ids: Vec<_> = ledger.iter().map(|movement| movement["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["3", "2", "1"]);
    let of_pot = shop.all("/v1/stock/movements?sku=POT&warehouse=MAIN").await;
    assert_eq!(of_pot, ledger[..2]);
    let expected = json!({
        "id": "2", "kind": "receive", "sku_id": "1", "sku": "POT", "warehouse_id": "1", "warehouse": "MAIN",
        "on_hand_change": 5, "allotted_change": 0, "unshipped_change": 0, "on_hand": 5, "allotted": 0, "unshipped": 0,
        "reference": "PO-1", "reason": "first", "actor": "operator", "at": "2026-11-11T00:00:00.000Z",
    });
    assert_eq!(ledger[1], expected);
    assert_eq!((&ledger[0]["on_hand_change"], &ledger[0]["on_hand"]), (&json!(2), &json!(7)));
}

#[tokio::test]
async fn a_transfer_arrives_where_it_goes_or_nothing_moves() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let zone = shop.place("1", &json!({ "kind": "zone", "code": "A" })).await;
    shop.place("1", &json!({ "kind": "bin", "code": "A-1", "zone_id": zone })).await;
    let side = shop.warehouse("SIDE").await;
    shop.batch("POT", "B", "2027-01-01T00:00:00Z").await;
    let transfer = |units: i64, more: Value| {
        let mut line = json!({ "kind": "transfer", "sku": "POT", "units": units, "batch": "B" });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    shop.moves(&[json!({ "kind": "receive", "sku": "POT", "units": 5, "batch": "B" })]).await.expect(200);
    shop.moves(&[transfer(4, json!({ "to_bin": "A-1" }))]).await.expect(200);
    let moved = shop.moves(&[transfer(3, json!({ "bin": "A-1", "to_warehouse": "SIDE" }))]).await.expect(200);
    assert_eq!(moved["movements"].as_array().unwrap().len(), 2);
    let positions = shop.level(1).await["positions"].clone();
    let lying =
        |at: usize| (positions[at]["bin"].clone(), positions[at]["batch"].clone(), positions[at]["units"].clone());
    assert_eq!([lying(0), lying(1)], [(Value::Null, json!("B"), json!(1)), (json!("A-1"), json!("B"), json!(1))]);
    let there = shop.get(&format!("/v1/stock/1/{side}")).await.expect(200);
    assert_eq!((&there["on_hand"], &there["positions"][0]["batch"]), (&json!(3), &json!("B")));
    let refused = shop.moves(&[transfer(2, json!({ "bin": "A-1", "to_warehouse": "SIDE" }))]).await;
    refused.refused(409, "conflict");
    shop.promise(Promise::Allocate, "a", 2).await.unwrap();
    shop.moves(&[transfer(1, json!({ "to_warehouse": "SIDE" }))]).await.refused(409, "conflict");
    shop.moves(&[transfer(1, json!({ "to_bin": "A-1" }))]).await.expect(200);
    assert_eq!(shop.figures(1).await, [2, 2, 0, 0]);
}

/// A line that may or may not be possible.
fn any_line(random: &mut StdRng) -> Value {
    let (sku, warehouse) = (["POT", "PAN"][random.random_range(0..2)], ["MAIN", "SIDE"][random.random_range(0..2)]);
    let (units, kind) = (random.random_range(1..9), random.random_range(0..6));
    let mut line = json!({ "sku": sku, "warehouse": warehouse, "units": units, "kind": "receive" });
    match kind {
        0 | 1 => line["batch"] = json!("B"),
        2 => {
            line["kind"] = json!("adjust");
            line["units"] = json!(-units);
            line["reason"] = json!("count");
        }
        3 => {
            line["kind"] = json!("transfer");
            line["to_warehouse"] = json!(if warehouse == "MAIN" { "SIDE" } else { "MAIN" });
            line["batch"] = json!("B");
        }
        _ => {}
    }
    line
}

async fn walk(shop: &Shop<'_>, seed: u64, steps: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    for step in 0..steps {
        let lines: Vec<Value> = (0..random.random_range(1..4)).map(|_| any_line(&mut random)).collect();
        if random.random_range(0..3) == 0 {
            let level = shop.level(1).await;
            let on_hand = random.random_range(0..40);
            let expected = level["version"].as_i64().unwrap();
            let body = json!({ "sku": "POT", "warehouse": "MAIN", "on_hand": on_hand, "expected_version": expected });
            let answer = shop.post("/v1/stock/set", &body).await;
            assert!([200, 409, 412].contains(&answer.status.as_u16()), "seed {seed}, step {step}: {answer:?}");
        }
        let answer =
            shop.keyed("/v1/stock/movements", &format!("{seed}-{step}")).json(&json!({ "lines": lines })).send().await;
        assert!([200, 409].contains(&answer.status.as_u16()), "seed {seed}, step {step}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_two_random_walks_at_once_the_sum_of_the_movements_is_the_level() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT", "PAN"]).await;
    shop.warehouse("SIDE").await;
    for sku in ["POT", "PAN"] {
        shop.batch(sku, "B", "2027-01-01T00:00:00Z").await;
    }
    shop.receive("POT", 20).await;
    let seed = rand::random();
    tokio::join!(walk(&shop, seed, 25), walk(&shop, seed + 1, 25));
    let movements = shop.all("/v1/stock/movements?limit=100").await;
    assert!(movements.len() > 10, "seed {seed}");
    let numbers: Vec<usize> =
        movements.iter().map(|movement| movement["id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=movements.len()).rev().collect::<Vec<_>>(), "seed {seed}: no gap");
    for level in shop.all("/v1/stock").await {
        let of_level = movements.iter().filter(|movement| {
            (&movement["sku_id"], &movement["warehouse_id"]) == (&level["sku_id"], &level["warehouse_id"])
        });
        let of_level: Vec<&Value> = of_level.collect();
        let sum: i64 = of_level.iter().map(|movement| movement["on_hand_change"].as_i64().unwrap()).sum();
        assert_eq!(json!(sum), level["on_hand"], "seed {seed}: {level}");
        assert_eq!(of_level[0]["on_hand"], level["on_hand"], "seed {seed}: {level}");
        assert!(sum >= 0, "seed {seed}: {level}");
    }
    // What bins, batches and offers say agrees too.
    assert_eq!(shop.reconcile().await["items"], json!([]), "seed {seed}");
}
