//! The plan language: text and JSON read back as they were written, flaws name their places, the
//! published schema takes what serde takes, and the checker refuses by name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "language/random.rs"]
mod random;
#[path = "language/schema.rs"]
mod schema;

use distribution::check::{check, profiles, worst};
use distribution::plan::{Plan, SCHEMA};
use distribution::template::TEMPLATES;

fn plan(head: &str, body: &str, settle: &str) -> String {
    format!("plan \"t\" v1 profile {head} {{\n  base net_paid where not tag(flash_sale)\n  {body}\n  {settle}\n}}\n")
}

const SETTLE: &str = "settle cash after receipt+7d, channel transfer, clawback full";

fn refusals(head: &str, body: &str, settle: &str, signed: Option<&str>) -> Vec<String> {
    let plan: Plan = plan(head, body, settle).parse().unwrap_or_else(|flaws| panic!("{flaws}"));
    check(&plan, &profiles().unwrap(), signed).err().unwrap_or_default().into_iter().map(|r| r.rule).collect()
}

#[test]
fn any_plan_reads_back_as_text_and_as_json() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    for seed in 1..=2_000 {
        let plan = random::plan(seed);
        let text = plan.to_string();
        assert_eq!(text.parse::<Plan>().as_ref(), Ok(&plan), "seed {seed}\n{text}");
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(schema::flaw(&schema, &schema, &json), None, "seed {seed}\n{json}");
        assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), plan);
    }
}

/// Whatever field is taken out or added, schema and serde agree that the plan is none.
#[test]
fn the_schema_refuses_what_serde_refuses() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let whole = serde_json::to_value(random::plan(1)).unwrap();
    for field in ["name", "version", "profile", "budget", "rules", "settle"] {
        let mut json = whole.clone();
        json.as_object_mut().unwrap().remove(field);
        assert!(schema::flaw(&schema, &schema, &json).is_some(), "{field}");
        assert!(serde_json::from_value::<Plan>(json).is_err(), "{field}");
    }
    for at in ["", "/settle", "/rules/0"] {
        let mut json = whole.clone();
        json.pointer_mut(at).unwrap().as_object_mut().unwrap().insert("other".into(), 1.into());
        assert!(schema::flaw(&schema, &schema, &json).is_some(), "{at}");
        assert!(serde_json::from_value::<Plan>(json).is_err(), "{at}");
    }
}

#[test]
fn all_flaws_of_a_text_are_named_with_their_places() {
    let text = "plan \"t\" v1 profile CN-1 budget 12% {\n  base gross\n  rule a: on paid walk(referral, slots one, rate 10%)\n  rule b: on bought walk(referral, slots 1, rate 10%)\n  rule c: on paid walk(referral, slots 1, rate 10.00001%)\n  settle cash after receipt+7d, channel transfer, clawback full\n}\n";
    let flaws = text.parse::<Plan>().unwrap_err().0;
    let places: Vec<_> = flaws.iter().map(|flaw| (flaw.line, flaw.column)).collect();
    assert_eq!(places, [(2, 8), (3, 40), (4, 14), (5, 48)], "{flaws:?}");
    assert!(flaws[2].what.contains("matured"), "it says what to write: {}", flaws[2].what);
}

#[test]
fn a_text_of_any_kind_is_answered_without_a_panic() {
    let whole =
        plan("CN-1 budget 12%", "rule a: on paid if net >= 5.00 walk(referral, self, slots 1, rate {a: 1%})", SETTLE);
    let chars: Vec<char> = whole.chars().collect();
    for cut in 0..chars.len() {
        let begin: String = chars[..cut].iter().collect();
        let without: String = chars[..cut].iter().chain(&chars[cut + 1..]).collect();
        assert!(begin.trim_end().parse::<Plan>().is_err() || begin.contains("clawback full"));
        drop(without.parse::<Plan>());
    }
}

#[test]
fn cn_1_allows_all_templates() {
    for (name, text) in TEMPLATES {
        let plan: Plan = text.parse().unwrap_or_else(|flaws| panic!("{name}: {flaws}"));
        assert!(check(&plan, &profiles().unwrap(), None).is_ok(), "{name}");
        assert_eq!(plan.to_string(), *text, "{name} is printed as it is written");
    }
}

