//! Readiness: each red reason, made to happen; a red one refuses a publication where it can be
//! known before it; before the opening a look is made and kept.

use catalog::sales::keep;
use domain::{
    id::{Epoch, SaleId},
    sale::Sale,
};
use serde_json::{Value, json};
use store::{
    ledger::{EngineNews, LEASE_MS_MAX},
    sql::Sql as _,
    stock::LaneKeeping as _,
};

use super::{
    orders::Orders,
    rig::{BEGIN_MS, OPERATOR, Rig},
    sales::{SALES, body, lanes, made, published, set_ledger, step, stocked},
    stock::Shop,
};

const HOUR_MS: u64 = 3_600_000;

async fn report(shop: &Shop<'_>, sale: &str) -> Value {
    shop.post(&format!("{SALES}/{sale}/check"), &json!({})).await.expect(200)
}

/// Codes and fields of what is red, without the clocks: those of the tests stand apart.
async fn red(shop: &Shop<'_>, sale: &str) -> Vec<(String, String)> {
    let report = report(shop, sale).await;
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    let red = findings.filter(|finding| finding["light"] == "red" && finding["code"] != "clock_skew");
    red.map(|finding| {
        assert!(!text(finding, "remedy").is_empty() && !text(finding, "reason").is_empty());
        (text(finding, "code"), text(finding, "field"))
    })
    .collect()
}

fn one(code: &str, field: &str) -> Vec<(String, String)> {
    vec![(code.to_owned(), field.to_owned())]
}

async fn on_sale(rig: &Rig, shop: &Shop<'_>) -> String {
    let sale = made(shop, "winter", 60).await;
    step(shop, &sale, "publish").await.expect(200);
    let record = published(rig, &sale).await.unwrap();
    rig.add_lanes(&record).await;
    engine(rig, "first").await;
    has(rig, &record).await;
    sale
}

/// An engine of this name, which has told nothing yet: its number.
async fn engine(rig: &Rig, name: &str) -> u8 {
    let ledger = rig.place().ledger().await;
    ledger.lease_worker(name, LEASE_MS_MAX, 0).await.unwrap().unwrap().number
}

/// Tells, as an engine of this name and number would, that it has these sales.
async fn tells(rig: &Rig, (number, name): (u8, &str), sales: &[(SaleId, u32)]) {
    let ledger = rig.place().ledger().await;
    let sales = sales.iter().map(|(sale, version)| (*sale, Some(*version))).collect();
    let news = EngineNews { clock_ms: ledger.now_ms().await.unwrap(), is_whole: true, sales };
    assert!(ledger.tell_engine((number, name), &news).await.unwrap());
    // However slow the test is.
    set_engine(rig, number, "told_at = told_at + 3600000, clock_ms = clock_ms + 3600000").await;
}

async fn set_engine(rig: &Rig, number: u8, change: &str) {
    let change = format!("UPDATE workers SET {change} WHERE number = ?");
    assert_eq!(rig.place().ledger_db().await.exec(&change, vec![number.into()]).await.unwrap(), 1);
}

