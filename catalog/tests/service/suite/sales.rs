//! The life of a sale: a draft that nobody sees, published by compare-and-set with its stock
//! allotted, changed while it runs, closed, and settled with the warehouse.

use catalog::sales::keep;
use domain::{
    id::{LaneId, OfferId, PartitionId, SaleId},
    sale::Sale,
};
use serde_json::{Value, json};
use store::{publications::Published, sql::Sql as _};

use super::{
    rig::{Answer, BEGIN_MS, OPERATOR, Rig},
    stock::Shop,
};

pub(super) const SALES: &str = "/v1/merchant/sales";
const OPENS: &str = "2026-11-11T08:00:00.000Z";
const CLOSES: &str = "2026-11-11T20:00:00.000Z";
/// Past the end of the sale.
const OVER_MS: u64 = BEGIN_MS + 21 * 3_600_000;

/// A body with one lane of these units of KETTLE and of 5 of CUP, from `MAIN`.
pub(super) fn body(code: &str, kettles: u64) -> Value {
    json!({ "code": code, "title": "Winter sale", "opens_at": OPENS, "closes_at": CLOSES, "lanes": lanes(kettles) })
}

pub(super) fn lanes(kettles: u64) -> Value {
    let price = json!({ "amount": 9900, "currency": "CNY" });
    json!([{ "code": "main", "limit_per_buyer": 2, "offers": [
        { "sku": "KETTLE", "warehouse": "MAIN", "title": "Kettle", "price": price, "allotment": kettles },
        { "sku": "CUP", "warehouse": "MAIN", "allotment": 5 },
    ] }])
}

/// A shop with 100 kettles and 10 cups.
pub(super) async fn stocked(rig: &Rig) -> Shop<'_> {
    let shop = Shop::open(rig, &["KETTLE", "CUP"]).await;
    shop.receive("KETTLE", 100).await;
    shop.receive("CUP", 10).await;
    shop
}

