//! What happens to an order: its kinds, as events name them.

/// What happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// It is accepted and waits for its payment.
    Created = 1,
    /// The promise became no order.
    Rejected = 2,
    /// It was cancelled.
    Cancelled = 3,
    /// It was not paid in time.
    Expired = 4,
    /// Its units are on sale again.
    Released = 5,
    /// It is paid.
    Paid = 6,
    /// It is with the carrier.
    Fulfilled = 7,
    /// It has arrived, and the after-sale window is over.
    Completed = 8,
    /// Its money is on its way back.
    Refunding = 9,
    /// Its money is back.
    Refunded = 10,
    /// A part of its money is back: no change of its state, and so in no line of the table.
    RefundedInPart = 11,
}

impl EventKind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Created,
        Self::Rejected,
        Self::Cancelled,
        Self::Expired,
        Self::Released,
        Self::Paid,
        Self::Fulfilled,
        Self::Completed,
        Self::Refunding,
        Self::Refunded,
        Self::RefundedInPart,
    ];

    /// The number in the record.
    pub const fn number(self) -> u8 {
        self as u8
    }
}
