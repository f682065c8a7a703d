//! Goal: a plan is tried on what past orders froze, beside today's; nothing is written.

use domain::event::EventKind;
use kit::clock::Clock as _;
use serde_json::json;

use super::rig::{Answer, PLAN, Rig, bought, later};

/// One level more than the plan that the orders froze.
const THREE: &str = r#"plan "three" v2 profile INTL budget 20% {
  base net_paid where not tag(flash_sale)
  rule direct: on matured walk(referral, slots 3, rate [10%, 5%, 2%])
  settle cash after receipt+22d, channel transfer, clawback full
}"#;

/// It looks at sums that these orders did not freeze.
const TIERS: &str = r#"plan "tiers" v2 profile CN-1 budget 12% {
  base net_paid where not tag(flash_sale)
  rule direct: on matured walk(referral, slots 1, rate tier(sum(sales, self, month), [0.00 → 8%, 10000.00 → 10%], marginal))
  settle cash after receipt+22d, channel transfer, clawback full
}"#;

async fn simulate(rig: &Rig, plan: &str, since: &str) -> Answer {
    let body = json!({"text": plan, "sign_off": "counsel", "since": since});
    loop {
        let answer = rig.merchant("POST", "simulations", Some(body.clone())).await;
        // One at a time in a process, whosever it is: nothing was done.
        if answer.body["code"] != "overloaded" {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_plan_is_tried_on_past_orders_as_they_were_and_nothing_is_written() {
    let rig = Rig::start().await;
    let now_ms = rig.clock.now_ms();
    let [first, paid] = bought(20, now_ms, 0);
    rig.feed(&[first, paid, later(&first, 9, EventKind::RefundedInPart, 3_333)]).await;
    rig.feed(&bought(20, now_ms, 1)).await;
    rig.pass(10);
    // Who stands where now is of no interest to these orders.
    rig.bind(20, 10).await.expect(200);
    rig.pass(5_000);
    let tables = ["entries", "evaluations", "sub_accounts", "requests", "audit_log", "plans"];
    let counts = async || {
        let mut counts = Vec::new();
        for table in tables {
            counts.push(rig.count(table).await);
        }
        counts
    };
    let before = counts().await;
    let answer = simulate(&rig, THREE, "2026-11-11").await;
    let answer = answer.expect(200);
    assert_eq!((answer["lines"].as_u64(), answer["left_out"].as_u64()), (Some(2), Some(0)), "{answer}");
    assert_eq!((&answer["is_whole"], &answer["today_version"]), (&true.into(), &1.into()));
    assert_eq!(answer["net"], 6_666 + 9_999);
    // Today's plan: what the ledger has, 10 % and 5 % of both lines, each rounded down.
    assert_eq!(answer["today"]["cost"], 666 + 333 + 999 + 499);
    assert_eq!(-rig.expense().await, 666 + 333 + 999 + 499);
    assert_eq!(answer["then"]["cost"], 666 + 333 + 133 + 999 + 499 + 199);
    assert_eq!(answer["worst_ppm"], 170_000);
    let gain = answer["gain"].as_array().unwrap();
    assert_eq!(gain[..], [json!({"person": "10", "today": 0, "then": 332})], "person 10 stood third, not first");
    assert_eq!((&answer["lose"], &answer["top"][0]["person"]), (&json!([]), &"12".into()));
    assert_eq!(answer["dearest"]["cost"], 666 + 333 + 133, "16.98 % of its net");
    let picture = answer["picture"].as_str().unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("person 10") && picture.contains("24.97"), "{picture}");
    assert_eq!(before, counts().await);
    let none = simulate(&rig, THREE, "2026-12-01").await;
    assert_eq!(none.expect(200)["lines"], 0);
}

#[tokio::test]
async fn a_plan_that_may_not_be_published_is_not_tried_and_what_was_not_frozen_is_left_out() {
    let rig = Rig::start().await;
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    rig.pass(5_000);
    let refused = simulate(&rig, &PLAN.replace("CN-2", "CN-1"), "2026-11-11").await;
    assert!(refused.refused(400, "invalid_request").to_string().contains("payees"), "{}", refused.body);
    let answer = simulate(&rig, TIERS, "2026-11-11").await;
    let answer = answer.expect(200);
    assert_eq!((answer["lines"].as_u64(), answer["left_out"].as_u64()), (Some(0), Some(1)), "{answer}");
    for since in ["2026-11-31", "yesterday"] {
        simulate(&rig, THREE, since).await.refused(400, "invalid_request");
    }
    let body = || Some(json!({"text": THREE, "since": "2026-11-11"}));
    let path = "merchant/commissions/simulations";
    rig.call("POST", path, "guest-1-7", body(), &[]).await.refused(403, "forbidden");
    let mut other = rig.call("POST", path, "user-5-8", body(), &[]).await;
    while other.body["code"] == "overloaded" {
        other = rig.call("POST", path, "user-5-8", body(), &[]).await;
    }
    assert_eq!(other.expect(200)["lines"], 0, "another shop's orders are its own");
}
