//! Usage: requests by key and calendar month. Counted in memory and written by the housekeeping;
//! none is counted twice.

use std::{sync::Arc, time::Duration};

use catalog::house;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    rig::{OPERATOR, Rig},
    staff::Staff,
};

const DAYS: Duration = Duration::from_secs(20 * 24 * 3_600);

/// A tenant whose month has so many requests.
async fn tenant_with(rig: &Rig, requests: u32) -> String {
    let quotas = json!({ "quotas": { "requests_per_month": requests } });
    rig.put("/v1/plans/metered").token(OPERATOR).json(&quotas).send().await.expect(201);
    rig.tenant_on("kettles", "metered").await
}

async fn ask(rig: &Rig, key: &str, times: usize) {
    for _ in 0..times {
        rig.get("/v1/keys").token(key).send().await.expect(200);
    }
}

/// What the operator sees: he is not counted.
async fn usage(rig: &Rig, tenant: &str, query: &str) -> Value {
    let path = format!("/v1/usage{query}");
    rig.get(&path).token(OPERATOR).header("flashsale-tenant", tenant).send().await.expect(200)
}

#[tokio::test]
async fn requests_are_counted_by_key_and_month() {
    let rig = Rig::start().await;
    let tenant = tenant_with(&rig, 1_000).await;
    let (one, two) = (rig.key_of(&tenant, &["read_keys"]).await, rig.key_of(&tenant, &["read_keys"]).await);
    ask(&rig, &one, 3).await;
    ask(&rig, &two, 1).await;
    house::put_in_order(&rig.catalog).await;
    ask(&rig, &one, 2).await;
    house::put_in_order(&rig.catalog).await;
    let items = json!([{ "actor": "key:1", "requests": 5 }, { "actor": "key:2", "requests": 1 }]);
    let november = json!({ "month": "2026-11", "requests": 6, "requests_per_month": 1_000, "items": items });
    assert_eq!(usage(&rig, &tenant, "").await, november);
    let page = usage(&rig, &tenant, "?limit=1").await;
    assert_eq!((&page["items"][0]["actor"], &page["next_cursor"]), (&json!("key:1"), &json!("key:1")));
    assert_eq!(usage(&rig, &tenant, "?limit=1&cursor=key:1").await["items"][0]["actor"], "key:2");
    rig.clock.advance(DAYS);
    ask(&rig, &two, 1).await;
    house::put_in_order(&rig.catalog).await;
    assert_eq!(usage(&rig, &tenant, "?month=2026-11").await, november);
    assert_eq!(usage(&rig, &tenant, "").await["requests"], 1);
    let wrong = rig.get("/v1/usage?month=11-2026").token(OPERATOR).header("flashsale-tenant", &tenant).send().await;
    wrong.refused(400, "invalid_request");
    assert_eq!(wrong.wrong_fields(), ["month"]);
}

#[tokio::test]
async fn a_tenant_sees_its_own_usage_alone() {
    let rig = Rig::start().await;
    let (one, other) = (rig.tenant("kettles").await, rig.tenant("pots").await);
    let (theirs, ours) = (rig.key_of(&one, &["read_settings"]).await, rig.key_of(&other, &["read_settings"]).await);
    rig.get("/v1/usage").token(&theirs).send().await.expect(200);
    house::put_in_order(&rig.catalog).await;
    let seen = rig.get("/v1/usage").token(&ours).header("flashsale-tenant", &one).send().await.expect(200);
    assert_eq!((&seen["requests"], &seen["items"]), (&json!(0), &json!([])));
    rig.get("/v1/usage?tenant=1").token(&ours).send().await.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_month_that_is_used_up_is_refused_until_the_next_one() {
    let rig = Rig::start().await;
    let tenant = tenant_with(&rig, 3).await;
    let key = rig.key_of(&tenant, &["read_keys"]).await;
    ask(&rig, &key, 3).await;
    let refused = rig.get("/v1/keys").token(&key).send().await.refused(403, "quota_exceeded");
    assert_eq!(refused["current"], json!({ "quota": "requests_per_month", "limit": 3, "used": 3 }));
    house::put_in_order(&rig.catalog).await;
    rig.get("/v1/keys").token(&key).send().await.refused(403, "quota_exceeded");
    rig.clock.advance(DAYS);
    ask(&rig, &key, 1).await;
}

/// A kill loses what was not written, and what was written counts in the next process.
#[tokio::test]
async fn what_was_written_counts_after_a_kill() {
    let rig = Rig::start().await;
    let tenant = tenant_with(&rig, 3).await;
    let key = rig.key_of(&tenant, &["read_keys"]).await;
    ask(&rig, &key, 2).await;
    house::put_in_order(&rig.catalog).await;
    ask(&rig, &key, 1).await;
    let rig = rig.restart().await;
    ask(&rig, &key, 1).await;
    rig.get("/v1/keys").token(&key).send().await.refused(403, "quota_exceeded");
    house::put_in_order(&rig.catalog).await;
    assert_eq!(usage(&rig, &tenant, "").await["requests"], 3);
}

#[tokio::test]
async fn the_drain_writes_what_was_counted() {
    let rig = Rig::start().await;
    let tenant = tenant_with(&rig, 1_000).await;
    let key = rig.key_of(&tenant, &["read_keys"]).await;
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(house::keep_house(Arc::clone(&rig.catalog), stop.clone()));
    ask(&rig, &key, 4).await;
    stop.cancel();
    keeping.await.unwrap();
    assert_eq!(usage(&rig, &tenant, "").await["requests"], 4);
    let keys = rig.get("/v1/keys").token(&key).send().await.expect(200);
    assert_eq!(keys["items"][0]["last_used_at"], "2026-11-11T00:00:00.000Z");
}

/// People must see why nothing else is answered.
#[tokio::test]
async fn people_read_on_in_a_month_that_is_used_up() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let ann = staff.signed_in("ann@kettles.example", &["owner"]).await;
    let key = rig.key_of(&staff.tenant, &["read_settings"]).await;
    let quotas = json!({ "quotas": { "requests_per_month": 1 } });
    rig.put("/v1/plans/free").token(OPERATOR).json(&quotas).send().await.expect(200);
    rig.get("/v1/own-plan").token(&key).send().await.expect(200);
    rig.get("/v1/own-plan").token(&key).send().await.refused(403, "quota_exceeded");
    rig.get("/v1/own-plan").token(&ann).send().await.expect(200);
    rig.put("/v1/branding").token(&ann).json(&json!({})).send().await.refused(403, "quota_exceeded");
    house::put_in_order(&rig.catalog).await;
    let used = rig.get("/v1/usage").token(&ann).send().await.expect(200);
    assert_eq!(used["items"], json!([{ "actor": "key:1", "requests": 1 }, { "actor": "user:1", "requests": 1 }]));
}
