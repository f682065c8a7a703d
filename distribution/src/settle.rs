//! When money may go out and who must agree: vesting, withdrawals, closings of pools. State
//! machines and rules; the ledger moves the money.

use crate::evaluate::part;

/// What of a whole has vested after some days, at so many ppm of the whole a day. Minor units;
/// `None` beyond 64 bits.
pub fn vested(whole: i64, ppm_a_day: i64, days: i64) -> Option<i64> {
    part(whole, ppm_a_day.checked_mul(days.max(0))?).map(|vested| vested.min(whole))
}

/// Rules for withdrawals. Minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Least amount.
    pub least: i64,
    /// Greatest amount of a person in a day.
    pub day_max: i64,
    /// From here on two people approve.
    pub two_from: i64,
}

/// Why a step of a withdrawal is refused; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The person's identity is not verified.
    #[error("the person's identity is not verified: verify it first")]
    Kyc,
    /// Less than the least amount.
    #[error("at least {0} minor units are withdrawn at once")]
    Least(i64),
    /// More than the day's limit.
    #[error("{0} minor units are left of today's limit: ask for less, or tomorrow")]
    Day(i64),
    /// The same person approves twice.
    #[error("this person has approved already: another one must")]
    SamePerson,
    /// The owner of the money approves.
    #[error("nobody approves a withdrawal of their own")]
    Own,
    /// The state does not allow it.
    #[error("the withdrawal is {0:?}: this step is not open")]
    State(State),
}

/// Where a withdrawal stands. Only final states allow another bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Money is reserved; somebody must approve.
    Asked,
    /// Approved; no bill has been made.
    Approved,
    /// A bill is out; its answer is not known.
    Sent,
    /// The channel waits for the recipient.
    Waiting,
    /// The bill is being closed, and may still be paid.
    Closing,
    /// Final: paid.
    Paid,
    /// Final: failed; the money goes back.
    Failed,
}

/// What happens to a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happens {
    /// Somebody approves.
    Approve(u64),
    /// Somebody declines.
    Decline,
    /// A bill goes out; again with the same number when the answer was lost.
    Send,
    /// The channel waits for the recipient.
    Wait,
    /// We ask the channel to close the bill.
    Close,
    /// The channel says: paid.
    Paid,
    /// The channel says: failed or closed.
    Failed,
}

/// A withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Whose money.
    pub person: u64,
    /// Minor units.
    pub amount: i64,
    /// Where it stands.
    pub state: State,
    /// People who must approve.
    pub needs: usize,
    /// Who has approved.
    pub approved: Vec<u64>,
}

impl Withdrawal {
    /// Somebody asks for money, having asked for `today` in the same day.
    ///
    /// # Errors
    /// The rule that refuses.
    pub fn ask(rules: &Rules, person: u64, amount: i64, today: i64, kyc: bool) -> Result<Self, Refused> {
        let left = rules.day_max.saturating_sub(today).max(0);
        if !kyc {
            Err(Refused::Kyc)
        } else if amount < rules.least.max(1) {
            Err(Refused::Least(rules.least.max(1)))
        } else if amount > left {
            Err(Refused::Day(left))
        } else {
            let needs = if amount >= rules.two_from { 2 } else { 1 };
            Ok(Self { person, amount, state: State::Asked, needs, approved: Vec::new() })
        }
    }

    /// The next state. A repeat of what led to the present state changes nothing.
    ///
    /// # Errors
    /// The rule that refuses.
    pub fn step(&mut self, happens: Happens) -> Result<(), Refused> {
        use Happens as H;
        use State as S;
        self.state = match (self.state, happens) {
            (S::Asked, H::Approve(by)) => {
                if by == self.person {
                    return Err(Refused::Own);
                }
                if self.approved.contains(&by) {
                    return Err(Refused::SamePerson);
                }
                self.approved.push(by);
                if self.approved.len() >= self.needs { S::Approved } else { S::Asked }
            }
            (S::Asked | S::Approved, H::Decline) | (S::Failed, H::Failed | H::Decline) => S::Failed,
            (S::Approved | S::Sent, H::Send) => S::Sent,
            (S::Sent | S::Waiting, H::Wait) => S::Waiting,
            (S::Sent | S::Waiting | S::Closing, H::Close) => S::Closing,
            (S::Sent | S::Waiting | S::Closing | S::Paid, H::Paid) => S::Paid,
            (S::Sent | S::Waiting | S::Closing, H::Failed) => S::Failed,
            (state, _) => return Err(Refused::State(state)),
        };
        Ok(())
    }
}

/// A pool's period: previewed, then confirmed as previewed; it is never opened again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Closing {
    /// Lines still come in.
    #[default]
    Open,
    /// A person looks at these shares (person, minor units).
    Preview(Vec<(u64, i64)>),
    /// Posted.
    Confirmed(Vec<(u64, i64)>),
}

/// Why a closing does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClosingError {
    /// It is confirmed with other shares.
    #[error("the period is confirmed, and is never opened again: adjust with a reason")]
    Confirmed,
    /// The shares are other than those that were looked at.
    #[error("the shares have changed since the preview: look at a new preview")]
    Changed,
}

impl Closing {
    /// Shows shares, as often as wanted before the confirmation.
    ///
    /// # Errors
    /// [`ClosingError::Confirmed`].
    pub fn preview(&mut self, shares: Vec<(u64, i64)>) -> Result<(), ClosingError> {
        if matches!(self, Self::Confirmed(_)) {
            return Err(ClosingError::Confirmed);
        }
        *self = Self::Preview(shares);
        Ok(())
    }

    /// Confirms what was previewed; the same confirmation again changes nothing.
    ///
    /// # Errors
    /// Shares that differ from the preview or from what is confirmed.
    pub fn confirm(&mut self, shares: &[(u64, i64)]) -> Result<(), ClosingError> {
        match self {
            Self::Preview(seen) if seen == shares => *self = Self::Confirmed(std::mem::take(seen)),
            Self::Confirmed(done) if done == shares => {}
            Self::Confirmed(_) => return Err(ClosingError::Confirmed),
            Self::Open | Self::Preview(_) => return Err(ClosingError::Changed),
        }
        Ok(())
    }
}
