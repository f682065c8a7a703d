//! What honest buyers lose while somebody attacks: the same load with and without each attack,
//! alternated in one run.
//!
//!     . stack/env && cargo run --release -p verify --example hostile_rates -- [--rounds 2]
//!     [--seconds 3] [ATTACK ...]
//!
//! For each attack a fresh sale; in it rounds of two measures, each without and with the attack: a
//! closed loop (what rate is left), and an open loop at a fixed rate (what is delivered, and how
//! late). Everything runs on one machine, so the attacker's own work is taken from the engine as
//! well: attacks are chosen that are cheap for whoever makes them, and their CPU is shown beside.
//! Between two measures everything becomes durable first. The order of "without" and "with" is
//! turned around each round, so that a drift counts for neither.

#[path = "hostile_rates/attack.rs"]
mod attack;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use domain::id::BuyerId;
use kit::{
    clock::{Clock, SystemClock},
    http::raise_descriptor_limit,
    metrics::ProcessSample,
    token::{BuyerClaims, TokenSigner},
};
use loadtest::{
    generator::{Load, Meters, warm_up},
    plan,
    requests::Requests,
    sale::LoadSale,
    tally::Figures,
};
use verify::engine_and_writer::EngineAndWriter;

use attack::{Attack, HOLDERS, Target};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections of the honest buyers.
const CONNECTIONS: usize = 256;
/// Between attack and measure: connections stand, the first limits have struck.
const SETTLE: Duration = Duration::from_secs(2);
/// Most honest purchases a second that a closed loop is expected to make: so many buyers are kept
/// for it.
const CLOSED_RATE_MAX: u32 = 60_000;
const TOKEN_TTL_MS: u64 = 3_600_000;
/// Offers of a sale with a large page, each in a lane of its own.
const LARGE_OFFERS: u32 = 1_000;

/// What honest buyers lose while somebody attacks.
#[derive(Debug, Parser)]
struct Args {
    /// Each measure without and with the attack, so often.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// How long one measure takes.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Purchases a second of the open loop.
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
    /// Attacks by name; all of them when none is named.
    attacks: Vec<String>,
}

/// Sums over rounds.
#[derive(Debug, Default)]
struct Measured {
    closed: f64,
    open: f64,
    p99_ms: f64,
    failed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    raise_descriptor_limit()?;
    let named = |attack: &&Attack| args.attacks.is_empty() || args.attacks.iter().any(|name| name == attack.name);
    eprintln!("{} s a measure, {} rounds, {CONNECTIONS} connections of honest buyers", args.seconds, args.rounds);
    eprintln!(
        "| attack | closed loop: without, with, ratio | open loop at {}/s: without, with | p99 ms: without, with | not answered | \
         engine RSS MiB, most | attacker's CPU |\n|---|---|---|---|---|---|---|",
        args.rate
    );
    for attack in attack::ALL.iter().filter(named) {
        row(attack, &args).with_context(|| attack.name)?;
    }
    Ok(())
}

fn row(attack: &Attack, args: &Args) -> anyhow::Result<()> {
    let fixture = Fixture::new(args, attack.needs_large())?;
    let mut measured = [Measured::default(), Measured::default()];
    let (mut rss, mut cpu_ms, mut attacked_ms) = (0, 0, 0);
    let mut next = 0;
    for round in 0..args.rounds {
        for turn in 0..2 {
            let with = (round + turn) % 2 == 1;
            let clock = SystemClock::new();
            let running = with.then(|| attack.start(fixture.target.clone()));
            std::thread::sleep(SETTLE);
            let (began, cpu_began) = (clock.monotonic(), attack::cpu_ms());
            let sum = &mut measured[usize::from(with)];
            sum.closed += fixture.load(args, None, &mut next, sum_failed(&mut sum.failed))?.0;
            let (rate, p99_ms) = fixture.load(args, Some(args.rate), &mut next, sum_failed(&mut sum.failed))?;
            (sum.open, sum.p99_ms) = (sum.open + rate, sum.p99_ms + p99_ms);
            if let Some(running) = running {
                rss = rss.max(ProcessSample::of_pid(fixture.production.engine.id())?.resident_bytes);
                cpu_ms += attack::cpu_ms().saturating_sub(cpu_began);
                attacked_ms += u64::try_from((clock.monotonic() - began).as_millis())?;
                running.stop();
            }
            fixture.production.wait_rest(&fixture.sale)?;
        }
    }
    let rounds = f64::from(args.rounds);
    let [without, with] = measured;
    eprintln!(
        "| {} | {:.0}, {:.0}, **{:.3}** | {:.0}, {:.0} | {:.1}, {:.1} | {}, {} | {} | {:.0} % |",
        attack.name,
        without.closed / rounds,
        with.closed / rounds,
        with.closed / without.closed,
        without.open / rounds,
        with.open / rounds,
        without.p99_ms / rounds,
        with.p99_ms / rounds,
        without.failed,
        with.failed,
        rss >> 20,
        cpu_ms as f64 * 100.0 / attacked_ms.max(1) as f64
    );
    Ok(())
}

