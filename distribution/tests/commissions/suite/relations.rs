//! Goal: nobody stands above themselves, whoever binds at once; who brought whom keeps as long as
//! the shop says; each change stays in the history.

use serde_json::json;

use super::rig::{DAY_MS, Rig, bought};
use kit::clock::Clock as _;

/// Two bind to each other at once: one is refused, each time.
#[tokio::test]
async fn of_two_who_bind_to_each_other_at_once_one_is_refused() {
    let rig = Rig::start().await;
    for pair in 0..12 {
        let (one, other) = (100 + 2 * pair, 101 + 2 * pair);
        rig.join(one).await;
        rig.join(other).await;
        let (first, second) = tokio::join!(rig.bind(one, other), rig.bind(other, one));
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", first.body, second.body);
        let refused = if first.status == 409 { first } else { second };
        assert!(refused.body["detail"].as_str().unwrap().contains("close a circle"), "{}", refused.body);
    }
}

/// Four bindings of which no two name a common person, and which close a circle together.
#[tokio::test]
async fn bindings_far_apart_close_no_circle_together() {
    let rig = Rig::start().await;
    for round in 0..4 {
        let people: Vec<u64> = (0..8).map(|number| 1_000 + round * 100 + number).collect();
        for person in &people {
            rig.join(*person).await;
        }
        // 1 below 0, 3 below 2, ...
        for pair in people.chunks(2) {
            rig.bind(pair[1], pair[0]).await.expect(200);
        }
        // 0 below 3, 2 below 5, 4 below 7, 6 below 1: all of them make a ring.
        let at = |number: usize| people[number % 8];
        let answers = tokio::join!(
            rig.bind(at(0), at(3)),
            rig.bind(at(2), at(5)),
            rig.bind(at(4), at(7)),
            rig.bind(at(6), at(1))
        );
        let statuses = [answers.0.status, answers.1.status, answers.2.status, answers.3.status];
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 1, "{statuses:?}");
    }
}

#[tokio::test]
async fn fifty_levels_are_the_most_and_are_read_in_one_query() {
    let rig = Rig::start().await;
    for person in 200..=251 {
        rig.join(person).await;
    }
    for person in 201..=250 {
        rig.bind(person, person - 1).await.expect(200);
    }
    let refused = rig.bind(251, 250).await;
    assert!(refused.refused(409, "conflict")["detail"].as_str().unwrap().contains("50 levels"), "{}", refused.body);
    rig.bind(200, 250).await.refused(409, "conflict");
    rig.pass(1_000);
    rig.feed(&bought(250, rig.clock.now_ms(), 0)).await;
    assert_eq!((rig.balance(249).await[0], rig.balance(248).await[0]), (999, 499));
}

#[tokio::test]
async fn the_first_who_shared_keeps_the_visitor_while_protected() {
    let rig = Rig::start().await;
    let code = |person| {
        let rig = &rig;
        async move { rig.own("GET", "link", person, None).await.expect(200)["code"].as_str().unwrap().to_owned() }
    };
    let (first, second) = (code(10).await, code(11).await);
    assert_eq!(first.len(), 32);
    let touch = async |code: &str| rig.own("POST", "touches", 30, Some(json!({ "code": code }))).await;
    assert_eq!(touch(&first).await.expect(200)["bound"], true);
    assert_eq!(touch(&second).await.expect(200)["bound"], false, "protected for ten days");
    rig.pass(10 * DAY_MS + 1);
    assert_eq!(touch(&second).await.expect(200)["bound"], true);
    let history = rig.merchant("GET", "people/30/relations", None).await;
    let history = history.expect(200)["items"].as_array().unwrap().clone();
    let parents: Vec<_> = history.iter().map(|item| item["parent"].as_str().unwrap()).collect();
    assert_eq!(parents, ["10", "11"]);
    assert_eq!((history[0]["to"] == history[1]["from"], history[1]["to"].is_null()), (true, true));
    // The shop rebinds whenever, with a reason.
    rig.bind(30, 12).await.expect(200);
    let history = rig.merchant("GET", "people/30/relations", None).await;
    assert_eq!(history.expect(200)["items"][2]["reason"], "a test");
    // Forged, expired, one's own.
    touch(&first.replace(&first[..1], if first.starts_with('B') { "A" } else { "B" })).await.refused(403, "forbidden");
    rig.pass(31 * DAY_MS);
    touch(&first).await.refused(403, "forbidden");
    let own = code(12).await;
    rig.own("POST", "touches", 12, Some(json!({ "code": own }))).await.refused(409, "conflict");
}

#[tokio::test]
async fn only_active_distributors_stand_above_somebody() {
    let rig = Rig::start().await;
    rig.bind(40, 41).await.refused(409, "conflict");
    let body = json!({"state": "frozen", "reason": "risk"});
    rig.merchant("PATCH", "people/12", Some(body)).await.expect(200);
    rig.bind(40, 12).await.refused(409, "conflict");
    rig.own("GET", "link", 12, None).await.refused(409, "conflict");
    rig.bind(40, 40).await.refused(409, "conflict");
}
