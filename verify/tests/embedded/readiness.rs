//! Whether a sale is ready, on one process: a shop that nobody can pay, a process that was killed,
//! and a folder at rest. And the commands that ask, as JSON.

use std::{fs, io::Write as _, process::Stdio, time::Duration};

use embedded::folder::control_key;
use kit::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use verify::{
    child::wait_until,
    embedded::Embedded,
    merchants::{Merchants, Seller},
};

const PATIENCE: Duration = Duration::from_secs(90);
const DEMO_SALE: &str = "1001";

/// What is red of a report.
fn red(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let red = findings.filter(|finding| finding["light"] == "red");
    red.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// What a command prints as JSON, given this on standard input.
fn printed(embedded: &Embedded, tenant: &str, words: &[&str], input: &str) -> Value {
    let mut command = embedded.command("sale");
    command.args(words).args(["--tenant", tenant, "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The terms of a sale that opens in a far year.
fn terms(title: &str) -> String {
    let offer = json!({ "sku": Seller::SKU, "warehouse": "MAIN", "allotment": 100 });
    let lanes = json!([{ "code": "main", "limit_per_buyer": 1, "offers": [offer] }]);
    json!({ "code": "day-1", "title": title, "opens_at": "2048-01-01T00:00:00Z",
        "closes_at": "2049-01-01T00:00:00Z", "lanes": lanes })
    .to_string()
}

/// The process that was killed holds its number for almost a minute from now on, however long the
/// next one took to start.
fn prolong_first_lease(embedded: &Embedded) {
    let files = fs::read_dir(embedded.data()).unwrap().map(|file| file.unwrap().path());
    let is_ledgers = |name: &str| name.contains("ledger") && name.ends_with(".db");
    let file = files.into_iter().find(|file| is_ledgers(&file.to_string_lossy())).unwrap();
    let ledger = rusqlite::Connection::open(file).unwrap();
    ledger.busy_timeout(PATIENCE).unwrap();
    let ends_at = SystemClock::new().now_ms() + 55_000;
    let set = "UPDATE workers SET ends_at = ?1 WHERE number = 0";
    assert_eq!(ledger.execute(set, [i64::try_from(ends_at).unwrap()]).unwrap(), 1);
}

#[test]
fn what_is_not_ready_is_red_while_it_serves_after_a_kill_and_at_rest() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let merchants = Merchants { address: embedded.address(), key: control_key(&embedded.data()).unwrap() };
    let seller = Seller::open(&merchants, 100).unwrap();
    let check = |sale: &str| printed(&embedded, seller.id(), &["check", sale], "");
    // Made and published from standard input; the same again changes nothing, another title does.
    let published = printed(&embedded, seller.id(), &["publish", "-"], &terms("Day one"));
    assert_eq!((&published["state"], &published["code"]), (&json!("published"), &json!("day-1")));
    let again = printed(&embedded, seller.id(), &["publish", "-"], &terms("Day one"));
    assert_eq!(again["version"], published["version"]);
    let renamed = printed(&embedded, seller.id(), &["publish", "-"], &terms("Day two"));
    assert_eq!((&renamed["id"], &renamed["terms"]["title"]), (&published["id"], &json!("Day two")));

    let wait_red = |what: &str, expected: &[&str]| {
        wait_until(what, PATIENCE, || Ok(red(&check("day-1")) == expected)).unwrap_or_else(|error| {
            panic!("{what}: {expected:?} expected, {} found: {error}", check("day-1"));
        });
    };
    wait_red("only the demo's shop is paid here", &["payment_account"]);
    let demo = printed(&embedded, "7", &["check", DEMO_SALE], "");
    assert_eq!(red(&demo), Vec::<String>::new(), "{demo}");

    server.kill().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    prolong_first_lease(&embedded);
    wait_red("the process of before holds its number still", &["engine_silent", "payment_account"]);
    wait_red("its lease ended", &["payment_account"]);
    server.terminate().unwrap();
    server.wait(PATIENCE).unwrap();
    wait_red("nobody serves the folder", &["no_engine", "lane_closed"]);
}
