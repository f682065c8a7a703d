//! The generator: sends a plan over keep-alive connections and notes every answer with its latency.
//! Its threads have runtimes of their own, so that nothing else of the load test stands between an
//! answer and its time. It judges nothing: what the notes mean is `tally`'s business.

mod client;
mod connection;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use kit::{
    clock::{Clock, SystemClock},
    metrics::thread_cpu_time,
};
use tokio::{sync::oneshot, task::JoinSet};

use crate::{notes::Notebook, plan::Attempt, requests::Requests};

pub use crate::notes::{Kind, Meters, Name, Names, Note, Reading};
use connection::Connection;
use schedule::Schedule;

/// Connections of one generator, at most.
pub const CONNECTIONS_MAX: usize = 16_384;
/// How long all connections may take to be made and warmed.
const WARM_UP_DEADLINE: Duration = Duration::from_secs(30);
/// Stack of a generator thread: its futures live on the heap.
const STACK_BYTES: usize = 1 << 20;

/// What to send, and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// The engine.
    pub target: SocketAddr,
    /// Every buyer's request.
    pub requests: Arc<Requests>,
    /// The sends, in their order.
    pub sends: Arc<[Attempt]>,
    /// Connections over all threads.
    pub connections: usize,
    /// Generator threads.
    pub threads: usize,
    /// Sends a second, each with its intended time; `None`: as fast as answers come (closed loop).
    pub rate: Option<f64>,
    /// When sending ends, whatever is left of the plan.
    pub sending: Duration,
    /// How long the last answers are waited for after that.
    pub grace: Duration,
    /// `GET /v1/time` over all connections before the clock starts.
    pub warm_up: u32,
    /// A buyer who is to come back, or got no answer, asks again with the same key, after a
    /// random time of at most a second, until the outcome is known or sending ends. Each attempt is
    /// noted.
    pub persistent: bool,
}

