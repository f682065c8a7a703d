//! How money goes out: the channel as a port, and a simulated one.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use domain::id::TenantId;

/// A payment to a distributor. Its number stays the same on every repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Whose money it is.
    pub tenant: TenantId,
    /// Our number.
    pub number: String,
    /// Whom it goes to.
    pub person: u64,
    /// Minor units.
    pub amount: i64,
}

/// Where a bill stands at the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillState {
    /// The channel waits for the recipient.
    Waiting,
    /// Final: the recipient has the money.
    Paid,
    /// Final: no money goes out by this number.
    Failed,
}

/// Nobody can vouch for what became of the request: ask again with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the channel gave no answer: the bill is asked about again under its number")]
pub struct NoAnswer;

/// A channel.
pub trait Payouts: Send + Sync + 'static {
    /// Whether money of this shop goes out here: without a channel no withdrawal is taken.
    fn serves(&self, tenant: TenantId) -> bool;

    /// Sends a bill, or says where it stands when it was sent before: it MUST pay a number once.
    fn send(&self, bill: &Bill) -> impl Future<Output = Result<BillState, NoAnswer>> + Send;
}

/// What the simulated channel does with the next new bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaves {
    /// Pays it.
    Pays,
    /// Waits for the recipient.
    Waits,
    /// Fails it.
    Fails,
    /// Takes it, and the answer is lost.
    LosesAnswer,
}

/// A channel of our own that moves no money. It pays each number once, and forgets all when the
/// process ends: a bill that was out then is paid again under its number, as play money is.
#[derive(Debug, Clone, Default)]
pub struct SimulatedPayouts(Arc<Mutex<Simulated>>);

#[derive(Debug, Default)]
struct Simulated {
    bills: BTreeMap<String, (i64, BillState)>,
    next: Vec<Behaves>,
}

impl SimulatedPayouts {
    /// What it does with the next new bills, the last of the list first; then it pays.
    pub fn behave(&self, next: &[Behaves]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next = next.to_vec();
    }

    /// The recipient of a bill that waits confirms it, or the channel gives it up.
    pub fn end(&self, number: &str, state: BillState) {
        if let Some(bill) = self.0.lock().unwrap_or_else(PoisonError::into_inner).bills.get_mut(number) {
            bill.1 = state;
        }
    }

    /// All that went out, minor units.
    pub fn paid(&self) -> i64 {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.bills.values().filter(|(_, state)| *state == BillState::Paid).map(|(amount, _)| amount).sum()
    }
}

impl Payouts for SimulatedPayouts {
    fn serves(&self, _: TenantId) -> bool {
        true
    }

    async fn send(&self, bill: &Bill) -> Result<BillState, NoAnswer> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, state)) = held.bills.get(&bill.number) {
            return Ok(*state);
        }
        let behaves = held.next.pop().unwrap_or(Behaves::Pays);
        let state = match behaves {
            Behaves::Pays | Behaves::LosesAnswer => BillState::Paid,
            Behaves::Waits => BillState::Waiting,
            Behaves::Fails => BillState::Failed,
        };
        held.bills.insert(bill.number.clone(), (bill.amount, state));
        if behaves == Behaves::LosesAnswer { Err(NoAnswer) } else { Ok(state) }
    }
}
