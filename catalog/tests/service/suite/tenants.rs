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
