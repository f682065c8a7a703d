//! Every route with tokens that may not: another tenant's, a buyer's, an expired one, a key without
//! the permission, none. Goal: never data, never a change. Method: one tenant has a thing of each
//! kind, all marked; whatever the others ask, no mark comes back and all that this tenant sees of
//! itself stays as it is. The routes are those that the service mounts, so that none is left out.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{house::put_in_order, openapi};
use kit::{
    access::Permission,
    api::{Access, Api as _},
    http::Method,
};
use serde_json::{Value, json};

use super::{
    graphql,
    jobs::{finish, shown},
    products::acting,
    rig::{Answer, Rig, TestCatalog},
    staff::Staff,
};

/// Stands in every text of the tenant that is attacked.
const MARK: &str = "ALPHA";

/// Ten minutes, and then some: an access token is over.
const LATER_MS: u64 = 11 * 60 * 1000;

/// The tenant that is attacked: its own key, and what the paths call its things.
struct Alpha {
    key: String,
    names: BTreeMap<&'static str, String>,
}

/// All permissions of a tenant, as a key has them.
fn all_of_a_tenant() -> Vec<&'static str> {
    let operator = [Permission::ReadTenants, Permission::WriteTenants];
    Permission::ALL.iter().filter(|permission| !operator.contains(permission)).map(|each| each.as_str()).collect()
}

impl Alpha {
    async fn open(rig: &Rig) -> Self {
        let tenant = rig.tenant_on("alpha", "unlimited").await;
        let key = rig.key_of(&tenant, &all_of_a_tenant()).await;
        let mut alpha = Self { key, names: BTreeMap::from([("tenant", tenant)]) };
        alpha.make_things(rig).await;
        alpha
    }

    /// Makes a thing of this tenant and remembers what its path calls it.
    async fn make(&mut self, rig: &Rig, name: &'static str, path: &str, body: Value) {
        let made = rig.post(path).token(&self.key).key(name).json(&body).send().await;
        assert!(made.status.is_success(), "{path}: {}", String::from_utf8_lossy(&made.body));
        self.names.insert(name, made.json()["id"].as_str().unwrap_or_default().to_owned());
    }

    async fn make_things(&mut self, rig: &Rig) {
        let named = |code: &str| format!("{MARK}-{code}");
        let user = json!({ "email": "alpha@example.com", "name": named("Ann"), "roles": ["viewer"] });
        self.make(rig, "user", "/v1/users", user).await;
        let key = json!({ "name": named("key"), "permissions": ["read_stock"] });
        self.make(rig, "key", "/v1/keys", key).await;
        let product = json!({ "code": named("KETTLE"), "title": named("kettle") });
        self.make(rig, "product", "/v1/products", product).await;
        let price = json!({ "amount": 100, "currency": "CNY" });
        let sku = json!({ "code": named("RED"), "price": price });
        self.make(rig, "sku", &format!("/v1/products/{}/skus", self.names["product"]), sku).await;
        let warehouse = json!({ "code": named("MAIN"), "name": named("main") });
        self.make(rig, "warehouse", "/v1/warehouses", warehouse).await;
        let places = format!("/v1/warehouses/{}/places", self.names["warehouse"]);
        self.make(rig, "place", &places, json!({ "kind": "zone", "code": named("Z") })).await;
        self.make(rig, "batch", "/v1/batches", json!({ "sku": named("RED"), "code": named("B1") })).await;
        let lane =
            json!({ "code": named("lane"), "limit_per_buyer": 1, "offers": [{ "sku": named("RED"), "allotment": 1 }] });
        let window = ("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z");
        let sale = json!({ "code": named("sale"), "title": named("sale"), "opens_at": window.0, "closes_at": window.1, "lanes": [lane] });
        self.make(rig, "sale", "/v1/merchant/sales", sale).await;
        let actions = format!("/v1/merchant/sales/{}/actions", self.names["sale"]);
        let action = json!({ "at": window.0, "action": "set_rate", "sku": named("RED"), "rate_per_s": 9 });
        self.make(rig, "action", &actions, action).await;
        self.make(rig, "job", "/v1/products/export?format=csv", json!({})).await;
        for (name, code) in [("role", "alpha-role"), ("flag", "alpha-flag"), ("plan", "free"), ("kind", "wechat")] {
            self.names.insert(name, code.to_owned());
        }
        self.names.insert("shop", "alpha".to_owned());
        self.names.insert("hash", "0".repeat(64));
        self.names.insert("session", "1".to_owned());
        self.names.insert("export", "1".to_owned());
        let role = json!({ "name": named("role"), "permissions": ["read_stock"] });
        rig.put("/v1/roles/alpha-role").token(&self.key).json(&role).send().await.expect(200);
        let wanted = json!({ "buyers": [{ "id": named("u-1") }] });
        let minted = rig.post("/v1/buyer-tokens").token(&self.key).json(&wanted).send().await.expect(200);
        let token = &minted["tokens"][0];
        self.names.insert("buyer", token["buyer"].as_str().unwrap().to_owned());
        self.names.insert("buyer_token", token["token"].as_str().unwrap().to_owned());
        let profile = json!({ "name": named("Bo") });
        let put = format!("/v1/buyers/{}/profile", self.names["buyer"]);
        let put = rig.put(&put).token(&self.key).json(&profile).send().await;
        assert!(put.status.is_success(), "{put:?}");
    }

