//! Makes the plan happen: each fault on a thread of its own, so that one may begin while another
//! lasts; never two on one process.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use domain::id::OrderId;
use kit::{
    clock::{Clock, SystemClock},
    settings::StoreArgs,
};
use loadtest::fault::longest_gap;
use rand::{SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use store::log::kafka::{KafkaSettings, ensure_topics};

use crate::{
    crowd::{Crowd, Offered},
    judge::Taken,
    plan::{Act, Database, Event, Who},
    servers::Servers,
    services::{Service, Services},
};

/// Between two cancellations.
const CANCEL_EVERY: Duration = Duration::from_millis(1_500);
/// What is cancelled was accepted so long ago at least.
const CANCEL_AGE: Duration = Duration::from_secs(3);
/// A publication is tried again for so long.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(90);
/// A time without an accepted order that begins later than this after a fault is not for its
/// reason.
const AFTERMATH: Duration = Duration::from_secs(1);
/// The window of a sale, beyond any trial.
const WINDOW_MS: u64 = 86_400_000;

/// A fault that happened.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    /// What.
    pub(crate) act: Act,
    /// When it began, from the first purchase.
    pub(crate) from: Duration,
    /// When all that it took away was back.
    pub(crate) until: Duration,
    /// In which seed.
    pub(crate) seed: u64,
    /// The longest time without an accepted order that lies in it or shortly after it.
    pub(crate) without_accepted: Duration,
}

