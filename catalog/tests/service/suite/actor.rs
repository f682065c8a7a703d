//! Who asks, as other services of the deployment are told.

use serde_json::json;

use super::rig::{OPERATOR, Rig};

#[tokio::test]
async fn a_key_is_told_with_its_tenant_and_what_it_may_do_now() {
    let rig = Rig::start().await;
    let tenant = rig.tenant_on("alpha", "unlimited").await;
    let key = rig.key_of(&tenant, &["read_orders", "write_orders"]).await;
    let ask = || rig.get("/v1/actor").token(&key).header("flashsale-tenant", "999");
    let told = ask().send().await.expect(200);
    assert_eq!((&told["tenant"], &told["permissions"]), (&json!(tenant), &json!(["read_orders", "write_orders"])));
    assert!(told["who"].as_str().unwrap().starts_with("key:"), "{told}");

    let path = format!("/v1/tenants/{tenant}");
    rig.patch(&path).token(OPERATOR).json(&json!({ "state": "suspended" })).send().await.expect(200);
    assert_eq!(ask().send().await.expect(200)["permissions"], json!(["read_orders"]), "a suspended tenant reads");
    rig.get("/v1/actor").token("fsk_1_wrong").send().await.refused(401, "unauthenticated");
    rig.get("/v1/actor").send().await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_operator_acts_for_the_tenant_that_he_names() {
    let rig = Rig::start().await;
    let tenant = rig.tenant_on("alpha", "unlimited").await;
    let told = rig.get("/v1/actor").token(OPERATOR).header("flashsale-tenant", &tenant).send().await.expect(200);
    assert_eq!((&told["who"], &told["tenant"]), (&json!("operator"), &json!(tenant)));
    assert!(told["permissions"].as_array().unwrap().contains(&json!("write_payments")), "{told}");
    rig.get("/v1/actor").token(OPERATOR).header("flashsale-tenant", "999999").send().await.refused(404, "not_found");
    assert_eq!(rig.get("/v1/actor").token(OPERATOR).send().await.expect(200)["tenant"], "0");
}
