//! Roles: built in and a tenant's own; what changes of them counts at once.

use kit::http::Method;
use serde_json::{Value, json};

use super::{rig::Rig, staff::Staff};

fn role(permissions: &[&str]) -> Value {
    json!({ "name": "Packers", "permissions": permissions })
}

#[tokio::test]
async fn a_role_is_put_replaced_by_its_version_and_deleted() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let put = |permissions: &[&str]| staff.operator(Method::PUT, "/v1/roles/packers").json(&role(permissions));
    let made = put(&["read_stock"]).send().await.expect(200);
    assert_eq!((&made["version"], &made["built_in"]), (&json!(1), &json!(false)));
    assert_eq!(put(&["read_stock"]).send().await.expect(200), made, "the same again changes nothing");
    let blind = put(&["read_stock", "write_stock"]).send().await.refused(412, "precondition_failed");
    assert_eq!(blind["current"], made);
    let changed = put(&["write_stock", "read_stock"]).header("if-match", "\"1\"").send().await.expect(200);
    assert_eq!((&changed["version"], &changed["permissions"]), (&json!(2), &json!(["read_stock", "write_stock"])));
    put(&["read_stock"]).header("if-match", "\"1\"").send().await.refused(412, "precondition_failed");
    let page = staff.operator(Method::GET, "/v1/roles?limit=4").send().await.expect(200);
    let codes: Vec<_> = page["items"].as_array().unwrap().iter().map(|role| role["code"].clone()).collect();
    assert_eq!(codes, ["finance", "operator", "owner", "packers"]);
    let rest = format!("/v1/roles?cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = staff.operator(Method::GET, &rest).send().await.expect(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    let delete = |tag: &'static str| staff.operator(Method::DELETE, "/v1/roles/packers").header("if-match", tag).send();
    delete("\"1\"").await.refused(412, "precondition_failed");
    delete("\"2\"").await.expect(204);
    delete("\"2\"").await.refused(404, "not_found");
    staff.operator(Method::GET, "/v1/roles/packers").send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_built_in_role_and_one_that_is_held_stay() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let wanted = role(&["read_stock"]);
    staff.operator(Method::PUT, "/v1/roles/viewer").json(&wanted).send().await.refused(409, "conflict");
    staff.operator(Method::DELETE, "/v1/roles/viewer").send().await.refused(409, "conflict");
    staff.operator(Method::PUT, "/v1/roles/packers").json(&wanted).send().await.expect(200);
    staff.invite("ann@example.com", &["packers"]).await;
    staff.operator(Method::DELETE, "/v1/roles/packers").send().await.refused(409, "conflict");
}

#[tokio::test]
async fn nobody_makes_changes_or_deletes_a_role_with_what_he_lacks() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let hr = json!({ "name": "People", "permissions": ["read_people", "write_people"] });
    staff.operator(Method::PUT, "/v1/roles/hr").json(&hr).send().await.expect(200);
    staff.operator(Method::PUT, "/v1/roles/packers").json(&role(&["read_stock"])).send().await.expect(200);
    let token = staff.signed_in("hr@example.com", &["hr"]).await;
    let put = |path: &str, permissions: &[&str]| rig.put(path).token(&token).json(&role(permissions));
    let refused = put("/v1/roles/mine", &["read_people", "write_payments"]).send().await.refused(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("`write_payments`"), "{refused}");
    put("/v1/roles/mine", &["write_tenants"]).send().await.refused(403, "forbidden");
    put("/v1/roles/mine", &["read_people"]).send().await.expect(200);
    // Also not to take it from those who have it.
    let emptied = put("/v1/roles/packers", &[]).header("if-match", "\"1\"").send().await;
    emptied.refused(403, "forbidden");
    rig.delete("/v1/roles/packers").token(&token).send().await.refused(403, "forbidden");
    rig.delete("/v1/roles/mine").token(&token).send().await.expect(204);
}

#[tokio::test]
async fn what_is_the_operators_is_in_no_role() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let wanted = role(&["write_tenants"]);
    staff.operator(Method::PUT, "/v1/roles/kings").json(&wanted).send().await.refused(403, "forbidden");
    let token = staff.signed_in("ann@example.com", &["owner"]).await;
    rig.get("/v1/tenants").token(&token).send().await.refused(403, "forbidden");
    let key = rig.post("/v1/signing-keys").token(&token).key("a").send().await;
    key.refused(403, "forbidden");
}

#[tokio::test]
async fn a_change_of_a_held_role_counts_at_once() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.operator(Method::PUT, "/v1/roles/packers").json(&role(&["read_people"])).send().await.expect(200);
    let token = staff.signed_in("ann@example.com", &["packers"]).await;
    rig.get("/v1/roles").token(&token).send().await.expect(200);
    let emptied = staff.operator(Method::PUT, "/v1/roles/packers").header("if-match", "\"1\"").json(&role(&[]));
    emptied.send().await.expect(200);
    rig.get("/v1/roles").token(&token).send().await.refused(403, "forbidden");
    let me = rig.get("/v1/me").token(&token).send().await.expect(200);
    assert_eq!(me["permissions"], json!([]));
}

#[tokio::test]
async fn another_tenants_role_is_like_none_and_wrong_ones_are_named() {
    let rig = Rig::start().await;
    let (kettles, pots) = (Staff::of(&rig, "kettles").await, Staff::of(&rig, "pots").await);
    kettles.operator(Method::PUT, "/v1/roles/packers").json(&role(&["read_stock"])).send().await.expect(200);
    pots.operator(Method::GET, "/v1/roles/packers").send().await.refused(404, "not_found");
    pots.operator(Method::DELETE, "/v1/roles/packers").send().await.refused(404, "not_found");
    let user = json!({ "email": "ann@example.com", "name": "Ann", "roles": ["packers"] });
    let refused = pots.operator(Method::POST, "/v1/users").key("a").json(&user).send().await;
    assert_eq!(refused.wrong_fields(), ["roles[0]"]);
    let bad = json!({ "name": "", "permissions": ["read_everything"], "built_in": true });
    let refused = pots.operator(Method::PUT, "/v1/roles/packers").json(&bad).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["built_in", "name", "permissions[0]"]);
    let refused = pots.operator(Method::PUT, "/v1/roles/Packers").json(&role(&[])).send().await;
    assert_eq!(refused.wrong_fields(), ["role"]);
}
