//! Refunds of one account, at the pace that its provider allows: pure, by the time it is given.
//! What is accepted is queried until it is done; a repetition keeps its number.

use std::collections::{BTreeSet, HashMap};

use super::{Failed, Next, Number, ProviderKind, Reason, Refund, RefundState};

/// What a provider allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Refunds of one payment, in all.
    pub per_order_max: u32,
    /// Between two requests for one payment.
    pub order_gap_ms: u64,
    /// Requests of the account in a second.
    pub account_per_s: u64,
    /// Between two queries of one refund.
    pub query_gap_ms: u64,
}

/// WeChat's limits are documented (D); Alipay's and ours are chosen below what is known of them
/// (U).
const PACES: [(ProviderKind, Pace); 3] = [
    (ProviderKind::Wechat, Pace { per_order_max: 50, order_gap_ms: 60_000, account_per_s: 150, query_gap_ms: 30_000 }),
    (ProviderKind::Alipay, Pace { per_order_max: 50, order_gap_ms: 3_000, account_per_s: 50, query_gap_ms: 10_000 }),
    (
        ProviderKind::Simulated,
        Pace { per_order_max: 50, order_gap_ms: 1_000, account_per_s: 1_000, query_gap_ms: 1_000 },
    ),
];

impl Pace {
    /// A provider's.
    #[must_use]
    pub fn of(provider: ProviderKind) -> Option<Self> {
        PACES.iter().find(|(kind, _)| *kind == provider).map(|(_, pace)| *pace)
    }
}

/// A payment has no room for another refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this payment has had {0} refunds, the most that its provider allows: refund the rest in person")]
pub struct TooManyRefunds(u32);

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Ask for the refund of this number.
    Ask(Number),
    /// Query it.
    Query(Number),
}

/// How far all refunds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Not accepted yet.
    pub waiting: usize,
    /// Accepted, or perhaps: queried.
    pub accepted: usize,
    /// The buyer has the money.
    pub done: usize,
    /// Came to nothing, or needs a person.
    pub failed: usize,
}

/// How far a refund is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RefundPhase {
    /// To be asked for.
    Waiting = 1,
    /// Accepted, or perhaps: to be queried.
    Accepted = 2,
    /// The buyer has the money.
    Done = 3,
    /// It came to nothing, or needs a person.
    Failed = 4,
}

impl RefundPhase {
    /// The number stored in the row.
    #[must_use]
    pub const fn stored(self) -> u8 {
        self as u8
    }

    /// The inverse of [`RefundPhase::stored`].
    #[must_use]
    pub fn from_stored(stored: u8) -> Option<Self> {
        [Self::Waiting, Self::Accepted, Self::Done, Self::Failed].into_iter().find(|phase| phase.stored() == stored)
    }
}

/// How far a refund is after an answer, or after what a notice says. Done is done, whatever an old
/// answer says.
#[must_use]
pub fn after(phase: RefundPhase, answer: &Result<Refund, Failed>) -> RefundPhase {
    if phase == RefundPhase::Done {
        return phase;
    }
    match answer {
        Ok(Refund { state: RefundState::Done, .. }) => RefundPhase::Done,
        Ok(Refund { state: RefundState::Accepted, .. }) => RefundPhase::Accepted,
        Ok(_) => RefundPhase::Failed,
        // There is no paid payment to refund: querying would find nothing, for ever.
        Err(Failed::Refused { reason: Reason::Paid | Reason::Closed, .. }) => RefundPhase::Failed,
        Err(failed) => match (failed.next(), phase) {
            (Next::Repeat, phase) => phase,
            (Next::Query, _) => RefundPhase::Accepted,
            // A query that finds nothing: the request never came through, and is sent again.
            (Next::Stop, RefundPhase::Accepted) if is_absent(failed) => RefundPhase::Waiting,
            (Next::Stop, _) => RefundPhase::Failed,
        },
    }
}

#[derive(Debug)]
struct Entry {
    order: Number,
    phase: RefundPhase,
    due_ms: u64,
}

#[derive(Debug, Default)]
struct OrderPace {
    refunds: u32,
    next_ms: u64,
}

