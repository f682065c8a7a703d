//! Products and SKUs: the merchant's own codes, compare-and-set, what was used is never deleted,
//! the tenant's own fields, and nothing of another tenant.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};
use store::sql::Sql as _;

use super::rig::{Answer, Ask, OPERATOR, Rig};

/// As the operator who acts for a tenant: with every permission of it.
pub(super) fn acting(ask: Ask<'_>, tenant: u32) -> Ask<'_> {
    ask.token(OPERATOR).header("flashsale-tenant", &tenant.to_string())
}

fn kettle() -> Value {
    json!({
        "code": "KETTLE", "title": "Kettle 壶", "description": "Boils.\nWhistles.",
        "attributes": [{ "name": "material", "value": "steel" }],
        "images": ["https://cdn.example.com/kettle.png"]
    })
}

fn red() -> Value {
    json!({
        "code": "KETTLE-RED", "price": { "amount": 9900, "currency": "CNY" }, "barcode": "4006381333931",
        "weight_g": 1200, "attributes": [{ "name": "colour", "value": "red" }]
    })
}

/// The same for the same body.
pub(super) fn key_of(body: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    hasher.finish().to_string()
}

pub(super) async fn new_product(rig: &Rig, tenant: u32, body: &Value) -> Answer {
    acting(rig.post("/v1/products"), tenant).key(&key_of(body)).json(body).send().await
}

pub(super) async fn new_sku(rig: &Rig, tenant: u32, product: &Value, body: &Value) -> Answer {
    let path = format!("/v1/products/{}/skus", product["id"].as_str().unwrap());
    acting(rig.post(&path), tenant).key(&key_of(body)).json(body).send().await
}

fn path_of(kind: &str, thing: &Value) -> String {
    format!("/v1/{kind}/{}", thing["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_product_is_made_once_by_its_code_and_found_by_it() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let first = new_product(&rig, 1, &kettle()).await;
    let made = first.expect(201);
    assert_eq!((&made["state"], &made["version"], &made["fields"]), (&json!("draft"), &json!(1), &json!({})));
    assert_eq!(new_product(&rig, 1, &kettle()).await.expect(201), made, "the same call again");
    let again = acting(rig.post("/v1/products"), 1).key("other").json(&kettle()).send().await;
    again.refused(409, "conflict");
    let found = acting(rig.get("/v1/products?code=KETTLE"), 1).send().await.expect(200);
    assert_eq!(found["items"], json!([made]));
    let shown = acting(rig.get(&path_of("products", &made)), 1).send().await;
    assert_eq!((shown.headers["etag"].to_str().unwrap(), shown.expect(200)), ("\"1\"", made.clone()));

    let sku = new_sku(&rig, 1, &made, &red()).await.expect(201);
    assert_eq!((&sku["product"], &sku["used"]), (&made["id"], &json!(false)));
    for path in ["/v1/skus?code=KETTLE-RED", &(path_of("products", &made) + "/skus")] {
        assert_eq!(acting(rig.get(path), 1).send().await.expect(200)["items"], json!([sku]), "{path}");
    }
    let same = acting(rig.post(&(path_of("products", &made) + "/skus")), 1).key("other").json(&red()).send().await;
    same.refused(409, "conflict");
}

#[tokio::test]
async fn codes_are_any_text_with_something_visible_at_both_ends() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    for (code, fits) in [
        ("红色 水壶", true),
        ("a", true),
        ("'; DROP TABLE products; --", true),
        ("x".repeat(64).as_str(), true),
        ("", false),
        (" ", false),
        ("a ", false),
        ("\u{3000}", false),
        ("\u{200b}", false),
        ("a\nb", false),
        ("a\u{7f}b", false),
        ("x".repeat(65).as_str(), false),
    ] {
        let body = json!({ "code": code, "title": "T" });
        let answer = new_product(&rig, 1, &body).await;
        match fits {
            true => assert_eq!(answer.expect(201)["code"], code),
            false => {
                answer.refused(400, "invalid_request");
                assert_eq!(answer.wrong_fields(), ["code"], "{code:?}");
            }
        }
    }
    // Codes compare by their bytes.
    new_product(&rig, 1, &json!({ "code": "A", "title": "T" })).await.expect(201);
}

#[tokio::test]
async fn every_wrong_member_of_a_product_is_named_and_nothing_is_made() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let bad = json!({
        "code": "", "title": "", "state": "sold", "tenant": 2, "price": 1,
        "attributes": [{ "name": "a", "value": "1\n" }], "images": ["http://cdn.example.com/a.png", "https://a@b/c"]
    });
    let refused = new_product(&rig, 1, &bad).await;
    refused.refused(400, "invalid_request");
    let fields = ["attributes[0].value", "code", "images[0]", "images[1]", "price", "state", "tenant", "title"];
    assert_eq!(refused.wrong_fields(), fields);

    let unruly = json!({
        "code": "K", "title": "K", "fields": { "care": "dry" }, "images": ["0".repeat(64)],
        "attributes": [{ "name": "a", "value": "1" }, { "name": "a", "value": "2" }]
    });
    let refused = new_product(&rig, 1, &unruly).await;
    assert_eq!(refused.wrong_fields(), ["attributes[1].name", "fields", "images[0]"]);
    assert_eq!(acting(rig.get("/v1/products"), 1).send().await.expect(200)["items"], json!([]));

    let product = new_product(&rig, 1, &kettle()).await.expect(201);
    let bad = json!({ "code": "K", "price": { "amount": -1, "currency": "cny" }, "weight_g": -5, "barcode": "a b" });
    let refused = new_sku(&rig, 1, &product, &bad).await;
    assert_eq!(refused.wrong_fields(), ["barcode", "price.amount", "price.currency", "weight_g"]);
    let unknown = json!({ "code": "K", "price": { "amount": 1, "currency": "XQX" } });
    assert_eq!(new_sku(&rig, 1, &product, &unknown).await.wrong_fields(), ["price.currency"]);
    new_sku(&rig, 1, &json!({ "id": "999999" }), &red()).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_stale_change_is_refused_with_what_is_there_and_an_empty_one_changes_nothing() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let product = new_product(&rig, 1, &kettle()).await.expect(201);
    let sku = new_sku(&rig, 1, &product, &red()).await.expect(201);
    let price = json!({ "price": { "amount": 8800, "currency": "CNY" } });
    for (path, change) in [(path_of("products", &product), json!({ "title": "Pot" })), (path_of("skus", &sku), price)] {
        let patch = |change: &Value| acting(rig.patch(&path), 1).header("if-match", "\"1\"").json(change);
        let changed = patch(&change).send().await;
        assert_eq!(changed.headers["etag"].to_str().unwrap(), "\"2\"");
        let changed = changed.expect(200);
        let stale = patch(&json!({ "state": "archived" })).send().await.refused(412, "precondition_failed");
        assert_eq!(stale["current"], changed);
        let gone = acting(rig.delete(&path), 1).header("if-match", "\"1\"").send().await;
        assert_eq!(gone.refused(412, "precondition_failed")["current"], changed);
        // A call that was answered and comes again without a version changes nothing.
        let again = acting(rig.patch(&path), 1).json(&change).send().await.expect(200);
        assert_eq!(again, changed);
    }
    let audit = "SELECT COUNT(*) FROM audit_log WHERE tenant = 1";
    let entries = rig.db.rows(audit, vec![]).await.unwrap().remove(0).int().unwrap();
    assert_eq!(entries, 4, "two made, two changed");
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_told_that_it_is_stale() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let product = new_product(&rig, 1, &kettle()).await.expect(201);
    let path = path_of("products", &product);
    let change =
        |title: &str| acting(rig.patch(&path), 1).header("if-match", "\"1\"").json(&json!({ "title": title })).send();
    let (first, second) = tokio::join!(change("One"), change("Two"));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn a_used_sku_is_archived_and_never_deleted() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let product = new_product(&rig, 1, &kettle()).await.expect(201);
    let used = new_sku(&rig, 1, &product, &red()).await.expect(201);
    let mut blue = red();
    blue["code"] = json!("KETTLE-BLUE");
    let unused = new_sku(&rig, 1, &product, &blue).await.expect(201);
    let number: i64 = used["id"].as_str().unwrap().parse().unwrap();
    rig.db.exec("UPDATE skus SET used = 1 WHERE tenant = 1 AND sku = ?", vec![number.into()]).await.unwrap();

    acting(rig.delete(&path_of("skus", &unused)), 1).send().await.expect(204);
    acting(rig.get(&path_of("skus", &unused)), 1).send().await.refused(404, "not_found");
    for _ in 0..2 {
        let kept = acting(rig.delete(&path_of("skus", &used)), 1).send().await.expect(200);
        assert_eq!((&kept["state"], &kept["version"]), (&json!("archived"), &json!(2)));
    }
    let kept = acting(rig.delete(&path_of("products", &product)), 1).send().await.expect(200);
    assert_eq!(kept["state"], "archived");

    let other = new_product(&rig, 1, &json!({ "code": "POT", "title": "Pot" })).await.expect(201);
    let of_other = new_sku(&rig, 1, &other, &json!({ "code": "POT-1", "price": red()["price"] })).await.expect(201);
    acting(rig.delete(&path_of("products", &other)), 1).send().await.expect(204);
    acting(rig.get(&path_of("skus", &of_other)), 1).send().await.refused(404, "not_found");
}

#[tokio::test]
async fn nothing_of_another_tenant_is_seen_or_changed() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let product = new_product(&rig, 1, &kettle()).await.expect(201);
    let sku = new_sku(&rig, 1, &product, &red()).await.expect(201);
    for path in [path_of("products", &product), path_of("skus", &sku)] {
        acting(rig.get(&path), 2).send().await.refused(404, "not_found");
        acting(rig.delete(&path), 2).send().await.refused(404, "not_found");
        acting(rig.patch(&path), 2).json(&json!({ "state": "archived" })).send().await.refused(404, "not_found");
        rig.get(&path).token(OPERATOR).send().await.refused(403, "forbidden");
        rig.get(&path).send().await.refused(401, "unauthenticated");
    }
    new_sku(&rig, 2, &product, &red()).await.refused(404, "not_found");
    for path in ["/v1/products", "/v1/skus", "/v1/products?code=KETTLE", "/v1/skus?code=KETTLE-RED"] {
        assert_eq!(acting(rig.get(path), 2).send().await.expect(200)["items"], json!([]), "{path}");
    }
    let own = new_product(&rig, 2, &kettle()).await.expect(201);
    assert_ne!(own["id"], product["id"], "the same code in another tenant is another product");
    assert_eq!(acting(rig.get(&path_of("skus", &sku)), 1).send().await.expect(200), sku);
}

