//! The outbox relays: published sales go onto their topic, and records that somebody wrote beside
//! an order's row go into the log, each onto its topic. What a topic's readers do not confirm is
//! out when it is acknowledged. What the order-writers decide, the releases, is appended again
//! until the ledger has passed it (R8). Each partition has a pass of its own: one that waits delays
//! no other. A repeated release is a no-op for the rows and still gives back what a lost settlement
//! did not.
//!
//! The row of a release is taken out when the ledger has passed it, or when its release is parked:
//! the ledger has passed two appends of it, one after the other, and its row has none. (One is not
//! enough to know: the log may have lost it before it was read, or the row's database its tail. The
//! second was appended when the ledger was past the first, so that both would have shown by then.)

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use domain::{
    id::{Generation, OrderId, PartitionId, Position, RecordId},
    record::{Topic, registered},
    shard::ShardId,
};
use kit::clock::Clock;
use store::{
    ledger::PartitionRow,
    log::{Envelope, OrderLog, OrderLogSource, PartitionReader, Topics, Unacknowledged},
    orders::OutboxRow,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ports::{Halt, Ports, Shared};

/// Rows read at once, of one shard and partition.
const PAGE: u32 = 1_000;
/// Records of a partition on their way into the log at one time: they share the producer's room
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
    /// Passes a page on, topic by topic. Whether anything of it did not just wait.
    async fn page<P: Ports>(
        &mut self,
        shared: &Arc<Shared<P>>,
        place: (ShardId, PartitionId),
        ledger: Option<PartitionRow>,
        page: Vec<OutboxRow>,
    ) -> Result<bool, Halt> {
        let (mut by_topic, mut unknown): (BTreeMap<Topic, Vec<Outgoing>>, _) = (BTreeMap::new(), None);
        for row in page {
            match registered(&row.kind) {
                Some((kind, topic)) if topic.name() == row.topic => {
                    by_topic.entry(topic).or_default().push(Outgoing { kind, row });
                }
                _ => unknown = Some(row),
            }
        }
        if let Some(OutboxRow { kind, topic, .. }) = unknown {
            tracing::warn!(%kind, %topic, "outbox rows wait for a program that knows their kind: update this one");
        }
        let mut moved = false;
        for (topic, rows) in by_topic {
            moved |= match topic {
                Topic::Orders => self.relay_decided(shared, place, ledger, rows).await?,
                // No outbox row is of `counts`.
                Topic::OrderEvents | Topic::Counts => relay_told(shared, place, (topic, ledger), rows).await?,
            };
        }
        Ok(moved)
    }

    /// Appends what is new, takes out what the ledger has passed. Whether any of the rows did not
    /// just wait.
    async fn relay_decided<P: Ports>(
        &mut self,
        shared: &Arc<Shared<P>>,
        (shard, partition): (ShardId, PartitionId),
        ledger: Option<PartitionRow>,
        rows: Vec<Outgoing>,
    ) -> Result<bool, Halt> {
        let position = ledger.map_or(0, |row| row.offset);
        let (mut to_append, mut to_look_at) = (Vec::new(), Vec::new());
        for out in rows {
            match self.sent.get_mut(&out.row.id) {
                None => to_append.push(out),
                Some(sent) => {
                    sent.round = self.round;
                    if sent.offset < position {
                        to_look_at.push(out);
                    }
                }
            }
        }
        let orders: Vec<OrderId> = to_look_at.iter().map(|out| out.row.order).collect();
        let released = shared.orders.releases_of(&orders).await?;
        let mut done = Vec::new();
        for out in to_look_at {
            let OutboxRow { id, order, .. } = out.row;
            let appends = self.sent.get(&id).map_or(0, |sent| sent.appends);
            match released.get(&order) {
                Some(&at) if is_passed(at, ledger) => done.push(id),
                // Its row is ahead of the ledger, which lost its tail and decides again.
                Some(_) => {}
                None if appends < APPENDS_MAX => to_append.push(out),
                None => {
                    tracing::error!(%order, record = %id, %partition, "the release of an order is parked, so its \
                        units do not go back; the dead letters hold it with its cause");
                    shared.metrics.releases_parked.inc();
                    done.push(id);
                }
            }
        }
        let moved = !to_append.is_empty() || !done.is_empty();
        shared.orders.outbox_done(shard, &done).await?;
        for id in &done {
            self.sent.remove(id);
        }
        let round = self.round;
        append(shared, (Topic::Orders, partition), &to_append, |id, offset| {
            shared.metrics.relayed.inc();
            let sent = self.sent.entry(id).or_insert(Sent { offset, appends: 0, round });
            (sent.offset, sent.appends) = (offset, sent.appends + 1);
        })
        .await?;
        Ok(moved)
    }

    /// All rows were seen since the last time: others are gone, taken out by another order-writer.
    fn come_round(&mut self) {
        let round = self.round;
        self.sent.retain(|_, sent| sent.round == round);
        self.round += 1;
    }
}

/// A row of the outbox of a kind that this program knows.
struct Outgoing {
    kind: &'static str,
    row: OutboxRow,
}

/// Appends what nobody decides, and takes out what is acknowledged. Whether any of the rows did not
/// just wait: an order's records wait until the ledger has passed its row, because by then its
/// first event is on the topic.
async fn relay_told<P: Ports>(
    shared: &Arc<Shared<P>>,
    (shard, partition): (ShardId, PartitionId),
    (topic, ledger): (Topic, Option<PartitionRow>),
    mut rows: Vec<Outgoing>,
) -> Result<bool, Halt> {
    let orders: Vec<OrderId> = rows.iter().map(|out| out.row.order).collect();
    let found = shared.orders.find(&orders).await?;
    rows.retain(|out| found.get(&out.row.order).is_some_and(|row| is_passed(row.position, ledger)));
    let mut done = Vec::with_capacity(rows.len());
    let appended = append(shared, (topic, partition), &rows, |id, _| done.push(id)).await;
    shared.orders.outbox_done(shard, &done).await?;
    appended.map(|()| !done.is_empty())
}

/// Appends these, some side by side; `acknowledged` hears of the offset of each that is in the log.
async fn append<P: Ports>(
    shared: &Arc<Shared<P>>,
    (topic, partition): (Topic, PartitionId),
    rows: &[Outgoing],
    mut acknowledged: impl FnMut(RecordId, u64) + Send,
) -> Result<(), Halt> {
    let log = shared.log.of(topic);
    for some in rows.chunks(ON_THE_WAY) {
        let mut failed = None;
        let mut on_the_way = Vec::with_capacity(some.len());
        for Outgoing { kind, row } in some {
            let Some(room) = log.room() else {
                failed = Some(Unacknowledged("the producer's queue is full".into()));
                break;
            };
            let envelope = Envelope { id: row.id, kind, payload: row.payload.clone() };
            on_the_way.push((row.id, log.append(partition, envelope, room)));
        }
        for (id, acknowledgement) in on_the_way {
            match acknowledgement.await {
                Ok(offset) => acknowledged(id, offset),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    Ok(())
}

/// An older generation's release is counted in the sold units that the newer one started from.
fn is_passed(at: Position, ledger: Option<PartitionRow>) -> bool {
    ledger.is_some_and(|row| (at.generation, at.offset) < (row.generation, row.offset))
}
