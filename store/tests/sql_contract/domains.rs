//! Goal: the copy of shops' domains becomes what catalog wants, whoever writes at the same time.
//! Method: sets of domains put one after the other, and two at once.

use std::collections::BTreeMap;

use domain::id::TenantId;

use super::support::{Adapter, deployment};

fn wanted(domains: &[(&str, u64)]) -> BTreeMap<String, TenantId> {
    domains.iter().map(|(domain, tenant)| ((*domain).to_owned(), TenantId::new(*tenant).unwrap())).collect()
}

/// Added, moved to another tenant, taken away; the same again changes nothing. Of two who write at
/// once one may have to come again, and none of them leaves a mixture for good.
pub(crate) async fn domains_become_what_is_wanted_and_nothing_else<A: Adapter>(adapter: A) {
    let d = deployment(&adapter, 1, 1).await;
    let domains = d.ledger.shop_domains();
    assert_eq!(domains.all().await.unwrap(), wanted(&[]));
    for (sets, changed) in [
        (&[("a.example", 7), ("b.example", 8)][..], 2),
        (&[("a.example", 7), ("b.example", 8)], 0),
        (&[("b.example", 7), ("c.example", 9)], 3),
    ] {
        assert_eq!(domains.put(&wanted(sets)).await.unwrap(), changed);
        assert_eq!(domains.all().await.unwrap(), wanted(sets));
    }
    let (one, two) = (wanted(&[("d.example", 1), ("e.example", 1)]), wanted(&[("d.example", 2), ("e.example", 2)]));
    let (first, second) = tokio::join!(domains.put(&one), domains.put(&two));
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    domains.put(&two).await.unwrap();
    assert_eq!(domains.all().await.unwrap(), two);
}