/// The first engine has this version of the sale.
async fn has(rig: &Rig, record: &Sale) {
    tells(rig, (0, "first"), &[(record.id, record.version)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_ready_when_all_agrees_and_another_tenants_is_not_there() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = stocked(&rig).await;
    let draft = made(&shop, "draft", 10).await;
    assert_eq!(red(&shop, &draft).await, []);
    let sale = on_sale(&rig, &shop).await;
    assert_eq!(red(&shop, &sale).await, []);
    let skew = report(&shop, &sale).await;
    assert_eq!((&skew["is_ready"], &skew["findings"][0]["code"]), (&json!(false), &json!("clock_skew")));
    let other = rig.post(&format!("{SALES}/{sale}/check")).token(OPERATOR).header("flashsale-tenant", "8");
    other.key("k").json(&json!({})).send().await.refused(404, "not_found");
    let other = rig.get(&format!("{SALES}/{sale}/check")).token(OPERATOR).header("flashsale-tenant", "8");
    other.send().await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_agree_are_not_red() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let draft = made(&shop, "draft", 10).await;
    rig.clock.set_wall(rig.place().ledger().await.now_ms().await.unwrap());
    let report = report(&shop, &draft).await;
    let codes: Vec<_> = report["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert!(!codes.contains(&&json!("clock_skew")), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn red_window_over() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    rig.clock.set_wall(BEGIN_MS + 21 * HOUR_MS);
    assert_eq!(red(&shop, &sale).await, one("window_over", "closes_at"));
    let refused = step(&shop, &sale, "publish").await.refused(409, "conflict");
    assert_eq!(refused["current"][0]["code"], "window_over");
    assert_eq!(published(&rig, &sale).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn red_tenant_suspended() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let suspend = "UPDATE tenants SET state = 'suspended' WHERE tenant = ?";
    assert_eq!(rig.db.exec(suspend, vec![7_u32.into()]).await.unwrap(), 1);
    assert_eq!(red(&shop, &sale).await, one("tenant_suspended", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn red_sku_archived_and_price_in_another_currency() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let set = "UPDATE skus SET state = ?, currency = ? WHERE tenant = ? AND code = 'KETTLE'";
    for (state, currency, code, field) in [
        ("archived", "CNY", "sku_archived", "lanes[0].offers[0].sku"),
        ("active", "EUR", "price_currency", "lanes[0].offers[0].price"),
    ] {
        rig.db.exec(set, vec![state.into(), currency.into(), 7_u32.into()]).await.unwrap();
        assert_eq!(red(&shop, &sale).await, one(code, field));
        let refused = step(&shop, &sale, "publish").await.refused(409, "conflict");
        assert_eq!(refused["current"][0]["code"], code);
    }
    assert_eq!(published(&rig, &sale).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn red_stock_missing() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 101).await;
    assert_eq!(red(&shop, &sale).await, one("stock_missing", "lanes[0].offers[0].allotment"));
    step(&shop, &sale, "publish").await.refused(409, "conflict");
    shop.receive("KETTLE", 1).await;
    assert_eq!(red(&shop, &sale).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn red_not_delivered() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = on_sale(&rig, &shop).await;
    let due = "UPDATE sales SET is_due = 1 WHERE tenant = ?";
    rig.db.exec(due, vec![7_u32.into()]).await.unwrap();
    assert_eq!(red(&shop, &sale).await, one("not_delivered", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn red_reasons_of_lanes_in_the_ledger() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    let record = published(&rig, &sale).await.unwrap();
    engine(&rig, "first").await;
    has(&rig, &record).await;
    assert_eq!(red(&shop, &sale).await, one("lane_missing", "lanes[0]"));
    rig.add_lanes(&record).await;
    assert_eq!(red(&shop, &sale).await, []);

    let (ledger, lane) = (rig.place().ledger().await, record.lanes[0].id);
    ledger.distrust(lane).await.unwrap();
    assert_eq!(red(&shop, &sale).await, one("lane_rebuilt", "lanes[0]"));
    ledger.trust(lane).await.unwrap();

    let more = json!({ "lanes": lanes(70) });
    shop.patching(&format!("{SALES}/{sale}"), &more).send().await.expect(200);
    has(&rig, &published(&rig, &sale).await.unwrap()).await;
    assert_eq!(red(&shop, &sale).await, one("allotment_pending", "lanes[0].offers[0].allotment"));
    set_ledger(&rig, "UPDATE offers SET target = ? WHERE offer = ?", 70, record.lanes[0].offers[0].id).await;
    assert_eq!(red(&shop, &sale).await, []);

    let mut three = lanes(70);
    three[0]["limit_per_buyer"] = json!(3);
    shop.patching(&format!("{SALES}/{sale}"), &json!({ "lanes": three })).send().await.expect(200);
    has(&rig, &published(&rig, &sale).await.unwrap()).await;
    assert_eq!(red(&shop, &sale).await, one("limit_pending", "lanes[0].limit_per_buyer"));
    let db = rig.place().ledger_db().await;
    let limit = "UPDATE lanes SET limit_per_buyer = 3 WHERE lane = ?";
    assert_eq!(db.exec(limit, vec![lane.stored().into()]).await.unwrap(), 1);
    let retire = "UPDATE lanes SET retired_epoch = epoch WHERE lane = ?";
    assert_eq!(db.exec(retire, vec![lane.stored().into()]).await.unwrap(), 1);
    assert_eq!(red(&shop, &sale).await, one("lane_retired", "lanes[0]"));
}

/// The lane as its stock server has it: open under the ledger's epoch, with the ledger's units.
#[tokio::test(flavor = "multi_thread")]
async fn red_reasons_of_lanes_in_the_stock_server() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = on_sale(&rig, &shop).await;
    assert_eq!(red(&shop, &sale).await, []);
    rig.lanes.go_away(true);
    assert_eq!(red(&shop, &sale).await, one("stock_away", ""));
    rig.lanes.go_away(false);

    let record = published(&rig, &sale).await.unwrap();
    let (lane, keeping) = (&record.lanes[0], rig.lanes.stock.keeping());
    let (kettle, cup) = (lane.offers[0].id, lane.offers[1].id);
    let kettles = one("stock_differs", "lanes[0].offers[0]");
    // Units are out of sale that the ledger did not sell.
    keeping.withhold(lane.id, Epoch(1), kettle, 0, 3).await.unwrap();
    assert_eq!(red(&shop, &sale).await, kettles);
    rig.clock.set_wall(BEGIN_MS + 9 * HOUR_MS);
    assert_eq!(red(&shop, &sale).await, [], "while buyers buy, units left move");
    rig.clock.set_wall(BEGIN_MS);
    set_ledger(&rig, "UPDATE offers SET sold = ? WHERE offer = ?", 3, kettle).await;
    assert_eq!(red(&shop, &sale).await, [], "units that are sold are gone at both ends");
    keeping.adjust(lane.id, Epoch(1), cup, 4, 1).await.unwrap();
    for hours in [0, 9] {
        rig.clock.set_wall(BEGIN_MS + hours * HOUR_MS);
        assert_eq!(red(&shop, &sale).await, one("stock_differs", "lanes[0].offers[1]"), "another allotment");
    }
    keeping.close(lane.id, Epoch(2)).await.unwrap();
    assert_eq!(red(&shop, &sale).await, one("lane_closed", "lanes[0]"));
    rig.clock.set_wall(BEGIN_MS + 21 * HOUR_MS);
    assert_eq!(red(&shop, &sale).await, one("window_over", "closes_at"), "what is over is not looked at");
}

/// Two engines, each of which must sell by the version that is published.
#[tokio::test(flavor = "multi_thread")]
async fn red_reasons_of_engines() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    let record = published(&rig, &sale).await.unwrap();
    rig.add_lanes(&record).await;
    assert_eq!(red(&shop, &sale).await, one("no_engine", ""));
    let first = (engine(&rig, "first").await, "first");
    assert_eq!(red(&shop, &sale).await, one("engine_silent", ""), "it has told nothing yet");
    tells(&rig, first, &[]).await;
    assert_eq!(red(&shop, &sale).await, one("engine_behind", ""));
    tells(&rig, first, &[(record.id, 1)]).await;
    assert_eq!(red(&shop, &sale).await, []);
    let second = (engine(&rig, "second").await, "second");
    tells(&rig, second, &[(record.id, 1)]).await;
    assert_eq!(red(&shop, &sale).await, []);

    step(&shop, &sale, "pause").await.expect(200);
    tells(&rig, first, &[(record.id, 2)]).await;
    assert_eq!(red(&shop, &sale).await, one("engine_behind", ""), "the second has the version before");
    tells(&rig, second, &[(record.id, 2)]).await;
    assert_eq!(red(&shop, &sale).await, []);
    set_engine(&rig, second.0, "clock_ms = clock_ms + 60000").await;
    assert_eq!(red(&shop, &sale).await, one("engine_clock", ""));
    set_engine(&rig, second.0, "told_at = told_at - 3605001").await;
    assert_eq!(red(&shop, &sale).await, one("engine_silent", ""));
    set_engine(&rig, second.0, "ends_at = 1").await;
    assert_eq!(red(&shop, &sale).await, [], "its lease ended: it is none");
}

/// Who sells for money needs an account, and an order service that tells so; who gives away needs
/// neither. Nothing of it refuses a publication.
#[tokio::test(flavor = "multi_thread")]
async fn red_payment_account_and_orders_away() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let unknown = report(&shop, &sale).await;
    let finding = unknown["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "payment_unknown");
    assert_eq!(finding.unwrap()["light"], "amber", "no order service is named: {unknown}");
    assert_eq!(red(&shop, &sale).await, []);

    let orders = Orders::listing(json!({ "items": [] }));
    rig.catalog.ask_orders(orders.clone());
    let known = report(&shop, &sale).await;
    let codes: Vec<_> = known["findings"].as_array().unwrap().iter().map(|finding| finding["code"].clone()).collect();
    assert!(!codes.contains(&json!("payment_unknown")), "{known}");
    orders.tells(Err("no answer within 3s"));
    assert_eq!(red(&shop, &sale).await, one("orders_away", ""));
    let silent = report(&shop, &sale).await;
    let finding = silent["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "orders_away");
    assert!(finding.unwrap()["reason"].as_str().unwrap().contains("no answer within 3s"), "{silent}");
    orders.tells(Ok(false));
    assert_eq!(red(&shop, &sale).await, one("payment_account", ""));
    step(&shop, &sale, "publish").await.expect(200);
    let free = json!({ "amount": 0, "currency": "CNY" });
    let mut gifts = body("gifts", 5);
    (0..2).for_each(|offer| gifts["lanes"][0]["offers"][offer]["price"] = free.clone());
    let gifts = shop.post(SALES, &gifts).await.expect(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(red(&shop, &gifts).await, []);
    orders.tells(Err("no answer within 3s"));
    assert_eq!(red(&shop, &gifts).await, []);
}

/// An order service that is silent is waited for once, however many sales open soon.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_order_service_is_asked_once_a_round() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    shop.receive("CUP", 100).await;
    let mut sales = Vec::new();
    for code in ["winter", "spring", "autumn"] {
        let sale = made(&shop, code, 5).await;
        step(&shop, &sale, "publish").await.expect(200);
        sales.push(sale);
    }
    let orders = Orders::listing(json!({ "items": [] }));
    rig.catalog.ask_orders(orders.clone());
    orders.tells(Err("no answer within 3s"));
    rig.clock.set_wall(BEGIN_MS + 8 * HOUR_MS - 300_000);
    keep(&rig.catalog).await.unwrap();
    for sale in &sales {
        let kept = shop.get(&format!("{SALES}/{sale}/check")).await.expect(200);
        assert!(kept["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "orders_away"), "{kept}");
    }
    assert_eq!(orders.questions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sku_in_overlapping_sales_is_shown_and_allowed() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    shop.post(SALES, &body("spring", 30)).await.expect(201);
    let report = report(&shop, &sale).await;
    let overlap = |finding: &&Value| finding["code"] == "overlap" && finding["light"] == "amber";
    let overlaps: Vec<_> = report["findings"].as_array().unwrap().iter().filter(overlap).collect();
    assert_eq!(overlaps.len(), 2, "{report}");
    assert!(overlaps[0]["reason"].as_str().unwrap().contains("spring"));
    step(&shop, &sale, "publish").await.expect(200);
}

/// The round looks in the ten minutes before the opening, and keeps what it found.
#[tokio::test(flavor = "multi_thread")]
async fn before_it_opens_a_sale_is_looked_at_and_the_report_is_kept() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    let path = format!("{SALES}/{sale}/check");
    keep(&rig.catalog).await.unwrap();
    shop.get(&path).await.refused(404, "not_found");
    let opens_at = BEGIN_MS + 8 * HOUR_MS;
    rig.clock.set_wall(opens_at - 300_000);
    keep(&rig.catalog).await.unwrap();
    let kept = shop.get(&path).await.expect(200);
    let codes: Vec<_> = kept["findings"].as_array().unwrap().iter().map(|finding| finding["code"].clone()).collect();
    assert!(codes.contains(&json!("lane_missing")), "{kept}");
    rig.add_lanes(&published(&rig, &sale).await.unwrap()).await;
    keep(&rig.catalog).await.unwrap();
    assert_eq!(shop.get(&path).await.expect(200), kept, "once a minute");
    rig.clock.set_wall(opens_at - 200_000);
    keep(&rig.catalog).await.unwrap();
    let later = shop.get(&path).await.expect(200);
    let codes: Vec<_> = later["findings"].as_array().unwrap().iter().map(|finding| finding["code"].clone()).collect();
    assert!(!codes.contains(&json!("lane_missing")), "{later}");
}
