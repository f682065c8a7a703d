//! Fault 22 on one machine: another process that holds a file of the data folder, or the server's
//! own process that is stopped. Whoever waits says for what, and it is over by itself when the
//! other ends.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use verify::{child::wait_until, embedded::Embedded};

const PATIENCE: Duration = Duration::from_secs(60);
/// The wait of a transaction for another process, and what a busy machine adds.
const NAMED_WITHIN: Duration = Duration::from_secs(12);

/// The file of rows.
fn rows_of(data: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(embedded) = folders.pop() {
        for entry in std::fs::read_dir(embedded).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with("_orders_00.db") {
                files.push(path);
            }
        }
    }
    files.pop().unwrap()
}

fn status_of(embedded: &Embedded, token: &str, order: &str) -> String {
    let place = format!("/v1/orders/{order}?offer_id=9001");
    embedded.ask(&format!("GET {place} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\n\r\n")).unwrap().1
}

fn bought(embedded: &Embedded, token: &str) -> (String, String) {
    let (status, body) = embedded.buy(token, "k").unwrap();
    assert_eq!(status, 202, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("order_id"), text("status"))
}

#[test]
fn another_process_that_writes_to_a_file_is_told_and_waited_for() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let tokens: Vec<String> = (1..4).map(|buyer| embedded.token(buyer).unwrap()).collect();
    let is_row = |token: &str, order: &str| Ok(status_of(&embedded, token, order).contains("pending_payment"));

    let rows = rows_of(&embedded.data());
    let other = Connection::open(&rows).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = Instant::now();
    // Buyers hash to one of two files: some of these are held up.
    let orders: Vec<(String, String)> = tokens.iter().map(|token| bought(&embedded, token)).collect();
    assert!(orders.iter().all(|(_, status)| status == "accepted"), "the log is another file: {orders:?}");
    let named = || Ok(embedded.readiness().is_ok_and(|probe| probe.contains("another process")));
    wait_until("the probe names the cause", PATIENCE, named).unwrap();
    assert!(held.elapsed() < NAMED_WITHIN, "{:?}", held.elapsed());
    let probe = embedded.readiness().unwrap();
    assert!(probe.starts_with("HTTP/1.1 503") && probe.contains(rows.to_str().unwrap()), "{probe}");
    other.execute_batch("ROLLBACK").unwrap();
    for (token, (order, _)) in tokens.iter().zip(&orders) {
        wait_until("it goes on by itself", PATIENCE, || is_row(token, order)).unwrap();
    }
    embedded.wait_ready(&mut server).unwrap();

    // The log: nothing is accepted meanwhile, and what was promised is kept.
    let log = Connection::open(embedded.data().join("log.db")).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    let token = embedded.token(9).unwrap();
    let asked = Instant::now();
    let (order, status) = bought(&embedded, &token);
    assert!(status == "pending" && asked.elapsed() < NAMED_WITHIN, "{status} after {:?}", asked.elapsed());
    log.execute_batch("ROLLBACK").unwrap();
    wait_until("the promise is kept", PATIENCE, || is_row(&token, &order)).unwrap();
    assert_eq!(bought(&embedded, &token), (order, "accepted".into()));
}

/// Whoever reads for ever, or is frozen while it reads, holds up nobody.
#[test]
fn another_process_that_reads_holds_up_nobody() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let rows = rows_of(&embedded.data());
    let readers = [rows, embedded.data().join("log.db")].map(|file| {
        let reader = Connection::open(file).unwrap();
        reader.execute_batch("BEGIN; SELECT COUNT(*) FROM sqlite_master").unwrap();
        reader
    });
    for buyer in 1..30 {
        let token = embedded.token(buyer).unwrap();
        let (order, status) = bought(&embedded, &token);
        assert_eq!(status, "accepted");
        let is_row = || Ok(status_of(&embedded, &token, &order).contains("pending_payment"));
        wait_until("the order is decided", PATIENCE, is_row).unwrap();
    }
    assert!(embedded.readiness().unwrap().starts_with("HTTP/1.1 200"));
    drop(readers);
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
}

/// A second start on the folder of a process that is stopped says which one it is, and how it goes
/// on or ends.
#[test]
fn a_folder_whose_process_is_stopped_is_refused_with_what_to_do() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    server.freeze().unwrap();
    let output = embedded.command("serve").args(embedded.ports()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let pid = server.id();
    assert_eq!(output.status.code(), Some(75), "{text}");
    for part in
        ["in use", &format!("process {pid}"), "is stopped", &format!("kill -CONT {pid}"), &format!("kill -9 {pid}")]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    server.thaw().unwrap();
    assert_eq!(embedded.buy(&embedded.token(1).unwrap(), "k").unwrap().0, 202);
}
