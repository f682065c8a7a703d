//! Membership in a group that shares a topic's partitions. The group only says who works on what;
//! this consumer fetches nothing, and positions come from its members' databases.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use domain::{id::PartitionId, record::Topic};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::{KafkaSettings, KafkaSetupError, log_line, unavailable};
use crate::{
    cause::Cause,
    elapsed::Since,
    log::{Membership, MembershipEvent, ReadError},
};

/// How often the polling thread looks whether it is to stop.
const POLL: Duration = Duration::from_millis(200);
/// Also how soon a member hears that others came or went.
const HEARTBEAT_MS: u32 = 500;
/// A thread that polls so much later than it meant to was held, and others may have its partitions
/// by now.
const HELD: Duration = Duration::from_secs(2);
/// How often reported offsets are told to the broker.
const COMMIT_MS: u32 = 1_000;

/// A member of a group. A thread of its own polls, so that heartbeats and rebalances go on whatever
/// the writer does. Dropping it leaves the group within a moment; [`Membership::leave`] waits for
/// that.
///
/// A revoked partition is another member's at once: nobody waits for the writer to hear of it.
/// Partitions that were lost because the brokers were silent are kept until the next assignment
/// says whose they are: brokers that are silent give them to nobody, and once they speak the group
/// waits a whole session for the member that this one was before (the client joins anew, under
/// another id). Whoever keeps one too long is fenced by the ledger.
pub struct KafkaMembership {
    topic: String,
    owned: watch::Receiver<Owned>,
    /// What [`Membership::next`] has told.
    told: BTreeMap<PartitionId, u64>,
    /// `None` once left. The polling thread drops the last one.
    consumer: Option<Arc<BaseConsumer<Group>>>,
    leave: Arc<AtomicBool>,
    left: Option<oneshot::Receiver<()>>,
}

/// The assignment as it stands. Each assignment has a number: a partition that was lost and won
/// again in between is told as revoked and assigned.
#[derive(Default)]
struct Owned {
    partitions: BTreeMap<PartitionId, u64>,
    assignments: u64,
    /// They were lost to silence: the next assignment names those that stay.
    in_doubt: bool,
    failed: Option<String>,
}

/// What a rebalance does to partitions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Assigned,
    Revoked,
    LostToSilence,
}

impl Owned {
    fn rebalanced(&mut self, change: Change, ids: &[PartitionId]) {
        self.assignments += 1;
        match change {
            Change::LostToSilence => self.in_doubt = true,
            Change::Revoked => self.partitions.retain(|id, _| !ids.contains(id)),
            Change::Assigned => {
                if std::mem::take(&mut self.in_doubt) {
                    self.partitions.retain(|id, _| ids.contains(id));
                }
                for &id in ids {
                    self.partitions.entry(id).or_insert(self.assignments);
                }
            }
        }
    }
}

impl KafkaMembership {
    /// Joins the group of the order-writers, which shares the topic `orders`.
    ///
    /// # Errors
    /// As [`KafkaMembership::join_group`].
    pub fn join(settings: &KafkaSettings) -> Result<Self, KafkaSetupError> {
        Self::join_group(settings, &settings.writers_group(), Topic::Orders)
    }

