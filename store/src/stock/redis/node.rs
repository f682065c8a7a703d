//! The connections to one node. A call leaves this process only on a connection that stands: while
//! one is being made, or cannot be made, nothing is sent and the caller is told so at once
//! ([`StockError::Unsent`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use tokio::{sync::SetOnce, time::timeout};

use super::RedisSettings;
use crate::{cause::Cause, stock::StockError};

/// How long a call waits for a connection that is being made: many times what a handshake takes,
/// and a fraction of a buyer's patience.
pub const CONNECTION_WAIT: Duration = Duration::from_millis(400);
/// Pause after an attempt that failed: a refused connection fails at once, and thousands of calls a
/// second would each make another.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections to one node, used in turn.
pub(super) struct Node {
    places: Vec<Arc<Place>>,
    turn: AtomicUsize,
}

/// The place of one connection, which is made when it is first needed, and anew when it broke.
pub(super) struct Place {
    client: Client,
    config: AsyncConnectionConfig,
    attempt: ArcSwapOption<Attempt>,
}

/// One attempt to connect, shared by all calls that wait for it.
#[derive(Default)]
struct Attempt {
    made: SetOnce<Result<MultiplexedConnection, RedisError>>,
    /// It takes longer than [`CONNECTION_WAIT`]: nobody waits for it any more, and it goes on.
    is_late: AtomicBool,
}

/// A connection that stands.
pub(super) struct Line {
    pub(super) connection: MultiplexedConnection,
    attempt: Arc<Attempt>,
}

impl Node {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let client = Client::open(settings.url.as_str())?;
        // How long an answer may take is `Link`'s to say.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(settings.in_flight.max(1))
            .set_concurrency_limit(settings.in_flight.max(1));
        let place = |_| {
            let (client, config) = (client.clone(), config.clone());
            Arc::new(Place { client, config, attempt: ArcSwapOption::empty() })
        };
        Ok(Self { places: (0..settings.connections.max(1)).map(place).collect(), turn: AtomicUsize::new(0) })
    }

    pub(super) fn next(&self) -> &Arc<Place> {
        &self.places[self.turn.fetch_add(1, Relaxed) % self.places.len()]
    }
}

impl Place {
    /// The connection, waited for at most [`CONNECTION_WAIT`].
    ///
    /// # Errors
    /// [`StockError::Unsent`] when there is none.
    pub(super) async fn line(self: &Arc<Self>) -> Result<Line, StockError> {
        let attempt = self.attempt.load_full().unwrap_or_else(|| self.begin(None));
        let slow = || StockError::Unsent("the connection takes long to come up".into());
        if attempt.made.get().is_none() && !attempt.is_late.load(Relaxed) {
            // The attempt ends by its own deadline, whether anybody waits or not.
            drop(timeout(CONNECTION_WAIT, attempt.made.wait()).await);
        }
        match attempt.made.get() {
            Some(Ok(connection)) => Ok(Line { connection: connection.clone(), attempt }),
            Some(Err(error)) => Err(StockError::Unsent(Cause::of(error.clone()))),
            None => Err(slow()),
        }
    }

    /// Makes another connection in the place of one that broke or is silent. Calls that are under
    /// way on the old one go on waiting for their answers; new ones wait for the new one, so that
    /// nothing more is sent where nothing comes back.
    pub(super) fn renew(self: &Arc<Self>, line: &Line) {
        self.begin(Some(&line.attempt));
    }

    /// Begins an attempt in the place of the one before, unless somebody else has; that one then.
    fn begin(self: &Arc<Self>, before: Option<&Arc<Attempt>>) -> Arc<Attempt> {
        let fresh = Arc::new(Attempt::default());
        let found = self.attempt.compare_and_swap(&before.cloned(), Some(Arc::clone(&fresh)));
        let is_ours = match (&*found, before) {
            (Some(found), Some(before)) => Arc::ptr_eq(found, before),
            (None, None) => true,
            _ => false,
        };
        if !is_ours {
            return found.clone().unwrap_or(fresh);
        }
        let (place, attempt) = (Arc::clone(self), Arc::clone(&fresh));
        tokio::spawn(async move { place.connect(attempt).await });
        fresh
    }

    async fn connect(&self, attempt: Arc<Attempt>) {
        let mut making = std::pin::pin!(self.client.get_multiplexed_async_connection_with_config(&self.config));
        let made = match timeout(CONNECTION_WAIT, &mut making).await {
            Ok(made) => made,
            Err(_) => {
                attempt.is_late.store(true, Relaxed);
                making.await
            }
        };
        let failed = made.as_ref().err().map(ToString::to_string);
        // Set by this task alone.
        let _first = attempt.made.set(made);
        if let Some(error) = failed {
            tracing::debug!(error, "the stock server cannot be reached");
            tokio::time::sleep(PAUSE).await;
            // The next call begins another.
            self.attempt.compare_and_swap(&Some(attempt), None);
        }
    }
}
