//! Login by a code sent to a phone, against a simulator of the gateway: a code is good for one use,
//! five tries and five minutes, and no number is troubled often.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    buyers::number_of,
    erasure::everything,
    rig::{Answer, Rig},
    simulator::{SECRET, Simulator, nobody},
    wechat::{provide, shop},
};

const PHONE: &str = "+8613912345678";

async fn begin() -> (Simulator, Rig, u32) {
    let gateway = Simulator::start();
    let rig = Rig::start_with(gateway.outside.clone()).await;
    let tenant = shop(&rig).await;
    provide(&rig, tenant, "phone", SECRET).await;
    (gateway, rig, tenant)
}

async fn send(rig: &Rig, phone: &str, from: &str) -> Answer {
    let body = json!({ "tenant": "kettles", "phone": phone });
    rig.post("/v1/phone-codes").header("x-forwarded-for", from).json(&body).send().await
}

fn login(code: &str) -> Value {
    json!({ "tenant": "kettles", "phone": PHONE, "code": code })
}

async fn log_in(rig: &Rig, body: &Value) -> Answer {
    rig.post("/v1/buyer-sessions/phone").json(body).send().await
}

/// Another code than this one.
fn wrong(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000)
}

#[tokio::test]
async fn a_code_logs_its_phone_in_once() {
    let (gateway, rig, tenant) = begin().await;
    let sent = send(&rig, PHONE, "203.0.113.1").await.expect(202);
    assert_eq!(sent, json!({ "expires_at": "2026-11-11T00:05:00.000Z" }), "the code itself goes to the phone alone");
    let code = gateway.code_for(PHONE);
    assert!(code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()), "{code}");
    let rows = everything(&rig).await;
    assert!(!rows.contains("13912345678") && !rows.contains(&format!("\"{code}\"")), "{rows}");
    let first = log_in(&rig, &login(&code)).await.expect(200);
    log_in(&rig, &login(&code)).await.refused(401, "unauthenticated");
    rig.clock.advance(Duration::from_secs(60));
    send(&rig, PHONE, "203.0.113.1").await.expect(202);
    let by_phone = json!({ "tenant": "kettles", "phone": PHONE, "code": gateway.code_for(PHONE), "limit_by": "phone" });
    let second = log_in(&rig, &by_phone).await.expect(200);
    assert_ne!(second["buyer"], first["buyer"], "as a phone number he is another buyer");
    let minted = number_of(&rig, tenant, json!({ "id": "u", "limit_by": "phone", "phone": PHONE })).await;
    assert_eq!(second["buyer"], minted, "the same one as by the shop's own server");
    let pretender = number_of(&rig, tenant, json!({ "id": PHONE })).await;
    assert_ne!(first["buyer"], pretender, "no name that a user chose is another's login");
}

#[tokio::test]
async fn of_two_who_come_with_one_code_one_gets_in() {
    let (gateway, rig, _tenant) = begin().await;
    send(&rig, PHONE, "203.0.113.1").await.expect(202);
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        calls.spawn(rig.post("/v1/buyer-sessions/phone").json(&login(&gateway.code_for(PHONE))).detach());
    }
    let mut statuses: Vec<_> = calls.join_all().await.into_iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401, 401]);
}

#[tokio::test]
async fn five_wrong_tries_or_five_minutes_end_a_code() {
    let (gateway, rig, _tenant) = begin().await;
    send(&rig, PHONE, "203.0.113.1").await.expect(202);
    let code = gateway.code_for(PHONE);
    for _ in 0..5 {
        log_in(&rig, &login(&wrong(&code))).await.refused(401, "unauthenticated");
    }
    log_in(&rig, &login(&code)).await.refused(401, "unauthenticated");
    rig.clock.advance(Duration::from_secs(60));
    send(&rig, PHONE, "203.0.113.1").await.expect(202);
    let code = gateway.code_for(PHONE);
    rig.clock.advance(Duration::from_secs(300));
    log_in(&rig, &login(&code)).await.refused(401, "unauthenticated");
    send(&rig, PHONE, "203.0.113.1").await.expect(202);
    rig.clock.advance(Duration::from_millis(299_999));
    log_in(&rig, &login(&gateway.code_for(PHONE))).await.expect(200);
}