    /// Joins the group with this name ([`KafkaSettings::group`]).
    ///
    /// # Errors
    /// [`KafkaSetupError`] when the client refuses the settings or no thread can be started.
    pub fn join_group(settings: &KafkaSettings, group: &str, topic: Topic) -> Result<Self, KafkaSetupError> {
        let mut config = settings.client();
        config
            .set("group.id", group)
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", settings.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", HEARTBEAT_MS.to_string())
            // Stored by `report`, committed by the client now and then: a commit each would cost a
            // request each.
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", COMMIT_MS.to_string())
            .set("enable.auto.offset.store", "false");
        let (owned, watched) = watch::channel(Owned::default());
        let group = Group { owned, polled: Mutex::new(Since::now()) };
        let consumer = Arc::new(BaseConsumer::from_config_and_context(&config, group)?);
        let topic = settings.topic(topic);
        consumer.subscribe(&[&topic])?;
        let leave = Arc::new(AtomicBool::new(false));
        let (leaving, left) = oneshot::channel();
        let (polled, told_to_leave) = (Arc::clone(&consumer), Arc::clone(&leave));
        let spawned = thread::Builder::new().name("kafka-membership".into()).spawn(move || {
            poll(&polled, &told_to_leave);
            drop(polled);
            // Nobody may be waiting for it.
            leaving.send(()).ok();
        });
        if let Err(error) = spawned {
            // Here it may block: nothing has begun.
            return Err(KafkaSetupError::Thread(Cause::of(error)));
        }
        Ok(Self { topic, owned: watched, told: BTreeMap::new(), consumer: Some(consumer), leave, left: Some(left) })
    }

    /// Our handle goes before the thread is told to stop, so that the thread has the last one: its
    /// drop blocks.
    fn let_go(&mut self) {
        self.consumer = None;
        self.leave.store(true, Relaxed);
    }
}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        self.let_go();
    }
}

fn poll(consumer: &BaseConsumer<Group>, leave: &AtomicBool) {
    while !leave.load(Relaxed) {
        consumer.context().polls();
        // Records do not come, partitions being paused; rebalances are handled inside.
        if let Some(Err(KafkaError::MessageConsumptionFatal(code))) = consumer.poll(POLL) {
            consumer.context().owned.send_modify(|owned| owned.failed = Some(code.to_string()));
        }
    }
}

struct Group {
    owned: watch::Sender<Owned>,
    /// When the polling thread last began to poll.
    polled: Mutex<Since>,
}

impl Group {
    fn polls(&self) {
        *self.polled.lock().unwrap_or_else(PoisonError::into_inner) = Since::now();
    }

    /// This process did not run for a while.
    fn was_held(&self) -> bool {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > HELD
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "a group has trouble");
    }
}

impl ConsumerContext for Group {
    /// Runs on the polling thread, while it polls.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let change = match assigned {
            true => Change::Assigned,
            false if consumer.assignment_lost() && !self.was_held() => Change::LostToSilence,
            false => Change::Revoked,
        };
        let done = if assigned { assign(consumer, partitions) } else { consumer.incremental_unassign(partitions) };
        if let Err(error) = done {
            tracing::error!(%error, assigned, "a rebalance of a group failed");
        }
        let ids: Vec<PartitionId> =
            partitions.elements().iter().filter_map(|p| u32::try_from(p.partition()).ok()).map(PartitionId).collect();
        let kept = change == Change::LostToSilence;
        tracing::info!(assigned, kept, partitions = ?ids, "a group was rebalanced");
        self.owned.send_modify(|owned| owned.rebalanced(change, &ids));
    }
}

/// From the end, which has to be asked for, and paused before the answer can come: nothing is
/// fetched.
fn assign(consumer: &BaseConsumer<Group>, partitions: &mut TopicPartitionList) -> KafkaResult<()> {
    partitions.set_all_offsets(Offset::End)?;
    consumer.incremental_assign(partitions)?;
    consumer.pause(partitions)
}

impl Membership for KafkaMembership {
    /// Cancelling it loses nothing.
    async fn next(&mut self) -> Result<MembershipEvent, ReadError> {
        loop {
            {
                let owned = self.owned.borrow_and_update();
                if let Some(why) = &owned.failed {
                    return Err(unavailable(why.as_str()));
                }
                if let Some(event) = difference(&mut self.told, &owned.partitions) {
                    return Ok(event);
                }
            }
            self.owned.changed().await.map_err(|_| unavailable("the group was left"))?;
        }
    }