#[test]
fn a_worst_case_above_budget_margin_profile_or_channel_is_refused() {
    let rule = "rule a: on matured walk(referral, slots 1, rate 10%)";
    assert_eq!(refusals("CN-1 budget 9.9999%", rule, SETTLE, None), ["budget"]);
    assert_eq!(refusals("CN-1 budget 10% margin 8%", rule, SETTLE, None), ["margin"]);
    assert_eq!(refusals("CN-1 budget 10% margin 10%", rule, SETTLE, None), [""; 0]);
    let rich = "rule a: on matured walk(referral, slots 1, rate 31%)";
    assert_eq!(refusals("CN-1 budget 31%", rich, SETTLE, None), ["payout-cap"]);
    let sharing = "settle cash after receipt+7d, channel sharing, clawback full";
    assert_eq!(refusals("INTL budget 31%", rich, sharing, None), ["channel-ratio"]);
    let late = "settle cash after receipt+16d, channel sharing, clawback full";
    assert_eq!(refusals("CN-1 budget 10%", rule, late, None), ["channel-freeze"]);
    let fixed = "rule a: on matured walk(referral, slots 1, rate 1.00 each)";
    assert_eq!(refusals("CN-1 budget 10%", fixed, SETTLE, None)[0], "unbounded");
    assert_eq!(refusals("CN-1 budget 10% floor 10.00", fixed, SETTLE, None), [""; 0]);
}

#[test]
fn each_guard_rail_refuses_by_its_name() {
    let soon = "settle cash after receipt+6d, channel transfer, clawback full";
    let kept = "settle cash after receipt+7d, channel transfer, clawback none";
    let rule = "rule a: on matured walk(referral, slots 1, rate 1%)";
    let head = "CN-2 budget 30%";
    let signed = Some("counsel");
    assert_eq!(refusals(head, rule, soon, signed), ["maturity"]);
    assert_eq!(refusals(head, rule, kept, signed), ["clawback"]);
    assert_eq!(refusals(head, rule, SETTLE, None), ["sign-off"]);
    assert_eq!(refusals("XX budget 30%", rule, SETTLE, None), ["profile"]);
    for (body, rail) in [
        ("rule a: on matured walk(referral, filter bought_pack, slots 1, rate 1%)", "free-entry"),
        ("rule a: on matured walk(referral, filter monthly_quota, slots 1, rate 1%)", "quota"),
        ("rule a: on matured walk(org, filter sum(sales, direct, month) >= 5.00, slots 1, rate 1%)", "team-pay"),
        (
            "rule a: on matured walk(org, slots 1, rate 1%)\n rule b: on matured walk(org, of a, slots 1, rate 1%)\n rule c: on matured walk(org, of b, slots 1, rate 1%)",
            "bonus-on-bonus",
        ),
        (
            "rule a: on matured walk(referral, slots 2, rate 1%)\n rule b: on matured walk(referral, filter x, compress, slots 1, depth 3, rate 1%)",
            "payees",
        ),
    ] {
        assert_eq!(refusals(head, body, SETTLE, signed), [rail], "{body}");
    }
}

/// No random line pays more cash than the proof says.
#[test]
fn no_line_pays_more_than_the_worst_case() {
    use distribution::evaluate::{Frozen, Person, evaluate};
    use distribution::plan::Relation;
    let text = plan(
        "INTL budget 100%",
        "ranks c < b < a\n rule a: on matured walk(referral, slots 3, difference, peer 2% 1, rate {c: 10%, b: 15%, a: 20%})\n rule b: on matured walk(referral, of a, slots 2, rate [10%, 5%])\n rule c: on matured walk(org, slots 2, rate split(5%, [3, 1]))",
        SETTLE,
    );
    let plan: Plan = text.parse().unwrap();
    for ranks in 0..64_usize {
        let mut line = Frozen::line(1, 9_999);
        let people = (0..3).map(|i| Person {
            rank: [None, Some("c"), Some("b"), Some("a")][(ranks >> (2 * i)) & 3].map(Into::into),
            ..Person::new(10 + u64::try_from(i).unwrap())
        });
        line.paths.insert(Relation::Referral, people.collect());
        line.paths.insert(Relation::Org, vec![Person::new(20)]);
        let paid: i64 = evaluate(&plan, &line).unwrap().payouts.iter().map(|payout| payout.amount).sum();
        assert!(i128::from(paid) * 1_000_000 <= i128::from(worst(&plan)) * 9_999, "{paid} of {}", worst(&plan));
    }
}
