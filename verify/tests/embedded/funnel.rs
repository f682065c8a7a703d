//! The funnel of one folder, over HTTP, against the ledger's files: a sellout in peace, of which
//! every attempt is counted; then one with kills, cancellations and an expiry, of which what the
//! ledger decided agrees to the unit.

use std::{collections::BTreeMap, time::Duration};

use embedded::folder::control_key;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use store::{shards::Store, sql::sqlite::Sqlite};
use tokio::runtime::Runtime;
use verify::{
    child::{Child, wait_until},
    folder::Folder,
    funnel::{Merchants, Sold, Totals},
    shop::Rush,
};

use super::events::{look, orders};

const IN_PEACE: Rush = Rush { scenario: "sellout", units: 300, buyers: 900, rate: 600 };
const WITH_KILLS: Rush = Rush { scenario: "sellout", units: 900, buyers: 2_400, rate: 1_200 };
const KILLS: u64 = 3;
const ACCEPTED_MAX: u64 = 150;
const CANCELLED: usize = 7;
const SEED: u64 = 14;

fn merchants(folder: &Folder) -> Merchants {
    Merchants { address: folder.address(), key: control_key(&folder.data()).unwrap() }
}

async fn sold(store: &Store<Sqlite>) -> Sold {
    let lanes = store.ledger.all_lanes().await.unwrap();
    let offers = lanes.iter().flat_map(|lane| &lane.offers);
    let offers = offers.map(|offer| (offer.offer.to_string(), offer.sold)).collect();
    Sold { offers, sales: lanes.iter().map(|lane| (lane.sale.get(), lane.tenant.number())).collect() }
}

/// Waits until every release is decided, and funnel and ledger agree, with so many units released.
fn agree(folder: &Folder, runtime: &Runtime, released: u64) {
    wait_until("every release is decided", Duration::from_secs(120), || {
        Ok(runtime.block_on(async { orders(&look(folder).await).await.1 == 0 }))
    })
    .unwrap();
    folder.evidence().unwrap();
    let sold = runtime.block_on(async { sold(&look(folder).await).await });
    let all = |shown: &BTreeMap<String, Totals>| -> u64 {
        shown.values().map(|totals| totals.figure("released_units")).sum()
    };
    merchants(folder).agree(&sold, |shown| all(shown) == released).unwrap();
}

/// Every attempt of a sellout is counted once at each step, and what was promised is what the
/// ledger accepted.
fn every_attempt_is_counted(folder: &Folder, runtime: &Runtime, server: &mut Child) {
    let rush = folder.rush(IN_PEACE).unwrap();
    folder.report_of(rush).unwrap();
    // It tells what it counted last before it ends. The next one takes the load test's shop in,
    // whose number is known by its sale alone.
    server.terminate().unwrap();
    server.wait(Duration::from_secs(60)).unwrap();
    *server = folder.serve().unwrap();
    folder.wait_ready(server).unwrap();
    folder.evidence().unwrap();
    let sold = runtime.block_on(async { sold(&look(folder).await).await });
    let (offer, units) = sold.offers.iter().find(|(_, sold)| **sold > 0).unwrap();
    assert_eq!(*units, IN_PEACE.units);
    let is_told =
        |totals: &Totals| totals.ended() >= IN_PEACE.buyers.into() && totals.ended() == totals.figure("arrived");
    let shown = merchants(folder).agree(&sold, |shown| shown.get(offer).is_some_and(is_told)).unwrap();
    let figures =
        ["reserved_units", "accepted_units", "released_units", "paid_units"].map(|name| shown[offer].figure(name));
    assert_eq!(figures, [*units, *units, 0, 0], "{shown:#?}");
    assert!(shown[offer].refused() > 0 && shown[offer].figure("admitted") >= *units, "{shown:#?}");
}

#[test]
fn at_rest_the_funnel_and_the_ledger_agree_to_the_unit_whatever_died() {
    let mut random = StdRng::seed_from_u64(SEED);
    let runtime = Runtime::new().unwrap();
    let folder = Folder::new().unwrap();
    let mut server = folder.serve().unwrap();
    folder.wait_ready(&mut server).unwrap();
    every_attempt_is_counted(&folder, &runtime, &mut server);

    let rush = folder.rush(WITH_KILLS).unwrap();
    for _ in 0..KILLS {
        folder.wait_accepted(random.random_range(1..=ACCEPTED_MAX), Duration::from_secs(60)).unwrap();
        server.kill().unwrap();
        server = folder.serve().unwrap();
    }
    folder.report_of(rush).unwrap();
    let (live, _) = runtime.block_on(async { orders(&look(&folder).await).await });
    for order in &live[..CANCELLED] {
        let output = folder.command("cancel").arg(order.to_string()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    agree(&folder, &runtime, CANCELLED as u64);

    let output = folder.command("expire").args(["--older-than", "0"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // In the middle of their releases.
    server.kill().unwrap();
    server = folder.serve().unwrap();
    folder.wait_ready(&mut server).unwrap();
    agree(&folder, &runtime, IN_PEACE.units + WITH_KILLS.units);
}
