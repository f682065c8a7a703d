//! What became of the purchases of each offer: counted where it is decided, each purchase once at
//! each step. Taken away and told every second by `counting`.

use domain::counts::{Counts, Step};
use kit::metrics::SpreadCounts;

use crate::purchase::Declined;

/// The counts of an offer since they were taken last. A count is an addition to a line of memory of
/// this thread.
#[derive(Debug, Default)]
pub struct OfferCounts(SpreadCounts<{ Step::OF_ENGINE }>);

impl OfferCounts {
    /// One more of a step.
    pub fn count(&self, step: Step) {
        self.0.add(step.number(), 1);
    }

    /// One more promise of the lane, of so many units.
    pub fn reserved(&self, units: u32) {
        self.count(Step::Reserved);
        self.0.add(Step::ReservedUnits.number(), units);
    }

    /// One more that was refused.
    pub fn refused(&self, why: &Declined) {
        if let Some(step) = step_of(why) {
            self.count(step);
        }
    }

    /// All of them, away; `None` when there are none.
    pub fn take(&self) -> Option<Counts> {
        self.0.take().map(Counts::of)
    }
}

/// The step of a refusal; `None` where no offer can be named.
const fn step_of(why: &Declined) -> Option<Step> {
    Some(match why {
        Declined::NoToken | Declined::Token(_) | Declined::UnknownOffer => return None,
        Declined::WrongSubject { .. } => Step::WrongSubject,
        Declined::MembersOnly => Step::MembersOnly,
        Declined::NotStarted { .. } => Step::NotStarted,
        Declined::Paused => Step::Paused,
        Declined::Ended => Step::Ended,
        Declined::SoldOut => Step::SoldOut,
        Declined::LimitReached => Step::LimitReached,
        Declined::Mismatch => Step::Mismatch,
        Declined::RateLimited(_) => Step::RateLimited,
        Declined::Overloaded => Step::Overloaded,
        Declined::LaneClosed => Step::LaneClosed,
        Declined::OutcomeUnknown => Step::OutcomeUnknown,
        Declined::PriceChanged { .. } => Step::PriceChanged,
    })
}
