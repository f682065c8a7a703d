//! From a listener to handled requests. One task accepts, keeps the list of connections, sweeps out
//! those that wait too long, and at shutdown sees every one of them end: no connection outlives
//! `serve`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use prometheus::{IntCounter, IntGauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::connection::{Counted, Overdue, Pulse, Rounds, Watch};
use super::limits::BUFFER_BYTES_FLOOR;
use super::{Body, Handler, Limits, reply};
use crate::clock::{Clock as _, SystemClock};
use crate::metrics::{MetricsError, Registry};

/// Rounds of the sweep in the shortest deadline: a wait ends at most a quarter of it late.
const ROUNDS_PER_DEADLINE: u32 = 4;

/// Pause after an accept that failed for want of a resource: descriptors come back as connections
/// end, not sooner for being asked.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One in so many connections is closed at a time when there is no room: choosing them means
/// looking at all, and an attacker who connects fast must not make us do that for each of his.
const EVICTED_SHARE: usize = 64;

/// Least time between two lines of the log about a shortage, however fast somebody makes us short.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrainOutcome {
    /// Connections that were open at shutdown and ended by themselves.
    pub finished: usize,
    /// Connections that were cut at the drain deadline, their requests unanswered.
    pub aborted: usize,
}

/// What all listeners of a process count together. Requests are counted by the services, which know
/// their routes.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    open: IntGauge,
    accepted: IntCounter,
    accept_failures: IntCounter,
    header_timeouts: IntCounter,
    idle_timeouts: IntCounter,
    evicted: IntCounter,
}

impl ConnectionMetrics {
    /// Declares the metrics in a registry.
    ///
    /// # Errors
    ///
    /// When they are declared already.
    pub fn register(registry: &Registry) -> Result<Self, MetricsError> {
        Ok(Self {
            open: registry.gauge("http_connections_open", "Client connections open now.")?,
            accepted: registry.counter("http_connections_accepted_total", "Client connections accepted.")?,
            accept_failures: registry
                .counter("http_accept_failures_total", "Connections that could not be accepted.")?,
            header_timeouts: registry
                .counter("http_header_timeouts_total", "Connections closed because headers did not arrive in time.")?,
            idle_timeouts: registry
                .counter("http_idle_timeouts_total", "Connections closed because nothing was asked for long.")?,
            evicted: registry.counter(
                "http_connections_evicted_total",
                "Connections closed, those that had waited longest, to make room for new ones.",
            )?,
        })
    }
}

/// Serves a listener on the current runtime until `shutdown`, then drains: the listener closes,
/// connections finish the request they are at, and what has not ended by [`Limits::drain_deadline`]
/// is cut.
///
/// Serve one listener per current-thread runtime, each [`bind`](super::bind)ed with `reuse_port`,
/// to use all cores without a wake-up across threads.
///
/// # Errors
///
/// When the runtime cannot register the listener. Failing accepts are not errors: they are logged
/// and retried.
pub async fn serve<H: Handler>(
    listener: StdListener,
    handler: H,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<DrainOutcome> {
    serve_inner(listener, handler, limits, None, shutdown).await
}

/// [`serve`], counted.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_measured<H: Handler>(
    listener: StdListener,
    handler: H,
    limits: Limits,
    metrics: ConnectionMetrics,
    shutdown: CancellationToken,
) -> io::Result<DrainOutcome> {
    serve_inner(listener, handler, limits, Some(metrics), shutdown).await
}

async fn serve_inner<H: Handler>(
    listener: StdListener,
    handler: H,
    limits: Limits,
    metrics: Option<ConnectionMetrics>,
    shutdown: CancellationToken,
) -> io::Result<DrainOutcome> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut server = Server::new(handler, limits, metrics);
    server.accept_until(&shutdown, &listener).await;
    drop(listener);
    Ok(server.drain().await)
}

/// A connection, and who is at its other end.
type Accepted = (TcpStream, SocketAddr);

struct Server<H> {
    protocol: http1::Builder,
    handler: Arc<H>,
    limits: Limits,
    metrics: Option<ConnectionMetrics>,
    stop: Arc<Stop>,
    tasks: JoinSet<()>,
    watched: HashMap<Id, Watched>,
    /// The number of the next connection.
    next: u64,
    /// Connections told to end that have not ended yet.
    leaving: usize,
    /// Accepted, and waiting for another one to end.
    in_hand: Option<Accepted>,
    clock: SystemClock,
    warned: Option<Duration>,
}

struct Watched {
    number: u64,
    pulse: Arc<Pulse>,
    watch: Watch,
    task: AbortHandle,
    is_leaving: bool,
}

impl Watched {
    /// Closes it, unless that is done. Whether it was not.
    fn close(&mut self) -> bool {
        self.task.abort();
        !std::mem::replace(&mut self.is_leaving, true)
    }
}

