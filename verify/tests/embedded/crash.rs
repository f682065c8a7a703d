//! kill -9 at random moments of a sellout: what a buyer was answered stays true.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use verify::{folder::Folder, shop::Rush};

// Long enough for all kills and the starts after them, during which buyers are turned away.
const SELLOUT: Rush = Rush { scenario: "sellout", units: 4_000, buyers: 12_000, rate: 1_500 };
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
    let folder = Folder::new().unwrap();
    let mut server = folder.serve().unwrap();
    folder.wait_ready(&mut server).unwrap();
    let rush = folder.rush(SELLOUT).unwrap();
    for _ in 0..KILLS {
        // By orders and not by time alone: a slow machine is killed in the same places as a fast
        // one.
        folder.wait_accepted(random.random_range(1..=ACCEPTED_MAX), Duration::from_secs(60)).unwrap();
        std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        server.kill().unwrap();
        server = folder.serve().unwrap();
    }
    let report = folder.report_of(rush).unwrap();
    for name in ["oversold", "lost", "doubled", "leaked", "rejected_after_accepted"] {
        assert_eq!(figure(&report, name), 0, "{name}, seed {seed}: {report}");
    }
    assert_eq!(figure(&report, "orders_durable"), SELLOUT.units, "exactly the units are sold, seed {seed}: {report}");
}
