//! The states of an order as one table: each change of state with who may make it, what it moves,
//! and the event that it makes. A change that the table does not have cannot be named.

use super::{Status, event_kind::EventKind};

/// Who makes a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The order-writer, when it decides a reservation.
    Writer,
    /// Who bought.
    Buyer,
    /// The shop, and operators in its name.
    Merchant,
    /// A time that passed.
    Clock,
    /// The payment provider, by a notification or the answer to a query.
    PaymentProvider,
}

/// What a transition does with the order's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Units {
    /// They are sold.
    Taken,
    /// They stay where they are.
    Kept,
    /// They go back on sale: the transition asks for a release, and its decision makes
    /// [`EventKind::Released`] (R1, R8).
    GivenBack,
}

/// What a transition does with the buyer's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MoneyMove {
    /// Nothing.
    None,
    /// The shop has it.
    Charge,
    /// The buyer has it again.
    Refund,
}

/// A change of state that an order can go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A promise becomes an order.
    Accept,
    /// A promise becomes no order.
    Reject,
    /// The payment is confirmed.
    Pay,
    /// An unpaid order is called off.
    Cancel,
    /// An unpaid order is too old.
    Expire,
    /// The goods are with the carrier.
    Fulfil,
    /// The goods have arrived, and the after-sale window is over.
    Complete,
    /// A paid order is called off before the goods leave the shop.
    RefundPaid,
    /// A refund of goods that left the shop: what comes back is the merchant's to put on sale.
    RefundFulfilled,
    /// The same after the after-sale window.
    RefundCompleted,
    /// The refund is confirmed.
    Refund,
}

/// A line of the table.
#[derive(Clone, Copy)]
struct Line {
    transition: Transition,
    /// `None`: there is no row before.
    from: Option<Status>,
    to: Status,
    by: &'static [Actor],
    units: Units,
    money: MoneyMove,
    event: EventKind,
    /// Of the event among those of its order. It rises along every way through the table.
    sequence: u8,
}

/// The transitions of payment, fulfilment and refund are for the services that come.
const TABLE: [Line; 11] = {
    use Actor::{Buyer, Clock, Merchant, PaymentProvider, Writer};
    use Status::{Cancelled, Completed, Expired, Fulfilled, Paid, PendingPayment, Refunded, Refunding, Rejected};
    use Units::{GivenBack, Kept, Taken};
    const fn line(
        transition: Transition,
        (from, to): (Option<Status>, Status),
        by: &'static [Actor],
        (units, money): (Units, MoneyMove),
        (event, sequence): (EventKind, u8),
    ) -> Line {
        Line { transition, from, to, by, units, money, event, sequence }
    }
    use Transition as T;
    let none = MoneyMove::None;
    let (refunding, refunded) = ((EventKind::Refunding, 5), (EventKind::Refunded, 7));
    [
        line(T::Accept, (None, PendingPayment), &[Writer], (Taken, none), (EventKind::Created, 1)),
        line(T::Reject, (None, Rejected), &[Writer], (Kept, none), (EventKind::Rejected, 1)),
        line(T::Pay, (Some(PendingPayment), Paid), &[PaymentProvider], (Kept, MoneyMove::Charge), (EventKind::Paid, 2)),
        line(
            T::Cancel,
            (Some(PendingPayment), Cancelled),
            &[Buyer, Merchant],
            (GivenBack, none),
            (EventKind::Cancelled, 2),
        ),
        line(T::Expire, (Some(PendingPayment), Expired), &[Clock], (GivenBack, none), (EventKind::Expired, 2)),
        line(T::Fulfil, (Some(Paid), Fulfilled), &[Merchant], (Kept, none), (EventKind::Fulfilled, 3)),
        line(T::Complete, (Some(Fulfilled), Completed), &[Buyer, Clock], (Kept, none), (EventKind::Completed, 4)),
        line(T::RefundPaid, (Some(Paid), Refunding), &[Buyer, Merchant], (GivenBack, none), refunding),
        line(T::RefundFulfilled, (Some(Fulfilled), Refunding), &[Merchant], (Kept, none), refunding),
        line(T::RefundCompleted, (Some(Completed), Refunding), &[Merchant], (Kept, none), refunding),
        line(T::Refund, (Some(Refunding), Refunded), &[PaymentProvider], (Kept, MoneyMove::Refund), refunded),
    ]
};

/// A line is found by its transition's number.
const _: () = {
    let mut at = 0;
    while at < TABLE.len() {
        assert!(TABLE[at].transition as usize == at);
        at += 1;
    }
};

impl Transition {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|line| line.transition)
    }

    /// The transition from one state into another; `None` where the table has none.
    pub fn between(from: Status, to: Status) -> Option<Self> {
        let line = TABLE.iter().find(|line| line.from == Some(from) && line.to == to);
        line.map(|line| line.transition)
    }

    const fn line(self) -> Line {
        TABLE[self as usize]
    }

    /// The state that the order has before; `None` where it has no row yet.
    pub const fn from(self) -> Option<Status> {
        self.line().from
    }

    /// The state that it has then.
    pub const fn to(self) -> Status {
        self.line().to
    }

    /// Who may make it.
    pub const fn by(self) -> &'static [Actor] {
        self.line().by
    }

    /// What becomes of the order's units.
    pub const fn units(self) -> Units {
        self.line().units
    }

    /// What becomes of the buyer's money.
    pub const fn money(self) -> MoneyMove {
        self.line().money
    }

    /// The event that tells of it.
    pub const fn event(self) -> EventKind {
        self.line().event
    }

    /// The sequence number of that event among those of its order. Numbers rise and may leave gaps.
    pub const fn sequence(self) -> u8 {
        self.line().sequence
    }
}

impl Status {
    /// How an order came into a state that gives units back, and so the event before its release:
    /// `None` for the other states.
    pub(crate) fn given_back_by(self) -> Option<Transition> {
        match self {
            Self::Cancelled => Some(Transition::Cancel),
            Self::Expired => Some(Transition::Expire),
            Self::Refunding | Self::Refunded => Some(Transition::RefundPaid),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
