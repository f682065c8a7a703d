//! The trial: engines, order-writers and servers that are killed, held, emptied and put back to
//! older copies in the middle of a sale, while buyers ask again until they know; afterwards the
//! audit, by rows.
//!
//!     cargo run --release -p verify --example trial -- [--seeds 5] [--seconds 120] [--engines 3]
//!     [--writers 2] [--partitions 4]
//!
//! It starts a Redis, a Kafka and a MariaDB of its own (`stack/`, in a temporary folder, on free
//! ports) and needs no other. Each seed makes a plan of faults; the same seed makes the same plan.
//! Exit status: 0 nothing is lost, doubled, oversold or leaked, one id for each key, no purchase
//! without an end; 1 something is: the seed that shows it is printed; others: it could not run.

#[path = "trial/crowd.rs"]
mod crowd;
#[path = "trial/inflict.rs"]
mod inflict;
#[path = "trial/judge.rs"]
mod judge;
#[path = "trial/plan.rs"]
mod plan;
#[path = "trial/servers.rs"]
mod servers;
#[path = "trial/services.rs"]
mod services;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use kit::clock::{Clock, SystemClock};
use loadtest::{backends::production::ProductionBackends, sale::LoadSale};
use verify::services::built_programs;

use crowd::{Crowd, Offered};
use inflict::{Field, Happened};
use judge::{Judgement, judge};
use plan::{Event, Extent, plan};
use servers::Servers;
use services::Services;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients at once.
const CLIENTS: u32 = 32;
/// How long clients that do not know their outcome go on asking when the faults are over.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// How long a sale may take to open.
const OPEN: Duration = Duration::from_secs(60);
const THREE_HOURS_MS: u64 = 3 * 3_600_000;

/// Kills, holds, empties and restores everything under load, and audits.
#[derive(Debug, Parser)]
struct Args {
    /// Seeds to run.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Seconds of faults of each seed.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(30..=3_600))]
    seconds: u64,
    /// Engines.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    engines: u32,
    /// Order-writers.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    writers: u32,
    /// Partitions of the log.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    partitions: u16,
    /// Purchases a second, about.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Where engine, order-writer and catalog are, built already [default: they are built first].
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Only show the plans.
    #[arg(long)]
    dry_run: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let (engines, writers) = (args.engines as usize, args.writers as usize);
    let extent = Extent { engines, writers, shards: 2, seconds: args.seconds };
    let seeds = args.first_seed..args.first_seed + args.seeds;
    if args.dry_run {
        seeds.for_each(|seed| show_plan(seed, &plan(seed, extent)));
        return Ok(ExitCode::SUCCESS);
    }
    let programs = args.programs.clone().map_or_else(built_programs, Ok)?;
    let folder = tempfile::Builder::new().prefix("trial-").tempdir()?;
    eprintln!("starting Redis, Kafka and MariaDB in {}", folder.path().display());
    end_well_on_signals(folder.path().join("stack"))?;
    let servers = Servers::start(folder.path())?;
    let (mut failed, mut all) = (Vec::new(), Vec::new());
    for seed in seeds {
        let events = plan(seed, extent);
        show_plan(seed, &events);
        let (judgement, mut happened) = run_seed(&args, (&programs, folder.path()), &servers, (seed, &events))
            .with_context(|| format!("seed {seed}"))?;
        show(seed, &judgement);
        all.append(&mut happened);
        if !judgement.violations.is_empty() {
            failed.push(seed);
        }
    }
    show_gaps(&all);
    drop(servers);
    if failed.is_empty() {
        eprintln!("clean");
        return Ok(ExitCode::SUCCESS);
    }
    for seed in &failed {
        eprintln!("DAMAGED: run it again with --seeds 1 --first-seed {seed} --seconds {}", args.seconds);
    }
    eprintln!("outputs of all services are in {}", folder.keep().display());
    Ok(ExitCode::FAILURE)
}

/// A trial that is broken off leaves no server behind: they would outlive it, and the services go
/// with it.
fn end_well_on_signals(stack: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let stopped = runtime.block_on(async {
            kit::shutdown::on_signals()?.cancelled().await;
            Ok::<_, std::io::Error>(())
        });
        if stopped.is_ok() {
            servers::kill_all(&stack);
            std::process::exit(130);
        }
    })?;
    Ok(())
}

