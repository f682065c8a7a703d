//! From admission to answer. A purchase joins the queue of its lane and waits. The queue's task
//! reserves for all who wait in one call, appends what was promised as one record, and answers:
//! those whom the lane declined at once, those whom it promised when the log has answered. While
//! one call is out the next batch collects; no timer holds anybody back. Each front thread has its
//! own lanes and its own tasks.
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
    counts::Step,
    id::{BatchId, LaneId, OfferId, OrderId, PartitionId, Slot},
    record::{BATCH_MAX, Batch},
    stock::{ReserveCall, ReserveRequest},
};
use kit::clock::Clock;
use store::{log::OrderLog, stock::LaneStock};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::task::TaskTracker;

use crate::{
    admission::Admitted,
    append::Appender,
    hint::RefusedKeys,
    limits::Permit,
    metrics::Metrics,
    mint::{Mint, NotMinted},
    moment::Moment,
    purchase::{Bought, Declined, PurchaseState},
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
    state: PurchaseState,
}

impl From<Reserved> for Bought {
    fn from(reserved: Reserved) -> Self {
        let Reserved { order, offer, state } = reserved;
        Self { order, offer, state }
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

/// A purchase in the queue of its lane. Dropping it takes nothing back.
#[derive(Debug)]
pub struct Waiting(oneshot::Receiver<Answer>);

impl Waiting {
    /// The lane's answer: at once when it declines, and when the log has answered for a promise.
    ///
    /// # Errors
    /// [`Declined`]: nothing was promised, but for [`Declined::OutcomeUnknown`].
    pub async fn answer(self) -> Result<Held, Declined> {
        // A sender that vanishes was lost with its task, half way.
        self.0.await.unwrap_or(Err(Declined::OutcomeUnknown))
    }
}

/// Who waits for an answer. The permit comes back with the answer, not with the client's patience.
struct Waiter {
    answer: oneshot::Sender<Answer>,
    offered: Arc<Offered>,
    /// Since when, by the monotonic clock.
    since: Duration,
    _permit: Permit,
}

impl Waiter {
    fn answer(self, answer: Answer) {
        if let Err(why) = &answer {
            self.offered.counts.refused(why);
        }
        // Nobody listens when the client hung up; the promise stands all the same.
        let _gone = self.answer.send(answer);
    }
}

/// A request that waits for a call.
struct Queued {
    request: ReserveRequest,
    waiter: Waiter,
}

/// What one call promised: one record, and who waits for its acknowledgement.
struct Promised<R> {
    partition: PartitionId,
    batch: BatchId,
    payload: Bytes,
    room: R,
    waiters: Vec<(Waiter, OrderId, OfferId)>,
}

/// Reserves and appends for all who wait. What all calls of one thread share.
pub struct Reserver<S, L, C> {
    /// Where units are reserved.
    pub stock: S,
    /// The way into the log.
    pub appender: Arc<Appender<L, C>>,
    /// Gives each request its order id, and takes unused ones back.
    pub mint: Arc<Mint>,
    /// Keys refused for want of stock.
    pub refused: Arc<RefusedKeys>,
    /// Dates calls and measures stages.
    pub clock: C,
    /// Where calls and outcomes are counted.
    pub metrics: Arc<Metrics>,
    /// Journal entries above which a lane promises nothing more.
    pub journal_max: u32,
}

type Queues = HashMap<LaneId, Arc<Queue>>;

/// The lanes of one front thread.
pub struct Lanes<S, L, C> {
    reserver: Arc<Reserver<S, L, C>>,
    queues: Arc<Mutex<Queues>>,
    runtime: Handle,
    tasks: TaskTracker,
}

impl<S: LaneStock, L: OrderLog, C: Clock> Lanes<S, L, C> {
    /// Lanes whose tasks run on `runtime`, the thread's own.
    pub fn new(reserver: Reserver<S, L, C>, runtime: Handle) -> Self {
        let queues = Arc::default();
        runtime.spawn(forget_idle(Arc::downgrade(&queues)));
        Self { reserver: Arc::new(reserver), queues, runtime, tasks: TaskTracker::new() }
    }

    /// What is known of a live purchase that a batch promised.
    pub fn state_of(&self, batch: Option<BatchId>, settled: bool) -> PurchaseState {
        replies::state_of(batch, settled, self.reserver.appender.acknowledged())
    }

    /// Tasks under way: calls and appends. To be waited for at the end, after the last request.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Takes a place among those who wait for the lane, and starts the queue's task unless it runs.
    ///
    /// # Errors
    /// [`Declined`]: no order id can be minted, or the queue is full. Nothing was asked of the
    /// lane.
    pub fn join(&self, admitted: Admitted) -> Result<Waiting, Declined> {
        let order = self.reserver.mint.mint(Slot::of(admitted.buyer()), admitted.moment()).map_err(|why| match why {
            NotMinted::NoLease => Declined::LaneClosed,
            NotMinted::TooFast => Declined::Overloaded,
        });
        let order = order.inspect_err(|why| admitted.refused(why))?;
        let queue = self.queue(admitted.lane().id);
        let (answer, waiting) = oneshot::channel();
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
        let since = self.reserver.clock.monotonic();
        let must_drive = queue.join(Queued { request, waiter: Waiter { answer, offered, since, _permit: permit } })?;
        if must_drive {
            let driving = Driving::new(queue);
            self.tasks.spawn_on(drive(Arc::clone(&self.reserver), driving, self.tasks.clone()), &self.runtime);
        }
        Ok(Waiting(waiting))
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

/// Reserves for batch after batch until nobody waits. A batch is appended beside the next call.
async fn drive<S: LaneStock, L: OrderLog, C: Clock>(
    reserver: Arc<Reserver<S, L, C>>,
    mut driving: Driving,
    tasks: TaskTracker,
) {
    while let Some(batch) = driving.next() {
        if let Some(promised) = reserver.reserve(batch).await {
            tasks.spawn(append(Arc::clone(&reserver), promised));
        }
    }
}

impl<S: LaneStock, L: OrderLog, C: Clock> Reserver<S, L, C> {
    /// One call for all of them. Answers everybody but those whom it promised; `None` when it
    /// promised nobody.
    async fn reserve(&self, batch: Vec<Queued>) -> Option<Promised<L::Room>> {
        let first = batch.first()?;
        let lane = Arc::clone(&first.waiter.offered.lane);
        let batch_id = BatchId::new(first.request.order.get()).ok()?;
        self.metrics.batch_size.observe(batch.len() as f64);
        // R7: room before the promise.
        let Some(room) = self.appender.room() else {
            self.metrics.log_full.inc();
            return decline(batch.into_iter().map(|queued| queued.waiter), Declined::Overloaded);
        };
        let (requests, waiters): (Vec<_>, Vec<_>) = batch.into_iter().map(|q| (q.request, q.waiter)).unzip();
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
        waiters.iter().for_each(|waiter| self.metrics.stages.reserve.observe(answered.saturating_sub(waiter.since)));
        match asked {
            Asked::Decided(decided) => {
                let now = Moment::of(&self.clock);
                for (offer, left) in &decided.left {
                    if let Some(waiter) = waiters.iter().find(|waiter| waiter.offered.id == *offer) {
                        waiter.offered.stock.note(*left, call.epoch, now.monotonic_ms);
                    }
                }
                let outcomes = replies::outcomes(&call, &requests, &decided, self.appender.acknowledged());
                if !decided.was_repeated {
                    replies::unused(&requests, &outcomes).for_each(|order| self.mint.take_back(order));
                }
                self.answer(&call, lane.partition, &requests, waiters, outcomes, room)
            }
            Asked::JournalFull => {
                self.metrics.journal_full.inc();
                decline(waiters, Declined::Overloaded)
            }
            Asked::Closed => decline(waiters, Declined::LaneClosed),
            Asked::Unsent => {
                requests.iter().rev().for_each(|request| self.mint.take_back(request.order));
                waiters.iter().for_each(|waiter| waiter.offered.give_back());
                decline(waiters, Declined::LaneClosed)
            }
            // R13: the lane may have these ids, or other ones by the same keys, or none. So no id
            // is answered, and none is used again.
            Asked::Unknown => decline(waiters, Declined::OutcomeUnknown),
        }
    }

    /// Answers everybody whose outcome is known, and returns the promised. Those are answered when
    /// the log has answered: they would only wait on, and are woken once instead of twice.
    fn answer(
        &self,
        call: &ReserveCall,
        partition: PartitionId,
        requests: &[ReserveRequest],
        waiters: Vec<Waiter>,
        outcomes: Vec<Outcome>,
        room: L::Room,
    ) -> Option<Promised<L::Room>> {
        let (mut promised, mut fields, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for ((outcome, request), waiter) in outcomes.into_iter().zip(requests).zip(waiters) {
            let offer = request.offer;
            if outcome.takes_no_unit() {
                waiter.offered.give_back();
            }
            match outcome.promised(request.order) {
                Some(true) => waiter.offered.counts.reserved(request.quantity),
                Some(false) => waiter.offered.counts.count(Step::Repeated),
                // Counted with its answer.
                None => {}
            }
            match outcome {
                Outcome::Promised(number) => {
                    fields.push(&request.field[..]);
                    numbers.push(number.0);
                    self.refused.forget(request.key, call.epoch);
                    promised.push((waiter, request.order, offer));
                }
                Outcome::Twin(order) => promised.push((waiter, order, offer)),
                Outcome::Known(order, state) => waiter.answer(Ok(Held::Reserved(Reserved { order, offer, state }))),
                Outcome::Released(order) => waiter.answer(Ok(Held::Released(order))),
                Outcome::Declined(why) => {
                    if why == Declined::SoldOut {
                        self.refused.note(request.key, call.epoch);
                    }
                    waiter.answer(Err(why));
                }
            }
        }
        if numbers.is_empty() {
            // No record, so no twin has one: what was promised before is the sweeper's.
            answer_promised(promised, PurchaseState::Pending);
            return None;
        }
        let head = Batch::head(call.lane, call.batch, call.epoch);
        let payload = Bytes::from(Batch::concatenate(&head, fields.into_iter(), &numbers));
        Some(Promised { partition, batch: call.batch, payload, room, waiters: promised })
    }
}

/// Appends what one call promised, and answers its buyers when the log has answered.
async fn append<S: LaneStock, L: OrderLog, C: Clock>(reserver: Arc<Reserver<S, L, C>>, promised: Promised<L::Room>) {
    let Promised { partition, batch, payload, room, waiters } = promised;
    let begun = reserver.clock.monotonic();
    let report = |state| {
        let took = reserver.clock.monotonic().saturating_sub(begun);
        reserver.metrics.stages.append.observe_many(took, waiters.len() as u64);
        answer_promised(waiters, state);
    };
    reserver.appender.append(partition, batch, payload, room, report).await;
}

fn answer_promised(waiters: Vec<(Waiter, OrderId, OfferId)>, state: PurchaseState) {
    for (waiter, order, offer) in waiters {
        waiter.answer(Ok(Held::Reserved(Reserved { order, offer, state })));
    }
}

fn decline<P>(waiters: impl IntoIterator<Item = Waiter>, why: Declined) -> Option<P> {
    waiters.into_iter().for_each(|waiter| waiter.answer(Err(why)));
    None
}

const _: () = assert!(BATCH_MAX <= u8::MAX as usize + 1);

#[cfg(test)]
mod tests;
