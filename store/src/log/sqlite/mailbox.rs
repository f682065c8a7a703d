//! What waits for the thread that writes. It takes all that waits; what comes while it works is the
//! next group. No timer.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use domain::id::{PartitionId, RecordId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Stream;
use crate::{
    elapsed::Since,
    log::{
        Entry, Unacknowledged,
        room::{Counted, QueueRoom},
    },
};

/// Orders of a group, at most.
const GROUP_ORDERS_MAX: usize = 1_024;
/// Payload bytes of a group, about, at most.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The answer to one who waits.
pub(super) type Answer = oneshot::Sender<Result<u64, Unacknowledged>>;

/// What the thread is to do.
pub(super) enum Order {
    Append(Append),
    Aside(Aside),
    /// Deletes what retention lets go, and says how many records that were.
    Purge(Answer),
    /// Answered when all before it is done.
    Mark(Answer),
}

/// A record of a topic.
pub(super) struct Append {
    pub(super) stream: Stream,
    pub(super) id: RecordId,
    pub(super) kind: &'static str,
    pub(super) payload: Bytes,
    pub(super) fate: Fate<QueueRoom>,
}

/// A rare record that takes no room from the orders.
pub(super) struct Aside {
    pub(super) what: Rarity,
    pub(super) fate: Fate<OwnedSemaphorePermit>,
}

pub(super) enum Rarity {
    Sale { id: i64, payload: Vec<u8> },
    Dead { partition: PartitionId, entry: Entry, cause: String },
}

/// Who waits for a record, and what it holds until its fate is known.
pub(super) struct Fate<Permit> {
    pub(super) answer: Answer,
    pub(super) counted: Counted,
    pub(super) permit: Permit,
}

impl<Permit> Fate<Permit> {
    /// Room goes back before the answer: who has it finds the room free.
    pub(super) fn settle(self, outcome: Result<u64, Unacknowledged>) {
        drop((self.counted, self.permit));
        // Nobody may be waiting any more.
        self.answer.send(outcome).ok();
    }
}

impl Order {
    pub(super) fn is_record(&self) -> bool {
        matches!(self, Self::Append(_) | Self::Aside(_))
    }

    /// Of its payload.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.payload.len(),
            Self::Aside(Aside { what: Rarity::Sale { payload, .. }, .. }) => payload.len(),
            Self::Aside(Aside { what: Rarity::Dead { entry, .. }, .. }) => entry.payload.len(),
            Self::Purge(_) | Self::Mark(_) => 0,
        }
    }
}

#[derive(Default)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inside {
    orders: VecDeque<Order>,
    /// When the first of them came.
    since: Option<Since>,
    /// The thread waits for the next.
    idle: bool,
    closed: bool,
}

/// What [`Mailbox::take`] found.
pub(super) enum Taken {
    /// The group's first order waited so long.
    Group(Duration),
    /// Nothing came in time.
    Nothing,
    /// Nothing comes any more.
    Closed,
}

impl Mailbox {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits. A closed mailbox drops the order, and with it its answer's sender.
    pub(super) fn put(&self, order: Order) {
        let mut inside = self.inside();
        if inside.closed {
            return;
        }
        if inside.orders.is_empty() {
            inside.since = Some(Since::now());
        }
        inside.orders.push_back(order);
        // Only a sleeper is woken: that is a system call.
        let wake = std::mem::take(&mut inside.idle);
        drop(inside);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Puts the next group, in the order in which it came, into an empty vector.
    pub(super) fn take(&self, group: &mut Vec<Order>, wait: Duration) -> Taken {
        let mut inside = self.inside();
        if inside.orders.is_empty() && !inside.closed && !wait.is_zero() {
            inside.idle = true;
            let nothing = |inside: &mut Inside| inside.orders.is_empty() && !inside.closed;
            let woken = self.arrived.wait_timeout_while(inside, wait, nothing);
            (inside, _) = woken.unwrap_or_else(PoisonError::into_inner);
            inside.idle = false;
        }
        let Some(mut since) = inside.since.take() else {
            return if inside.closed { Taken::Closed } else { Taken::Nothing };
        };
        let mut bytes = 0;
        while group.len() < GROUP_ORDERS_MAX && bytes < GROUP_BYTES_MAX {
            let Some(order) = inside.orders.pop_front() else { break };
            bytes += order.bytes();
            group.push(order);
        }
        let waited = since.restart();
        inside.since = Some(since).filter(|_| !inside.orders.is_empty());
        Taken::Group(waited)
    }

    /// What is inside is still taken.
    pub(super) fn close(&self) {
        self.inside().closed = true;
        self.arrived.notify_one();
    }

    /// Nobody takes any more: what is inside is dropped, and its answers with it.
    pub(super) fn abandon(&self) {
        self.close();
        let orders = std::mem::take(&mut self.inside().orders);
        drop(orders);
    }
}
