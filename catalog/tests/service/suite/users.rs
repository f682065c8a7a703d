//! People of a tenant: made by invitation, found by no one else; an owner stays, nobody grants what
//! he lacks, and what is personal is nowhere in clear.

use std::time::Duration;

use catalog::people::first_owner;
use kit::http::Method;
use serde_json::json;
use store::sql::Sql as _;

use super::{
    rig::{OPERATOR, Rig},
    staff::{PASSWORD, Staff},
};

#[tokio::test]
async fn a_user_is_invited_sets_a_password_once_and_signs_in() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let made = staff.invite("Ann@example.com", &["viewer"]).await;
    assert_eq!((&made["email"], &made["invited"]), (&json!("Ann@example.com"), &json!(true)));
    staff.login("ann@example.com", PASSWORD).await.refused(401, "unauthenticated");
    let token = &made["invitation"]["token"];
    staff.set_password(token, "too short").await.refused(400, "invalid_request");
    staff.set_password(token, PASSWORD).await.expect(204);
    staff.set_password(token, PASSWORD).await.refused(404, "not_found");
    staff.login("ann@EXAMPLE.com", PASSWORD).await.expect(201);
    let user = staff.operator(Method::GET, &format!("/v1/users/{}", made["id"].as_str().unwrap())).send().await;
    assert_eq!(user.expect(200)["invited"], false);
}

#[tokio::test]
async fn an_invitation_ends_after_a_day_or_when_another_is_made() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let first = staff.invite("ann@example.com", &["viewer"]).await;
    let path = format!("/v1/users/{}/invitations", first["id"].as_str().unwrap());
    let second = staff.operator(Method::POST, &path).key("again").send().await.expect(201);
    staff.set_password(&first["invitation"]["token"], PASSWORD).await.refused(404, "not_found");
    let repeated = staff.operator(Method::POST, &path).key("again").send().await.expect(201);
    assert_eq!(repeated, json!({ "expires_at": second["expires_at"] }), "the token is shown once");
    rig.clock.advance(Duration::from_secs(24 * 3_600));
    staff.set_password(&second["token"], PASSWORD).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_repeated_call_makes_one_user_and_shows_no_token() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let mut made = staff.invite("ann@example.com", &["viewer"]).await;
    let again = staff.invite("ann@example.com", &["viewer"]).await;
    made.as_object_mut().unwrap().remove("invitation");
    assert_eq!(again, made);
    let page = staff.operator(Method::GET, "/v1/users").send().await.expect(200);
    assert_eq!(page["items"], json!([made]));
}

#[tokio::test]
async fn an_address_is_one_users_of_a_tenant_in_whatever_case() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.invite("ann@example.com", &["viewer"]).await;
    let bob = staff.invite("bob@example.com", &["viewer"]).await;
    let same = json!({ "email": "ANN@example.com", "name": "Ann", "roles": [] });
    let post = || staff.operator(Method::POST, "/v1/users").key("other").json(&same).send();
    post().await.refused(409, "conflict");
    let path = format!("/v1/users/{}", bob["id"].as_str().unwrap());
    let change = json!({ "email": "Ann@Example.com" });
    staff.operator(Method::PATCH, &path).json(&change).send().await.refused(409, "conflict");
    Staff::of(&rig, "pots").await.invite("ann@example.com", &["viewer"]).await;
}

#[tokio::test]
async fn wrong_members_are_named_at_once_and_a_stale_change_shows_what_is_there() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let bad = json!({ "email": "ann", "name": "", "roles": 7, "tenant": "1" });
    let refused = staff.operator(Method::POST, "/v1/users").key("bad").json(&bad).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["email", "name", "roles", "tenant"]);
    let bad = json!({ "email": "ann@example.com", "name": "Ann", "roles": ["viewer", "king", "queen"] });
    let refused = staff.operator(Method::POST, "/v1/users").key("bad").json(&bad).send().await;
    assert_eq!(refused.wrong_fields(), ["roles[1]", "roles[2]"]);
    let made = staff.invite("ann@example.com", &["viewer"]).await;
    let path = format!("/v1/users/{}", made["id"].as_str().unwrap());
    let change = |name: &str| {
        let change = json!({ "name": name });
        staff.operator(Method::PATCH, &path).header("if-match", "\"1\"").json(&change).send()
    };
    let changed = change("Anna").await.expect(200);
    assert_eq!((&changed["name"], &changed["version"]), (&json!("Anna"), &json!(2)));
    assert_eq!(change("Anne").await.refused(412, "precondition_failed")["current"], changed);
    let stale = staff.operator(Method::DELETE, &path).header("if-match", "\"1\"").send().await;
    assert_eq!(stale.refused(412, "precondition_failed")["current"], changed);
}

