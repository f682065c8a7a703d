//! Goal: what somebody should look at is found once, by its kind, and a decision about it is made
//! once and holds.

use domain::event::EventKind;
use kit::clock::Clock as _;
use serde_json::{Value, json};

use super::rig::{Answer, DAY_MS, Rig, bought, later};

/// Pays the buyer too, and three levels; under a profile without thresholds.
const OWN: &str = r#"plan "own" v1 profile INTL budget 30% {
  base net_paid where not tag(flash_sale)
  rule direct: on matured walk(referral, self, slots 3, rate [10%, 5%, 2%])
  settle cash after receipt+22d, channel transfer, clawback full
}"#;

async fn open(rig: &Rig) -> Vec<Value> {
    let listed = rig.merchant("GET", "risks?open=true", None).await;
    let mut found = listed.expect(200)["items"].as_array().unwrap().clone();
    found.sort_by_key(|risk| (risk["kind"].to_string(), risk["count"].to_string()));
    found
}

async fn decide(rig: &Rig, risk: &Value, decision: &str) -> Answer {
    let path = format!("risks/{}/decision", risk["risk"].as_str().unwrap());
    rig.merchant("POST", &path, Some(json!({"decision": decision, "reason": "looked"}))).await
}

async fn watch(rig: &Rig) {
    rig.pass(2 * DAY_MS);
    while rig.service.watch_risks().await.unwrap() > 0 {}
}

#[tokio::test]
async fn two_who_pay_each_other_are_found_once_and_held_by_one_decision() {
    let rig = Rig::start().await;
    // 12 stands below 11, and buys; then 11 stands below 12, and buys.
    rig.feed(&bought(12, rig.clock.now_ms(), 0)).await;
    rig.pass(1_000);
    rig.merchant("PUT", "people/12/relations/referral", Some(json!({"parent": "10", "reason": "x"}))).await.expect(200);
    rig.bind(11, 12).await.expect(200);
    rig.pass(1_000);
    rig.feed(&bought(11, rig.clock.now_ms(), 0)).await;
    // Unpaid: it shows nothing.
    rig.feed(&bought(20, rig.clock.now_ms(), 0)[..1]).await;
    assert_eq!(rig.service.watch_risks().await.unwrap(), 0, "orders of today are looked at tomorrow");
    watch(&rig).await;
    rig.feed(&bought(11, rig.clock.now_ms(), 1)).await;
    watch(&rig).await;
    let found = open(&rig).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let ring = &found[0];
    assert_eq!((&ring["kind"], &ring["people"], &ring["times"]), (&"ring".into(), &json!(["11", "12"]), &2.into()));
    let (one, two) = tokio::join!(decide(&rig, ring, "held"), decide(&rig, ring, "dismissed"));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!((statuses, open(&rig).await.len()), ([200, 409], 0), "one decision");
    if one.status == 200 {
        for person in [11, 12] {
            assert_eq!(rig.own("GET", "me", person, None).await.expect(200)["stopped"], json!(["held"]));
        }
    }
    let other = rig.call("GET", "merchant/commissions/risks", "user-5-8", None, &[]).await;
    assert_eq!(other.expect(200)["items"], json!([]));
    rig.merchant("GET", "risks?open=perhaps", None).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn who_is_paid_on_the_own_purchase_is_found_and_held() {
    let rig = Rig::empty().await;
    rig.publish(OWN).await.expect(201);
    rig.switch(super::rig::SALE, true).await;
    rig.own("POST", "join", 12, None).await.expect(201);
    rig.merchant("PATCH", "people/12", Some(json!({"state": "active", "reason": "x"}))).await.expect(200);
    rig.pass(5_000);
    let [first, paid] = bought(12, rig.clock.now_ms(), 0);
    rig.feed(&[first, paid, later(&first, 7, EventKind::Refunded, 0)]).await;
    watch(&rig).await;
    let found = open(&rig).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["kind"], &found[0]["people"]), (&"self_purchase".into(), &json!(["12"])));
    assert_eq!(decide(&rig, &found[0], "held").await.expect(200)["decision"], "held");
    assert_eq!(rig.own("GET", "me", 12, None).await.expect(200)["stopped"], json!(["held"]));
    rig.merchant("POST", "holds", Some(json!({"person": "12", "reason": "x"}))).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_shop_that_pays_twenty_people_is_told_and_at_thirty_again() {
    let rig = Rig::start().await;
    for (count, expected) in [(19, &[][..]), (20, &[20][..]), (31, &[20, 30][..])] {
        let paid = rig.count("(SELECT DISTINCT person FROM sub_accounts) AS paid").await;
        for person in 100 + u64::try_from(paid).unwrap()..100 + count {
            rig.join(person).await;
            rig.bind(person + 1_000, person).await.expect(200);
            rig.pass(1_000);
            rig.feed(&bought(person + 1_000, rig.clock.now_ms(), 0)).await;
        }
        watch(&rig).await;
        let counts: Vec<_> = open(&rig).await.iter().map(|risk| risk["count"].as_i64().unwrap()).collect();
        assert_eq!(counts, expected);
    }
    let found = open(&rig).await;
    decide(&rig, &found[0], "held").await.refused(409, "conflict");
    decide(&rig, &found[0], "dismissed").await.expect(200);
    assert_eq!(open(&rig).await.len(), 1);
}
