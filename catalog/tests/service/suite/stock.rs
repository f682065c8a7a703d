//! What there is: available never counts what is promised or expired, a stale write is refused with
//! what is there, and units are promised once.

use std::sync::atomic::{AtomicU64, Ordering};

use catalog::{
    refused::Refused,
    stock::{By, Share, accept, allocate, give_back, keep},
};
use serde_json::{Value, json};
use store::sql::{Sql as _, Tx as _};

use super::rig::{Answer, Ask, BEGIN_MS, OPERATOR, Rig};

/// A tenant with SKUs and warehouses.
pub(crate) struct Shop<'r> {
    pub(crate) rig: &'r Rig,
    pub(crate) tenant: u32,
    keys: AtomicU64,
}

impl<'r> Shop<'r> {
    /// A shop that has nothing yet.
    pub(crate) fn new(rig: &'r Rig, tenant: u32) -> Self {
        Self { rig, tenant, keys: AtomicU64::new(0) }
    }

    /// A shop with these SKUs, numbered from 1, and the warehouse `MAIN`.
    pub(crate) async fn open(rig: &'r Rig, skus: &[&str]) -> Self {
        let shop = Self::new(rig, 7);
        shop.skus(skus).await;
        shop.warehouse("MAIN").await;
        shop
    }

    pub(crate) async fn skus(&self, codes: &[&str]) {
        let insert = "INSERT INTO skus (tenant, sku, product, code, price, currency, barcode, weight_g, state, \
                      attributes, images, used, version, created_at, updated_at) \
                      VALUES (?, ?, 1, ?, 100, 'CNY', '', 0, 'active', '[]', '[]', 0, 1, 0, 0)";
        for (code, number) in codes.iter().zip(1_i64..) {
            let row = vec![self.tenant.into(), number.into(), (*code).into()];
            self.rig.db.exec(insert, row).await.unwrap();
        }
    }

    fn of<'a>(&self, ask: Ask<'a>) -> Ask<'a> {
        ask.token(OPERATOR).header("flashsale-tenant", &self.tenant.to_string())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.of(self.rig.get(path)).send().await
    }

    /// A POST under this Idempotency-Key.
    pub(crate) fn keyed(&self, path: &str, key: &str) -> Ask<'r> {
        self.of(self.rig.post(path)).key(key)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        self.keyed(path, &format!("key-{key}")).json(body).send().await
    }

    pub(crate) fn patching(&self, path: &str, body: &Value) -> Ask<'r> {
        self.of(self.rig.patch(path)).json(body)
    }

    pub(crate) fn putting(&self, path: &str, body: &Value) -> Ask<'r> {
        self.of(self.rig.put(path)).json(body)
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.of(self.rig.delete(path)).send().await
    }

    /// Makes a warehouse; gives its number.
    pub(crate) async fn warehouse(&self, code: &str) -> String {
        let made = self.post("/v1/warehouses", &json!({ "code": code, "name": code })).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn place(&self, warehouse: &str, body: &Value) -> String {
        let made = self.post(&format!("/v1/warehouses/{warehouse}/places"), body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn batch(&self, sku: &str, code: &str, expires_at: &str) {
        let body = json!({ "sku": sku, "code": code, "expires_at": expires_at });
        self.post("/v1/batches", &body).await.expect(201);
    }

    /// Does these lines, in `MAIN` where they do not say.
    pub(crate) async fn moves(&self, lines: &[Value]) -> Answer {
        let lines: Vec<Value> = lines.iter().cloned().map(in_main).collect();
        self.post("/v1/stock/movements", &json!({ "lines": lines })).await
    }

    pub(crate) async fn receive(&self, sku: &str, units: i64) {
        self.moves(&[json!({ "kind": "receive", "sku": sku, "units": units })]).await.expect(200);
    }

    /// A level of the first warehouse.
    pub(crate) async fn level(&self, sku: u32) -> Value {
        self.get(&format!("/v1/stock/{sku}/1")).await.expect(200)
    }

    /// On hand, allotted, unshipped, available.
    pub(crate) async fn figures(&self, sku: u32) -> [i64; 4] {
        let level = self.level(sku).await;
        ["on_hand", "allotted", "unshipped", "available"].map(|figure| level[figure].as_i64().unwrap())
    }

    /// All items of a list, through its pages.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{cursor}")).await.expect(200);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { return items };
            cursor = format!("{}cursor={next}", if path.contains('?') { "&" } else { "?" });
        }
    }

    /// Reconciles; gives the run, done, and the first of what it found.
    pub(crate) async fn reconcile(&self) -> Value {
        let run = self.post("/v1/stock/reconciliation", &json!({})).await.expect(202);
        let path = format!("/v1/stock/reconciliation?run={}", run["id"].as_str().unwrap());
        self.until_done(&path).await
    }

    /// Keeps house until a reconciliation is done; gives it.
    pub(crate) async fn until_done(&self, path: &str) -> Value {
        loop {
            keep(&self.rig.catalog).await.unwrap();
            let shown = self.get(path).await.expect(200);
            if shown["run"]["state"] == "done" {
                return shown;
            }
        }
    }

    /// Promises units, as the parts of the service that have no route do.
    pub(crate) async fn promise(&self, what: Promise, reference: &str, units: i64) -> Result<(), Refused> {
        let by = By { tenant: self.tenant, actor: "operator".to_owned(), now_ms: BEGIN_MS.try_into().unwrap() };
        let shares = [Share { warehouse: 1, sku: 1, units }];
        let mut tx = self.rig.db.begin().await?;
        match what {
            Promise::Allocate => allocate(&mut tx, &by, reference, 9, &shares).await?,
            Promise::GiveBack => give_back(&mut tx, &by, reference, 9, &shares).await?,
            Promise::Accept => accept(&mut tx, &by, reference, 9, &shares).await?,
        }
        Ok(tx.commit().await?)
    }
}