/// Tells every connection of a listener to finish. A flag beside the notification, because reading
/// a flag is all that the other polls of a connection should pay.
#[derive(Default)]
struct Stop {
    is_set: AtomicBool,
    told: Notify,
}

/// What the requests of one connection share: one reference count per request, and not one that
/// cores fight over.
struct Served<H> {
    handler: Arc<H>,
    pulse: Arc<Pulse>,
    peer: SocketAddr,
    headers_max: usize,
}

impl<H: Handler> Server<H> {
    fn new(handler: H, limits: Limits, metrics: Option<ConnectionMetrics>) -> Self {
        Self {
            protocol: protocol(&limits),
            handler: Arc::new(handler),
            limits,
            metrics,
            stop: Arc::default(),
            tasks: JoinSet::new(),
            watched: HashMap::new(),
            next: 0,
            leaving: 0,
            in_hand: None,
            clock: SystemClock::new(),
            warned: None,
        }
    }

    async fn accept_until(&mut self, shutdown: &CancellationToken, listener: &TcpListener) {
        let (round, rounds) = sweep_plan(&self.limits);
        let mut sweep = tokio::time::interval(round);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pause = pin!(tokio::time::sleep(Duration::ZERO));
        let mut is_paused = false;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                _ = sweep.tick() => self.sweep(rounds),
                () = &mut pause, if is_paused => is_paused = false,
                accepted = listener.accept(), if self.in_hand.is_none() && !is_paused => match accepted {
                    Ok(accepted) => self.admit(accepted),
                    Err(error) => if self.should_pause(&error) {
                        pause.set(tokio::time::sleep(ACCEPT_PAUSE));
                        is_paused = true;
                    },
                },
            }
        }
    }

    /// Starts a connection, or keeps it in hand until another one has given way. The rest wait in
    /// the backlog.
    fn admit(&mut self, accepted: Accepted) {
        if self.tasks.len() < self.limits.connections_max {
            return self.start(accepted);
        }
        self.in_hand = Some(accepted);
        self.make_room();
    }

    /// Closes those connections that have waited longest for their client: whoever only holds
    /// connections must not keep others out. Those whose requests are being answered stay.
    fn make_room(&mut self) {
        if self.leaving > 0 {
            return;
        }
        let waiting = self.watched.iter().filter(|(_, watched)| !watched.is_leaving);
        let waiting =
            waiting.filter_map(|(id, watched)| Some((watched.watch.gives_way(&watched.pulse, watched.number)?, *id)));
        let mut waiting: Vec<_> = waiting.collect();
        let share = (self.limits.connections_max / EVICTED_SHARE).clamp(1, waiting.len().max(1));
        if share < waiting.len() {
            waiting.select_nth_unstable_by_key(share - 1, |(place, _)| *place);
            waiting.truncate(share);
        }
        for (_, id) in &waiting {
            self.leaving += usize::from(self.watched.get_mut(id).is_some_and(Watched::close));
        }
        if let Some(metrics) = &self.metrics {
            metrics.evicted.inc_by(u64::try_from(waiting.len()).unwrap_or(u64::MAX));
        }
        if self.may_warn() {
            tracing::warn!(
                open = self.tasks.len(),
                closed = waiting.len(),
                "no room for more connections; closing those that waited longest"
            );
        }
    }

    /// Whether the log has not heard of a shortage for a while.
    fn may_warn(&mut self) -> bool {
        let now = self.clock.monotonic();
        let may = self.warned.is_none_or(|last| now - last >= WARN_EVERY);
        if may {
            self.warned = Some(now);
        }
        may
    }

    fn start(&mut self, (stream, peer): Accepted) {
        // Inherited from our own listeners, but not from every one a caller may hand in.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        let pulse = Arc::new(Pulse::new());
        let served = Arc::new(Served {
            handler: Arc::clone(&self.handler),
            pulse: Arc::clone(&pulse),
            peer,
            headers_max: self.limits.headers_max,
        });
        let service = service_fn(move |request| {
            let served = Arc::clone(&served);
            async move { Ok::<_, Infallible>(served.answer(request).await) }
        });
        let (protocol, stop, counted) = (self.protocol.clone(), Arc::clone(&self.stop), Arc::clone(&pulse));
        let task = self.tasks.spawn(async move {
            let mut told = pin!(stop.told.notified());
            // hyper takes a buffer before it reads: a client that says nothing shall not have one.
            // Listening for the stop once is enough: the waker it leaves behind is this task's, and
            // that never changes.
            tokio::select! {
                biased;
                () = told.as_mut() => return,
                // The flag is read after that and set before the call, so the call cannot fall
                // between the two.
                () = std::future::ready(()), if stop.is_set.load(Ordering::Acquire) => return,
                _readable = stream.readable() => {}
            }
            let mut connection = pin!(protocol.serve_connection(Counted::new(TokioIo::new(stream), counted), service));
            let mut is_finishing = false;
            let ended = poll_fn(|context| {
                if !is_finishing && stop.is_set.load(Ordering::Acquire) {
                    is_finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
                connection.as_mut().poll(context)
            });
            if let Err(error) = ended.await {
                // The client's doing, all of it: broken off, malformed, too large. Metrics of
                // routes tell the rest.
                tracing::debug!(%error, "connection ended early");
            }
        });
        let watched = Watched { number: self.next, pulse, watch: Watch::default(), task, is_leaving: false };
        self.next = self.next.wrapping_add(1);
        self.watched.insert(watched.task.id(), watched);
        if let Some(metrics) = &self.metrics {
            metrics.accepted.inc();
            metrics.open.inc();
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a request handler panicked; its connection is closed");
                }
                error.id()
            }
        };
        let was_leaving = self.watched.remove(&id).is_some_and(|watched| watched.is_leaving);
        self.leaving = self.leaving.saturating_sub(usize::from(was_leaving));
        if let Some(metrics) = &self.metrics {
            metrics.open.dec();
        }
        if let Some(accepted) = self.in_hand.take_if(|_| !self.stop.is_set.load(Ordering::Acquire)) {
            self.admit(accepted);
        }
    }

    fn sweep(&mut self, rounds: Rounds) {
        for watched in self.watched.values_mut() {
            let Some(overdue) = watched.watch.take(&watched.pulse, rounds) else { continue };
            if !watched.close() {
                continue;
            }
            self.leaving += 1;
            if let Some(metrics) = &self.metrics {
                match overdue {
                    Overdue::Headers => metrics.header_timeouts.inc(),
                    Overdue::Idle => metrics.idle_timeouts.inc(),
                }
            }
        }
        if self.in_hand.is_some() {
            self.make_room();
        }
    }

    /// Whether an accept failed for a reason that stays, and not for one of that connection alone.
    fn should_pause(&mut self, error: &io::Error) -> bool {
        if let Some(metrics) = &self.metrics {
            metrics.accept_failures.inc();
        }
        if is_of_one_connection(error) {
            return false;
        }
        if self.may_warn() {
            tracing::warn!(%error, open = self.tasks.len(), "cannot accept connections; closing those that waited longest");
        }
        self.make_room();
        true
    }

    async fn drain(mut self) -> DrainOutcome {
        let open = self.tasks.len();
        self.in_hand = None;
        self.stop.is_set.store(true, Ordering::Release);
        self.stop.told.notify_waiters();
        let in_time = tokio::time::timeout(self.limits.drain_deadline, self.all_ended()).await.is_ok();
        let aborted = if in_time { 0 } else { self.tasks.len() };
        self.tasks.abort_all();
        self.all_ended().await;
        DrainOutcome { finished: open - aborted, aborted }
    }

    async fn all_ended(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }
}

