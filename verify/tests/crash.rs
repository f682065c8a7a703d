//! Goal: whatever dies in the middle of a sale, nothing is oversold, lost, doubled or leaked, and
//! every buyer gets one answer. Method: real servers and real processes; a kill at a moment that is
//! waited for, not slept for; then the load test's own audit of the databases.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "crash/changes.rs"]
mod changes;
#[path = "crash/commission.rs"]
mod commission;
#[path = "crash/erased.rs"]
mod erased;
#[path = "crash/funnel.rs"]
mod funnel;
#[path = "crash/life.rs"]
mod life;
#[path = "crash/limits.rs"]
mod limits;
#[path = "crash/money.rs"]
mod money;
#[path = "crash/paid.rs"]
mod paid;
#[path = "crash/readiness.rs"]
mod readiness;
#[path = "events/toy.rs"]
mod toy;

use std::{ops::ControlFlow, time::Duration};

use domain::{id::PartitionId, record::Topic, shard::ShardId};
use order_writer::desk;
use serde_json::Value;
use store::{
    log::{
        OrderLogSource, PartitionReader,
        kafka::{KafkaSettings, KafkaSource},
    },
    shards::{self, Namespace, Store},
    sql::mysql::{MySql, MySqlServer, Settings},
};
use verify::{child::wait_until, engine_and_writer::EngineAndWriter, load_test::LoadTest, services::Services};

const SELLOUT: LoadTest = LoadTest { scenario: "sellout", units: 3_000, buyers: 6_000, rate: 1_500 };
/// So many accepted orders are the middle of [`SELLOUT`].
const MIDDLE: u64 = 800;

