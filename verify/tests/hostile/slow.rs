//! Clients that take their time: with headers, with bodies, with reading. All at once, so that the
//! limits are waited for once.

use std::{io, thread, time::Duration};

use super::*;

/// Of each kind.
const CLIENTS: usize = 100;
/// How often each of them sends a byte.
const TRICKLE: Duration = Duration::from_millis(500);

/// The limits for headers and bodies are 10 s (`kit::http::Limits`). An honest buyer is served all
/// the while.
#[test]
fn slow_headers_and_bodies_are_not_waited_for() {
    let mut fixture = Fixture::new("slow");
    let head = fixture.post("idempotency-key: k\r\nx-slow: ", "");
    let head = head.split("content-length").next().unwrap().to_owned();
    let body = fixture.post("idempotency-key: k\r\n", &" ".repeat(4_000));
    let body = body.trim_end_matches(' ').to_owned();
    let chunks = body.replace("content-length: 4000", "transfer-encoding: chunked") + "1\r\n \r\n";
    let mut kinds: [(&str, Vec<Wire>); 4] = ["silent", "headers", "body", "chunks"].map(|name| (name, Vec::new()));
    for (start, (_, wires)) in ["", &head, &body, &chunks].into_iter().zip(&mut kinds) {
        for _ in 0..CLIENTS {
            let mut wire = fixture.wire();
            wire.send(start).unwrap();
            wire.stream().set_nonblocking(true).unwrap();
            wires.push(wire);
        }
    }
    // Ends when the server has ended them all: a byte into a closed connection fails. The bound
    // only catches a server without limits.
    for round in 0.. {
        let mut open = 0;
        for (name, wires) in &mut kinds {
            let trickle = match *name {
                "silent" => "",
                "chunks" => "1\r\n \r\n",
                _ => " ",
            };
            open += wires.iter_mut().filter_map(|wire| is_open(wire, trickle).then_some(())).count();
        }
        if open == 0 {
            break;
        }
        assert!(round < 80, "{open} connections are still open");
        fixture.buys();
        thread::sleep(TRICKLE);
    }
    for (name, wires) in &mut kinds {
        let expected: &[u16] = if matches!(*name, "body" | "chunks") { &[400] } else { &[0] };
        for wire in wires.iter_mut() {
            wire.stream().set_nonblocking(false).unwrap();
            let outcome = wire.answer();
            assert!(expected.contains(&outcome.status()), "{name}: {outcome:?}");
        }
    }
    drop(kinds);
    fixture.leave_unhurt();
}

/// Whether the server has said and closed nothing yet; if so, another few bytes.
fn is_open(wire: &mut Wire, trickle: &str) -> bool {
    let waits = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    match wire.stream().peek(&mut [0]) {
        Err(error) if waits(&error) => wire.send(trickle).map_or_else(|error| waits(&error), |()| true),
        _ => false,
    }
}

/// Thousands of pipelined requests of which no answer is ever read: memory stays bounded, and
/// everybody else is served.
#[test]
fn answers_that_nobody_reads_cost_little() {
    let mut fixture = Fixture::new("unread");
    let request = format!("GET /v1/sales/{} HTTP/1.1\r\nhost: shop\r\n\r\n", fixture.sale.id).repeat(200);
    let mut wires: Vec<Wire> = (0..CLIENTS).map(|_| fixture.wire()).collect();
    for wire in &mut wires {
        wire.stream().set_nonblocking(true).unwrap();
        // Until the kernel takes no more: the engine has stopped reading.
        let mut sent = 0;
        while sent < 64 << 20 && wire.send(&request).is_ok() {
            sent += request.len();
        }
        assert!(sent < 64 << 20, "the engine reads on without end");
        fixture.buys();
    }
    let grown = fixture.production.engine_sample().unwrap().resident_bytes.saturating_sub(fixture.memory);
    assert!(grown <= GROWTH_MAX, "the engine grew by {} MiB", grown >> 20);
    drop(wires);
    fixture.leave_unhurt();
}
