//! Goal: the routes refuse what they must: other shops, stale writes, repeats, bad input.

use serde_json::json;

use super::rig::{PLAN, Rig};

#[tokio::test]
async fn a_plan_is_refused_with_every_reason_and_place_at_once() {
    let rig = Rig::empty().await;
    let bad = PLAN.replace("CN-2", "CN-1").replace("slots 2", "slots 3");
    let refused = rig.publish(&bad).await;
    let errors = refused.refused(400, "invalid_request")["errors"].as_array().unwrap().clone();
    assert!(errors.len() >= 2, "{errors:?}");
    assert!(errors.iter().all(|error| error["field"].is_string() && error["message"].is_string()));
    let unread = rig.publish("plan \"x\" v1 {").await;
    unread.refused(400, "invalid_request");
    // Without the name of who answers for it.
    let unsigned = rig.merchant("POST", "plans", Some(json!({ "text": PLAN }))).await;
    assert!(unsigned.refused(400, "invalid_request")["errors"][0]["message"].as_str().unwrap().contains("sign-off"));
    // The checker allows it, and this service would pay it wrongly.
    let invite = distribution::template::TEMPLATES.iter().find(|(name, _)| *name == "invite").unwrap().1;
    let refused = rig.publish(invite).await;
    let errors = refused.refused(400, "invalid_request").to_string();
    assert!(errors.contains("only cash") && errors.contains("no tags"), "{errors}");
    assert_eq!(rig.count("plans").await, 0);
}

#[tokio::test]
async fn versions_follow_each_other_and_never_change() {
    let rig = Rig::empty().await;
    let dry = rig.merchant("POST", "plans", Some(json!({"text": PLAN, "sign_off": "counsel", "dry_run": true}))).await;
    assert_eq!((dry.expect(200)["worst_ppm"].as_i64(), rig.count("plans").await), (Some(150_000), 0));
    rig.publish(PLAN).await.expect(201);
    rig.publish(PLAN).await.refused(409, "conflict");
    rig.publish(&PLAN.replace("v1", "v3")).await.refused(409, "conflict");
    let (one, other) = (PLAN.replace("v1", "v2"), PLAN.replace("v1", "v2").replace("5%]", "4%]"));
    let (one, other) = tokio::join!(rig.publish(&one), rig.publish(&other));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let listed = rig.merchant("GET", "plans", None).await;
    let versions: Vec<_> =
        listed.expect(200)["items"].as_array().unwrap().iter().map(|plan| &plan["version"]).collect();
    assert_eq!(versions, [2, 1]);
}

#[tokio::test]
async fn another_shop_sees_and_changes_nothing() {
    let rig = Rig::start().await;
    for (method, path, body) in [
        ("GET", "people/12", None),
        ("GET", "plans/1", None),
        ("PATCH", "people/12", Some(json!({"kyc": true, "reason": "x"}))),
    ] {
        let path = format!("merchant/commissions/{path}");
        rig.call(method, &path, "user-5-8", body, &[]).await.refused(404, "not_found");
    }
    let body = json!({"parent": "12", "reason": "x"});
    let path = "merchant/commissions/people/50/relations/referral";
    rig.call("PUT", path, "user-5-8", Some(body), &[]).await.refused(409, "conflict");
    let other = rig.buyer_token(8, 12);
    rig.call("GET", "commissions/me", &other, None, &[]).await.refused(404, "not_found");
    let code = rig.own("GET", "link", 12, None).await.expect(200)["code"].clone();
    let visitor = rig.buyer_token(8, 50);
    let touch = rig.call("POST", "commissions/touches", &visitor, Some(json!({ "code": code })), &[]).await;
    touch.refused(403, "forbidden");
    for token in ["guest-1-7", "nobody", &other] {
        let answer = rig.call("GET", "merchant/commissions/people", token, None, &[]).await;
        assert!(matches!(answer.status, 401 | 403), "{token}: {}", answer.status);
    }
    rig.call("GET", "commissions/me", "user-5-7", None, &[]).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_stale_write_shows_what_is_there_and_bad_input_names_all_flaws() {
    let rig = Rig::start().await;
    let first = rig.merchant("GET", "people/12", None).await.etag.unwrap();
    let change = async |tag: &str, body| {
        let path = "merchant/commissions/people/12";
        rig.call("PATCH", path, "user-5-7", Some(body), &[("if-match", tag)]).await
    };
    let body = || json!({"rank": "gold", "reason": "sold much"});
    let second = change(&first, body()).await;
    assert_eq!(second.expect(200)["rank"], "gold");
    let stale = change(&first, json!({"rank": "lead", "reason": "x"})).await;
    assert_eq!(stale.refused(412, "precondition_failed")["current"]["rank"], "gold");
    // The same once more changes nothing.
    assert_eq!(change(&second.etag.unwrap(), body()).await.expect(200)["version"], 2);
    let bad = change(&first, json!({"rank": "GOLD!", "kyc": 1, "tenant": 8})).await;
    let fields: Vec<_> = bad.refused(400, "invalid_request")["errors"].as_array().unwrap().iter().collect();
    assert_eq!(fields.len(), 4, "{fields:?}");
    let settings = rig.merchant("PUT", "settings", Some(json!({"share_days": 0}))).await;
    assert!(settings.refused(400, "invalid_request")["errors"].as_array().unwrap().len() >= 4);
}

#[tokio::test]
async fn joining_needs_the_shops_word_unless_it_says_otherwise() {
    let rig = Rig::empty().await;
    let joined = rig.own("POST", "join", 60, None).await;
    assert_eq!(joined.expect(201)["state"], "applied");
    assert_eq!(rig.own("POST", "join", 60, None).await.expect(200)["state"], "applied");
    rig.own("GET", "link", 60, None).await.refused(409, "conflict");
    let body = json!({"state": "active", "reason": "agreed"});
    rig.merchant("PATCH", "people/60", Some(body)).await.expect(200);
    rig.own("GET", "link", 60, None).await.expect(200);
    for _ in 0..2 {
        assert_eq!(rig.own("POST", "leave", 60, None).await.expect(200)["version"], 3);
    }
    rig.bind(61, 60).await.refused(409, "conflict");
    rig.own("POST", "leave", 61, None).await.refused(404, "not_found");
}