/// Everything that can be hurt, and what became of it.
pub(crate) struct Field<'a> {
    servers: &'a Servers,
    services: &'a Services,
    crowd: &'a Crowd,
    stores: &'a StoreArgs,
    clock: SystemClock,
    start: Duration,
    seed: u64,
    busy: Mutex<HashSet<Who>>,
    happened: Mutex<Vec<Happened>>,
    cancelled: Mutex<Vec<(usize, OrderId)>>,
    over: AtomicBool,
    /// When everything was up again after the faults.
    settled: Mutex<Duration>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Field<'a> {
    /// Nothing has happened yet. `start`: the first purchase, by the clock's monotonic time.
    pub(crate) fn new(
        (servers, services): (&'a Servers, &'a Services),
        (crowd, stores): (&'a Crowd, &'a StoreArgs),
        (clock, start, seed): (SystemClock, Duration, u64),
    ) -> Self {
        let (busy, happened, cancelled) = Default::default();
        Self {
            servers,
            services,
            crowd,
            stores,
            clock,
            start,
            seed,
            busy,
            happened,
            cancelled,
            over: false.into(),
            settled: Mutex::default(),
        }
    }

    /// Since the first purchase.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.start)
    }

    /// Makes it all happen, and returns when the time is over and everything that was to come back
    /// came.
    pub(crate) fn run(&self, events: &[Event], length: Duration) {
        std::thread::scope(|scope| {
            for &Event { at, act } in events {
                // What is put back must have been copied.
                let copied_at = at.saturating_sub(Duration::from_secs(age_of(act).unwrap_or(0)));
                if age_of(act).is_some() {
                    scope.spawn(move || {
                        self.wait_until(copied_at);
                        self.copy(act);
                    });
                }
                scope.spawn(move || {
                    self.wait_until(at);
                    self.inflict(act);
                });
            }
            self.wait_until(length);
        });
        self.over.store(true, Relaxed);
    }

    fn wait_until(&self, at: Duration) {
        std::thread::sleep(at.saturating_sub(self.elapsed()));
    }

    fn tell(&self, line: &str) {
        eprintln!("{:7.1} s  {line}", self.elapsed().as_secs_f64());
    }

    fn inflict(&self, act: Act) {
        let who = target(act);
        if let Some(who) = who
            && !locked(&self.busy).insert(who)
        {
            return self.tell(&format!("{act}: left out, {who} is hurt already"));
        }
        self.tell(&act.to_string());
        let from = self.elapsed();
        let done = self.act(act);
        if let Some(who) = who {
            locked(&self.busy).remove(&who);
        }
        match done {
            Ok(()) => {
                let (until, seed) = (self.elapsed(), self.seed);
                locked(&self.happened).push(Happened { act, from, until, seed, without_accepted: Duration::ZERO });
            }
            Err(error) => self.tell(&format!("{act}: not done: {error:#}")),
        }
    }

    fn copy(&self, act: Act) {
        let copied = match act {
            Act::OldRedis(_) if locked(&self.busy).contains(&Who::Server("redis")) => Ok(()),
            Act::OldRedis(_) => self.servers.copy_redis(),
            Act::OldDatabase(database, _) => self.servers.copy_database(&self.services.database(database)),
            _ => Ok(()),
        };
        if let Err(error) = copied {
            self.tell(&format!("no copy: {error:#}"));
        }
    }

    fn act(&self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::Kill(Who::Server(server), again) => {
                self.servers.stack(&["kill", server])?;
                std::thread::sleep(Duration::from_secs(again));
                self.servers.stack(&["up", server]).map(drop)
            }
            Act::Freeze(Who::Server(server), seconds) => {
                self.servers.stack(&["freeze", server])?;
                std::thread::sleep(Duration::from_secs(seconds));
                self.servers.stack(&["thaw", server]).map(drop)
            }
            Act::End(Who::Server(server)) => {
                self.servers.stack(&["down", server])?;
                self.servers.stack(&["up", server]).map(drop)
            }
            Act::Kill(who, again) => {
                let service = self.service(who)?;
                service.kill()?;
                std::thread::sleep(Duration::from_secs(again));
                self.services.start(service)
            }
            Act::Freeze(who, seconds) => {
                let service = self.service(who)?;
                service.signal("STOP")?;
                std::thread::sleep(Duration::from_secs(seconds));
                service.signal("CONT")
            }
            Act::End(who) => {
                let service = self.service(who)?;
                service.end().and(self.services.start(service))
            }
            Act::Flush => self.servers.flush(),
            Act::OldRedis(_) => self.servers.restore_redis(),
            Act::OldDatabase(database, _) => {
                self.servers.restore_database(&self.services.database(database))?;
                self.publish_again(database)
            }
            Act::NewTopic => self.new_topic(),
            Act::BringForward => self.republish(2, |now_ms| (now_ms - 60_000, now_ms + WINDOW_MS)),
            Act::Prolong => self.prolong(),
            Act::Expire(age) => self.services.run("order-writer", &["expire", "--older-than", &age.to_string()]),
        }
    }

    fn service(&self, who: Who) -> anyhow::Result<&Service> {
        let found = match who {
            Who::Engine(number) => self.services.engines.get(number),
            Who::Writer(number) => self.services.writers.get(number),
            Who::Server(_) => None,
        };
        found.context("there is no such service")
    }

    /// The sale with this index gets its next version, with this window.
    fn republish(&self, sale: usize, window: impl Fn(u64) -> (u64, u64)) -> anyhow::Result<()> {
        let offered = &self.crowd.offered[sale];
        let (opens, closes) = window(self.clock.now_ms());
        let file = offered.next_version(opens, closes)?;
        self.publish(offered, file)?;
        offered.open.store(true, Relaxed);
        Ok(())
    }

    /// A ledger that forgot the last versions gets them again from its merchants.
    fn publish_again(&self, database: Database) -> anyhow::Result<()> {
        if database == Database::Ledger {
            for offered in &self.crowd.offered {
                let file = locked(&offered.published).clone();
                self.publish(offered, file)?;
            }
        }
        Ok(())
    }

    fn publish(&self, offered: &Offered, file: String) -> anyhow::Result<()> {
        // Safe to repeat: a merchant tries again while the servers are away.
        let deadline = self.clock.monotonic() + PUBLISHED_WITHIN;
        while let Err(error) = self.services.publish(&file) {
            ensure!(self.clock.monotonic() < deadline, "{error:#}");
            std::thread::sleep(CANCEL_EVERY);
        }
        *locked(&offered.published) = file;
        Ok(())
    }

    /// Ended for two seconds, then open again: a merchant who sells on.
    fn prolong(&self) -> anyhow::Result<()> {
        let opened = self.crowd.offered[3].sale.opens_at_ms;
        self.republish(3, |now_ms| (opened, now_ms))?;
        std::thread::sleep(Duration::from_secs(2));
        self.republish(3, |now_ms| (opened, now_ms + WINDOW_MS))
    }

    fn new_topic(&self) -> anyhow::Result<()> {
        let StoreArgs { kafka, namespace, partitions, .. } = self.stores;
        let settings = KafkaSettings::new(&kafka.kafka_brokers, namespace.as_str(), (*partitions).into());
        let mut config = ClientConfig::new();
        let admin: AdminClient<DefaultClientContext> =
            config.set("bootstrap.servers", &kafka.kafka_brokers).create()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let deleted = admin.delete_topics(&[&settings.orders_topic()], &AdminOptions::new()).await?;
            ensure!(deleted.iter().all(Result::is_ok), "{deleted:?}");
            Ok(ensure_topics(&settings).await?)
        })
    }

    /// A clerk who cancels orders now and then, until the faults are over.
    pub(crate) fn cancel_some(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.over.load(Relaxed) {
            std::thread::sleep(CANCEL_EVERY);
            let Some((sale, order)) = self.crowd.some_order(&mut random, CANCEL_AGE) else { continue };
            // Servers may be away, and the order may be cancelled already.
            if self.services.run("order-writer", &["cancel", &order.to_string()]).is_ok() {
                locked(&self.cancelled).push((sale, order));
            }
        }
    }

    /// Everything is up and ready.
    ///
    /// # Errors
    /// When something does not come back.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        self.servers.stack(&["up"])?;
        self.services.all_ready()?;
        *locked(&self.settled) = self.elapsed();
        Ok(())
    }

    /// Orders whose cancellation was acknowledged, by sale.
    pub(crate) fn cancelled(&self) -> Vec<(usize, OrderId)> {
        locked(&self.cancelled).clone()
    }

    /// What was taken away.
    pub(crate) fn taken(&self) -> Taken {
        let happened = locked(&self.happened);
        let any = |is: &dyn Fn(&Act) -> bool| happened.iter().any(|happened| is(&happened.act));
        Taken { stock: any(&Act::loses_stock), rows: any(&Act::loses_rows) }
    }

    /// All that happened, with what it cost.
    pub(crate) fn happened(&self) -> Vec<Happened> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // When no buyers come any more, nothing is accepted for that reason.
        let settled = micros(*locked(&self.settled));
        let accepted: Vec<u64> = self.crowd.accepted().into_iter().filter(|at| *at <= settled).collect();
        let mut all = locked(&self.happened).clone();
        for happened in &mut all {
            let last = micros(happened.until + AFTERMATH);
            // Up to the first order after its aftermath, if it took so long.
            let end = accepted.iter().copied().filter(|at| *at >= last).min().unwrap_or(last);
            let seen = accepted.iter().copied().filter(|at| *at <= end).collect();
            let gap = longest_gap(seen, micros(happened.from)).map_or(0, |(from, until)| until - from);
            happened.without_accepted = Duration::from_micros(gap);
        }
        all
    }
}

fn age_of(act: Act) -> Option<u64> {
    match act {
        Act::OldRedis(age) | Act::OldDatabase(_, age) => Some(age),
        _ => None,
    }
}

/// The process that a fault hurts.
fn target(act: Act) -> Option<Who> {
    match act {
        Act::Kill(who, _) | Act::Freeze(who, _) | Act::End(who) => Some(who),
        Act::OldRedis(_) => Some(Who::Server("redis")),
        _ => None,
    }
}
