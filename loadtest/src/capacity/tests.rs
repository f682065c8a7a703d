//! The arithmetic against sums done by hand, its figures against the documents and the program,
//! and the simulation against plans that are known to be short of one thing.

use std::sync::atomic::AtomicU64;

use domain::{
    id::{BatchId, BuyerId, Epoch, ID_MAX, KeyHash, LaneId, OfferId, OrderId, PurchaseNumber, SaleId, SkuId, TenantId},
    money::Money,
    record::{BATCH_MAX, Batch, Record, Reservation},
    shard::ShardMap,
};
use kit::token::{BuyerClaims, Tenants, TokenKey, TokenSigner};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::SmallRng};

use super::*;
use crate::{requests::Requests, sale::LoadSale};

const NOW_MS: u64 = 1_800_000_000_000;

fn figures() -> &'static Figures {
    FIGURES.as_ref().unwrap()
}

fn wanted(peak: u64) -> Wanted {
    Wanted {
        peak,
        refusals: 0,
        units: None,
        lanes: None,
        cores: 16,
        memory_gib: 32,
        network_gbit: 10,
        busy_percent: 60,
        basis: Basis::Slow,
    }
}

fn planned(wanted: &Wanted) -> Plan {
    plan(wanted, figures(), None)
}

fn role<'a>(plan: &'a Plan, name: &str) -> &'a Role {
    plan.roles.iter().find(|role| role.role == name).unwrap()
}

#[test]
fn every_figure_has_one_source_and_what_is_quoted_stands_in_the_documents() {
    let documents = concat!(include_str!("../../../docs/performance.md"), include_str!("../../../docs/operating.md"));
    let documents = documents.split_whitespace().collect::<Vec<_>>().join(" ");
    for (name, figure) in figures().each() {
        let sources = [!figure.quote.is_empty(), figure.counted.is_some(), figure.assumed.is_some()];
        assert_eq!(sources.iter().filter(|has| **has).count(), 1, "{name}");
        for quote in &figure.quote {
            assert!(documents.contains(quote.as_str()), "{name}: `{quote}` stands nowhere");
        }
    }
}

/// So much and at most a quarter more.
fn counts(figure: u64, counted: usize) {
    let counted = counted as u64;
    assert!((counted..=counted * 5 / 4).contains(&figure), "{figure}, counted {counted}");
}

#[test]
fn a_purchase_on_the_wire_has_the_bytes_that_the_plan_takes() {
    let key = TokenKey::new("2026-11", &TokenKey::fresh_secret().unwrap(), Tenants::All).unwrap();
    let signer = TokenSigner::new(key);
    let sale = LoadSale::fresh(10, 1, None, NOW_MS, &mut SmallRng::seed_from_u64(3)).unwrap();
    let sign = |buyer: BuyerId| {
        let claims = BuyerClaims::new(sale.tenant.number(), buyer.get(), NOW_MS + 3_600_000);
        signer.sign(&claims, NOW_MS)
    };
    let requests = Requests::build(&sale, "shop.example", 0..1, 1, &sign, &AtomicU64::new(0)).unwrap();
    counts(figures().request_bytes.on(Basis::Good), requests.buffer().len());
}

fn batch(reservations: usize) -> usize {
    let id = ID_MAX / 3;
    let reservation = Reservation {
        tenant: TenantId::new(7).unwrap(),
        sale: SaleId::new(id).unwrap(),
        sale_version: 3,
        offer: OfferId::new(id).unwrap(),
        sku: SkuId::new(id).unwrap(),
        order: OrderId::new(id).unwrap(),
        buyer: BuyerId::new(id).unwrap(),
        quantity: 1,
        unit_price: Money { amount: 9_900, currency: "CNY".parse().unwrap() },
        key: KeyHash([7; 16]),
        reserved_at_ms: NOW_MS,
        context: Default::default(),
        pay_within_s: 900,
        trace: None,
    };
    let numbered = (0..reservations).map(|_| (PurchaseNumber(1), reservation.clone()));
    let (lane, epoch) = (LaneId::new(id).unwrap(), Epoch(1));
    Record::Batch(Batch { lane, id: BatchId::new(id).unwrap(), epoch, reservations: numbered.collect() }).encode().len()
}

#[test]
fn a_reservation_in_the_log_has_the_bytes_that_the_plan_takes() {
    counts(figures().log_bytes.on(Basis::Good), batch(BATCH_MAX).div_ceil(BATCH_MAX));
    counts(figures().log_bytes.on(Basis::Slow), batch(1));
}

/// By hand, at 60 % of a core: Redis 600,000,000 / 7,800 = 76,923 orders/s a master; a partition
/// 33,631 x 0.6 = 20,178; engines 200,000 x 24 µs = 4.8 cores, 8 with the reserve, one machine and
/// one more; a primary of 16 cores 16 x 61,224.
#[test]
fn two_hundred_thousand_orders_a_second_by_hand() {
    let plan = planned(&Wanted { units: Some(10_000_000), ..wanted(200_000) });
    assert_eq!((plan.redis_masters, plan.slots_per_master, plan.redis_mib), (3, 5_462, 954));
    assert_eq!((plan.partitions, plan.lanes, plan.lane_orders_per_s), (10, 10, 20_178));
    assert_eq!((plan.primaries, plan.shards), (1, 2));
    let engine = role(&plan, "engine");
    assert_eq!((engine.machines, engine.milli_cores, engine.by), (2, 4_800, "CPU"));
    assert_eq!(role(&plan, "redis").processes, 6);
    // Three copies of 12 µs.
    assert_eq!((role(&plan, "kafka").milli_cores, role(&plan, "kafka").machines), (7_200, 3));
    assert_eq!(plan.machines, plan.roles.iter().map(|role| role.machines).sum::<u64>());
    assert_eq!(plan.findings, [""; 0]);
}

