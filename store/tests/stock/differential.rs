//! The local adapter against the pure machine, one call after the other: the scripts that Redis is
//! held to. Goal: no difference in any reply, journal byte or buyer's entry. A start of the process
//! loses every lane, so that here a restart and a loss are the same.

use std::time::Instant;

use domain::{
    id::LaneId,
    stock::{LaneMachine, RunId},
};
use store::stock::{
    LaneStock,
    local::{LocalKeeping, LocalStock},
};

use super::{
    script::{check_kinds, play, seeds},
    world::{Seen, Server, same},
};

const SEEDS: u64 = 10_000;

#[tokio::test]
async fn the_local_adapter_does_what_the_machine_does() {
    let started = Instant::now();
    let (seeds, is_one) = seeds(SEEDS);
    let mut seen = Seen::new();
    for seed in seeds.clone() {
        for (kind, times) in Box::pin(play(seed, Local::start(RunId(1)))).await {
            *seen.entry(kind).or_default() += times;
        }
    }
    println!("{} seeds in {:?}: {seen:?}", seeds.end - seeds.start, started.elapsed());
    if !is_one {
        check_kinds(&seen);
    }
}

/// A process with its lanes.
struct Local {
    stock: LocalStock,
    keeping: LocalKeeping,
    run: RunId,
}

impl Local {
    fn start(run: RunId) -> Self {
        let stock = LocalStock::new(run);
        Self { keeping: stock.keeping(), stock, run }
    }
}

impl Server for Local {
    type Stock = LocalStock;
    type Keeping = LocalKeeping;
    type Backup = ();

    fn stock(&self) -> &LocalStock {
        &self.stock
    }

    fn keeping(&self) -> &LocalKeeping {
        &self.keeping
    }

    async fn restart(&mut self, _: LaneId, run: RunId, _: Option<RunId>) -> bool {
        *self = Self::start(run);
        false
    }

    async fn back_up(&mut self, _: LaneId) -> Option<()> {
        None
    }

    async fn lose(&mut self, _: LaneId, _: Option<&()>) {
        *self = Self::start(self.run);
    }

    /// The ports showed everything but the due times, whose order a claim of all of them shows.
    async fn check(&mut self, lane: LaneId, machine: &LaneMachine, run: RunId) {
        let claimed = self.stock.claim(lane, u64::MAX, u32::MAX, 0).await.unwrap();
        same("due", &machine.clone().claim(run, u64::MAX, u32::MAX, 0), &claimed);
    }

    async fn clean(&mut self, _: LaneId) {}
}
