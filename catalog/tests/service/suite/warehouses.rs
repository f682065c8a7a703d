//! Warehouses, their zones and bins: codes of their own, changes by version, and nothing removed in
//! which stock lies.

use serde_json::{Value, json};

use super::{rig::Rig, stock::Shop};

#[tokio::test]
async fn a_warehouse_is_made_once_and_changed_in_the_version_that_was_read() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::new(&rig, 7);
    let body = json!({ "code": "SH-1", "name": "上海" });
    let ask = || shop.keyed("/v1/warehouses", "same").json(&body).send();
    let (made, again) = (ask().await.expect(201), ask().await.expect(201));
    assert_eq!(made, again);
    shop.post("/v1/warehouses", &body).await.refused(409, "conflict");
    let other = json!({ "code": "SH-2", "name": "x" });
    shop.keyed("/v1/warehouses", "same").json(&other).send().await.refused(422, "idempotency_mismatch");
    let path = format!("/v1/warehouses/{}", made["id"].as_str().unwrap());
    let change = |name: &str| shop.patching(&path, &json!({ "name": name })).header("if-match", "\"1\"");
    let changed = change("浦东").send().await.expect(200);
    assert_eq!((&changed["name"], &changed["version"]), (&json!("浦东"), &json!(2)));
    let stale = change("浦西").send().await.refused(412, "precondition_failed");
    assert_eq!(stale["current"], changed);
    assert_eq!(shop.all("/v1/warehouses").await, [changed]);
    shop.delete(&path).await.expect(204);
    shop.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn every_wrong_member_is_named_and_nothing_is_made() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::new(&rig, 7);
    let bad = json!({ "code": "a b", "name": "", "tenant": 8, "state": "closed" });
    let refused = shop.post("/v1/warehouses", &bad).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["code", "name", "state", "tenant"]);
    assert!(shop.all("/v1/warehouses").await.is_empty());
}

#[tokio::test]
async fn zones_and_bins_have_codes_of_their_own_and_keep_what_lies_in_them() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let zone = shop.place("1", &json!({ "kind": "zone", "code": "A" })).await;
    let bin = shop.place("1", &json!({ "kind": "bin", "code": "A", "zone_id": zone })).await;
    let again = json!({ "kind": "bin", "code": "A", "zone_id": zone });
    shop.post("/v1/warehouses/1/places", &again).await.refused(409, "conflict");
    for wrong in [json!({ "kind": "bin", "code": "B" }), json!({ "kind": "zone", "code": "B", "zone_id": zone })] {
        let refused = shop.post("/v1/warehouses/1/places", &wrong).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.wrong_fields(), ["zone_id"]);
    }
    let nested = json!({ "kind": "bin", "code": "B", "zone_id": bin });
    shop.post("/v1/warehouses/1/places", &nested).await.refused(400, "invalid_request");
    let second = shop.warehouse("SIDE").await;
    let elsewhere = json!({ "kind": "bin", "code": "B", "zone_id": zone });
    shop.post(&format!("/v1/warehouses/{second}/places"), &elsewhere).await.refused(400, "invalid_request");
    shop.get(&format!("/v1/warehouses/{second}/places/{bin}")).await.refused(404, "not_found");
    shop.moves(&[json!({ "kind": "receive", "sku": "POT", "units": 2, "bin": "A" })]).await.expect(200);
    let bin = format!("/v1/warehouses/1/places/{bin}");
    let zone = format!("/v1/warehouses/1/places/{zone}");
    shop.delete(&bin).await.refused(409, "conflict");
    shop.delete(&zone).await.refused(409, "conflict");
    let renamed = shop.patching(&bin, &json!({ "code": "A-1" })).header("if-match", "\"1\"").send().await.expect(200);
    assert_eq!(shop.level(1).await["positions"][0]["bin"], renamed["code"]);
    shop.patching(&bin, &json!({ "code": "A-2" }))
        .header("if-match", "\"1\"")
        .send()
        .await
        .refused(412, "precondition_failed");
    let out = json!({ "kind": "adjust", "sku": "POT", "units": -2, "bin": "A-1", "reason": "broken" });
    shop.moves(&[out]).await.expect(200);
    shop.delete(&bin).await.expect(204);
    shop.delete(&zone).await.expect(204);
}

#[tokio::test]
async fn a_warehouse_that_held_stock_is_closed_and_not_removed() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.receive("POT", 2).await;
    shop.delete("/v1/warehouses/1").await.refused(409, "conflict");
    shop.patching("/v1/warehouses/1", &json!({ "state": "closed" })).send().await.expect(200);
    let refused = shop.moves(&[json!({ "kind": "receive", "sku": "POT", "units": 1 })]).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["lines[0].warehouse"]);
    let out = json!({ "kind": "adjust", "sku": "POT", "units": -2, "reason": "sold off" });
    shop.moves(&[out]).await.expect(200);
    shop.delete("/v1/warehouses/1").await.refused(409, "conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warehouse_is_not_removed_while_its_first_stock_comes() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    for round in 0..5 {
        let code = format!("SIDE-{round}");
        let warehouse = shop.warehouse(&code).await;
        let path = format!("/v1/warehouses/{warehouse}");
        let lines = [json!({ "kind": "receive", "sku": "POT", "warehouse": code, "units": 1 })];
        let (removed, moved) = tokio::join!(shop.delete(&path), shop.moves(&lines));
        let stands = shop.get(&path).await.status == 200;
        assert_eq!((stands, moved.status == 200), (removed.status != 204, removed.status != 204), "{moved:?}");
    }
}

