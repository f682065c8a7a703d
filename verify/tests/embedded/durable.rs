//! "Accepted" is on the disk: system calls watched from outside, because kill -9 alone proves no
//! fsync (the system keeps what a killed process wrote).

use std::{fs, process::Command, time::Duration};

use verify::{child::Child, embedded::Embedded};

const PATIENCE: Duration = Duration::from_secs(60);
const PURCHASES: u64 = 3;

/// What a line of the trace is about.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Asked,
    LogWritten,
    LogSynced,
    Answered,
}

/// The calls that matter, in the order in which they ended. A call that another thread interrupts
/// in the trace stands in two lines: what it is about in the first, its end in the second.
fn events(trace: &str) -> Vec<Event> {
    let mut begun: Vec<(&str, &str)> = Vec::new();
    let mut events = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if call.ends_with("<unfinished ...>") {
            begun.push((thread, call));
            continue;
        }
        let first = match begun.iter().position(|(of, _)| *of == thread) {
            Some(at) if call.starts_with("<...") => begun.swap_remove(at).1,
            _ => call,
        };
        events.extend(event(first, call));
    }
    events
}

fn event(first: &str, last: &str) -> Option<Event> {
    let text = |wanted: &str| first.contains(wanted) || last.contains(wanted);
    let is_log = first.contains("log.db-wal>");
    let name = first.split('(').next().unwrap_or_default();
    match name {
        "fsync" | "fdatasync" if is_log && last.ends_with("= 0") => Some(Event::LogSynced),
        "pwrite64" | "write" if is_log => Some(Event::LogWritten),
        "recvfrom" | "read" if text("POST /v1/orders") => Some(Event::Asked),
        "sendto" | "write" | "writev" | "sendmsg" if text("HTTP/1.1 202") => Some(Event::Answered),
        _ => None,
    }
}

/// Failure points 5 and 25, INV-3: between a purchase and its `202 accepted` the record is written
/// to the log's file and the file is synced.
#[test]
fn an_accepted_order_was_synced_to_the_disk_before_the_answer() {
    let embedded = Embedded::new().unwrap();
    let trace = embedded.scratch().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-yy", "-s", "64", "-e", "signal=none", "-o"]).arg(&trace);
    strace.args(["-e", "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg,recvfrom,read"]);
    strace.arg(embedded.program());
    let mut command = embedded.command_by(strace, "serve");
    command.args(embedded.ports());
    let mut server = Child::start("strace", command, embedded.scratch()).unwrap();
    embedded.wait_selling(&mut server).unwrap();
    // A buyer each: the demo sells one to each.
    for buyer in 1..=PURCHASES {
        let (status, body) = embedded.buy(&embedded.token(buyer).unwrap(), "first").unwrap();
        assert!(status == 202 && body.contains("\"accepted\""), "{status}: {body}");
    }
    embedded.terminate().unwrap();
    server.wait(PATIENCE).unwrap();
    let events = events(&fs::read_to_string(&trace).unwrap());
    let purchases: Vec<&[Event]> = events.split_inclusive(|event| *event == Event::Answered).collect();
    let purchases: Vec<_> = purchases.iter().filter(|events| events.last() == Some(&Event::Answered)).collect();
    assert_eq!(purchases.len() as u64, PURCHASES, "{events:?}");
    for purchase in purchases {
        let asked = purchase.iter().rposition(|event| *event == Event::Asked).unwrap();
        let written = purchase.iter().skip(asked).position(|event| *event == Event::LogWritten);
        let written = asked + written.unwrap_or_else(|| panic!("answered and not written: {purchase:?}"));
        assert!(purchase[written..].contains(&Event::LogSynced), "answered and not synced: {purchase:?}");
    }
}
