//! The second factor: asked for once it is confirmed, each code holds once, and a wrong one is a
//! failed login.

use std::time::Duration;

use kit::{clock::Clock as _, digest::hmac_sha1, http::Method};
use serde_json::{Value, json};

use super::{
    rig::Rig,
    staff::{PASSWORD, Staff},
};

const EMAIL: &str = "ann@example.com";

/// What an authenticator app shows (RFC 6238): an own reading of the standard.
pub(super) fn code(secret: &str, now_ms: u64) -> String {
    let mut bits = String::new();
    for digit in secret.chars() {
        let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(digit).unwrap();
        bits.push_str(&format!("{value:05b}"));
    }
    let bytes =
        bits.as_bytes().chunks_exact(8).map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap());
    let digest = hmac_sha1(&bytes.collect::<Vec<_>>(), &(now_ms / 30_000).to_be_bytes());
    let at = usize::from(digest[19] & 15);
    let number = u32::from_be_bytes(digest[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Another code than that of now and its neighbours.
fn wrong(secret: &str, now_ms: u64) -> String {
    let near: Vec<_> = [now_ms - 30_000, now_ms, now_ms + 30_000].iter().map(|at| code(secret, *at)).collect();
    (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).unwrap()
}

/// A user with a second factor: token, secret and recovery codes.
async fn enrolled(rig: &Rig, staff: &Staff<'_>) -> (String, String, Vec<Value>) {
    let token = staff.signed_in(EMAIL, &["viewer"]).await;
    let begun = rig.put("/v1/me/totp").token(&token).send().await.expect(200);
    let secret = begun["secret"].as_str().unwrap().to_owned();
    assert_eq!(begun["uri"], format!("otpauth://totp/flashsale:{EMAIL}?secret={secret}&issuer=flashsale"));
    let first = json!({ "totp": code(&secret, rig.clock.now_ms()) });
    let confirm = || rig.post("/v1/me/totp/confirmation").token(&token).key("confirm").json(&first).send();
    let confirmed = confirm().await.expect(201);
    let codes = confirmed["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(confirm().await.expect(201), json!({ "recovery_codes": [] }), "shown once");
    (token, secret, codes)
}

fn with_totp(totp: &str) -> Value {
    json!({ "email": EMAIL, "password": PASSWORD, "totp": totp })
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_it_is_confirmed_and_each_code_holds_once() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let (token, secret, _codes) = enrolled(&rig, &staff).await;
    let missing = staff.login(EMAIL, PASSWORD).await;
    missing.refused(401, "unauthenticated");
    assert_eq!(missing.wrong_fields(), ["totp"]);
    let used = code(&secret, rig.clock.now_ms());
    staff.login_with(with_totp(&used)).await.refused(401, "unauthenticated");
    rig.clock.advance(Duration::from_secs(60));
    let now = code(&secret, rig.clock.now_ms());
    let (one, two) = tokio::join!(staff.login_with(with_totp(&now)), staff.login_with(with_totp(&now)));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 401], "one code, one login");
    rig.put("/v1/me/totp").token(&token).send().await.refused(409, "conflict");
}

#[tokio::test]
async fn what_was_not_confirmed_is_not_asked_for() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let token = staff.signed_in(EMAIL, &["viewer"]).await;
    let confirm = |totp: String, key: &str| {
        rig.post("/v1/me/totp/confirmation").token(&token).key(key).json(&json!({ "totp": totp })).send()
    };
    confirm("000000".to_owned(), "a").await.refused(409, "conflict");
    let begun = rig.put("/v1/me/totp").token(&token).send().await.expect(200);
    let secret = begun["secret"].as_str().unwrap();
    let wrong = confirm(wrong(secret, rig.clock.now_ms()), "b").await;
    assert_eq!(wrong.wrong_fields(), ["totp"]);
    staff.login(EMAIL, PASSWORD).await.expect(201);
    let again = rig.put("/v1/me/totp").token(&token).send().await.expect(200);
    assert_ne!(again["secret"], begun["secret"]);
    confirm(code(again["secret"].as_str().unwrap(), rig.clock.now_ms()), "c").await.expect(201);
}

#[tokio::test]
async fn a_wrong_second_factor_is_a_failed_login() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let (_token, secret, _codes) = enrolled(&rig, &staff).await;
    rig.clock.advance(Duration::from_secs(60));
    let wrong = wrong(&secret, rig.clock.now_ms());
    for _ in 0..5 {
        staff.login_with(with_totp(&wrong)).await.refused(401, "unauthenticated");
    }
    let right = code(&secret, rig.clock.now_ms());
    staff.login_with(with_totp(&right)).await.refused(429, "rate_limited");
    rig.clock.advance(Duration::from_secs(10));
    staff.login_with(with_totp(&code(&secret, rig.clock.now_ms()))).await.expect(201);
}

#[tokio::test]
async fn each_recovery_code_holds_for_one_login() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let (_token, _secret, codes) = enrolled(&rig, &staff).await;
    assert_eq!(codes.len(), 10);
    let login = |code: &Value| staff.login_with(json!({ "email": EMAIL, "password": PASSWORD, "recovery_code": code }));
    login(&codes[0]).await.expect(201);
    login(&codes[0]).await.refused(401, "unauthenticated");
    login(&codes[9]).await.expect(201);
    login(&json!("aaaaa-aaaaa")).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_second_factor_changes_by_a_login_of_late_alone() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let (_token, _secret, codes) = enrolled(&rig, &staff).await;
    let login = json!({ "email": EMAIL, "password": PASSWORD, "recovery_code": codes[0] });
    let signed_in = staff.login_with(login).await.expect(201);
    rig.clock.advance(Duration::from_millis(600_001));
    let refresh = json!({ "refresh_token": signed_in["refresh_token"] });
    let old = rig.post("/v1/sessions/refresh").json(&refresh).send().await.expect(200);
    let old = old["access_token"].as_str().unwrap();
    rig.delete("/v1/me/totp").token(old).send().await.refused(403, "forbidden");
    rig.put("/v1/me/totp").token(old).send().await.refused(403, "forbidden");
    let login = json!({ "email": EMAIL, "password": PASSWORD, "recovery_code": codes[1] });
    let fresh = staff.login_with(login).await.expect(201);
    rig.delete("/v1/me/totp").token(fresh["access_token"].as_str().unwrap()).send().await.expect(204);
    staff.login(EMAIL, PASSWORD).await.expect(201);
}

#[tokio::test]
async fn whoever_may_change_a_user_turns_a_lost_second_factor_off() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let (token, _secret, codes) = enrolled(&rig, &staff).await;
    let me = rig.get("/v1/me").token(&token).send().await.expect(200);
    assert_eq!(me["second_factor"], true);
    let path = format!("/v1/users/{}/totp", me["id"].as_str().unwrap());
    rig.delete(&path).token(&token).send().await.refused(403, "forbidden");
    staff.operator(Method::DELETE, &path).send().await.expect(204);
    staff.login(EMAIL, PASSWORD).await.expect(201);
    let login = json!({ "email": EMAIL, "password": "wrong", "recovery_code": codes[0] });
    staff.login_with(login).await.refused(401, "unauthenticated");
}