/// Runs a seed to its end.
fn run_seed(
    args: &Args,
    (programs, folder): (&Path, &Path),
    servers: &Servers,
    (seed, events): (u64, &[Event]),
) -> anyhow::Result<(Judgement, Vec<Happened>)> {
    let namespace = format!("trial_{seed}_{}", &uuid::Uuid::new_v4().simple().to_string()[..6]);
    let size = (args.engines as usize, args.writers as usize, args.partitions);
    let services = Services::new((programs, folder), servers, &namespace, size)?;
    let deployment = services.deployment()?;
    let clock = SystemClock::new();
    let offered = offered(args.partitions, &clock)?;
    for offered in &offered {
        let file = offered.sale.to_toml()?;
        services.publish(&file)?;
        if let Ok(mut published) = offered.published.lock() {
            *published = file;
        }
    }
    services.all_ready()?;
    let lanes = |is: &dyn Fn(&Offered) -> bool| -> Vec<_> {
        offered.iter().filter(|offered| is(offered)).flat_map(|offered| offered.sale.lanes()).collect()
    };
    let (open, every) = (lanes(&|offered| offered.open.load(Relaxed)), lanes(&|_| true));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(wait_open(&deployment.stores, open, &clock))?;
    let start = clock.monotonic();
    let crowd = Crowd::new(offered, (services.addresses().to_vec(), deployment.tokens.signer()?), clock, start);
    let field = Field::new((servers, &services), (&crowd, &deployment.stores), (clock, start, seed));
    let pause = Duration::from_secs(1) * CLIENTS / args.rate;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (crowd, seed) = (&crowd, seed.wrapping_mul(1_000).wrapping_add(client.into()));
            scope.spawn(move || crowd.buy(seed, pause));
        }
        scope.spawn(|| field.cancel_some(seed));
        field.run(events, Duration::from_secs(args.seconds));
        eprintln!("{:7.1} s  the faults are over; everything is let settle", field.elapsed().as_secs_f64());
        let settled = field.settle();
        eprintln!("{:7.1} s  everything is up; buyers ask until they know", field.elapsed().as_secs_f64());
        crowd.coming.store(false, Relaxed);
        let deadline = clock.monotonic() + LAST_ANSWERS;
        while clock.monotonic() < deadline && crowd.asking.load(Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        crowd.giving_up.store(true, Relaxed);
        settled
    })?;
    let (taken, cancelled) = (field.taken(), field.cancelled());
    let judgement = runtime.block_on(async {
        let mut backends = ProductionBackends::open(&deployment.stores, every).await?;
        judge(&crowd, &mut backends, &cancelled, (taken, seed)).await
    })?;
    let happened = field.happened();
    services.end_all();
    Ok((judgement, happened))
}

/// One sale with units for everybody, so that it shows when orders are accepted; one with a few;
/// one that is brought forward; one that ends and is prolonged.
fn offered(partitions: u16, clock: &SystemClock) -> anyhow::Result<Vec<Offered>> {
    let (now_ms, mut random) = (clock.now_ms(), rand::rng());
    let mut fresh = |units, lanes| LoadSale::fresh(units, lanes, Some(partitions.into()), now_ms, &mut random);
    let lanes = u32::from(partitions);
    let (ample, scarce, mut early, ending) = (fresh(2_000_000, lanes)?, fresh(900, 3)?, fresh(600, 1)?, fresh(600, 1)?);
    early.opens_at_ms = now_ms + THREE_HOURS_MS;
    Ok(vec![
        Offered::new("ample", ample, 70, true),
        Offered::new("scarce", scarce, 16, true),
        Offered::new("brought forward", early, 7, false),
        Offered::new("prolonged", ending, 7, true),
    ])
}

async fn wait_open(
    stores: &kit::settings::StoreArgs,
    lanes: Vec<domain::id::LaneId>,
    clock: &SystemClock,
) -> anyhow::Result<()> {
    let backends = ProductionBackends::open(stores, lanes).await?;
    let deadline = clock.monotonic() + OPEN;
    while !backends.closed_lanes().await?.is_empty() {
        anyhow::ensure!(clock.monotonic() < deadline, "the sales did not open within {OPEN:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    backends.close().await;
    Ok(())
}

fn show_plan(seed: u64, events: &[Event]) {
    eprintln!("\nseed {seed}: the plan");
    for Event { at, act } in events {
        eprintln!("  {:6.1} s  {act}", at.as_secs_f64());
    }
}

fn show(seed: u64, judgement: &Judgement) {
    eprintln!("seed {seed}: {}", if judgement.violations.is_empty() { "clean" } else { "DAMAGED" });
    judgement.notes.iter().for_each(|note| eprintln!("  {note}"));
    judgement.violations.iter().for_each(|violation| eprintln!("  VIOLATION {violation}"));
}

/// The longest time without an accepted order, by kind of fault.
fn show_gaps(happened: &[Happened]) {
    let mut kinds: Vec<String> = happened.iter().map(|happened| happened.act.kind()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    eprintln!("\n| fault | times | longest without an accepted order, s | while |\n|---|---|---|---|");
    for kind in kinds {
        let all: Vec<&Happened> = happened.iter().filter(|happened| happened.act.kind() == kind).collect();
        let Some(worst) = all.iter().max_by(|a, b| a.without_accepted.cmp(&b.without_accepted)) else { continue };
        let (times, gap) = (all.len(), worst.without_accepted.as_secs_f64());
        eprintln!(
            "| {kind} | {times} | {gap:.2} | seed {}, {:.1} s: {} |",
            worst.seed,
            worst.from.as_secs_f64(),
            worst.act
        );
    }
}
