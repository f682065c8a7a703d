//! API keys: they act for their tenant, within their scope, until they are deleted or expire; the
//! secret is shown once.

use std::time::Duration;

use catalog::house;
use serde_json::{Value, json};
use store::sql::Sql as _;

use super::{
    jobs::{finish, shown},
    rig::{Answer, OPERATOR, Rig},
};

async fn new_key(rig: &Rig, token: &str, permissions: &[&str]) -> Answer {
    let body = json!({ "name": "shop server", "permissions": permissions });
    rig.post("/v1/keys").token(token).fresh().json(&body).send().await
}

fn path_of(key: &Value) -> String {
    format!("/v1/keys/{}", key["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_key_acts_within_its_scope_and_the_missing_permission_is_named() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["read_keys"]).await;
    let page = rig.get("/v1/keys").token(&key).send().await.expect(200);
    assert_eq!(page["items"][0]["permissions"], json!(["read_keys"]));
    let refused = new_key(&rig, &key, &["read_keys"]).await.refused(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("`write_keys`"), "{refused}");
    rig.get("/v1/tenants").token(&key).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn the_secret_is_shown_once_and_kept_nowhere() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let body = json!({ "name": "shop server", "permissions": ["read_stock"] });
    let ask = || rig.post("/v1/keys").token(OPERATOR).header("flashsale-tenant", &tenant).key("a").json(&body);
    let first = ask().send().await;
    let made = first.expect(201);
    let token = made["token"].as_str().unwrap();
    let mut known = made.clone();
    known.as_object_mut().unwrap().remove("token");
    let again = ask().send().await;
    assert_eq!((again.expect(201), &again.headers["location"]), (known.clone(), &first.headers["location"]));
    let reader = rig.key_of(&tenant, &["read_keys", "read_audit"]).await;
    assert_eq!(rig.get(&path_of(&made)).token(&reader).send().await.expect(200), known);
    let secret = token.rsplit_once("fsk_").unwrap().1.split_once('_').unwrap().1;
    assert_eq!(secret.len(), 43, "256 bits");
    let log = rig.get("/v1/audit").token(&reader).send().await;
    for row in rig.db.rows("SELECT secret_hash FROM api_keys", vec![]).await.unwrap() {
        let mut row = row;
        assert_eq!(row.bytes().unwrap().len(), 32);
    }
    for kept in rig.db.rows("SELECT reply FROM requests", vec![]).await.unwrap() {
        let mut kept = kept;
        assert!(!String::from_utf8_lossy(&kept.bytes().unwrap()).contains(secret));
    }
    assert!(!String::from_utf8_lossy(&log.body).contains(secret));
}

#[tokio::test]
async fn nobody_grants_what_he_lacks() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["write_keys", "read_stock"]).await;
    new_key(&rig, &key, &["read_stock"]).await.expect(201);
    let refused = new_key(&rig, &key, &["read_stock", "write_stock"]).await.refused(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("`write_stock`"), "{refused}");
    let body = json!({ "name": "all", "permissions": ["write_tenants"] });
    let ask = rig.post("/v1/keys").token(OPERATOR).header("flashsale-tenant", &tenant).fresh().json(&body);
    ask.send().await.refused(403, "forbidden");
    let ask =
        rig.post("/v1/keys").token(OPERATOR).fresh().json(&json!({ "name": "none's", "permissions": ["read_stock"] }));
    ask.send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn every_wrong_member_of_a_key_is_named_at_once() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["write_keys"]).await;
    let bad = json!({ "name": "", "permissions": [], "expires_at": "tomorrow", "tenant": "2" });
    let refused = rig.post("/v1/keys").token(&key).fresh().json(&bad).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["expires_at", "name", "permissions", "tenant"]);
    for past in ["2026-11-11T00:00:00Z", "2026-02-30T00:00:00Z"] {
        let bad = json!({ "name": "late", "permissions": ["write_keys"], "expires_at": past });
        let refused = rig.post("/v1/keys").token(&key).fresh().json(&bad).send().await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.wrong_fields(), ["expires_at"], "{past}");
    }
}

#[tokio::test]
async fn a_key_of_another_tenant_is_not_there() {
    let rig = Rig::start().await;
    let (one, other) = (rig.tenant("kettles").await, rig.tenant("pots").await);
    let theirs = rig.key_of(&one, &["read_keys", "write_keys"]).await;
    let ours = rig.key_of(&other, &["read_keys", "write_keys"]).await;
    let made = new_key(&rig, &theirs, &["read_keys"]).await.expect(201);
    rig.get(&path_of(&made)).token(&ours).send().await.refused(404, "not_found");
    rig.delete(&path_of(&made)).token(&ours).send().await.refused(404, "not_found");
    let page = rig.get("/v1/keys").token(&ours).send().await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    // Whom he says that he is, counts for the operator alone.
    let page = rig.get("/v1/keys").token(&ours).header("flashsale-tenant", &one).send().await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    rig.get(&path_of(&made)).token(&theirs).send().await.expect(200);
}