#[tokio::test]
async fn of_two_changes_of_one_version_at_once_the_second_is_told_what_is_there() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let made = staff.invite("ann@example.com", &["viewer"]).await;
    let path = format!("/v1/users/{}", made["id"].as_str().unwrap());
    let change = |change: serde_json::Value| {
        staff.operator(Method::PATCH, &path).header("if-match", "\"1\"").json(&change).send()
    };
    let (one, two) = tokio::join!(change(json!({ "name": "Anna" })), change(json!({ "roles": ["support"] })));
    let (first, second) = if one.status == 200 { (one, two) } else { (two, one) };
    let changed = first.expect(200);
    assert_eq!(second.refused(412, "precondition_failed")["current"], changed);
}

#[tokio::test]
async fn a_plan_allows_so_many_users_and_of_two_at_once_one_is_the_last() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    for number in 0..4 {
        staff.invite(&format!("user{number}@example.com"), &[]).await;
    }
    let make = |email: &'static str| {
        let user = json!({ "email": email, "name": "Ann", "roles": [] });
        staff.operator(Method::POST, "/v1/users").key(email).json(&user).send()
    };
    let (one, two) = tokio::join!(make("ann@example.com"), make("bob@example.com"));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403]);
    make("eve@example.com").await.refused(403, "quota_exceeded");
}

#[tokio::test]
async fn the_last_owner_stays() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let ann = staff.user("ann@example.com", &["owner"]).await;
    staff.invite("invited@example.com", &["owner"]).await;
    let token = staff.token("ann@example.com").await;
    let path = format!("/v1/users/{ann}");
    for change in [json!({ "state": "disabled" }), json!({ "roles": ["viewer"] })] {
        rig.patch(&path).token(&token).json(&change).send().await.refused(409, "conflict");
    }
    rig.delete(&path).token(&token).send().await.refused(409, "conflict");
    staff.user("bob@example.com", &["owner"]).await;
    rig.patch(&path).token(&token).json(&json!({ "roles": ["viewer"] })).send().await.expect(200);
    rig.get("/v1/users").token(&token).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn of_two_owners_who_disable_each_other_at_once_one_stays() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let (ann, bob) = (staff.user("ann@example.com", &["owner"]).await, staff.user("bob@example.com", &["owner"]).await);
    let (ann_token, bob_token) = (staff.token("ann@example.com").await, staff.token("bob@example.com").await);
    let disable = |token: &str, user: &str| {
        rig.patch(&format!("/v1/users/{user}")).token(token).json(&json!({ "state": "disabled" })).send()
    };
    let (one, other) = tokio::join!(disable(&ann_token, &bob), disable(&bob_token, &ann));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    // The second is refused as the last owner is, or as one who was disabled meanwhile.
    assert!(statuses[0] == 200 && matches!(statuses[1], 401 | 403 | 409), "{statuses:?}");
    let page = staff.operator(Method::GET, "/v1/users").send().await.expect(200);
    let states: Vec<_> = page["items"].as_array().unwrap().iter().map(|user| user["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| **state == "active").count(), 1, "{states:?}");
}

#[tokio::test]
async fn nobody_grants_what_he_lacks_or_changes_whom_he_could_not_have_made() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let owner = staff.user("ann@example.com", &["owner"]).await;
    let hr = json!({ "name": "People", "permissions": ["read_people", "write_people", "read_settings"] });
    staff.operator(Method::PUT, "/v1/roles/hr").json(&hr).send().await.expect(200);
    let token = staff.signed_in("hr@example.com", &["hr"]).await;
    let make = |role: &str| {
        let user = json!({ "email": format!("{role}@example.org"), "name": "New", "roles": [role] });
        rig.post("/v1/users").token(&token).key(role).json(&user).send()
    };
    let refused = make("finance").await.refused(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("`read_audit`"), "the missing permission is named: {refused}");
    make("owner").await.refused(403, "forbidden");
    let made = make("hr").await.expect(201);
    let raise = json!({ "roles": ["hr", "viewer"] });
    let path = format!("/v1/users/{}", made["id"].as_str().unwrap());
    rig.patch(&path).token(&token).json(&raise).send().await.refused(403, "forbidden");
    rig.patch(&path).token(&token).json(&json!({ "state": "disabled" })).send().await.expect(200);
    let of_owner = format!("/v1/users/{owner}");
    let address = json!({ "email": "mine@example.org" });
    rig.patch(&of_owner).token(&token).json(&address).send().await.refused(403, "forbidden");
    rig.delete(&of_owner).token(&token).send().await.refused(403, "forbidden");
    rig.delete(&format!("{of_owner}/totp")).token(&token).send().await.refused(403, "forbidden");
    let invite = rig.post(&format!("{of_owner}/invitations")).token(&token).key("x").send().await;
    invite.refused(403, "forbidden");
}

