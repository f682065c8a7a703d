//! The funnel of the production deployment: engine, order-writer and the merchants' service are
//! killed in the middle of a sellout, orders are cancelled and expire.

use std::collections::BTreeMap;

use verify::funnel::{Sold, Totals};

use super::*;

const CANCELLED: u64 = 5;

#[test]
fn at_rest_the_funnel_and_the_ledger_agree_to_the_unit_whatever_died() {
    let mut production = open("funnel", &["--die-at", "ledger:8"]);
    let (mut catalog, _) = production.services.catalog().unwrap();
    let load = production.services.load_test(SELLOUT).unwrap();
    wait_until("the writer dies where its failpoint is", Duration::from_secs(60), || {
        Ok(production.writer.ended()?.is_some())
    })
    .unwrap();
    catalog.kill().unwrap();
    production.writer = production.services.order_writer(&[]).unwrap();
    production.engine.kill().unwrap();
    production.engine = production.services.engine().unwrap();
    // Two of them count the same from now on.
    let (_one, _) = production.services.catalog().unwrap();
    let (_other, merchants) = production.services.catalog().unwrap();
    production.services.report_of(load).unwrap();

    let args = production.services.stores().unwrap();
    let partitions = u32::from(args.partitions);
    let kafka = KafkaSettings::new(&args.kafka.kafka_brokers, args.namespace.as_str(), partitions);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (cancelled, expired) = runtime.block_on(async {
        let server = MySqlServer::new(args.mysql_url.expose(), Settings::default()).unwrap();
        let databases = shards::look(&server, &Namespace::new(args.namespace.as_str()).unwrap()).await.unwrap();
        let orders = KafkaSource::new(&kafka);
        let rest = async || {
            let waited = tokio::time::timeout(Duration::from_secs(120), async {
                while !at_rest(&databases, &orders, partitions).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
            assert!(waited.await.is_ok(), "everything is decided in time");
            Sold::of(&databases).await.unwrap()
        };
        let lanes: Vec<_> = databases.ledger.all_lanes().await.unwrap().iter().map(|lane| lane.lane).collect();
        let home = databases.orders.map().all().next().unwrap();
        for row in databases.orders.scan(home, &lanes, 0, None, u32::try_from(CANCELLED).unwrap()).await.unwrap() {
            desk::cancel(&databases.orders, &databases.ledger, row.order).await.unwrap();
        }
        let cancelled = rest().await;
        let watch = |_: &desk::Expiry| ControlFlow::Continue(());
        desk::expire(&databases.orders, &databases.ledger, Some(Duration::ZERO), watch).await.unwrap();
        (cancelled, rest().await)
    });
    assert_eq!(cancelled.offers.values().sum::<u64>(), SELLOUT.units - CANCELLED);
    let all =
        |shown: &BTreeMap<String, Totals>| shown.values().map(|totals| totals.figure("released_units")).sum::<u64>();
    let shown = merchants.agree(&expired, |shown| all(shown) == SELLOUT.units).unwrap();
    let sold_out = shown.values().max_by_key(|totals| totals.figure("accepted_units")).unwrap();
    assert_eq!(sold_out.figure("accepted_units"), SELLOUT.units, "{shown:#?}");
    // The engine that was killed had not reported its last second.
    assert!(sold_out.figure("reserved_units") > 0 && sold_out.refused() > 0, "{shown:#?}");
}
