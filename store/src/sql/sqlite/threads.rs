//! The threads that own a database's connections, and the way of a call to them and back. A call
//! that is given up before its turn never happens; one that is given up later is interrupted.

use std::{
    fmt,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::InterruptHandle;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    NowMs, Settings,
    file::{OpenFile, Role},
};
use crate::{
    figures::{CallCount, DatabaseFigures, PoolUse},
    sql::SqlError,
};

/// A call as a thread carries it out.
pub(super) type Job = Box<dyn FnOnce(&mut Place) + Send>;

/// Who carries a call out.
#[derive(Clone, Copy)]
pub(super) enum Queue {
    /// The one thread that writes.
    Writer,
    /// Any of those that read.
    Readers,
}

/// What all handles to one database share.
pub(super) struct Database {
    path: Result<PathBuf, SqlError>,
    now_ms: NowMs,
    settings: Settings,
    state: Mutex<State>,
    gauge: Arc<Gauge>,
    statements: CallCount,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

enum State {
    Unused,
    Running(Threads),
    Closed,
}

/// The ways to the threads, which end once these are dropped and what is under way is done.
struct Threads {
    writer: mpsc::Sender<Job>,
    readers: mpsc::Sender<Job>,
    ended: oneshot::Receiver<()>,
}

#[derive(Default)]
struct Gauge {
    threads: AtomicU64,
    working: AtomicU64,
    waiting: AtomicU64,
}

/// A call that waits for its turn.
struct Waiting(Arc<Gauge>);

impl Waiting {
    fn new(gauge: &Arc<Gauge>) -> Self {
        gauge.waiting.fetch_add(1, Relaxed);
        Self(Arc::clone(gauge))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a call is. Its two sides agree under the lock, so an interruption never meets the call
/// after it.
enum CallState {
    Queued,
    Running(Arc<InterruptHandle>),
    Over,
}

#[derive(Clone)]
struct Ticket(Arc<Mutex<CallState>>);

impl Ticket {
    /// `false`: given up.
    fn begin(&self, interrupt: &Arc<InterruptHandle>) -> bool {
        let mut state = lock(&self.0);
        let queued = matches!(*state, CallState::Queued);
        if queued {
            *state = CallState::Running(Arc::clone(interrupt));
        }
        queued
    }

    fn end(&self) {
        *lock(&self.0) = CallState::Over;
    }

    /// Returns whether it had not begun, and now never will.
    fn withdraw(&self) -> bool {
        let mut state = lock(&self.0);
        let queued = matches!(*state, CallState::Queued);
        if queued {
            *state = CallState::Over;
        }
        queued
    }

    fn give_up(&self) {
        let mut state = lock(&self.0);
        if let CallState::Running(interrupt) = &*state {
            interrupt.interrupt();
        }
        *state = CallState::Over;
    }
}

/// The caller's side: dropped with the call.
struct Caller(Ticket);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// A thread's own place: its connection, opened when it is needed.
pub(super) struct Place {
    path: PathBuf,
    role: Role,
    now_ms: NowMs,
    settings: Settings,
    file: Option<OpenFile>,
    working: bool,
    gauge: Arc<Gauge>,
}

impl Place {
    fn file(&mut self) -> Result<&mut OpenFile, SqlError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenFile::open(&self.path, self.role, &self.now_ms, &self.settings)?,
        };
        Ok(self.file.insert(file))
    }

    fn set_working(&mut self, working: bool) {
        if working && !self.working {
            self.gauge.working.fetch_add(1, Relaxed);
        } else if !working && self.working {
            self.gauge.working.fetch_sub(1, Relaxed);
        }
        self.working = working;
    }

    /// Said before the answer, so that who has the answer sees a thread that rests; not in the
    /// middle of a transaction.
    fn rest(&mut self) {
        if !self.file.as_ref().is_some_and(OpenFile::in_transaction) {
            self.set_working(false);
        }
    }

