//! Goal: the pure machine, the embedded deployment and the production deployment answer the same, step by step, whatever is delivered
//! twice and whatever restarts in between, and the same is left at the end. Method: scripts drawn from seeds. Each seed has a lane of its
//! own, so that the seeds of a wave share a deployment and play side by side, in this process, over the engine's and the order-writer's own
//! code. `FLASHSALE_SEEDS` says how many seeds, `FLASHSALE_SEED` plays one alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "differential/embedded.rs"]
mod embedded_rig;
#[path = "differential/model.rs"]
mod model;
#[path = "differential/notes.rs"]
mod notes;
#[path = "differential/parts.rs"]
mod parts;
#[path = "differential/place.rs"]
mod place;
#[path = "differential/player.rs"]
mod player;
#[path = "differential/report.rs"]
mod report;
#[path = "differential/script.rs"]
mod script;
#[path = "differential/told.rs"]
mod told;
#[path = "differential/wave.rs"]
mod wave;

use embedded_rig::EmbeddedRig;
use place::Place;
use report::Report;
use script::Script;
use wave::{WAVE, play, restarts};

const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number of seeds, or a seed"))
}

/// The seeds to play, wave by wave.
fn waves() -> Vec<(u64, Vec<u64>)> {
    if let Some(seed) = number("FLASHSALE_SEED") {
        return vec![(seed / WAVE, vec![seed])];
    }
    let seeds = number("FLASHSALE_SEEDS").unwrap_or(SEEDS);
    (0..seeds.div_ceil(WAVE)).map(|wave| (wave, (wave * WAVE..seeds.min((wave + 1) * WAVE)).collect())).collect()
}

fn script(seed: u64) -> Script {
    Script::of(Place::of(seed, parts::PARTITIONS), restarts(seed / WAVE).len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_deployment_does_what_the_pure_machine_does() {
    let mut report = Report::default();
    for (wave, seeds) in waves() {
        let scripts: Vec<Script> = seeds.iter().map(|&seed| script(seed)).collect();
        let sides = vec![("embedded", Box::pin(play::<EmbeddedRig>(wave, &scripts)).await)];
        report.compare(&scripts, &sides);
    }
    report.end();
}