#[test]
fn what_a_deployment_does_not_take_is_said_with_what_to_do() {
    let narrow = planned(&Wanted { lanes: Some(1), ..wanted(200_000) });
    assert_eq!(narrow.findings.len(), 1, "{:?}", narrow.findings);
    assert!(narrow.findings[0].contains("among 10 lanes"), "{:?}", narrow.findings);
    let huge = planned(&wanted(100_000_000));
    let named = |what: &str| huge.findings.iter().any(|finding| finding.contains(what));
    assert!(["partitions", "shards", "lanes"].into_iter().all(named), "{:?}", huge.findings);
    assert!(ShardMap::even(SHARDS_MAX as u16, 1).is_ok() && ShardMap::even(SHARDS_MAX as u16 + 1, 1).is_err());
}

#[test]
fn what_nobody_measured_is_said() {
    let assumed = planned(&wanted(20_000)).assumed;
    assert!(assumed.iter().any(|line| line.starts_with("row_bytes = 500")), "{assumed:?}");
    assert_eq!(assumed.len(), figures().each().iter().filter(|(_, figure)| figure.assumed.is_some()).count());
}

#[test]
fn prices_are_taken_as_they_are_and_all_that_is_wrong_is_named_at_once() {
    let prices = Prices::parse(PRICES_EXAMPLE).unwrap();
    let cost = prices.of(10, 1 << 30);
    assert_eq!((cost.machines, cost.traffic_at_most), (10 * 6 * 640, 6 * 3_600 * 80));
    let wrong = "currency = 'yuan'\nhours = 0\nmachine_hour = 0\ntraffic_gib = 1";
    let flaws = Prices::parse(wrong).unwrap_err();
    assert!(["currency", "hours", "machine_hour"].iter().all(|key| flaws.contains(key)), "{flaws}");
    assert!(!flaws.contains("traffic_gib"), "{flaws}");
    assert!(Prices::parse("euro = 1").unwrap_err().contains("euro"));
}

proptest! {
    /// With one machine of a role dead, the others carry the peak without being full.
    #[test]
    fn the_peak_is_carried_with_one_machine_of_each_role_dead(
        peak in 1..50_000_000_u64, refusals in 0..10_000_000_u64, cores in 2..256_u64, busy_percent in 10..=100_u64,
    ) {
        let wanted = Wanted { refusals, cores, busy_percent, ..wanted(peak) };
        for role in planned(&wanted).roles {
            prop_assert!((role.machines - 1) * cores * 1_000 * busy_percent / 100 >= role.milli_cores, "{role:?}");
            let network = (role.machines - 1) * wanted.network_gbit * 1_000 * busy_percent / 100;
            prop_assert!(network >= role.network_mbit, "{role:?}");
        }
    }

    /// More orders never need less of anything.
    #[test]
    fn a_plan_grows_with_its_peak(peak in 1..10_000_000_u64, more in 1..10_000_000_u64) {
        let (low, high) = (planned(&wanted(peak)), planned(&wanted(peak + more)));
        let sizes = |plan: &Plan| [plan.lanes, plan.partitions, plan.shards, plan.redis_masters, plan.redis_mib, plan.machines];
        prop_assert!(sizes(&low).iter().zip(sizes(&high)).all(|(low, high)| *low <= high));
    }
}

/// So many lanes that chance spreads them evenly.
fn even() -> Plan {
    planned(&Wanted { lanes: Some(300), ..wanted(200_000) })
}

#[test]
fn a_seed_shows_the_same_again_and_an_even_plan_carries_its_peak() {
    let shown = what_breaks(&even(), figures(), 17);
    assert_eq!(shown, what_breaks(&even(), figures(), 17));
    assert!(shown.breaks[0].percent > 110, "{shown:?}");
    let order: Vec<u64> = shown.breaks.iter().map(|broke| broke.percent).collect();
    assert!(order.is_sorted(), "{shown:?}");
}

#[test]
fn what_is_short_breaks_first() {
    let first = |plan: &Plan| what_breaks(plan, figures(), 17).breaks[0];
    // One lane stands on one master and in one partition.
    let narrow = first(&planned(&Wanted { lanes: Some(1), ..wanted(200_000) }));
    assert_eq!((narrow.station, narrow.share_percent), (Station::Partition, 100));
    assert!(narrow.percent <= 20 && narrow.seconds.is_some(), "{narrow:?}");
    let (mut redis, mut partitions) = (even(), even());
    (redis.redis_masters, partitions.partitions) = (1, 2);
    assert_eq!((first(&redis).station, first(&partitions).station), (Station::Redis, Station::Partition));
    let mut mysql = planned(&Wanted { cores: 2, lanes: Some(300), ..wanted(200_000) });
    mysql.primaries = 1;
    assert_eq!(first(&mysql).station, Station::Mysql);
}

/// A master that got more lanes than the others is the first to be full: lanes are drawn to slots.
#[test]
fn few_lanes_meet_on_one_master() {
    let plan = planned(&Wanted { lanes: Some(12), ..wanted(200_000) });
    let fullest = |seed| {
        let broken = what_breaks(&plan, figures(), seed).breaks;
        broken.into_iter().find(|broke| broke.station == Station::Redis).unwrap()
    };
    let shares: Vec<u64> = (0..20).map(|seed| fullest(seed).share_percent).collect();
    assert!(shares.iter().all(|share| *share >= 33) && shares.iter().any(|share| *share >= 50), "{shares:?}");
}
