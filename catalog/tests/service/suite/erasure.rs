//! Personal data of buyers: shown to who may read it, gone for ever once erased. Method: names are
//! planted, and every table and every file is searched for them.

use std::sync::Arc;

use catalog::jobs::Runner;
use serde_json::{Value, json};
use store::sql::Sql as _;
use tokio::task::JoinSet;

use super::{
    buyers::{number_of, of, shops},
    jobs::finish,
    rig::{Ask, Rig},
};
use crate::place::TABLES;

const NAME: &str = "Zhang Sanfeng-Planted";
const PHONE: &str = "+8613987654321";
const ADDRESS: &str = "7 Planted Lane, Wudang";

/// Every row of every table, as text.
pub(crate) async fn everything(rig: &Rig) -> String {
    let mut found = String::new();
    for mut table in rig.db.rows(TABLES, Vec::new()).await.unwrap() {
        let table = table.text().unwrap();
        for row in rig.db.rows(&format!("SELECT * FROM {table}"), Vec::new()).await.unwrap() {
            found += &format!("{table}: {row:?}\n");
        }
    }
    found
}

fn profile() -> Value {
    json!({ "name": NAME, "phone": PHONE, "address": ADDRESS })
}

fn put<'r>(rig: &'r Rig, tenant: u32, buyer: &str) -> Ask<'r> {
    of(tenant, rig.put(&format!("/v1/buyers/{buyer}/profile"))).json(&profile())
}

fn post<'r>(rig: &'r Rig, tenant: u32, buyers: &[&str], what: &str, key: &str) -> Ask<'r> {
    of(tenant, rig.post(&format!("/v1/buyers/{what}"))).key(key).json(&json!({ "buyers": buyers }))
}

/// Makes a job of the tenant, and does it: the job as it is then.
async fn done(rig: &Rig, tenant: u32, buyers: &[&str], what: &str, key: &str) -> Value {
    let job = post(rig, tenant, buyers, what, key).send().await.expect(202);
    finish(rig).await;
    of(tenant, rig.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap()))).send().await.expect(200)
}

/// Exports one buyer: where it is.
async fn exported(rig: &Rig, tenant: u32, buyer: &str, key: &str) -> String {
    let job = done(rig, tenant, &[buyer], "export", key).await;
    let result = of(tenant, rig.get(&format!("/v1/jobs/{}/result", job["id"].as_str().unwrap()))).send().await;
    let line = result.expect(200);
    assert_eq!(line["buyer"], buyer);
    line["export"].as_str().unwrap().to_owned()
}

/// What came of a job: made, changed, unchanged, failed.
fn counts(job: &Value) -> [u64; 4] {
    assert_eq!((&job["state"], &job["done"]), (&json!("done"), &job["total"]), "{job}");
    ["made", "changed", "unchanged", "failed"].map(|count| job["counts"][count].as_u64().unwrap())
}

#[tokio::test]
async fn after_an_erasure_nothing_of_a_person_is_found_anywhere() {
    let (rig, kettles, _) = shops().await;
    let buyer = number_of(&rig, kettles, json!({ "id": "planted-account" })).await;
    let path = format!("/v1/buyers/{buyer}");
    put(&rig, kettles, &buyer).send().await.expect(200);
    let shown = of(kettles, rig.get(&path)).send().await;
    assert_eq!(
        (&shown.headers["cache-control"], &shown.headers["etag"]),
        (&"no-store".parse().unwrap(), &"\"1\"".parse().unwrap())
    );
    assert_eq!(shown.expect(200)["profile"], profile());
    let export = exported(&rig, kettles, &buyer, "e").await;
    let exported = of(kettles, rig.get(&export)).send().await.expect(200);
    assert_eq!((&exported["id"], &exported["profile"]), (&json!(buyer), &profile()));
    let planted = [NAME, "13987654321", ADDRESS, "planted-account"];
    let before = everything(&rig).await;
    for text in planted {
        assert!(!before.contains(text), "{text} stands in clear even now");
    }
    assert_eq!(counts(&done(&rig, kettles, &[&buyer], "erasure", "x").await), [0, 1, 0, 0]);
    let erased = of(kettles, rig.get(&path)).send().await.expect(200);
    assert_eq!((&erased["id"], &erased["erased_at"]), (&json!(buyer), &json!("2026-11-11T00:00:00.000Z")));
    assert_eq!(erased["profile"], Value::Null, "the number is known, and nothing else");
    of(kettles, rig.get(&export)).send().await.refused(404, "not_found");
    let after = everything(&rig).await;
    for table in ["buyer_profiles", "buyer_exports", "person_keys"] {
        assert!(!after.contains(&format!("{table}: ")), "{table}: {after}");
    }
    let files = rig.place().bytes();
    for text in planted {
        assert!(!after.contains(text), "{text}");
        assert!(!files.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "{text} stands in a file");
    }
}

