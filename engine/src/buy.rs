//! THE purchase: admit, reserve, enqueue. Each step takes the proof that only the step before can
//! make, so that none can be skipped. What happens in a step stands in its own file; what the buyer
//! is told, in `http`.

use bytes::Bytes;
use domain::{
    id::{OfferId, OrderId},
    order::Status,
    sale::LIMIT_MAX,
};
use kit::{clock::Clock, token::TokenError};
use std::sync::Arc;
use store::{log::OrderLog, stock::LaneStock};

use crate::{
    admission::{Admission, Admitted, Caller, Limited},
    enqueue::enqueue,
    metrics::Metrics,
    orders::{Earlier, OrderRows, Orders, Unseen},
    reserve::{Held, Lanes},
};

/// Units asked for: 1 to [`LIMIT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity(u32);

impl Quantity {
    /// Takes 1 to [`LIMIT_MAX`].
    pub const fn new(units: u32) -> Option<Self> {
        if units == 0 || units > LIMIT_MAX { None } else { Some(Self(units)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A wish to buy, as it came.
#[derive(Debug, Clone)]
pub struct Purchase<'a> {
    /// The bearer token, if one came.
    pub token: Option<&'a str>,
    /// What.
    pub offer: OfferId,
    /// How many.
    pub quantity: Quantity,
    /// The idempotency key as the client sent it.
    pub key: &'a str,
    /// Opaque; at most [`CONTEXT_MAX`](domain::record::CONTEXT_MAX) bytes.
    pub context: Bytes,
}

/// What is known of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The log holds it.
    Accepted,
    /// The lane promised it, and the log has not acknowledged: its buyer asks for its status.
    Pending,
    /// It is over, as its row says: cancelled, expired, rejected, or its money goes back.
    Over(Status),
}

impl Standing {
    /// What a row's status says to who repeats the purchase.
    const fn of_row(status: Status) -> Self {
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
    /// What was bought.
    pub offer: OfferId,
    /// How sure it is.
    pub standing: Standing,
}

/// Why no order is told. Business outcomes and shortages alike; faults became
/// [`Standing::Pending`], [`Declined::LaneClosed`] or [`Declined::OutcomeUnknown`] before they got
/// here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declined {
    /// No bearer token came.
    NoToken,
    /// The token is not accepted.
    Token(TokenError),
    /// No such offer, for this tenant.
    UnknownOffer,
    /// The sale opens later.
    NotStarted {
        /// By the server's clock.
        opens_in_ms: u64,
    },
    /// The merchant stopped it for now.
    Paused,
    /// The sale is over.
    Ended,
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
    /// Whether the sale's window or pause refused it, which a repeat of a known key passes.
    const fn is_by_the_sale(&self) -> bool {
        matches!(self, Self::NotStarted { .. } | Self::Paused | Self::Ended)
    }

    /// What a buyer is told whose earlier order could not be looked up: never "no", for there may
    /// be one.
    const fn of_unseen(why: Unseen) -> Self {
        match why {
            Unseen::NotFound | Unseen::Unavailable => Self::LaneClosed,
            Unseen::Overloaded => Self::Overloaded,
            Unseen::TooOften(limited) => Self::RateLimited(limited),
        }
    }
}

/// What one front thread buys with.
pub struct Purchases<S, L: OrderLog, R, C> {
    /// The first step.
    pub admission: Arc<Admission<C>>,
    /// The second step: this thread's lanes.
    pub lanes: Lanes<S, L, C>,
    /// Earlier orders, for repeats.
    pub orders: Arc<Orders<S, R>>,
    /// The time.
    pub clock: C,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl<S: LaneStock, L: OrderLog, R: OrderRows, C: Clock> Purchases<S, L, R, C> {
    /// Buys. Dropping this future takes nothing back: what was asked of the lane goes its way, and
    /// the same key finds it again.
    ///
    /// # Errors
    /// [`Declined`]: nothing was promised, but for [`Declined::OutcomeUnknown`].
    pub async fn buy(&self, purchase: Purchase<'_>) -> Result<Bought, Declined> {
        let Purchase { token, offer, quantity, key, .. } = purchase;
        let admitted = match self.admit(purchase) {
            Ok(admitted) => admitted,
            // What asks rows is boxed: it is rare, and every purchase would carry its room about.
            Err(why) if why.is_by_the_sale() => {
                let again = Purchase { token, offer, quantity, key, context: Bytes::new() };
                return Box::pin(self.repeat(&again, why)).await;
            }
            Err(why) => return Err(why),
        };
        let caller = admitted.caller();
        match self.lanes.reserve(admitted).await? {
            Held::Reserved(reserved) => Ok(enqueue(reserved).await),
            Held::Released(order) => Box::pin(self.released(caller, order, offer)).await,
        }
    }

    /// The order of a known key, though the sale is not open; `why`, if the key is not known.
    async fn repeat(&self, purchase: &Purchase<'_>, why: Declined) -> Result<Bought, Declined> {
        let Some(repeat) = self.admission.repeat(purchase) else { return Err(why) };
        let (order, standing) = match self.orders.of_key(&repeat).await.map_err(Declined::of_unseen)? {
            Earlier::None => return Err(why),
            Earlier::Mismatch => return Err(Declined::Mismatch),
            Earlier::Live(first, settled) => (first.order, self.lanes.standing(first.batch, settled)),
            Earlier::Row(order, status) => (order, Standing::of_row(status)),
        };
        Ok(Bought { order, offer: purchase.offer, standing })
    }

    /// An order that the lane released: its row says what became of it.
    async fn released(&self, caller: Caller, order: OrderId, offer: OfferId) -> Result<Bought, Declined> {
        let status = self.orders.of_released(caller, order).await.map_err(Declined::of_unseen)?;
        Ok(Bought { order, offer, standing: Standing::of_row(status) })
    }

    /// Admission, and the time it takes. The other stages are measured where many purchases share
    /// them.
    fn admit(&self, purchase: Purchase<'_>) -> Result<Admitted, Declined> {
        let begun = self.clock.monotonic();
        let admitted = self.admission.admit(purchase);
        self.metrics.stages.admit.observe(self.clock.monotonic().saturating_sub(begun));
        admitted
    }
}
