//! Goal: the pure machine, the embedded deployment and the production deployment answer the same,
//! step by step, whatever is delivered twice and whatever restarts in between, and the same is left
//! at the end. Method: scripts drawn from seeds. Each seed has a lane of its own, so that the seeds
//! of a wave share a deployment and run side by side, in this process, over the engine's and the
//! order-writer's own code. `FLASHSALE_SEEDS` says how many seeds, `FLASHSALE_SEED` runs one
//! alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing step of a test ends the test")]
#![allow(clippy::print_stdout, reason = "cargo test shows it with the failing test, and only then")]

#[path = "differential/crowd.rs"]
mod crowd;
#[path = "differential/embedded.rs"]
mod embedded_rig;
#[path = "differential/model.rs"]
mod model;
#[cfg(feature = "live")]
#[path = "differential/monitor.rs"]
mod monitor;
#[path = "differential/notes.rs"]
mod notes;
#[path = "differential/outcome.rs"]
mod outcome;
#[path = "differential/parts.rs"]
mod parts;
#[cfg(feature = "live")]
#[path = "differential/production.rs"]
mod production;
#[path = "differential/replay.rs"]
mod replay;
#[path = "differential/report.rs"]
mod report;
#[path = "differential/runner.rs"]
mod runner;
#[path = "differential/script.rs"]
mod script;
#[path = "differential/seed.rs"]
mod seed;
#[path = "differential/wave.rs"]
mod wave;

use embedded_rig::EmbeddedRig;
use parts::PARTITIONS;
use report::Report;
use script::Script;
use seed::Seed;
use wave::{WAVE, WaveResult, restarts, run};

const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number of seeds, or a seed"))
}

/// The seeds to run, wave by wave.
fn waves() -> Vec<(u64, Vec<u64>)> {
    if let Some(seed) = number("FLASHSALE_SEED") {
        return vec![(seed / WAVE, vec![seed])];
    }
    let seeds = number("FLASHSALE_SEEDS").unwrap_or(SEEDS);
    (0..seeds.div_ceil(WAVE)).map(|wave| (wave, (wave * WAVE..seeds.min((wave + 1) * WAVE)).collect())).collect()
}

/// Every fourth seed is a crowd, the others are scripts.
fn is_crowd(seed: u64) -> bool {
    seed % 4 == 3
}

#[cfg(feature = "live")]
async fn sides(wave: u64, scripts: &[Script], crowds: &[Seed]) -> Vec<WaveResult> {
    let embedded = run::<EmbeddedRig>(wave, scripts, crowds);
    let production = run::<production::ProductionRig>(wave, scripts, crowds);
    let (embedded, production) = tokio::join!(embedded, production);
    vec![embedded, production]
}

#[cfg(not(feature = "live"))]
async fn sides(wave: u64, scripts: &[Script], crowds: &[Seed]) -> Vec<WaveResult> {
    vec![run::<EmbeddedRig>(wave, scripts, crowds).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_deployment_does_what_the_pure_machine_does() {
    let mut report = Report::default();
    for (wave, seeds) in waves() {
        let (crowds, scripts): (Vec<u64>, Vec<u64>) = seeds.into_iter().partition(|&seed| is_crowd(seed));
        let crowds: Vec<Seed> = crowds.into_iter().map(|seed| Seed::of(seed, PARTITIONS)).collect();
        let script = |seed| Script::of(Seed::of(seed, PARTITIONS), restarts(wave).len());
        let scripts: Vec<Script> = scripts.into_iter().map(script).collect();
        report.compare(&scripts, crowds.len(), &Box::pin(sides(wave, &scripts, &crowds)).await);
    }
    report.end();
}
