//! Alarms: what somebody has to look at is a figure, also in a process that has just started.

use catalog::{actions, house::put_in_order, sales};
use kit::metrics::Registry;
use serde_json::json;
use store::sql::Sql as _;

use super::{
    actions::{AT_MS, schedule},
    rig::{BEGIN_MS, OPERATOR, Rig},
    sales::{made, published, step, stocked},
};

const MINUTE_MS: u64 = 60_000;

/// A figure as it is scraped.
fn figure(rig: &Rig, name: &str) -> String {
    let registry = Registry::new().unwrap();
    rig.catalog.alarms().show(&registry).unwrap();
    let (text, name) = (registry.render().unwrap(), format!("flashsale_{name} "));
    text.lines().find_map(|line| line.strip_prefix(&name)).expect("it is shown").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_fails_is_counted_and_told_for_a_day() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 101).await;
    schedule(&shop, &sale, json!({ "action": "publish" })).await;
    rig.clock.set_wall(AT_MS + 2 * MINUTE_MS);
    let other = rig.another().await;
    other.clock.set_wall(AT_MS + 2 * MINUTE_MS);
    put_in_order(&other.catalog).await;
    assert_eq!(figure(&other, "sale_actions_late"), "1", "it was due, and then it was tried");
    for attempt in 0..5 {
        rig.clock.set_wall(AT_MS + 2 * MINUTE_MS + attempt * 200_000);
        actions::keep(&rig.catalog).await.unwrap();
    }
    let [failed, retried] = ["failed", "retried"].map(|what| format!("sale_actions_total{{outcome=\"{what}\"}}"));
    assert_eq!((figure(&rig, &failed).as_str(), figure(&rig, &retried).as_str()), ("1", "3"));
    for (after_ms, told) in [(MINUTE_MS, "1"), (25 * 60 * MINUTE_MS, "0")] {
        let started = rig.another().await;
        started.clock.set_wall(AT_MS + 2 * MINUTE_MS + 4 * 200_000 + after_ms);
        put_in_order(&started.catalog).await;
        assert_eq!(figure(&started, "sale_actions_failed"), told, "{after_ms}");
        assert_eq!(figure(&started, &failed), "0", "another process counts its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_opens_soon_and_is_red_is_told_until_it_is_ready() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    let told = async |at_ms: u64| {
        rig.clock.set_wall(at_ms);
        sales::keep(&rig.catalog).await.unwrap();
        put_in_order(&rig.catalog).await;
        figure(&rig, "sales_not_ready")
    };
    let opens_at = BEGIN_MS + 8 * 60 * MINUTE_MS;
    assert_eq!(told(opens_at - 11 * MINUTE_MS).await, "0", "it is not looked at yet");
    assert_eq!(told(opens_at - 5 * MINUTE_MS).await, "1", "it has no lanes");
    rig.add_lanes(&published(&rig, &sale).await.unwrap()).await;
    let ready = "UPDATE sale_reports SET report = ?";
    let report = json!({ "sale": sale, "version": 2, "checked_at": "", "is_ready": true, "findings": [] });
    rig.db.exec(ready, vec![report.to_string().as_str().into()]).await.unwrap();
    assert_eq!(told(opens_at - 5 * MINUTE_MS).await, "0", "the last look found nothing red");
    assert_eq!(told(opens_at + 1).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_does_not_get_through_and_housekeeping_that_fails_are_told() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    put_in_order(&rig.catalog).await;
    let names = ["sales_late", "housekeeping_failures_total"];
    assert_eq!(names.map(|name| figure(&rig, name)), ["0", "0"]);
    // What is published cannot be read.
    let away = "ALTER TABLE sales RENAME TO sales_away";
    rig.place().ledger_db().await.exec(away, vec![]).await.unwrap();
    rig.db.exec("UPDATE sales SET is_due = 1", vec![]).await.unwrap();
    rig.clock.set_wall(BEGIN_MS + 2 * MINUTE_MS);
    put_in_order(&rig.catalog).await;
    assert_eq!(figure(&rig, "sales_late"), "1");
    assert!(figure(&rig, "housekeeping_failures_total").parse::<f64>().unwrap() >= 1.0);
}

/// The key has a successor after thirty days, made by the same rounds: a higher age means that they
/// fail.
#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_the_signing_key_is_told_and_falls_when_it_has_a_successor() {
    const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
    let rig = Rig::start().await;
    rig.post("/v1/signing-keys").token(OPERATOR).key("first").send().await.expect(201);
    let age = async |days: u64| {
        rig.clock.set_wall(BEGIN_MS + days * DAY_MS);
        put_in_order(&rig.catalog).await;
        figure(&rig, "signing_key_age_seconds")
    };
    assert_eq!(age(0).await, "0");
    assert_eq!(age(29).await, (29 * DAY_MS / 1_000).to_string());
    assert_eq!(age(31).await, "0");
}