/// What is done with an offer's units.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Promise {
    Allocate,
    GiveBack,
    Accept,
}

fn in_main(mut line: Value) -> Value {
    let members = line.as_object_mut().unwrap();
    members.entry("warehouse").or_insert(json!("MAIN"));
    line
}

fn set(on_hand: i64, expected: Value) -> Value {
    let mut body = json!({ "sku": "POT", "warehouse": "MAIN", "on_hand": on_hand });
    body.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn available_is_on_hand_without_the_allotted_the_unshipped_and_the_expired() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.batch("POT", "OLD", "2026-11-11T00:00:10Z").await;
    shop.batch("POT", "NEW", "2027-01-01T00:00:00Z").await;
    let line = |batch: &str, units| json!({ "kind": "receive", "sku": "POT", "units": units, "batch": batch });
    shop.moves(&[line("NEW", 5), line("OLD", 3)]).await.expect(200);
    shop.receive("POT", 4).await;
    shop.promise(Promise::Allocate, "a", 6).await.unwrap();
    shop.promise(Promise::Accept, "b", 2).await.unwrap();
    assert_eq!(shop.figures(1).await, [12, 4, 2, 6]);
    rig.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(shop.figures(1).await, [12, 4, 2, 3], "OLD is expired");
    let level = shop.level(1).await;
    let batches: Vec<_> = level["positions"].as_array().unwrap().iter().map(|position| &position["batch"]).collect();
    assert_eq!(batches, ["OLD", "NEW"], "what expires first stands first");
    // Shipped: nothing expired, and what expires first of the others.
    shop.moves(&[json!({ "kind": "ship", "sku": "POT", "units": 2 })]).await.expect(200);
    let level = shop.level(1).await;
    assert_eq!((&level["positions"][0]["units"], &level["positions"][1]["units"]), (&json!(3), &json!(3)));
    assert_eq!(shop.figures(1).await, [10, 4, 0, 3]);
}

