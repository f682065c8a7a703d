//! Scheduled actions: done once at their moment, tried again when they fail, listed when they
//! failed for good.

use catalog::actions::keep;
use serde_json::{Value, json};
use store::sql::Sql as _;

use super::{
    rig::{BEGIN_MS, OPERATOR, Rig},
    sales::{SALES, made, published, state, step, stocked},
    stock::Shop,
};

const HOUR_MS: u64 = 3_600_000;
/// Two hours after the clock's beginning.
const AT: &str = "2026-11-11T02:00:00Z";
pub(super) const AT_MS: u64 = BEGIN_MS + 2 * HOUR_MS;

pub(super) async fn schedule(shop: &Shop<'_>, sale: &str, mut action: Value) -> String {
    action["at"] = json!(AT);
    let made = shop.post(&format!("{SALES}/{sale}/actions"), &action).await.expect(201);
    assert_eq!(made["state"], "waiting");
    made["id"].as_str().unwrap().to_owned()
}

pub(super) async fn listed(shop: &Shop<'_>, sale: &str) -> Vec<Value> {
    shop.all(&format!("{SALES}/{sale}/actions")).await
}

pub(super) async fn states(shop: &Shop<'_>, sale: &str) -> Vec<String> {
    listed(shop, sale).await.iter().map(|action| action["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_done_at_its_moment_and_not_before() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    schedule(&shop, &sale, json!({ "action": "publish" })).await;
    rig.clock.set_wall(AT_MS - 1);
    keep(&rig.catalog).await.unwrap();
    assert_eq!((state(&shop, &sale).await.as_str(), states(&shop, &sale).await), ("draft", vec!["waiting".to_owned()]));
    rig.clock.set_wall(AT_MS);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(
        (state(&shop, &sale).await.as_str(), states(&shop, &sale).await),
        ("published", vec!["done".to_owned()])
    );

    rig.clock.set_wall(BEGIN_MS);
    let price = json!({ "amount": 8800, "currency": "CNY" });
    schedule(&shop, &sale, json!({ "action": "set_price", "sku": "KETTLE", "price": price })).await;
    schedule(&shop, &sale, json!({ "action": "set_allotment", "sku": "KETTLE", "allotment": 70 })).await;
    schedule(&shop, &sale, json!({ "action": "set_rate", "sku": "CUP", "lane": "main", "rate_per_s": 9 })).await;
    schedule(&shop, &sale, json!({ "action": "set_limit", "limit_per_buyer": 3 })).await;
    schedule(&shop, &sale, json!({ "action": "pause" })).await;
    rig.clock.set_wall(AT_MS);
    keep(&rig.catalog).await.unwrap();
    let record = published(&rig, &sale).await.unwrap();
    let offers = &record.lanes[0].offers;
    assert_eq!((offers[0].price.amount, offers[0].allotment, offers[1].rate_per_s), (8_800, 70, 9));
    assert_eq!((record.lanes[0].limit_per_buyer, record.paused), (3, true));
    assert_eq!(states(&shop, &sale).await, ["done"; 6]);

    rig.clock.set_wall(BEGIN_MS);
    schedule(&shop, &sale, json!({ "action": "resume" })).await;
    schedule(&shop, &sale, json!({ "action": "resume" })).await;
    schedule(&shop, &sale, json!({ "action": "close" })).await;
    rig.clock.set_wall(AT_MS);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(state(&shop, &sale).await, "closed");
}

/// Two processes whose clocks agree: the lock of the action's row decides.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_are_due_at_once_one_does_it() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    schedule(&shop, &sale, json!({ "action": "pause" })).await;
    let other = rig.another().await;
    rig.clock.set_wall(AT_MS);
    other.clock.set_wall(AT_MS);
    let (one, two) = tokio::join!(keep(&rig.catalog), keep(&other.catalog));
    one.and(two).unwrap();
    keep(&other.catalog).await.unwrap();
    assert_eq!(states(&shop, &sale).await, ["done"]);
    let history = shop.all(&format!("{SALES}/{sale}/history")).await;
    let pauses = history.iter().filter(|version| version["action"] == "sale.pause").count();
    assert_eq!(pauses, 1, "{history:?}");
}

/// The note and the deed are one transaction: without the note, nothing was done.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_noted_with_it_and_a_value_that_stands_already_is_done() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    schedule(&shop, &sale, json!({ "action": "set_limit", "limit_per_buyer": 2 })).await;
    rig.clock.set_wall(AT_MS);
    let before = shop.get(&format!("{SALES}/{sale}")).await.expect(200);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(states(&shop, &sale).await, ["done"]);
    assert_eq!(shop.get(&format!("{SALES}/{sale}")).await.expect(200)["version"], before["version"]);
}

