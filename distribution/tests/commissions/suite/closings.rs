//! Goal: a month is paid once, as it was seen, and never again. Method: sales of two distributors, of
//! which some comes back, then the closing over the routes.

use domain::event::EventKind;
use kit::clock::Clock as _;
use serde_json::{Value, json};

use super::rig::{Answer, DAY_MS, Rig, bought, later};

const PLAN: &str = r#"plan "two" v2 profile CN-1 budget 12% {
  base net_paid where not tag(flash_sale)
  rule direct: on matured walk(referral, slots 1, rate 10%)
  rule best: on period_closed pool(30.00, members distributor, split, weight ranked [50, 30, 20])
  rule tier: on period_closed walk(referral, self, slots 1, rate tier(sum(sales, self, month), [0.00 → 1%, 300.00 → 2%], marginal))
  settle cash after receipt+7d, channel transfer, clawback full
}"#;

/// Four lines of customers of 12, of one of which a unit came back, and a line of one of 11.
async fn sold() -> Rig {
    let rig = Rig::start().await;
    rig.publish(PLAN).await.expect(201);
    rig.bind(22, 11).await.expect(200);
    rig.pass(5_000);
    for sequence in 0..4 {
        rig.feed(&bought(20, rig.clock.now_ms(), sequence)).await;
    }
    let [first, paid] = bought(22, rig.clock.now_ms(), 4);
    let back = bought(20, rig.clock.now_ms(), 5);
    rig.feed(&[first, paid]).await;
    rig.feed(&back).await;
    rig.feed(&[later(&back[0], 9, EventKind::RefundedInPart, 3_333)]).await;
    rig
}

async fn preview(rig: &Rig) -> Answer {
    rig.merchant("POST", "closings/202611/preview", None).await
}

async fn confirm(rig: &Rig, seen: &Value) -> Answer {
    rig.merchant("POST", "closings/202611/confirm", Some(json!({ "seen": seen }))).await
}

fn shares(closing: &Value) -> Vec<(String, String, i64)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let shares = closing["shares"].as_array().unwrap().iter();
    shares.map(|share| (text(&share["rule"]), text(&share["person"]), share["amount"].as_i64().unwrap())).collect()
}

/// 466.62 and 99.99 were sold: the ranked pool of 30.00 and tiers of 1 and 2 %.
#[tokio::test]
async fn a_month_is_looked_at_confirmed_as_it_was_seen_and_never_opened_again() {
    let rig = sold().await;
    let early = preview(&rig).await;
    assert!(early.refused(409, "conflict").to_string().contains("2026-12-08"), "{}", early.body);
    rig.pass(28 * DAY_MS);
    let seen = preview(&rig).await;
    let seen = seen.expect(200);
    let share = |rule: &str, person: &str, amount| (rule.to_owned(), person.to_owned(), amount);
    let expected = [
        share("best", "-", 600),
        share("best", "11", 900),
        share("best", "12", 1_500),
        share("tier", "11", 99),
        // 300.00 at 1 %, 166.62 at 2 %.
        share("tier", "12", 633),
    ];
    assert_eq!((seen["net"].as_i64(), shares(seen)), (Some(46_662 + 9_999), expected.to_vec()));
    let [before, _, ..] = rig.balance(12).await;

    // A payment of the month is heard of late: what was seen is no more.
    let late = bought(22, rig.clock.now_ms() - 27 * DAY_MS, 9);
    rig.feed(&late).await;
    confirm(&rig, &seen["seen"]).await.refused(409, "conflict");
    let seen = preview(&rig).await.expect(200)["seen"].clone();
    let body = Some(json!({ "seen": seen }));
    let by_key = rig.call("POST", "merchant/commissions/closings/202611/confirm", "key-1-7", body, &[]).await;
    by_key.refused(403, "forbidden");
    confirm(&rig, &json!("0".repeat(32))).await.refused(409, "conflict");
    let (one, other) = tokio::join!(confirm(&rig, &seen), confirm(&rig, &seen));
    assert_eq!(one.expect(200)["confirmed_by"], "user:5");
    assert_eq!(other.expect(200)["confirmed_at"], one.body["confirmed_at"], "both hear of one confirmation");
    confirm(&rig, &json!("0".repeat(32))).await.refused(409, "conflict");

    rig.service.round().await.unwrap();
    assert_eq!(rig.balance(12).await[..2], [before, 1_500 + 633], "the goods cannot come back any more");
    let own = rig.own("GET", "orders", 12, None).await;
    assert_eq!(own.expect(200)["items"][0]["why"], "period_closed");
    // What comes later changes a closed month no more.
    rig.feed(&[later(&late[0], 7, EventKind::Refunded, 0)]).await;
    assert_eq!(shares(preview(&rig).await.expect(200)).last(), Some(&share("tier", "12", 633)));
    rig.sums_to_zero().await;
}

#[tokio::test]
async fn what_is_no_month_or_has_no_rule_is_refused() {
    let rig = Rig::start().await;
    rig.pass(60 * DAY_MS);
    for period in ["0", "202613", "196901"] {
        let refused = rig.merchant("POST", &format!("closings/{period}/preview"), None).await;
        assert!(refused.refused(409, "conflict").to_string().contains("such as 202611"), "{}", refused.body);
    }
    let refused = preview(&rig).await;
    assert!(refused.refused(409, "conflict").to_string().contains("period_closed"), "{}", refused.body);
    confirm(&rig, &json!("0".repeat(32))).await.refused(409, "conflict");
    rig.merchant("GET", "closings/202611", None).await.refused(404, "not_found");
}
