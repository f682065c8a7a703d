//! From admission to promise: requests waiting for the same lane travel together. While one call is
//! out the next batch collects; no timer holds anybody back. Each front thread has its own lanes
//! and its own tasks.
//!
//! The work belongs to the lane's task, not to the request: a client that hangs up takes nothing
//! back, and the same key finds its order again.

mod ask;
mod queue;
mod replies;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{BatchId, LaneId, OfferId, OrderId, Slot},
    record::{BATCH_MAX, Batch},
    stock::{ReserveCall, ReserveRequest},
};
use kit::clock::Clock;
use store::{log::OrderLog, stock::LaneStock};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::task::TaskTracker;

use crate::{
    admission::{Admitted, Moment, Permit, RefusedKeys},
    buy::{Declined, Standing},
    enqueue::{Appender, Fate},
    metrics::Metrics,
    mint::{Mint, NotMinted},
    sales::Offered,
};

use ask::Asked;
use queue::{Driving, Queue};
use replies::Outcome;

pub use queue::{CALLS_OUT_MAX, WAITING_MAX};

/// How long an engine has to append a batch before a sweeper may.
pub const SWEEP_AFTER_MS: u64 = 5_000;

/// How often queues of lanes that nobody asks are let go of: a queue is made again in a
/// microsecond.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// A promise of the lane, or the earlier one of the same key. Only this module makes one.
#[derive(Debug)]
pub struct Reserved {
    order: OrderId,
    offer: OfferId,
    fate: Arc<Fate>,
}

impl Reserved {
    /// The order, its offer, and the fate of its record.
    pub(crate) fn into_parts(self) -> (OrderId, OfferId, Arc<Fate>) {
        (self.order, self.offer, self.fate)
    }
}

/// What the lane holds of a purchase.
#[derive(Debug)]
pub enum Held {
    /// A promise, new or an earlier one.
    Reserved(Reserved),
    /// The key of this order, which was released.
    Released(OrderId),
}

type Answer = Result<Held, Declined>;

/// Where an answer is waited for. The permit comes back with the answer, not with the client's
/// patience.
struct Seat {
    answer: oneshot::Sender<Answer>,
    offered: Arc<Offered>,
    /// When it was taken, by the monotonic clock.
    taken: Duration,
    _permit: Permit,
}

impl Seat {
    fn tell(self, answer: Answer) {
        // Nobody listens when the client hung up; the promise stands all the same.
        let _gone = self.answer.send(answer);
    }
}

/// A request that waits for a call.
struct Waiting {
    request: ReserveRequest,
    seat: Seat,
}

/// What all calls of all threads share.
pub struct Desk<S, L, C> {
    /// The lanes' stock.
    pub stock: S,
    /// The way into the log.
    pub appender: Arc<Appender<L, C>>,
    /// Order ids.
    pub mint: Arc<Mint>,
    /// Keys refused for want of stock.
    pub refused: Arc<RefusedKeys>,
    /// The time.
    pub clock: C,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Journal entries above which a lane promises nothing more.
    pub journal_max: u32,
}

type Queues = HashMap<LaneId, Arc<Queue>>;

/// The lanes of one front thread.
pub struct Lanes<S, L, C> {
    desk: Arc<Desk<S, L, C>>,
    queues: Arc<Mutex<Queues>>,
    runtime: Handle,
    tasks: TaskTracker,
}

impl<S: LaneStock, L: OrderLog, C: Clock> Lanes<S, L, C> {
    /// Lanes whose tasks run on `runtime`, the thread's own.
    pub fn new(desk: Desk<S, L, C>, runtime: Handle) -> Self {
        let queues = Arc::default();
        runtime.spawn(forget_idle(Arc::downgrade(&queues)));
        Self { desk: Arc::new(desk), queues, runtime, tasks: TaskTracker::new() }
    }

    /// What is known of a live purchase that a batch promised.
    pub fn standing(&self, batch: Option<BatchId>, settled: bool) -> Standing {
        replies::standing(batch, settled, self.desk.appender.acknowledged())
    }

