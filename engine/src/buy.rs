//! THE purchase: admit, join the lane's queue, wait for the answer. Each step takes the proof that
//! only the step before can make, so that none can be skipped. What happens in a step stands in its
//! own file; how an outcome is answered, in `http`.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    counts::Step,
    id::{OfferId, OrderId},
};
use kit::clock::Clock;
use store::{log::OrderLog, stock::LaneStock};

use crate::{
    admission::{Admission, Admitted},
    metrics::Metrics,
    orders::{Earlier, OrderRows, Orders, Unseen},
    purchase::{Bought, Caller, Declined, Purchase, PurchaseState},
    reserve::{Held, Lanes},
};

/// What one front thread buys with.
pub struct Purchases<S, L: OrderLog, R, C> {
    /// Every test that asks nobody.
    pub admission: Arc<Admission<C>>,
    /// The queues of this thread, one per lane.
    pub lanes: Lanes<S, L, C>,
    /// Earlier orders, for repeats.
    pub orders: Arc<Orders<S, R>>,
    /// Measures the stages.
    pub clock: C,
    /// Where stages and outcomes are counted.
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
        // No I/O: token, offer, window, hint, permit, buckets.
        let admitted = match self.admit(purchase) {
            Ok(admitted) => admitted,
            // What asks rows is boxed: it is rare, and every purchase would carry its room about.
            Err(why) if why.is_by_the_sale() => {
                let again = Purchase { token, offer, quantity, key, expected_price: None, context: Bytes::new() };
                return Box::pin(self.repeat(&again, why)).await;
            }
            Err(why) => return Err(why),
        };
        let caller = admitted.caller();
        // A place in the queue of the lane, whose task reserves for all who wait and appends.
        let waiting = self.lanes.join(admitted)?;
        // At once if the lane declines; for a promise, when the log has answered.
        match waiting.answer().await? {
            Held::Reserved(reserved) => Ok(reserved.into()),
            Held::Released(order) => Box::pin(self.released(caller, order, offer)).await,
        }
    }

    /// The order of a known key, though the sale is not open; `why`, if the key is not known.
    async fn repeat(&self, purchase: &Purchase<'_>, why: Declined) -> Result<Bought, Declined> {
        let Some(repeat) = self.admission.repeat(purchase, &why) else { return Err(why) };
        let found = match self.orders.of_key(&repeat).await {
            Ok(Earlier::None) => Err(why),
            Ok(Earlier::Mismatch) => Err(Declined::Mismatch),
            Ok(Earlier::Live(first, settled)) => Ok((first.order, self.lanes.state_of(first.batch, settled))),
            Ok(Earlier::Row(order, status)) => Ok((order, PurchaseState::of_row(status))),
            Err(unseen) => Err(declined(unseen)),
        };
        match &found {
            Ok(_) => repeat.offered.counts.count(Step::Repeated),
            Err(why) => repeat.offered.counts.refused(why),
        }
        found.map(|(order, state)| Bought { order, offer: purchase.offer, state })
    }

    /// An order that the lane released: its row says what became of it.
    async fn released(&self, caller: Caller, order: OrderId, offer: OfferId) -> Result<Bought, Declined> {
        let status = self.orders.of_released(caller, order).await.map_err(declined)?;
        Ok(Bought { order, offer, state: PurchaseState::of_row(status) })
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

/// The answer to a buyer whose earlier order could not be looked up: never "no", for there may be
/// one.
const fn declined(why: Unseen) -> Declined {
    match why {
        Unseen::NotFound | Unseen::Unavailable => Declined::LaneClosed,
        Unseen::Overloaded => Declined::Overloaded,
        Unseen::TooOften(limited) => Declined::RateLimited(limited),
    }
}