/// The entry of an action in the audit log has the version that its row has then.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_entry_shows_the_version_of_the_row() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    schedule(&shop, &sale, json!({ "action": "publish" })).await;
    let gone = schedule(&shop, &sale, json!({ "action": "pause" })).await;
    shop.delete(&format!("{SALES}/{sale}/actions/{gone}")).await.expect(204);
    rig.clock.set_wall(AT_MS);
    keep(&rig.catalog).await.unwrap();
    for (action, row) in ["sale_action.done", "sale_action.cancel"].into_iter().zip(listed(&shop, &sale).await) {
        let entries = shop.all(&format!("/v1/audit?action={action}")).await;
        let [entry] = &entries[..] else { panic!("{action}: {entries:?}") };
        assert_eq!((&entry["after"], &entry["before"]["version"]), (&row, &json!(1)), "{action}");
        assert_eq!(row["version"], 2, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_one_is_tried_again_later_and_listed_after_the_last_attempt() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 101).await;
    schedule(&shop, &sale, json!({ "action": "publish" })).await;
    rig.clock.set_wall(AT_MS);
    keep(&rig.catalog).await.unwrap();
    keep(&rig.catalog).await.unwrap();
    let found = listed(&shop, &sale).await[0].clone();
    assert_eq!((&found["state"], &found["attempts"]), (&json!("waiting"), &json!(1)), "it waits before the second");
    assert!(found["reason"].as_str().unwrap().contains("KETTLE"), "{found}");
    shop.receive("KETTLE", 1).await;
    rig.clock.set_wall(AT_MS + 5_000);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(
        (states(&shop, &sale).await, state(&shop, &sale).await.as_str()),
        (vec!["done".to_owned()], "published")
    );

    let never = made(&shop, "never", 500).await;
    rig.clock.set_wall(BEGIN_MS);
    schedule(&shop, &never, json!({ "action": "publish" })).await;
    for attempt in 0..6 {
        rig.clock.set_wall(AT_MS + attempt * 200_000);
        keep(&rig.catalog).await.unwrap();
    }
    let found = listed(&shop, &never).await[0].clone();
    assert_eq!((&found["state"], &found["attempts"]), (&json!("failed"), &json!(5)), "{found}");
    assert_eq!(state(&shop, &never).await, "draft");
}

/// The service was away at the moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_one_is_done_if_the_window_is_not_over_and_fails_with_its_reason_otherwise() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let (late, over) = (made(&shop, "late", 10).await, made(&shop, "over", 10).await);
    schedule(&shop, &late, json!({ "action": "publish" })).await;
    rig.clock.set_wall(AT_MS + 3 * HOUR_MS);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(state(&shop, &late).await, "published");
    rig.clock.set_wall(BEGIN_MS);
    schedule(&shop, &over, json!({ "action": "publish" })).await;
    rig.clock.set_wall(BEGIN_MS + 21 * HOUR_MS);
    keep(&rig.catalog).await.unwrap();
    let found = listed(&shop, &over).await[0].clone();
    assert_eq!((&found["state"], &found["reason"]), (&json!("failed"), &json!("the sale's window is over")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_one_is_not_done_and_one_that_is_over_is_not_cancelled() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let path = format!("{SALES}/{sale}/actions");
    let action = schedule(&shop, &sale, json!({ "action": "publish" })).await;
    let other = rig.get(&path).token(OPERATOR).header("flashsale-tenant", "8");
    other.send().await.refused(404, "not_found");
    for _repeated in 0..2 {
        shop.delete(&format!("{path}/{action}")).await.expect(204);
    }
    rig.clock.set_wall(AT_MS);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(
        (states(&shop, &sale).await, state(&shop, &sale).await.as_str()),
        (vec!["cancelled".to_owned()], "draft")
    );
    rig.clock.set_wall(BEGIN_MS);
    let action = schedule(&shop, &sale, json!({ "action": "publish" })).await;
    rig.clock.set_wall(AT_MS);
    keep(&rig.catalog).await.unwrap();
    shop.delete(&format!("{path}/{action}")).await.refused(409, "conflict");
    shop.delete(&format!("{path}/999")).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_that_is_missing_or_too_much_is_named() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let path = format!("{SALES}/{sale}/actions");
    let asked = json!({ "at": AT, "action": "set_price", "allotment": 5, "rate_per_s": 1 });
    let refused = shop.post(&path, &asked).await;
    refused.refused(400, "invalid_request");
    let mut fields = refused.wrong_fields();
    fields.sort();
    assert_eq!(fields, ["allotment", "price", "rate_per_s", "sku"]);
    let past = json!({ "at": "2026-11-10T00:00:00Z", "action": "pause" });
    assert_eq!(shop.post(&path, &past).await.wrong_fields(), ["at"]);
    let soon = json!({ "at": "soon", "action": "pause" });
    assert_eq!(shop.post(&path, &soon).await.wrong_fields(), ["at"]);
    shop.post(&path, &json!({ "at": AT, "action": "explode" })).await.refused(400, "invalid_request");
    assert_eq!(listed(&shop, &sale).await, Vec::<Value>::new());
}

/// It is done with the permissions of who scheduled it, as they are at its moment.
#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_permission_does_nothing_later() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let action = schedule(&shop, &sale, json!({ "action": "publish" })).await;
    let by = "UPDATE sale_actions SET created_by = 'key:999' WHERE action = ?";
    let number: i64 = action.parse().unwrap();
    assert_eq!(rig.db.exec(by, vec![number.into()]).await.unwrap(), 1);
    rig.clock.set_wall(AT_MS);
    keep(&rig.catalog).await.unwrap();
    assert_eq!((states(&shop, &sale).await, state(&shop, &sale).await.as_str()), (vec!["failed".to_owned()], "draft"));
}
