//! Who may try to buy: every test that needs no answer from anybody. It does no I/O and awaits
//! nothing; a refusal here costs a few hundred nanoseconds.

mod tokens;

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    counts::Step,
    id::{BuyerId, Epoch, KeyHash, OrderId, TenantId},
    record::Reservation,
    sale::{Phase, Sale},
};
use kit::{
    clock::Clock,
    token::{BuyerClaims, TokenError, TokenVerifier},
    trace::TraceContext,
};

pub use tokens::{TokenSeed, Tokens};

use crate::{
    hint::RefusedKeys,
    limits::Permit,
    metrics::TokenChecks,
    moment::Moment,
    purchase::{Caller, Declined, Purchase, Quantity},
    sales::{Directory, Lane, Offered, Promotion},
};

/// A purchase that the sale's window or pause refuses, and that may repeat an earlier one.
pub struct Repeat {
    /// The shop and the buyer who ask.
    pub caller: Caller,
    /// The offer that was bought of.
    pub offered: Arc<Offered>,
    /// The hash of the idempotency key.
    pub key: KeyHash,
    /// Units asked for; a known key with others is a mismatch.
    pub quantity: Quantity,
    /// The sale is over and its lane was retired before this was asked: its rows are all there is
    /// to know (R14).
    pub is_retired: bool,
}

/// A purchase that passed every test of [`Admission::admit`], which alone makes one.
pub struct Admitted {
    offered: Arc<Offered>,
    buyer: BuyerId,
    quantity: Quantity,
    key: KeyHash,
    context: Bytes,
    moment: Moment,
    permit: Permit,
}

impl Admitted {
    /// The lane to ask.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.offered.lane
    }

    /// The buyer, by the token.
    pub fn buyer(&self) -> BuyerId {
        self.buyer
    }

    /// Counts why it goes no further.
    pub(crate) fn refused(&self, why: &Declined) {
        self.offered.counts.refused(why);
    }

    /// The same with the shop.
    pub fn caller(&self) -> Caller {
        Caller { tenant: self.offered.tenant, buyer: self.buyer }
    }

    /// When it was admitted.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// What the log will say of it, frozen now; the offer, to keep its stock; the permit, to hold
    /// until the answer.
    pub fn freeze(self, order: OrderId) -> (Reservation, Arc<Offered>, Permit) {
        let Self { offered, buyer, quantity, key, context, moment, permit } = self;
        let reservation = Reservation {
            tenant: offered.tenant,
            sale: offered.sale,
            sale_version: offered.sale_version,
            offer: offered.id,
            sku: offered.sku,
            order,
            buyer,
            quantity: quantity.get(),
            unit_price: offered.price,
            key,
            reserved_at_ms: moment.wall_ms,
            context,
            pay_within_s: offered.pay_within_s,
            trace: TraceContext::current().filter(TraceContext::is_sampled).map(|trace| trace.trace_id().into()),
        };
        (reservation, offered, permit)
    }
}

/// Every test that a purchase passes before any store is asked.
pub struct Admission<C> {
    clock: C,
    tokens: Tokens,
    directory: Arc<Directory>,
    refused: Arc<RefusedKeys>,
}

impl<C: Clock> Admission<C> {
    /// A gate over this directory.
    pub fn new(clock: C, verifier: TokenVerifier, seed: TokenSeed, directory: Arc<Directory>) -> Self {
        Self { clock, tokens: Tokens::new(verifier, seed), directory, refused: Arc::default() }
    }

    /// Keys that lanes refused: written by reserve, read here.
    pub fn refused(&self) -> &Arc<RefusedKeys> {
        &self.refused
    }

    /// How often a token was remembered.
    pub fn token_checks(&self) -> &TokenChecks {
        self.tokens.checks()
    }

    /// The directory whose offers it admits to.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The time, for this request.
    pub fn moment(&self) -> Moment {
        Moment::of(&self.clock)
    }

    /// Who asks.
    ///
    /// # Errors
    /// [`Declined::Token`].
    pub fn caller(&self, token: Option<&str>, now_ms: u64) -> Result<Caller, Declined> {
        self.bearer(token, now_ms).map(|(caller, _claims)| caller)
    }

    fn bearer(&self, token: Option<&str>, now_ms: u64) -> Result<(Caller, BuyerClaims), Declined> {
        let token = token.ok_or(Declined::NoToken)?;
        let claims = self.tokens.verify(token, now_ms).map_err(Declined::Token)?;
        match (TenantId::new(claims.tenant.into()), BuyerId::new(claims.buyer)) {
            (Ok(tenant), Ok(buyer)) => Ok((Caller { tenant, buyer }, claims)),
            // The verifier checked both ranges.
            _ => Err(Declined::Token(TokenError::Subject)),
        }
    }