#[tokio::test]
async fn another_tenants_warehouse_is_not_there() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let zone = shop.place("1", &json!({ "kind": "zone", "code": "A" })).await;
    let other = Shop::new(&rig, 8);
    let place = format!("/v1/warehouses/1/places/{zone}");
    for path in ["/v1/warehouses/1", "/v1/warehouses/1/places", &place] {
        other.get(path).await.refused(404, "not_found");
    }
    for path in ["/v1/warehouses/1", &place] {
        other.delete(path).await.refused(404, "not_found");
        other.patching(path, &json!({})).send().await.refused(404, "not_found");
    }
    let body = json!({ "kind": "zone", "code": "B" });
    other.post("/v1/warehouses/1/places", &body).await.refused(404, "not_found");
    assert!(other.all("/v1/warehouses").await.is_empty());
    assert_eq!(other.warehouse("MAIN").await, "2", "codes are of each tenant");
    assert_eq!(shop.all("/v1/warehouses/1/places").await.len(), 1);
}

#[tokio::test]
async fn a_batch_is_of_one_sku_and_its_expiry_changes_in_the_version_that_was_read() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT", "PAN"]).await;
    let batch = |sku: &str| json!({ "sku": sku, "code": "B-1", "expires_at": "2026-12-01T08:00:00+08:00" });
    let made = shop.post("/v1/batches", &batch("POT")).await.expect(201);
    assert_eq!(made["expires_at"], "2026-12-01T00:00:00.000Z");
    shop.post("/v1/batches", &batch("POT")).await.refused(409, "conflict");
    shop.post("/v1/batches", &batch("PAN")).await.expect(201);
    assert_eq!(shop.all("/v1/batches?sku=POT").await, [made.clone()]);
    for (member, wrong) in [("expires_at", json!("soon")), ("sku", json!("NONE")), ("code", json!("a b"))] {
        let mut body = batch("POT");
        body[member] = wrong;
        let refused = shop.post("/v1/batches", &body).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.wrong_fields(), [member]);
    }
    let path = format!("/v1/batches/{}", made["id"].as_str().unwrap());
    let change =
        |expires_at: Value| shop.patching(&path, &json!({ "expires_at": expires_at })).header("if-match", "\"1\"");
    assert_eq!(change(made["expires_at"].clone()).send().await.expect(200), made, "nothing changes");
    assert_eq!(change(Value::Null).send().await.expect(200)["version"], 2);
    let stale = change(json!("2027-01-01T00:00:00Z")).send().await.refused(412, "precondition_failed");
    assert_eq!(stale["current"]["version"], 2);
    Shop::new(&rig, 8).patching(&path, &json!({ "expires_at": null })).send().await.refused(404, "not_found");
    let wrong = shop.moves(&[json!({ "kind": "receive", "sku": "PAN", "units": 1, "batch": "B-2" })]).await;
    wrong.refused(400, "invalid_request");
    assert_eq!(wrong.wrong_fields(), ["lines[0].batch"]);
}

#[tokio::test]
async fn every_change_of_stock_is_in_the_audit_log_once() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.receive("POT", 5).await;
    let set = json!({ "sku": "POT", "warehouse": "MAIN", "on_hand": 4, "expected_on_hand": 5 });
    for _ in 0..2 {
        shop.keyed("/v1/stock/set", "same").json(&set).send().await.expect(200);
    }
    let feed = json!({ "source": "erp", "lines": [{ "sku": "POT", "warehouse": "MAIN", "on_hand": 3, "version": 1 }] });
    for key in ["a", "b"] {
        shop.keyed("/v1/stock/feed", key).json(&feed).send().await.expect(200);
    }
    for _ in 0..2 {
        shop.putting("/v1/stock/1/1/threshold", &json!({ "threshold": 5 })).send().await.expect(200);
        shop.patching("/v1/warehouses/1", &json!({ "name": "Main" })).send().await.expect(200);
    }
    let mut actions: Vec<String> =
        shop.all("/v1/audit").await.iter().map(|entry| entry["action"].to_string()).collect();
    actions.sort();
    let expected = ["stock.feed", "stock.move", "stock.set", "stock.threshold", "warehouse.change", "warehouse.create"];
    assert_eq!(actions, expected.map(|action| format!("\"{action}\"")));
}
