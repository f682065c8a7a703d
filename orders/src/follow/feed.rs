use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    event::{EventKind, OrderEvent, decode_events},
    id::{OrderId, PartitionId},
    record::{RecordError, Topic},
    shard::Home,
};
use kit::clock::Clock as _;
use store::{
    consumer::{Aside, Consumer, Handler, RECORDS_MAX},
    log::{OrderLogSource, PartitionReader, ReadError},
    orders::{Listed, Orders},
    shards::{self, Namespace, OpenError},
    sql::{Server, Sql, SqlError, Tx, stored},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{exports, service::Following, watchers::Watchers};
use crate::{
    blocks::{self, Blocks, Source},
    life::{Kinds, note_orders},
};

/// The schema of the list's database.
const SCHEMA: &[(&str, &str)] = &[
    ("001-listing", include_str!("../../migrations/001-listing.sql")),
    ("002-consumers", shards::CONSUMERS_TABLE),
    ("003-exports", include_str!("../../migrations/003-exports.sql")),
    ("004-parked", shards::PARKED_TABLE),
    ("005-hoarders", include_str!("../../migrations/005-hoarders.sql")),
];

/// By which the list's position in the topic is kept.
pub const CONSUMER: &str = "order_list";
/// Between two transactions of a partition, unless more waits: an order is listed that much later,
/// and a block holds the more.
const PACE: Duration = Duration::from_secs(1);
/// Pause after a fault.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a read waits for the first record.
const WAIT: Duration = Duration::from_millis(500);
/// Pause between two looks at the topic's end while nobody watches.
const IDLE_PAUSE: Duration = Duration::from_millis(200);
/// Bytes of records that are read for who watches at once, about.
const BYTES_MAX: usize = 4 << 20;
/// Between two looks at which streams are over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Rows of one transaction of a walk.
const WALKED_MAX: u32 = 4_096;
/// Pause between two of them: a walk leaves the databases to the buyers.
const WALK_PAUSE: Duration = Duration::from_millis(20);

const WALK: &str = "SELECT after_id, until_id FROM order_walks WHERE home = ?";
const BEGIN: &str = "INSERT INTO order_walks (home, after_id, until_id) VALUES (?, 0, ?)";
// The fence: who moves it has the rows from there on for itself.
const MOVE: &str = "UPDATE order_walks SET after_id = ? WHERE home = ? AND after_id = ?";

/// Makes what is missing of the list's database, and opens it. Any number of processes may do so at
/// the same time.
///
/// # Errors
/// [`OpenError::Sql`] when the database fails.
pub async fn open<V: Server>(server: &V, namespace: &Namespace) -> Result<V::Sql, OpenError> {
    shards::open_own(server, &namespace.listing(), SCHEMA).await
}

/// Follows the topic `order-events`, which `source` reads, until `stop`. Streams end with `drain`,
/// so that the drain does not wait for them. Every process of the service does it.
pub async fn follow<K: Kinds>(
    following: Arc<Following<K>>,
    (source, partitions): (impl OrderLogSource, u32),
    (drain, stop): (CancellationToken, CancellationToken),
) {
    let mut tasks = JoinSet::new();
    for partition in (0..partitions).map(PartitionId) {
        tasks.spawn(watch(Arc::clone(&following), source.clone(), partition));
        tasks.spawn(list(following.blocks().clone(), source.clone(), partition));
    }
    let walking = Arc::clone(&following);
    tasks.spawn(async move { walk(walking.orders(), walking.blocks(), walking.clock().now_ms()).await });
    let writing = Arc::clone(&following);
    tasks.spawn(async move { exports::write(&writing).await });
    let sweeping = Arc::clone(&following);
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            sweeping.watchers().sweep(sweeping.clock().monotonic());
        }
    });
    tokio::select! {
        () = stop.cancelled() => following.watchers().end(),
        () = async {
            drain.cancelled().await;
            following.watchers().end();
            stop.cancelled().await;
        } => {}
    }
    tasks.shutdown().await;
}

