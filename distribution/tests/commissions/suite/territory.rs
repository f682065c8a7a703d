//! Goal: who serves the buyer's district, city and province is paid by it.

use kit::clock::Clock as _;
use serde_json::json;

use super::rig::{Rig, bought};

const PLAN: &str = r#"plan "two" v2 profile CN-2 budget 6% {
  ranks district < city < province
  base net_paid where not tag(flash_sale)
  rule region: on matured walk(territory, slots 3, difference, rate {district: 3%, city: 5%, province: 6%})
  settle cash after receipt+22d, channel transfer, clawback full
}"#;

/// The shop says who serves whom; model 23 of the catalogue, of 99.99.
#[tokio::test]
async fn agents_of_a_territory_are_paid_what_exceeds_those_below() {
    let rig = Rig::start().await;
    rig.publish(PLAN).await.expect(201);
    for (person, rank) in [(12, "district"), (11, "city"), (10, "province")] {
        let body = json!({"rank": rank, "reason": "a test"});
        rig.merchant("PATCH", &format!("people/{person}"), Some(body)).await.expect(200);
    }
    let serves = async |person: u64, parent: u64| {
        let body = json!({"parent": parent.to_string(), "reason": "moved"});
        rig.merchant("PUT", &format!("people/{person}/relations/territory"), Some(body)).await
    };
    for (person, parent) in [(20, 12), (12, 11), (11, 10)] {
        serves(person, parent).await.expect(200);
    }
    serves(10, 12).await.refused(409, "conflict");
    rig.pass(5_000);
    let earlier = bought(20, rig.clock.now_ms(), 0);
    rig.pass(1_000);
    // The buyer moves: orders from here on are another agent's, who serves a whole city.
    serves(20, 11).await.expect(200);
    rig.pass(1_000);
    rig.feed(&earlier).await;
    let all = [rig.pending(12).await, rig.pending(11).await, rig.pending(10).await];
    // 3, 5 and 6 % of 99.99, rounded down, less those below.
    assert_eq!(all, [299, 499 - 299, 599 - 499]);
    rig.feed(&bought(20, rig.clock.now_ms(), 1)).await;
    let all = [rig.pending(12).await, rig.pending(11).await, rig.pending(10).await];
    assert_eq!(all, [299, 200 + 499, 100 + 100]);
    rig.sums_to_zero().await;
}