fn figure(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

/// INV-1 to INV-5 at rest, in the words of the audit.
fn assert_clean(report: &Value) {
    for name in ["oversold", "lost", "doubled", "leaked"] {
        assert_eq!(figure(report, name), 0, "{name}: {report}");
    }
}

fn assert_sold_out(report: &Value) {
    assert_clean(report);
    assert_eq!(figure(report, "orders_durable"), SELLOUT.units, "exactly the units are sold: {report}");
}

/// One engine and one order-writer, which gets these further arguments.
fn open(name: &str, writer: &[&str]) -> EngineAndWriter {
    EngineAndWriter::over(Services::new(name).unwrap(), writer, Services::engine).unwrap()
}

/// Failure points 4 to 7: promised and not yet in the log, or in the log and not yet answered.
#[test]
fn the_engine_is_killed_in_the_middle_of_a_sale() {
    let mut production = open("engine", &[]);
    let load = production.services.load_test(SELLOUT).unwrap();
    production.services.wait_accepted(MIDDLE).unwrap();
    production.engine.kill().unwrap();
    production.engine = production.services.engine().unwrap();
    let report = production.services.report_of(load).unwrap();
    assert_sold_out(&report);
    assert_eq!(figure(&report, "rejected_after_accepted"), 0, "Redis and log lost nothing");
}

/// Nothing of a purchase asks the merchants' service: it stands still in the middle of a sale, then
/// it is killed, and nobody is turned away or waits in vain.
#[test]
fn a_sale_sells_on_while_the_merchants_service_stands_still_and_is_dead() {
    let production = open("merchants", &[]);
    let (mut merchants, _) = production.services.catalog().unwrap();
    let load = production.services.load_test(SELLOUT).unwrap();
    production.services.wait_accepted(MIDDLE).unwrap();
    merchants.freeze().unwrap();
    production.services.wait_accepted(2 * MIDDLE).unwrap();
    merchants.kill().unwrap();
    let report = production.services.report_of(load).unwrap();
    assert_sold_out(&report);
    for name in ["unknown", "rejected_after_accepted"] {
        assert_eq!(figure(&report, name), 0, "{name}: {report}");
    }
}

/// R13: everybody sends the same purchase three times, half hang up, and in the middle the engine
/// is killed: a retry gets the same order.
#[test]
fn retries_over_a_killed_engine_get_the_same_order() {
    let mut production = open("retries", &[]);
    let storm = LoadTest { scenario: "retry-storm", units: 2_000, buyers: 4_000, rate: 2_000 };
    let load = production.services.load_test(storm).unwrap();
    production.services.wait_accepted(MIDDLE).unwrap();
    production.engine.kill().unwrap();
    production.engine = production.services.engine().unwrap();
    let report = production.services.report_of(load).unwrap();
    assert_clean(&report);
    assert_eq!(figure(&report, "orders_durable"), storm.units, "exactly the units are sold: {report}");
    for name in ["changed", "unknown", "rejected_after_accepted"] {
        assert_eq!(figure(&report, name), 0, "{name}: {report}");
    }
}

/// Failure points 13 and 14: at each step between decide and ledger the writer dies, and another
/// one takes over.
fn the_writer_dies_at(step: &str) {
    let mut production = open(&step.replace(['-', ':'], "_"), &["--die-at", step]);
    let load = production.services.load_test(SELLOUT).unwrap();
    wait_until("the writer dies where its failpoint is", std::time::Duration::from_secs(60), || {
        Ok(production.writer.ended()?.is_some())
    })
    .unwrap();
    assert!(production.writer.said("failpoint reached"), "it ended for another reason:\n{}", production.writer.tail());
    production.writer = production.services.order_writer(&[]).unwrap();
    let report = production.services.report_of(load).unwrap();
    assert_sold_out(&report);
    assert_eq!(figure(&report, "rejected_after_accepted"), 0, "Redis and log lost nothing");
}

macro_rules! the_writer_dies {
    ($($name:ident: $step:literal;)*) => {$(
        #[test]
        fn $name() {
            the_writer_dies_at($step);
        }
    )*};
}

// The first spans of a partition hold its genesis and the lanes' epochs; later ones hold orders.
the_writer_dies! {
    the_writer_dies_after_deciding: "decided:8";
    the_writer_dies_between_two_shards: "first-shard:8";
    the_writer_dies_before_it_settles: "rows:8";
    the_writer_dies_between_settle_and_ledger: "settled:8";
    the_writer_dies_after_the_ledger: "ledger:8";
    the_writer_dies_with_a_lane_closed: "closed";
    the_writer_dies_with_a_journal_drained: "drained";
    the_writer_dies_with_an_epoch_appended: "epoch-appended";
    the_writer_dies_between_ledger_and_load: "epoch-committed";
    the_writer_dies_after_a_load: "loaded";
}

/// Failure point 10: Redis forgets its last second. Orders promised in it and not decided are
/// visibly rejected or brought back by the log; nothing that was accepted and decided is lost, and
/// nothing is sold twice.
#[test]
fn redis_restarts_without_its_last_second() {
    let mut production = open("redis", &[]);
    let load = production.services.load_test(SELLOUT).unwrap();
    production.services.wait_accepted(MIDDLE).unwrap();
    let before = production.services.redis.log_len().unwrap();
    production.services.wait_accepted(MIDDLE + 400).unwrap();
    production.services.redis.restart_with_log_cut_to(before).unwrap();
    let report = production.services.report_of(load).unwrap();
    assert_sold_out(&report);
}

/// Everything that is in the log is decided, and every release that was asked for is in it.
async fn at_rest(databases: &Store<MySql>, orders: &KafkaSource, partitions: u32) -> bool {
    for shard in (0..databases.orders.map().shards()).map(ShardId) {
        if !databases.orders.outbox_partitions(shard).await.unwrap().is_empty() {
            return false;
        }
    }
    for partition in (0..partitions).map(PartitionId) {
        let high = orders.reader(partition).unwrap().watermarks().await.unwrap().high;
        if databases.ledger.lag(partition, high).await.unwrap() > 0 {
            return false;
        }
    }
    true
}

/// `order-events`: engine and writer are killed in the middle of a sellout, the writer again while
/// orders are cancelled and expire. A consumer that is killed, too, hears of every order.
#[test]
fn a_consumer_hears_of_every_order_of_a_sellout_with_kills() {
    let mut production = open("events", &["--die-at", "rows:8"]);
    let load = production.services.load_test(SELLOUT).unwrap();
    wait_until("the writer dies where its failpoint is", Duration::from_secs(60), || {
        Ok(production.writer.ended()?.is_some())
    })
    .unwrap();
    production.writer = production.services.order_writer(&["--die-at", "settled"]).unwrap();
    production.engine.kill().unwrap();
    production.engine = production.services.engine().unwrap();
    wait_until("the writer dies again", Duration::from_secs(60), || Ok(production.writer.ended()?.is_some())).unwrap();
    production.writer = production.services.order_writer(&[]).unwrap();
    production.services.report_of(load).unwrap();

    let args = production.services.stores().unwrap();
    let partitions = u32::from(args.partitions);
    let kafka = KafkaSettings::new(&args.kafka.kafka_brokers, args.namespace.as_str(), partitions);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let counts = runtime.block_on(async {
        let server = MySqlServer::new(args.mysql_url.expose(), Settings::default()).unwrap();
        let databases = shards::look(&server, &Namespace::new(args.namespace.as_str()).unwrap()).await.unwrap();
        let lanes: Vec<_> = databases.ledger.all_lanes().await.unwrap().iter().map(|lane| lane.lane).collect();
        let home = databases.orders.map().all().next().unwrap();
        let some = databases.orders.scan(home, &lanes, 0, None, 5).await.unwrap();
        for row in &some {
            desk::cancel(&databases.orders, &databases.ledger, row.order).await.unwrap();
        }
        let watch = |_: &desk::Expiry| ControlFlow::Continue(());
        desk::expire(&databases.orders, &databases.ledger, Some(Duration::ZERO), watch).await.unwrap();
        production.writer.kill().unwrap();
        production.writer = production.services.order_writer(&[]).unwrap();
        let orders = KafkaSource::new(&kafka);
        let waited = tokio::time::timeout(Duration::from_secs(120), async {
            while !at_rest(&databases, &orders, partitions).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(waited.await.is_ok(), "the releases are decided in time");
        let events = KafkaSource::of(&kafka, Topic::OrderEvents);
        (toy::receives_every_order(&databases, &events, partitions).await, some.len() as u64)
    });
    let (counts, cancelled) = counts;
    println!("heard of {counts:?}");
    assert_eq!((counts.cancelled, counts.unpaid), (cancelled, 0), "{counts:?}");
    assert_eq!(counts.expired, SELLOUT.units - cancelled, "{counts:?}");
}

/// Failure point 16: two writers for one partition. The second one does not know of the first; the
/// ledger sorts them out.
#[test]
fn two_writers_fight_for_a_partition() {
    let mut production = open("fight", &[]);
    let mut second = production.services.order_writer(&["--contend"]).unwrap();
    let load = production.services.load_test(SELLOUT).unwrap();
    let report = production.services.report_of(load).unwrap();
    assert_sold_out(&report);
    assert_eq!(figure(&report, "rejected_after_accepted"), 0, "Redis and log lost nothing");
    let fenced = [&production.writer, &second].map(|writer| writer.said("another writer moved this partition"));
    assert!(fenced.contains(&true), "they never met: the test would prove nothing");
    assert!(production.writer.ended().unwrap().is_none() && second.ended().unwrap().is_none(), "both are still at it");
}