impl<H: Handler> Served<H> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.headers().len() > self.headers_max {
            let mut response = reply::empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            self.pulse.cut_short();
            return response;
        }
        let _serving = self.pulse.serving();
        let mut response = self.handler.handle(request, self.peer).await;
        // An answer that goes on is a sign of life with each piece that its client takes.
        response.body_mut().on_piece(|| {
            let pulse = Arc::clone(&self.pulse);
            move || pulse.beat()
        });
        if response.status().is_client_error() && response.headers().contains_key(CONNECTION) {
            self.pulse.cut_short();
        }
        response
    }
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        // The sweep does it, without a timer per request.
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes_max)
        // Beyond a floor hyper panics; the header limit stands apart and may be smaller.
        .max_buf_size(limits.buffer_bytes_max.max(BUFFER_BYTES_FLOOR))
        .keep_alive(true)
        // Not `pipeline_flush`: while unread bytes are left in the buffer hyper then withholds the
        // answer, also when they are half a request, and loses it altogether when they are what
        // made the request malformed. It also lifts the cap on unsent answers.
        .pipeline_flush(false)
        // Answers are small: one copy is cheaper than a list of pieces for writev.
        .writev(false)
        // A client that closes its sending half still reads. Its request was made: it is answered,
        // not dropped halfway.
        .half_close(true);
    protocol
}

/// How often to sweep, and in how many rounds a wait becomes overdue.
fn sweep_plan(limits: &Limits) -> (Duration, Rounds) {
    let shortest = limits.header_deadline.min(limits.idle_deadline);
    let round = (shortest / ROUNDS_PER_DEADLINE).max(Duration::from_millis(1));
    let rounds_in =
        |deadline: Duration| u32::try_from(deadline.as_micros().div_ceil(round.as_micros())).unwrap_or(u32::MAX);
    (round, Rounds { headers: rounds_in(limits.header_deadline), idle: rounds_in(limits.idle_deadline) })
}

/// Errors that accept(2) reports of a connection that was lost while it waited; the next one may be
/// well.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | WouldBlock)
}

#[cfg(test)]
mod tests;
