//! Folders that the first program made (`verify/tests/data`, made by its own binary): one that sold
//! two units and was stopped, and three that two publications at the same moment had made
//! undecidable for ever. This program opens them, sells, decides everything.

use std::{fs, process::Command, time::Duration};

use loadtest::audit::compare;
use verify::{
    child::{Child, wait_until},
    folder::Folder,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of every folder's first sale: ten units, two a buyer.
const LIVE: &str = "111";

/// A folder with the content of this archive, without the keys that its first server made.
fn unpacked(name: &str) -> Folder {
    let folder = Folder::new().unwrap();
    fs::create_dir(folder.data()).unwrap();
    let archive = format!("{}/tests/data/before-{name}.tar.gz", env!("CARGO_MANIFEST_DIR"));
    let status = Command::new("tar").args(["-xzpf", &archive, "-C"]).arg(folder.data()).status().unwrap();
    assert!(status.success(), "{archive}");
    folder
}

fn token(folder: &Folder, buyer: u64, tenant: u64) -> String {
    let mut command = folder.command("token");
    let output = command.args([buyer.to_string(), "--tenant".into(), tenant.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Status and code of a purchase of one unit.
fn buy(folder: &Folder, (buyer, tenant): (u64, u64), offer: &str) -> (u16, String) {
    let body = format!("{{\"offer_id\":\"{offer}\",\"quantity\":1}}");
    let request = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\nIdempotency-Key: after\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token(folder, buyer, tenant),
        body.len()
    );
    folder.ask(&request).unwrap()
}

fn sells(folder: &Folder, buyer: (u64, u64), offer: &str) {
    wait_until(&format!("{offer} sells"), PATIENCE, || Ok(buy(folder, buyer, offer).0 == 202)).unwrap();
}

/// Everything is decided, INV-1 to INV-5 hold, and so says the program's own audit.
fn audits_clean(folder: &Folder, rows: usize) {
    let evidence = folder.evidence().unwrap();
    assert_eq!(evidence.rows.len(), rows);
    assert!(compare(&evidence).is_clean(), "{:?}", compare(&evidence));
    let output = folder.command("audit").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

fn served(folder: &Folder) -> Child {
    let mut server = folder.serve_with(&["--no-demo"]).unwrap();
    folder.wait_ready(&mut server).unwrap();
    server
}

#[test]
fn a_sound_folder_is_upgraded_and_goes_on() {
    let folder = unpacked("sound");
    let server = served(&folder);
    sells(&folder, (50, 7), LIVE);
    audits_clean(&folder, 4);
    assert!(folder.metric("flashsale_sales_parked").unwrap() < 0.5, "{}", server.tail());
}

/// A folder that is poisoned: its sound sale sells, what the first owner has sells, what the other
/// wanted is parked, once.
fn recovers(name: &str, rows: usize, sells_too: &[((u64, u64), &str)], gone: &[&str]) {
    let folder = unpacked(name);
    for start in 1..=2 {
        let mut server = served(&folder);
        for (buyer, offer) in [((50, 7), LIVE)].iter().chain(sells_too) {
            sells(&folder, *buyer, offer);
        }
        for offer in gone {
            wait_until(&format!("{offer} is left out"), PATIENCE, || Ok(buy(&folder, (60, 8), offer).0 == 404))
                .unwrap();
        }
        audits_clean(&folder, rows + 1 + sells_too.len());
        let parked = folder.metric("flashsale_sales_parked").unwrap();
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
    let folder = unpacked("sound");
    drop(served(&folder));
    let ledger = rusqlite::Connection::open(folder.data().join("shop_ledger.db")).unwrap();
    ledger.execute("INSERT INTO migrations VALUES ('999-later', 1)", ()).unwrap();
    drop(ledger);
    let mut server = folder.serve().unwrap();
    assert!(!server.wait(PATIENCE).unwrap().success());
    let text = server.tail();
    assert!(
        text.contains("made by a newer program: it has migration 999-later") && text.contains("use that program"),
        "{text}"
    );
}
