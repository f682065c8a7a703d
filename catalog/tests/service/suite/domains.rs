//! Goal: the domains of tenants' shops are in the ledger's database as the tenants have them,
//! whatever failed in between. Method: rounds of the copy, made by hand, and by two processes.

use std::{collections::BTreeMap, sync::Arc};

use catalog::domains;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::rig::Rig;

#[tokio::test]
async fn the_domains_of_shops_are_copied_as_they_are() {
    let rig = Rig::start().await;
    let (one, two) = (rig.tenant("kettles").await, rig.tenant("pots").await);
    let (of_one, of_two) = (rig.key_of(&one, &["write_settings"]).await, rig.key_of(&two, &["write_settings"]).await);
    let put = async |key: &str, domain: &str| {
        rig.put("/v1/branding").token(key).json(&json!({ "domain": domain })).send().await.expect(200);
    };
    let ledger = rig.place().ledger().await;
    let copy = ledger.shop_domains();
    let shown = async || {
        let all = copy.all().await.unwrap();
        all.into_iter().map(|(domain, tenant)| (domain, tenant.to_string())).collect::<BTreeMap<_, _>>()
    };
    let of = |domains: &[(&str, &str)]| {
        domains.iter().map(|(domain, tenant)| ((*domain).to_owned(), (*tenant).to_owned())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(domains::copy_once(&rig.catalog, &copy).await.unwrap(), 0, "shops without a domain");
    put(&of_one, "shop.example").await;
    assert_eq!(domains::copy_once(&rig.catalog, &copy).await.unwrap(), 1);
    assert_eq!(domains::copy_once(&rig.catalog, &copy).await.unwrap(), 0, "the same again changes nothing");
    assert_eq!(shown().await, of(&[("shop.example", &one)]));
    // It goes to another tenant, and its first one takes another.
    put(&of_one, "kettles.example").await;
    put(&of_two, "shop.example").await;
    assert_eq!(domains::copy_once(&rig.catalog, &copy).await.unwrap(), 2);
    assert_eq!(shown().await, of(&[("kettles.example", &one), ("shop.example", &two)]));
    // What somebody put there by hand goes, what was lost comes back.
    copy.put(&BTreeMap::new()).await.unwrap();
    domains::copy_once(&rig.catalog, &copy).await.unwrap();
    assert_eq!(shown().await, of(&[("kettles.example", &one), ("shop.example", &two)]));
    rig.put("/v1/branding").token(&of_one).json(&json!({})).send().await.expect(200);
    // Two processes keep it at once, each from its first round on.
    copy.put(&BTreeMap::new()).await.unwrap();
    let (other, stop) = (rig.another().await, CancellationToken::new());
    let keeping =
        [&rig, &other].map(|rig| tokio::spawn(domains::keep(Arc::clone(&rig.catalog), copy.clone(), stop.clone())));
    while shown().await != of(&[("shop.example", &two)]) {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    for kept in keeping {
        kept.await.unwrap();
    }
    assert_eq!(shown().await, of(&[("shop.example", &two)]));
}
