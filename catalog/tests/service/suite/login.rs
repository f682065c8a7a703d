//! Signing in and staying so: nothing tells who is there, guesses wait, and a stolen token is worth
//! little.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use argon2::PasswordHasher as _;
use catalog::house;
use kit::{
    clock::Clock as _,
    http::Method,
    token::{BuyerClaims, PersonVerifier, Tenants, TokenKey, TokenSigner},
};
use serde_json::{Value, json};
use store::sql::Sql as _;

use super::{
    rig::{Answer, BEGIN_MS, OPERATOR, Rig},
    staff::{PASSWORD, Staff},
};

async fn refresh(rig: &Rig, token: &Value) -> Answer {
    rig.post("/v1/sessions/refresh").json(&json!({ "refresh_token": token })).send().await
}

fn access(signed_in: &Value) -> &str {
    signed_in["access_token"].as_str().unwrap()
}

#[tokio::test]
async fn a_token_says_who_asks_and_other_services_verify_it_by_the_published_keys() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let ann = staff.user("ann@example.com", &["support", "viewer"]).await;
    let answer = staff.login("ann@example.com", PASSWORD).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let signed_in = answer.expect(201);
    let me = rig.get("/v1/me").token(access(&signed_in)).send().await.expect(200);
    assert_eq!((&me["id"], &me["tenant"], &me["session"]), (&json!(ann), &json!(staff.tenant), &signed_in["session"]));
    assert_eq!(me["roles"], json!(["support", "viewer"]));
    let jwks = rig.get("/v1/jwks").send().await.expect(200);
    let verifier = PersonVerifier::of_jwks(&serde_json::from_value(jwks).unwrap()).unwrap();
    let claims = verifier.verify(access(&signed_in), BEGIN_MS).unwrap();
    assert_eq!((claims.person.to_string(), claims.tenant.to_string()), (ann, staff.tenant.clone()));
    assert_eq!(json!(claims.permissions.iter().collect::<Vec<_>>()), me["permissions"]);
    rig.clock.advance(Duration::from_secs(605));
    let refused = rig.get("/v1/me").token(access(&signed_in)).send().await;
    refused.refused(401, "unauthenticated");
    assert!(refused.headers["www-authenticate"].to_str().unwrap().contains("the token has expired"));
}

