//! A run from its order to its report: the sale is published, the services start, the buyers come, everything becomes
//! durable, the audit looks. Nothing is printed here but progress.

mod stage;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kit::clock::{Clock, SystemClock};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    args::Order,
    audit,
    backends::{Backends, BackendsError},
    durable::{self, Rest, Unseen, Witness},
    generator::{self, Armed, GeneratorError, Kind, Load, Meters, Run},
    plan::{self, Attempt},
    probe,
    progress::Progress,
    report::{Outcome, Report, Setup},
    requests::{Requests, RequestsError},
    response::member,
    sale::LoadSale,
    services::ServiceError,
    tally::{Book, Figures},
};

use stage::Stage;

/// Between looks at the stores while the load runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the engine may take to learn of the sale and the keeper to open its lanes.
const OPEN_DEADLINE: Duration = Duration::from_secs(60);
/// Between questions whether the sale is open.
const OPEN_POLL: Duration = Duration::from_millis(50);
/// How long the last answers of a load are waited for.
const GRACE: Duration = Duration::from_secs(10);
/// Questions for the time before the clock starts.
const WARM_UP: u32 = 1_000;
/// For retries after the load; each buyer has one at a time.
const RETRY_SENDING: Duration = Duration::from_secs(60);
/// How often a buyer without an outcome retries.
const RETRY_ROUNDS: u32 = 5;
/// Between these.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// From handing out the start to the start.
const FIRE_AHEAD: Duration = Duration::from_millis(5);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A store is away.
    #[error("{0}\nare the servers up? stack/stack up && . stack/env; stack/stack status tells")]
    Stores(#[from] BackendsError),
    /// A store went away while everything was to become durable.
    #[error("cannot see whether everything is durable: {0}")]
    Unseen(#[from] Unseen),
    /// A service does not do what it should.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The load could not be made.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// The requests could not be made.
    #[error(transparent)]
    Requests(#[from] RequestsError),
    /// The sale did not open.
    #[error("{0}")]
    NotOpen(String),
    /// Something of this machine.
    #[error("{0}")]
    Here(String),
}

/// For `map_err`: trouble of this machine.
fn here(error: impl std::fmt::Display) -> RunError {
    RunError::Here(error.to_string())
}

/// What came of an order.
#[derive(Debug)]
pub struct Done {
    /// The figures.
    pub report: Report,
    /// Services that did not end well.
    pub unruly: Vec<ServiceError>,
}

/// Runs it.
///
/// # Errors
/// [`RunError`] when there is nothing to report.
pub async fn run(order: &Order, cargo: Option<&Path>, progress: &mut Progress) -> Result<Done, RunError> {
    let clock = SystemClock::new();
    let seed = order.args.seed.unwrap_or_else(rand::random);
    // Ids are random whatever the seed: a sale cannot be published twice.
    let (lanes, partitions) = (order.args.lanes, order.args.stores.partitions.into());
    let sale = LoadSale::fresh(order.units, lanes, partitions, clock.now_ms(), &mut StdRng::from_rng(&mut rand::rng()));
    let sale = sale.map_err(here)?;
    let backends = Backends::open(&order.args.stores, &sale).await?;
    let stage = Stage::set(order, &sale, cargo, clock, progress).await?;
    let mut play = Play { order, sale, seed, backends, stage, clock, progress };
    let outcome = play.all().await;
    let Play { mut stage, backends, sale, .. } = play;
    if outcome.is_err() {
        stage.keep();
    }
    let unruly = stage.strike().await;
    backends.close().await;
    let report = Report::new(setup(order, &sale, seed).await, outcome?);
    Ok(Done { report, unruly })
}

async fn setup(order: &Order, sale: &LoadSale, seed: u64) -> Setup {
    let args = &order.args;
    Setup {
        scenario: order.scenario.name.into(),
        deployment: args.deployment.as_str().into(),
        units: order.units,
        buyers: order.buyers,
        lanes: args.lanes,
        connections: args.connections,
        threads: args.threads,
        rate: args.rate,
        loop_kind: if args.rate.is_some() { "open" } else { "closed" },
        seconds: args.seconds,
        seed,
        sale: sale.id.to_string(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        revision: stage::revision().await,
    }
}

/// Everything that a run has at hand.
struct Play<'a> {
    order: &'a Order,
    sale: LoadSale,
    seed: u64,
    backends: Backends,
    stage: Stage,
    clock: SystemClock,
    progress: &'a mut Progress,
}

/// A load and how it looked from outside.
struct Shown {
    run: Run,
    /// Units sold when it was last looked, and when that last changed.
    sold: (u64, Duration),
}

impl Play<'_> {
    async fn all(&mut self) -> Result<Outcome, RunError> {
        let requests = self.requests().await?;
        self.wait_open().await?;
        let sends: Arc<[Attempt]> = plan::sends(self.order.scenario, self.order.buyers, self.seed).into();
        let args = &self.order.args;
        let load = Load {
            target: self.stage.target().address,
            requests,
            sends,
            connections: args.connections as usize,
            threads: args.threads as usize,
            rate: args.rate,
            sending: Duration::from_secs(args.seconds.into()),
            grace: GRACE,
            warm_up: WARM_UP,
        };
        self.progress.phase("connecting and warming up");
        let meters = Arc::new(Meters::default());
        let armed = generator::arm(load.clone(), &meters, self.clock).await?;
        self.progress.phase("sending");
        let cpu_before = self.stage.cpu();
        let start = self.clock.monotonic() + FIRE_AHEAD;
        let main = self.watch(armed, start, start, &meters, load.sends.len()).await?;
        let mut book = Book::new(self.order.buyers);
        let mut sold = main.sold;
        let mut retries = Figures::default();
        if undecided(&main.run) {
            self.progress.phase("retrying for buyers who do not know their outcome");
            book.enter(&main.run, &load.sends);
            (retries, sold) = self.retry(&load, &mut book, start, sold).await?;
        }
        let rest = self.wait_durable(start, sold).await?;
        let cpu_after = self.stage.cpu();
        if !undecided(&main.run) {
            // Not before: these notes are many, and the last row should be seen when it is written.
            book.enter(&main.run, &load.sends);
        }
        let cpu = stage::differences(cpu_before, cpu_after);
        self.judge(&main.run, retries, &book, rest, start, cpu).await
    }

    /// Compares what was said with what is.
    async fn judge(
        &mut self,
        run: &Run,
        retries: Figures,
        book: &Book,
        rest: Rest,
        start: Duration,
        cpu: [Option<Duration>; 6],
    ) -> Result<Outcome, RunError> {
        self.progress.phase("auditing");
        let evidence = self.backends.evidence(&self.sale, book).await?;
        let findings = audit::compare(&evidence);
        let mut figures = Figures::of(run);
        let generator = (run.cpu, figures.sent);
        figures.add_counts(&retries);
        let mut outstanding = if rest.reached { Vec::new() } else { rest.standing.outstanding };
        if !rest.reached && outstanding.is_empty() {
            outstanding.push("the system came to rest and went on again until the deadline".into());
        }
        Ok(Outcome {
            figures,
            unsent: run.unsent,
            retried: retries.sent,
            unknown: book.unknown().len(),
            changed: book.changed().len(),
            promised_and_refused: book.promised_and_refused(),
            orders_durable: evidence.rows.iter().filter(|row| !row.rejected).count() as u64,
            orders_expected: self.sale.sellable(self.order.buyers),
            durable_in: rest.last_change.saturating_sub(start),
            findings,
            cpu,
            generator,
            at_rest: rest.reached,
            outstanding,
        })
    }

    async fn requests(&mut self) -> Result<Arc<Requests>, RunError> {
        self.progress.phase("signing the buyers' tokens");
        let (sale, host, buyers) = (self.sale.clone(), self.stage.target().host.clone(), self.order.buyers);
        let sign = stage::signer(&self.order.args, &sale, self.clock).map_err(here)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (signed, seen) = (Arc::new(AtomicU64::new(0)), self.clock.monotonic());
        let count = signed.clone();
        let work = move || Requests::build(&sale, &host, buyers, threads, &sign, &count);
        let mut work = tokio::task::spawn_blocking(work);
        loop {
            match tokio::time::timeout(LOOK_EVERY, &mut work).await {
                Ok(requests) => return Ok(Arc::new(requests.map_err(here)??)),
                Err(_) => {
                    let line = format!("{} of {buyers} tokens signed", signed.load(Ordering::Relaxed));
                    self.progress.show(self.clock.monotonic().saturating_sub(seen), &line);
                }
            }
        }
    }

    /// Waits until the engine calls the sale open and its lanes are.
    async fn wait_open(&mut self) -> Result<(), RunError> {
        self.progress.phase("waiting for the sale to open");
        let token = stage::signer(&self.order.args, &self.sale, self.clock).map_err(here)?;
        let token = token(self.sale.buyer(0).map_err(here)?).map_err(here)?;
        let (address, path) = (self.stage.target().address, format!("/v1/sales/{}", self.sale.id));
        let deadline = self.clock.monotonic() + OPEN_DEADLINE;
        loop {
            self.stage.check_running()?;
            let said = match probe::get(address, &path, Some(&token)).await {
                Ok(reply) if reply.status == 200 && member(reply.body.as_bytes(), "state") == Some("open") => None,
                Ok(reply) => Some(format!("GET {path}: {} {}", reply.status, reply.body)),
                Err(error) => Some(format!("GET {path}: {error}")),
            };
            let closed = self.backends.closed_lanes().await?;
            if said.is_none() && closed.is_empty() {
                return Ok(());
            }
            if self.clock.monotonic() >= deadline {
                let lanes = format!("{} of {} lanes are closed", closed.len(), self.sale.offers.len());
                let said = said.unwrap_or_else(|| "the engine calls it open".into());
                let hint = "is an order-writer at work on this namespace?";
                return Err(RunError::NotOpen(format!("the sale did not open: {lanes}; {said}; {hint}")));
            }
            tokio::time::sleep(OPEN_POLL).await;
        }
    }

    /// Fires, and shows how it goes. `began`: when the first load began, for the display.
    async fn watch(
        &mut self,
        armed: Armed,
        start: Duration,
        began: Duration,
        meters: &Meters,
        sends: usize,
    ) -> Result<Shown, RunError> {
        let mut sold = (0, start);
        let firing = armed.fire(start);
        tokio::pin!(firing);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                run = &mut firing => return Ok(Shown { run: run?, sold }),
                _ = ticks.tick() => {
                    self.stage.check_running()?;
                    // A store that is away for a moment is not the end of the load.
                    let standing = self.backends.look().await.ok();
                    let now = self.clock.monotonic();
                    if let Some(standing) = &standing && standing.sold != sold.0 {
                        sold = (standing.sold, now);
                    }
                    self.progress.load(now.saturating_sub(began), meters.read(), standing.as_ref(), sends);
                }
            }
        }
    }

    /// Every buyer without an outcome asks once more, as an ordinary client, a few rounds at most.
    async fn retry(
        &mut self,
        load: &Load,
        book: &mut Book,
        began: Duration,
        mut sold: (u64, Duration),
    ) -> Result<(Figures, (u64, Duration)), RunError> {
        let mut figures = Figures::default();
        for round in 0..RETRY_ROUNDS {
            let sends: Arc<[Attempt]> = plan::ordinary(book.unknown().into_iter()).into();
            if sends.is_empty() {
                break;
            }
            if round > 0 {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            let load = Load { sends: sends.clone(), rate: None, sending: RETRY_SENDING, warm_up: 0, ..load.clone() };
            let meters = Arc::new(Meters::default());
            let armed = generator::arm(load, &meters, self.clock).await?;
            let shown = self.watch(armed, self.clock.monotonic(), began, &meters, sends.len()).await?;
            if shown.sold.0 != 0 && shown.sold.0 != sold.0 {
                sold = shown.sold;
            }
            book.enter(&shown.run, &sends);
            figures.add_counts(&Figures::of(&shown.run));
        }
        Ok((figures, sold))
    }

    async fn wait_durable(&mut self, began: Duration, sold: (u64, Duration)) -> Result<Rest, RunError> {
        self.progress.phase("waiting until everything is durable");
        let Self { backends, clock, progress, .. } = self;
        let deadline = clock.monotonic() + durable::DEADLINE;
        let rest = durable::wait(backends, clock, sold, deadline, |standing| {
            let line = format!("durable {}, lag {}, journal {}", standing.sold, standing.lag, standing.journal);
            progress.show(clock.monotonic().saturating_sub(began), &line);
        });
        Ok(rest.await?)
    }
}

/// Some buyer may not know the outcome: then it takes the whole book to say who.
fn undecided(run: &Run) -> bool {
    let decided = |kind| matches!(kind, Kind::Accepted | Kind::Pending | Kind::Refused);
    run.names.iter().any(|name| !decided(name.kind))
}
