//! From the topic `order-events` to the ledger: a consumer that moves its position, the lines, the
//! evaluations and the postings of a span of records in one transaction. An event that comes again
//! is known; one that comes early waits; one that cannot be is parked with its cause, and the
//! others go on.

mod held;
mod load;
mod order;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use domain::{
    event::{OrderEvent, decode_events},
    id::{OrderId, PartitionId},
    record::{ORDER_EVENTS_TYPE, RecordError, Topic},
};
use kit::{clock::Clock, random::Random};
use store::{
    consumer::{Aside, Consumer, Handler},
    log::OrderLogSource,
    sql::{Sql, SqlError, Tx, Value, stored},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{Metrics, Outcome},
    published::{self, Plans, Times},
};
pub(crate) use held::TOUCH_DAYS;
use load::Texts;
use order::{Known, Step, matters, next};

/// By which name its position is kept.
pub const CONSUMER: &str = "distribution";
/// Pause before the next span, so that a span takes many records: each costs a durable write,
/// beside which orders are written too.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the first plan is looked for.
const FIRST_PLAN: Duration = Duration::from_secs(1);
/// How often it is looked how many records wait.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// How long a read waits for the first record.
const WAIT: Duration = Duration::from_secs(2);

/// Takes the events of one partition in.
pub struct Intake<C, R> {
    clock: C,
    random: R,
    metrics: Arc<Metrics>,
    texts: Texts,
    plans: Plans,
}

/// What the consumers of a topic work with; a clone for each of them.
#[derive(Debug, Clone)]
pub struct Intakes<S, C, R> {
    /// The service's database.
    pub sql: S,
    /// The time.
    pub clock: C,
    /// Numbers of parts.
    pub random: R,
    /// What operators watch.
    pub metrics: Arc<Metrics>,
}

impl<S: Sql, C: Clock + Clone, R: Random + Clone> Intakes<S, C, R> {
    /// Consumes all partitions, side by side, until `stop`. Any number of processes may do so: the
    /// position in the database gives each span to one of them, and whoever remains goes on at once
    /// where another died.
    pub async fn run(self, source: impl OrderLogSource, partitions: u32, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for partition in (0..partitions).map(PartitionId) {
            tasks.spawn(Box::pin(run(self.clone(), source.clone(), partition)));
        }
        stop.cancelled().await;
        // Dropped, each undoes what is under way: the next start reads its position.
        tasks.shutdown().await;
    }
}