#[tokio::test]
async fn lists_go_on_where_the_page_before_ended() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    for number in 0..5 {
        new_product(&rig, 1, &json!({ "code": format!("P{number}"), "title": "T" })).await.expect(201);
    }
    let (mut codes, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = acting(rig.get(&format!("/v1/products{query}")), 1).send().await.expect(200);
        codes.extend(page["items"].as_array().unwrap().iter().map(|item| item["code"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(codes, ["P0", "P1", "P2", "P3", "P4"]);
    acting(rig.get("/v1/products?state=sold"), 1).send().await.refused(400, "invalid_request");
    acting(rig.get("/v1/products?stat=draft"), 1).send().await.refused(400, "invalid_request");
}

fn care() -> Value {
    json!({ "schema": {
        "type": "object", "required": ["care"], "additionalProperties": false,
        "properties": { "care": { "type": "string", "pattern": "^(dry|wet)$" }, "years": { "type": "integer", "maximum": 9 } }
    } })
}

#[tokio::test]
async fn products_keep_to_the_tenants_own_schema_and_older_ones_are_listed() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    new_product(&rig, 1, &kettle()).await.expect(201);
    let put = |version: &str| acting(rig.put("/v1/product-fields"), 1).header("if-match", version).json(&care());
    put("\"0\"").send().await.expect(200);
    let stale = put("\"0\"").send().await.refused(412, "precondition_failed");
    assert_eq!(stale["current"]["version"], 1);

    let without = new_product(&rig, 1, &json!({ "code": "A", "title": "A" })).await;
    assert_eq!(without.wrong_fields(), ["fields.care"]);
    let wrong = json!({ "code": "A", "title": "A", "fields": { "care": "hot", "years": 10, "other": 1 } });
    assert_eq!(new_product(&rig, 1, &wrong).await.wrong_fields(), ["fields.care", "fields.other", "fields.years"]);
    let fits = json!({ "code": "A", "title": "A", "fields": { "care": "dry", "years": 2 } });
    assert_eq!(new_product(&rig, 1, &fits).await.expect(201)["fields"], fits["fields"]);
    new_product(&rig, 2, &json!({ "code": "A", "title": "A" })).await.expect(201);

    let broken = acting(rig.get("/v1/product-fields/violations"), 1).send().await.expect(200);
    assert_eq!(broken["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&broken["items"][0]["code"], &broken["items"][0]["errors"][0]["field"]),
        (&json!("KETTLE"), &json!("fields.care"))
    );
    let there = acting(rig.get("/v1/products?code=KETTLE"), 1).send().await.expect(200);
    assert_eq!(there["items"][0]["version"], 1, "it is as it was");
}

#[tokio::test]
async fn a_schema_of_a_tenant_is_small_and_refers_to_nothing() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({ "not": deep });
    }
    let object = |members: Value| {
        let mut schema = json!({ "type": "object" });
        schema.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!({ "schema": schema })
    };
    for bad in [
        json!({ "schema": { "type": "string" } }),
        json!({ "schema": 7 }),
        object(json!({ "properties": { "a": { "$ref": "http://127.0.0.1:1/x" } } })),
        object(json!({ "allOf": [{ "$ref": "#" }] })),
        object(json!({ "properties": { "a": { "pattern": "(?=a)(a+)+$" } } })),
        object(json!({ "properties": { "a": { "pattern": r"^(a+)\1$" } } })),
        object(json!({ "properties": { "a": { "pattern": "(a{999}){999}" } } })),
        object(json!({ "properties": { "a": { "type": "kettle" } } })),
        object(json!({ "description": "x".repeat(20_000) })),
        object(json!({ "properties": { "a": deep } })),
    ] {
        let refused = acting(rig.put("/v1/product-fields"), 1).json(&bad).send().await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.wrong_fields(), ["schema"], "{bad}");
    }
    assert_eq!(acting(rig.get("/v1/product-fields"), 1).send().await.expect(200)["version"], 0);
}
