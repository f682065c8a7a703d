//! kill -9 at random moments of a sellout: what a buyer was answered stays true.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use verify::{child::Child, embedded::Embedded, load_test::LoadTest};

// Long enough for all kills and the starts after them, during which buyers are turned away.
const SELLOUT: LoadTest = LoadTest { scenario: "sellout", units: 4_000, buyers: 8_000, rate: 1_000 };
/// Sales, each with a seed of its own.
const SALES: u64 = 10;
/// Kills in each.
const KILLS: u64 = 5;
/// Orders that a server accepts at most before it is killed: all kills fall into the sale.
const ACCEPTED_MAX: u64 = 200;
/// A seed to run again, and only that.
const SEED: &str = "FLASHSALE_SEED";

fn figure(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

/// Kills the server so many times while the load test buys, each time after it accepted so many
/// orders at most, and starts it again.
pub(crate) fn kill_while_it_sells(
    embedded: &Embedded,
    server: &mut Child,
    random: &mut StdRng,
    (kills, accepted_max): (u64, u64),
) {
    for _ in 0..kills {
        // By orders and not by time alone: a slow machine is killed in the same places as a fast
        // one.
        embedded.wait_accepted(random.random_range(1..=accepted_max)).unwrap();
        std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        server.kill().unwrap();
        *server = embedded.serve().unwrap();
    }
}

/// INV-1 to INV-5; R13: nothing that was accepted is ever rejected, for the log was on the disk
/// before the answer.
#[test]
fn fifty_kills_at_random_moments_of_a_sellout_change_nothing() {
    let only = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    for seed in only.map_or(0..SALES, |seed| seed..seed + 1) {
        println!("seed {seed}; {SEED}={seed} runs it alone");
        killed_while_it_sells(seed);
    }
}

fn killed_while_it_sells(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    let load = embedded.load_test(SELLOUT).unwrap();
    kill_while_it_sells(&embedded, &mut server, &mut random, (KILLS, ACCEPTED_MAX));
    let report = embedded.report_of(load).unwrap();
    for name in ["oversold", "lost", "doubled", "leaked", "rejected_after_accepted"] {
        assert_eq!(figure(&report, name), 0, "{name}, seed {seed}: {report}");
    }
    assert_eq!(figure(&report, "orders_durable"), SELLOUT.units, "exactly the units are sold, seed {seed}: {report}");
}