    fn carry_out<T>(
        &mut self,
        ticket: &Ticket,
        work: impl FnOnce(&mut OpenFile) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let file = self.file()?;
        if !ticket.begin(file.interrupt()) {
            return Err(SqlError::LockWait("its caller has gone".into()));
        }
        let result = work(file);
        ticket.end();
        result
    }

    /// Carries out one transaction: all calls of its session, until the session is dropped. Then
    /// what is not committed is undone.
    fn attend(&mut self, mut session: mpsc::Receiver<Job>) {
        while let Some(job) = session.blocking_recv() {
            job(self);
        }
        if let Some(file) = &mut self.file {
            file.roll_back();
        }
    }

    fn work_off(&mut self, mut next: impl FnMut() -> Option<Job>) {
        while let Some(job) = next() {
            self.set_working(true);
            // Never within a transaction: the rest of it must not run on another connection.
            if self.file.as_ref().is_some_and(OpenFile::is_spent) {
                self.file = None;
            }
            job(self);
            self.set_working(false);
        }
        self.gauge.threads.fetch_sub(1, Relaxed);
    }
}

impl Database {
    pub(super) fn new(path: Result<PathBuf, SqlError>, now_ms: NowMs, settings: Settings) -> Self {
        let state = Mutex::new(State::Unused);
        Self { path, now_ms, settings, state, gauge: Arc::default(), statements: CallCount::default() }
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    pub(super) fn figures(&self) -> DatabaseFigures {
        let Gauge { threads, working, waiting } = &*self.gauge;
        let in_use = working.load(Relaxed);
        let pool = PoolUse {
            in_use,
            idle: threads.load(Relaxed).saturating_sub(in_use),
            waiting: waiting.load(Relaxed),
            max: self.settings.readers as u64 + 1,
        };
        DatabaseFigures { pool, statements: self.statements.read() }
    }

    /// Takes no more calls. Answers when the threads have ended, the last of them with the file
    /// closed.
    pub(super) fn close(&self) -> Option<oneshot::Receiver<()>> {
        match std::mem::replace(&mut *lock(&self.state), State::Closed) {
            State::Running(threads) => Some(threads.ended),
            State::Unused | State::Closed => None,
        }
    }

    /// Runs a call of its own.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        queue: Queue,
        work: impl FnOnce(&mut OpenFile) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, SqlError> {
        self.run_for(queue, self.settings.statement_timeout, work).await
    }

    /// The same, that may take so long.
    pub(super) async fn run_for<T: Send + 'static>(
        &self,
        queue: Queue,
        limit: Duration,
        work: impl FnOnce(&mut OpenFile) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, SqlError> {
        let queue = self.queue(queue)?;
        self.ask(&queue, limit, move |place, ticket, reply| answer(place, &ticket, reply, work)).await
    }

    /// The same, within a transaction.
    pub(super) async fn run_in<T: Send + 'static>(
        &self,
        session: &mpsc::Sender<Job>,
        work: impl FnOnce(&mut OpenFile) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, SqlError> {
        let limit = self.settings.statement_timeout;
        self.ask(session, limit, move |place, ticket, reply| answer(place, &ticket, reply, work)).await
    }

    /// Begins a transaction: until the session is dropped, the thread that writes hears nobody
    /// else.
    pub(super) async fn begin(&self) -> Result<mpsc::Sender<Job>, SqlError> {
        let queue = self.queue(Queue::Writer)?;
        let begin = |place: &mut Place, ticket: Ticket, reply: oneshot::Sender<_>| {
            let begun = place.carry_out(&ticket, OpenFile::begin);
            place.rest();
            // One call at a time: a transaction is not shared.
            let (session, calls) = mpsc::channel(1);
            if reply.send(begun.clone().map(|()| session)).is_ok() && begun.is_ok() {
                place.attend(calls);
            } else if let Some(file) = &mut place.file {
                file.roll_back();
            }
        };
        self.ask(&queue, self.settings.statement_timeout, begin).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        queue: &mpsc::Sender<Job>,
        limit: Duration,
        work: impl FnOnce(&mut Place, Ticket, oneshot::Sender<Result<T, SqlError>>) + Send + 'static,
    ) -> Result<T, SqlError> {
        let caller = Caller(Ticket(Arc::new(Mutex::new(CallState::Queued))));
        let (ticket, waiting) = (caller.0.clone(), Waiting::new(&self.gauge));
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |place| {
            drop(waiting);
            work(place, ticket, reply);
        });
        let asked = async {
            queue.send(job).await.map_err(|_| self.gone())?;
            answer.await.map_err(|_| self.gone())?
        };
        let mut asked = pin!(asked);
        let wait = self.settings.lock_wait;
        let result = match timeout(wait, &mut asked).await {
            Ok(result) => result,
            Err(_) if caller.0.withdraw() => {
                Err(SqlError::LockWait(format!("others kept the database busy for {wait:?}").into()))
            }
            Err(_) => timeout(limit, asked).await.unwrap_or(Err(SqlError::Timeout(wait + limit))),
        };
        self.statements.note(&result);
        result
    }