/// What SQLite leaves of a deleted row: nothing of the key, so that sealed data in an old page or a
/// copy of it stays sealed. (A server's files are its own; docs/operating.md says what to do.)
#[tokio::test]
async fn an_erased_buyers_key_is_in_no_file() {
    let (rig, kettles, _) = shops().await;
    let buyer = number_of(&rig, kettles, json!({ "id": "a" })).await;
    put(&rig, kettles, &buyer).send().await.expect(200);
    let keys = rig.db.rows("SELECT sealed_key FROM person_keys", Vec::new()).await.unwrap();
    let key = keys.into_iter().next().unwrap().bytes().unwrap();
    let found = |rig: &Rig| rig.place().bytes().windows(key.len()).any(|bytes| bytes == &key[..]);
    assert!(found(&rig) || rig.place().bytes().is_empty(), "the search finds it while it is there");
    done(&rig, kettles, &[&buyer], "erasure", "x").await;
    // With the last connection goes the write-ahead log, which has the page as it was before.
    rig.db.close().await;
    assert!(!found(&rig));
}

#[tokio::test]
async fn an_erased_buyer_stays_erased_and_comes_back_as_another_one() {
    let (rig, kettles, _) = shops().await;
    let (wanted, other) = (json!({ "id": "a" }), number_of(&rig, kettles, json!({ "id": "b" })).await);
    let buyer = number_of(&rig, kettles, wanted.clone()).await;
    put(&rig, kettles, &buyer).send().await.expect(200);
    put(&rig, kettles, &other).send().await.expect(200);
    let job = done(&rig, kettles, &[&buyer], "erasure", "x").await;
    let shown = async || of(kettles, rig.get(&format!("/v1/buyers/{buyer}"))).send().await.expect(200);
    let erased = shown().await;
    rig.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(done(&rig, kettles, &[&buyer], "erasure", "x").await, job, "the same call");
    assert_eq!(counts(&done(&rig, kettles, &[&buyer], "erasure", "y").await), [0, 0, 1, 0], "another one");
    assert_eq!(shown().await, erased);
    put(&rig, kettles, &buyer).send().await.refused(409, "conflict");
    assert_eq!(counts(&done(&rig, kettles, &[&buyer], "export", "z").await), [0, 0, 0, 1]);
    assert_ne!(number_of(&rig, kettles, wanted).await, buyer, "another buyer");
    let neighbour = of(kettles, rig.get(&format!("/v1/buyers/{other}"))).send().await.expect(200);
    assert_eq!(neighbour["profile"], profile(), "nobody else is touched");
}