pub(super) async fn made(shop: &Shop<'_>, code: &str, kettles: u64) -> String {
    let made = shop.post(SALES, &body(code, kettles)).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

pub(super) async fn step(shop: &Shop<'_>, sale: &str, step: &str) -> Answer {
    shop.post(&format!("{SALES}/{sale}/{step}"), &json!({})).await
}

pub(super) async fn state(shop: &Shop<'_>, sale: &str) -> String {
    shop.get(&format!("{SALES}/{sale}")).await.expect(200)["state"].as_str().unwrap().to_owned()
}

/// What is published of a sale, by the ledger's database.
pub(super) async fn published(rig: &Rig, sale: &str) -> Option<Sale> {
    let ledger = rig.place().ledger().await;
    ledger.publications().find(SaleId::new(sale.parse().unwrap()).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_seen_by_its_tenant_alone_and_published_with_its_stock() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let shown = shop.get(&format!("{SALES}/{sale}")).await.expect(200);
    assert_eq!((&shown["state"], &shown["is_publishing"]), (&json!("draft"), &json!(false)));
    assert_eq!(shown["terms"]["lanes"][0]["offers"][1]["price"], json!({ "amount": 100, "currency": "CNY" }));
    assert_eq!(shop.figures(1).await, [100, 0, 0, 100], "a draft takes nothing");
    assert_eq!(published(&rig, &sale).await, None);
    let other = rig.get(&format!("{SALES}/{sale}")).token(OPERATOR).header("flashsale-tenant", "8");
    other.send().await.refused(404, "not_found");

    let shown = step(&shop, &sale, "publish").await.expect(200);
    assert_eq!((&shown["state"], &shown["published_version"]), (&json!("published"), &json!(1)));
    assert_eq!(shop.figures(1).await, [100, 60, 0, 40]);
    assert_eq!(shop.figures(2).await, [10, 5, 0, 5]);
    let record = published(&rig, &sale).await.unwrap();
    assert_eq!(rig.place().topic().sales(), std::slice::from_ref(&record), "the engines hear of it before the answer");
    let offer = shown["terms"]["lanes"][0]["offers"][0]["id"].as_str().unwrap();
    assert_eq!(record.lanes[0].offers[0].id.to_string(), offer);
    assert_eq!((record.title.as_str(), record.lanes[0].offers[0].allotment), ("Winter sale", 60));
    step(&shop, &sale, "publish").await.refused(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_follows_from_clock_and_pause() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "pause").await.refused(409, "conflict");
    step(&shop, &sale, "publish").await.expect(200);
    rig.clock.set_wall(BEGIN_MS + 9 * 3_600_000);
    assert_eq!(state(&shop, &sale).await, "open");
    step(&shop, &sale, "pause").await.expect(200);
    assert_eq!(state(&shop, &sale).await, "paused");
    assert!(published(&rig, &sale).await.unwrap().paused);
    step(&shop, &sale, "resume").await.expect(200);
    assert_eq!(state(&shop, &sale).await, "open");
    step(&shop, &sale, "close").await.expect(200);
    assert_eq!(state(&shop, &sale).await, "closed");
    let record = published(&rig, &sale).await.unwrap();
    assert_eq!((record.version, record.window.closes_at_ms), (4, BEGIN_MS + 9 * 3_600_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flaw_is_named_at_its_place_and_nothing_is_made() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let mut asked = body("winter", 60);
    asked["lanes"][0]["offers"][0]["sku"] = json!("NOTHING");
    asked["lanes"][0]["offers"][1]["warehouse"] = json!("NOWHERE");
    let refused = shop.post(SALES, &asked).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["lanes[0].offers[0].sku", "lanes[0].offers[1].warehouse"]);
    let mut asked = body("winter", 60);
    asked["closes_at"] = json!(OPENS);
    asked["lanes"][0]["offers"][0]["price"] = json!({ "amount": 1, "currency": "ZZZ" });
    let refused = shop.post(SALES, &asked).await;
    assert_eq!(refused.wrong_fields(), ["closes_at", "lanes[0].offers[0].price.currency"]);
    let mut asked = body("winter", 60);
    asked["lanes"][0]["offers"][1]["sku"] = json!("KETTLE");
    assert_eq!(shop.post(SALES, &asked).await.wrong_fields(), ["lanes[0].offers[1].sku"], "twice in a lane");
    let mut asked = body("winter", 60);
    (asked["opens_at"], asked["lanes"][0]["limit_per_buyer"]) = (json!("soon"), json!(0));
    assert_eq!(shop.post(SALES, &asked).await.wrong_fields(), ["lanes[0].limit_per_buyer"], "the schema comes first");
    asked["lanes"][0]["limit_per_buyer"] = json!(1);
    assert_eq!(shop.post(SALES, &asked).await.wrong_fields(), ["opens_at"]);
    assert_eq!(shop.get(SALES).await.expect(200)["items"], json!([]));
    made(&shop, "winter", 60).await;
    shop.post(SALES, &body("winter", 60)).await.refused(409, "conflict");
}

/// Never more than there is, and all of it or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_warehouse_lacks_is_not_published() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 101).await;
    let refused = step(&shop, &sale, "publish").await.refused(409, "conflict");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("KETTLE") && detail.contains("101") && detail.contains("only 100"), "{detail}");
    assert_eq!((shop.figures(1).await, shop.figures(2).await), ([100, 0, 0, 100], [10, 0, 0, 10]));
    assert_eq!((published(&rig, &sale).await, state(&shop, &sale).await.as_str()), (None, "draft"));
    let change = json!({ "lanes": lanes(100) });
    shop.patching(&format!("{SALES}/{sale}"), &change).send().await.expect(200);
    step(&shop, &sale, "publish").await.expect(200);
    let other = made(&shop, "spring", 1).await;
    step(&shop, &other, "publish").await.refused(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_would_be_and_does_nothing() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let dry = shop.post(&format!("{SALES}/{sale}/publish?dry_run=true"), &json!({})).await.expect(200);
    assert_eq!(dry["sale"]["state"], "published");
    assert_eq!((published(&rig, &sale).await, state(&shop, &sale).await.as_str()), (None, "draft"));
    assert_eq!(shop.figures(1).await, [100, 0, 0, 100]);
    let wrong = shop.post(&format!("{SALES}/{sale}/publish?dry_run=perhaps"), &json!({})).await;
    wrong.refused(400, "invalid_request");
}

/// A stale write is told what is there; the same write again changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_who_edit_at_once_one_wins_and_the_other_is_told() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    let path = format!("{SALES}/{sale}");
    let tag = shop.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
    let edit = |title: &str| shop.patching(&path, &json!({ "title": title })).header("if-match", &tag).detach();
    let (one, other) = tokio::join!(edit("one"), edit("other"));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let (won, lost) = if one.status == 200 { (one.json(), other.json()) } else { (other.json(), one.json()) };
    assert_eq!(lost["current"]["terms"]["title"], won["terms"]["title"]);
    let record = published(&rig, &sale).await.unwrap();
    assert_eq!((record.version, json!(record.title)), (2, won["terms"]["title"].clone()));
    let version = won["version"].clone();
    let again = shop.patching(&path, &json!({ "title": won["terms"]["title"] })).send().await.expect(200);
    assert_eq!(again["version"], version, "the same terms are no new version");
    assert_eq!(published(&rig, &sale).await.unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_runs_stock_price_and_rate_change_and_lanes_do_not_vanish() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    let first = step(&shop, &sale, "publish").await.expect(200);
    let path = format!("{SALES}/{sale}");
    let mut more = lanes(80);
    (more[0]["offers"][0]["price"]["amount"], more[0]["offers"][0]["rate_per_s"]) = (json!(8800), json!(50));
    let shown = shop.patching(&path, &json!({ "lanes": more })).send().await.expect(200);
    let ids = |shown: &Value| shown["terms"]["lanes"][0]["offers"][0]["id"].clone();
    assert_eq!(ids(&shown), ids(&first), "buyers know it by the same number");
    let offer = published(&rig, &sale).await.unwrap().lanes[0].offers[0].clone();
    assert_eq!((offer.allotment, offer.price.amount, offer.rate_per_s), (80, 8_800, 50));
    assert_eq!(shop.figures(1).await, [100, 80, 0, 20]);
    let refused = shop.patching(&path, &json!({ "lanes": lanes(101) })).send().await;
    refused.refused(409, "conflict");
    let one = json!([{ "code": "other", "limit_per_buyer": 1, "offers": [{ "sku": "CUP", "allotment": 1 }] }]);
    let refused = shop.patching(&path, &json!({ "lanes": one })).send().await;
    assert_eq!(refused.wrong_fields(), ["lanes"; 3], "a published lane may not vanish, nor its offers");
    let mut moved = lanes(80);
    moved[0]["offers"][0].as_object_mut().unwrap().remove("warehouse");
    let refused = shop.patching(&path, &json!({ "lanes": moved })).send().await;
    assert_eq!(refused.wrong_fields(), ["lanes[0].offers[0].warehouse"]);
    let history = shop.all(&format!("{path}/history")).await;
    let actions: Vec<_> = history.iter().map(|version| version["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["sale.create", "sale.publish", "sale.change"]);
    let changed = history[2]["changes"].as_array().unwrap();
    let paths: Vec<_> = changed.iter().map(|change| change["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"lanes[0].offers[0].allotment"), "{paths:?}");
    let page = shop.get(&format!("{path}/history?limit=1&cursor=2")).await.expect(200);
    assert_eq!(page["items"][0]["changes"], history[2]["changes"], "also on a page of its own");
}

/// What a sale gives each of its orders, and from when on it is seen: published as it was set, and
/// every one of them that is out of bounds named at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_orders_of_a_sale_get_and_when_it_is_seen_are_its_terms() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let terms = |window: u32, days: u32, seen: &str| {
        let mut asked = body("winter", 60);
        (asked["payment_window_s"], asked["after_sale_days"]) = (json!(window), json!(days));
        (asked["visible_from"], asked["fulfilment"]) = (json!(seen), json!("code"));
        asked
    };
    let refused = shop.post(SALES, &terms(59, 367, "2026-11-11T07:00:00Z")).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["after_sale_days", "payment_window_s"]);
    let refused = shop.post(SALES, &terms(60, 7, CLOSES)).await;
    assert_eq!(refused.wrong_fields(), ["visible_from"], "it is seen when it opens at the latest");
    let made = shop.post(SALES, &terms(60, 7, "2026-11-11T07:00:00Z")).await.expect(201);
    let sale = made["id"].as_str().unwrap().to_owned();
    step(&shop, &sale, "publish").await.expect(200);
    let record = published(&rig, &sale).await.unwrap();
    let orders = (record.orders.payment_window_s, record.orders.after_sale_days, record.orders.fulfilment);
    assert_eq!(format!("{orders:?}"), "(60, 7, Code)");
    assert_eq!(record.visible_from_ms, BEGIN_MS + 7 * 3_600_000);
    let change = json!({ "payment_window_s": 120, "visible_from": null });
    shop.patching(&format!("{SALES}/{sale}"), &change).send().await.expect(200);
    let record = published(&rig, &sale).await.unwrap();
    assert_eq!((record.orders.payment_window_s, record.visible_from_ms), (120, 0));
}

/// The ledger lets units go as buyers return them (R9): only then are they the warehouse's again.
#[tokio::test(flavor = "multi_thread")]
async fn units_of_a_reduction_come_back_when_the_ledger_has_let_them_go() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    rig.add_lanes(&published(&rig, &sale).await.unwrap()).await;
    shop.patching(&format!("{SALES}/{sale}"), &json!({ "lanes": lanes(40) })).send().await.expect(200);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(shop.figures(1).await, [100, 60, 0, 40], "the ledger still sells 60");
    let offer = published(&rig, &sale).await.unwrap().lanes[0].offers[0].id;
    set_ledger(&rig, "UPDATE offers SET allotment = ? WHERE offer = ?", 45, offer).await;
    keep(&rig.catalog).await.unwrap();
    assert_eq!(shop.figures(1).await, [100, 45, 0, 55]);
    set_ledger(&rig, "UPDATE offers SET allotment = ? WHERE offer = ?", 40, offer).await;
    keep(&rig.catalog).await.unwrap();
    keep(&rig.catalog).await.unwrap();
    assert_eq!(shop.figures(1).await, [100, 40, 0, 60]);
}

pub(super) async fn set_ledger(rig: &Rig, statement: &str, units: i64, offer: OfferId) {
    let db = rig.place().ledger_db().await;
    assert_eq!(db.exec(statement, vec![units.into(), offer.stored().into()]).await.unwrap(), 1);
}

/// The rest returns once, when nothing can sell any more; what was sold waits for shipping.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_sale_gives_back_its_rest_when_its_lanes_are_retired() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    let record = published(&rig, &sale).await.unwrap();
    rig.add_lanes(&record).await;
    set_ledger(&rig, "UPDATE offers SET sold = ? WHERE offer = ?", 50, record.lanes[0].offers[0].id).await;
    rig.clock.set_wall(OVER_MS);
    keep(&rig.catalog).await.unwrap();
    assert_eq!((state(&shop, &sale).await.as_str(), shop.figures(1).await), ("closed", [100, 60, 0, 40]));
    let retire = "UPDATE lanes SET retired_epoch = epoch WHERE lane = ?";
    let db = rig.place().ledger_db().await;
    assert_eq!(db.exec(retire, vec![record.lanes[0].id.stored().into()]).await.unwrap(), 1);
    for _round in 0..2 {
        keep(&rig.catalog).await.unwrap();
        assert_eq!((shop.figures(1).await, shop.figures(2).await), ([100, 0, 50, 50], [10, 0, 0, 10]));
    }
    assert_eq!(state(&shop, &sale).await, "settled");
    shop.patching(&format!("{SALES}/{sale}"), &json!({ "closes_at": "2027-01-01T00:00:00Z" }))
        .send()
        .await
        .refused(409, "conflict");
    let moves = shop.all("/v1/stock/movements?sku=KETTLE").await;
    let kinds: Vec<_> = moves.iter().map(|step| step["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["accept", "give_back", "allocate", "receive"]);
}

/// A sale that never opened sold nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_is_closed_before_it_opened_gives_everything_back() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    step(&shop, &sale, "close").await.expect(200);
    keep(&rig.catalog).await.unwrap();
    assert_eq!((state(&shop, &sale).await.as_str(), shop.figures(1).await), ("settled", [100, 0, 0, 100]));
}

/// The process dies after the row says what is due: the next round publishes it, once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_published_by_the_next_round() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    // As a crash between the two databases leaves it: due, published or not.
    for known in [1_i64, 0] {
        rig.db.exec("UPDATE sales SET is_due = 1, published = ?", vec![known.into()]).await.unwrap();
        assert_eq!(shop.get(&format!("{SALES}/{sale}")).await.expect(200)["is_publishing"], true);
        keep(&rig.catalog).await.unwrap();
        let shown = shop.get(&format!("{SALES}/{sale}")).await.expect(200);
        assert_eq!((&shown["is_publishing"], &shown["published_version"]), (&json!(false), &json!(1)));
    }
    assert_eq!(published(&rig, &sale).await.unwrap().version, 1);
}

/// The topic is away: the sale is published all the same, and the topic hears of it later.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_away_delays_the_news_and_loses_nothing() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    rig.place().topic().go_away(true);
    step(&shop, &sale, "publish").await.expect(200);
    assert!(published(&rig, &sale).await.is_some() && rig.place().topic().sales().is_empty());
    rig.place().topic().go_away(false);
    let ledger = rig.place().ledger().await;
    ledger.publications().feed(rig.place().topic()).await.unwrap();
    assert_eq!(rig.place().topic().sales().len(), 1);
}

