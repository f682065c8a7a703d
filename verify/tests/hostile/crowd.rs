//! Connections that only stand there: ten thousand, and more than the engine may have.

use kit::http::raise_descriptor_limit;
use verify::services::Services;

use super::*;

/// As many as the issue names.
const CROWD: usize = 10_000;
/// One in so many has sent a request before it fell silent.
const SERVED_EVERY: usize = 4;
/// Connections from one source address.
const PER_ADDRESS: usize = 5_000;

fn crowd(fixture: &mut Fixture, size: usize) -> Vec<Wire> {
    let mut wires = Vec::with_capacity(size);
    for index in 0..size {
        let host = u8::try_from(2 + index / PER_ADDRESS).unwrap();
        let mut wire = Wire::connect_from(host, fixture.production.address()).unwrap();
        if index % SERVED_EVERY == 0 {
            // Not read: in a small engine it may be closed by the time the answer comes.
            drop(wire.send("GET /v1/time HTTP/1.1\r\nhost: shop\r\n\r\n"));
        }
        wires.push(wire);
        if index % 1_000 == 0 {
            fixture.buys();
        }
    }
    wires
}

/// 10,000 idle connections at once: bounded memory, and honest buyers are served.
#[test]
fn ten_thousand_idle_connections() {
    let may_open = raise_descriptor_limit().unwrap();
    assert!(may_open > 12_000, "raise the hard limit of open files (ulimit -Hn) to 16,384: it is {may_open}");
    let mut fixture = Fixture::new("idle");
    let wires = crowd(&mut fixture, CROWD);
    fixture.buys();
    let grown = fixture.production.engine_sample().unwrap().resident_bytes.saturating_sub(fixture.memory);
    assert!(grown <= GROWTH_MAX, "the engine grew by {} MiB", grown >> 20);
    eprintln!("{CROWD} connections, one in {SERVED_EVERY} served once: {} KiB each", (grown >> 10) / CROWD as u64);
    drop(wires);
    fixture.leave_unhurt();
}

/// An engine that may open 1,024 files and is given 4,000 connections: it closes those that wait
/// longest, and a newcomer who asks for something is always answered.
#[test]
fn more_idle_connections_than_the_engine_may_have() {
    raise_descriptor_limit().unwrap();
    let production =
        EngineAndWriter::open_with("full", |services| Services::engine_with_descriptors(services, 1_024)).unwrap();
    let mut fixture = Fixture::of(production);
    let wires = crowd(&mut fixture, 4_000);
    for _ in 0..10 {
        fixture.buys();
    }
    let sample = fixture.production.engine_sample().unwrap();
    assert!(sample.open_fds < 1_024, "{} descriptors", sample.open_fds);
    let evicted = fixture.production.services.engine_metric("flashsale_http_connections_evicted_total").unwrap();
    assert!(evicted >= 3_000.0, "only {evicted} connections gave way");
    let failures = fixture.production.services.engine_metric("flashsale_http_accept_failures_total").unwrap();
    assert_eq!(failures, 0.0, "it never ran out of files");
    drop(wires);
    fixture.leave_unhurt();
}
