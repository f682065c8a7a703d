//! Goal: the domains of tenants' shops are in the ledger's database as the tenants have them,
//! whatever failed in between. Method: rounds of housekeeping by hand, by one process and by two.

use std::collections::BTreeMap;

use catalog::house;
use serde_json::json;

use super::rig::{OPERATOR, Rig};

#[tokio::test]
async fn the_domains_of_shops_are_copied_as_they_are() {
    let rig = Rig::start().await;
    let (one, two) = (rig.tenant("kettles").await, rig.tenant("pots").await);
    let (of_one, of_two) = (rig.key_of(&one, &["write_settings"]).await, rig.key_of(&two, &["write_settings"]).await);
    let put = async |key: &str, domain: &str| {
        rig.put("/v1/branding").token(key).json(&json!({ "domain": domain })).send().await.expect(200);
    };
    let copy = rig.place().ledger().await.shop_domains();
    let shown = async || {
        let all = copy.all().await.unwrap();
        all.into_iter().map(|(domain, tenant)| (domain, tenant.to_string())).collect::<BTreeMap<_, _>>()
    };
    let of = |domains: &[(&str, &str)]| {
        domains.iter().map(|(domain, tenant)| ((*domain).to_owned(), (*tenant).to_owned())).collect::<BTreeMap<_, _>>()
    };
    put(&of_one, "shop.example").await;
    house::put_in_order(&rig.catalog).await;
    assert_eq!(shown().await, of(&[("shop.example", &one)]));
    // It goes to another tenant, and its first one takes another.
    put(&of_one, "kettles.example").await;
    put(&of_two, "shop.example").await;
    house::put_in_order(&rig.catalog).await;
    let both = of(&[("kettles.example", &one), ("shop.example", &two)]);
    assert_eq!(shown().await, both);
    // What was lost comes back, also when two processes look at the same moment.
    copy.put(&BTreeMap::new()).await.unwrap();
    let other = rig.another().await;
    tokio::join!(house::put_in_order(&rig.catalog), house::put_in_order(&other.catalog));
    house::put_in_order(&rig.catalog).await;
    assert_eq!(shown().await, both);
    rig.put("/v1/branding").token(&of_one).json(&json!({})).send().await.expect(200);
    house::put_in_order(&other.catalog).await;
    assert_eq!(shown().await, of(&[("shop.example", &two)]));
}

/// The rates of plans: of every tenant of the plan, changed with the plan, and gone with it.
#[tokio::test]
async fn what_plans_let_tenants_sell_is_copied_for_the_engines() {
    let rig = Rig::start().await;
    let plan = async |quotas: serde_json::Value| {
        let put = rig.put("/v1/plans/slow").token(OPERATOR).json(&json!({ "quotas": quotas })).send().await;
        assert!(put.status == 200 || put.status == 201, "{}", put.json());
        house::put_in_order(&rig.catalog).await;
    };
    plan(json!({ "tenant_rate_per_s": 7 })).await;
    let (one, other) = (rig.tenant_on("kettles", "slow").await, rig.tenant_on("pots", "slow").await);
    rig.tenant("cups").await;
    house::put_in_order(&rig.catalog).await;
    let copy = rig.place().ledger().await.tenant_rates();
    let shown = async || {
        let all = copy.all().await.unwrap();
        all.into_iter().map(|(tenant, rate)| (tenant.to_string(), rate)).collect::<BTreeMap<_, _>>()
    };
    let of = |rates: &[(&str, u32)]| {
        rates.iter().map(|(tenant, rate)| ((*tenant).to_owned(), *rate)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(shown().await, of(&[(&one, 7), (&other, 7)]));
    plan(json!({ "tenant_rate_per_s": 9 })).await;
    assert_eq!(shown().await, of(&[(&one, 9), (&other, 9)]));
    let moved = rig.patch(&format!("/v1/tenants/{other}")).token(OPERATOR).json(&json!({ "plan": "unlimited" }));
    moved.send().await.expect(200);
    house::put_in_order(&rig.catalog).await;
    assert_eq!(shown().await, of(&[(&one, 9)]));
    plan(json!({})).await;
    assert_eq!(shown().await, of(&[]));
}