/// Consumes a partition until the future is dropped, which may be at any moment. Faults are logged,
/// and tried again. Before there is a plan nothing is read, so that shops without commissions pay
/// nothing for them; what a plan is in force for is newer, and still there.
async fn run<S: Sql, C: Clock + Clone, R: Random + Clone>(
    intakes: Intakes<S, C, R>,
    source: impl OrderLogSource,
    partition: PartitionId,
) {
    let waits = |error: &dyn std::error::Error| {
        tracing::warn!(consumer = CONSUMER, %partition, %error, "commissions of orders wait; they go on by themselves");
    };
    let Intakes { sql, clock, random, metrics } = intakes;
    loop {
        match published::is_any(&sql).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => waits(&error),
        }
        tokio::time::sleep(FIRST_PLAN).await;
    }
    let mut consumer = loop {
        match source.reader(partition) {
            Ok(reader) => break Consumer::new(sql.clone(), CONSUMER, Topic::OrderEvents, partition, reader),
            Err(error) => waits(&error),
        }
        tokio::time::sleep(FIRST_PLAN).await;
    };
    let mut measured = None;
    let mut intake = Intake::new(clock.clone(), random, Arc::clone(&metrics));
    loop {
        if let Err(error) = consumer.step(&mut intake, WAIT).await {
            consumer.report(&error);
        }
        let now = clock.monotonic();
        if measured.is_none_or(|at| now.saturating_sub(at) >= MEASURE_EVERY) {
            measured = Some(now);
            match consumer.behind().await {
                Ok(records) => metrics.behind(partition, records),
                Err(error) => waits(&error),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// An event on its way through a span.
#[derive(Debug)]
struct Item {
    event: OrderEvent,
    /// Offset and place in its record; `None`: it has waited in the database.
    place: Option<(u64, usize)>,
}

impl Item {
    fn due(&self, what: What) -> Due {
        Due { event: self.event, place: self.place, what }
    }
}

/// What an event does with what its order pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Pay,
    Receive,
    /// So much has gone back, all refunds together, and so much before it.
    Refund {
        all: i64,
        before: i64,
    },
}

/// An event that is to be posted.
#[derive(Debug, Clone, Copy)]
struct Due {
    event: OrderEvent,
    /// As of its item.
    place: Option<(u64, usize)>,
    what: What,
}

impl Due {
    fn aside(&self, cause: String) -> Aside {
        aside(&self.event, self.place, cause)
    }
}

/// What a span comes to, before it is written.
#[derive(Debug, Default)]
struct Changes {
    lines: Vec<Value>,
    due: Vec<Due>,
    waits: Vec<Value>,
    /// Waited, and do no more.
    done_waiting: Vec<(OrderId, u8)>,
    /// Events that were posted.
    settled: usize,
}

impl<C: Clock, R: Random> Intake<C, R> {
    /// A handler for the consumer of one partition.
    pub fn new(clock: C, random: R, metrics: Arc<Metrics>) -> Self {
        Self { clock, random, metrics, texts: Texts::default(), plans: Plans::default() }
    }

    /// A number for a part of a balance.
    fn part(&self) -> Result<i64, SqlError> {
        let bytes = self.random.bytes::<8>().map_err(|error| SqlError::Broken(error.to_string().into()))?;
        Ok(i64::from_le_bytes(bytes) & i64::MAX)
    }
}

impl<S: Sql, C: Clock, R: Random> Handler<S> for Intake<C, R> {
    type Read = Vec<OrderEvent>;

    fn read(kind: &str, payload: Bytes) -> Result<Vec<OrderEvent>, RecordError> {
        decode_events(kind, payload)
    }

    async fn handle(
        &mut self,
        tx: &mut S::Tx,
        partition: PartitionId,
        records: Vec<(u64, Vec<OrderEvent>)>,
        parked: &mut Vec<Aside>,
    ) -> Result<(), SqlError> {
        let (mut span, mut items, now_ms) = (Changes::default(), Vec::new(), self.clock.now_ms());
        let damaged = parked.len();
        for (offset, events) in records {
            let placed = events.into_iter().enumerate();
            items.extend(placed.map(|(at, event)| Item { event, place: Some((offset, at)) }));
        }
        items.retain(|item| matters(item.event.kind));
        let versions = self.in_force(tx, &mut items).await?;
        if !items.is_empty() {
            let mut known = self.texts.known(tx, &mut items, (&mut span, parked)).await?;
            for item in items {
                span.take(&mut known, &versions, &item, (now_ms, parked))?;
            }
            self.settle(tx, &mut span, (&versions, &known), (partition, now_ms), parked).await?;
        }
        self.texts.write_rest(tx, &span).await?;
        self.metrics.count(Outcome::Parked, parked.len() - damaged);
        self.metrics.count(Outcome::Evaluated, span.settled);
        self.metrics.count(Outcome::Waits, span.waits.len() / load::WAITING_COLUMNS);
        Ok(())
    }
}

impl<C: Clock, R: Random> Intake<C, R> {
    /// The plan version of each order; events of orders without one go no further.
    async fn in_force<T: Tx>(&self, tx: &mut T, items: &mut Vec<Item>) -> Result<BTreeMap<OrderId, u32>, SqlError> {
        if items.is_empty() {
            return Ok(BTreeMap::new());
        }
        let tenants: BTreeSet<_> = items.iter().map(|item| item.event.tenant).collect();
        let sales: BTreeSet<_> = items.iter().map(|item| item.event.sale).collect();
        let times = Times::read(tx, &self.texts.switches, &tenants, &sales).await?;
        let mut versions = BTreeMap::new();
        items.retain(|Item { event, .. }| {
            let version = times.in_force(event.tenant, event.sale, event.order.minted_at_ms());
            version.is_some_and(|version| {
                versions.insert(event.order, version);
                true
            })
        });
        Ok(versions)
    }
}

impl Changes {
    fn take(
        &mut self,
        known: &mut BTreeMap<OrderId, Known>,
        versions: &BTreeMap<OrderId, u32>,
        item: &Item,
        (now_ms, parked): (u64, &mut Vec<Aside>),
    ) -> Result<(), SqlError> {
        let (event, known) = (&item.event, known.entry(item.event.order).or_default());
        let order = event.order;
        let step = next(known, event);
        if item.place.is_none() && step != Step::Wait {
            self.done_waiting.push((order, event.sequence));
        }
        match step {
            Step::Line(facts, purchased) => {
                known.line = Some(facts);
                self.lines.extend([
                    order.stored().into(),
                    event.tenant.stored().into(),
                    event.buyer.stored().into(),
                    event.sale.stored().into(),
                    event.offer.stored().into(),
                    purchased.sku.stored().into(),
                    event.quantity.into(),
                    facts.net.into(),
                    purchased.unit_price.currency.as_str().into(),
                    stored(order.minted_at_ms())?.into(),
                ]);
            }
            Step::Pay => {
                known.plan = versions.get(&order).copied();
                self.due.push(item.due(What::Pay));
            }
            Step::Receive => {
                known.is_received = true;
                self.due.push(item.due(What::Receive));
            }
            Step::Refund(all) => {
                let before = std::mem::replace(&mut known.refunded, all);
                self.due.push(item.due(What::Refund { all, before }));
            }
            Step::Wait => self.wait(event, item.place, now_ms)?,
            Step::Nothing => {}
            Step::Contradicts(cause) => parked.push(aside(event, item.place, cause.to_owned())),
        }
        Ok(())
    }

    /// An event waits for the one before it, or goes on waiting.
    fn wait(&mut self, event: &OrderEvent, place: Option<(u64, usize)>, now_ms: u64) -> Result<(), SqlError> {
        if place.is_some() {
            self.waits.extend([event.order.stored().into(), event.sequence.into(), event.tenant.stored().into()]);
            self.waits.extend([bytes_of(event).into(), stored(now_ms)?.into()]);
        } else {
            self.done_waiting.retain(|done| *done != (event.order, event.sequence));
        }
        Ok(())
    }
}

/// An event that is set aside; one that has waited has no place any more but its order's.
fn aside(event: &OrderEvent, place: Option<(u64, usize)>, cause: String) -> Aside {
    let (offset, item) = place.unwrap_or((event.order.get(), usize::from(event.sequence)));
    let order = Some((event.tenant, event.order));
    Aside { offset, item, order, cause, kind: ORDER_EVENTS_TYPE.to_owned(), payload: bytes_of(event) }
}

fn bytes_of(event: &OrderEvent) -> Bytes {
    let mut payload = Vec::new();
    event.append(&mut payload);
    payload.into()
}
