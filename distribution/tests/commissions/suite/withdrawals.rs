//! Goal: no more goes out than is there, once, with the approvals that the shop asks for; what
//! fails comes back.

use std::sync::Arc;

use distribution::payouts::{Behaves, BillState};
use domain::event::EventKind;
use kit::clock::Clock as _;
use serde_json::json;

use super::rig::{DAY_MS, Rig, bought, later};

/// Person 12 is verified, and has so many times 9.99 available.
pub(crate) async fn with_money(orders: u8) -> Rig {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    for number in 0..orders {
        let [first, paid] = bought(20, now_ms + u64::from(number), 0);
        rig.feed(&[first, paid, later(&first, 4, EventKind::Completed, 0)]).await;
    }
    rig.pass(22 * DAY_MS);
    while rig.service.round().await.unwrap() > 0 {}
    assert_eq!(rig.balance(12).await, [0, 999 * i64::from(orders), 0, 0, 0]);
    rig.verify(12).await;
    rig
}

async fn ask(rig: &Rig, amount: i64) -> super::rig::Answer {
    rig.own("POST", "withdrawals", 12, Some(json!({ "amount": amount }))).await
}

async fn approve(rig: &Rig, withdrawal: &serde_json::Value, token: &str) -> super::rig::Answer {
    let path = format!("merchant/commissions/withdrawals/{}/approve", withdrawal["withdrawal"].as_str().unwrap());
    rig.call("POST", &path, token, None, &[]).await
}

/// A thousand ask for 37 of 1998 at once: 54 get it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_overdraw_nothing() {
    let rig = Arc::new(with_money(2).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let rig = Arc::clone(&rig);
        tasks.spawn(async move {
            loop {
                let status = ask(&rig, 37).await.status;
                // Busy: nothing was done.
                if status != 503 {
                    return status;
                }
            }
        });
    }
    let statuses = tasks.join_all().await;
    let done = statuses.iter().filter(|status| **status == 201).count();
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409)), "{statuses:?}");
    assert_eq!((done, rig.balance(12).await), (54, [0, 0, 54 * 37, 0, 0]));
    rig.sums_to_zero().await;
}

/// The same key is the same withdrawal.
#[tokio::test]
async fn a_repeated_request_reserves_once() {
    let rig = with_money(1).await;
    let token = rig.buyer_token(7, 12);
    let ask = async |amount: i64| {
        let body = Some(json!({ "amount": amount }));
        rig.call("POST", "commissions/withdrawals", &token, body, &[("idempotency-key", "one")]).await
    };
    let (first, second) = tokio::join!(ask(100), ask(100));
    assert_eq!(first.expect(201)["withdrawal"], second.expect(201)["withdrawal"]);
    ask(101).await.refused(422, "idempotency_mismatch");
    assert_eq!(rig.balance(12).await, [0, 899, 100, 0, 0]);
}

#[tokio::test]
async fn two_people_approve_above_the_threshold_and_none_of_them_twice() {
    let rig = with_money(2).await;
    let made = ask(&rig, 1_000).await;
    let made = made.expect(201);
    assert_eq!(made["needs"], 2);
    approve(&rig, made, "key-1-7").await.refused(403, "forbidden");
    approve(&rig, made, "guest-1-7").await.refused(403, "forbidden");
    approve(&rig, made, "user-5-8").await.refused(404, "not_found");
    assert_eq!(approve(&rig, made, "user-5-7").await.expect(200)["state"], "asked");
    approve(&rig, made, "user-5-7").await.refused(409, "conflict");
    rig.service.round().await.unwrap();
    assert_eq!(rig.payouts.paid(), 0, "nothing goes out before the second approval");
    assert_eq!(approve(&rig, made, "user-6-7").await.expect(200)["state"], "approved");
    rig.service.round().await.unwrap();
    assert_eq!((rig.payouts.paid(), rig.balance(12).await), (1_000, [0, 998, 0, 1_000, 0]));
    rig.sums_to_zero().await;
}

/// Whatever the channel says or keeps to itself: paid once, or back.
#[tokio::test]
async fn a_bill_is_paid_once_or_its_money_comes_back() {
    let rig = with_money(1).await;
    for (behaves, ends, expected) in [
        (Behaves::Fails, None, [0, 999, 0, 0, 0]),
        (Behaves::Waits, Some(BillState::Failed), [0, 999, 0, 0, 0]),
        (Behaves::LosesAnswer, None, [0, 899, 0, 100, 0]),
        (Behaves::Waits, Some(BillState::Paid), [0, 799, 0, 200, 0]),
    ] {
        rig.payouts.behave(&[behaves]);
        let made = ask(&rig, 100).await;
        let made = made.expect(201);
        approve(&rig, made, "user-5-7").await.expect(200);
        rig.service.round().await.unwrap();
        let path = format!("withdrawals/{}/decline", made["withdrawal"].as_str().unwrap());
        rig.merchant("POST", &path, None).await;
        if let Some(state) = ends {
            assert_eq!(rig.balance(12).await[2], 100, "it is out, and cannot be declined");
            rig.payouts.end(&format!("w{}", made["withdrawal"].as_str().unwrap()), state);
        }
        for _ in 0..3 {
            rig.pass(2_000);
            rig.service.round().await.unwrap();
        }
        assert_eq!(rig.balance(12).await, expected, "{behaves:?}");
    }
    assert_eq!(rig.payouts.paid(), 200);
    rig.sums_to_zero().await;
}

#[tokio::test]
async fn a_withdrawal_is_refused_by_the_rule_that_it_breaks() {
    let rig = with_money(1).await;
    let detail = async |amount: i64| ask(&rig, amount).await.refused(409, "conflict")["detail"].to_string();
    assert!(detail(1_000).await.contains("999 minor units are available"));
    assert!(detail(1_000_001).await.contains("today's limit"));
    ask(&rig, 0).await.refused(400, "invalid_request");
    let body = json!({"kyc": false, "reason": "expired"});
    rig.merchant("PATCH", "people/12", Some(body)).await.expect(200);
    assert!(detail(1).await.contains("identity is not verified"));
    let body = json!({"state": "frozen", "reason": "risk"});
    rig.merchant("PATCH", "people/12", Some(body)).await.expect(200);
    assert!(detail(1).await.contains("active"));
    let made = rig.own("POST", "withdrawals", 20, Some(json!({"amount": 1}))).await;
    made.refused(409, "conflict");
    assert_eq!(rig.balance(12).await, [0, 999, 0, 0, 0]);
}
