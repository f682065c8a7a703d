//! R16: the order-writer dies within a change of the limit per buyer. Whoever takes over brings it
//! to its end: ledger and lane have the same limit, and no promise is broken.

use domain::id::LaneId;
use kit::{
    clock::{Clock as _, SystemClock},
    settings::StoreArgs,
};
use loadtest::{backends::production::ProductionBackends, sale::LoadSale, tally::Book};
use serde_json::json;
use store::stock::{
    LaneKeeping,
    redis::{RedisKeeping, RedisSettings},
};
use verify::{
    buyers::{buy_patiently as buy, token},
    deployment::DeploymentArgs,
    life::settled_evidence,
};

use super::*;

/// The limit that the ledger decides by, and the one that the lane promises by.
async fn limits(stores: &StoreArgs, lane: LaneId) -> (u32, u32) {
    let server = MySqlServer::new(stores.mysql_url.expose(), Settings::default()).unwrap();
    let databases = shards::look(&server, &Namespace::new(stores.namespace.as_str()).unwrap()).await.unwrap();
    let redis = RedisSettings::new(stores.redis_url.expose(), stores.namespace.as_str());
    let keeping = RedisKeeping::connect(&redis).await.unwrap();
    let promised = keeping.inspect(lane).await.unwrap().limit_per_buyer;
    let decided = databases.ledger.lane(lane).await.unwrap().map_or(0, |row| row.limit_per_buyer);
    (decided, promised)
}

/// A sale of one lane with this limit, as a file.
fn file(sale: &LoadSale, version: u32, limit: u32) -> String {
    let window = [sale.opens_at_ms, sale.opens_at_ms + 86_400_000];
    sale.version(version, window).unwrap().replace("limit_per_buyer = 1", &format!("limit_per_buyer = {limit}"))
}

fn the_writer_dies_in_a_change(step: &str, from: u32, to: u32) {
    let mut production = open(&step.replace('-', "_"), &["--die-at", step]);
    let DeploymentArgs { stores, tokens } = production.services.deployment().unwrap();
    let signer = tokens.signer().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let now_ms = SystemClock::new().now_ms();
    let sale = LoadSale::fresh(1_000, 1, Some(stores.partitions.into()), now_ms, &mut rand::rng()).unwrap();
    let (lane, offer) = (sale.offers[0].lane, sale.offers[0].offer.to_string());
    let purchase = json!({ "offer_id": offer, "quantity": 1 });
    let engine = production.services.engine_address();
    let tokens: Vec<String> =
        (0..4).map(|buyer| token(&signer, sale.tenant.number(), sale.buyer(buyer).unwrap().get()).unwrap()).collect();
    let holds = |buyer: usize| {
        (0..5_u32).take_while(|key| buy(engine, &tokens[buyer], &format!("k{key}"), &purchase) == "accepted").count()
    };
    let patience = Duration::from_secs(60);

    production.services.publish(&file(&sale, 1, from)).unwrap();
    wait_until("the sale sells", patience, || Ok(buy(engine, &tokens[0], "k0", &purchase) == "accepted")).unwrap();
    assert_eq!(holds(0), from as usize);
    production.services.publish(&file(&sale, 2, to)).unwrap();
    wait_until("the writer dies where its failpoint is", patience, || Ok(production.writer.ended()?.is_some()))
        .unwrap();
    assert!(production.writer.said("failpoint reached"), "it ended for another reason:\n{}", production.writer.tail());
    // What the lane promises now is decided by who comes next.
    let amid = holds(1);
    assert!(amid >= from.min(to) as usize && amid <= from.max(to) as usize, "{amid}");

    production.writer = production.services.order_writer(&[]).unwrap();
    wait_until("the change is in force", patience, || Ok(runtime.block_on(limits(&stores, lane)) == (to, to))).unwrap();
    assert_eq!(holds(2), to as usize);
    let kept = [0, 1].map(holds);
    let evidence = runtime
        .block_on(async {
            let backends = ProductionBackends::open(&stores, sale.lanes()).await?;
            settled_evidence(backends, &sale, &Book::new(0)).await
        })
        .unwrap();
    let findings = loadtest::audit::compare(&evidence);
    assert!(findings.is_clean() && findings.over_limit.count == 0, "{findings:?}");
    assert!(evidence.rows.iter().all(|row| !row.rejected), "no promise is broken: {evidence:?}");
    assert_eq!(evidence.offers[0].sold, kept.iter().sum::<usize>() as u64 + u64::from(to));
}

#[test]
fn r16_the_writer_dies_with_a_lane_held_to_a_lower_limit() {
    the_writer_dies_in_a_change("limit-fenced", 3, 1);
}

#[test]
fn r16_the_writer_dies_with_a_change_of_the_limit_appended() {
    the_writer_dies_in_a_change("limit-appended", 3, 1);
}

#[test]
fn r16_the_writer_dies_between_ledger_and_lane_of_a_limit() {
    the_writer_dies_in_a_change("limit-committed", 1, 3);
}
