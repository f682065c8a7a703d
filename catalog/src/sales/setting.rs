//! Another value of one member of a sale's terms.

use super::terms::{LaneTerms, OfferTerms, Terms};
use crate::{products::texts::Price, refused::Refused};

/// Another value of one member of a lane, or of its offer.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The lane's code; it may be left out where only one comes into question.
    pub(crate) lane: Option<String>,
    /// The SKU's code, for what is an offer's.
    pub(crate) sku: Option<String>,
    pub(crate) to: To,
}

/// The value.
#[derive(Debug, Clone)]
pub(crate) enum To {
    Price(Price),
    Allotment(u64),
    Rate(u32),
    Limit(u32),
    Paused(bool),
}

impl Setting {
    /// Sets it in these terms.
    ///
    /// # Errors
    /// `conflict` when there is no such lane or offer, or several.
    pub(super) fn apply(self, terms: &mut Terms) -> Result<(), Refused> {
        let Self { lane, sku, to } = self;
        let lanes = terms.lanes.iter_mut().filter(|of| lane.as_ref().is_none_or(|lane| *lane == of.code));
        if let To::Limit(limit) = to {
            one_lane(lanes)?.limit_per_buyer = limit;
            return Ok(());
        }
        let offers = lanes.flat_map(|lane| &mut lane.offers).filter(|of| sku.as_ref() == Some(&of.sku));
        let offer = one_offer(offers)?;
        match to {
            To::Price(price) => offer.price = price,
            To::Allotment(units) => offer.allotment = units,
            To::Rate(rate) => offer.rate_per_s = rate,
            To::Paused(paused) => offer.paused = paused,
            To::Limit(_) => {}
        }
        Ok(())
    }
}

fn one_lane<'t>(mut lanes: impl Iterator<Item = &'t mut LaneTerms>) -> Result<&'t mut LaneTerms, Refused> {
    match (lanes.next(), lanes.next()) {
        (Some(lane), None) => Ok(lane),
        (None, _) => Err(Refused::conflict("the sale has no such lane")),
        _ => Err(Refused::conflict("the sale has several lanes: name one")),
    }
}

fn one_offer<'t>(mut offers: impl Iterator<Item = &'t mut OfferTerms>) -> Result<&'t mut OfferTerms, Refused> {
    match (offers.next(), offers.next()) {
        (Some(offer), None) => Ok(offer),
        (None, _) => Err(Refused::conflict("the sale has no offer of this SKU in this lane")),
        _ => Err(Refused::conflict("the SKU stands in several lanes: name one")),
    }
}
