//! The funnel of one folder, over HTTP, against the ledger's files: a sellout in peace, of which
//! every attempt is counted; then one with kills, cancellations and an expiry, of which what the
//! ledger decided agrees to the unit.

use std::{collections::BTreeMap, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use tokio::runtime::Runtime;
use verify::{
    child::{Child, wait_until},
    embedded::Embedded,
    funnel::{Sold, Totals},
    load_test::LoadTest,
};

use super::{
    crash::kill_while_it_sells,
    events::{look, orders},
};

const IN_PEACE: LoadTest = LoadTest { scenario: "sellout", units: 300, buyers: 900, rate: 600 };
// Slow, so that all kills fall into the sale on a slow machine too.
const WITH_KILLS: LoadTest = LoadTest { scenario: "sellout", units: 1_800, buyers: 3_600, rate: 300 };
const KILLS: u64 = 3;
const ACCEPTED_MAX: u64 = 150;
const CANCELLED: usize = 7;
const SEED: u64 = 14;

/// Waits until every release is decided, and funnel and ledger agree, with so many units released.
fn agree(embedded: &Embedded, runtime: &Runtime, released: u64) {
    wait_until("every release is decided", Duration::from_secs(120), || {
        Ok(runtime.block_on(async { orders(&look(embedded).await).await.1 == 0 }))
    })
    .unwrap();
    embedded.evidence().unwrap();
    let sold = runtime.block_on(async { Sold::of(&look(embedded).await).await }).unwrap();
    let all = |shown: &BTreeMap<String, Totals>| -> u64 {
        shown.values().map(|totals| totals.figure("released_units")).sum()
    };
    embedded.merchants().unwrap().agree(&sold, |shown| all(shown) == released).unwrap();
}

/// Every attempt of a sellout is counted once at each step, and what was promised is what the
/// ledger accepted.
fn every_attempt_is_counted(embedded: &Embedded, runtime: &Runtime, server: &mut Child) {
    let load = embedded.load_test(IN_PEACE).unwrap();
    embedded.report_of(load).unwrap();
    // It reports what it counted last before it ends. The next one takes the load test's shop in,
    // whose number is known by its sale alone.
    server.terminate().unwrap();
    server.wait(Duration::from_secs(60)).unwrap();
    *server = embedded.serve().unwrap();
    embedded.wait_ready(server).unwrap();
    embedded.evidence().unwrap();
    let sold = runtime.block_on(async { Sold::of(&look(embedded).await).await }).unwrap();
    let (offer, units) = sold.offers.iter().find(|(_, sold)| **sold > 0).unwrap();
    assert_eq!(*units, IN_PEACE.units);
    let is_reported =
        |totals: &Totals| totals.ended() >= IN_PEACE.buyers.into() && totals.ended() == totals.figure("arrived");
    let shown = embedded.merchants().unwrap().agree(&sold, |shown| shown.get(offer).is_some_and(is_reported)).unwrap();
    let figures =
        ["reserved_units", "accepted_units", "released_units", "paid_units"].map(|name| shown[offer].figure(name));
    assert_eq!(figures, [*units, *units, 0, 0], "{shown:#?}");
    assert!(shown[offer].refused() > 0 && shown[offer].figure("admitted") >= *units, "{shown:#?}");
}

#[test]
fn at_rest_the_funnel_and_the_ledger_agree_to_the_unit_whatever_died() {
    let mut random = StdRng::seed_from_u64(SEED);
    let runtime = Runtime::new().unwrap();
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    every_attempt_is_counted(&embedded, &runtime, &mut server);

    let load = embedded.load_test(WITH_KILLS).unwrap();
    kill_while_it_sells(&embedded, &mut server, &mut random, (KILLS, ACCEPTED_MAX));
    embedded.report_of(load).unwrap();
    let (live, _) = runtime.block_on(async { orders(&look(&embedded).await).await });
    for order in &live[..CANCELLED] {
        embedded.run("cancel", &[&order.to_string()]).unwrap();
    }
    agree(&embedded, &runtime, CANCELLED as u64);

    embedded.run("expire", &["--older-than", "0"]).unwrap();
    // In the middle of their releases.
    server.kill().unwrap();
    server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    agree(&embedded, &runtime, IN_PEACE.units + WITH_KILLS.units);
}
