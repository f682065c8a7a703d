//! A run from its specification to its report: the sale is published, the services start, the parts
//! of the scenario run one after the other, each until everything is durable, and the audit covers
//! all of them. Nothing is printed here but progress.

mod earlier;
mod life;
mod part;

use std::{path::Path, time::Duration};

use kit::{
    clock::{Clock, SystemClock},
    token::TokenSigner,
};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    audit::{self, RowEvidence},
    backends::Backends,
    baseline::{self, Baselines, Side},
    deployment::Deployment,
    environment::{self, Environment},
    error::local,
    generator::{Load, Names},
    life::PAY_WITHIN_S,
    probe,
    progress::Progress,
    report::{AfterSale, Memory, Outcome, Report, Setup},
    response::member,
    sale::LoadSale,
    services::{Publisher, ServiceError},
    spec::RunSpec,
    tally::Book,
    timeline::Timeline,
    under_test::{Cashier, StartContext, Started, UnderTest},
};

use life::Lived;
use part::FinishedPart;

pub use crate::error::RunError;

/// How long the engine may take to learn of the sale and the keeper to open its lanes.
const OPEN_DEADLINE: Duration = Duration::from_secs(60);
/// Between questions whether the sale is open.
const OPEN_POLL: Duration = Duration::from_millis(50);

/// What a run came to.
#[derive(Debug)]
pub struct Done {
    /// The figures.
    pub report: Report,
    /// How it went from moment to moment.
    pub timeline: Timeline,
    /// Services that did not end well.
    pub failed_services: Vec<ServiceError>,
}

/// Runs it. `cargo`: builds the programs first.
///
/// # Errors
/// [`RunError`] when there is nothing to report.
pub async fn run(spec: &RunSpec, cargo: Option<&Path>, progress: &mut Progress) -> Result<Done, RunError> {
    // Boxed: a run holds much, and lives on its caller's stack otherwise.
    match &spec.deployment {
        #[cfg(feature = "production")]
        Deployment::Production(production) => Box::pin(run_on(production, spec, cargo, progress)).await,
        Deployment::Embedded(embedded) => Box::pin(run_on(embedded, spec, cargo, progress)).await,
    }
}

async fn run_on<U: UnderTest>(
    under_test: &U,
    spec: &RunSpec,
    cargo: Option<&Path>,
    progress: &mut Progress,
) -> Result<Done, RunError> {
    let clock = SystemClock::new();
    let seed = spec.args.seed.unwrap_or_else(rand::random);
    // Ids are random whatever the seed: a sale cannot be published twice.
    let (units, lanes, partitions) = (spec.size.units, spec.args.lanes, under_test.partitions());
    let sale = LoadSale::fresh(units, lanes, partitions, clock.now_ms(), &mut StdRng::from_rng(&mut rand::rng()));
    let mut sale = sale.map_err(local)?;
    if spec.scenario.is_paid() {
        sale.pay_within_s = Some(PAY_WITHIN_S);
        sale.tenant = under_test.paid_tenant().unwrap_or(sale.tenant);
    }
    let mut environment = Environment::new(spec.target.as_ref(), spec.args.keep)?;
    let context = StartContext { spec, sale: &sale, environment: &mut environment, cargo, clock, progress };
    let Started { backends, publisher, signer, cashier } = match under_test.start(context).await {
        Ok(started) => started,
        Err(error) => {
            environment.keep();
            // The error already names the service that never was ready.
            drop(environment.stop().await);
            return Err(error);
        }
    };
    let (book, timeline, baselines, began) =
        (Book::new(0), Timeline::default(), under_test.yardsticks(), Duration::ZERO);
    let mut runner = Runner {
        under_test,
        spec,
        sale,
        seed,
        backends,
        publisher,
        signer,
        environment,
        clock,
        progress,
        book,
        timeline,
        baselines,
        began,
        cashier,
        names: Names::default(),
        lived: Lived::default(),
        after_sales: Vec::new(),
        earlier_damage: Vec::new(),
    };
    let outcome = runner.run_all().await;
    let Runner { mut environment, backends, sale, timeline, .. } = runner;
    let setup = setup(spec, &sale, seed).await;
    let no_parts = || local(format!("scenario {} has no parts", spec.scenario.name));
    let report = outcome.and_then(|outcome| Report::new(setup, outcome).ok_or_else(no_parts));
    if !report.as_ref().is_ok_and(Report::is_clean) {
        environment.keep();
    }
    backends.close().await;
    let failed_services = environment.stop().await;
    Ok(Done { report: report?, timeline, failed_services })
}

