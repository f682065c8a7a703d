//! Plans: their operator's alone; a tenant has one that exists, and its quotas hold at once.

use std::time::Duration;

use serde_json::json;

use super::rig::{OPERATOR, Rig};

async fn plan(rig: &Rig, code: &str, quotas: serde_json::Value) {
    let answer = rig.put(&format!("/v1/plans/{code}")).token(OPERATOR).json(&json!({ "quotas": quotas })).send().await;
    assert!(answer.status == 200 || answer.status == 201, "{}", answer.status);
}

#[tokio::test]
async fn a_new_deployment_has_three_plans_and_more_are_made() {
    let rig = Rig::start().await;
    let made = rig.put("/v1/plans/gold").token(OPERATOR).json(&json!({ "quotas": { "keys": 7 } })).send().await;
    assert_eq!(
        (&made.expect(201)["quotas"]["keys"], made.headers["location"].as_bytes()),
        (&json!(7), &b"/v1/plans/gold"[..])
    );
    let page = rig.get("/v1/plans?limit=3").token(OPERATOR).send().await.expect(200);
    let codes = |page: &serde_json::Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|plan| plan["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codes(&page), ["free", "gold", "standard"]);
    let rest = format!("/v1/plans?limit=3&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(codes(&rig.get(&rest).token(OPERATOR).send().await.expect(200)), ["unlimited"]);
    rig.get("/v1/plans/silver").token(OPERATOR).send().await.refused(404, "not_found");
    rig.put("/v1/plans/Silver").token(OPERATOR).json(&json!({ "quotas": {} })).send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_stale_change_of_a_plan_is_refused_and_a_repeated_one_changes_nothing() {
    let rig = Rig::start().await;
    let tag = rig.get("/v1/plans/free").token(OPERATOR).send().await.headers["etag"].to_str().unwrap().to_owned();
    let put = |keys: u32| {
        rig.put("/v1/plans/free").token(OPERATOR).header("if-match", &tag).json(&json!({ "quotas": { "keys": keys } }))
    };
    let changed = put(9).send().await.expect(200);
    assert_eq!((&changed["version"], &changed["quotas"]["keys"]), (&json!(2), &json!(9)));
    for keys in [9, 10] {
        assert_eq!(put(keys).send().await.refused(412, "precondition_failed")["current"], changed);
    }
    let unknown = rig.put("/v1/plans/gold").token(OPERATOR).header("if-match", "\"1\"").json(&json!({ "quotas": {} }));
    unknown.send().await.refused(404, "not_found");
}

#[tokio::test]
async fn every_wrong_quota_is_named_at_once() {
    let rig = Rig::start().await;
    let bad = json!({ "quotas": { "keys": -1, "requests_per_s": 0, "moons": 3 }, "code": "x" });
    let refused = rig.put("/v1/plans/free").token(OPERATOR).json(&bad).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["code", "quotas.keys", "quotas.moons", "quotas.requests_per_s"]);
}

#[tokio::test]
async fn nobody_but_the_operator_sees_or_changes_plans() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["read_settings", "write_settings"]).await;
    rig.get("/v1/plans").token(&key).send().await.refused(403, "forbidden");
    rig.put("/v1/plans/free").token(&key).json(&json!({ "quotas": {} })).send().await.refused(403, "forbidden");
    rig.get("/v1/plans").send().await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_tenants_plan_exists() {
    let rig = Rig::start().await;
    let shop = json!({ "code": "kettles", "name": "Kettles", "plan": "platinum" });
    let refused = rig.post("/v1/tenants").token(OPERATOR).fresh().json(&shop).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["plan"]);
    let path = format!("/v1/tenants/{}", rig.tenant("kettles").await);
    let refused = rig.patch(&path).token(OPERATOR).json(&json!({ "plan": "platinum" })).send().await;
    assert_eq!(refused.wrong_fields(), ["plan"]);
    assert_eq!(
        rig.patch(&path).token(OPERATOR).json(&json!({ "plan": "standard" })).send().await.expect(200)["plan"],
        "standard"
    );
}