    /// Tasks under way: calls and appends. To be waited for at the end, after the last request.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Asks the lane for the admitted units, together with whoever else waits.
    ///
    /// # Errors
    /// [`Declined`]: nothing was promised, but for [`Declined::OutcomeUnknown`].
    pub async fn reserve(&self, admitted: Admitted) -> Result<Held, Declined> {
        let order = self.desk.mint.mint(Slot::of(admitted.buyer()), admitted.moment()).map_err(|why| match why {
            NotMinted::NoLease => Declined::LaneClosed,
            NotMinted::TooFast => Declined::Overloaded,
        })?;
        let queue = self.queue(admitted.lane().id);
        let (seat, answer) = oneshot::channel();
        let (reservation, offered, permit) = admitted.freeze(order);
        let mut field = Vec::new();
        reservation.append_field(&mut field);
        let request = ReserveRequest {
            order,
            buyer: reservation.buyer,
            offer: reservation.offer,
            quantity: reservation.quantity,
            key: reservation.key,
            field: Bytes::from(field),
        };
        let taken = self.desk.clock.monotonic();
        let must_drive =
            queue.join(Waiting { request, seat: Seat { answer: seat, offered, taken, _permit: permit } })?;
        if must_drive {
            let driving = Driving::new(queue);
            self.tasks.spawn_on(drive(Arc::clone(&self.desk), driving, self.tasks.clone()), &self.runtime);
        }
        // A seat that vanishes was lost with its task, half way.
        answer.await.unwrap_or(Err(Declined::OutcomeUnknown))
    }

    fn queue(&self, lane: LaneId) -> Arc<Queue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(lane).or_default())
    }
}

/// Lets go of the queues that nobody is at, as long as the lanes are there: lanes end, and others
/// come.
async fn forget_idle(queues: Weak<Mutex<Queues>>) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        let Some(queues) = queues.upgrade() else { return };
        let mut queues = queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is about to join holds it.
        queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        queues.shrink_to_fit();
    }
}

/// Makes call after call until nobody waits.
async fn drive<S: LaneStock, L: OrderLog, C: Clock>(
    desk: Arc<Desk<S, L, C>>,
    mut driving: Driving,
    tasks: TaskTracker,
) {
    while let Some(batch) = driving.next() {
        desk.travel(batch, &tasks).await;
    }
}

