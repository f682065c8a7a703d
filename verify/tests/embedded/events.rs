//! `order-events` of one folder: a sellout with kills, then cancellations and an expiry with kills.

use std::{sync::Arc, time::Duration};

use domain::{id::OrderId, order::Status, record::Topic};
use kit::clock::{Clock, SystemClock};
use rand::{SeedableRng, rngs::StdRng};
use store::{
    log::sqlite::{SqliteLog, SqliteLogView, SqliteSettings, SqliteSource},
    shards::{self, Namespace, Store},
    sql::sqlite::{Settings, Sqlite, SqliteServer},
};
use verify::{child::wait_until, embedded::Embedded, load_test::LoadTest};

use super::{crash::kill_while_it_sells, toy::receives_every_order};

const SELLOUT: LoadTest = LoadTest { scenario: "sellout", units: 1_500, buyers: 3_000, rate: 500 };
const KILLS: u64 = 4;
const ACCEPTED_MAX: u64 = 200;
const CANCELLED: usize = 5;
const SEED: u64 = 12;

pub(crate) async fn look(embedded: &Embedded) -> Store<Sqlite> {
    let now_ms: Arc<dyn Fn() -> u64 + Send + Sync> = Arc::new(|| SystemClock::new().now_ms());
    let server = SqliteServer::new(embedded.data(), now_ms, Settings::default()).unwrap();
    shards::look(&server, &Namespace::new("shop").unwrap()).await.unwrap()
}

/// Ids of the orders, and how many of them are marked and not released.
pub(crate) async fn orders(store: &Store<Sqlite>) -> (Vec<OrderId>, usize) {
    let lanes: Vec<_> = store.ledger.all_lanes().await.unwrap().iter().map(|lane| lane.lane).collect();
    let (mut orders, mut waiting) = (Vec::new(), 0);
    for home in store.orders.map().all() {
        for row in store.orders.scan(home, &lanes, 0, None, 1_000_000).await.unwrap() {
            waiting += usize::from(row.status.gives_back() && row.released.is_none());
            orders.extend((row.status == Status::PendingPayment).then_some(row.order));
        }
    }
    (orders, waiting)
}

#[test]
fn a_consumer_hears_of_every_order_of_a_sellout_with_kills() {
    let mut random = StdRng::seed_from_u64(SEED);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    let load = embedded.load_test(SELLOUT).unwrap();
    kill_while_it_sells(&embedded, &mut server, &mut random, (KILLS, ACCEPTED_MAX));
    embedded.report_of(load).unwrap();

    let (sold, _) = runtime.block_on(async { orders(&look(&embedded).await).await });
    for order in &sold[..CANCELLED] {
        embedded.run("cancel", &[&order.to_string()]).unwrap();
    }
    embedded.run("expire", &["--older-than", "0"]).unwrap();
    // In the middle of their releases.
    server.kill().unwrap();
    server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    wait_until("every release is decided", Duration::from_secs(120), || {
        Ok(runtime.block_on(async { orders(&look(&embedded).await).await.1 == 0 }))
    })
    .unwrap();
    // The ledger has passed everything then.
    embedded.evidence().unwrap();
    server.kill().unwrap();

    let counts = runtime.block_on(async {
        let partitions = SqliteLogView::open(&embedded.data().join("log.db")).unwrap().partitions().unwrap().len();
        let partitions = u32::try_from(partitions).unwrap();
        let settings = SqliteSettings::new(partitions, Arc::new(|| SystemClock::new().now_ms()));
        let log = SqliteLog::open(&embedded.data().join("log.db"), &settings).unwrap();
        let source = SqliteSource::of(&log, Topic::OrderEvents);
        receives_every_order(&look(&embedded).await, &source, partitions).await
    });
    println!("heard of {counts:?}");
    assert_eq!((counts.cancelled, counts.unpaid), (CANCELLED as u64, 0), "{counts:?}");
    assert_eq!(counts.expired, SELLOUT.units - CANCELLED as u64, "{counts:?}");
}