#[tokio::test]
async fn another_tenants_people_are_like_none() {
    let rig = Rig::start().await;
    let (kettles, pots) = (Staff::of(&rig, "kettles").await, Staff::of(&rig, "pots").await);
    let theirs = kettles.user("ann@example.com", &["owner"]).await;
    let token = pots.signed_in("bob@example.com", &["owner"]).await;
    let path = format!("/v1/users/{theirs}");
    rig.get(&path).token(&token).send().await.refused(404, "not_found");
    rig.patch(&path).token(&token).json(&json!({ "name": "Eve" })).send().await.refused(404, "not_found");
    rig.delete(&path).token(&token).send().await.refused(404, "not_found");
    rig.delete(&format!("{path}/totp")).token(&token).send().await.refused(404, "not_found");
    rig.post(&format!("{path}/invitations")).token(&token).key("a").send().await.refused(404, "not_found");
    // The header that lets the operator act for a tenant is nobody else's.
    let asked = rig.get("/v1/users").token(&token).header("flashsale-tenant", &kettles.tenant).send().await.expect(200);
    assert_eq!(asked["items"].as_array().unwrap().len(), 1);
    assert_eq!(asked["items"][0]["email"], "bob@example.com");
    pots.login("ann@example.com", PASSWORD).await.refused(401, "unauthenticated");
    for ask in [rig.get("/v1/users"), rig.get(&path), rig.get("/v1/me"), rig.get("/v1/sessions")] {
        ask.send().await.refused(401, "unauthenticated");
    }
    rig.get("/v1/users").token(OPERATOR).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn who_is_disabled_or_loses_a_role_loses_it_at_once() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let ann = staff.user("ann@example.com", &["owner", "viewer"]).await;
    staff.user("bob@example.com", &["owner"]).await;
    let token = staff.token("ann@example.com").await;
    rig.get("/v1/users").token(&token).send().await.expect(200);
    let path = format!("/v1/users/{ann}");
    staff.operator(Method::PATCH, &path).json(&json!({ "roles": ["viewer"] })).send().await.expect(200);
    let refused = rig.get("/v1/users").token(&token).send().await.refused(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("`read_people`"), "{refused}");
    staff.operator(Method::PATCH, &path).json(&json!({ "state": "disabled" })).send().await.expect(200);
    rig.get("/v1/me").token(&token).send().await.refused(401, "unauthenticated");
    staff.login("ann@example.com", PASSWORD).await.refused(401, "unauthenticated");
    staff.operator(Method::PATCH, &path).json(&json!({ "state": "active" })).send().await.expect(200);
    rig.get("/v1/me").token(&token).send().await.refused(401, "unauthenticated");
    staff.login("ann@example.com", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn what_is_personal_is_nowhere_in_clear_and_gone_with_the_user() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let ann = staff.user("ann.planted@example.com", &["viewer"]).await;
    let token = staff.token("ann.planted@example.com").await;
    let path = format!("/v1/users/{ann}");
    staff.operator(Method::PATCH, &path).json(&json!({ "name": "Ann Planted" })).send().await.expect(200);
    for table in ["users", "user_roles", "invitations", "sessions", "login_failures", "requests", "audit_log"] {
        let shown = format!("{:?}", rig.db.rows(&format!("SELECT * FROM {table}"), Vec::new()).await.unwrap());
        assert!(!shown.to_lowercase().contains("planted"), "{table}: {shown}");
    }
    staff.operator(Method::DELETE, &path).send().await.expect(204);
    rig.get("/v1/me").token(&token).send().await.refused(401, "unauthenticated");
    for table in ["users", "user_roles", "invitations", "sessions", "login_failures", "person_keys"] {
        let rows = rig.db.rows(&format!("SELECT tenant FROM {table}"), Vec::new()).await.unwrap();
        assert!(rows.is_empty(), "{table}");
    }
    staff.operator(Method::DELETE, &path).send().await.refused(404, "not_found");
    staff.invite("Ann.planted@example.com", &["viewer"]).await;
}

#[tokio::test]
async fn the_first_owner_is_made_once_by_two_at_once_and_can_sign_in() {
    let rig = Rig::start().await;
    let other = rig.another().await;
    let make = |rig: &Rig| {
        let catalog = std::sync::Arc::clone(&rig.catalog);
        async move { first_owner(&catalog, (1, "Demo"), "owner@example.com").await }
    };
    let (one, two) = tokio::join!(make(&rig), make(&other));
    let (one, two) = (one.unwrap().unwrap(), two.unwrap().unwrap());
    assert_eq!((one.tenant, one.code, two.tenant), (1, "demo", 1));
    let set = |token: Option<String>| {
        rig.post("/v1/passwords").json(&json!({ "token": token.unwrap(), "password": PASSWORD })).send()
    };
    let mut statuses = [set(one.invitation).await.status.as_u16(), set(two.invitation).await.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 404], "the last invitation holds");
    let login = json!({ "tenant": "demo", "email": "owner@example.com", "password": PASSWORD });
    let signed_in = rig.post("/v1/sessions").json(&login).send().await.expect(201);
    let token = signed_in["access_token"].as_str().unwrap();
    let page = rig.get("/v1/users").token(token).send().await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let again = make(&rig).await.unwrap().unwrap();
    assert_eq!(again.invitation, None, "an owner with a password needs none");
    let shop = json!({ "code": "kettles", "name": "Kettles", "plan": "free" });
    let second = rig.post("/v1/tenants").token(OPERATOR).key("a").json(&shop).send().await.expect(201);
    assert_ne!(second["id"], "1", "its number is nobody else's");
}
