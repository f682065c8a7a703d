//! Feature flags: declared by the operator, read by tenants, the same at each look.

use std::time::Duration;

use catalog::flags;
use serde_json::{Value, json};

use super::rig::{OPERATOR, Rig};

fn flag(rules: Value) -> Value {
    let mut flag = json!({ "description": "the new checkout", "default": false });
    flag.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
    flag
}

#[tokio::test]
async fn a_tenant_reads_what_holds_for_it() {
    let rig = Rig::start().await;
    let (one, other) = (rig.tenant("kettles").await, rig.tenant_on("pots", "free").await);
    let put =
        |code: &str, rules: Value| rig.put(&format!("/v1/flags/{code}")).token(OPERATOR).json(&flag(rules)).send();
    put("all", json!({ "per_mille": 1000 })).await.expect(201);
    put("free-plan", json!({ "plans": [{ "plan": "free", "on": true }] })).await.expect(201);
    put("nobody", json!({})).await.expect(201);
    put("ours", json!({ "default": true, "tenants": [{ "tenant": one, "on": false }] })).await.expect(201);
    for (tenant, on) in [(&one, [true, false, false, false]), (&other, [true, true, false, true])] {
        let key = rig.key_of(tenant, &["read_settings"]).await;
        let read = rig.get("/v1/effective-flags").token(&key).send().await.expect(200);
        let codes = ["all", "free-plan", "nobody", "ours"];
        let expected: Vec<_> = codes.iter().zip(on).map(|(code, on)| json!({ "code": code, "on": on })).collect();
        assert_eq!(read["flags"], json!(expected));
        rig.get("/v1/flags").token(&key).send().await.refused(403, "forbidden");
        let tenant = tenant.parse().unwrap();
        assert_eq!(flags::is_on(&rig.catalog, tenant, "ours").await.unwrap(), on[3]);
        assert!(!flags::is_on(&rig.catalog, tenant, "unknown").await.unwrap());
    }
}

#[tokio::test]
async fn a_change_holds_here_at_once_and_everywhere_in_some_seconds() {
    let rig = Rig::start().await;
    let tenant: u32 = rig.tenant("kettles").await.parse().unwrap();
    let put = |on: bool| rig.put("/v1/flags/x").token(OPERATOR).json(&flag(json!({ "default": on }))).send();
    let is_on = async || flags::is_on(&rig.catalog, tenant, "x").await.unwrap();
    put(true).await.expect(201);
    assert!(is_on().await);
    put(false).await.expect(200);
    assert!(!is_on().await);
    // As another process would change it.
    let change = "UPDATE flags SET rules = '{\"default\":true}'";
    store::sql::Sql::exec(&rig.db, change, vec![]).await.unwrap();
    assert!(!is_on().await);
    rig.clock.advance(Duration::from_secs(5));
    assert!(is_on().await);
    rig.delete("/v1/flags/x").token(OPERATOR).send().await.expect(204);
    assert!(!is_on().await);
}

#[tokio::test]
async fn a_stale_flag_is_refused_and_a_bad_one_names_every_member() {
    let rig = Rig::start().await;
    let made = rig.put("/v1/flags/x").token(OPERATOR).json(&flag(json!({}))).send().await;
    assert_eq!((made.expect(201)["version"].clone(), &made.headers["etag"]), (json!(1), &"\"1\"".parse().unwrap()));
    let put = |per_mille: u32| {
        let body = flag(json!({ "per_mille": per_mille }));
        rig.put("/v1/flags/x").token(OPERATOR).header("if-match", "\"1\"").json(&body).send()
    };
    let changed = put(10).await.expect(200);
    let again = rig.put("/v1/flags/x").token(OPERATOR).json(&flag(json!({ "per_mille": 10 }))).send().await;
    assert_eq!(again.expect(200), changed, "the same again changes nothing");
    assert_eq!(put(20).await.refused(412, "precondition_failed")["current"], changed);
    let stale = rig.delete("/v1/flags/x").token(OPERATOR).header("if-match", "\"1\"").send().await;
    assert_eq!(stale.refused(412, "precondition_failed")["current"], changed);
    assert_eq!(rig.get("/v1/flags").token(OPERATOR).send().await.expect(200)["items"], json!([changed]));
    let bad = json!({ "description": "", "per_mille": 1001, "plans": [{ "plan": "Free", "on": true }], "x": 1 });
    let refused = rig.put("/v1/flags/x").token(OPERATOR).json(&bad).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["default", "description", "per_mille", "plans[0].plan", "x"]);
    rig.put("/v1/flags/X").token(OPERATOR).json(&flag(json!({}))).send().await.refused(404, "not_found");
    rig.delete("/v1/flags/y").token(OPERATOR).send().await.refused(404, "not_found");
}
