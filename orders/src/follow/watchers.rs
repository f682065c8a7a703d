use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use domain::{
    event::{EventKind, OrderEvent},
    id::{BuyerId, OrderId, TenantId},
    order::{OrderRow, Reason, Status, Transition},
};
use kit::{
    http::{Body, Event, EventSender, Response, events},
    problem::{Code, Problem},
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// Streams of this process, at most: with what waits in them some 30 MB.
const STREAMS_MAX: usize = 10_000;
/// Streams of one buyer in this process, at most.
pub(super) const STREAMS_PER_BUYER_MAX: usize = 4;
/// Events that may wait for a client: as many as an order ever has.
const WAITING_MAX: usize = 8;
/// How long a stream lives: then its client comes again and shows its token.
const LIFETIME: Duration = Duration::from_secs(600);
/// When to come for a stream.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A buyer of a shop.
pub(super) type Buyer = (TenantId, BuyerId);

/// Where an order stands, as its stream tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusNow {
    /// Of the event that tells it; 0 before there is one.
    sequence: u8,
    status: Option<Status>,
    reason: Option<Reason>,
}

impl StatusNow {
    /// Nobody has written the order down.
    pub(super) const UNWRITTEN: Self = Self { sequence: 0, status: None, reason: None };

    /// As a row says.
    pub(super) fn of_row(row: &OrderRow) -> Self {
        let to = Transition::all().filter(|transition| transition.to() == row.status);
        let sequence = to.map(Transition::sequence).max().unwrap_or(0);
        Self { sequence, status: Some(row.status), reason: row.reason }
    }

    /// As an event says; `None` for one after which the order stands as it did.
    fn of_event(event: &OrderEvent) -> Option<Self> {
        let transition = Transition::all().find(|transition| transition.event() == event.kind)?;
        Some(Self { sequence: event.sequence, status: Some(transition.to()), reason: event.reason })
    }
}

/// What an event of a stream says.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Told {
    order_id: String,
    /// As `GET /v1/orders/{order_id}` names it; `unwritten` while nobody has written it down.
    status: &'static str,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
}

/// All streams of this process, by buyer: an event reaches its buyer's streams and no others.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    buyers: Mutex<HashMap<Buyer, Vec<Watcher>>>,
    /// How many there are: looked at without the lock.
    open: AtomicUsize,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Watcher {
    order: OrderId,
    events: EventSender,
    /// The sequence that its client saw last; `None` until it is told how the order stands.
    seen: Option<u8>,
    /// By the monotonic clock.
    ends: Duration,
}

impl Watchers {
    /// Opens a stream. What happens from now on reaches it; [`Watchers::begin`] tells how the order
    /// stands.
    ///
    /// # Errors
    /// `rate_limited` when the buyer has as many as one may, `overloaded` when this process does.
    pub(super) fn open(
        &self,
        buyer: Buyer,
        order: OrderId,
        (seen, now): (Option<u8>, Duration),
    ) -> Result<Response<Body>, Box<Problem>> {
        let mut buyers = self.lock();
        if self.open.load(Relaxed) >= STREAMS_MAX {
            let detail = "as many orders are watched here as can be; ask for the order itself";
            return Err(Box::new(Problem::new(Code::Overloaded, detail).with_retry_after(RETRY_AFTER)));
        }
        let theirs = buyers.entry(buyer).or_default();
        self.keep(theirs, |watcher| !watcher.events.is_closed());
        if theirs.len() >= STREAMS_PER_BUYER_MAX {
            let detail = format!("{STREAMS_PER_BUYER_MAX} streams of yours are open; close one");
            return Err(Box::new(Problem::new(Code::RateLimited, detail).with_retry_after(RETRY_AFTER)));
        }
        let (events, response) = events(WAITING_MAX, self.stop.clone());
        theirs.push(Watcher { order, events, seen, ends: now + LIFETIME });
        self.open.fetch_add(1, Relaxed);
        Ok(response)
    }

    /// Tells a buyer's streams of an order how it stands, those that have not seen it.
    pub(super) fn begin(&self, buyer: Buyer, order: OrderId, stands: StatusNow) {
        self.tell(&mut self.lock(), buyer, order, stands);
    }

    /// Takes in what happened.
    pub(super) fn hear(&self, happened: &[OrderEvent]) {
        let mut buyers = self.lock();
        for event in happened.iter().filter(|event| event.kind != EventKind::Released) {
            let buyer = (event.tenant, event.buyer);
            if let Some(stands) = StatusNow::of_event(event).filter(|_| buyers.contains_key(&buyer)) {
                self.tell(&mut buyers, buyer, event.order, stands);
            }
        }
    }

    fn tell(&self, buyers: &mut HashMap<Buyer, Vec<Watcher>>, buyer: Buyer, order: OrderId, stands: StatusNow) {
        let Some(theirs) = buyers.get_mut(&buyer) else { return };
        let (id, data) = (stands.sequence.to_string(), told(order, stands));
        let event = Event { id: &id, name: "order", data: &data };
        // One that does not read is let go, and comes again.
        self.keep(theirs, |watcher| {
            if watcher.order != order || watcher.seen.is_some_and(|seen| seen >= stands.sequence) {
                return true;
            }
            watcher.seen = Some(stands.sequence);
            watcher.events.send(&event).is_ok()
        });
    }

    /// Whether nobody watches.
    pub(super) fn is_idle(&self) -> bool {
        self.open.load(Relaxed) == 0
    }

