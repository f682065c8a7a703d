//! Login by WeChat, against a simulator of its API: whatever it answers becomes an answer that says
//! what to do, and neither the shop's secret nor the session key gets out.

use serde_json::{Value, json};

use super::{
    buyers::{of, shops},
    erasure::everything,
    rig::{Answer, BEGIN_MS, OPERATOR, Rig},
    simulator::{SECRET, SESSION_KEY, Simulator, nobody},
};

/// A shop `kettles`; its number.
pub(crate) async fn shop(rig: &Rig) -> u32 {
    rig.tenant("kettles").await.parse().unwrap()
}

/// The shop's credentials with a provider.
pub(crate) async fn provide(rig: &Rig, tenant: u32, kind: &str, secret: &str) -> Value {
    let body = json!({ "app_id": format!("wx-{kind}"), "secret": secret });
    of(tenant, rig.put(&format!("/v1/login-providers/{kind}"))).json(&body).send().await.expect(200)
}

async fn log_in(rig: &Rig, body: &Value) -> Answer {
    rig.post("/v1/buyer-sessions/wechat").json(body).send().await
}

async fn with_code(rig: &Rig, code: &str) -> Answer {
    log_in(rig, &json!({ "tenant": "kettles", "code": code })).await
}

#[tokio::test]
async fn a_user_is_the_same_buyer_each_time_and_another_one_in_another_app() {
    let wechat = Simulator::start();
    let rig = Rig::start_with(wechat.outside.clone()).await;
    let tenant = shop(&rig).await;
    provide(&rig, tenant, "wechat_mini_program", SECRET).await;
    provide(&rig, tenant, "wechat_page", SECRET).await;
    let first = with_code(&rig, "user_ann_1").await;
    assert_eq!(first.headers["cache-control"], "no-store");
    assert!(!String::from_utf8_lossy(&first.body).contains(SESSION_KEY));
    let first = first.expect(200);
    assert_eq!(with_code(&rig, "user_ann_2").await.expect(200)["buyer"], first["buyer"]);
    assert_ne!(with_code(&rig, "user_bob_1").await.expect(200)["buyer"], first["buyer"]);
    let page = json!({ "tenant": "kettles", "code": "user_ann_3", "app": "page" });
    let on_page = log_in(&rig, &page).await.expect(200);
    assert_ne!(on_page["buyer"], first["buyer"], "WeChat names users anew for each app");
    assert_eq!(wechat.paths().last().unwrap(), "/sns/oauth2/access_token");
    let claims = super::buyers::claims(&rig, &first["token"]);
    assert_eq!(
        (claims.tenant, claims.member, claims.buyer.to_string()),
        (tenant, false, first["buyer"].as_str().unwrap().into())
    );
    assert_eq!(claims.expires_ms, BEGIN_MS + 24 * 3_600_000);
    let rows = everything(&rig).await;
    for secret in [SECRET, SESSION_KEY, "o-ann"] {
        assert!(!rows.contains(secret), "{secret} stands in the database");
    }
}

#[tokio::test]
async fn each_answer_of_wechat_says_what_to_do() {
    let wechat = Simulator::start();
    let rig = Rig::start_with(wechat.outside.clone()).await;
    let tenant = shop(&rig).await;
    provide(&rig, tenant, "wechat_mini_program", SECRET).await;
    for (code, status, expected) in [
        ("error_40029", 401, "unauthenticated"),
        ("error_40226", 403, "forbidden"),
        ("error_40013", 409, "conflict"),
        ("error_-1", 503, "temporarily_unavailable"),
        ("status_500", 503, "temporarily_unavailable"),
        ("broken", 503, "temporarily_unavailable"),
        ("nameless", 503, "temporarily_unavailable"),
        ("slow", 503, "temporarily_unavailable"),
    ] {
        let problem = with_code(&rig, code).await.refused(status, expected);
        assert!(!problem.to_string().contains(SECRET), "{code}: {problem}");
    }
    let often = with_code(&rig, "error_45011").await;
    often.refused(429, "rate_limited");
    assert_eq!(often.headers["retry-after"], "60");
    with_code(&rig, "user_ann").await.expect(200);
    with_code(&rig, "user_ann").await.refused(401, "unauthenticated");
    provide(&rig, tenant, "wechat_mini_program", "another").await;
    with_code(&rig, "user_bob").await.refused(409, "conflict");
}

#[tokio::test]
async fn without_shop_provider_or_way_out_nobody_is_logged_in() {
    let rig = Rig::start_with(nobody()).await;
    with_code(&rig, "user_ann").await.refused(404, "not_found");
    let tenant = shop(&rig).await;
    with_code(&rig, "user_ann").await.refused(404, "not_found");
    provide(&rig, tenant, "wechat_mini_program", SECRET).await;
    with_code(&rig, "user_ann").await.refused(503, "temporarily_unavailable");
    let closed = json!({ "state": "suspended" });
    rig.patch(&format!("/v1/tenants/{tenant}")).token(OPERATOR).json(&closed).send().await.expect(200);
    with_code(&rig, "user_ann").await.refused(404, "not_found");
    let wrong = log_in(&rig, &json!({ "tenant": "Kettles", "code": "a b", "app": "watch", "buyer": "1" })).await;
    wrong.refused(400, "invalid_request");
    assert_eq!(wrong.wrong_fields(), ["app", "buyer", "code", "tenant"]);
}

#[tokio::test]
async fn a_secret_is_never_shown_and_a_stale_one_is_not_set() {
    let (rig, tenant, other) = shops().await;
    let set = provide(&rig, tenant, "phone", SECRET).await;
    assert_eq!(set, json!({ "kind": "phone", "app_id": "wx-phone", "version": 1 }));
    let path = "/v1/login-providers/phone";
    let put = |tag: &str, app: &str| {
        let body = json!({ "app_id": app, "secret": "new" });
        of(tenant, rig.put(path)).header("if-match", tag).json(&body)
    };
    let changed = put("\"1\"", "other").send().await;
    assert_eq!(changed.headers["etag"], "\"2\"");
    let stale = put("\"1\"", "third").send().await.refused(412, "precondition_failed");
    assert_eq!(stale["current"], changed.expect(200));
    let list = of(tenant, rig.get("/v1/login-providers")).send().await.expect(200);
    assert_eq!(list["items"], json!([{ "kind": "phone", "app_id": "other", "version": 2 }]));
    assert_eq!(of(other, rig.get("/v1/login-providers")).send().await.expect(200)["items"], json!([]));
    of(other, rig.delete(path)).send().await.refused(404, "not_found");
    let rows = everything(&rig).await;
    assert!(!rows.contains(SECRET) && rows.contains("login_provider.put"), "{rows}");
    of(tenant, rig.delete(path)).header("if-match", "\"1\"").send().await.refused(412, "precondition_failed");
    of(tenant, rig.delete(path)).header("if-match", "\"2\"").send().await.expect(204);
    of(tenant, rig.delete(path)).send().await.refused(404, "not_found");
    of(tenant, rig.put("/v1/login-providers/fax")).json(&json!({})).send().await.refused(404, "not_found");
    let wrong = of(tenant, rig.put(path)).json(&json!({ "app_id": "a b", "tenant": 8 })).send().await;
    assert_eq!(wrong.wrong_fields(), ["app_id", "secret", "tenant"]);
}
