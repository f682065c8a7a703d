//! The ledger's numbers of a partition at one position, and how a decision moves them.

use std::collections::BTreeMap;

use super::Decided;
use crate::id::{Epoch, LaneId, OfferId, OrderId, SaleId, TenantId};

/// The ledger's numbers of one offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferLedger {
    /// Units it may sell now: the effective allotment.
    pub allotment: u64,
    /// Units that the sale wants it to sell (R9). An allotment above it falls as units are
    /// released, never below it.
    pub target: u64,
    /// Units in live orders.
    pub sold: u64,
    /// Version of the sale whose allotment this is.
    pub sale_version: u32,
    /// Packed position of the last allotment change; 0 for none.
    pub changed_at: i64,
}

/// The ledger's numbers of one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneLedger {
    /// Whose shop it is: the first owner, whatever is published later.
    pub tenant: TenantId,
    /// Its sale.
    pub sale: SaleId,
    /// Last epoch committed; 0 before the first opening.
    pub epoch: Epoch,
    /// Its last epoch retired it: nothing is promised before the next one (R14).
    pub is_retired: bool,
    /// Live units one buyer may hold.
    pub limit_per_buyer: u32,
    /// Packed position of the last change of the limit; 0 for none (R16).
    pub limit_changed_at: i64,
    /// R5: no order row of the lane has a lower id. `None`: not known, since an older program
    /// opened it.
    pub first_order: Option<OrderId>,
    /// Its offers.
    pub offers: BTreeMap<OfferId, OfferLedger>,
}

/// More than engines' clocks are usually off the database's, and than a request takes: so the first
/// orders of a lane need not move its bound. One that is older still moves it, by its own commit.
/// Short, because a load reads whatever other lanes sold in this time.
const BEFORE_OPENING_MS: u64 = 10_000;

impl LaneLedger {
    /// R5: the number from which on the lane's order rows are looked for.
    pub fn rows_from(&self) -> u64 {
        self.first_order.map_or(0, OrderId::get)
    }

    /// Whether no epoch was ever committed: no promise can have been made.
    pub fn was_never_open(&self) -> bool {
        self.epoch == Epoch(0) && self.first_order.is_none()
    }

    /// R5: what [`first_order`](Self::first_order) becomes with the lane's first opening. `now_ms`:
    /// epoch milliseconds by the ledger's database. What a merchant may change has no part in it.
    pub fn first_order_at(now_ms: u64) -> Option<OrderId> {
        OrderId::new(OrderId::floor_at(now_ms.saturating_sub(BEFORE_OPENING_MS)).max(1)).ok()
    }
}

impl OfferLedger {
    /// Units by which the allotment is above its target.
    pub const fn excess(&self) -> u64 {
        self.allotment.saturating_sub(self.target)
    }
}

/// All lanes of one partition, as the ledger has them at one position.
pub type Lanes = BTreeMap<LaneId, LaneLedger>;

impl Decided {
    /// Moves the ledger's numbers in memory, after the ledger's commit.
    pub fn apply(&self, lanes: &mut Lanes) {
        for (&(lane, offer), &units) in &self.sold {
            if let Some(offer) = lanes.get_mut(&lane).and_then(|lane| lane.offers.get_mut(&offer)) {
                offer.sold = offer.sold.saturating_add_signed(units);
            }
        }
        for (&(lane, offer), &units) in &self.retired {
            if let Some(offer) = lanes.get_mut(&lane).and_then(|lane| lane.offers.get_mut(&offer)) {
                offer.allotment = offer.allotment.saturating_sub(units);
            }
        }
        for change in &self.allotments {
            if let Some(offer) = lanes.get_mut(&change.lane).and_then(|lane| lane.offers.get_mut(&change.offer)) {
                offer.allotment = offer.allotment.saturating_add_signed(change.delta);
                offer.target = change.target;
                offer.sale_version = change.sale_version;
                offer.changed_at = change.changed_at;
            }
        }
        for change in &self.limits {
            if let Some(lane) = lanes.get_mut(&change.lane) {
                (lane.limit_per_buyer, lane.limit_changed_at) = (change.limit, change.changed_at);
            }
        }
        for (lane, &order) in &self.first_orders {
            if let Some(lane) = lanes.get_mut(lane) {
                lane.first_order = Some(lane.first_order.map_or(order, |first| first.min(order)));
            }
        }
        let opened = self.epochs.iter().map(|epoch| (epoch, false));
        for (&(lane, epoch), is_retired) in opened.chain(self.retired_lanes.iter().map(|epoch| (epoch, true))) {
            if let Some(lane) = lanes.get_mut(&lane) {
                (lane.epoch, lane.is_retired) = (epoch, is_retired);
            }
        }
    }
}
