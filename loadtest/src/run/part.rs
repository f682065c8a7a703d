//! One part of a scenario: its buyers are given requests, they send, those without an outcome ask
//! again, and everything becomes durable.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kit::clock::Clock;

use super::{RowEvidence, RunError, Runner, environment, local};
use crate::{
    durable::{self, Rest, Witness},
    fault::{Fault, FaultReport, FaultTimes},
    generator::{self, Generator, Kind, Load, Meters, Run},
    plan::{self, Attempt},
    report::PartOutcome,
    requests::Requests,
    sale::LoadSale,
    scenario::Part,
    tally::Figures,
    timeline::CpuTimes,
    under_test::UnderTest,
};

/// Between looks at the stores while a load runs.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A store that is away is not waited for longer, or the load would go unwatched.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// How long the last answers of a load are waited for.
const GRACE: Duration = Duration::from_secs(10);
/// Questions for the time before the clock starts.
const WARM_UP: u32 = 1_000;
/// Sending of a part that is not measured ends after so many seconds: it should come to its end.
pub(super) const UNMEASURED_SECONDS: u32 = 1_800;
/// For retries after the load; each buyer has one at a time.
const RETRY_SENDING: Duration = Duration::from_secs(60);
/// How often a buyer without an outcome retries.
const RETRY_ROUNDS: u32 = 5;
/// Between these.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// From handing out the start to the start.
const START_AHEAD: Duration = Duration::from_millis(5);

/// A part that was finished.
pub(super) struct FinishedPart {
    pub(super) part: &'static Part,
    pub(super) buyers: Range<u32>,
    pub(super) rate: Option<f64>,
    /// Rates and latencies of the load, and counts of the retries too.
    pub(super) figures: Figures,
    pub(super) unsent: usize,
    pub(super) retried: u64,
    /// CPU time of the generator's threads, and the requests they sent with it.
    pub(super) generator: (Option<Duration>, u64),
    pub(super) start: Duration,
    /// Units sold when it began.
    pub(super) sold_before: u64,
    pub(super) rest: Rest,
    pub(super) cpu: CpuTimes,
    /// How many of them the deployment has.
    pub(super) processes: usize,
    /// What a fault in it cost.
    pub(super) fault: Option<FaultReport>,
}

/// A load and how it looked from outside.
struct WatchedRun {
    run: Run,
    /// Units sold when it was last looked, and when that last changed.
    sold: (u64, Duration),
}

impl FinishedPart {
    /// Durable orders a second, as far as the ledger shows: the rate that was sustained.
    fn sustained(&self) -> Option<f64> {
        let orders = self.rest.snapshot.sold.saturating_sub(self.sold_before);
        let seconds = self.durable_in().as_secs_f64();
        (self.rate.is_none() && orders > 0 && seconds > 0.0).then(|| orders as f64 / seconds)
    }

    /// From the first request to the last row.
    fn durable_in(&self) -> Duration {
        self.rest.last_change.saturating_sub(self.start)
    }

    /// What did not become durable in time.
    pub(super) fn outstanding(&self) -> Vec<String> {
        match (self.rest.reached, self.rest.snapshot.outstanding.as_slice()) {
            (true, _) => Vec::new(),
            (false, []) => vec!["the system came to rest and went on again until the deadline".into()],
            (false, outstanding) => outstanding.to_vec(),
        }
    }

    /// For the report.
    pub(super) fn outcome(self, sale: &LoadSale, rows: &[RowEvidence]) -> PartOutcome {
        let of_part = |row: &&RowEvidence| sale.index_of(row.buyer).is_some_and(|index| self.buyers.contains(&index));
        PartOutcome {
            title: self.part.title,
            measured: self.part.measured,
            buyers: self.buyers.len() as u32,
            rate: self.rate,
            sustained_per_s: self.sustained(),
            orders_durable: rows.iter().filter(of_part).filter(|row| !row.rejected).count() as u64,
            orders_expected: match self.part.reads {
                Some(_) => 0,
                // Others let units go for them.
                None if !self.part.fates.is_empty() => self.buyers.len() as u64,
                None => sale.sellable(self.buyers.end) - sale.sellable(self.buyers.start),
            },
            durable_in: self.durable_in(),
            figures: self.figures,
            unsent: self.unsent as u64,
            retried: self.retried,
            generator: self.generator,
            cpu: self.cpu,
            processes: self.processes,
            fault: self.fault,
        }
    }
}

/// A part with its buyers, ready to be sent.
pub(super) struct PreparedPart {
    pub(super) load: Load,
    buyers: Range<u32>,
}

