//! Who owns a sale's lanes and offers, and what remains of a sale that contradicts it. The first
//! owner stays the owner: what others sell by the same id would be counted, limited and paid for as
//! its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    id::{LaneId, OfferId, PartitionId, SaleId, TenantId},
    sale::{Lane, Offer, Sale},
};

/// What is known of a lane's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneOwner {
    /// The sale that has it.
    pub sale: SaleId,
    /// What the ledger holds of it, once it has a row there.
    pub ledger: Option<LedgerLane>,
}

/// What the ledger has of a lane. Tenant and partition never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerLane {
    /// The shop that the owner belongs to.
    pub tenant: TenantId,
    /// The partition that orders it.
    pub partition: PartitionId,
    /// Live units one buyer may hold.
    pub limit_per_buyer: u32,
}

/// Who owns the lanes and offers that a sale names. What is absent is free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// The owner of each lane.
    pub lanes: BTreeMap<LaneId, LaneOwner>,
    /// By offer: the sale and the lane that sell it.
    pub offers: BTreeMap<OfferId, (SaleId, LaneId)>,
}

/// A field of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The sale's version.
    Version,
    /// The shop that it belongs to.
    Tenant,
    /// The id of this lane.
    Lane(LaneId),
    /// The partition of this lane.
    Partition(LaneId),
    /// The id of this offer.
    Offer(OfferId),
    /// The currency of this offer.
    Currency(OfferId),
    /// A lane or an offer that is missing.
    Missing,
}

/// Where a sale says something else than what holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Contradiction {
    /// The field that contradicts.
    pub place: Place,
    /// What holds instead, in a sentence.
    pub message: String,
}

/// What remains of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The sale with everything that contradicts nothing; it may have no lanes. Its version is the
    /// next one when something was changed.
    pub sale: Sale,
    /// What was changed, and why; empty for a sound sale.
    pub contradictions: Vec<Contradiction>,
}

/// Compares a sale that was found published with its version that is known, if there is one, and
/// with the owners of its ids. `found` MUST NOT be older than `known`.
pub fn adopt(found: &Sale, known: Option<&Sale>, owners: &Owners) -> Adopted {
    let mut adoption = Adoption {
        found,
        owners,
        lanes: Vec::new(),
        at: HashMap::new(),
        kept: HashSet::new(),
        contradictions: Vec::new(),
    };
    let kept = match known {
        Some(known) if adoption.replaces_nothing(known) => known.clone(),
        known => {
            adoption.take(known);
            let lanes = std::mem::take(&mut adoption.lanes);
            if adoption.contradictions.is_empty() && lanes != found.lanes {
                adoption.contradict(Place::Missing, "a lane stands twice, or sells nothing".into());
            }
            Sale { lanes, ..found.clone() }
        }
    };
    let contradictions = adoption.contradictions;
    let version = found.version.saturating_add(u32::from(!contradictions.is_empty()));
    Adopted { sale: Sale { version, ..kept }, contradictions }
}

struct Adoption<'a> {
    found: &'a Sale,
    owners: &'a Owners,
    /// What is kept, and where each lane stands in it.
    lanes: Vec<Lane>,
    at: HashMap<LaneId, usize>,
    kept: HashSet<OfferId>,
    contradictions: Vec<Contradiction>,
}

