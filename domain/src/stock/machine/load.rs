//! A load made ready apart from its lane: the work of many buyers is done before the lane is
//! touched.

use super::{LaneMachine, OfferStock, PreparedLoad, RunId};
use crate::{
    id::{BuyerId, Epoch},
    stock::{LaneLoad, LaneOpening, OfferLoad, Purchase},
};

impl PreparedLoad {
    /// Takes over what a load brings.
    pub fn new(load: &LaneLoad) -> Self {
        let mut prepared = Self::default();
        prepared.fill(&load.purchases);
        prepared.number(load.limit_per_buyer, &load.offers);
        prepared
    }

    /// Puts buyers' entries in place, those of one buyer together, oldest first. An entry replaces
    /// the one that its buyer has. Answers how many buyers are new.
    pub fn fill(&mut self, purchases: &[(BuyerId, Purchase)]) -> u64 {
        let (mut new, before) = (0_u64, self.buyers.len());
        for entry in purchases.chunk_by(|(one, _), (next, _)| one == next) {
            let Some(&(buyer, _)) = entry.first() else { continue };
            if !self.buyers.forget(buyer) {
                new = new.saturating_add(1);
            }
            entry.iter().for_each(|&(buyer, purchase)| self.buyers.push(buyer, purchase));
        }
        if self.buyers.len().saturating_sub(before) > before / 8 {
            self.buyers.compact();
        }
        new
    }

    /// Ready to open; `None` if its buyers are not as many as the opening says.
    pub fn ready(mut self, opening: &LaneOpening) -> Option<Self> {
        self.number(opening.limit_per_buyer, &opening.offers);
        (super::count(self.buyers.len()) == opening.buyers).then_some(self)
    }

    fn number(&mut self, limit_per_buyer: u32, offers: &[OfferLoad]) {
        self.limit_per_buyer = limit_per_buyer;
        let offers = offers.iter().map(|offer| {
            let OfferLoad { left, allotment, changed_at, .. } = *offer;
            (offer.offer, OfferStock { left, allotment, changed_at, withheld: 0 })
        });
        self.offers = offers.collect();
    }
}

impl LaneMachine {
    /// R4: whether a load under this marker may go on in this run.
    pub fn is_closed_under(&self, run: RunId, epoch: Epoch) -> bool {
        self.state.as_ref().is_some_and(|state| !state.open && state.marker == epoch && state.run == run)
    }
}
