//! Goal: who leaves takes all money along, then nothing but a number and sums is kept; who stood
//! below stands below who stood above. And what may not stand on a poster is refused by its rule.

use kit::clock::Clock as _;
use serde_json::json;
use store::sql::Sql as _;

use super::{
    rig::{DAY_MS, Rig, bought},
    withdrawals::with_money,
};

/// More than are bound anew in one transaction.
const BELOW: u64 = 203;

async fn number(rig: &Rig, query: &str) -> i64 {
    rig.sql.rows(query, vec![]).await.unwrap().into_iter().next().unwrap().int().unwrap()
}

#[tokio::test]
async fn who_leaves_with_all_money_is_erased_and_the_ledger_adds_up() {
    let rig = with_money(1).await;
    for person in 1_000..1_000 + BELOW {
        rig.bind(person, 12).await.expect(200);
    }
    let erase = async || rig.own("POST", "erasure", 12, None).await;
    erase().await.refused(409, "conflict");
    rig.own("POST", "leave", 12, None).await.expect(200);
    let refused = erase().await;
    assert!(refused.refused(409, "conflict")["detail"].as_str().unwrap().contains("999 available"), "{}", refused.body);
    let wish = rig.own("POST", "withdrawals", 12, Some(json!({"amount": 999}))).await;
    let path = format!("withdrawals/{}/approve", wish.expect(201)["withdrawal"].as_str().unwrap());
    rig.merchant("POST", &path, None).await.expect(200);
    rig.service.round().await.unwrap();
    assert_eq!(rig.balance(12).await, [0, 0, 0, 999, 0]);
    rig.own("GET", "erasure", 12, None).await.refused(404, "not_found");
    let (one, two) = tokio::join!(erase(), erase());
    assert_eq!(one.expect(202), two.expect(202));
    for _ in 0..6 {
        rig.pass(1_000);
        rig.service.round().await.unwrap();
    }
    let done = rig.own("GET", "erasure", 12, None).await;
    assert!(done.expect(200)["done_at"].is_string(), "{}", done.body);
    let now = "to_ms = 9223372036854775807";
    assert_eq!(number(&rig, &format!("SELECT COUNT(*) FROM relations WHERE parent = 12 AND {now}")).await, 0);
    let moved = format!("SELECT COUNT(*) FROM relations WHERE parent = 11 AND who = 'erasure' AND {now}");
    assert_eq!(number(&rig, &moved).await, i64::try_from(BELOW).unwrap() + 1);
    assert_eq!(number(&rig, &format!("SELECT COUNT(*) FROM relations WHERE person = 12 AND {now}")).await, 0);
    for rest in [
        "SELECT COUNT(*) FROM standings WHERE person = 12 AND (reason <> 'erased' OR kyc <> 0)",
        "SELECT COUNT(*) FROM requests WHERE actor = 'buyer:12'",
        "SELECT COUNT(*) FROM touches WHERE visitor = 12",
    ] {
        assert_eq!(number(&rig, rest).await, 0, "{rest}");
    }
    // Who stood above is paid now.
    rig.feed(&bought(20, rig.clock.now_ms(), 0)).await;
    assert_eq!((rig.balance(12).await, rig.balance(11).await[0]), ([0, 0, 0, 999, 0], 999));
    rig.sums_to_zero().await;
    rig.pass(2 * DAY_MS);
    rig.service.close_days().await.unwrap();
    assert_eq!(rig.merchant("GET", "ledger/verification", None).await.expect(200)["holds"], true);
    let history = rig.merchant("GET", "people/20/relations", None).await;
    let parents: Vec<_> = history.expect(200)["items"].as_array().unwrap().iter().map(|item| &item["parent"]).collect();
    assert_eq!(parents, ["12", "11"], "the history stays");
}

#[tokio::test]
async fn a_poster_is_refused_by_the_rules_that_it_breaks() {
    let rig = Rig::start().await;
    let body = |text: &str| Some(json!({ "text": text }));
    let refused = rig.merchant("POST", "poster-checks", body("躺 赚! 入门费 99")).await;
    let refused = refused.expect(200);
    let rules: Vec<_> = refused["flaws"].as_array().unwrap().iter().map(|flaw| &flaw["rule"]).collect();
    assert_eq!(rules, ["effortless-income", "entry-fee"]);
    assert_eq!(refused["is_fine"], false);
    assert_eq!(refused["flaws"][0]["found"], "躺 赚");
    let fine = rig.own("POST", "poster-checks", 12, body("好茶，朋友买了你得 10%")).await;
    assert_eq!((&fine.expect(200)["is_fine"], &fine.body["flaws"]), (&true.into(), &json!([])));
    rig.own("POST", "poster-checks", 12, body("")).await.refused(400, "invalid_request");
    rig.call("POST", "commissions/poster-checks", "user-5-7", body("x"), &[]).await.refused(401, "unauthenticated");
}
