//! Goal: the operator stops what sells at once, after he has read what that does; it stands in his
//! log and in the tenant's, and a stop that was cut short goes on. Method: sales that are open by
//! the clock, stopped over HTTP; the copies by rounds of housekeeping.

use catalog::house;
use serde_json::{Value, json};
use store::controls::LOG_FILTER;

use super::{
    rig::{Answer, OPERATOR, Rig},
    sales::{made, published, state, step, stocked},
    stock::Shop,
};

const STOPS: &str = "/v1/control/stops";
const FILTER: &str = "/v1/control/log-filter";
/// Into the window of the sales.
const OPEN_AFTER_S: u64 = 9 * 3_600;

async fn put(rig: &Rig, path: &str, body: Value) -> Answer {
    rig.put(path).token(OPERATOR).json(&body).send().await
}

/// The word of a refusal that says this.
#[track_caller]
fn word_of(refusal: &Value, says: &str) -> String {
    let detail = refusal["detail"].as_str().unwrap();
    assert!(detail.contains(says), "{detail}");
    detail.rsplit(' ').next().unwrap().to_owned()
}

/// The same request with its word.
fn with(body: &Value, word: &str) -> Value {
    let mut body = body.clone();
    body["word"] = json!(word);
    body
}

/// Actions and targets of an audit log, the newest first.
async fn log(rig: &Rig, tenant: Option<&str>) -> Vec<(String, String)> {
    let mut ask = rig.get("/v1/audit?limit=100").token(OPERATOR);
    if let Some(tenant) = tenant {
        ask = ask.header("flashsale-tenant", tenant);
    }
    let items = ask.send().await.expect(200)["items"].as_array().unwrap().clone();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    items.iter().map(|item| (text(item, "action"), text(item, "target"))).collect()
}

fn count(log: &[(String, String)], action: &str, target: &str) -> usize {
    log.iter().filter(|(done, to)| done == action && to == target).count()
}