impl<S: LaneStock, L: OrderLog, C: Clock> Desk<S, L, C> {
    /// One call, and everybody's answer: at once for the refused, with the record's fate for the
    /// promised.
    async fn travel(&self, batch: Vec<Waiting>, tasks: &TaskTracker) {
        let Some(first) = batch.first() else { return };
        let lane = Arc::clone(&first.seat.offered.lane);
        let Ok(batch_id) = BatchId::new(first.request.order.get()) else { return };
        self.metrics.batch_size.observe(batch.len() as f64);
        // R7: room before the promise.
        let Some(room) = self.appender.room() else {
            self.metrics.log_full.inc();
            return decline(batch.into_iter().map(|waiting| waiting.seat), Declined::Overloaded);
        };
        let (requests, seats): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.request, w.seat)).unzip();
        let mut call = ReserveCall {
            lane: lane.id,
            epoch: lane.epoch(),
            batch: batch_id,
            // The ids' clock, here and in the sweep: one that is set back delays no batch.
            now_ms: self.mint.clock_ms(Moment::of(&self.clock)),
            sweep_after_ms: SWEEP_AFTER_MS,
            journal_max: self.journal_max,
        };
        let asked = self.ask(&lane, &mut call, &requests).await;
        let answered = self.clock.monotonic();
        seats.iter().for_each(|seat| self.metrics.stages.reserve.observe(answered.saturating_sub(seat.taken)));
        match asked {
            Asked::Decided(decided) => {
                let now = Moment::of(&self.clock);
                for (offer, left) in &decided.left {
                    if let Some(seat) = seats.iter().find(|seat| seat.offered.id == *offer) {
                        seat.offered.stock.note(*left, call.epoch, now.monotonic_ms);
                    }
                }
                let outcomes = replies::outcomes(&call, &requests, &decided, self.appender.acknowledged());
                if !decided.was_repeated {
                    replies::unused(&requests, &outcomes).for_each(|order| self.mint.take_back(order));
                }
                self.tell(&call, &requests, seats, outcomes, room, tasks);
            }
            Asked::JournalFull => {
                self.metrics.journal_full.inc();
                decline(seats, Declined::Overloaded);
            }
            Asked::Closed => decline(seats, Declined::LaneClosed),
            Asked::Unsent => {
                requests.iter().rev().for_each(|request| self.mint.take_back(request.order));
                seats.iter().for_each(|seat| seat.offered.give_back());
                decline(seats, Declined::LaneClosed);
            }
            // R13: the lane may have these ids, or other ones by the same keys, or none. So none is
            // told, and none is used again.
            Asked::Unknown => decline(seats, Declined::OutcomeUnknown),
        }
    }

    /// Tells everybody their outcome. The promised are told when their record's fate is known: they
    /// would only wait on, and are woken once instead of twice.
    fn tell(
        &self,
        call: &ReserveCall,
        requests: &[ReserveRequest],
        seats: Vec<Seat>,
        outcomes: Vec<Outcome>,
        room: L::Room,
        tasks: &TaskTracker,
    ) {
        let fate = Arc::new(Fate::default());
        let (mut promised, mut fields, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let partition = seats.first().map(|seat| seat.offered.lane.partition);
        for ((outcome, request), seat) in outcomes.into_iter().zip(requests).zip(seats) {
            let offer = request.offer;
            if outcome.takes_no_unit() {
                seat.offered.give_back();
            }
            match outcome {
                Outcome::Promised(number) => {
                    fields.push(&request.field[..]);
                    numbers.push(number.0);
                    self.refused.forget(request.key, call.epoch);
                    promised.push((seat, Reserved { order: request.order, offer, fate: Arc::clone(&fate) }));
                }
                Outcome::Rides(order) => {
                    promised.push((seat, Reserved { order, offer, fate: Arc::clone(&fate) }));
                }
                Outcome::Known(order, standing) => {
                    seat.tell(Ok(Held::Reserved(Reserved { order, offer, fate: Fate::known(standing) })));
                }
                Outcome::Released(order) => seat.tell(Ok(Held::Released(order))),
                Outcome::Declined(why) => {
                    if why == Declined::SoldOut {
                        self.refused.note(request.key, call.epoch);
                    }
                    seat.tell(Err(why));
                }
            }
        }
        let (false, Some(partition)) = (numbers.is_empty(), partition) else {
            // No record, so nobody rides on one: what was promised before is the sweeper's.
            let fate = Fate::known(Standing::Pending);
            return promised.into_iter().for_each(|(seat, reserved)| {
                seat.tell(Ok(Held::Reserved(Reserved { fate: Arc::clone(&fate), ..reserved })));
            });
        };
        let head = Batch::head(call.lane, call.batch, call.epoch);
        let payload = Bytes::from(Batch::concatenate(&head, fields.into_iter(), &numbers));
        let (appender, batch) = (Arc::clone(&self.appender), call.batch);
        let (clock, metrics, begun) = (self.clock.clone(), Arc::clone(&self.metrics), self.clock.monotonic());
        tasks.spawn(async move {
            let told = async {
                fate.wait().await;
                let took = clock.monotonic().saturating_sub(begun);
                metrics.stages.enqueue.observe_many(took, promised.len() as u64);
                promised.into_iter().for_each(|(seat, reserved)| seat.tell(Ok(Held::Reserved(reserved))));
            };
            tokio::join!(appender.append(partition, batch, payload, room, &fate), told);
        });
    }
}

fn decline(seats: impl IntoIterator<Item = Seat>, why: Declined) {
    seats.into_iter().for_each(|seat| seat.tell(Err(why)));
}

const _: () = assert!(BATCH_MAX <= u8::MAX as usize + 1);

#[cfg(test)]
mod tests;