#[tokio::test]
async fn a_tenant_asks_as_often_as_its_plan_allows_and_hinders_no_other() {
    let rig = Rig::start().await;
    plan(&rig, "slow", json!({ "requests_per_s": 2 })).await;
    let (slow, other) = (rig.tenant_on("kettles", "slow").await, rig.tenant_on("pots", "slow").await);
    let (key, second) = (rig.key_of(&slow, &["read_keys"]).await, rig.key_of(&slow, &["read_keys"]).await);
    let others = rig.key_of(&other, &["read_keys"]).await;
    rig.get("/v1/keys").token(&key).send().await.expect(200);
    rig.get("/v1/keys").token(&second).send().await.expect(200);
    let refused = rig.get("/v1/keys").token(&key).send().await;
    refused.refused(429, "rate_limited");
    let header = |name: &str| refused.headers[name].to_str().unwrap().to_owned();
    assert_eq!((header("retry-after"), header("ratelimit-policy")), ("1".to_owned(), "\"tenant\";q=2;w=1".to_owned()));
    rig.get("/v1/keys").token(&others).send().await.expect(200);
    rig.get("/v1/keys").token(OPERATOR).header("flashsale-tenant", &slow).send().await.expect(200);
    rig.clock.advance(Duration::from_millis(500));
    rig.get("/v1/keys").token(&second).send().await.expect(200);
    rig.get("/v1/keys").token(&second).send().await.refused(429, "rate_limited");
    plan(&rig, "slow", json!({})).await;
    rig.get("/v1/keys").token(&second).send().await.expect(200);
}

#[tokio::test]
async fn a_plan_with_less_than_a_tenant_has_takes_nothing_and_gives_no_more() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["read_keys", "write_keys"]).await;
    plan(&rig, "unlimited", json!({ "keys": 0 })).await;
    rig.get("/v1/keys").token(&key).send().await.expect(200);
    let body = json!({ "name": "one more", "permissions": ["read_keys"] });
    let refused = rig.post("/v1/keys").token(&key).fresh().json(&body).send().await.refused(403, "quota_exceeded");
    assert_eq!(refused["current"], json!({ "quota": "keys", "limit": 0, "used": 1 }));
}

#[tokio::test]
async fn the_same_plan_again_changes_nothing_and_two_who_make_one_at_once_make_one() {
    let rig = Rig::start().await;
    let put = |keys: u32| rig.put("/v1/plans/gold").token(OPERATOR).json(&json!({ "quotas": { "keys": keys } })).send();
    // A connection for each is there already, so that both are under way at once.
    let plans = || rig.get("/v1/plans").token(OPERATOR).send();
    tokio::join!(plans(), plans(), plans());
    let (one, other) = tokio::join!(put(1), put(1));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    assert_eq!((&one.json()["version"], one.json()), (&json!(1), other.json()));
    assert_eq!(put(1).await.expect(200)["version"], 1);
    let log = rig.get("/v1/audit").token(OPERATOR).send().await.expect(200);
    assert_eq!(log["items"].as_array().unwrap().len(), 1);
    assert_eq!(put(2).await.expect(200)["version"], 2);
}

#[tokio::test]
async fn a_tenant_sees_its_own_plan() {
    let rig = Rig::start().await;
    let tenant = rig.tenant_on("kettles", "free").await;
    let key = rig.key_of(&tenant, &["read_settings"]).await;
    let own = rig.get("/v1/own-plan").token(&key).send().await.expect(200);
    assert_eq!((&own["plan"], &own["quotas"]["keys"], &own["quotas"]["sales"]), (&json!("free"), &json!(5), &json!(5)));
    let blind = rig.key_of(&tenant, &["read_keys"]).await;
    rig.get("/v1/own-plan").token(&blind).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn as_many_buyers_tokens_are_minted_as_the_plan_allows() {
    let rig = Rig::start().await;
    plan(&rig, "small", json!({ "buyer_tokens_per_s": 3 })).await;
    let tenant = rig.tenant_on("kettles", "small").await;
    let key = rig.key_of(&tenant, &["write_buyer_tokens"]).await;
    let mint = async |count: u32| {
        let buyers: Vec<_> = (0..count).map(|number| json!({ "id": format!("u-{number}") })).collect();
        rig.post("/v1/buyer-tokens").token(&key).json(&json!({ "buyers": buyers })).send().await
    };
    mint(2).await.expect(200);
    let refused = mint(2).await;
    refused.refused(429, "rate_limited");
    assert_eq!(refused.headers["ratelimit-policy"], "\"buyer_tokens\";q=3;w=1");
    mint(1).await.expect(200);
    rig.clock.advance(Duration::from_secs(1));
    let never = mint(4).await;
    never.refused(429, "rate_limited");
    assert!(never.headers.get("retry-after").is_none(), "coming back does not help");
    mint(3).await.expect(200);
}
