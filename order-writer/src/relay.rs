//! The outbox relays: published sales go onto their topic, and releases that the desk wrote beside their rows go into the log, again and again until the ledger has passed them
//! (R8). A repeated release is a no-op for the rows and still gives back what a lost settlement did not.

use std::{
    collections::{BTreeMap, HashMap, btree_map, hash_map},
    sync::Arc,
    time::Duration,
};

use domain::{
    id::{OrderId, PartitionId, RecordId},
    record::RELEASED_TYPE,
    shard::ShardId,
};
use kit::clock::Clock;
use store::{
    ledger::PartitionRow,
    log::{Envelope, OrderLog, Unacknowledged},
    orders::OutboxRow,
};
use tokio_util::sync::CancellationToken;

use crate::ports::{Halt, Ports, Shared};

/// Outbox rows looked at in one round, of each shard.
const ROUND: u32 = 1_000;
/// Rounds begin this far apart.
const EVERY: Duration = Duration::from_millis(250);
/// A release that the ledger has not passed is appended again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Relays until cancelled. Every order-writer may: repeated records are no-ops.
pub async fn relay<P: Ports>(shared: Arc<Shared<P>>, cancel: CancellationToken) {
    let mut appended: HashMap<RecordId, Duration> = HashMap::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = shared.ledger.publications().feed(&shared.log).await {
            tracing::warn!(%error, "published sales wait for their topic; the next round goes on");
        }
        for shard in (0..shared.orders.map().shards()).map(ShardId) {
            if let Err(halt) = round(&shared, shard, &mut appended).await {
                tracing::warn!(shard = shard.0, %halt, "a round of the relay failed; the next one goes on");
            }
        }
        let now = shared.clock.monotonic();
        appended.retain(|_, at| now.saturating_sub(*at) < AGAIN_AFTER);
    }
}

async fn round<P: Ports>(
    shared: &Arc<Shared<P>>,
    shard: ShardId,
    appended: &mut HashMap<RecordId, Duration>,
) -> Result<(), Halt> {
    let outbox = shared.orders.outbox(shard, ROUND).await?;
    if outbox.is_empty() {
        return Ok(());
    }
    let orders: Vec<OrderId> = outbox.iter().map(|row| row.order).collect();
    let rows = shared.orders.find(&orders).await?;
    let mut partitions: BTreeMap<PartitionId, Option<PartitionRow>> = BTreeMap::new();
    let mut passed = Vec::new();
    for out in outbox {
        let ledger = match partitions.entry(out.partition) {
            btree_map::Entry::Occupied(known) => *known.get(),
            btree_map::Entry::Vacant(new) => *new.insert(shared.ledger.partition(out.partition).await?),
        };
        let released = rows.get(&out.order).and_then(|row| row.released);
        let is_passed = released.zip(ledger).is_some_and(|(at, ledger)| {
            // An older generation's release is counted in the sold units that the newer one started from.
            at.generation < ledger.generation || (at.generation == ledger.generation && at.offset < ledger.offset)
        });
        if is_passed {
            passed.push(out.id);
        } else if let hash_map::Entry::Vacant(new) = appended.entry(out.id) {
            append(shared, &out).await?;
            new.insert(shared.clock.monotonic());
        }
    }
    shared.orders.outbox_done(shard, &passed).await?;
    Ok(())
}

async fn append<P: Ports>(shared: &Arc<Shared<P>>, out: &OutboxRow) -> Result<(), Halt> {
    let room = shared.log.room().ok_or_else(|| Unacknowledged("the producer's queue is full".into()))?;
    let envelope = Envelope { id: out.id, kind: RELEASED_TYPE, payload: out.payload.clone() };
    shared.log.append(out.partition, envelope, room).await?;
    shared.metrics.relayed.inc();
    Ok(())
}