    /// A path with the names of this tenant's things in it.
    fn path(&self, pattern: &str) -> String {
        let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => self.names.get(name).unwrap_or_else(|| panic!("name a {name} in Alpha")).clone(),
            None => part.to_owned(),
        };
        pattern.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// All that it sees of itself, by path.
    async fn sees(&self, rig: &Rig) -> BTreeMap<String, String> {
        let mut seen = BTreeMap::new();
        for (_, pattern, access) in routes().into_iter().filter(|(method, ..)| *method == Method::GET) {
            // How often it asked changes by asking.
            // A stream has no end.
            let is_seen = pattern != "/v1/usage" && !pattern.ends_with("/stream");
            if matches!(access, Access::Needs(_)) && is_seen {
                let path = self.path(pattern);
                let answer = rig.get(&path).token(&self.key).send().await;
                // A refusal names its request.
                if answer.status.is_success() {
                    seen.insert(path, String::from_utf8_lossy(&answer.body).into_owned());
                }
            }
        }
        seen
    }
}

/// Every route that the service mounts.
fn routes() -> Vec<(Method, &'static str, Access)> {
    let mounts = TestCatalog::routes().into_iter();
    mounts.map(|mount| (mount.method, mount.pattern, mount.route.access())).collect()
}

/// A body that the route takes, so that it is refused for its asker alone.
fn body(method: &Method, pattern: &str) -> Value {
    match (method.as_str(), pattern) {
        ("PATCH", "/v1/batches/{batch}") => json!({ "expires_at": null }),
        ("PATCH", "/v1/warehouses/{warehouse}/places/{place}") => json!({ "code": "TAKEN" }),
        ("POST", "/v1/warehouses/{warehouse}/places") => json!({ "kind": "zone", "code": "TAKEN" }),
        ("PATCH", "/v1/products/{product}" | "/v1/merchant/sales/{sale}") => json!({ "title": "taken" }),
        ("POST", "/v1/merchant/sales/{sale}/clone") => {
            json!({ "code": "TAKEN", "opens_at": "2027-01-01T00:00:00Z", "closes_at": "2027-01-02T00:00:00Z" })
        }
        ("POST", "/v1/merchant/sales/{sale}/actions") => {
            json!({ "at": "2027-01-01T00:00:00Z", "action": "pause" })
        }
        ("PATCH", "/v1/skus/{sku}") => json!({ "weight_g": 1 }),
        ("PATCH", "/v1/users/{user}" | "/v1/warehouses/{warehouse}") => json!({ "name": "taken" }),
        ("POST", "/v1/products/{product}/skus") => {
            json!({ "code": "TAKEN", "price": { "amount": 1, "currency": "CNY" } })
        }
        ("PUT", "/v1/buyers/{buyer}/profile") => json!({ "name": "taken" }),
        ("POST", "/v1/buyers/export" | "/v1/buyers/erasure") => json!({ "buyers": ["1", "2"] }),
        ("PUT", "/v1/stock/{sku}/{warehouse}/threshold") => json!({ "threshold": 1 }),
        ("POST", "/v1/graphql") => json!({ "query": graphql::EVERYTHING }),
        _ => json!({}),
    }
}