impl<U: UnderTest> Runner<'_, U> {
    /// Finds the buyers of a part and gives them their requests.
    pub(super) async fn prepare(
        &mut self,
        part: &'static Part,
        finished: &[FinishedPart],
    ) -> Result<PreparedPart, RunError> {
        let args = &self.spec.args;
        let seconds = if part.measured { self.spec.seconds() } else { UNMEASURED_SECONDS };
        let rate = part.pace.rate(args.rate, finished.iter().rev().find_map(FinishedPart::sustained));
        let first = finished.last().map_or(0, |last| last.buyers.end);
        let buyers = first..first + part.buyers(self.spec.size, args.lanes, rate, seconds);
        self.prepare_buyers(part, buyers, rate, seconds).await
    }

    /// Gives these buyers their requests.
    pub(super) async fn prepare_buyers(
        &mut self,
        part: &'static Part,
        buyers: Range<u32>,
        rate: Option<f64>,
        seconds: u32,
    ) -> Result<PreparedPart, RunError> {
        let args = &self.spec.args;
        self.progress.phase(part.title);
        let requests = match part.reads {
            Some(accepted) => Arc::new(Requests::page(self.sale.id, &self.environment.target().host, accepted)),
            None => self.requests(buyers.clone()).await?,
        };
        self.book.admit(buyers.end);
        let load = Load {
            target: self.environment.target().address,
            requests,
            sends: plan::sends(part, buyers.clone(), self.seed).into(),
            connections: args.connections as usize,
            threads: args.threads as usize,
            rate,
            sending: Duration::from_secs(seconds.into()),
            grace: GRACE,
            warm_up: WARM_UP,
            persistent: self.spec.fault.is_some(),
        };
        Ok(PreparedPart { load, buyers })
    }

    /// Plays a part to its end, and has something fail amid it.
    pub(super) async fn run_part(
        &mut self,
        part: &'static Part,
        prepared: &PreparedPart,
        fault: Option<Fault>,
    ) -> Result<FinishedPart, RunError> {
        let load = &prepared.load;
        self.progress.phase("connecting and warming up");
        let meters = Arc::new(Meters::default());
        let generator = generator::warm_up(load.clone(), &meters, self.clock).await?;
        let sold_before = self.backends.look().await?.sold;
        self.progress.phase("sending");
        let cpu_before = self.environment.cpu();
        let start = self.clock.monotonic() + START_AHEAD;
        if self.timeline.parts.is_empty() {
            self.began = start;
        }
        self.timeline.part(start.saturating_sub(self.began), part.title);
        let (under_test, clock) = (self.under_test, self.clock);
        let failing = async {
            let Some(fault) = fault else { return Ok(None) };
            tokio::time::sleep((start + Duration::from_secs(fault.at_s.into())).saturating_sub(clock.monotonic()))
                .await;
            let from = clock.monotonic().saturating_sub(start);
            under_test.fail(fault).await?;
            let until = clock.monotonic().saturating_sub(start);
            Ok::<_, RunError>(Some((fault, FaultTimes { from, until })))
        };
        let watching = self.watch(generator, (sold_before, start), &meters, load.sends.len());
        let (main, failed) = tokio::join!(watching, failing);
        let (main, failed) = (main?, failed?);
        let mut sold = main.sold;
        let mut retries = Figures::default();
        let undecided = undecided(&main.run);
        if undecided {
            self.progress.phase("retrying for buyers who do not know their outcome");
            self.book.enter(&main.run, &load.sends);
            (retries, sold) = self.retry(prepared, sold).await?;
        }
        let rest = self.wait_durable(sold).await?;
        let cpu = environment::differences(cpu_before, self.environment.cpu());
        if !undecided {
            // Not before: these notes are many, and the last row should be seen when it is written.
            self.book.enter(&main.run, &load.sends);
        }
        let mut figures = Figures::of(&main.run);
        let generator = (main.run.cpu, figures.sent);
        figures.add_counts(&retries);
        let rows = self.timeline.growth_since(start.saturating_sub(self.began));
        let fault = failed.map(|(fault, times)| FaultReport::of(fault, times, &main.run, &rows));
        let (unsent, retried, rate) = (main.run.unsent, retries.sent, load.rate);
        let (buyers, processes) = (prepared.buyers.clone(), U::processes(self.spec));
        Ok(FinishedPart {
            part,
            buyers,
            rate,
            figures,
            unsent,
            retried,
            generator,
            start,
            sold_before,
            rest,
            cpu,
            processes,
            fault,
        })
    }

    async fn requests(&mut self, buyers: Range<u32>) -> Result<Arc<Requests>, RunError> {
        self.progress.phase("signing the buyers' tokens");
        let (sale, host, count) = (self.sale.clone(), self.environment.target().host.clone(), buyers.len());
        let sign = environment::signer(&self.signer, &sale, self.clock);
        let (signed, seen) = (Arc::new(AtomicU64::new(0)), self.clock.monotonic());
        let counted = signed.clone();
        let work = move || Requests::build(&sale, &host, buyers, super::cores(), &sign, &counted);
        let mut work = tokio::task::spawn_blocking(work);
        loop {
            match tokio::time::timeout(LOOK_EVERY, &mut work).await {
                Ok(requests) => return Ok(Arc::new(requests.map_err(local)??)),
                Err(_) => {
                    let line = format!("{} of {count} tokens signed", signed.load(Ordering::Relaxed));
                    self.progress.show(self.clock.monotonic().saturating_sub(seen), &line);
                }
            }
        }
    }

    /// Fires, and shows how it goes. `sold` and `start`: what was sold when it starts.
    async fn watch(
        &mut self,
        generator: Generator,
        (sold, start): (u64, Duration),
        meters: &Meters,
        sends: usize,
    ) -> Result<WatchedRun, RunError> {
        let mut sold = (sold, start);
        let running = generator.run(start);
        tokio::pin!(running);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                run = &mut running => {
                    self.timeline.load_ended(meters.read());
                    return Ok(WatchedRun { run: run?, sold });
                }
                _ = ticks.tick() => {
                    self.environment.check_running()?;
                    // A store that is away for a moment is not the end of the load.
                    let looked = tokio::time::timeout(LOOK_PATIENCE, self.backends.look()).await;
                    let snapshot = looked.ok().and_then(Result::ok);
                    let (now, reading) = (self.clock.monotonic(), meters.read());
                    if let Some(snapshot) = &snapshot && snapshot.sold != sold.0 {
                        sold = (snapshot.sold, now);
                    }
                    let at = now.saturating_sub(self.began);
                    self.timeline.note(at, Some(reading), snapshot.as_ref(), self.environment.cpu());
                    self.progress.load(at, reading, snapshot.as_ref(), sends);
                }
            }
        }
    }

    /// Every buyer without an outcome asks once more, as an ordinary client, a few rounds at most.
    async fn retry(
        &mut self,
        prepared: &PreparedPart,
        mut sold: (u64, Duration),
    ) -> Result<(Figures, (u64, Duration)), RunError> {
        let mut figures = Figures::default();
        for round in 0..RETRY_ROUNDS {
            // Those of earlier parts had their rounds, and their requests are gone.
            let unknown = self.book.unknown().into_iter().filter(|buyer| prepared.buyers.contains(buyer));
            let sends: Arc<[Attempt]> = plan::ordinary(unknown).into();
            if sends.is_empty() {
                break;
            }
            if round > 0 {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            let (rate, sending, warm_up) = (None, RETRY_SENDING, 0);
            let load = Load { sends: sends.clone(), rate, sending, warm_up, ..prepared.load.clone() };
            let meters = Arc::new(Meters::default());
            let generator = generator::warm_up(load, &meters, self.clock).await?;
            let watched = self.watch(generator, (sold.0, self.clock.monotonic()), &meters, sends.len()).await?;
            if watched.sold.0 != sold.0 {
                sold = watched.sold;
            }
            self.book.enter(&watched.run, &sends);
            figures.add_counts(&Figures::of(&watched.run));
        }
        Ok((figures, sold))
    }

    pub(super) async fn wait_durable(&mut self, sold: (u64, Duration)) -> Result<Rest, RunError> {
        self.progress.phase("waiting until everything is durable");
        let Self { backends, clock, progress, timeline, environment, began, .. } = self;
        let deadline = clock.monotonic() + durable::DEADLINE;
        let rest = durable::wait(backends, clock, sold, deadline, |snapshot| {
            let at = clock.monotonic().saturating_sub(*began);
            if timeline.last_noted().is_none_or(|last| at >= last + LOOK_EVERY) {
                timeline.note(at, None, Some(snapshot), environment.cpu());
            }
            let line = format!("durable {}, lag {}, journal {}", snapshot.sold, snapshot.lag, snapshot.journal);
            progress.show(at, &line);
        });
        Ok(rest.await?)
    }
}

/// Some buyer may not know the outcome: then it takes the whole book to say who.
fn undecided(run: &Run) -> bool {
    let decided = |kind| matches!(kind, Kind::Accepted | Kind::Pending | Kind::Refused);
    run.names.iter().any(|name| !decided(name.kind))
}
