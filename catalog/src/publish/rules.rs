//! What may not change once it is published, and which version comes next. Ranges and repeats are
//! checked elsewhere.

use std::collections::{HashMap, HashSet};

use domain::{
    id::{LaneId, OfferId, SaleId},
    sale::{Lane, Offer, Sale},
};

use crate::{
    file::{Draft, DraftLane},
    flaw::Flaw,
    published::newest_of_all,
};

/// Every rule that the draft breaks against what is published.
pub(super) fn unbroken(draft: &Draft, published: &[Sale], previous: Option<&Sale>) -> Vec<Flaw> {
    let mut check = Check { draft, flaws: Vec::new() };
    check.owners(published);
    if let Some(previous) = previous {
        if draft.tenant != previous.tenant {
            check.flaw("tenant", format!("is {}; the sale is tenant {}'s and stays so", draft.tenant, previous.tenant));
        }
        if draft.limit_by != previous.limit_by {
            let (asked, known) = (draft.limit_by.as_str(), previous.limit_by.as_str());
            // Whoever bought as one kind of buyer would be another one, with a limit of his own.
            check.flaw("limit_by", format!("is {asked:?}; {known:?} is published and stays"));
        }
        check.lanes(previous);
        check.vanished(previous);
    }
    check.flaws
}

/// The version to publish `sale` as, whatever version `sale` itself says.
pub(super) fn next_version(draft: &Draft, sale: &Sale, previous: Option<&Sale>) -> Result<u32, String> {
    let Some(previous) = previous else {
        return match draft.version {
            None | Some(1) => Ok(1),
            Some(asked) => Err(format!("is {asked}; the first version is 1; give that, or leave it out")),
        };
    };
    let known = previous.version;
    // The same content again is the same publication, so that it may be repeated when its outcome
    // is unknown.
    let is_repeat = Sale { version: known, ..sale.clone() } == *previous;
    match (draft.version, known.checked_add(1)) {
        (None, _) if is_repeat => Ok(known),
        (Some(asked), _) if asked == known && is_repeat => Ok(known),
        (Some(asked), Some(next)) if asked == next => Ok(next),
        (None, Some(next)) => Ok(next),
        (Some(asked), Some(next)) if asked == known => {
            Err(format!("{asked} is published with other content; give {next}, or leave it out"))
        }
        (Some(asked), Some(next)) => Err(format!("is {asked}, but {known} is published; give {next}, or leave it out")),
        (_, None) => Err(format!("cannot be raised: {known} is published, and it is the last")),
    }
}

struct Check<'d> {
    draft: &'d Draft,
    flaws: Vec<Flaw>,
}

impl Check<'_> {
    fn flaw(&mut self, field: &str, message: String) {
        self.flaws.push(self.draft.places.flaw(field, message));
    }

    /// A lane or offer belongs to one sale for ever.
    fn owners(&mut self, published: &[Sale]) {
        let mut lanes: HashMap<LaneId, SaleId> = HashMap::new();
        let mut offers: HashMap<OfferId, SaleId> = HashMap::new();
        for sale in newest_of_all(published).filter(|sale| sale.id != self.draft.id) {
            lanes.extend(sale.lanes.iter().map(|lane| (lane.id, sale.id)));
            offers.extend(sale.offers().map(|(_, offer)| (offer.id, sale.id)));
        }
        let draft = self.draft;
        for (l, lane) in draft.lanes.iter().enumerate() {
            if let Some(owner) = lanes.get(&lane.id) {
                self.flaw(&format!("lanes[{l}].id"), format!("{} is a lane of sale {owner}", lane.id));
            }
            for (o, offer) in lane.offers.iter().enumerate() {
                if let Some(owner) = offers.get(&offer.id) {
                    self.flaw(
                        &format!("lanes[{l}].offers[{o}].id"),
                        format!("{} is an offer of sale {owner}", offer.id),
                    );
                }
            }
        }
    }

    fn lanes(&mut self, previous: &Sale) {
        let lanes: HashMap<LaneId, &Lane> = previous.lanes.iter().map(|lane| (lane.id, lane)).collect();
        let offers: HashMap<OfferId, (LaneId, &Offer)> =
            previous.offers().map(|(lane, offer)| (offer.id, (lane.id, offer))).collect();
        let draft = self.draft;
        for (l, lane) in draft.lanes.iter().enumerate() {
            if let Some(known) = lanes.get(&lane.id) {
                self.lane(&format!("lanes[{l}]"), lane, known);
            }
            for (o, offer) in lane.offers.iter().enumerate() {
                if let Some((home, known)) = offers.get(&offer.id) {
                    self.offer(&format!("lanes[{l}].offers[{o}]"), (lane.id, offer), (*home, known));
                }
            }
        }
    }

    fn lane(&mut self, path: &str, lane: &DraftLane, known: &Lane) {
        if let Some(partition) = lane.partition.filter(|partition| *partition != known.partition) {
            let message =
                format!("is {partition}; the lane is published on partition {} and stays there", known.partition);
            self.flaw(&format!("{path}.partition"), message);
        }
    }

    fn offer(&mut self, path: &str, (lane, offer): (LaneId, &Offer), (home, known): (LaneId, &Offer)) {
        if lane != home {
            self.flaw(&format!("{path}.id"), format!("{} is published in lane {home} and stays there", offer.id));
        }
        // One that was published when any three letters were taken may be mended.
        if offer.price.currency != known.price.currency && known.price.currency.decimals().is_some() {
            let message =
                format!("is {}; the offer is published in {} and stays so", offer.price.currency, known.price.currency);
            self.flaw(&format!("{path}.price.currency"), message);
        }
    }

    /// What was promised must stay known, or the orders of it would point nowhere.
    fn vanished(&mut self, previous: &Sale) {
        let draft = self.draft;
        let kept: HashSet<OfferId> = draft.lanes.iter().flat_map(|lane| &lane.offers).map(|offer| offer.id).collect();
        for known in &previous.lanes {
            let index = draft.lanes.iter().position(|lane| lane.id == known.id);
            if index.is_none() {
                self.flaw(
                    "lanes",
                    format!("lane {} is published and may not vanish; close it with paused or closes_at", known.id),
                );
            }
            let field = index.map_or_else(|| "lanes".to_owned(), |l| format!("lanes[{l}].offers"));
            for offer in known.offers.iter().filter(|offer| !kept.contains(&offer.id)) {
                self.flaw(&field, format!("offer {} of lane {} is published and may not vanish", offer.id, known.id));
            }
        }
    }
}
