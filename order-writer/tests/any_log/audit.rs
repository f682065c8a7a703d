//! INV-1 to INV-5 on ledger, rows and lanes at rest.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    id::{BuyerId, LaneId, OfferId, OrderId},
    order::OrderRow,
};
use store::stock::LaneKeeping;

use super::rig::Rig;

async fn rows(rig: &Rig, lanes: &[LaneId]) -> Vec<OrderRow> {
    let mut rows = Vec::new();
    for home in rig.store.orders.map().all() {
        rows.extend(rig.store.orders.scan(home, lanes, 0, None, 100_000).await.unwrap());
    }
    rows
}

/// Compares everything with everything.
pub(crate) async fn all(rig: &Rig, seed: u64) {
    let lanes = rig.store.ledger.all_lanes().await.unwrap();
    let ids: Vec<LaneId> = lanes.iter().map(|lane| lane.lane).collect();
    let rows = rows(rig, &ids).await;
    let orders: BTreeSet<OrderId> = rows.iter().map(|row| row.order).collect();
    assert_eq!(orders.len(), rows.len(), "seed {seed}: INV-3, one row for one order");
    let live: Vec<&OrderRow> = rows.iter().filter(|row| row.is_live()).collect();
    let keys: BTreeSet<_> = live.iter().map(|row| (row.buyer, row.offer, row.key)).collect();
    assert_eq!(keys.len(), live.len(), "seed {seed}: INV-5");
    for lane in &lanes {
        let of_lane = || live.iter().filter(|row| row.lane == lane.lane);
        assert!(of_lane().all(|row| (row.tenant, row.sale) == (lane.tenant, lane.sale)), "seed {seed}: INV-7");
        let mut units: BTreeMap<OfferId, u64> = lane.offers.iter().map(|offer| (offer.offer, 0)).collect();
        let mut held: BTreeMap<BuyerId, u32> = BTreeMap::new();
        for row in of_lane() {
            *units.get_mut(&row.offer).unwrap() += u64::from(row.quantity);
            *held.entry(row.buyer).or_default() += row.quantity;
        }
        // Whoever held more when the limit fell keeps it.
        let is_judged = lane.limit_changed_at == 0;
        assert!(
            !is_judged || held.values().all(|&units| units <= lane.limit_per_buyer),
            "seed {seed}: INV-2, {held:?}"
        );
        let view = rig.view(lane.lane.get()).await;
        for offer in &lane.offers {
            let live = units[&offer.offer];
            assert!(live <= offer.allotment, "seed {seed}: INV-1, {offer:?} with {live} live");
            let left = view.offers.iter().find(|(seen, ..)| *seen == offer.offer).unwrap().1;
            assert_eq!(
                (offer.sold, offer.allotment - left),
                (live, live),
                "seed {seed}: INV-4, {offer:?}, {left} left"
            );
        }
        let entries = rig.keeping.buyers(lane.lane).await.unwrap();
        let entries = entries.iter().flat_map(|(buyer, purchases)| purchases.iter().map(move |p| (*buyer, p)));
        let entries: BTreeSet<_> = entries.filter(|(_, p)| p.number.is_some()).map(|(b, p)| (b, p.order)).collect();
        let rows: BTreeSet<_> = of_lane().map(|row| (row.buyer, row.order)).collect();
        assert_eq!(entries, rows, "seed {seed}: INV-4, buyers' entries of lane {}", lane.lane);
    }
}
