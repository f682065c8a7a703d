//! Merchants' writes and buyers' purchases stand in one process, and in databases of their own: a
//! catalog whose database is held by somebody else stops no purchase.

use std::{fs, time::Duration};

use verify::{folder::Folder, shop::Rush};

const PATIENCE: Duration = Duration::from_secs(60);
const SELLOUT: Rush = Rush { scenario: "sellout", units: 2_000, buyers: 4_000, rate: 1_000 };
/// So many accepted orders are the middle of [`SELLOUT`].
const MIDDLE: u64 = 500;

#[test]
fn a_sale_sells_on_while_the_catalogs_database_is_held() {
    let folder = Folder::new().unwrap();
    let mut server = folder.serve_with(&["--no-demo"]).unwrap();
    folder.wait_ready(&mut server).unwrap();
    let files = fs::read_dir(folder.data()).unwrap().map(|file| file.unwrap().path());
    let is_catalogs = |name: &str| name.contains("catalog") && name.ends_with(".db");
    let file = files.into_iter().find(|file| is_catalogs(&file.to_string_lossy())).unwrap();
    let rush = folder.rush(SELLOUT).unwrap();
    folder.wait_accepted(MIDDLE, PATIENCE).unwrap();
    let catalog = rusqlite::Connection::open(file).unwrap();
    catalog.busy_timeout(PATIENCE).unwrap();
    catalog.execute_batch("BEGIN IMMEDIATE").unwrap();
    let report = folder.report_of(rush).unwrap();
    for name in ["oversold", "lost", "doubled", "leaked", "unknown", "rejected_after_accepted"] {
        assert_eq!(report[name], 0, "{name}: {report}");
    }
    assert_eq!(report["orders_durable"], SELLOUT.units, "exactly the units are sold: {report}");
    catalog.execute_batch("ROLLBACK").unwrap();
}
