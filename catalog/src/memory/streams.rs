//! Streams of events: once a second whoever watches a sale is told what changed. However many
//! watch it, one task reads the database.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use kit::{
    http::{Body, Event, EventSender, Response, events},
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::SqlError;
use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::refused::Refused;

/// Streams of one tenant in this process, at most.
const STREAMS_MAX: usize = 20;
/// Events that may wait for a client.
const WAITING_MAX: usize = 8;
/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks after which a stream ends, so that its client shows its token again.
const LOOKS_MAX: u32 = 600;
/// When to come for a stream.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// All streams of this process.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    sales: Arc<Mutex<Watched>>,
    stop: CancellationToken,
    /// Where sales are watched: beside the threads that answer.
    runtime: OnceLock<Handle>,
}

type Watched = HashMap<i64, Sale>;

#[derive(Debug)]
struct Sale {
    tenant: u32,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    events: EventSender,
    /// The revision that it was told; `None` before the first event.
    seen: Option<i64>,
    looks: u32,
}

impl Streams {
    /// Sales are watched on this runtime, where it is told; else where they are asked for.
    pub(crate) fn run_on(&self, runtime: Handle) {
        // The first one stays: it lives as long as the service.
        self.runtime.get_or_init(|| runtime);
    }

    /// Ends all of them; those that come later end at once.
    pub(crate) fn end(&self) {
        self.stop.cancel();
    }

    /// A stream of what changes of this sale of the tenant, from the revision on that its client
    /// saw. `look`: what changed after a revision, and the revision now; `None` where nothing did.
    ///
    /// # Errors
    /// `rate_limited` when the tenant has as many as it may.
    pub(crate) fn open<C, L, F>(
        &self,
        (tenant, sale): (u32, i64),
        seen: Option<i64>,
        look: L,
    ) -> Result<Response<Body>, Refused>
    where
        C: Serialize + Send + 'static,
        L: Fn(Option<i64>) -> F + Send + 'static,
        F: Future<Output = Result<Option<(i64, C)>, SqlError>> + Send + 'static,
    {
        let mut watched = lock(&self.sales);
        let of_tenant = watched.values().filter(|sale| sale.tenant == tenant);
        let open = of_tenant.flat_map(|sale| &sale.watchers).filter(|watcher| !watcher.events.is_closed());
        if open.count() >= STREAMS_MAX {
            let detail =
                format!("{STREAMS_MAX} streams of this tenant are open; close one, or ask for the funnel itself");
            return Err(Problem::new(Code::RateLimited, detail).with_retry_after(RETRY_AFTER).into());
        }
        let (events, response) = events(WAITING_MAX, self.stop.clone());
        let is_new = !watched.contains_key(&sale);
        let entry = watched.entry(sale).or_insert_with(|| Sale { tenant, watchers: Vec::new() });
        entry.watchers.push(Watcher { events, seen, looks: 0 });
        if is_new {
            let runtime = self.runtime.get().map_or_else(Handle::current, Handle::clone);
            runtime.spawn(watch(Arc::clone(&self.sales), sale, look));
        }
        Ok(response)
    }
}

/// Tells what changes, until nobody watches.
async fn watch<C, L, F>(sales: Arc<Mutex<Watched>>, sale: i64, look: L)
where
    C: Serialize + Send + 'static,
    L: Fn(Option<i64>) -> F + Send + 'static,
    F: Future<Output = Result<Option<(i64, C)>, SqlError>> + Send + 'static,
{
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(all_seen) = watching(&sales, sale) else { return };
        // Most have seen the same.
        for seen in all_seen {
            match look(seen).await {
                Ok(Some((revision, changes))) => tell(&sales, sale, seen, (revision, &changes)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, sale, "a stream of a sale waits; it goes on by itself"),
            }
        }
    }
}

/// What those have seen who watch; `None` when nobody does.
fn watching(sales: &Mutex<Watched>, sale: i64) -> Option<BTreeSet<Option<i64>>> {
    let mut watched = lock(sales);
    let watchers = &mut watched.get_mut(&sale)?.watchers;
    watchers.iter_mut().for_each(|watcher| watcher.looks += 1);
    watchers.retain(|watcher| !watcher.events.is_closed() && watcher.looks <= LOOKS_MAX);
    let seen: BTreeSet<_> = watchers.iter().map(|watcher| watcher.seen).collect();
    if seen.is_empty() {
        watched.remove(&sale);
        return None;
    }
    Some(seen)
}

/// Tells those who have seen this revision.
fn tell(sales: &Mutex<Watched>, sale: i64, seen: Option<i64>, (revision, changes): (i64, &impl Serialize)) {
    let data = match serde_json::to_string(changes) {
        Ok(data) => data,
        Err(error) => return tracing::error!(%error, sale, "changes of a sale cannot be written as JSON"),
    };
    let id = revision.to_string();
    let event = Event { id: &id, name: "funnel", data: &data };
    if let Some(sale) = lock(sales).get_mut(&sale) {
        sale.watchers.retain_mut(|watcher| {
            if watcher.seen != seen {
                return true;
            }
            watcher.seen = Some(revision);
            // One that does not read is let go, and comes again.
            watcher.events.send(&event).is_ok()
        });
    }
}

fn lock(sales: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    sales.lock().unwrap_or_else(PoisonError::into_inner)
}