    /// Admits a purchase, or says why not.
    ///
    /// The order of the tests: first what costs nothing and nobody. Then the permit, which comes
    /// back by itself. Then the buckets, whose tokens do not: the buyer's own first, so that one
    /// who hammers empties no common bucket; then the tenant's, so that one shop's rush is not
    /// drawn from an offer; the offer's last, because its tokens are what all wait for. Whoever is
    /// refused by a later bucket loses the buyer's own token and no other.
    ///
    /// # Errors
    /// The first test that fails.
    pub fn admit(&self, purchase: Purchase<'_>) -> Result<Admitted, Declined> {
        let moment = self.moment();
        let (caller, claims) = self.bearer(purchase.token, moment.wall_ms)?;
        let directory = self.directory.now();
        // A foreign tenant's offer, one that shoppers may not see yet and one that does not exist
        // get the same answer (INV-7).
        let (promotion, offered) = directory
            .offer(purchase.offer)
            .filter(|(promotion, offered)| offered.tenant == caller.tenant && promotion.sale.is_visible(moment.wall_ms))
            .ok_or(Declined::UnknownOffer)?;
        offered.counts.count(Step::Arrived);
        let tested = self.test(purchase, (promotion, offered), (&claims, caller), moment);
        match &tested {
            Ok(_) => offered.counts.count(Step::Admitted),
            // It may repeat a known one: whoever looks counts it.
            Err(why) if why.is_by_the_sale() => {}
            Err(why) => offered.counts.refused(why),
        }
        tested
    }

    /// All that a purchase of a known offer is tested for.
    fn test(
        &self,
        purchase: Purchase<'_>,
        (promotion, offered): (&Promotion, &Arc<Offered>),
        (claims, caller): (&BuyerClaims, Caller),
        moment: Moment,
    ) -> Result<Admitted, Declined> {
        let Sale { limit_by, members_only, .. } = promotion.sale;
        if claims.by != limit_by {
            return Err(Declined::WrongSubject { counted: limit_by });
        }
        if members_only && !claims.member {
            return Err(Declined::MembersOnly);
        }
        match promotion.sale.phase(moment.wall_ms) {
            Phase::Open if offered.is_paused => return Err(Declined::Paused),
            Phase::Open => {}
            Phase::NotStarted => {
                let opens_in_ms = promotion.sale.window.opens_at_ms.saturating_sub(moment.wall_ms);
                return Err(Declined::NotStarted { opens_in_ms });
            }
            Phase::Paused => return Err(Declined::Paused),
            Phase::Ended => return Err(Declined::Ended),
        }
        if purchase.expected_price.is_some_and(|expected| expected != offered.price) {
            return Err(Declined::PriceChanged { price: offered.price });
        }
        let key = KeyHash::of(caller.tenant, caller.buyer, purchase.offer, purchase.key);
        if self.was_refused(offered, key, purchase.quantity, moment) {
            return Err(Declined::SoldOut);
        }
        let permit = promotion.tenant.share.take().ok_or(Declined::Overloaded)?;
        promotion.buyers.take(caller.buyer).map_err(Declined::RateLimited)?;
        promotion.tenant.bucket.take().map_err(Declined::RateLimited)?;
        if let Err(limited) = offered.bucket.take() {
            promotion.tenant.bucket.give_back();
            return Err(Declined::RateLimited(limited));
        }
        Ok(Admitted {
            offered: Arc::clone(offered),
            buyer: caller.buyer,
            quantity: purchase.quantity,
            key,
            context: purchase.context,
            moment,
            permit,
        })
    }

    /// What to look for when the sale's window, its pause or its members refuse a purchase; `None`
    /// when there can be no earlier one. A sale that has yet to open was open before only if it was
    /// moved, and then this engine has followed its lane: whoever comes early to any other costs
    /// nobody a question, and is counted as refused for `why`.
    pub fn repeat(&self, purchase: &Purchase<'_>, why: &Declined) -> Option<Repeat> {
        let now_ms = self.moment().wall_ms;
        let caller = self.caller(purchase.token, now_ms).ok()?;
        let directory = self.directory.now();
        let (promotion, offered) =
            directory.offer(purchase.offer).filter(|(_, offered)| offered.tenant == caller.tenant)?;
        let window = promotion.sale.window;
        let was_open = now_ms >= window.opens_at_ms || offered.lane.epoch() > Epoch(0);
        if !was_open {
            offered.counts.refused(why);
        }
        was_open.then(|| Repeat {
            caller,
            offered: Arc::clone(offered),
            key: KeyHash::of(caller.tenant, caller.buyer, purchase.offer, purchase.key),
            quantity: purchase.quantity,
            is_retired: now_ms >= window.closes_at_ms && offered.lane.is_retired(window),
        })
    }

    /// The sold-out hint; `hint` says why it asks for more than stock.
    fn was_refused(&self, offered: &Offered, key: KeyHash, quantity: Quantity, moment: Moment) -> bool {
        let epoch = offered.lane.epoch();
        offered.stock.has_less_than(quantity.get(), epoch, moment.monotonic_ms) && self.refused.knows(key, epoch)
    }
}

#[cfg(test)]
mod tests;