/// A shop of tenant 7 with two sales that sell now.
async fn selling(rig: &Rig) -> (Shop<'_>, String, String) {
    let shop = stocked(rig).await;
    let (one, two) = (made(&shop, "one", 10).await, made(&shop, "two", 10).await);
    for sale in [&one, &two] {
        step(&shop, sale, "publish").await.expect(200);
    }
    rig.clock.advance(std::time::Duration::from_secs(OPEN_AFTER_S));
    assert_eq!((state(&shop, &one).await, state(&shop, &two).await), ("open".into(), "open".into()));
    (shop, one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_sells_is_stopped_by_a_second_word_and_both_logs_have_it() {
    let rig = Rig::with_tenants(&[7]).await;
    let (shop, one, two) = selling(&rig).await;
    let stop = json!({ "tenant": "7", "sale": one, "is_stopped": true });
    let refusal = put(&rig, STOPS, stop.clone()).await.refused(409, "conflict");
    let word = word_of(&refusal, &format!("1 sales that sell now: one ({one})"));
    put(&rig, STOPS, with(&stop, "00000000")).await.refused(409, "conflict");
    assert_eq!(state(&shop, &one).await, "open");
    assert_eq!(count(&log(&rig, None).await, "control.stop", &format!("tenant:7 sale:{one}")), 0);
    // The word of one sale stops no other.
    let other = json!({ "tenant": "7", "sale": two, "is_stopped": true });
    put(&rig, STOPS, with(&other, &word)).await.refused(409, "conflict");

    let shown = put(&rig, STOPS, with(&stop, &word)).await.expect(200);
    assert_eq!(shown["sales"][0]["state"], "paused");
    assert_eq!((state(&shop, &one).await, state(&shop, &two).await), ("paused".into(), "open".into()));
    assert!(published(&rig, &one).await.unwrap().paused, "the engines hear of it before the answer");
    // Again: it is stopped, and needs no word; nothing more is recorded.
    put(&rig, STOPS, stop.clone()).await.expect(200);
    let target = format!("tenant:7 sale:{one}");
    assert_eq!(count(&log(&rig, None).await, "control.stop", &target), 1);
    assert_eq!(count(&log(&rig, Some("7")).await, "sale.pause", &format!("sale:{one}")), 1);

    let resume = json!({ "tenant": "7", "sale": one, "is_stopped": false });
    put(&rig, STOPS, resume).await.expect(200);
    assert_eq!(state(&shop, &one).await, "open");
    assert_eq!(count(&log(&rig, None).await, "control.resume", &target), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_suspended_with_all_its_sales_and_a_stop_that_was_cut_short_goes_on() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let (shop, one, two) = selling(&rig).await;
    let stop = json!({ "tenant": "7", "is_stopped": true });
    let word = word_of(&put(&rig, STOPS, stop.clone()).await.refused(409, "conflict"), "stops 2 sales that sell now");
    // As if a process had died between the two: the first is stopped, and the word is another one.
    step(&shop, &one, "pause").await.expect(200);
    let refusal = put(&rig, STOPS, with(&stop, &word)).await.refused(409, "conflict");
    let word = word_of(
        &refusal,
        &format!(
            "changed since: this suspends tenant 7, whose people change nothing then, and stops 1 sales that sell now: two ({two})"
        ),
    );
    // Two operators at once.
    let bodies = [with(&stop, &word), with(&stop, &word)];
    let [first, second] = bodies.map(|body| rig.put(STOPS).token(OPERATOR).json(&body).detach());
    let (first, second) = tokio::join!(first, second);
    for answer in [first, second] {
        let shown = answer.expect(200);
        assert_eq!(shown["state"], "suspended");
        let states: Vec<_> = shown["sales"].as_array().unwrap().iter().map(|sale| &sale["state"]).collect();
        assert_eq!(states, ["paused", "paused"]);
    }
    let own = log(&rig, None).await;
    assert_eq!((count(&own, "control.stop", "tenant:7"), count(&own, "tenant.change", "tenant:7")), (1, 1), "{own:?}");

    // Open again, its sales wait for each to be resumed.
    let shown = put(&rig, STOPS, json!({ "tenant": "7", "is_stopped": false })).await.expect(200);
    assert_eq!((&shown["state"], &shown["sales"][0]["state"]), (&json!("open"), &json!("paused")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_stopped_and_the_other_one_of_its_sale_goes_on() {
    let rig = Rig::with_tenants(&[7]).await;
    let (shop, one, _) = selling(&rig).await;
    let stop = json!({ "tenant": "7", "sale": one, "sku": "KETTLE", "is_stopped": true });
    let word =
        word_of(&put(&rig, STOPS, stop.clone()).await.refused(409, "conflict"), "the offer of KETTLE in 1 sales");
    put(&rig, STOPS, with(&stop, &word)).await.expect(200);
    let record = published(&rig, &one).await.unwrap();
    let paused: Vec<bool> = record.lanes[0].offers.iter().map(|offer| offer.paused).collect();
    assert_eq!((record.paused, paused), (false, vec![true, false]));
    assert_eq!(state(&shop, &one).await, "open");
    let mut resume = with(&stop, "");
    resume["is_stopped"] = json!(false);
    put(&rig, STOPS, resume).await.expect(200);
    assert!(!published(&rig, &one).await.unwrap().lanes[0].offers[0].paused);
    let own = log(&rig, None).await;
    let target = format!("tenant:7 sale:{one} sku:KETTLE");
    assert_eq!((count(&own, "control.stop", &target), count(&own, "control.resume", &target)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn switches_are_the_operators_and_every_wrong_member_is_named() {
    let rig = Rig::with_tenants(&[7]).await;
    let wrong = put(&rig, STOPS, json!({ "tenant": "x", "sku": "KETTLE", "is_stopped": true })).await;
    wrong.refused(400, "invalid_request");
    assert_eq!(wrong.wrong_fields(), ["sale", "tenant"]);
    put(&rig, STOPS, json!({ "tenant": "9", "is_stopped": true })).await.refused(404, "not_found");
    for (name, body) in [("filter", json!({ "filter": "engine" })), ("minutes", json!({ "minutes": 0 }))] {
        let wrong = put(&rig, FILTER, body).await;
        wrong.refused(400, "invalid_request");
        assert_eq!(wrong.wrong_fields(), [name]);
    }
    let key = rig.key_of("7", &["write_sales", "write_settings"]).await;
    for (path, body) in [(STOPS, json!({ "tenant": "7", "is_stopped": true })), (FILTER, json!({ "filter": "warn" }))] {
        rig.put(path).token(&key).json(&body).send().await.refused(403, "forbidden");
        let acting = rig.put(path).token(OPERATOR).header("flashsale-tenant", "7").json(&body).send().await;
        acting.refused(403, "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_filter_reaches_all_programs_holds_for_its_time_and_a_loud_one_needs_a_word() {
    let rig = Rig::start().await;
    let copy = rig.place().ledger().await.controls();
    let copied = async || {
        house::put_in_order(&rig.catalog).await;
        copy.all().await.unwrap().remove(LOG_FILTER)
    };
    assert_eq!(copied().await, None);
    put(&rig, FILTER, json!({ "filter": "warn" })).await.expect(200);
    assert_eq!(copied().await.as_deref(), Some("warn"));
    let loud = json!({ "filter": "info,engine=debug", "minutes": 30 });
    let refusal = put(&rig, FILTER, loud.clone()).await.refused(409, "conflict");
    let word = word_of(&refusal, "writes lines for single purchases in every process for 30 min");
    assert_eq!(copied().await.as_deref(), Some("warn"));
    let set = put(&rig, FILTER, with(&loud, &word)).await.expect(200);
    assert_eq!(set, rig.get(FILTER).token(OPERATOR).send().await.expect(200));
    assert_eq!(copied().await.as_deref(), Some("info,engine=debug"));
    rig.clock.advance(std::time::Duration::from_secs(30 * 60));
    assert_eq!(copied().await, None, "nobody has to remember it");
    assert_eq!(rig.get(FILTER).token(OPERATOR).send().await.expect(200), json!({}));
    put(&rig, FILTER, json!({ "filter": "error" })).await.expect(200);
    put(&rig, FILTER, json!({})).await.expect(200);
    assert_eq!(copied().await, None);
    assert_eq!(count(&log(&rig, None).await, "control.log_filter", "deployment"), 4);
}