fn sum_failed(sum: &mut u64) -> impl FnMut(u64) + '_ {
    move |failed| *sum += failed
}

/// A sale that nobody bought from yet, and its buyers' requests.
struct Fixture {
    production: EngineAndWriter,
    sale: LoadSale,
    requests: Arc<Requests>,
    target: Target,
    runtime: tokio::runtime::Runtime,
}

impl Fixture {
    fn new(args: &Args, needs_large: bool) -> anyhow::Result<Self> {
        let buyers = 2 * args.rounds * args.seconds * (CLOSED_RATE_MAX + args.rate);
        let production = EngineAndWriter::open("rates")?;
        let sale = production.publish((buyers + HOLDERS).into(), -60_000)?;
        let large = if needs_large {
            production.publish_lanes(LARGE_OFFERS.into(), LARGE_OFFERS, -60_000)?.id
        } else {
            sale.id
        };
        let (tenant, now_ms) = (sale.tenant.number(), SystemClock::new().now_ms());
        let signer: TokenSigner = production.signer().clone();
        let sign = |buyer: BuyerId| signer.sign(&BuyerClaims::new(tenant, buyer.get(), now_ms + TOKEN_TTL_MS), now_ms);
        let host = production.address().to_string();
        let requests = Requests::build(&sale, &host, 0..buyers, 2, &sign, &AtomicU64::new(0))?;
        let elsewhere = if tenant == 1 { 2 } else { 1 };
        let foreign = BuyerClaims::new(elsewhere, sale.buyer(0)?.get(), now_ms + TOKEN_TTL_MS);
        let holders = (buyers..buyers + HOLDERS).map(|buyer| production.token(&sale, buyer));
        let target = Target {
            address: production.address(),
            token: production.token(&sale, 0)?,
            offer: sale.offers[0].offer,
            stranger: signer.sign(&foreign, now_ms)?,
            holders: holders.collect::<anyhow::Result<Vec<_>>>()?.into(),
            large,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { production, sale, requests: requests.into(), target, runtime })
    }

    /// One load of buyers who have not bought yet. Promises a second, and their p99 in
    /// milliseconds.
    fn load(
        &self,
        args: &Args,
        rate: Option<u32>,
        next: &mut u32,
        mut failed: impl FnMut(u64),
    ) -> anyhow::Result<(f64, f64)> {
        let buyers = args.seconds * rate.unwrap_or(CLOSED_RATE_MAX);
        let sends = plan::ordinary(*next..*next + buyers);
        *next += buyers;
        let clock = SystemClock::new();
        let load = Load {
            target: self.target.address,
            requests: Arc::clone(&self.requests),
            sends: sends.into(),
            connections: CONNECTIONS,
            threads: 1,
            rate: rate.map(f64::from),
            sending: Duration::from_secs(args.seconds.into()),
            grace: Duration::from_secs(5),
            warm_up: 1_000,
            persistent: false,
        };
        let run = self.runtime.block_on(async {
            let generator = warm_up(load, &Arc::new(Meters::default()), clock).await?;
            generator.run(clock.monotonic()).await
        })?;
        let figures = Figures::of(&run);
        let promised = figures.accepted + figures.pending;
        failed(figures.sent - promised + if rate.is_some() { run.unsent as u64 } else { 0 });
        let latency = figures.latency.context("nothing was promised")?;
        Ok((promised as f64 / f64::from(args.seconds), latency.p99))
    }
}