#[tokio::test]
async fn a_key_is_rotated_and_the_old_one_is_refused_at_once() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let admin = rig.key_of(&tenant, &["read_keys", "write_keys"]).await;
    let old = new_key(&rig, &admin, &["read_keys", "write_keys"]).await.expect(201);
    let new = new_key(&rig, old["token"].as_str().unwrap(), &["read_keys"]).await.expect(201);
    rig.delete(&path_of(&old)).token(&admin).send().await.expect(204);
    rig.get("/v1/keys").token(old["token"].as_str().unwrap()).send().await.refused(401, "unauthenticated");
    rig.get("/v1/keys").token(new["token"].as_str().unwrap()).send().await.expect(200);
    rig.delete(&path_of(&old)).token(&admin).send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_key_ends_when_it_says() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let admin = rig.key_of(&tenant, &["write_keys", "read_keys"]).await;
    let body = json!({ "name": "an hour", "permissions": ["read_keys"], "expires_at": "2026-11-11T01:00:00Z" });
    let made = rig.post("/v1/keys").token(&admin).fresh().json(&body).send().await.expect(201);
    assert_eq!(made["expires_at"], "2026-11-11T01:00:00.000Z");
    let key = made["token"].as_str().unwrap();
    rig.clock.advance(Duration::from_millis(3_599_999));
    rig.get("/v1/keys").token(key).send().await.expect(200);
    rig.clock.advance(Duration::from_millis(1));
    let refused = rig.get("/v1/keys").token(key).send().await;
    refused.refused(401, "unauthenticated");
    assert!(refused.headers["www-authenticate"].to_str().unwrap().contains("expired"));
}

#[tokio::test]
async fn a_guessed_key_is_nobodys() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["read_keys"]).await;
    let (stem, secret) = key.split_at(key.len() - 43);
    let last = if secret.ends_with('A') { "B" } else { "A" };
    let near = format!("{stem}{}{last}", &secret[..42]);
    for guess in [near.as_str(), stem, "fsk_", "fsk_1_", "fsk_99_x", &format!("{key}x"), &format!("fsk_2_{secret}")] {
        rig.get("/v1/keys").token(guess).send().await.refused(401, "unauthenticated");
    }
    rig.get("/v1/keys").token(&key).send().await.expect(200);
}

#[tokio::test]
async fn the_last_use_is_written_at_most_once_a_minute() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let (admin, key) = (rig.key_of(&tenant, &["read_keys"]).await, rig.key_of(&tenant, &["read_keys"]).await);
    let used = async || {
        house::put_in_order(&rig.catalog).await;
        let page = rig.get("/v1/keys").token(&admin).send().await.expect(200);
        page["items"][1]["last_used_at"].clone()
    };
    assert_eq!(used().await, Value::Null);
    let mut seen = Vec::new();
    for _half_a_minute in 0..3 {
        rig.get("/v1/keys").token(&key).send().await.expect(200);
        seen.push(used().await);
        rig.clock.advance(Duration::from_secs(30));
    }
    let [begin, later] = ["2026-11-11T00:00:00.000Z", "2026-11-11T00:01:00.000Z"];
    assert_eq!(seen, [begin, begin, later]);
}

#[tokio::test]
async fn of_two_who_make_the_last_key_at_once_one_gets_it() {
    let rig = Rig::start().await;
    let quotas = json!({ "quotas": { "keys": 2 } });
    rig.put("/v1/plans/small").token(OPERATOR).json(&quotas).send().await.expect(201);
    let tenant = rig.tenant_on("kettles", "small").await;
    let admin = rig.key_of(&tenant, &["read_keys", "write_keys"]).await;
    let permissions = ["read_keys"];
    let (one, other) = tokio::join!(new_key(&rig, &admin, &permissions), new_key(&rig, &admin, &permissions));
    let (made, refused) = if one.status == 201 { (one, other) } else { (other, one) };
    let made = made.expect(201);
    let refused = refused.refused(403, "quota_exceeded");
    assert_eq!(refused["current"], json!({ "quota": "keys", "limit": 2, "used": 2 }));
    assert!(refused["detail"].as_str().unwrap().contains("`small`"), "{refused}");
    rig.delete(&path_of(&made)).token(&admin).send().await.expect(204);
    new_key(&rig, &admin, &permissions).await.expect(201);
}

/// A job outlasts its request: what its maker may do is looked up again.
#[tokio::test]
async fn a_job_of_a_deleted_key_or_of_a_suspended_tenant_changes_nothing() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let path = format!("/v1/tenants/{tenant}");
    for ending in ["nothing", "deleted", "suspended"] {
        let key = rig.key_of(&tenant, &["write_products", "read_products", "write_keys"]).await;
        let import = rig.post("/v1/products/import?format=csv").token(&key).fresh();
        let line = format!("product,title,sku,price,currency\n{ending},Kettle,{ending},5,CNY\n");
        let job = import.body("text/csv", line).send().await.expect(202);
        let by = job["created_by"].as_str().unwrap();
        match ending {
            "deleted" => {
                let path = format!("/v1/keys/{}", by.strip_prefix("key:").unwrap());
                rig.delete(&path).token(&key).send().await.expect(204);
            }
            "suspended" => {
                rig.patch(&path).token(OPERATOR).json(&json!({ "state": "suspended" })).send().await.expect(200);
            }
            _ => {}
        }
        finish(&rig).await;
        let done = shown(&rig, tenant.parse().unwrap(), &job).await;
        assert_eq!(done["state"], if ending == "nothing" { "done" } else { "failed" }, "{ending}: {done}");
    }
    let made = rig.db.rows("SELECT COUNT(*) FROM products", vec![]).await.unwrap().remove(0).int().unwrap();
    assert_eq!(made, 1);
}