#[tokio::test]
async fn a_stale_profile_is_refused_without_showing_what_is_there() {
    let (rig, kettles, _) = shops().await;
    let buyer = number_of(&rig, kettles, json!({ "id": "a" })).await;
    let set = put(&rig, kettles, &buyer).header("if-match", "\"0\"").send().await;
    assert_eq!((set.expect(200)["profile"].clone(), &set.headers["etag"]), (Value::Null, &"\"1\"".parse().unwrap()));
    let stale = put(&rig, kettles, &buyer).header("if-match", "\"0\"").send().await.refused(412, "precondition_failed");
    assert_eq!((&stale["current"]["version"], &stale["current"]["profile"]), (&json!(1), &Value::Null));
    let wrong = json!({ "name": "", "phone": "1", "address": "x".repeat(501), "buyer": "1" });
    let refused = of(kettles, rig.put(&format!("/v1/buyers/{buyer}/profile"))).json(&wrong).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["address", "buyer", "name", "phone"]);
}

#[tokio::test]
async fn of_two_who_write_one_profile_at_once_one_is_told_that_it_is_stale() {
    let (rig, kettles, _) = shops().await;
    let buyer = number_of(&rig, kettles, json!({ "id": "a" })).await;
    for (tag, name) in [("\"0\"", "Li"), ("\"1\"", "Bo")] {
        let mut calls = JoinSet::new();
        for number in 0..4 {
            let ask = of(kettles, rig.put(&format!("/v1/buyers/{buyer}/profile"))).header("if-match", tag);
            calls.spawn(ask.json(&json!({ "name": format!("{name}-{number}") })).detach());
        }
        let mut statuses: Vec<_> = calls.join_all().await.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412]);
    }
}

#[tokio::test]
async fn of_many_who_erase_and_mint_at_once_nobody_gets_an_erased_number_afterwards() {
    let (rig, kettles, _) = shops().await;
    let buyer = number_of(&rig, kettles, json!({ "id": "a" })).await;
    put(&rig, kettles, &buyer).send().await.expect(200);
    let mut calls = JoinSet::new();
    for call in 0..3 {
        let erasure = post(&rig, kettles, &[&buyer], "erasure", &format!("x{call}")).detach();
        let catalog = Arc::clone(&rig.catalog);
        calls.spawn(async move {
            let answer = erasure.await;
            let mut runner = Runner::default();
            while runner.turn(&catalog).await.unwrap() {}
            answer
        });
        let wanted = json!({ "buyers": [{ "id": "a" }, { "id": format!("b{call}") }] });
        calls.spawn(of(kettles, rig.post("/v1/buyer-tokens")).json(&wanted).detach());
    }
    for answer in calls.join_all().await {
        assert!(answer.status == 200 || answer.status == 202, "{}", answer.json());
    }
    finish(&rig).await;
    let after = number_of(&rig, kettles, json!({ "id": "a" })).await;
    assert_ne!(after, buyer);
    assert_eq!(number_of(&rig, kettles, json!({ "id": "a" })).await, after);
}

#[tokio::test]
async fn each_route_needs_its_permission() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let buyer = number_of(&rig, tenant.parse().unwrap(), json!({ "id": "a" })).await;
    let reader = rig.key_of(&tenant, &["read_buyers", "read_settings", "write_buyer_tokens"]).await;
    let writer = rig.key_of(&tenant, &["write_buyers", "write_settings"]).await;
    let buyer = |what: &str| format!("/v1/buyers/{buyer}{what}");
    let asks = |token: &str| {
        [
            rig.put(&buyer("/profile")).json(&profile()),
            rig.post("/v1/buyers/export").key("e").json(&json!({ "buyers": ["1"] })),
            rig.post("/v1/buyers/erasure").key("x").json(&json!({ "buyers": ["1"] })),
            rig.put("/v1/login-providers/phone").json(&json!({ "app_id": "a", "secret": "s" })),
            rig.delete("/v1/login-providers/phone"),
        ]
        .map(|ask| ask.token(token))
    };
    for ask in asks(&reader) {
        ask.send().await.refused(403, "forbidden");
    }
    for path in [buyer(""), buyer("/exports/1"), "/v1/login-providers".to_owned()] {
        rig.get(&path).token(&writer).send().await.refused(403, "forbidden");
    }
    for (ask, status) in asks(&writer).into_iter().zip([200, 202, 202, 200, 204]) {
        ask.send().await.expect(status);
    }
    rig.get(&buyer("")).token(&reader).send().await.expect(200);
}

