//! Goal: what the shop gives or takes is posted once, with who and why, and above the threshold
//! only when two people want it.

use serde_json::{Value, json};

use super::rig::{Answer, DAY_MS, Rig};

async fn adjust(rig: &Rig, amount: i64, token: &str) -> Answer {
    let body = json!({"person": "12", "amount": amount, "reason": "a parcel, lost"});
    rig.call("POST", "merchant/commissions/adjustments", token, Some(body), &[]).await
}

async fn step(rig: &Rig, adjustment: &Value, step: &str, token: &str) -> Answer {
    let path = format!("merchant/commissions/adjustments/{}/{step}", adjustment["adjustment"].as_str().unwrap());
    rig.call("POST", &path, token, None, &[]).await
}

#[tokio::test]
async fn a_correction_is_posted_once_and_shows_who_and_why_to_the_shop_and_the_person() {
    let rig = Rig::start().await;
    let body = || Some(json!({"person": "12", "amount": 500, "reason": "a parcel, lost"}));
    let path = "merchant/commissions/adjustments";
    let key = [("idempotency-key", "one")];
    let (one, two) = tokio::join!(
        rig.call("POST", path, "user-5-7", body(), &key),
        rig.call("POST", path, "user-5-7", body(), &key)
    );
    assert_eq!(one.expect(201), two.expect(201), "a repeated request is the same correction");
    assert_eq!((&one.body["state"], &one.body["approved"]), (&"posted".into(), &json!(["user:5"])));
    assert_eq!(rig.balance(12).await, [0, 500, 0, 0, 0]);
    for entries in [rig.merchant("GET", "ledger?person=12", None).await, rig.own("GET", "statement", 12, None).await] {
        let entry = &entries.expect(200)["items"][0];
        assert_eq!((&entry["kind"], &entry["subject"]), (&"adjustment".into(), &one.body["adjustment"]));
        assert_eq!((&entry["reason"], &entry["by"]), (&"a parcel, lost".into(), &json!(["user:5"])));
    }
    assert_eq!(adjust(&rig, -700, "user-5-7").await.expect(201)["state"], "posted");
    assert_eq!(rig.balance(12).await, [0, 0, 0, 0, 200], "what is not there is owed");
    adjust(&rig, 300, "user-6-7").await.expect(201);
    assert_eq!(rig.balance(12).await, [0, 100, 0, 0, 0], "what is given pays that first");
    rig.sums_to_zero().await;
    rig.pass(2 * DAY_MS);
    assert_eq!(rig.service.close_days().await.unwrap(), 1);
    assert_eq!(rig.merchant("GET", "ledger/verification", None).await.expect(200)["holds"], true);
}

#[tokio::test]
async fn two_people_want_a_large_correction_and_a_key_is_none_of_them() {
    let rig = Rig::start().await;
    let made = adjust(&rig, -1_000, "user-5-7").await;
    let made = made.expect(201);
    assert_eq!((&made["state"], &made["needs"]), (&"asked".into(), &2.into()));
    step(&rig, made, "approve", "user-5-7").await.refused(409, "conflict");
    step(&rig, made, "approve", "key-1-7").await.refused(403, "forbidden");
    step(&rig, made, "approve", "user-6-8").await.refused(404, "not_found");
    assert_eq!(rig.balance(12).await, [0; 5]);
    let (one, two) = tokio::join!(step(&rig, made, "approve", "user-6-7"), step(&rig, made, "approve", "user-7-7"));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!((statuses, rig.balance(12).await), ([200, 409], [0, 0, 0, 0, 1_000]), "of two at once one posts it");
    step(&rig, made, "decline", "user-6-7").await.refused(409, "conflict");
    rig.pass(1);
    let by_key = adjust(&rig, 10, "key-1-7").await;
    assert_eq!(by_key.expect(201)["state"], "asked");
    assert_eq!(step(&rig, &by_key.body, "decline", "user-6-7").await.expect(200)["state"], "declined");
    step(&rig, &by_key.body, "approve", "user-6-7").await.refused(409, "conflict");
    assert_eq!(rig.balance(12).await, [0, 0, 0, 0, 1_000]);
    let listed = rig.merchant("GET", "adjustments", None).await;
    let states: Vec<_> = listed.expect(200)["items"].as_array().unwrap().iter().map(|item| &item["state"]).collect();
    assert_eq!(states, ["declined", "posted"]);
    rig.sums_to_zero().await;
}

#[tokio::test]
async fn a_correction_of_nobody_or_of_nothing_is_refused() {
    let rig = Rig::start().await;
    adjust(&rig, 0, "user-5-7").await.refused(400, "invalid_request");
    adjust(&rig, 1, "guest-5-7").await.refused(403, "forbidden");
    let nobody = json!({"person": "99", "amount": 1, "reason": "x"});
    rig.merchant("POST", "adjustments", Some(nobody)).await.refused(409, "conflict");
    let bad = json!({"person": "x", "amount": 9_007_199_254_740_992_i64, "reason": ""});
    let refused = rig.merchant("POST", "adjustments", Some(bad)).await;
    assert_eq!(refused.refused(400, "invalid_request")["errors"].as_array().unwrap().len(), 3);
    assert_eq!((rig.count("adjustments").await, rig.count("entries").await), (0, 0));
}