/// The refunds of one account.
#[derive(Debug)]
pub struct RefundPacer {
    pace: Pace,
    entries: HashMap<Number, Entry>,
    orders: HashMap<Number, OrderPace>,
    /// By when they are due; what is done or failed is not here.
    due: BTreeSet<(u64, Number)>,
    /// When the account may ask next, in microseconds: 150 a second are no whole milliseconds.
    account_next_us: u64,
}

impl RefundPacer {
    /// An empty one.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        let (entries, orders, due) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        Self { pace, entries, orders, due, account_next_us: 0 }
    }

    /// Takes a refund of this payment up. One that is known already stays as it is.
    ///
    /// # Errors
    ///
    /// [`TooManyRefunds`].
    pub fn add(&mut self, order: &Number, refund: &Number, now_ms: u64) -> Result<(), TooManyRefunds> {
        if self.entries.contains_key(refund) {
            return Ok(());
        }
        let of_order = self.orders.entry(order.clone()).or_default();
        if of_order.refunds >= self.pace.per_order_max {
            return Err(TooManyRefunds(of_order.refunds));
        }
        of_order.refunds += 1;
        self.due.insert((now_ms, refund.clone()));
        self.entries
            .insert(refund.clone(), Entry { order: order.clone(), phase: RefundPhase::Waiting, due_ms: now_ms });
        Ok(())
    }

    /// What the rows say of a payment when a process starts: how many refunds it has had besides
    /// those that are added, and when it was last asked for one.
    pub fn resume(&mut self, order: &Number, refunds: u32, last_ms: u64) {
        let of_order = self.orders.entry(order.clone()).or_default();
        of_order.refunds += refunds;
        of_order.next_ms = of_order.next_ms.max(last_ms + self.pace.order_gap_ms);
    }

    /// What may be done now; `None`: nothing before [`RefundPacer::next_ms`]. Whoever takes a turn
    /// reports by [`RefundPacer::answered`]; if that never comes, the turn comes again.
    pub fn turn(&mut self, now_ms: u64) -> Option<Turn> {
        let now_us = now_ms.saturating_mul(1_000);
        if now_us < self.account_next_us {
            return None;
        }
        loop {
            let (due_ms, refund) = self.due.first().filter(|(due_ms, _)| *due_ms <= now_ms)?.clone();
            let entry = self.entries.get_mut(&refund)?;
            let of_order = self.orders.entry(entry.order.clone()).or_default();
            let asks = entry.phase == RefundPhase::Waiting;
            self.due.remove(&(due_ms, refund.clone()));
            if asks && of_order.next_ms > now_ms {
                // Another refund of this payment had the turn: behind it.
                entry.due_ms = of_order.next_ms;
                self.due.insert((entry.due_ms, refund));
                continue;
            }
            entry.due_ms = now_ms + if asks { self.pace.order_gap_ms } else { self.pace.query_gap_ms };
            if asks {
                of_order.next_ms = entry.due_ms;
            }
            self.due.insert((entry.due_ms, refund.clone()));
            self.account_next_us = now_us + 1_000_000_u64.div_ceil(self.pace.account_per_s.max(1));
            return Some(if asks { Turn::Ask(refund) } else { Turn::Query(refund) });
        }
    }

    /// What came of a turn, or what a notice says.
    pub fn answered(&mut self, refund: &Number, answer: &Result<Refund, Failed>) {
        let Some(entry) = self.entries.get_mut(refund) else { return };
        let next = after(entry.phase, answer);
        // Done is done, whatever an old answer says.
        if entry.phase == RefundPhase::Done {
            return;
        }
        entry.phase = next;
        let place = (entry.due_ms, refund.clone());
        if matches!(next, RefundPhase::Done | RefundPhase::Failed) {
            self.due.remove(&place);
        } else {
            self.due.insert(place);
        }
    }

    /// When there may be something to do; `None`: all is done.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        let (due_ms, _) = self.due.first()?;
        Some((*due_ms).max(self.account_next_us.div_ceil(1_000)))
    }

    /// How far they are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        for entry in self.entries.values() {
            *match entry.phase {
                RefundPhase::Waiting => &mut progress.waiting,
                RefundPhase::Accepted => &mut progress.accepted,
                RefundPhase::Done => &mut progress.done,
                RefundPhase::Failed => &mut progress.failed,
            } += 1;
        }
        progress
    }
}

fn is_absent(failed: &Failed) -> bool {
    matches!(failed, Failed::Refused { reason: Reason::Absent, .. })
}