async fn ask(rig: &Rig, method: &Method, path: &str, body: &Value, token: Option<&str>) -> Answer {
    let ask = match method.as_str() {
        "GET" => rig.get(path),
        "POST" => rig.post(path).fresh().json(body),
        "PUT" => rig.put(path).json(body),
        "PATCH" => rig.patch(path).json(body),
        _ => rig.delete(path),
    };
    match token {
        Some(token) => ask.token(token).send().await,
        None => ask.send().await,
    }
}

/// Asserts that a tenant sees the same of itself, but on these paths.
fn same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, but: &[&str]) {
    let paths = before.keys().chain(after.keys()).filter(|path| !but.iter().any(|but| path.starts_with(but)));
    let changed: Vec<&String> = paths.filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert!(before.values().any(|seen| seen.contains(MARK)), "there is something to see");
}

fn shows_nothing(answer: &Answer, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains(MARK), "{what}: {text}");
}

#[tokio::test]
async fn who_is_nobody_here_gets_nothing_on_any_route() {
    let rig = Rig::start().await;
    let alpha = Alpha::open(&rig).await;
    let staff = Staff::of(&rig, "beta").await;
    let expired = staff.signed_in("ann@example.com", &["owner"]).await;
    rig.clock.advance(std::time::Duration::from_millis(LATER_MS));
    let before = alpha.sees(&rig).await;
    let tokens = [None, Some("fsk_1_wrong"), Some("a.b.c"), Some(expired.as_str()), Some(&*alpha.names["buyer_token"])];
    for (method, pattern, access) in routes() {
        for token in tokens {
            let answer = ask(&rig, &method, &alpha.path(pattern), &body(&method, pattern), token).await;
            let what = format!("{method} {pattern} with {token:?}");
            if access != Access::Public {
                assert_eq!(answer.status, 401, "{what}");
            }
            shows_nothing(&answer, &what);
        }
    }
    same(&before, &alpha.sees(&rig).await, &[]);
}

#[tokio::test]
async fn a_key_without_the_permission_is_told_which_one_it_lacks() {
    let rig = Rig::start().await;
    let alpha = Alpha::open(&rig).await;
    let before = alpha.sees(&rig).await;
    for (method, pattern, access) in routes() {
        let Access::Needs(needed) = access else { continue };
        // Everything but the one that is needed, as far as a key may have it.
        let others: Vec<&str> = all_of_a_tenant().into_iter().filter(|other| *other != needed.as_str()).collect();
        let key = rig.key_of(&alpha.names["tenant"], &others).await;
        let answer = ask(&rig, &method, &alpha.path(pattern), &body(&method, pattern), Some(&key)).await;
        let refused = answer.refused(403, "forbidden");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(needed.as_str()), "{method} {pattern}: {detail}");
    }
    // The keys that were made for this test.
    same(&before, &alpha.sees(&rig).await, &["/v1/keys", "/v1/audit"]);
}

