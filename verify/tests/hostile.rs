//! Goal: no request, however ugly, hurts the engine: each gets a clear problem or a clean close
//! within the server's limits, nothing is reserved, memory and descriptors come back, and an honest
//! buyer is served all the while. Method: a real engine over the real servers; bytes written by
//! hand; afterwards a look into Redis, the ledger and the rows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "hostile/crowd.rs"]
mod crowd;
#[path = "hostile/pages.rs"]
mod pages;
#[path = "hostile/requests.rs"]
mod requests;
#[path = "hostile/slow.rs"]
mod slow;
#[path = "hostile/tokens.rs"]
mod tokens;

use loadtest::sale::LoadSale;
use verify::{
    child::wait_until,
    engine_and_writer::{EngineAndWriter, Remembered},
    wire::{Outcome, PATIENCE, Wire},
};

/// Units of a test's sale.
const UNITS: u64 = 1_000;
/// The sale opened a minute ago.
const OPEN_MS: i64 = -60_000;
/// What the engine's memory may grow by in any of these tests: some 26 KiB for each of 10,000
/// connections. It is an upper bound for a debug build; what a connection really costs is printed
/// by the test of the crowd.
const GROWTH_MAX: u64 = 256 << 20;

/// Connections that the engine's stores may open while a test runs.
const STORES_MAX: u64 = 16;

/// A deployment with one sale, and what it looked like before anybody came.
struct Fixture {
    production: EngineAndWriter,
    sale: LoadSale,
    /// Honest purchases so far.
    bought: u32,
    memory: u64,
    descriptors: u64,
}

impl Fixture {
    fn new(name: &str) -> Self {
        Self::of(EngineAndWriter::open(name).unwrap())
    }

    fn of(production: EngineAndWriter) -> Self {
        let sale = production.publish(UNITS, OPEN_MS).unwrap();
        let mut fixture = Self { production, sale, bought: 0, memory: 0, descriptors: 0 };
        // Connections to the stores are made when they are first needed.
        fixture.buys();
        let sample = fixture.production.engine_sample().unwrap();
        (fixture.memory, fixture.descriptors) = (sample.resident_bytes, sample.open_fds);
        fixture
    }

    fn wire(&self) -> Wire {
        Wire::connect(self.production.address()).unwrap()
    }

    /// A request as a good client writes it, but for its `more` headers and its body. Indices of
    /// hostile buyers begin at 500,000.
    fn post(&self, more: &str, body: &str) -> String {
        let token = self.production.token(&self.sale, 500_000).unwrap();
        post(&token, more, body)
    }

    fn good_body(&self) -> String {
        format!(r#"{{"offer_id":"{}","quantity":1}}"#, self.sale.offers[0].offer)
    }

    /// Another honest buyer buys, over a connection of its own.
    fn buys(&mut self) {
        let token = self.production.token(&self.sale, self.bought).unwrap();
        let mut wire = self.wire();
        wire.send(post(&token, "idempotency-key: honest\r\n", &self.good_body())).unwrap();
        let outcome = wire.answer();
        assert_eq!(outcome.status(), 202, "an honest buyer: {outcome:?}");
        self.bought += 1;
    }

    /// Waits until no client's connection is open.
    fn wait_alone(&self, when: &str) {
        let open = || self.production.services.engine_metric("flashsale_http_connections_open");
        wait_until(&format!("{when}: connections end with their clients"), PATIENCE, || Ok(open()? == 0.0)).unwrap();
    }

    /// Nothing was reserved but by honest buyers, anywhere, and what was taken has come back.
    fn leave_unhurt(mut self) {
        self.buys();
        self.production.check_running().unwrap();
        self.wait_alone("at the end");
        // The stores may have opened a few of their own meanwhile.
        let kept = self.production.engine_sample().unwrap().open_fds.saturating_sub(self.descriptors);
        assert!(kept <= STORES_MAX, "{kept} descriptors were not given back");
        let grown = self.production.engine_sample().unwrap().resident_bytes.saturating_sub(self.memory);
        assert!(grown <= GROWTH_MAX, "the engine grew by {} MiB", grown >> 20);
        self.production.wait_rest(&self.sale).unwrap();
        let honest = u64::from(self.bought);
        let rows = usize::try_from(honest).unwrap();
        let expected = Remembered { left: UNITS - honest, sold: honest, entries: rows, journal: 0, rows };
        assert_eq!(self.production.remembered(&self.sale).unwrap(), expected);
        assert!(!self.production.engine.said("panicked"), "{}", self.production.engine.tail());
    }
}

fn post(token: &str, more: &str, body: &str) -> String {
    format!(
        "POST /v1/orders HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{more}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What a request may get.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// A problem with this status and code.
    Problem(u16, &'static str),
    /// This status without a body, and then the end of the connection: bytes that are no request
    /// get no more.
    Bare(u16),
    /// This status.
    Status(u16),
    /// The end of the connection and nothing else.
    Closed,
}

/// Sends a request on a connection of its own and compares.
fn expect(fixture: &Fixture, name: &str, request: &[u8], expected: Expected) {
    let mut wire = fixture.wire();
    // The server may have seen enough before it has all.
    drop(wire.send(request));
    let outcome = wire.answer();
    let fits = match expected {
        Expected::Problem(status, code) => outcome.code() == (status, code),
        Expected::Bare(status) => outcome.code() == (status, "none") && wire.answer() == Outcome::Closed,
        Expected::Status(status) => outcome.status() == status,
        Expected::Closed => outcome == Outcome::Closed,
    };
    assert!(fits, "{name}: expected {expected:?}, got {outcome:?}");
    drop(wire);
    fixture.wait_alone(name);
}
