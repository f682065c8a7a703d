//! The public page of a large sale, which costs nothing to ask for.

use std::{io::Read, thread};

use super::*;

/// Offers of the large sale.
const OFFERS: u32 = 1_000;
/// Those who read it as fast as they can.
const READERS: usize = 32;
/// Those who ask for it and read nothing.
const SILENT: usize = 300;
/// Pages that each reader reads.
const READS: usize = 20;
/// What the engine's memory may grow by: buffers of the connections, and the page once. A copy for
/// each would be three times as much.
const PAGES_GROWTH_MAX: u64 = 32 << 20;

/// Fault 13: a page of 1,000 offers that 32 clients read all the while and 300 clients never read,
/// plain and packed, is written once a change and packed once a coding, its bytes are held once,
/// and an honest buyer is served meanwhile.
#[test]
fn a_large_page_is_written_once_however_many_ask_and_whoever_reads() {
    let mut fixture = Fixture::new("pages");
    let large = fixture.production.publish_lanes(u64::from(OFFERS), OFFERS, OPEN_MS).unwrap();
    let request = |number: usize| {
        let accepted = ["identity", "gzip", "br"][number % 3];
        format!("GET /v1/sales/{} HTTP/1.1\r\nhost: shop\r\naccept-encoding: {accepted}\r\n\r\n", large.id)
    };
    let metric = |fixture: &Fixture, name| fixture.production.services.engine_metric(name).unwrap();
    let written = |fixture: &Fixture| metric(fixture, "flashsale_pages_written_total");
    // All lanes are open, so nothing of it changes any more.
    let mut wire = fixture.wire();
    wait_until("all stock is shown", PATIENCE, || {
        wire.send(request(0))?;
        let outcome = wire.answer();
        let Outcome::Answered { body, .. } = &outcome else { panic!("{outcome:?}") };
        Ok(body.matches("\"stock\":").count() == OFFERS as usize)
    })
    .unwrap();
    // It is packed before the memory is looked at: that takes some megabytes once, and no client's
    // share of them.
    for (number, coding) in [(1, "gzip"), (2, "br")] {
        wait_until("the page is packed", PATIENCE, || {
            wire.send(request(number))?;
            let outcome = wire.answer();
            let Outcome::Answered { head, .. } = &outcome else { panic!("{outcome:?}") };
            Ok(head.contains(&format!("content-encoding: {coding}\r\n")))
        })
        .unwrap();
    }
    let packed = metric(&fixture, "flashsale_pages_packed_total");
    let (before, memory) = (written(&fixture), fixture.production.engine_sample().unwrap().resident_bytes);
    let silent: Vec<Wire> = (0..SILENT)
        .map(|number| {
            let mut wire = fixture.wire();
            wire.send(request(number)).unwrap();
            wire
        })
        .collect();
    let address = fixture.production.address();
    thread::scope(|scope| {
        for reader in 0..READERS {
            let request = &request;
            scope.spawn(move || {
                let mut wire = Wire::connect(address).unwrap();
                for read in 0..READS {
                    wire.send(request(reader + read)).unwrap();
                    let outcome = wire.answer();
                    assert!(matches!(outcome.status(), 200 | 503), "{outcome:?}");
                }
            });
        }
        for _ in 0..20 {
            fixture.buys();
        }
    });
    let grown = fixture.production.engine_sample().unwrap().resident_bytes.saturating_sub(memory);
    let again = written(&fixture) - before;
    eprintln!("{SILENT} clients that read nothing: {} KiB in all; written again {again} times", grown >> 10);
    assert!(grown <= PAGES_GROWTH_MAX, "the engine grew by {} MiB", grown >> 20);
    assert_eq!(again, 0.0, "nothing changed");
    let packed = metric(&fixture, "flashsale_pages_packed_total") - packed;
    assert_eq!(packed, 0.0, "each coding once, and they were there");
    // What they were sent was there all the while.
    let mut first = [0; 12];
    silent[0].stream().read_exact(&mut first).unwrap();
    assert!(matches!(&first, b"HTTP/1.1 200" | b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&first));
    drop((silent, wire));
    fixture.leave_unhurt();
}