#[tokio::test]
async fn another_tenants_owner_sees_and_changes_nothing() {
    let rig = Rig::start().await;
    let alpha = Alpha::open(&rig).await;
    let beta = rig.tenant_on("beta", "unlimited").await;
    let beta = rig.key_of(&beta, &all_of_a_tenant()).await;
    let before = alpha.sees(&rig).await;
    let of_alpha: BTreeSet<&str> = BTreeSet::from([
        "{user}",
        "{key}",
        "{job}",
        "{product}",
        "{sku}",
        "{warehouse}",
        "{place}",
        "{batch}",
        "{buyer}",
        "{sale}",
        "{action}",
    ]);
    for (method, pattern, access) in routes() {
        if access == Access::Public {
            continue;
        }
        let answer = ask(&rig, &method, &alpha.path(pattern), &body(&method, pattern), Some(&beta)).await;
        let what = format!("{method} {pattern}");
        shows_nothing(&answer, &what);
        if pattern.split('/').any(|part| of_alpha.contains(part)) {
            assert_eq!(answer.status, 404, "{what}: {}", String::from_utf8_lossy(&answer.body));
        }
        if !matches!(access, Access::Needs(Permission::ReadTenants | Permission::WriteTenants)) {
            // His own header is not read: only the operator acts for others.
            let ask = rig.get("/v1/products").token(&beta).header("flashsale-tenant", &alpha.names["tenant"]);
            shows_nothing(&ask.send().await, "the operator's header");
        }
    }
    same(&before, &alpha.sees(&rig).await, &[]);
}

/// A member that a route does not have, such as the tenant of somebody else, is refused everywhere:
/// no body of the document takes what it does not name.
#[test]
fn no_body_takes_members_that_it_does_not_name() {
    let document: Value = serde_json::from_str(&openapi::document().unwrap()).unwrap();
    let mut waiting: Vec<Value> = Vec::new();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        waiting.extend(operation.pointer("/requestBody/content/application~1json/schema").cloned());
    }
    let (mut seen, mut objects) = (BTreeSet::new(), 0);
    while let Some(schema) = waiting.pop() {
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            if seen.insert(name.to_owned()) {
                waiting.push(document["components"]["schemas"][name].clone());
            }
            continue;
        }
        if let Some(members) = schema["properties"].as_object() {
            objects += 1;
            assert_eq!(schema["additionalProperties"], false, "{schema}");
            waiting.extend(members.values().cloned());
        }
        for inner in ["items", "additionalProperties"] {
            waiting.extend(Some(schema[inner].clone()).filter(Value::is_object));
        }
        for several in ["allOf", "anyOf", "oneOf"] {
            waiting.extend(schema[several].as_array().into_iter().flatten().cloned());
        }
    }
    assert!(objects > 20, "{objects}");
}

#[test]
fn the_document_and_the_mounts_name_the_same_routes() {
    let document: Value = serde_json::from_str(&openapi::document().unwrap()).unwrap();
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())))
        .collect();
    let mounted: BTreeSet<(String, String)> =
        routes().into_iter().map(|(method, pattern, _)| (pattern.to_owned(), method.as_str().to_lowercase())).collect();
    assert_eq!(mounted, documented);
}

/// API7: whatever address a tenant gives, the service asks nobody there: not when it is given, not
/// when it is shown, not in a job, not in housekeeping.
#[tokio::test]
async fn no_address_that_a_tenant_gives_is_asked() {
    let rig = Rig::with_tenants(&[1]).await;
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = format!("https://{}/a.png", elsewhere.local_addr().unwrap());
    let product = json!({ "code": "K", "title": "K", "images": [address] });
    acting(rig.post("/v1/products"), 1).key("k").json(&product).send().await.expect(201);
    let look = json!({ "logo_url": address });
    acting(rig.put("/v1/branding"), 1).json(&look).send().await.expect(200);
    let line = json!({ "product": "L", "title": "L", "images": [address] });
    let import = acting(rig.post("/v1/products/import?format=jsonl"), 1).key("i");
    let job = import.body("application/jsonl", format!("{line}\n")).send().await.expect(202);
    finish(&rig).await;
    put_in_order(&rig.catalog).await;
    assert_eq!(shown(&rig, 1, &job).await["counts"]["made"], 1);
    for path in ["/v1/products", "/v1/branding", "/v1/branding/shop-1"] {
        let seen = acting(rig.get(path), 1).send().await.expect(200).to_string();
        assert!(seen.contains(&address), "{path}: {seen}");
    }
    let asked = elsewhere.accept().map(|(_, from)| from);
    assert_eq!(asked.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody was asked");
}
