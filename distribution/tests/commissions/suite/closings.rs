//! Goal: a month is paid once, as it was seen, and never again. Method: sales of two distributors,
//! of which some comes back, then the closing over the routes.

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

/// 1 % of what the shop sold, 5.66, among three: the rest of the rounding goes to the first ones.
/// Who left before the month's end has no share.
#[tokio::test]
async fn a_pool_of_a_rate_is_shared_to_the_last_cent_by_who_was_there_at_the_end() {
    let rig = sold().await;
    let plan = PLAN.replace("v2", "v3").replace("CN-1", "INTL").replace("budget 12%", "budget 15%");
    let rule = "rule all: on period_closed pool(1%, members distributor, split, weight equal)";
    rig.publish(&plan.replace("rule best", &format!("{rule}\n  rule best"))).await.expect(201);
    rig.join(13).await;
    rig.pass(1_000);
    rig.own("POST", "leave", 13, None).await.expect(200);
    rig.pass(28 * DAY_MS);
    rig.join(14).await;
    let seen = preview(&rig).await;
    let all: Vec<_> = shares(seen.expect(200)).into_iter().filter(|(rule, ..)| rule == "all").collect();
    let share = |person: &str, amount| ("all".to_owned(), person.to_owned(), amount);
    assert_eq!(all, [share("10", 189), share("11", 189), share("12", 188)]);
    confirm(&rig, &seen.body["seen"]).await.expect(200);
    assert_eq!(rig.balance(10).await[0], 189);
    rig.sums_to_zero().await;
}

/// A confirmation that would leave nobody's balance in its range posts nothing.
#[tokio::test]
async fn a_month_that_fits_no_balance_is_not_confirmed() {
    let rig = sold().await;
    rig.pass(28 * DAY_MS);
    let seen = preview(&rig).await.expect(200)["seen"].clone();
    let full = "INSERT INTO sub_accounts (tenant, person, part, pending, available, withdrawing, paid, receivable) \
                VALUES (7, 11, 1, ?, 0, 0, 0, 0)";
    rig.change(full, vec![(1_i64 << 62).into()]).await;
    let before = rig.count("entries").await;
    let refused = confirm(&rig, &seen).await;
    assert!(refused.refused(409, "conflict").to_string().contains("64 bits"), "{}", refused.body);
    assert_eq!(rig.count("entries").await, before);
    rig.change("DELETE FROM sub_accounts WHERE part = 1", vec![]).await;
    confirm(&rig, &seen).await.expect(200);
    rig.sums_to_zero().await;
}

/// Each refusal names its rule and what to do.
#[tokio::test]
async fn what_a_closing_has_no_figures_for_is_refused() {
    let rig = Rig::start().await;
    let refused = async |from: &str, to: &str, why: &str| {
        let plan = PLAN.replace("CN-1", "INTL").replace(from, to);
        assert_ne!(plan, PLAN, "{from}");
        let refused = rig.publish(&plan).await;
        assert!(refused.refused(400, "invalid_request").to_string().contains(why), "{}", refused.body);
    };
    refused("sum(sales, self, month)", "sum(sales, subtree 0, month)", "the own month of each seller").await;
    refused("sum(sales, self, month)", "sum(sales, self, day)", "the own month of each seller").await;
    refused("walk(referral, self, slots 1, rate tier", "walk(referral, self, slots 2, rate tier", "pays each seller")
        .await;
    refused("[50, 30, 20])", "[50, 30, 20]) limit 100.00 per user month breakage", "no limits over a time").await;
    refused("members distributor", "members vip", "members are").await;
    refused("  settle", "  limit 100.00 per plan month scale\n  settle", "limits in its rules").await;
    refused("on period_closed pool", "on matured pool", "a pool is paid").await;
    refused("on matured walk(referral,", "on registered walk(referral,", "use one of them").await;
    refused("on matured walk(referral,", "on matured if tag(first_order) walk(referral,", "no tags").await;
    assert_eq!(rig.count("plans").await, 1);
}
