//! A run from its order to its report: the sale is published, the services start, the parts of the
//! scenario are played one after the other, each until everything is durable, and the audit looks
//! at all of them. Nothing is printed here but progress.

mod beside;
mod part;
pub(crate) mod stage;

use std::{path::Path, time::Duration};

use kit::{
    clock::{Clock, SystemClock},
    exit::Exit,
    token::TokenSigner,
};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    args::Order,
    audit::{self, RowEvidence},
    backends::{Backends, BackendsError},
    baseline::{self, Baselines, Side},
    cpu::Memory,
    durable::Unseen,
    generator::{GeneratorError, Load},
    probe,
    progress::Progress,
    report::{AfterSale, Outcome, Report, Setup},
    requests::RequestsError,
    response::member,
    sale::LoadSale,
    services::{Publisher, ServiceError},
    tally::Book,
    timeline::Timeline,
    under_test::{Place, Raised, Scene, UnderTest},
};

use part::Played;
pub(crate) use stage::Stage;

/// How long the engine may take to learn of the sale and the keeper to open its lanes.
const OPEN_DEADLINE: Duration = Duration::from_secs(60);
/// Between questions whether the sale is open.
const OPEN_POLL: Duration = Duration::from_millis(50);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A store is away.
    #[error(transparent)]
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
    /// The lanes of a sale that is over stay.
    #[error("{0}")]
    NotRetired(String),
    /// Something of this machine.
    #[error("{0}")]
    Here(String),
}

impl RunError {
    /// The status with which a program ends that has nothing to report.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Here(_) | Self::Generator(_) | Self::Requests(_) => Exit::of_chain(self).unwrap_or(Exit::Software),
            Self::Stores(_) | Self::Unseen(_) | Self::Service(_) | Self::NotOpen(_) | Self::NotRetired(_) => {
                Exit::Unavailable
            }
        }
    }
}

/// For `map_err`: trouble of this machine.
pub(crate) fn here(error: impl std::fmt::Display) -> RunError {
    RunError::Here(error.to_string())
}

/// What came of an order.
#[derive(Debug)]
pub struct Done {
    /// The figures.
    pub report: Report,
    /// How it went from moment to moment.
    pub timeline: Timeline,
    /// Services that did not end well.
    pub unruly: Vec<ServiceError>,
}

/// Runs it. `cargo`: builds the programs first.
///
/// # Errors
/// [`RunError`] when there is nothing to report.
pub async fn run(order: &Order, cargo: Option<&Path>, progress: &mut Progress) -> Result<Done, RunError> {
    // Boxed: a run holds much, and lives on its caller's stack otherwise.
    match &order.place {
        #[cfg(feature = "production")]
        Place::Production(production) => Box::pin(run_on(production, order, cargo, progress)).await,
        Place::Embedded(embedded) => Box::pin(run_on(embedded, order, cargo, progress)).await,
    }
}

async fn run_on<U: UnderTest>(
    under_test: &U,
    order: &Order,
    cargo: Option<&Path>,
    progress: &mut Progress,
) -> Result<Done, RunError> {
    let clock = SystemClock::new();
    let seed = order.args.seed.unwrap_or_else(rand::random);
    // Ids are random whatever the seed: a sale cannot be published twice.
    let (units, lanes, partitions) = (order.size.units, order.args.lanes, under_test.partitions());
    let sale = LoadSale::fresh(units, lanes, partitions, clock.now_ms(), &mut StdRng::from_rng(&mut rand::rng()));
    let sale = sale.map_err(here)?;
    let mut stage = Stage::new(order.target.as_ref(), order.args.keep)?;
    let scene = Scene { order, sale: &sale, stage: &mut stage, cargo, clock, progress };
    let Raised { backends, publisher, signer } = match under_test.raise(scene).await {
        Ok(raised) => raised,
        Err(error) => {
            stage.keep();
            // What is said of services that never were ready is in the error already.
            drop(stage.strike().await);
            return Err(error);
        }
    };
    let (book, timeline, baselines, began) =
        (Book::new(0), Timeline::default(), under_test.yardsticks(), Duration::ZERO);
    let mut play = Play {
        under_test,
        order,
        sale,
        seed,
        backends,
        publisher,
        signer,
        stage,
        clock,
        progress,
        book,
        timeline,
        baselines,
        began,
        after_sales: Vec::new(),
        damage_before: Vec::new(),
    };
    let outcome = play.all().await;
    let Play { mut stage, backends, sale, timeline, .. } = play;
    let setup = setup(order, &sale, seed).await;
    let no_parts = || RunError::Here(format!("scenario {} has no parts", order.scenario.name));
    let report = outcome.and_then(|outcome| Report::new(setup, outcome).ok_or_else(no_parts));
    if !report.as_ref().is_ok_and(Report::is_clean) {
        stage.keep();
    }
    backends.close().await;
    let unruly = stage.strike().await;
    Ok(Done { report: report?, timeline, unruly })
}