#[tokio::test]
async fn no_other_token_is_a_persons() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let token = staff.signed_in("ann@example.com", &["owner"]).await;
    let key = TokenKey::new("test", &("BwcH".repeat(10) + "Bwc"), Tenants::All).unwrap();
    let claims = BuyerClaims::new(staff.tenant.parse().unwrap(), 1, BEGIN_MS + 60_000);
    let buyers = TokenSigner::new(key).sign(&claims, rig.clock.now_ms()).unwrap();
    let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, "A".repeat(86));
    for token in [buyers.as_str(), forged.as_str(), "a.b.c", ".."] {
        rig.get("/v1/me").token(token).send().await.refused(401, "unauthenticated");
    }
    // The operator is no person.
    rig.get("/v1/me").token(OPERATOR).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_refusal_does_not_tell_what_was_wrong() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.user("ann@example.com", &["viewer"]).await;
    staff.invite("invited@example.com", &["viewer"]).await;
    let mut told = Vec::new();
    for (tenant, email, password) in [
        ("kettles", "ann@example.com", "a wrong password"),
        ("kettles", "invited@example.com", PASSWORD),
        ("kettles", "nobody@example.com", PASSWORD),
        ("nowhere", "ann@example.com", PASSWORD),
    ] {
        let login = json!({ "tenant": tenant, "email": email, "password": password });
        let mut problem = rig.post("/v1/sessions").json(&login).send().await.refused(401, "unauthenticated");
        problem.as_object_mut().unwrap().remove("trace_id");
        told.push(problem);
    }
    assert!(told.iter().all(|problem| *problem == told[0]), "{told:?}");
    let bad = json!({ "tenant": "", "email": 7, "password": "", "totp": "12345", "role": "owner" });
    let refused = rig.post("/v1/sessions").json(&bad).send().await;
    assert_eq!(refused.wrong_fields(), ["email", "password", "role", "tenant", "totp"]);
    let text = rig.post("/v1/sessions").body("text/plain", "tenant=kettles").send().await;
    text.refused(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_password_of_other_parameters_is_hashed_anew_when_it_is_typed() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.user("ann@example.com", &["viewer"]).await;
    let weaker = argon2::Argon2::from(argon2::Params::new(1024, 1, 1, None).unwrap());
    let weaker = weaker.hash_password_with_salt(PASSWORD.as_bytes(), &[7; 16]).unwrap().to_string();
    rig.db.exec("UPDATE users SET password = ?", vec![weaker.as_str().into()]).await.unwrap();
    let stored =
        async || rig.db.rows("SELECT password FROM users", Vec::new()).await.unwrap().remove(0).text().unwrap();
    staff.login("ann@example.com", "a wrong password").await.refused(401, "unauthenticated");
    assert_eq!(stored().await, weaker);
    staff.login("ann@example.com", PASSWORD).await.expect(201);
    assert!(stored().await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    staff.login("ann@example.com", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn after_five_failures_an_account_waits_whether_it_exists_or_not_and_longer_each_time() {
    let mut rig = Rig::start().await;
    Staff::of(&rig, "kettles").await.user("ann@example.com", &["viewer"]).await;
    let login = async |rig: &Rig, email: &str, password: &str, address: &str| {
        let login = json!({ "tenant": "kettles", "email": email, "password": password });
        rig.post("/v1/sessions").header("x-forwarded-for", address).json(&login).send().await
    };
    for email in ["ann@example.com", "nobody@example.com"] {
        for guess in 0..5 {
            let address = format!("203.0.113.{guess}");
            login(&rig, email, "a wrong password", &address).await.refused(401, "unauthenticated");
        }
        let waits = login(&rig, email, PASSWORD, "198.51.100.1").await;
        waits.refused(429, "rate_limited");
        assert_eq!(waits.headers["retry-after"], "10");
    }
    // A wait outlasts the process, and what is refused meanwhile does not make it longer.
    rig = rig.restart().await;
    login(&rig, "ann@example.com", PASSWORD, "198.51.100.1").await.refused(429, "rate_limited");
    rig.clock.advance(Duration::from_secs(10));
    login(&rig, "ann@example.com", "a wrong password", "203.0.113.9").await.refused(401, "unauthenticated");
    let waits = login(&rig, "ann@example.com", PASSWORD, "198.51.100.1").await;
    assert_eq!(waits.headers["retry-after"], "20");
    rig.clock.advance(Duration::from_secs(20));
    login(&rig, "ann@example.com", PASSWORD, "198.51.100.1").await.expect(201);
    login(&rig, "ann@example.com", "a wrong password", "198.51.100.1").await.refused(401, "unauthenticated");
    login(&rig, "ann@example.com", PASSWORD, "198.51.100.1").await.expect(201);
}

#[tokio::test]
async fn an_address_that_fails_for_many_accounts_waits_and_others_do_not() {
    let rig = Rig::start().await;
    Staff::of(&rig, "kettles").await.user("ann@example.com", &["viewer"]).await;
    let login = |email: String, password: &str, address: &str| {
        let login = json!({ "tenant": "kettles", "email": email, "password": password });
        rig.post("/v1/sessions").header("x-forwarded-for", address).json(&login).send()
    };
    for guess in 0..20 {
        let email = format!("user{guess}@example.com");
        login(email, PASSWORD, "203.0.113.1").await.refused(401, "unauthenticated");
    }
    login("ann@example.com".to_owned(), PASSWORD, "203.0.113.1").await.refused(429, "rate_limited");
    login("ann@example.com".to_owned(), PASSWORD, "203.0.113.2").await.expect(201);
}

#[tokio::test]
async fn a_refresh_token_holds_once_and_an_old_one_ends_the_session() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.user("ann@example.com", &["viewer"]).await;
    let first = staff.login("ann@example.com", PASSWORD).await.expect(201);
    let second = refresh(&rig, &first["refresh_token"]).await.expect(200);
    assert_eq!(second["session"], first["session"]);
    rig.get("/v1/me").token(access(&second)).send().await.expect(200);
    let third = refresh(&rig, &second["refresh_token"]).await.expect(200);
    refresh(&rig, &first["refresh_token"]).await.refused(401, "unauthenticated");
    for token in [access(&second), access(&third)] {
        rig.get("/v1/me").token(token).send().await.refused(401, "unauthenticated");
    }
    refresh(&rig, &third["refresh_token"]).await.refused(401, "unauthenticated");
    let entries = rig.db.rows("SELECT tenant FROM audit_log WHERE action = 'session.reuse'", Vec::new()).await.unwrap();
    assert_eq!(entries.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_for_ten_seconds_and_no_longer() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.user("ann@example.com", &["viewer"]).await;
    let first = staff.login("ann@example.com", PASSWORD).await.expect(201);
    let lost = refresh(&rig, &first["refresh_token"]).await.expect(200);
    rig.clock.advance(Duration::from_secs(10));
    let again = refresh(&rig, &first["refresh_token"]).await.expect(200);
    assert_ne!(again["refresh_token"], lost["refresh_token"]);
    refresh(&rig, &again["refresh_token"]).await.expect(200);
    // What was lost was not lost, but stolen.
    refresh(&rig, &lost["refresh_token"]).await.refused(401, "unauthenticated");
    rig.get("/v1/me").token(access(&again)).send().await.refused(401, "unauthenticated");

    let first = staff.login("ann@example.com", PASSWORD).await.expect(201);
    refresh(&rig, &first["refresh_token"]).await.expect(200);
    rig.clock.advance(Duration::from_millis(10_001));
    refresh(&rig, &first["refresh_token"]).await.refused(401, "unauthenticated");
    rig.get("/v1/me").token(access(&first)).send().await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn of_two_refreshes_at_once_both_are_answered_and_one_goes_on() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.user("ann@example.com", &["viewer"]).await;
    let first = staff.login("ann@example.com", PASSWORD).await.expect(201);
    let token = &first["refresh_token"];
    let (one, two) = tokio::join!(refresh(&rig, token), refresh(&rig, token));
    let (one, two) = (one.expect(200), two.expect(200));
    let went_on = [refresh(&rig, &one["refresh_token"]).await, refresh(&rig, &two["refresh_token"]).await];
    let statuses: Vec<_> = went_on.iter().map(|answer| answer.status.as_u16()).collect();
    // The one that was replaced ends the session, whichever is shown first.
    assert!(statuses == [200, 401] || statuses == [401, 401], "{statuses:?}");
}

#[tokio::test]
async fn a_guess_ends_no_session_and_one_ends_after_thirty_days() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.user("ann@example.com", &["viewer"]).await;
    let signed_in = staff.login("ann@example.com", PASSWORD).await.expect(201);
    let token = signed_in["refresh_token"].as_str().unwrap();
    let guess = format!("{}_{}", token.split('_').take(3).collect::<Vec<_>>().join("_"), "A".repeat(86));
    refresh(&rig, &json!(guess)).await.refused(401, "unauthenticated");
    refresh(&rig, &json!("fsr_1_1")).await.refused(400, "invalid_request");
    let next = refresh(&rig, &json!(token)).await.expect(200);
    rig.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    refresh(&rig, &next["refresh_token"]).await.refused(401, "unauthenticated");
    house::put_in_order(&rig.catalog).await;
    assert!(rig.db.rows("SELECT tenant FROM sessions", Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_person_sees_and_ends_his_own_sessions_and_nobody_elses() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let others = staff.signed_in("bob@example.com", &["owner"]).await;
    let theirs = rig.get("/v1/sessions/current").token(&others).send().await.expect(200);
    staff.user("ann@example.com", &["viewer"]).await;
    let one = staff.login("ann@example.com", PASSWORD).await.expect(201);
    let two = staff.login("ann@example.com", PASSWORD).await.expect(201);
    let page = rig.get("/v1/sessions").token(access(&one)).send().await.expect(200);
    let shown: Vec<_> = page["items"].as_array().unwrap().iter().map(|it| (&it["id"], it["current"] == true)).collect();
    assert_eq!(shown, [(&one["session"], true), (&two["session"], false)]);
    let of_bob = format!("/v1/sessions/{}", theirs["id"].as_str().unwrap());
    rig.get(&of_bob).token(access(&one)).send().await.refused(404, "not_found");
    rig.delete(&of_bob).token(access(&one)).send().await.refused(404, "not_found");
    let of_two = format!("/v1/sessions/{}", two["session"].as_str().unwrap());
    rig.delete(&of_two).token(access(&one)).send().await.expect(204);
    rig.get("/v1/me").token(access(&two)).send().await.refused(401, "unauthenticated");
    refresh(&rig, &two["refresh_token"]).await.refused(401, "unauthenticated");
    rig.delete("/v1/sessions/current").token(access(&one)).send().await.expect(204);
    rig.get("/v1/me").token(access(&one)).send().await.refused(401, "unauthenticated");
    rig.get("/v1/me").token(&others).send().await.expect(200);
    staff.operator(Method::GET, "/v1/sessions").send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn another_password_ends_the_other_sessions_and_a_wrong_one_counts() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    staff.user("ann@example.com", &["viewer"]).await;
    let (one, two) = (staff.token("ann@example.com").await, staff.token("ann@example.com").await);
    let change = |current: &str, password: &str| {
        let change = json!({ "current_password": current, "password": password });
        rig.put("/v1/me/password").token(&one).json(&change).send()
    };
    assert_eq!(change(PASSWORD, "short").await.wrong_fields(), ["password"]);
    assert_eq!(change("wrong", "a blue kettle whistles").await.wrong_fields(), ["current_password"]);
    change(PASSWORD, "a blue kettle whistles").await.expect(204);
    rig.get("/v1/me").token(&one).send().await.expect(200);
    rig.get("/v1/me").token(&two).send().await.refused(401, "unauthenticated");
    staff.login("ann@example.com", PASSWORD).await.refused(401, "unauthenticated");
    staff.login("ann@example.com", "a blue kettle whistles").await.expect(201);
    for _ in 0..5 {
        change("wrong", PASSWORD).await.refused(400, "invalid_request");
    }
    change("a blue kettle whistles", PASSWORD).await.refused(429, "rate_limited");
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_gives_way() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let oldest = staff.signed_in("ann@example.com", &["viewer"]).await;
    for _ in 0..20 {
        rig.clock.advance(Duration::from_secs(1));
        staff.token("ann@example.com").await;
    }
    rig.get("/v1/me").token(&oldest).send().await.refused(401, "unauthenticated");
    let rows = rig.db.rows("SELECT tenant FROM sessions", Vec::new()).await.unwrap();
    assert_eq!(rows.len(), 20);
}

/// A hundred addresses guess as fast as they are answered. One login at a time is hashed, and those
/// who failed leave room: before an honest one comes in, who tries again as a person would, at most
/// each of the others has one turn, and a few have more. Who is signed in at his address already
/// has the next turn but one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_logins_come_in_while_a_hundred_addresses_guess() {
    const TURNS_MAX: u32 = 200;
    const KNOWN_MAX: u32 = 20;
    let rig = Arc::new(Rig::start().await);
    Staff::of(&rig, "kettles").await.user("ann@example.com", &["viewer"]).await;
    let login = |email: &str, password: &str| json!({ "tenant": "kettles", "email": email, "password": password });
    let from = async |rig: &Rig, address: String, login: Value| {
        rig.post("/v1/sessions").header("x-forwarded-for", &address).json(&login).send().await.status.as_u16()
    };
    let clock = kit::clock::SystemClock::new();
    let began = clock.monotonic();
    let honest = login("ann@example.com", PASSWORD);
    assert_eq!(from(&rig, "198.51.100.1".to_owned(), honest.clone()).await, 201);
    let alone = clock.monotonic() - began;
    let turns = Arc::new(AtomicU32::new(0));
    let attack = |number: u32| {
        let (rig, turns) = (Arc::clone(&rig), Arc::clone(&turns));
        tokio::spawn(async move {
            for guess in 0_u32.. {
                let login = login(&format!("user{number}-{guess}@example.com"), "a wrong password");
                if from(&rig, format!("203.0.113.{number}"), login).await == 401 {
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    let attackers: Vec<_> = (0..100).map(attack).collect();
    let mut waits = Vec::new();
    // The first of them wait where the person is signed in already, the others elsewhere.
    for (person, turns_max) in [(1, KNOWN_MAX), (1, KNOWN_MAX), (2, TURNS_MAX), (3, TURNS_MAX), (2, KNOWN_MAX)] {
        let (began, before) = (clock.monotonic(), turns.load(Ordering::Relaxed));
        while from(&rig, format!("198.51.100.{person}"), honest.clone()).await != 201 {}
        let others = turns.load(Ordering::Relaxed) - before;
        assert!(others <= turns_max, "{others} guesses had their turn before an honest login");
        waits.push((clock.monotonic() - began, others));
    }
    attackers.iter().for_each(tokio::task::JoinHandle::abort);
    println!("a login alone, debug build: {alone:?}; under attack, and guesses before it: {waits:?}");
}