/// Why there is no load.
#[derive(Debug, thiserror::Error)]
pub enum GeneratorError {
    /// A generator thread could not start.
    #[error("a generator thread could not start: {0}")]
    Thread(#[source] std::io::Error),
    /// The target does not answer as it should before anything counts.
    #[error("warming up: {0}")]
    WarmUp(String),
    /// A thread is gone.
    #[error("a generator thread ended early")]
    Lost,
}

/// What came of it.
#[derive(Debug)]
pub struct Run {
    /// One for each send that was begun; of each thread in order of time.
    pub notes: Vec<Note>,
    /// What [`Note::name`] means.
    pub names: Vec<Name>,
    /// Sends that the time did not reach.
    pub unsent: usize,
    /// CPU time of the generator's threads while sending; `None` where the kernel has no figure.
    pub cpu: Option<Duration>,
}

/// A generator whose connections stand and are warm.
#[derive(Debug)]
pub struct Generator {
    threads: Vec<Thread>,
    names: Names,
    clock: SystemClock,
}

#[derive(Debug)]
struct Thread {
    go: oneshot::Sender<Duration>,
    done: oneshot::Receiver<Part>,
}

#[derive(Debug)]
struct Part {
    notes: Vec<Note>,
    unsent: usize,
    cpu: Option<Duration>,
}

/// Starts the threads, opens all connections and warms them.
///
/// # Errors
/// [`GeneratorError`] when the target cannot be reached or answers `/v1/time` with anything
/// but 200.
pub async fn warm_up(load: Load, meters: &Arc<Meters>, clock: SystemClock) -> Result<Generator, GeneratorError> {
    if load.sends.len() >= client::IDLE as usize {
        return Err(GeneratorError::WarmUp(format!("{} sends are too many", load.sends.len())));
    }
    let names = Names::default();
    let threads = load.threads.clamp(1, load.connections.max(1));
    let mut generator = Generator { threads: Vec::with_capacity(threads), names: names.clone(), clock };
    let mut warm = Vec::with_capacity(threads);
    for number in 0..threads {
        let (ready, is_ready) = oneshot::channel();
        let (go, start) = oneshot::channel();
        let (finish, done) = oneshot::channel();
        let worker =
            Worker { load: load.clone(), number, threads, meters: meters.clone(), names: names.clone(), clock };
        std::thread::Builder::new()
            .name(format!("generator-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || worker.main(ready, start, finish))
            .map_err(GeneratorError::Thread)?;
        warm.push(is_ready);
        generator.threads.push(Thread { go, done });
    }
    for is_ready in warm {
        is_ready.await.map_err(|_| GeneratorError::Lost)?.map_err(GeneratorError::WarmUp)?;
    }
    Ok(generator)
}

impl Generator {
    /// Starts the clock and sends. `start` is the moment by the clock given to [`warm_up`] from
    /// which notes count; it may lie a little ahead.
    ///
    /// # Errors
    /// [`GeneratorError::Lost`] when a thread is gone.
    pub async fn run(self, start: Duration) -> Result<Run, GeneratorError> {
        let Self { threads, names, clock: _ } = self;
        let mut waiting = Vec::with_capacity(threads.len());
        for Thread { go, done } in threads {
            go.send(start).map_err(|_| GeneratorError::Lost)?;
            waiting.push(done);
        }
        let mut run = Run { notes: Vec::new(), names: Vec::new(), unsent: 0, cpu: Some(Duration::ZERO) };
        for done in waiting {
            let mut part = done.await.map_err(|_| GeneratorError::Lost)?;
            run.notes.append(&mut part.notes);
            run.unsent += part.unsent;
            run.cpu = run.cpu.zip(part.cpu).map(|(sum, cpu)| sum + cpu);
        }
        run.names = names.all();
        Ok(run)
    }

    /// The clock by which [`Generator::run`] starts.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }
}

/// One thread's share: every `threads`-th send, over its own connections.
struct Worker {
    load: Load,
    number: usize,
    threads: usize,
    meters: Arc<Meters>,
    names: Names,
    clock: SystemClock,
}

impl Worker {
    fn main(
        self,
        ready: oneshot::Sender<Result<(), String>>,
        start: oneshot::Receiver<Duration>,
        finish: oneshot::Sender<Part>,
    ) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return hand_over(ready, Err(format!("no runtime: {error}"))),
        };
        runtime.block_on(async {
            let connections = match tokio::time::timeout(WARM_UP_DEADLINE, self.warm_connections()).await {
                Ok(Ok(connections)) => connections,
                Ok(Err(why)) => return hand_over(ready, Err(why)),
                Err(_) => return hand_over(ready, Err(format!("not done within {WARM_UP_DEADLINE:?}"))),
            };
            hand_over(ready, Ok(()));
            // Dropped unused: nothing to do.
            let Ok(start) = start.await else { return };
            hand_over(finish, self.send_all(connections, start).await);
        });
    }

    fn share(&self, whole: usize) -> usize {
        whole / self.threads + usize::from(self.number < whole % self.threads)
    }

    async fn warm_connections(&self) -> Result<Vec<Connection>, String> {
        let count = self.share(self.load.connections);
        let requests = self.share(self.load.warm_up as usize).div_ceil(count.max(1));
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = Connection::to(self.load.target);
            connection.warm(requests).await?;
            connections.push(connection);
        }
        Ok(connections)
    }

    async fn send_all(&self, connections: Vec<Connection>, start: Duration) -> Part {
        let cpu_before = thread_cpu_time().ok();
        let end = start + self.load.sending;
        let schedule = Schedule::new(self.number, self.threads, self.load.sends.len(), self.load.rate, start..end);
        let shared = Arc::new(client::Shared {
            requests: self.load.requests.clone(),
            sends: self.load.sends.clone(),
            schedule,
            names: self.names.clone(),
            meters: self.meters.clone(),
            persistent: self.load.persistent,
            notes: Notebook::with_capacity(self.share(self.load.sends.len())),
            in_flight: (0..connections.len()).map(|_| AtomicU32::new(client::IDLE)).collect(),
            clock: self.clock,
            start,
        });
        let mut clients = JoinSet::new();
        for (number, connection) in connections.into_iter().enumerate() {
            clients.spawn(client::run(shared.clone(), number, connection));
        }
        let patience = end.saturating_sub(self.clock.monotonic()) + self.load.grace;
        let finished = async { while clients.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, finished).await.is_err() {
            clients.shutdown().await;
            shared.note_unanswered();
        }
        let cpu = cpu_before.zip(thread_cpu_time().ok()).map(|(before, after)| after.saturating_sub(before));
        Part { notes: shared.notes.take(), unsent: shared.schedule.unclaimed(), cpu }
    }
}

/// Who waits for it may be gone; then nobody wants it.
fn hand_over<T>(to: oneshot::Sender<T>, value: T) {
    drop(to.send(value));
}
