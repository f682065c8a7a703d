//! The words of a purchase: what is asked for, by whom, what came of it, and every way to be
//! declined. It decides nothing.

use bytes::Bytes;
use domain::{
    id::{BuyerId, OfferId, OrderId, TenantId},
    money::Money,
    order::Status,
    sale::{LIMIT_MAX, SubjectKind},
};
use kit::token::TokenError;

use crate::limits::Limited;

/// Who asks, by a valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The shop that the token was issued for.
    pub tenant: TenantId,
    /// The buyer, whose id is unique within the shop only.
    pub buyer: BuyerId,
}

/// Units asked for: 1 to [`LIMIT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity(u32);

impl Quantity {
    /// Takes 1 to [`LIMIT_MAX`].
    pub const fn new(units: u32) -> Option<Self> {
        if units == 0 || units > LIMIT_MAX { None } else { Some(Self(units)) }
    }

    /// Units, at least 1.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A request to buy, as it came.
#[derive(Debug, Clone)]
pub struct Purchase<'a> {
    /// The bearer token, if one came.
    pub token: Option<&'a str>,
    /// The offer to buy of.
    pub offer: OfferId,
    /// Units asked for.
    pub quantity: Quantity,
    /// The idempotency key as the client sent it.
    pub key: &'a str,
    /// The price of one unit that the buyer saw, if he said so: at another one he does not buy.
    pub expected_price: Option<Money>,
    /// Opaque; at most [`CONTEXT_MAX`](domain::record::CONTEXT_MAX) bytes.
    pub context: Bytes,
}

/// What is known of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseState {
    /// The log acknowledged its record.
    Accepted,
    /// The lane promised it, and the log has not acknowledged: its buyer asks for its status.
    Pending,
    /// It is over, as its row says: cancelled, expired, rejected, or its money goes back.
    Over(Status),
}

impl PurchaseState {
    /// What a row's status says to a buyer who repeats the purchase.
    pub(crate) const fn of_row(status: Status) -> Self {
        match status {
            Status::PendingPayment | Status::Paid | Status::Fulfilled | Status::Completed => Self::Accepted,
            Status::Cancelled | Status::Expired | Status::Rejected | Status::Refunding | Status::Refunded => {
                Self::Over(status)
            }
        }
    }
}

/// A promised order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bought {
    /// The order; of a repeat, the first one.
    pub order: OrderId,
    /// The offer that it was bought of.
    pub offer: OfferId,
    /// How sure it is.
    pub state: PurchaseState,
}

/// Why a purchase is answered without an order. Business outcomes and shortages alike; faults
/// became [`PurchaseState::Pending`], [`Declined::LaneClosed`] or [`Declined::OutcomeUnknown`]
/// before they got here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declined {
    /// The request carries no bearer token.
    NoToken,
    /// The token is not accepted.
    Token(TokenError),
    /// The tenant has no such offer.
    UnknownOffer,
    /// The sale's limits count another kind of subject than the token's.
    WrongSubject {
        /// The kind that they count.
        counted: SubjectKind,
    },
    /// The sale is for members, and the token is none's.
    MembersOnly,
    /// The sale opens later.
    NotStarted {
        /// By the server's clock.
        opens_in_ms: u64,
    },
    /// The merchant stopped it for now.
    Paused,
    /// The sale is over.
    Ended,
    /// The price is not the one that the buyer expected.
    PriceChanged {
        /// Of one unit, now.
        price: Money,
    },
    /// Fewer units are left than asked for.
    SoldOut,
    /// The buyer's units would pass the limit.
    LimitReached,
    /// The key was used for another quantity.
    Mismatch,
    /// A bucket was empty.
    RateLimited(Limited),
    /// No room: no permit, a full queue, a full journal, a log that does not keep up.
    Overloaded,
    /// The lane is closed, or cannot be asked, or this engine has no worker number: not a "no",
    /// come again.
    LaneClosed,
    /// The lane was asked and did not answer: this purchase may be promised or not. Its key finds
    /// out (R13).
    OutcomeUnknown,
}

impl Declined {
    /// Whether the sale's window, its pause, its members or its price refused it, which a repeat of
    /// a known key passes. A subject of another kind is another buyer, and has no earlier purchase.
    pub(crate) const fn is_by_the_sale(&self) -> bool {
        matches!(
            self,
            Self::NotStarted { .. } | Self::Paused | Self::Ended | Self::MembersOnly | Self::PriceChanged { .. }
        )
    }
}