#[tokio::test]
async fn a_phone_gets_a_code_a_minute_and_ten_a_day() {
    let (gateway, rig, _tenant) = begin().await;
    for _ in 0..10 {
        send(&rig, PHONE, "203.0.113.1").await.expect(202);
        let soon = send(&rig, PHONE, "198.51.100.7").await;
        soon.refused(429, "rate_limited");
        assert_eq!(soon.headers["retry-after"], "60");
        rig.clock.advance(Duration::from_secs(60));
    }
    let tomorrow = send(&rig, PHONE, "203.0.113.1").await;
    tomorrow.refused(429, "rate_limited");
    assert_eq!(tomorrow.headers["retry-after"], (24 * 3_600 - 600).to_string());
    assert_eq!(gateway.messages(), 10, "who is refused sends nothing");
    send(&rig, "+8613912345679", "203.0.113.1").await.expect(202);
    rig.clock.advance(Duration::from_secs(24 * 3_600 - 600));
    send(&rig, PHONE, "203.0.113.1").await.expect(202);
}

#[tokio::test]
async fn what_is_over_leaves_no_row() {
    let (_gateway, rig, _tenant) = begin().await;
    send(&rig, PHONE, "203.0.113.1").await.expect(202);
    let left = async |rig: &Rig| {
        catalog::house::put_in_order(&rig.catalog).await;
        let rows = everything(rig).await;
        ["phone_codes: ", "login_rates: "].map(|table| rows.contains(table))
    };
    assert_eq!(left(&rig).await, [true, true]);
    rig.clock.advance(Duration::from_millis(300_001));
    assert_eq!(left(&rig).await, [false, true]);
    rig.clock.advance(Duration::from_hours(24));
    assert_eq!(left(&rig).await, [false, false]);
}

#[tokio::test]
async fn an_address_asks_for_a_hundred_codes_an_hour() {
    let (_gateway, rig, _tenant) = begin().await;
    for n in 0..100 {
        send(&rig, &format!("+86137000000{n:02}"), "203.0.113.1").await.expect(202);
    }
    send(&rig, "+8613700000100", "203.0.113.1").await.refused(429, "rate_limited");
    send(&rig, "+8613700000100", "198.51.100.7").await.expect(202);
    send(&rig, "+8613700000101", "2001:db8::1").await.expect(202);
}

#[tokio::test]
async fn what_the_gateway_refuses_says_what_to_do() {
    let (_gateway, rig, tenant) = begin().await;
    let nowhere = send(&rig, "+8613900000422", "203.0.113.1").await;
    nowhere.refused(400, "invalid_request");
    assert_eq!(nowhere.wrong_fields(), ["phone"]);
    send(&rig, "+8613900000500", "203.0.113.1").await.refused(503, "temporarily_unavailable");
    send(&rig, "+8613900000999", "203.0.113.1").await.refused(503, "temporarily_unavailable");
    provide(&rig, tenant, "phone", "another").await;
    send(&rig, PHONE, "203.0.113.1").await.refused(409, "conflict");
    let wrong = json!({ "tenant": "kettles", "phone": "13912345678", "code": "12345", "limit_by": "id_hash" });
    assert_eq!(log_in(&rig, &wrong).await.wrong_fields(), ["code", "limit_by", "phone"]);
    let away = Rig::start_with(nobody()).await;
    let tenant = shop(&away).await;
    send(&away, PHONE, "203.0.113.1").await.refused(404, "not_found");
    provide(&away, tenant, "phone", SECRET).await;
    send(&away, PHONE, "203.0.113.1").await.refused(503, "temporarily_unavailable");
}
