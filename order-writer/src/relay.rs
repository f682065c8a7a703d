//! The outbox relays: published sales go onto their topic, and releases that the desk wrote beside
//! their rows go into the log, again until the ledger has passed them (R8). Each partition has a
//! pass of its own: one that waits delays no other. A repeated release is a no-op for the rows and
//! still gives back what a lost settlement did not.
//!
//! A row is taken out when the ledger has passed its release, or when its release is parked: the
//! ledger has passed two appends of it, one after the other, and its row has none. (One is not
//! enough to know: the log may have lost it before it was read, or the row's database its tail. The
//! second was appended when the ledger was past the first, so that both would have shown by then.)

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use domain::{
    id::{Generation, OrderId, PartitionId, Position, RecordId},
    record::RELEASED_TYPE,
    shard::ShardId,
};
use kit::clock::Clock;
use store::{
    ledger::PartitionRow,
    log::{Envelope, OrderLog, OrderLogSource, PartitionReader, Unacknowledged},
    orders::OutboxRow,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ports::{Halt, Ports, Shared};

/// Outbox rows read at once, of one shard and partition.
const PAGE: u32 = 1_000;
/// Releases of a partition on their way into the log at one time: they share the producer's room
/// with the buyers' batches.
const ON_THE_WAY: usize = 256;
/// Passes of a partition begin at least this far apart.
const EVERY: Duration = Duration::from_millis(250);
/// What waits longer than this is looked for in the log, which may have lost it.
const LOOKED_FOR_AFTER: Duration = Duration::from_secs(10);
/// Appends of a release that the ledger has passed without a trace in its row: then it is parked.
const APPENDS_MAX: u8 = 2;

/// Relays until cancelled. Every order-writer may: repeated records are no-ops.
pub async fn relay<P: Ports>(shared: Arc<Shared<P>>, cancel: CancellationToken) {
    let mut idle: BTreeMap<PartitionId, Track> = BTreeMap::new();
    let (mut passes, mut busy) = (JoinSet::new(), BTreeSet::new());
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = shared.ledger.publications().feed(&shared.log).await {
            tracing::warn!(%error, "published sales wait for their topic; the next round goes on");
        }
        while let Some(ended) = passes.try_join_next() {
            match ended {
                Ok((partition, track)) => {
                    busy.remove(&partition);
                    idle.insert(partition, track);
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        let Some(waiting) = waiting(&shared).await else { continue };
        idle.retain(|partition, _| waiting.contains(partition));
        for partition in waiting {
            if busy.insert(partition) {
                let (shared, track) = (shared.clone(), idle.remove(&partition).unwrap_or_default());
                passes.spawn(async move { (partition, pass(&shared, partition, track).await) });
            }
        }
    }
}

/// The partitions that any shard's outbox holds rows for; `None` when that is not known of all
/// shards.
async fn waiting<P: Ports>(shared: &Arc<Shared<P>>) -> Option<BTreeSet<PartitionId>> {
    let mut waiting = BTreeSet::new();
    for shard in (0..shared.orders.map().shards()).map(ShardId) {
        match shared.orders.outbox_partitions(shard).await {
            Ok(partitions) => waiting.extend(partitions),
            Err(error) => {
                tracing::warn!(shard = shard.0, %error, "an outbox cannot be read; the next round goes on");
                return None;
            }
        }
    }
    Some(waiting)
}

/// What was appended of a partition's releases. A process that starts knows nothing and appends
/// each once more, which is harmless.
#[derive(Default)]
struct Track {
    /// Of the ledger when it was appended: a log that begins anew has none of it.
    generation: Option<Generation>,
    shards: BTreeMap<ShardId, ShardTrack>,
    /// When the log was looked at last, by the monotonic clock.
    looked_at: Duration,
}

#[derive(Default)]
struct ShardTrack {
    /// The last row of the page before; pages go round.
    after: Option<RecordId>,
    /// Which round that is.
    round: u64,
    sent: HashMap<RecordId, Sent>,
}

/// An acknowledged append.
#[derive(Clone, Copy)]
struct Sent {
    offset: u64,
    appends: u8,
    /// In which its row was seen last.
    round: u64,
}

/// One pass over a partition's releases in all shards. What fails is left for the next one.
async fn pass<P: Ports>(shared: &Arc<Shared<P>>, partition: PartitionId, mut track: Track) -> Track {
    if let Err(halt) = look_at_all(shared, partition, &mut track).await {
        tracing::warn!(%partition, %halt, "the releases of a partition wait; the next round goes on");
    }
    track
}

async fn look_at_all<P: Ports>(shared: &Arc<Shared<P>>, partition: PartitionId, track: &mut Track) -> Result<(), Halt> {
    let mut ledger = shared.ledger.partition(partition).await?;
    let generation = ledger.map(|row| row.generation);
    if track.generation != generation {
        *track = Track { generation, looked_at: shared.clock.monotonic(), ..Track::default() };
    }
    track.forget_lost(shared, partition).await?;
    for shard in (0..shared.orders.map().shards()).map(ShardId) {
        let of_shard = track.shards.entry(shard).or_default();
        loop {
            let page = shared.orders.outbox_of(shard, partition, of_shard.after, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            let next = page.last().filter(|_| !is_last).map(|row| row.id);
            let moved = of_shard.page(shared, (shard, partition), ledger, page).await?;
            of_shard.after = next;
            if is_last {
                of_shard.come_round();
            }
            // A page that only waits says that the next ones do so too: they have their turn in the
            // next pass.
            if is_last || !moved {
                break;
            }
            ledger = shared.ledger.partition(partition).await?;
        }
    }
    Ok(())
}

impl Track {
    /// What the log does not hold any more, although it was acknowledged, is appended again. Only
    /// what waits for long is looked for.
    async fn forget_lost<P: Ports>(&mut self, shared: &Arc<Shared<P>>, partition: PartitionId) -> Result<(), Halt> {
        let now = shared.clock.monotonic();
        if now.saturating_sub(self.looked_at) < LOOKED_FOR_AFTER || self.shards.values().all(|of| of.sent.is_empty()) {
            return Ok(());
        }
        let high = shared.source.reader(partition)?.watermarks().await?.high;
        self.shards.values_mut().for_each(|of| of.sent.retain(|_, sent| sent.offset < high));
        self.looked_at = now;
        Ok(())
    }
}

impl ShardTrack {
    /// Appends what is new, takes out what the ledger has passed. Whether anything of the page did
    /// not just wait.
    async fn page<P: Ports>(
        &mut self,
        shared: &Arc<Shared<P>>,
        (shard, partition): (ShardId, PartitionId),
        ledger: Option<PartitionRow>,
        page: Vec<OutboxRow>,
    ) -> Result<bool, Halt> {
        let position = ledger.map_or(0, |row| row.offset);
        let (mut to_append, mut to_look_at) = (Vec::new(), Vec::new());
        for out in page {
            match self.sent.get_mut(&out.id) {
                None => to_append.push(out),
                Some(sent) => {
                    sent.round = self.round;
                    if sent.offset < position {
                        to_look_at.push(out);
                    }
                }
            }
        }
        let orders: Vec<OrderId> = to_look_at.iter().map(|out| out.order).collect();
        let released = shared.orders.releases_of(&orders).await?;
        let mut done = Vec::new();
        for out in to_look_at {
            let appends = self.sent.get(&out.id).map_or(0, |sent| sent.appends);
            match released.get(&out.order) {
                Some(&at) if is_passed(at, ledger) => done.push(out.id),
                // Its row is ahead of the ledger, which lost its tail and decides again.
                Some(_) => {}
                None if appends < APPENDS_MAX => to_append.push(out),
                None => {
                    tracing::error!(order = %out.order, record = %out.id, %partition, "the release of an order is parked, so its \
                        units do not go back; the dead letters hold it with its cause");
                    shared.metrics.releases_parked.inc();
                    done.push(out.id);
                }
            }
        }
        let moved = !to_append.is_empty() || !done.is_empty();
        shared.orders.outbox_done(shard, &done).await?;
        for id in &done {
            self.sent.remove(id);
        }
        for some in to_append.chunks(ON_THE_WAY) {
            self.append(shared, partition, some).await?;
        }
        Ok(moved)
    }

    /// Appends these side by side.
    async fn append<P: Ports>(
        &mut self,
        shared: &Arc<Shared<P>>,
        partition: PartitionId,
        some: &[OutboxRow],
    ) -> Result<(), Halt> {
        let mut failed = None;
        let mut on_the_way = Vec::with_capacity(some.len());
        for out in some {
            let Some(room) = shared.log.room() else {
                failed = Some(Unacknowledged("the producer's queue is full".into()));
                break;
            };
            let envelope = Envelope { id: out.id, kind: RELEASED_TYPE, payload: out.payload.clone() };
            on_the_way.push((out.id, shared.log.append(partition, envelope, room)));
        }
        for (id, acknowledgement) in on_the_way {
            match acknowledgement.await {
                Ok(offset) => {
                    shared.metrics.relayed.inc();
                    let sent = self.sent.entry(id).or_insert(Sent { offset, appends: 0, round: self.round });
                    (sent.offset, sent.appends) = (offset, sent.appends + 1);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// All rows were seen since the last time: others are gone, taken out by another order-writer.
    fn come_round(&mut self) {
        let round = self.round;
        self.sent.retain(|_, sent| sent.round == round);
        self.round += 1;
    }
}

/// An older generation's release is counted in the sold units that the newer one started from.
fn is_passed(at: Position, ledger: Option<PartitionRow>) -> bool {
    ledger.is_some_and(|row| (at.generation, at.offset) < (row.generation, row.offset))
}
