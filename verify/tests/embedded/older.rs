//! Folders that the first program made (`verify/tests/data`, made by its own binary): one that sold
//! two units and was stopped, and three that two publications at the same moment had made
//! undecidable for ever. This program opens them, sells, decides everything.

use std::{fs, process::Command, time::Duration};

use loadtest::audit::compare;
use verify::{
    child::{Child, wait_until},
    embedded::Embedded,
    wire::purchase,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of every folder's first sale: ten units, two a buyer.
const LIVE: &str = "111";

/// A folder with the content of this archive, without the keys that its first server made.
fn unpacked(name: &str) -> Embedded {
    let embedded = Embedded::new().unwrap();
    fs::create_dir(embedded.data()).unwrap();
    let archive = format!("{}/tests/data/before-{name}.tar.gz", env!("CARGO_MANIFEST_DIR"));
    let status = Command::new("tar").args(["-xzpf", &archive, "-C"]).arg(embedded.data()).status().unwrap();
    assert!(status.success(), "{archive}");
    embedded
}

fn token(embedded: &Embedded, buyer: u64, tenant: u64) -> String {
    embedded.run("token", &[&buyer.to_string(), "--tenant", &tenant.to_string()]).unwrap().trim().to_owned()
}

/// Status and code of a purchase of one unit.
fn buy(embedded: &Embedded, (buyer, tenant): (u64, u64), offer: &str) -> (u16, String) {
    let body = format!("{{\"offer_id\":\"{offer}\",\"quantity\":1}}");
    embedded.ask(&purchase(&token(embedded, buyer, tenant), "after", &body)).unwrap()
}

fn sells(embedded: &Embedded, buyer: (u64, u64), offer: &str) {
    wait_until(&format!("{offer} sells"), PATIENCE, || Ok(buy(embedded, buyer, offer).0 == 202)).unwrap();
}

/// Everything is decided, INV-1 to INV-5 hold, and so says the program's own audit.
fn audits_clean(embedded: &Embedded, rows: usize) {
    let evidence = embedded.evidence().unwrap();
    assert_eq!(evidence.rows.len(), rows);
    assert!(compare(&evidence).is_clean(), "{:?}", compare(&evidence));
    let output = embedded.command("audit").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

fn served(embedded: &Embedded) -> Child {
    let mut server = embedded.serve_with(&["--no-demo"]).unwrap();
    embedded.wait_ready(&mut server).unwrap();
    server
}

#[test]
fn a_sound_folder_is_upgraded_and_goes_on() {
    let embedded = unpacked("sound");
    let server = served(&embedded);
    sells(&embedded, (50, 7), LIVE);
    audits_clean(&embedded, 4);
    assert!(embedded.metric("flashsale_sales_parked").unwrap() < 0.5, "{}", server.tail());
}

/// A folder that is poisoned: its sound sale sells, what the first owner has sells, what the other
/// wanted is parked, once.
fn recovers(name: &str, rows: usize, sells_too: &[((u64, u64), &str)], gone: &[&str]) {
    let embedded = unpacked(name);
    for start in 1..=2 {
        let mut server = served(&embedded);
        for (buyer, offer) in [((50, 7), LIVE)].iter().chain(sells_too) {
            sells(&embedded, *buyer, offer);
        }
        for offer in gone {
            wait_until(&format!("{offer} is left out"), PATIENCE, || Ok(buy(&embedded, (60, 8), offer).0 == 404))
                .unwrap();
        }
        audits_clean(&embedded, rows + 1 + sells_too.len());
        let parked = embedded.metric("flashsale_sales_parked").unwrap();
        assert!((parked - 1.0).abs() < 0.5, "{parked} parked at start {start}:\n{}", server.tail());
        server.terminate().unwrap();
        assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
    }
}

#[test]
fn a_folder_poisoned_by_one_offer_in_two_sales_recovers() {
    recovers("same-offer", 3, &[((51, 7), "300")], &[]);
}

#[test]
fn a_folder_poisoned_by_two_versions_of_one_sale_recovers() {
    recovers("two-versions", 3, &[((51, 7), "300")], &[]);
}

#[test]
fn a_folder_poisoned_by_one_lane_of_two_tenants_recovers() {
    recovers("same-lane", 4, &[((51, 7), "301")], &["302"]);
}

/// The other way round: what this program has used an older one refuses, also one that is newer
/// than this.
#[test]
fn a_folder_of_a_newer_program_is_refused() {
    let embedded = unpacked("sound");
    drop(served(&embedded));
    let ledger = rusqlite::Connection::open(embedded.data().join("shop_ledger.db")).unwrap();
    ledger.execute("INSERT INTO migrations VALUES ('999-later', 1)", ()).unwrap();
    drop(ledger);
    let mut server = embedded.serve().unwrap();
    assert!(!server.wait(PATIENCE).unwrap().success());
    let text = server.tail();
    assert!(
        text.contains("made by a newer program: it has migration 999-later") && text.contains("use that program"),
        "{text}"
    );
}