#[tokio::test]
async fn a_count_is_set_if_nothing_moved_meanwhile_and_a_stale_one_is_told_what_is_there() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let first = shop.post("/v1/stock/set", &set(10, json!({ "expected_on_hand": 0 }))).await.expect(200);
    assert_eq!((&first["on_hand"], &first["version"]), (&json!(10), &json!(1)));
    let set_once = shop.post("/v1/stock/set", &set(8, json!({ "expected_version": 1 }))).await.expect(200);
    assert_eq!(set_once["version"], 2);
    for stale in [json!({ "expected_on_hand": 10 }), json!({ "expected_version": 1 })] {
        let refused = shop.post("/v1/stock/set", &set(7, stale)).await.refused(412, "precondition_failed");
        assert_eq!(refused["current"]["on_hand"], 8);
        assert_eq!(refused["current"]["version"], set_once["version"]);
    }
    let unsaid = shop.post("/v1/stock/set", &set(7, json!({}))).await;
    unsaid.refused(400, "invalid_request");
    assert_eq!(unsaid.wrong_fields(), ["expected_on_hand"]);
    // The same figure again: nothing moves.
    shop.post("/v1/stock/set", &set(8, json!({ "expected_on_hand": 8 }))).await.expect(200);
    assert_eq!(shop.level(1).await["version"], 2);
    assert_eq!(shop.all("/v1/stock/movements").await.len(), 2);
    shop.promise(Promise::Allocate, "a", 5).await.unwrap();
    let refused = shop.post("/v1/stock/set", &set(4, json!({ "expected_on_hand": 8 }))).await.refused(409, "conflict");
    assert_eq!(refused["current"]["available"], 3);
}

#[tokio::test]
async fn a_repeated_count_is_answered_alike_and_changes_nothing() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let body = set(10, json!({ "expected_on_hand": 0 }));
    let ask = || shop.keyed("/v1/stock/set", "same").json(&body).send();
    let (first, again) = (ask().await.expect(200), ask().await.expect(200));
    assert_eq!((&first, &first["version"]), (&again, &json!(1)));
    assert_eq!(shop.level(1).await["version"], 1);
    assert_eq!(shop.all("/v1/stock/movements").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_who_set_one_level_at_once_one_is_told_that_it_is_stale() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    for round in 0..10 {
        let (one, other) = (
            set(round * 10 + 1, json!({ "expected_version": round })),
            set(round * 10 + 2, json!({ "expected_version": round })),
        );
        let (one, other) = tokio::join!(shop.post("/v1/stock/set", &one), shop.post("/v1/stock/set", &other));
        let (won, lost) = if one.status == 200 { (one, other) } else { (other, one) };
        let (won, lost) = (won.expect(200), lost.refused(412, "precondition_failed"));
        assert_eq!(lost["current"]["on_hand"], won["on_hand"], "round {round}");
        assert_eq!(shop.level(1).await["on_hand"], won["on_hand"], "round {round}");
    }
    let movements = shop.all("/v1/stock/movements?limit=100").await;
    let sum: i64 = movements.iter().map(|movement| movement["on_hand_change"].as_i64().unwrap()).sum();
    assert_eq!(json!(sum), shop.level(1).await["on_hand"]);
}

#[tokio::test]
async fn a_threshold_that_is_crossed_downwards_gives_one_event_each_time() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let path = "/v1/stock/1/1/threshold";
    shop.putting(path, &json!({ "threshold": 5 })).send().await.expect(200);
    let events = shop.all("/v1/stock/events").await;
    assert_eq!(events.len(), 1, "nothing is below 5: {events:?}");
    let take = |units: i64| json!({ "kind": "adjust", "sku": "POT", "units": -units, "reason": "broken" });
    shop.receive("POT", 6).await;
    assert_eq!(shop.all("/v1/stock?low=true").await.len(), 0);
    for (units, count) in [(1, 1), (1, 2), (1, 2)] {
        shop.moves(&[take(units)]).await.expect(200);
        assert_eq!(shop.all("/v1/stock/events").await.len(), count, "after {units} more");
    }
    assert_eq!(shop.all("/v1/stock?low=true").await.len(), 1);
    shop.receive("POT", 2).await;
    shop.promise(Promise::Allocate, "a", 1).await.unwrap();
    let events = shop.all("/v1/stock/events?limit=1").await;
    assert_eq!(events.len(), 3, "promised units are not available");
    let last = &events[2];
    let members = ["id", "source", "type", "subject", "specversion"].map(|member| last[member].as_str().unwrap());
    assert_eq!(members, ["3", "/tenants/7", "flashsale.catalog.low_stock.v1", "sku:1/warehouse:1", "1.0"]);
    assert_eq!(last["data"], json!({ "sku_id": "1", "warehouse_id": "1", "available": 4, "threshold": 5 }));
}