    fn report(&self, partition: PartitionId, next_offset: u64) {
        let Some(consumer) = &self.consumer else { return };
        let (Ok(partition), Ok(offset)) = (i32::try_from(partition.0), i64::try_from(next_offset)) else { return };
        let mut offsets = TopicPartitionList::with_capacity(1);
        let stored = offsets
            .add_partition_offset(&self.topic, partition, Offset::Offset(offset))
            .and_then(|()| consumer.store_offsets(&offsets));
        if let Err(error) = stored {
            // Somebody else's partition by now: its lag is theirs to tell.
            tracing::debug!(%error, partition, "an offset was not reported");
        }
    }

    async fn leave(mut self, deadline: Duration) {
        self.let_go();
        if let Some(left) = self.left.take()
            && timeout(deadline, left).await.is_err()
        {
            tracing::warn!("a group was not left in time; it will notice");
        }
    }
}

/// The next event that leads from what was told to what is: first what is gone, then what is new.
fn difference(told: &mut BTreeMap<PartitionId, u64>, owned: &BTreeMap<PartitionId, u64>) -> Option<MembershipEvent> {
    let gone: Vec<PartitionId> =
        told.iter().filter(|&(id, number)| owned.get(id) != Some(number)).map(|(&id, _)| id).collect();
    if !gone.is_empty() {
        told.retain(|id, _| !gone.contains(id));
        return Some(MembershipEvent::Revoked(gone));
    }
    let new: Vec<PartitionId> = owned.keys().filter(|id| !told.contains_key(id)).copied().collect();
    told.clone_from(owned);
    (!new.is_empty()).then_some(MembershipEvent::Assigned(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker that is silent for longer than a session, and then speaks, does not stop its
    /// members' work.
    #[test]
    fn partitions_lost_to_silence_are_kept_until_the_next_assignment() {
        let ids = |ids: &[u32]| ids.iter().copied().map(PartitionId).collect::<Vec<_>>();
        let (mut owned, mut told) = (Owned::default(), BTreeMap::new());
        owned.rebalanced(Change::Assigned, &ids(&[0, 1, 2]));
        assert_eq!(difference(&mut told, &owned.partitions), Some(MembershipEvent::Assigned(ids(&[0, 1, 2]))));
        owned.rebalanced(Change::LostToSilence, &ids(&[0, 1, 2]));
        assert_eq!(difference(&mut told, &owned.partitions), None);
        owned.rebalanced(Change::Assigned, &ids(&[0, 3]));
        assert_eq!(difference(&mut told, &owned.partitions), Some(MembershipEvent::Revoked(ids(&[1, 2]))));
        assert_eq!(difference(&mut told, &owned.partitions), Some(MembershipEvent::Assigned(ids(&[3]))));
        owned.rebalanced(Change::Revoked, &ids(&[0]));
        assert_eq!(difference(&mut told, &owned.partitions), Some(MembershipEvent::Revoked(ids(&[0]))));
        owned.rebalanced(Change::Assigned, &[]);
        assert_eq!(difference(&mut told, &owned.partitions), None, "only what was in doubt ends with an assignment");
    }

    /// The ledger has moved when a partition was lost and won again: the writer must hear of both,
    /// or it goes on as it was.
    #[test]
    fn a_partition_lost_and_won_again_is_told_as_both() {
        let map = |pairs: &[(u32, u64)]| pairs.iter().map(|&(id, number)| (PartitionId(id), number)).collect();
        let mut told: BTreeMap<PartitionId, u64> = map(&[(1, 1), (2, 1), (3, 1)]);
        let owned: BTreeMap<PartitionId, u64> = map(&[(1, 1), (2, 3), (4, 2)]);
        let revoked = MembershipEvent::Revoked(vec![PartitionId(2), PartitionId(3)]);
        assert_eq!(difference(&mut told, &owned), Some(revoked));
        let assigned = MembershipEvent::Assigned(vec![PartitionId(2), PartitionId(4)]);
        assert_eq!(difference(&mut told, &owned), Some(assigned));
        assert_eq!(difference(&mut told, &owned), None);
    }
}
