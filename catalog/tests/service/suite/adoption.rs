//! What is published past the service is taken in within a round, with its shop; a round reads what
//! changed, and a number that somebody chose uses no numbers up.

use std::time::Duration;

use catalog::{sales::keep, tenants};
use domain::{
    id::{LaneId, OfferId, SaleId, TenantId},
    sale::Sale,
};
use store::{publications::Published, sql::Sql as _};

use super::{
    rig::{OPERATOR, Rig},
    sales::{made, published, state, step, stocked},
};

/// Publishes a sale like this one, of another tenant and with numbers of its own, as a sale file
/// would.
async fn publish_file(rig: &Rig, like: &Sale, (sale, tenant): (u64, u64)) {
    let mut file = Sale { id: SaleId::new(sale).unwrap(), tenant: TenantId::new(tenant).unwrap(), ..like.clone() };
    file.lanes.truncate(1);
    file.lanes[0].offers.truncate(1);
    (file.lanes[0].id, file.lanes[0].offers[0].id) = (LaneId::new(sale).unwrap(), OfferId::new(sale).unwrap());
    let ledger = rig.place().ledger().await;
    assert_eq!(ledger.publications().publish(&Sale { version: 1, ..file }, None).await.unwrap(), Published::Done);
}

/// The numbers of all tenants.
async fn numbers(rig: &Rig) -> Vec<i64> {
    let rows = rig.db.rows("SELECT tenant FROM tenants WHERE tenant > 0 ORDER BY tenant", vec![]).await.unwrap();
    rows.into_iter().map(|mut row| row.int().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_known_by_a_sale_alone_is_there_after_one_round() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    keep(&rig.catalog).await.unwrap();
    let like = published(&rig, &sale).await.unwrap();
    publish_file(&rig, &like, (900, 40)).await;
    for _repeated in 0..2 {
        keep(&rig.catalog).await.unwrap();
        assert_eq!(numbers(&rig).await, [7, 40]);
    }
    let sales = rig.get("/v1/merchant/sales").token(OPERATOR).header("flashsale-tenant", "40").send().await;
    assert_eq!(sales.expect(200)["items"][0]["id"], "900");
    assert_eq!(rig.tenant("kettles").await, "41", "its number is given to no other shop");
}

/// A sale file names any tenant; the next shops are numbered on as before.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_tenant_number_uses_no_numbers_up() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    keep(&rig.catalog).await.unwrap();
    let like = published(&rig, &sale).await.unwrap();
    let last = u32::MAX;
    publish_file(&rig, &like, (900, last.into())).await;
    keep(&rig.catalog).await.unwrap();
    assert_eq!(numbers(&rig).await, [7, i64::from(last)]);
    // As at each start.
    tenants::adopt(&rig.catalog, &[7, 20, last].into()).await.unwrap();
    assert_eq!((rig.tenant("kettles").await.as_str(), rig.tenant("pots").await.as_str()), ("21", "22"));
}

/// Another process has a block of numbers in which a sale file chose one.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_a_sale_file_took_meanwhile_is_passed() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    keep(&rig.catalog).await.unwrap();
    let (like, other) = (published(&rig, &sale).await.unwrap(), rig.another().await);
    let first: u64 = other.tenant("kettles").await.parse().unwrap();
    publish_file(&rig, &like, (900, first + 1)).await;
    keep(&rig.catalog).await.unwrap();
    assert_eq!(other.tenant("pots").await, (first + 2).to_string());
}

/// A round looks at what was written lately, and at all of it once a minute: a program of before
/// does not say when it published.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_reads_no_row_of_an_unchanged_sale_until_a_minute_is_over() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    keep(&rig.catalog).await.unwrap();
    let mut paused = published(&rig, &sale).await.unwrap();
    (paused.version, paused.paused) = (2, true);
    let ledger = rig.place().ledger().await;
    assert_eq!(ledger.publications().publish(&paused, Some(1)).await.unwrap(), Published::Done);
    let long_ago = "UPDATE sales SET changed_at = NULL";
    rig.place().ledger_db().await.exec(long_ago, vec![]).await.unwrap();
    keep(&rig.catalog).await.unwrap();
    assert_eq!(state(&shop, &sale).await, "published", "nothing says that it changed");
    rig.clock.advance(Duration::from_secs(60));
    keep(&rig.catalog).await.unwrap();
    assert_eq!(state(&shop, &sale).await, "paused", "all of it is compared");
    paused.version = 3;
    paused.paused = false;
    assert_eq!(ledger.publications().publish(&paused, Some(2)).await.unwrap(), Published::Done);
    keep(&rig.catalog).await.unwrap();
    assert_eq!(state(&shop, &sale).await, "published", "what changed is taken in at once");
}