    /// Ends the streams whose clients are gone, and those whose time is over.
    pub(super) fn sweep(&self, now: Duration) {
        self.keep_all(|watcher| !watcher.events.is_closed() && now < watcher.ends);
    }

    /// Ends those that are open: their clients come again, and read the row.
    pub(super) fn restart(&self) {
        self.keep_all(|_| false);
    }

    /// Ends all of them; those that come later end at once.
    pub(super) fn end(&self) {
        self.stop.cancel();
    }

    fn keep_all(&self, keeps: impl Fn(&Watcher) -> bool) {
        let mut buyers = self.lock();
        buyers.values_mut().for_each(|theirs| self.keep(theirs, |watcher| keeps(watcher)));
        buyers.retain(|_, theirs| !theirs.is_empty());
    }

    fn keep(&self, theirs: &mut Vec<Watcher>, keeps: impl FnMut(&mut Watcher) -> bool) {
        let before = theirs.len();
        theirs.retain_mut(keeps);
        self.open.fetch_sub(before - theirs.len(), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Buyer, Vec<Watcher>>> {
        self.buyers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(order: OrderId, stands: StatusNow) -> String {
    let told = Told {
        order_id: order.to_string(),
        status: stands.status.map_or("unwritten", Status::as_str),
        reason: stands.reason.map(Reason::as_str),
    };
    // Two words and digits always serialise.
    serde_json::to_string(&told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use domain::id::{OfferId, SaleId};
    use http_body_util::BodyExt as _;

    use super::*;

    fn buyer(n: u64) -> Buyer {
        (TenantId::new(7).unwrap(), BuyerId::new(n).unwrap())
    }

    fn order(n: u64) -> OrderId {
        OrderId::new(n).unwrap()
    }

    fn event((tenant, buyer): Buyer, order: OrderId, transition: Transition) -> OrderEvent {
        OrderEvent {
            order,
            sequence: transition.sequence(),
            kind: transition.event(),
            tenant,
            sale: SaleId::new(6).unwrap(),
            offer: OfferId::new(8).unwrap(),
            buyer,
            quantity: 1,
            purchased: None,
            reason: None,
            refunded: 0,
        }
    }

    /// The statuses that wait in a response whose stream has ended.
    async fn statuses(response: Response<Body>) -> Vec<String> {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let lines = String::from_utf8(body.to_vec()).unwrap();
        let data = lines.lines().filter_map(|line| line.strip_prefix("data: "));
        let status = |data| serde_json::from_str::<serde_json::Value>(data).unwrap()["status"].as_str().unwrap().into();
        data.map(status).collect()
    }

    /// Each event once, in order, to its order's stream; one that was seen is not told again, and
    /// neither is another buyer's.
    #[tokio::test]
    async fn a_stream_tells_what_becomes_of_its_order() {
        let watchers = Watchers::default();
        let open = |n, order, seen| watchers.open(buyer(n), order, (seen, Duration::ZERO)).unwrap();
        let (mine, resumed) = (open(1, order(5), None), open(1, order(5), Some(2)));
        let (others, neighbour) = (open(1, order(6), None), open(2, order(5), None));
        watchers.begin(buyer(1), order(5), StatusNow::UNWRITTEN);
        let paths = [Transition::Accept, Transition::Pay, Transition::Pay, Transition::Accept, Transition::Fulfil];
        watchers.hear(&paths.map(|transition| event(buyer(1), order(5), transition)));
        watchers.restart();
        assert_eq!(statuses(mine).await, ["unwritten", "pending_payment", "paid", "fulfilled"]);
        assert_eq!(statuses(resumed).await, ["fulfilled"]);
        assert_eq!((statuses(others).await, statuses(neighbour).await), (vec![], vec![]));
        assert!(watchers.is_idle());
    }

    /// A buyer holds so many streams; one that is gone makes room, and so does one whose time is
    /// over.
    #[tokio::test]
    async fn streams_of_a_buyer_are_bounded() {
        let watchers = Watchers::default();
        let open = |n| watchers.open(buyer(n), order(5), (None, Duration::ZERO));
        let mut held: Vec<_> = (0..STREAMS_PER_BUYER_MAX).map(|_| open(1).unwrap()).collect();
        assert_eq!(open(1).unwrap_err().code, Code::RateLimited);
        let other = open(2).unwrap();
        held.pop();
        held.push(open(1).unwrap());
        assert_eq!(open(1).unwrap_err().code, Code::RateLimited);
        watchers.sweep(LIFETIME);
        assert!(watchers.is_idle() && watchers.lock().is_empty());
        drop((held, other));
    }

    /// A client that does not read keeps no more than its events: it is let go.
    #[tokio::test]
    async fn a_slow_reader_is_let_go() {
        let watchers = Watchers::default();
        let response = watchers.open(buyer(1), order(5), (None, Duration::ZERO)).unwrap();
        for sequence in 1..=10 {
            watchers.hear(&[OrderEvent { sequence, ..event(buyer(1), order(5), Transition::Pay) }]);
        }
        assert!(watchers.is_idle());
        assert_eq!(statuses(response).await.len(), WAITING_MAX);
    }

    /// The number of a state is that of the event that brings it, whichever way it came.
    #[test]
    fn a_row_has_the_sequence_of_its_last_event() {
        for transition in Transition::all() {
            let stands = StatusNow::of_event(&event(buyer(1), order(5), transition)).unwrap();
            assert_eq!(stands.status, Some(transition.to()));
            let to = Transition::all().filter(|other| other.to() == transition.to());
            assert!(to.map(Transition::sequence).all(|sequence| sequence == transition.sequence()));
        }
    }
}