async fn setup(spec: &RunSpec, sale: &LoadSale, seed: u64) -> Setup {
    let args = &spec.args;
    Setup {
        scenario: spec.scenario.name.into(),
        deployment: spec.deployment.kind().as_str().into(),
        units: spec.size.units,
        lanes: args.lanes,
        connections: args.connections,
        threads: args.threads,
        seconds: spec.seconds(),
        seed,
        sale: sale.id.to_string(),
        cores: cores(),
        revision: environment::revision().await,
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Everything that a run has at hand.
struct Runner<'a, U: UnderTest> {
    under_test: &'a U,
    spec: &'a RunSpec,
    sale: LoadSale,
    seed: u64,
    backends: Backends<U::Sql, U::Witness>,
    publisher: Publisher,
    /// Signs the buyers' tokens.
    signer: TokenSigner,
    environment: Environment,
    clock: SystemClock,
    progress: &'a mut Progress,
    book: Book,
    timeline: Timeline,
    baselines: Baselines,
    /// When the first part began.
    began: Duration,
    /// Where orders are paid, if they are.
    cashier: Option<Cashier>,
    /// What buyers were answered who pay.
    names: Names,
    lived: Lived,
    /// What was held after each sale of before.
    after_sales: Vec<AfterSale>,
    /// What an audit of a sale of before found.
    earlier_damage: Vec<String>,
}

impl<U: UnderTest> Runner<'_, U> {
    async fn run_all(&mut self) -> Result<Outcome, RunError> {
        self.run_earlier_sales().await?;
        self.wait_open().await?;
        let first_measured = self.spec.scenario.first_measured();
        let mut finished: Vec<FinishedPart> = Vec::new();
        let mut prepared = None;
        for (number, part) in self.spec.scenario.parts.iter().enumerate() {
            // The requests of the part before are many: they go before the next ones come.
            drop(prepared.take());
            let is_last = number + 1 == self.spec.scenario.parts.len();
            if !part.fates.is_empty() {
                let fault = self.spec.fault.filter(|_| number == first_measured);
                finished.push(self.live_part(part, &finished, fault).await?);
                continue;
            }
            let ready = self.prepare(part, &finished).await?;
            if number == first_measured {
                self.measure_baselines(&ready.load, Side::Before).await;
            }
            finished.push(self.run_part(part, &ready, self.spec.fault.filter(|_| is_last)).await?);
            prepared = Some(ready);
        }
        if self.spec.scenario.is_paid() {
            self.settle().await?;
        }
        let memory = self.environment.engine_memory();
        if let Some(prepared) = prepared {
            self.measure_baselines(&prepared.load, Side::After).await;
        }
        let outcome = self.audit(finished, memory).await?;
        // A sale that is left on sale is rebuilt before the next run's when a server fails there.
        if self.spec.target.is_none() && !self.spec.args.keep {
            self.end(&self.sale).await?;
        }
        Ok(outcome)
    }

    /// Measures what this machine gives without the engine. Where that fails the report says so,
    /// and has the rest.
    async fn measure_baselines(&mut self, load: &Load, side: Side) {
        if self.spec.args.no_baselines {
            return;
        }
        self.progress.phase("measuring what the machine gives without the engine");
        let calls = self.under_test.raw_reservations(self.clock).await;
        let threads = self.spec.args.front_threads.map_or_else(cores, usize::from);
        let answers = baseline::fixed_answer(load, threads, self.clock).await;
        let Baselines { evalsha_per_s, fixed_answer_per_s, troubles } = &mut self.baselines;
        if let Some((yardstick, calls)) = evalsha_per_s.as_mut().zip(calls) {
            yardstick.note(calls.map_err(|error| troubles.push(error)).ok(), side);
        }
        let answers = answers.map_err(|error| troubles.push(error.to_string())).ok().flatten();
        fixed_answer_per_s.note(answers, side);
    }

    /// Compares what buyers were answered with what the stores hold.
    async fn audit(&mut self, finished: Vec<FinishedPart>, engine_memory: Option<Memory>) -> Result<Outcome, RunError> {
        self.progress.phase("auditing");
        let evidence = self.backends.evidence(&self.sale, &self.book).await?;
        let findings = audit::compare(&evidence);
        let life = self.life_outcome(&evidence.rows);
        let mut outstanding = std::mem::take(&mut self.earlier_damage);
        outstanding.extend(finished.iter().flat_map(FinishedPart::outstanding));
        let parts = finished.into_iter().map(|finished| finished.outcome(&self.sale, &evidence.rows)).collect();
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
            life,
        })
    }

    /// Waits until the engine calls the sale open and its lanes are.
    async fn wait_open(&mut self) -> Result<(), RunError> {
        self.progress.phase("waiting for the sale to open");
        let token = environment::signer(&self.signer, &self.sale, self.clock);
        let token = token(self.sale.buyer(0).map_err(local)?).map_err(local)?;
        let (address, path) = (self.environment.target().address, format!("/v1/sales/{}", self.sale.id));
        let deadline = self.clock.monotonic() + OPEN_DEADLINE;
        loop {
            self.environment.check_running()?;
            let answer = match probe::get(address, &path, Some(&token)).await {
                Ok(reply) if reply.status == 200 && member(reply.body.as_bytes(), "state") == Some("open") => None,
                Ok(reply) => Some(format!("GET {path}: {} {}", reply.status, reply.body)),
                Err(error) => Some(format!("GET {path}: {error}")),
            };
            let closed = self.backends.closed_lanes().await?;
            if answer.is_none() && closed.is_empty() {
                return Ok(());
            }
            if self.clock.monotonic() >= deadline {
                let lanes = format!("{} of {} lanes are closed", closed.len(), self.sale.offers.len());
                let answer = answer.unwrap_or_else(|| "the engine calls it open".into());
                let hint = "is whoever keeps the lanes at work on the same stores?";
                return Err(RunError::NotOpen(format!("the sale did not open: {lanes}; {answer}; {hint}")));
            }
            tokio::time::sleep(OPEN_POLL).await;
        }
    }
}