/// A sale file published the sale meanwhile: what is published holds, and the merchant sees it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_elsewhere_is_taken_in() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    let mut record = published(&rig, &sale).await.unwrap();
    (record.version, record.paused) = (2, true);
    let ledger = rig.place().ledger().await;
    assert_eq!(ledger.publications().publish(&record, Some(1)).await.unwrap(), Published::Done);
    keep(&rig.catalog).await.unwrap();
    let shown = shop.get(&format!("{SALES}/{sale}")).await.expect(200);
    assert_eq!((&shown["state"], &shown["published_version"]), (&json!("paused"), &json!(2)));
    assert_eq!(shown["terms"]["lanes"][0]["offers"][0]["warehouse"]["code"], "MAIN");
    // One that is not known here at all.
    let mut record = Sale { id: SaleId::new(50_000).unwrap(), version: 1, ..record };
    (record.lanes[0].id, record.lanes[0].partition) = (LaneId::new(60_000).unwrap(), PartitionId(0));
    for (offer, id) in record.lanes[0].offers.iter_mut().zip(70_000..) {
        offer.id = OfferId::new(id).unwrap();
    }
    assert_eq!(ledger.publications().publish(&record, None).await.unwrap(), Published::Done);
    keep(&rig.catalog).await.unwrap();
    let shown = shop.get(&format!("{SALES}/50000")).await.expect(200);
    assert_eq!((&shown["code"], &shown["published_version"]), (&json!("50000"), &json!(1)));
    let next: u64 = made(&shop, "spring", 1).await.parse().unwrap();
    assert!(next > 50_000, "numbers of ours begin above it: {next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_a_draft_with_numbers_of_its_own_and_a_template_is_never_published() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let mut asked = body("pattern", 10);
    asked["template"] = json!(true);
    let template = shop.post(SALES, &asked).await.expect(201);
    let number = template["id"].as_str().unwrap();
    assert_eq!(template["state"], "template");
    step(&shop, number, "publish").await.refused(409, "conflict");
    let wish = json!({ "code": "day-2", "opens_at": "2026-11-12T08:00:00Z", "closes_at": "2026-11-12T20:00:00Z" });
    let clone = shop.post(&format!("{SALES}/{number}/clone"), &wish).await.expect(201);
    assert_eq!((&clone["state"], &clone["terms"]["title"]), (&json!("draft"), &json!("Winter sale")));
    assert_ne!(clone["terms"]["lanes"][0]["id"], template["terms"]["lanes"][0]["id"]);
    step(&shop, clone["id"].as_str().unwrap(), "publish").await.expect(200);
    shop.delete(&format!("{SALES}/{}", clone["id"].as_str().unwrap())).await.refused(409, "conflict");
    shop.delete(&format!("{SALES}/{number}")).await.expect(204);
    shop.get(&format!("{SALES}/{number}")).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_bounds_the_sales_and_offers_that_have_not_ended() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let quotas = json!({ "sales": 1, "offers": 3 });
    rig.db
        .exec(
            "INSERT INTO plans (code, quotas, version) VALUES ('small', ?, 1)",
            vec![quotas.to_string().as_str().into()],
        )
        .await
        .unwrap();
    rig.db.exec("UPDATE tenants SET plan = 'small' WHERE tenant = 7", vec![]).await.unwrap();
    let (one, other) = (made(&shop, "one", 1).await, made(&shop, "other", 1).await);
    step(&shop, &one, "publish").await.expect(200);
    let refused = step(&shop, &other, "publish").await.refused(403, "quota_exceeded");
    assert_eq!(refused["current"], json!({ "quota": "sales", "limit": 1, "used": 1 }));
    step(&shop, &one, "close").await.expect(200);
    step(&shop, &other, "publish").await.expect(200);

    shop.receive("CUP", 100).await;
    // The offers of a sale that sells count, whether they were published with it or came later.
    let plan = |offers: u32| json!({ "quotas": { "sales": 9, "offers": offers } });
    let set = async |offers| rig.put("/v1/plans/small").token(OPERATOR).json(&plan(offers)).send().await.expect(200);
    let path = format!("{SALES}/{other}");
    let one_more = async || {
        let mut lanes = lanes(1);
        let mut second = lanes[0].clone();
        second["code"] = json!("second");
        lanes.as_array_mut().unwrap().push(second);
        shop.patching(&path, &json!({ "lanes": lanes })).send().await
    };
    let count = async || {
        let sum = "SELECT CAST(SUM(offers) AS SIGNED) FROM sales WHERE published > 0 AND code = 'other'";
        rig.db.rows(sum, vec![]).await.unwrap().remove(0).number::<u32>().unwrap()
    };
    let offers = count().await;
    set(offers).await;
    let third = made(&shop, "third", 1).await;
    for refused in [step(&shop, &third, "publish").await, one_more().await] {
        let refused = refused.refused(403, "quota_exceeded");
        assert_eq!(refused["current"], json!({ "quota": "offers", "limit": offers, "used": offers }));
    }
    set(2 * offers).await;
    one_more().await.expect(200);
    assert_eq!(count().await, 2 * offers);
}

/// A published row that nobody can read holds up no other sale, nor what is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_published_sale_holds_up_no_other() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    let insert = "INSERT INTO sales (sale, tenant, version, payload) VALUES (99, 7, 1, ?)";
    let damaged = bytes::Bytes::from_static(b"\xff\xff");
    rig.place().ledger_db().await.exec(insert, vec![damaged.into()]).await.unwrap();
    let mut record = published(&rig, &sale).await.unwrap();
    (record.version, record.paused) = (2, true);
    let ledger = rig.place().ledger().await;
    assert_eq!(ledger.publications().publish(&record, Some(1)).await.unwrap(), Published::Done);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(state(&shop, &sale).await, "paused");
    step(&shop, &sale, "close").await.expect(200);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(state(&shop, &sale).await, "settled");
}