    fn gone(&self) -> SqlError {
        SqlError::Unreachable("the database's handle is closed, or its thread ended: start the program again".into())
    }

    fn queue(&self, queue: Queue) -> Result<mpsc::Sender<Job>, SqlError> {
        let mut state = lock(&self.state);
        if let State::Unused = *state {
            *state = State::Running(self.start(self.path.as_ref().map_err(Clone::clone)?)?);
        }
        match (&*state, queue) {
            (State::Running(threads), Queue::Writer) => Ok(threads.writer.clone()),
            (State::Running(threads), Queue::Readers) => Ok(threads.readers.clone()),
            (State::Unused | State::Closed, _) => Err(self.gone()),
        }
    }

    fn start(&self, path: &Path) -> Result<Threads, SqlError> {
        let (writer, mut writes) = mpsc::channel::<Job>(self.settings.queue);
        let (readers, reads) = mpsc::channel::<Job>(self.settings.queue);
        let (goodbye, ended) = oneshot::channel();
        let reads = Arc::new(Mutex::new(reads));
        let mut reading = Vec::with_capacity(self.settings.readers);
        for _ in 0..self.settings.readers {
            let reads = Arc::clone(&reads);
            // One of them waits for the next call, the others for that one.
            let read = move |mut place: Place| place.work_off(|| lock(&reads).blocking_recv());
            reading.push(self.spawn(path, Role::Reader, read)?);
        }
        self.spawn(path, Role::Writer, move |mut place| {
            place.work_off(|| writes.blocking_recv());
            // The last connection to close empties the write-ahead log into the file, which readers
            // may not do.
            reading.into_iter().for_each(|reader| drop(reader.join()));
            drop(place);
            drop(goodbye);
        })?;
        Ok(Threads { writer, readers, ended })
    }

    fn spawn(
        &self,
        path: &Path,
        role: Role,
        work: impl FnOnce(Place) + Send + 'static,
    ) -> Result<JoinHandle<()>, SqlError> {
        let place = Place {
            path: path.to_owned(),
            role,
            now_ms: Arc::clone(&self.now_ms),
            settings: self.settings,
            file: None,
            working: false,
            gauge: Arc::clone(&self.gauge),
        };
        let spawned = thread::Builder::new().name("sqlite".into()).spawn(move || work(place));
        let spawned = spawned.map_err(|error| {
            SqlError::Unreachable(format!("no thread for {} ({error}): allow this user more", path.display()).into())
        })?;
        self.gauge.threads.fetch_add(1, Relaxed);
        Ok(spawned)
    }
}

fn answer<T>(
    place: &mut Place,
    ticket: &Ticket,
    reply: oneshot::Sender<Result<T, SqlError>>,
    work: impl FnOnce(&mut OpenFile) -> Result<T, SqlError>,
) {
    let result = place.carry_out(ticket, work);
    place.rest();
    // A caller who has gone needs no answer.
    drop(reply.send(result));
}
