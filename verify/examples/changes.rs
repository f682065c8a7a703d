//! How soon each change of a running sale is on every engine: two engines, two order-writers and
//! the merchants' service, on the real servers that `stack/` starts.
//!
//!     . stack/env && cargo run --release -p verify --example changes [ROUNDS]
//!
//! Prints the slowest of some rounds (5) of each change. Exit status: 0 all are within a second, 1
//! one is not.

use std::{process::ExitCode, time::Duration};

use verify::{
    changes::{Change, measure},
    production::Production,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BOUND: Duration = Duration::from_secs(1);

#[expect(clippy::print_stdout, reason = "what it found")]
fn main() -> anyhow::Result<ExitCode> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(5), |rounds| rounds.parse())?;
    let production = Production::open("changes", &["--lane-settling", "never"])?;
    let mut slowest: Vec<Change> = Vec::new();
    for _ in 0..rounds {
        let round = measure(&production)?;
        if slowest.is_empty() {
            slowest = round;
            continue;
        }
        for (slowest, change) in slowest.iter_mut().zip(round) {
            if change.everywhere() > slowest.everywhere() {
                *slowest = change;
            }
        }
    }
    slowest.iter().for_each(|change| println!("{change}"));
    let is_late = slowest.iter().any(|change| change.everywhere() > BOUND);
    Ok(if is_late { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
