//! R9: the allotment that a sale publishes is a target. An allotment below it rises at once; one
//! above it falls by what is free, and then by what releases bring back, which is not sold again
//! before the target is reached.

use super::{Deciding, LaneLedger, OfferLedger};
use crate::{
    id::{Epoch, LaneId, OfferId, Position},
    record::AllotmentChange,
};

/// A change of an allotment, for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllotmentMove {
    /// The offer's lane.
    pub lane: LaneId,
    /// The offer.
    pub offer: OfferId,
    /// Units, negative for a reduction.
    pub delta: i64,
    /// The target from here on.
    pub target: u64,
    /// Version of the sale that asked for it.
    pub sale_version: u32,
    /// Its packed position.
    pub changed_at: i64,
}

impl Deciding<'_> {
    /// R9: of so many returned units those that the allotment falls by.
    pub(super) fn retire(&mut self, lane: LaneId, offer: OfferId, units: u32) -> u32 {
        let excess = self.lanes.get(&lane).and_then(|lane| lane.offers.get(&offer)).map_or(0, OfferLedger::excess);
        if excess == 0 {
            return 0;
        }
        let retired = self.out.retired.entry((lane, offer)).or_default();
        let more = u32::try_from(excess.saturating_sub(*retired)).map_or(units, |excess| excess.min(units));
        *retired = retired.saturating_add(more.into());
        more
    }

    /// An epoch begins: the lane is closed and its promises are decided, so an allotment above its
    /// target falls to what is sold, and the lane is loaded without units that a reduction waits
    /// for.
    pub(super) fn retire_unsold(&mut self, id: LaneId, lane: &LaneLedger) {
        for (&offer, numbers) in &lane.offers {
            let unsold = numbers.allotment.saturating_sub(numbers.sold).min(numbers.excess());
            if unsold > 0 {
                self.out.retired.insert((id, offer), unsold);
            }
        }
    }

    /// R9: only after the change that it was made for, so each holds once, and never after a newer
    /// version's. An allotment below the target rises to it; one above it falls by the units
    /// withheld, which are there only in the epoch in which they were withheld. A record without a
    /// target is of an older program and is decided by its rules: once per version, and void if it
    /// does not fit.
    pub(super) fn allotment(&mut self, at: Position, change: &AllotmentChange) {
        let Some(lane) = self.lanes.get(&change.lane) else {
            return self.undecidable(at, format!("lane {} has no ledger row", change.lane));
        };
        let (Some(offer), Some(changed_at)) = (lane.offers.get(&change.offer), at.pack()) else {
            return self.undecidable(at, format!("offer {} has no ledger row", change.offer));
        };
        let Some(allotment) = changed(change, offer, lane.epoch).filter(|_| change.after == offer.changed_at) else {
            return;
        };
        self.out.allotments.push(AllotmentMove {
            lane: change.lane,
            offer: change.offer,
            delta: allotment.cast_signed().saturating_sub(offer.allotment.cast_signed()),
            target: change.target.unwrap_or(allotment),
            sale_version: change.sale_version,
            changed_at,
        });
    }
}

/// The allotment that a change makes; `None` when it is void.
fn changed(change: &AllotmentChange, offer: &OfferLedger, epoch: Epoch) -> Option<u64> {
    let is_of_epoch = change.epoch == epoch;
    let Some(target) = change.target else {
        let holds = change.sale_version > offer.sale_version && (change.delta >= 0 || is_of_epoch);
        return offer.allotment.checked_add_signed(change.delta).filter(|&units| holds && units >= offer.sold);
    };
    let withheld = if is_of_epoch { change.delta.min(0).unsigned_abs() } else { 0 };
    // Releases may have lowered it since the change was asked for: the target holds, not the
    // difference of then.
    let falls_to = offer.allotment.saturating_sub(withheld).max(offer.sold);
    (change.sale_version >= offer.sale_version).then_some(falls_to.max(target))
}