async fn setup(order: &Order, sale: &LoadSale, seed: u64) -> Setup {
    let args = &order.args;
    Setup {
        scenario: order.scenario.name.into(),
        deployment: order.place.deployment().as_str().into(),
        units: order.size.units,
        lanes: args.lanes,
        connections: args.connections,
        threads: args.threads,
        seconds: order.seconds(),
        seed,
        sale: sale.id.to_string(),
        cores: cores(),
        revision: stage::revision().await,
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Everything that a run has at hand.
struct Play<'a, U: UnderTest> {
    under_test: &'a U,
    order: &'a Order,
    sale: LoadSale,
    seed: u64,
    backends: Backends<U::Sql, U::Witness>,
    publisher: Publisher,
    /// Signs the buyers' tokens.
    signer: TokenSigner,
    stage: Stage,
    clock: SystemClock,
    progress: &'a mut Progress,
    book: Book,
    timeline: Timeline,
    baselines: Baselines,
    /// When the first part began.
    began: Duration,
    /// What was held after each sale of before.
    after_sales: Vec<AfterSale>,
    /// What an audit of a sale of before found.
    damage_before: Vec<String>,
}

impl<U: UnderTest> Play<'_, U> {
    async fn all(&mut self) -> Result<Outcome, RunError> {
        self.play_before().await?;
        self.wait_open().await?;
        let first_measured = self.order.scenario.first_measured();
        let mut played: Vec<Played> = Vec::new();
        let mut cast = None;
        for (number, part) in self.order.scenario.parts.iter().enumerate() {
            // The requests of the part before are many: they go before the next ones come.
            drop(cast.take());
            let ready = self.cast(part, &played).await?;
            if number == first_measured {
                self.compare(&ready.load, Side::Before).await;
            }
            let is_last = number + 1 == self.order.scenario.parts.len();
            played.push(self.perform(part, &ready, self.order.fault.filter(|_| is_last)).await?);
            cast = Some(ready);
        }
        let memory = self.stage.engine_memory();
        if let Some(cast) = cast {
            self.compare(&cast.load, Side::After).await;
        }
        self.judge(played, memory).await
    }

    /// Measures what this machine gives without the engine. Where that fails the report says so,
    /// and has the rest.
    async fn compare(&mut self, load: &Load, side: Side) {
        if self.order.args.no_baselines {
            return;
        }
        self.progress.phase("measuring what the machine gives without the engine");
        let calls = self.under_test.raw_reservations(self.clock).await;
        let threads = self.order.args.front_threads.map_or_else(cores, usize::from);
        let answers = baseline::fixed_answer(load, threads, self.clock).await;
        let Baselines { evalsha_per_s, fixed_answer_per_s, troubles } = &mut self.baselines;
        if let Some((yardstick, calls)) = evalsha_per_s.as_mut().zip(calls) {
            yardstick.note(calls.map_err(|error| troubles.push(error)).ok(), side);
        }
        let answers = answers.map_err(|error| troubles.push(error.to_string())).ok().flatten();
        fixed_answer_per_s.note(answers, side);
    }

    /// Compares what was said with what is.
    async fn judge(&mut self, played: Vec<Played>, engine_memory: Option<Memory>) -> Result<Outcome, RunError> {
        self.progress.phase("auditing");
        let evidence = self.backends.evidence(&self.sale, &self.book).await?;
        let findings = audit::compare(&evidence);
        let mut outstanding = std::mem::take(&mut self.damage_before);
        outstanding.extend(played.iter().flat_map(Played::outstanding));
        let parts = played.into_iter().map(|played| played.told(&self.sale, &evidence.rows)).collect();
        Ok(Outcome {
            at_rest: outstanding.is_empty(),
            parts,
            unknown: self.book.unknown().len(),
            changed: self.book.changed().len(),
            promised_and_refused: self.book.promised_and_refused(),
            findings,
            baselines: std::mem::take(&mut self.baselines),
            engine_memory,
            after_sales: std::mem::take(&mut self.after_sales),
            outstanding,
        })
    }

    /// Waits until the engine calls the sale open and its lanes are.
    async fn wait_open(&mut self) -> Result<(), RunError> {
        self.progress.phase("waiting for the sale to open");
        let token = stage::signer(&self.signer, &self.sale, self.clock);
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
                let hint = "is whoever keeps the lanes at work on the same stores?";
                return Err(RunError::NotOpen(format!("the sale did not open: {lanes}; {said}; {hint}")));
            }
            tokio::time::sleep(OPEN_POLL).await;
        }
    }
}
