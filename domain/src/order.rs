//! The order row: its states, its decision, its columns.

pub(crate) mod event_kind;
mod transition;

use bytes::Bytes;

use crate::{
    id::{BuyerId, KeyHash, LaneId, OfferId, OrderId, Position, PurchaseNumber, SaleId, SkuId, TenantId},
    money::Money,
};

pub use transition::{Actor, MoneyMove, Transition, Units};

/// State of an order row. (`pending`, promised and without a row, is not stored.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Decided, waiting for money.
    PendingPayment = 1,
    /// Paid.
    Paid = 2,
    /// Handed over to the carrier.
    Fulfilled = 3,
    /// Received, after-sale window over.
    Completed = 4,
    /// Cancelled by its buyer or merchant.
    Cancelled = 5,
    /// Not paid in time.
    Expired = 6,
    /// Never sold; see [`Reason`].
    Rejected = 7,
    /// Money on its way back.
    Refunding = 8,
    /// Money is back.
    Refunded = 9,
}

impl Status {
    const ALL: [Self; 9] = [
        Self::PendingPayment,
        Self::Paid,
        Self::Fulfilled,
        Self::Completed,
        Self::Cancelled,
        Self::Expired,
        Self::Rejected,
        Self::Refunding,
        Self::Refunded,
    ];

    /// The number stored in the row.
    pub const fn stored(self) -> u8 {
        self as u8
    }

    /// The inverse of [`Status::stored`].
    pub fn from_stored(stored: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.stored() == stored)
    }

    /// Whether an order in this state may give its units back: the desk marks it before it asks for
    /// the release (R8).
    pub const fn gives_back(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired | Self::Refunding | Self::Refunded)
    }

    /// R8: what a row in this state is when the release of an order that `became` so is decided;
    /// `None` where the release contradicts the row. A row whose database lost the mark takes it
    /// from the record. One that gives back already stays as it is: its mark was compared and set,
    /// and somebody may have been told of it; the units go back once, whichever of two marks they
    /// go back for.
    pub const fn released(self, became: Option<Self>) -> Option<Self> {
        match (self, became) {
            (Self::Cancelled | Self::Expired | Self::Refunding | Self::Refunded, _) => Some(self),
            (Self::PendingPayment, Some(became)) => Some(became),
            // Its payment stands: only what gives the money back may follow.
            (Self::Paid | Self::Fulfilled | Self::Completed, Some(became @ (Self::Refunding | Self::Refunded))) => {
                Some(became)
            }
            _ => None,
        }
    }

    /// The stable name, as the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PendingPayment => "pending_payment",
            Self::Paid => "paid",
            Self::Fulfilled => "fulfilled",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
        }
    }
}

/// Why a reservation became no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Redis lost it: its epoch is older than the lane's.
    Superseded = 1,
    /// The buyer's live units would pass the limit.
    Limit = 2,
    /// The offer's units are sold.
    Stock = 3,
    /// Its tenant, its sale or its offer is not the lane's: whoever promised it took the lane for
    /// another one.
    Foreign = 4,
}

impl Reason {
    /// The number stored in the row.
    pub const fn stored(self) -> u8 {
        self as u8
    }

    /// The inverse of [`Reason::stored`].
    pub const fn from_stored(stored: u8) -> Option<Self> {
        match stored {
            1 => Some(Self::Superseded),
            2 => Some(Self::Limit),
            3 => Some(Self::Stock),
            4 => Some(Self::Foreign),
            _ => None,
        }
    }

    /// The stable name, as the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Limit => "limit",
            Self::Stock => "stock",
            Self::Foreign => "foreign",
        }
    }
}

/// What the order-writer made of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// A row in [`Status::PendingPayment`]; its units count.
    Accepted,
    /// A row in [`Status::Rejected`]; counts nothing.
    Rejected(Reason),
    /// The order was decided at another position; counts nothing.
    Duplicate,
}

impl Decision {
    /// How many there are: each is packed into a number below this.
    pub const COUNT: usize = 6;

