//! How soon each change of a running sale is on every engine: two engines, two order-writers and
//! the merchants' service, on the real servers that `stack/` starts.
//!
//!     . stack/env && cargo run --release -p verify --example changes
//!
//! Exit status: 0 all are within a second, 1 one is not.

use std::{process::ExitCode, time::Duration};

use verify::{changes::measure, production::Production};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BOUND: Duration = Duration::from_secs(1);

#[expect(clippy::print_stdout, reason = "what it found")]
fn main() -> anyhow::Result<ExitCode> {
    let production = Production::open("changes", &["--lane-settling", "never"])?;
    let changes = measure(&production)?;
    changes.iter().for_each(|change| println!("{change}"));
    let is_late = changes.iter().any(|change| change.everywhere() > BOUND);
    Ok(if is_late { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
