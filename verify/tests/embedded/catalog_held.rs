//! Merchants' writes and buyers' purchases stand in one process, and in databases of their own: a
//! catalog whose database is held by somebody else stops no purchase.

use std::{fs, time::Duration};

use verify::{embedded::Embedded, load_test::LoadTest};

const PATIENCE: Duration = Duration::from_secs(60);
const SELLOUT: LoadTest = LoadTest { scenario: "sellout", units: 2_000, buyers: 4_000, rate: 1_000 };
/// So many accepted orders are the middle of [`SELLOUT`].
const MIDDLE: u64 = 500;

#[test]
fn a_sale_sells_on_while_the_catalogs_database_is_held() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve_with(&["--no-demo"]).unwrap();
    embedded.wait_ready(&mut server).unwrap();
    let files = fs::read_dir(embedded.data()).unwrap().map(|file| file.unwrap().path());
    let is_catalogs = |name: &str| name.contains("catalog") && name.ends_with(".db");
    let file = files.into_iter().find(|file| is_catalogs(&file.to_string_lossy())).unwrap();
    let load = embedded.load_test(SELLOUT).unwrap();
    embedded.wait_accepted(MIDDLE).unwrap();
    let catalog = rusqlite::Connection::open(file).unwrap();
    catalog.busy_timeout(PATIENCE).unwrap();
    catalog.execute_batch("BEGIN IMMEDIATE").unwrap();
    let report = embedded.report_of(load).unwrap();
    for name in ["oversold", "lost", "doubled", "leaked", "unknown", "rejected_after_accepted"] {
        assert_eq!(report[name], 0, "{name}: {report}");
    }
    assert_eq!(report["orders_durable"], SELLOUT.units, "exactly the units are sold: {report}");
    catalog.execute_batch("ROLLBACK").unwrap();
}
