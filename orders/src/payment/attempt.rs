//! The states of an attempt to pay, as one table, and its window.

use super::{Closed, Failed, Next, PaymentState, ProviderKind, Reason};

/// Where an attempt stands with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AttemptState {
    /// Stored, under the number that the provider will be asked with.
    Created = 1,
    /// The provider has it; the buyer can pay.
    Open = 2,
    /// The money is there.
    Paid = 3,
    /// Its end was decided; the provider has not confirmed it.
    Closing = 4,
    /// It can no longer be paid, by the provider's word.
    Closed = 5,
    /// The provider may have it or not: query.
    Unknown = 6,
}

impl AttemptState {
    /// All states.
    pub const ALL: [Self; 6] = [Self::Created, Self::Open, Self::Paid, Self::Closing, Self::Closed, Self::Unknown];

    /// The number stored in the row.
    #[must_use]
    pub const fn stored(self) -> u8 {
        self as u8
    }

    /// The inverse of [`AttemptState::stored`].
    #[must_use]
    pub fn from_stored(stored: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.stored() == stored)
    }

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the order's units may go back: only when the buyer can no longer pay.
    #[must_use]
    pub const fn lets_go(self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// What happens to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happened {
    /// The provider opened it, or says that it waits.
    Waiting,
    /// The provider says that it is paid.
    Paid,
    /// The provider says that it is closed.
    Closed,
    /// The provider does not have it, and may still come to have it.
    Absent,
    /// The provider does not have it, and its `time_expire` has passed: it never will.
    AbsentForGood,
    /// The provider refused to open it.
    Refused,
    /// Nobody knows what became of a request.
    Doubt,
    /// We want it ended.
    CloseAsked,
}

impl Happened {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Paid,
        Self::Closed,
        Self::Absent,
        Self::AbsentForGood,
        Self::Refused,
        Self::Doubt,
        Self::CloseAsked,
    ];

    /// What the answer to a query or a notice says.
    #[must_use]
    pub const fn of_payment(state: PaymentState) -> Self {
        match state {
            PaymentState::Waiting => Self::Waiting,
            PaymentState::Paid => Self::Paid,
            PaymentState::Closed => Self::Closed,
        }
    }

    /// What the answer to a close says, `is_over` after the attempt's `time_expire`.
    #[must_use]
    pub const fn of_close(closed: Closed, is_over: bool) -> Self {
        match (closed, is_over) {
            (Closed::Closed, _) => Self::Closed,
            (Closed::Absent, true) => Self::AbsentForGood,
            (Closed::Absent, false) => Self::Absent,
        }
    }

    /// What a failure says, `is_over` after the attempt's `time_expire`. `None`: nothing happened,
    /// and the same request is sent again.
    #[must_use]
    pub fn of_failure(failed: &Failed, is_over: bool) -> Option<Self> {
        match failed {
            Failed::Refused { reason: Reason::Absent, .. } => {
                Some(if is_over { Self::AbsentForGood } else { Self::Absent })
            }
            // A word about the state is a reason to query, not the state: only a query carries the
            // amount, and the close of a paid attempt is refused in words that vary.
            _ => match failed.next() {
                Next::Repeat => None,
                Next::Query => Some(Self::Doubt),
                Next::Stop => Some(Self::Refused),
            },
        }
    }
}

/// From, by what, to. What the table does not hold changes nothing: an attempt that is paid stays
/// paid whatever is said later, and a late answer does not open a closed one.
const TABLE: [(AttemptState, Happened, AttemptState); 25] = {
    use AttemptState as S;
    use Happened as H;
    [
        (S::Created, H::Waiting, S::Open),
        // The notice may be faster than the answer to our request.
        (S::Created, H::Paid, S::Paid),
        (S::Created, H::Closed, S::Closed),
        (S::Created, H::Refused, S::Closed),
        (S::Created, H::AbsentForGood, S::Closed),
        (S::Created, H::Doubt, S::Unknown),
        // A process may have died between storing and asking: the provider is asked here too.
        (S::Created, H::CloseAsked, S::Closing),
        (S::Unknown, H::Waiting, S::Open),
        (S::Unknown, H::Paid, S::Paid),
        (S::Unknown, H::Closed, S::Closed),
        // The same number is sent again.
        (S::Unknown, H::Absent, S::Created),
        (S::Unknown, H::AbsentForGood, S::Closed),
        (S::Unknown, H::CloseAsked, S::Closing),
        (S::Open, H::Waiting, S::Open),
        (S::Open, H::Paid, S::Paid),
        (S::Open, H::Closed, S::Closed),
        (S::Open, H::AbsentForGood, S::Closed),
        (S::Open, H::CloseAsked, S::Closing),
        (S::Closing, H::Paid, S::Paid),
        (S::Closing, H::Closed, S::Closed),
        (S::Closing, H::AbsentForGood, S::Closed),
        // Still to be closed, or still to be queried: asked again.
        (S::Closing, H::Waiting, S::Closing),
        (S::Closing, H::Absent, S::Closing),
        (S::Closing, H::Doubt, S::Closing),
        // Money is money: a payment that comes late is taken, and dealt with as late.
        (S::Closed, H::Paid, S::Paid),
    ]
};

/// A change of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The next state.
    pub to: AttemptState,
    /// Paid after its end: the order is reinstated if units and limit allow, else the money goes
    /// back.
    pub is_late: bool,
}

/// What becomes of an attempt; `None`: nothing.
#[must_use]
pub fn change(from: AttemptState, happened: Happened) -> Option<Change> {
    let line = TABLE.iter().find(|(state, by, _)| *state == from && *by == happened)?;
    let is_late = from == AttemptState::Closed && line.2 == AttemptState::Paid;
    Some(Change { to: line.2, is_late })
}

/// Shortest and longest time that a provider keeps an attempt open, in ms (D).
const OPEN_MS: [(ProviderKind, u64, u64); 3] = [
    (ProviderKind::Wechat, 60_000, 7 * DAY_MS),
    (ProviderKind::Alipay, 60_000, 15 * DAY_MS),
    (ProviderKind::Simulated, 1_000, 7 * DAY_MS),
];
const DAY_MS: u64 = 86_400_000;

/// Between an attempt's `time_expire` and the end of our own window: a payment of the last second,
/// its way to us, and two clocks that differ.
pub const AFTER_EXPIRY_MS: u64 = 15_000;

/// Both ends of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The provider's `time_expire`, in whole seconds as providers count, epoch ms.
    pub expires_ms: u64,
    /// Ours: before it no close is needed and no unit goes back.
    pub close_from_ms: u64,
}

/// The window of an attempt opened now for an order to be paid by `pay_by_ms`. The provider's end
/// comes first, ours [`AFTER_EXPIRY_MS`] after it. `None`: so little time is left that the provider
/// opens nothing.
#[must_use]
pub fn window(provider: ProviderKind, now_ms: u64, pay_by_ms: u64) -> Option<Window> {
    let (_, shortest, longest) = OPEN_MS.into_iter().find(|(kind, ..)| *kind == provider)?;
    let latest = pay_by_ms.checked_sub(AFTER_EXPIRY_MS)?.min(now_ms.saturating_add(longest));
    let expires_ms = latest / 1_000 * 1_000;
    let is_long_enough = expires_ms >= now_ms.saturating_add(shortest);
    is_long_enough.then(|| Window { expires_ms, close_from_ms: expires_ms.saturating_add(AFTER_EXPIRY_MS) })
}
