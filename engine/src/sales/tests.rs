use store::log::ReadError;

use super::*;
use crate::testing::{self, NOW_MS, directory, sale};

#[test]
fn the_newest_version_of_a_sale_wins() {
    let directory = directory();
    let mut newer = sale(1);
    newer.version = 3;
    newer.paused = true;
    directory.take_in(vec![newer], NOW_MS);
    let mut older = sale(1);
    older.version = 2;
    directory.take_in(vec![older], NOW_MS);
    assert_eq!(directory.now().sale(SaleId::new(1).unwrap()).unwrap().sale.version, 3);
}

/// A new version must not refill the buckets, forget the lane's epoch, or forget the stock
/// seen.
#[test]
fn a_new_version_keeps_what_admission_knows() {
    let directory = directory();
    directory.take_in(vec![sale(1)], NOW_MS);
    let offer = testing::offer_id(1);
    let before = Arc::clone(directory.now().offer(offer).unwrap().1);
    before.lane.follow(Epoch(7));
    let mut paused = sale(1);
    (paused.version, paused.paused) = (2, true);
    directory.take_in(vec![paused], NOW_MS);
    let now = directory.now();
    let (promotion, after) = now.offer(offer).unwrap();
    assert!(Arc::ptr_eq(&before.bucket, &after.bucket) && Arc::ptr_eq(&before.stock, &after.stock));
    assert_eq!(after.lane.epoch(), Epoch(7));
    assert!(promotion.sale.paused);
}

#[test]
fn rates_are_divided_anew_when_the_fleet_changes() {
    let directory = directory();
    directory.take_in(vec![sale(1)], NOW_MS);
    directory.share_among(4);
    let now = directory.now();
    let (promotion, offered) = now.offer(testing::offer_id(1)).unwrap();
    assert!(offered.bucket.is_for(promotion.sale.lanes[0].offers[0].rate_per_s, 4));
    assert!(promotion.tenant.bucket.is_for(testing::TENANT_RATE, 4));
}

/// What a plan allows holds at once, the setting is never passed, and who has no plan's rate keeps
/// his bucket.
#[test]
fn a_tenant_sells_as_fast_as_its_plan_allows_and_no_faster_than_the_setting() {
    let directory = directory();
    directory.take_in(vec![sale(1)], NOW_MS);
    let tenant = || Arc::clone(&directory.now().sale(SaleId::new(1).unwrap()).unwrap().tenant);
    let first = tenant();
    directory.limit_tenants(BTreeMap::from([(TenantId::new(999).unwrap(), 1)]));
    assert!(Arc::ptr_eq(&first, &tenant()));
    for (planned, holds) in [(3, 3), (testing::TENANT_RATE + 1, testing::TENANT_RATE), (2, 2)] {
        directory.limit_tenants(BTreeMap::from([(testing::tenant(), planned)]));
        assert!(tenant().bucket.is_for(holds, 1), "{planned}");
        assert!(Arc::ptr_eq(&first.share, &tenant().share), "permits that are out come back");
    }
    assert_eq!((0..9).take_while(|_| tenant().bucket.take().is_ok()).count(), 2);
    directory.limit_tenants(BTreeMap::new());
    assert!(tenant().bucket.is_for(testing::TENANT_RATE, 1), "without a plan's rate the setting holds");
}

#[test]
fn an_offer_id_belongs_to_the_first_sale_that_has_it() {
    let directory = directory();
    let mut thief = sale(2);
    thief.tenant = TenantId::new(9).unwrap();
    thief.lanes[0].offers[0].id = testing::offer_id(1);
    directory.take_in(vec![thief, sale(1)], NOW_MS);
    assert_eq!(directory.now().offer(testing::offer_id(1)).unwrap().1.tenant, testing::tenant());
}

/// What the topic says, one answer after the other; then nothing more.
struct Scripted(Vec<Result<Vec<Sale>, ReadError>>);

impl SalesFollower for Scripted {
    async fn next(&mut self) -> Result<Vec<Sale>, ReadError> {
        if self.0.is_empty() { std::future::pending().await } else { self.0.remove(0) }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_once_it_is_read_and_a_failure_is_only_a_pause() {
    let directory = directory();
    let away = || Err(ReadError::Unavailable("away on purpose".into()));
    let scripted = Scripted(vec![away(), Ok(vec![sale(1)]), away(), Ok(vec![]), Ok(vec![sale(2)])]);
    let known_at_end = Mutex::new(Vec::new());
    let at_end = || known_at_end.lock().unwrap().push(directory.now().sales().count());
    let following = follow(scripted, Arc::clone(&directory), || NOW_MS, at_end);
    assert!(tokio::time::timeout(Duration::from_secs(60), following).await.is_err(), "it follows for ever");
    assert_eq!(*known_at_end.lock().unwrap(), [1]);
    assert_eq!(directory.now().sales().count(), 2);
}

/// INV-7: a lane's buyers and limits are one shop's.
#[test]
fn a_lane_id_belongs_to_the_first_sale_that_has_it() {
    let directory = directory();
    let mut other = sale(2);
    other.tenant = TenantId::new(9).unwrap();
    other.lanes[0].id = sale(1).lanes[0].id;
    directory.take_in(vec![sale(1), other.clone()], NOW_MS);
    assert_eq!(directory.contradictions(), other.offers().count() as u64);
    let now = directory.now();
    assert!(other.offers().all(|(_, offer)| now.offer(offer.id).is_none()));
    assert!(sale(1).offers().all(|(_, offer)| now.offer(offer.id).is_some()));
    (other.version, other.lanes) = (2, vec![]);
    directory.take_in(vec![other], NOW_MS);
    assert_eq!(directory.contradictions(), 0, "what remains of it is published, without lanes");
    assert!(directory.now().sale(SaleId::new(2).unwrap()).unwrap().offers.is_empty());
}

/// A publication under a clock that is far ahead hides no sale once the clock is right again.
#[test]
fn sales_long_over_are_left_out_as_long_as_the_clock_says_so() {
    let directory = directory();
    let shown = || directory.now().sale(SaleId::new(1).unwrap()).is_some();
    let later = sale(1).window.closes_at_ms + KEPT_AFTER_END_MS;
    directory.take_in(vec![sale(1)], later);
    assert!(!shown());
    directory.keep_time(NOW_MS);
    assert!(shown());
    directory.keep_time(later);
    assert!(!shown());
}
