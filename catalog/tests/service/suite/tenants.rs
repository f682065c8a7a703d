//! Tenants: their operator's alone; a repeated call changes nothing, a stale one is refused with
//! what is there.

use serde_json::json;

use super::rig::{OPERATOR, Rig};

fn shop() -> serde_json::Value {
    json!({ "code": "kettles", "name": "Kettles & Co", "plan": "free" })
}

#[tokio::test]
async fn a_repeated_call_makes_one_tenant_and_the_key_stands_for_its_request() {
    let rig = Rig::start().await;
    let first = rig.post("/v1/tenants").token(OPERATOR).key("a").json(&shop()).send().await;
    let made = first.expect(201);
    let again = rig.post("/v1/tenants").token(OPERATOR).key("a").json(&shop()).send().await;
    assert_eq!(
        (again.expect(201), again.headers["location"].clone()),
        (made.clone(), first.headers["location"].clone())
    );
    let other = json!({ "code": "pots", "name": "Pots", "plan": "free" });
    rig.post("/v1/tenants").token(OPERATOR).key("a").json(&other).send().await.refused(422, "idempotency_mismatch");
    rig.post("/v1/tenants").token(OPERATOR).key("b").json(&shop()).send().await.refused(409, "conflict");
    rig.post("/v1/tenants").token(OPERATOR).json(&other).send().await.refused(400, "invalid_request");
    let page = rig.get("/v1/tenants").token(OPERATOR).send().await.expect(200);
    assert_eq!(page["items"], json!([made]));
}

#[tokio::test]
async fn every_wrong_member_is_named_at_once_and_nothing_is_made() {
    let rig = Rig::start().await;
    let bad = json!({ "code": "Kettles!", "name": "", "role": "owner" });
    let refused = rig.post("/v1/tenants").token(OPERATOR).key("a").json(&bad).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["code", "name", "plan", "role"]);
    let page = rig.get("/v1/tenants").token(OPERATOR).send().await.expect(200);
    assert_eq!(page["items"], json!([]));
}

#[tokio::test]
async fn a_stale_change_is_refused_with_what_is_there() {
    let rig = Rig::start().await;
    let made = rig.post("/v1/tenants").token(OPERATOR).key("a").json(&shop()).send().await.expect(201);
    let path = format!("/v1/tenants/{}", made["id"].as_str().unwrap());
    let tag = rig.get(&path).token(OPERATOR).send().await.headers["etag"].to_str().unwrap().to_owned();
    let change = |name: &str| rig.patch(&path).token(OPERATOR).header("if-match", &tag).json(&json!({ "name": name }));
    let changed = change("Pots").send().await.expect(200);
    assert_eq!((&changed["name"], &changed["version"]), (&json!("Pots"), &json!(2)));
    let stale = change("Pans").send().await.refused(412, "precondition_failed");
    assert_eq!(stale["current"], changed);
    let same = rig.patch(&path).token(OPERATOR).json(&json!({ "name": "Pots" })).send().await.expect(200);
    assert_eq!(same, changed, "the same again changes nothing");
}

#[tokio::test]
async fn nobody_but_the_operator_sees_tenants() {
    let rig = Rig::start().await;
    for ask in [rig.get("/v1/tenants"), rig.post("/v1/tenants").key("a").json(&shop())] {
        ask.send().await.refused(401, "unauthenticated");
    }
    rig.get("/v1/tenants").token("operator-secret").send().await.refused(401, "unauthenticated");
    rig.get("/v1/tenants/7").token(OPERATOR).send().await.refused(404, "not_found");
    rig.get("/v1/tenants/x").token(OPERATOR).send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_suspended_tenant_reads_and_changes_nothing() {
    let rig = Rig::start().await;
    let (tenant, other) = (rig.tenant("kettles").await, rig.tenant("pots").await);
    let permissions = ["read_settings", "write_settings", "write_keys"];
    let (key, others) = (rig.key_of(&tenant, &permissions).await, rig.key_of(&other, &permissions).await);
    let path = format!("/v1/tenants/{tenant}");
    let set = |state: &str| rig.patch(&path).token(OPERATOR).json(&json!({ "state": state })).send();
    set("suspended").await.expect(200);
    let new_key = json!({ "name": "one more", "permissions": ["read_settings"] });
    let writes = || {
        [
            rig.put("/v1/branding").token(&key).json(&json!({})),
            rig.post("/v1/keys").token(&key).fresh().json(&new_key),
            rig.delete("/v1/keys/1").token(&key),
        ]
    };
    for ask in writes() {
        let refused = ask.send().await.refused(403, "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("suspended"), "{refused}");
    }
    assert_eq!(
        rig.get("/v1/branding").token(&key).send().await.expect(200)["version"],
        2,
        "nothing but its state changed"
    );
    rig.put("/v1/branding").token(&others).json(&json!({})).send().await.expect(200);
    set("open").await.expect(200);
    for (ask, status) in writes().into_iter().zip([200, 201, 204]) {
        ask.send().await.expect(status);
    }
}

#[tokio::test]
async fn the_operator_acts_for_a_tenant_that_is_there() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let ask = |tenant: &str| rig.get("/v1/branding").token(OPERATOR).header("flashsale-tenant", tenant).send();
    assert_eq!(ask(&tenant).await.expect(200)["tenant"], "kettles");
    ask("99").await.refused(404, "not_found");
    for none in ["0", "-1", "x", "4294967296"] {
        ask(none).await.refused(400, "invalid_request");
    }
}