#[tokio::test]
async fn a_threshold_is_set_in_the_version_that_was_read() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    let path = "/v1/stock/1/1/threshold";
    let ask =
        |threshold: Value, tag: &str| shop.putting(path, &json!({ "threshold": threshold })).header("if-match", tag);
    ask(json!(5), "\"0\"").send().await.expect(200);
    let stale = ask(json!(6), "\"0\"").send().await.refused(412, "precondition_failed");
    assert_eq!(stale["current"]["threshold"], 5);
    let removed = ask(Value::Null, "\"1\"").send().await;
    assert_eq!(removed.headers["etag"], "\"2\"");
    assert_eq!(removed.expect(200)["threshold"], Value::Null);
    for wrong in [json!({}), json!({ "threshold": 0 }), json!({ "threshold": 5, "tenant": 8 })] {
        shop.putting(path, &wrong).send().await.refused(400, "invalid_request");
    }
    shop.putting("/v1/stock/2/1/threshold", &json!({ "threshold": 5 })).send().await.refused(404, "not_found");
}

#[tokio::test]
async fn an_offer_is_allotted_what_is_available_once_per_reference() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.receive("POT", 10).await;
    for _ in 0..2 {
        shop.promise(Promise::Allocate, "sale:1", 7).await.unwrap();
        assert_eq!(shop.figures(1).await, [10, 7, 0, 3]);
    }
    assert!(shop.promise(Promise::Allocate, "sale:1", 8).await.is_err(), "the reference stands for 7");
    let refused = shop.promise(Promise::Allocate, "sale:2", 4).await.unwrap_err();
    assert!(refused.to_string().contains("only 3 are available"), "{refused}");
    shop.promise(Promise::Accept, "orders:1", 5).await.unwrap();
    assert!(shop.promise(Promise::GiveBack, "sale:3", 3).await.is_err(), "2 are left to the offer");
    for _ in 0..2 {
        shop.promise(Promise::GiveBack, "sale:4", 2).await.unwrap();
        assert_eq!(shop.figures(1).await, [10, 0, 5, 5]);
    }
    let kinds: Vec<_> = shop.all("/v1/stock/movements").await.iter().map(|movement| movement["kind"].clone()).collect();
    assert_eq!(kinds, ["give_back", "accept", "allocate", "receive"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_allocate_at_once_never_get_more_than_there_is() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.receive("POT", 10).await;
    let ask = async |reference: &str| {
        loop {
            match shop.promise(Promise::Allocate, reference, 6).await {
                // Nothing happened: the caller does it again, as the routes do.
                Err(Refused::Sql(error)) if error.is_retryable() => {}
                answered => return answered.is_ok(),
            }
        }
    };
    let (one, other) = tokio::join!(ask("one"), ask("other"));
    assert!(one != other, "{one} {other}");
    assert_eq!(shop.figures(1).await, [10, 6, 0, 4]);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT", "PAN 锅", "CUP"]).await;
    shop.warehouse("SIDE").await;
    let line =
        |sku: &str, warehouse: &str| json!({ "kind": "receive", "sku": sku, "warehouse": warehouse, "units": 1 });
    let lines = [line("POT", "SIDE"), line("POT", "MAIN"), line("PAN 锅", "MAIN"), line("CUP", "SIDE")];
    shop.moves(&lines).await.expect(200);
    let codes = async |path: &str| {
        let items = shop.all(path).await;
        items.iter().map(|item| format!("{}@{}", item["sku"], item["warehouse"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(codes("/v1/stock?limit=1").await, ["POT@MAIN", "POT@SIDE", "PAN 锅@MAIN", "CUP@SIDE"]);
    assert_eq!(codes("/v1/stock?warehouse=SIDE").await, ["POT@SIDE", "CUP@SIDE"]);
    assert_eq!(codes("/v1/stock?sku=PAN+%E9%94%85").await, ["PAN 锅@MAIN"]);
    assert_eq!(codes("/v1/stock/1?limit=1").await, ["POT@MAIN", "POT@SIDE"]);
    assert_eq!(codes("/v1/stock?sku=NONE").await, Vec::<String>::new());
    for wrong in ["/v1/stock?cursor=x", "/v1/stock?low=maybe", "/v1/stock?tenant=8", "/v1/stock/1?sku=POT"] {
        shop.get(wrong).await.refused(400, "invalid_request");
    }
    shop.get("/v1/stock/4").await.refused(404, "not_found");
    shop.get("/v1/stock/3/1").await.refused(404, "not_found");
}

#[tokio::test]
async fn another_tenants_stock_is_not_there_and_a_missing_permission_is_named() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &["POT"]).await;
    shop.receive("POT", 5).await;
    let other = Shop::new(&rig, 8);
    for path in ["/v1/stock", "/v1/stock/movements", "/v1/stock/events", "/v1/stock/conflicts", "/v1/batches"] {
        assert_eq!(other.all(path).await, Vec::<Value>::new(), "{path}");
    }
    for path in ["/v1/stock/1", "/v1/stock/1/1", "/v1/batches/1"] {
        other.get(path).await.refused(404, "not_found");
    }
    other.putting("/v1/stock/1/1/threshold", &json!({ "threshold": 9 })).send().await.refused(404, "not_found");
    let set = other.post("/v1/stock/set", &set(0, json!({ "expected_on_hand": 5 }))).await;
    set.refused(400, "invalid_request");
    assert_eq!(set.wrong_fields(), ["sku", "warehouse"]);
    assert_eq!(shop.figures(1).await, [5, 0, 0, 5]);
    let [reader, writer] = ["read_stock", "write_stock"];
    let (reads, writes) = (rig.key_of("7", &[reader]).await, rig.key_of("7", &[writer]).await);
    let lines = json!({ "lines": [{ "kind": "receive", "sku": "POT", "warehouse": "MAIN", "units": 1 }] });
    for (path, body) in [("/v1/stock/movements", &lines), ("/v1/stock/reconciliation", &json!({}))] {
        let refused = rig.post(path).token(&reads).fresh().json(body).send().await.refused(403, "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("`write_stock`"), "{refused}");
        let refused = rig.get(path).token(&writes).send().await.refused(403, "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("`read_stock`"), "{refused}");
    }
    rig.post("/v1/stock/movements").token(&writes).fresh().json(&lines).send().await.expect(200);
    let ledger = rig.get("/v1/stock/movements").token(&reads).send().await.expect(200);
    assert!(ledger["items"][0]["actor"].as_str().unwrap().starts_with("key:"), "{ledger}");
}

#[tokio::test]
async fn a_sku_that_was_stocked_is_archived_and_one_that_was_not_is_gone() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = Shop::open(&rig, &[]).await;
    let product = json!({ "code": "KETTLE", "title": "Kettle", "description": "", "attributes": [], "images": [] });
    let product = shop.post("/v1/products", &product).await.expect(201);
    let skus = format!("/v1/products/{}/skus", product["id"].as_str().unwrap());
    let sku = |code: &str| json!({ "code": code, "price": { "amount": 1, "currency": "CNY" } });
    let (red, blue) = (shop.post(&skus, &sku("RED 红")).await, shop.post(&skus, &sku("BLUE")).await);
    shop.receive("RED 红", 1).await;
    let path = |made: Answer| format!("/v1/skus/{}", made.expect(201)["id"].as_str().unwrap());
    let archived = shop.delete(&path(red)).await.expect(200);
    assert_eq!(archived["state"], "archived");
    shop.delete(&path(blue)).await.expect(204);
    let refused = shop.moves(&[json!({ "kind": "receive", "sku": "BLUE", "units": 1 })]).await;
    refused.refused(400, "invalid_request");
    assert_eq!(shop.all("/v1/stock?sku=RED+%E7%BA%A2").await[0]["on_hand"], 1);
}