    /// One byte in the stock movement.
    pub const fn packed(self) -> u8 {
        match self {
            Self::Duplicate => 0,
            Self::Accepted => 1,
            Self::Rejected(reason) => 1 + reason.stored(),
        }
    }

    /// The inverse of [`Decision::packed`].
    pub const fn unpack(packed: u8) -> Option<Self> {
        match packed {
            0 => Some(Self::Duplicate),
            1 => Some(Self::Accepted),
            byte => match Reason::from_stored(byte - 1) {
                Some(reason) => Some(Self::Rejected(reason)),
                None => None,
            },
        }
    }
}

/// A release as the rows take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The order.
    pub order: OrderId,
    /// Where its record stands in the log (R1).
    pub at: Position,
    /// What its record says that it became: the row is then what [`Status::released`] makes of it
    /// (R8).
    pub became: Option<Status>,
}

/// An order row, all columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Primary key.
    pub order: OrderId,
    /// Whose shop.
    pub tenant: TenantId,
    /// Who bought.
    pub buyer: BuyerId,
    /// The lane that ordered it.
    pub lane: LaneId,
    /// Unique with buyer and lane while live; `None` once released and for rejected orders.
    pub number: Option<PurchaseNumber>,
    /// The sale.
    pub sale: SaleId,
    /// Version of the sale at admission.
    pub sale_version: u32,
    /// The offer.
    pub offer: OfferId,
    /// What is sold.
    pub sku: SkuId,
    /// Units.
    pub quantity: u32,
    /// Price of one unit at admission.
    pub unit_price: Money,
    /// Hash of the idempotency key.
    pub key: KeyHash,
    /// State.
    pub status: Status,
    /// Why rejected; only with [`Status::Rejected`].
    pub reason: Option<Reason>,
    /// Where its reservation stands in the log: tells a replay from a duplicate.
    pub position: Position,
    /// Where its release stands in the log; set once, by the order-writer only (R1).
    pub released: Option<Position>,
    /// Epoch milliseconds, by the engine's clock.
    pub reserved_at_ms: u64,
    /// From the request body, opaque.
    pub context: Bytes,
    /// When it is to be paid at the latest, in epoch milliseconds, as it was at admission; `None`
    /// in rows of older programs.
    pub pay_by_ms: Option<u64>,
}

impl OrderRow {
    /// R5: for stock and limits a row counts until its release is decided, whatever its status.
    pub fn is_live(&self) -> bool {
        self.status != Status::Rejected && self.released.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R8: a lost mark is taken from the record, a mark that stands stays, and money that came in
    /// is not forgotten.
    #[test]
    fn r8_a_row_takes_the_mark_that_its_database_lost() {
        use Status::{Cancelled, Completed, Expired, Paid, PendingPayment, Refunded, Refunding, Rejected};
        assert_eq!(PendingPayment.released(Some(Cancelled)), Some(Cancelled));
        assert_eq!(PendingPayment.released(Some(Refunded)), Some(Refunded));
        assert_eq!(PendingPayment.released(None), None, "an older program's record says nothing");
        assert_eq!(Expired.released(Some(Cancelled)), Some(Expired), "what stands is not overwritten");
        assert_eq!(Refunded.released(Some(Refunding)), Some(Refunded));
        assert_eq!(Cancelled.released(None), Some(Cancelled));
        assert_eq!((Paid.released(Some(Expired)), Paid.released(None)), (None, None));
        assert_eq!(Completed.released(Some(Refunding)), Some(Refunding));
        assert!(Status::ALL.iter().all(|status| Rejected.released(Some(*status)).is_none()));
    }

    #[test]
    fn stored_numbers_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_stored(status.stored()), Some(status));
        }
        assert_eq!(Status::from_stored(0), None);
        let all = [Reason::Superseded, Reason::Limit, Reason::Stock, Reason::Foreign].map(Decision::Rejected);
        for decision in all.into_iter().chain([Decision::Accepted, Decision::Duplicate]) {
            assert_eq!(Decision::unpack(decision.packed()), Some(decision));
        }
        assert_eq!(Decision::unpack(6), None);
    }
}