/// Tells who watches what a partition says from now on.
async fn watch<K: Kinds>(following: Arc<Following<K>>, source: impl OrderLogSource, partition: PartitionId) {
    loop {
        let watched = watch_from_its_end(following.watchers(), &source, partition).await;
        if let Err(error) = watched {
            tracing::warn!(%error, %partition, "streams of orders wait; they go on by themselves");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn watch_from_its_end(
    watchers: &Watchers,
    source: &impl OrderLogSource,
    partition: PartitionId,
) -> Result<(), ReadError> {
    let mut reader = source.reader(partition)?;
    let mut from = Some(reader.watermarks().await?.high);
    // Those who came before may have missed what was told meanwhile.
    watchers.restart();
    loop {
        if watchers.is_idle() {
            // Nobody was there after this end was read who comes now: it hears of all behind it.
            let end = reader.watermarks().await?.high;
            if watchers.is_idle() {
                from = Some(end);
                tokio::time::sleep(IDLE_PAUSE).await;
                continue;
            }
        }
        if let Some(from) = from.take() {
            reader.seek(from).await?;
        }
        for record in reader.read(RECORDS_MAX, BYTES_MAX, WAIT).await? {
            match decode_events(&record.kind, record.payload) {
                Ok(events) => watchers.hear(&events),
                // The client sees it in the row when it comes again.
                Err(error) => {
                    tracing::error!(%error, %partition, offset = record.offset, "an event cannot be told to who watches");
                }
            }
        }
    }
}

/// Puts the orders of a partition into blocks.
async fn list<S: Sql>(blocks: Blocks<S>, source: impl OrderLogSource, partition: PartitionId) {
    loop {
        let reader = match source.reader(partition) {
            Ok(reader) => reader,
            Err(error) => {
                tracing::warn!(%error, %partition, "the list of orders waits; it goes on by itself");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let mut consumer = Consumer::new(blocks.db().clone(), CONSUMER, Topic::OrderEvents, partition, reader);
        loop {
            match consumer.step(&mut Listing, WAIT).await {
                Ok(RECORDS_MAX..) => {}
                Ok(_) => tokio::time::sleep(PACE).await,
                Err(error) => {
                    consumer.report(&error);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// Lists each order by its first event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing;

impl<S: Sql> Handler<S> for Listing {
    type Read = Vec<OrderEvent>;

    fn read(kind: &str, payload: Bytes) -> Result<Vec<OrderEvent>, RecordError> {
        decode_events(kind, payload)
    }

    async fn handle(
        &mut self,
        tx: &mut S::Tx,
        partition: PartitionId,
        records: Vec<(u64, Vec<OrderEvent>)>,
        _: &mut Vec<Aside>,
    ) -> Result<(), SqlError> {
        let Some(&(place, _)) = records.first() else { return Ok(()) };
        let events: Vec<&OrderEvent> = records.iter().flat_map(|(_, events)| events).collect();
        note_orders(tx, (partition, place), &events).await?;
        let orders: Vec<Listed> = events.into_iter().filter_map(first_of).collect();
        blocks::add(tx, Source { source: partition.0.into(), place }, orders.into_iter()).await
    }
}

fn first_of(event: &OrderEvent) -> Option<Listed> {
    let OrderEvent { order, tenant, sale, offer, .. } = *event;
    matches!(event.kind, EventKind::Created | EventKind::Rejected).then_some(Listed { order, tenant, sale, offer })
}

/// Puts orders into blocks that were written before the topic was followed, table by table, each
/// row once.
pub async fn walk<S: Sql>(orders: &Orders<S>, blocks: &Blocks<S>, now_ms: u64) {
    for (number, home) in (0..).zip(orders.map().all()) {
        loop {
            match step(orders, blocks, (number, home), now_ms).await {
                Ok(true) => tokio::time::sleep(WALK_PAUSE).await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "listing older orders waits; it goes on by itself");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// `false`: the table is walked to its end.
async fn step<S: Sql>(
    orders: &Orders<S>,
    blocks: &Blocks<S>,
    (number, home): (u32, Home),
    now_ms: u64,
) -> Result<bool, SqlError> {
    let until = stored(OrderId::floor_at(now_ms))?;
    // What is written from now on is told by the topic.
    blocks.db().insert_absent(BEGIN, vec![number.into(), until.into()]).await?;
    let found = blocks.db().rows(WALK, vec![number.into()]).await?.into_iter().next();
    let mut row = found.ok_or_else(|| SqlError::Broken("a walk over orders vanished".into()))?;
    let (after, until): (u64, u64) = (row.number()?, row.number()?);
    if after >= until {
        return Ok(false);
    }
    let rows = orders.listed(home, (after, until), WALKED_MAX).await?;
    let last = rows.last().filter(|_| rows.len() == WALKED_MAX as usize);
    let next = last.map_or(until, |last| last.order.get());
    let mut tx = blocks.db().begin().await?;
    let done = async {
        if tx.exec(MOVE, vec![stored(next)?.into(), number.into(), stored(after)?.into()]).await? != 1 {
            return Ok(false);
        }
        let source = Source { source: -1 - i64::from(number), place: after };
        blocks::add(&mut tx, source, rows.into_iter()).await.map(|()| true)
    }
    .await;
    match done {
        Ok(true) => tx.commit().await?,
        undone => {
            tx.rollback().await;
            undone?;
        }
    }
    Ok(next < until)
}