impl Adoption<'_> {
    fn contradict(&mut self, place: Place, message: String) {
        self.contradictions.push(Contradiction { place, message });
    }

    /// Whether the known version stays as a whole.
    fn replaces_nothing(&mut self, known: &Sale) -> bool {
        let (found, before) = (self.found, self.contradictions.len());
        if known.tenant != found.tenant {
            self.contradict(Place::Tenant, format!("the sale is tenant {}'s and stays so", known.tenant));
        }
        if found.version <= known.version {
            self.contradict(Place::Version, format!("version {} was published with other content", known.version));
        }
        self.contradictions.len() > before
    }

    fn take(&mut self, known: Option<&Sale>) {
        let known_offers: HashMap<OfferId, (LaneId, &Offer)> =
            known.iter().flat_map(|sale| sale.offers()).map(|(lane, offer)| (offer.id, (lane.id, offer))).collect();
        for lane in &self.found.lanes {
            let is_ours = self.takes_lane(lane);
            for offer in &lane.offers {
                if self.kept.contains(&offer.id) {
                    self.contradict(Place::Offer(offer.id), format!("{} stands twice in the sale", offer.id));
                } else if let Some(home) = self.home(lane, is_ours, offer) {
                    let offer = self.priced(offer, known_offers.get(&offer.id).map(|(_, offer)| *offer));
                    self.put(home, offer);
                }
            }
        }
        for lane in known.iter().flat_map(|sale| &sale.lanes) {
            for offer in &lane.offers {
                if self.kept.contains(&offer.id) {
                    continue;
                }
                let message = format!("offer {} of lane {} is published and may not vanish", offer.id, lane.id);
                self.contradict(Place::Missing, message);
                self.put(lane, offer.clone());
            }
        }
    }

    /// Whether the sale may sell in this lane.
    fn takes_lane(&mut self, lane: &Lane) -> bool {
        let Some(owner) = self.owners.lanes.get(&lane.id) else { return true };
        if owner.sale != self.found.id {
            self.contradict(Place::Lane(lane.id), format!("{} is a lane of sale {}", lane.id, owner.sale));
            return false;
        }
        let Some(ledger) = owner.ledger else { return true };
        if ledger.tenant != self.found.tenant {
            self.contradict(Place::Tenant, format!("lane {} is tenant {}'s and stays so", lane.id, ledger.tenant));
            return false;
        }
        if ledger.partition != lane.partition {
            let message = format!("lane {} is published on partition {} and stays there", lane.id, ledger.partition);
            self.contradict(Place::Partition(lane.id), message);
        }
        true
    }

    /// The lane that sells this offer: the one it stands in, or the one that had it first.
    fn home(&mut self, lane: &Lane, is_ours: bool, offer: &Offer) -> Option<Lane> {
        let Some(&(sale, home)) = self.owners.offers.get(&offer.id) else { return is_ours.then(|| lane.clone()) };
        if sale != self.found.id {
            self.contradict(Place::Offer(offer.id), format!("{} is an offer of sale {sale}", offer.id));
            return None;
        }
        if home == lane.id {
            return is_ours.then(|| lane.clone());
        }
        self.contradict(Place::Offer(offer.id), format!("{} is published in lane {home} and stays there", offer.id));
        if let Some(named) = self.found.lanes.iter().find(|lane| lane.id == home) {
            return Some(named.clone());
        }
        let ledger = self.owners.lanes.get(&home)?.ledger.filter(|ledger| ledger.tenant == self.found.tenant)?;
        let LedgerLane { partition, limit_per_buyer, .. } = ledger;
        Some(Lane { paused: lane.paused, id: home, partition, limit_per_buyer, offers: Vec::new() })
    }

    /// The offer in the currency that its orders are in.
    fn priced(&mut self, offer: &Offer, known: Option<&Offer>) -> Offer {
        let Some(known) = known.filter(|known| known.price.currency != offer.price.currency) else {
            return offer.clone();
        };
        let message = format!("offer {} is published in {} and stays so", offer.id, known.price.currency);
        self.contradict(Place::Currency(offer.id), message);
        Offer { price: known.price, ..offer.clone() }
    }

    /// Puts an offer into its lane, on the partition that the ledger has it on.
    fn put(&mut self, lane: impl std::borrow::Borrow<Lane>, offer: Offer) {
        let lane = lane.borrow();
        let lanes = &mut self.lanes;
        let at = *self.at.entry(lane.id).or_insert_with(|| {
            let (id, ledger) = (lane.id, self.owners.lanes.get(&lane.id).and_then(|owner| owner.ledger));
            let partition = ledger.map_or(lane.partition, |row| row.partition);
            lanes.push(Lane { partition, id, offers: Vec::new(), ..lane.clone() });
            lanes.len() - 1
        });
        if let Some(lane) = lanes.get_mut(at) {
            self.kept.insert(offer.id);
            lane.offers.push(offer);
        }
    }
}

#[cfg(test)]
mod tests;