#[tokio::test]
async fn inv_7_another_shops_buyer_is_like_none() {
    let (rig, kettles, pots) = shops().await;
    let buyer = number_of(&rig, kettles, json!({ "id": "a" })).await;
    put(&rig, kettles, &buyer).send().await.expect(200);
    let export = exported(&rig, kettles, &buyer, "e").await;
    for buyer in [buyer.as_str(), "999999", "x"] {
        of(pots, rig.get(&format!("/v1/buyers/{buyer}"))).send().await.refused(404, "not_found");
        put(&rig, pots, buyer).send().await.refused(404, "not_found");
    }
    for what in ["export", "erasure"] {
        assert_eq!(counts(&done(&rig, pots, &[&buyer, "999999"], what, what).await), [0, 0, 0, 2], "{what}");
    }
    of(pots, rig.get(&export)).send().await.refused(404, "not_found");
    assert_eq!(of(kettles, rig.get(&export)).send().await.expect(200)["profile"], profile());
}

/// Each one is named by its place, and the others are done; all of a piece or nothing.
#[tokio::test]
async fn of_many_each_is_done_once_and_those_that_are_not_there_are_named() {
    let (rig, kettles, _) = shops().await;
    let wanted: Vec<_> = (0..60).map(|number| json!({ "id": format!("u-{number}") })).collect();
    let minted = of(kettles, rig.post("/v1/buyer-tokens")).json(&json!({ "buyers": wanted })).send().await.expect(200);
    let tokens = minted["tokens"].as_array().unwrap().iter();
    let mut buyers: Vec<_> = tokens.map(|token| token["buyer"].as_str().unwrap()).collect();
    buyers.insert(57, "999999");
    for (what, first, again) in [("export", [60, 0, 0, 1], [60, 0, 0, 1]), ("erasure", [0, 60, 0, 1], [0, 0, 60, 1])] {
        let job = done(&rig, kettles, &buyers, what, what).await;
        assert_eq!((counts(&job), &job["total"]), (first, &json!(61)), "{what}");
        let errors = format!("/v1/jobs/{}/errors", job["id"].as_str().unwrap());
        let errors = of(kettles, rig.get(&errors)).send().await.expect(200);
        let error = json!([{ "line": 58, "field": "buyers", "message": "there is no such buyer" }]);
        assert_eq!(errors["items"], error, "{what}");
        assert_eq!(counts(&done(&rig, kettles, &buyers, what, &format!("{what}-again")).await), again, "{what}");
    }
    let log = of(kettles, rig.get("/v1/audit?action=buyer.erase&limit=100")).send().await.expect(200);
    assert_eq!(log["items"].as_array().unwrap().len(), 60, "one entry for each, once");
    assert_eq!(log["items"][0]["actor"], "operator");
}

#[tokio::test]
async fn whom_a_job_is_about_is_said_by_numbers_and_by_no_more_than_a_thousand() {
    let (rig, kettles, _) = shops().await;
    for what in ["export", "erasure"] {
        let path = format!("/v1/buyers/{what}");
        let ask = |body: Value| of(kettles, rig.post(&path)).fresh().json(&body).send();
        let wrong = ask(json!({ "buyers": ["1", "x", "-2", "0"], "tenant": "1" })).await;
        wrong.refused(400, "invalid_request");
        assert_eq!(wrong.wrong_fields(), ["buyers[1]", "buyers[2]", "buyers[3]", "tenant"]);
        for buyers in [vec![], vec!["1"; 1_001]] {
            assert_eq!(ask(json!({ "buyers": buyers })).await.wrong_fields(), ["buyers"]);
        }
    }
}
