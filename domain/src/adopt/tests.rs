//! Goal: the first owner stays the owner, and nothing else is taken from a sale. Method: small
//! sales by hand, then random ones that name each other's ids.

use proptest::prelude::*;

use super::*;
use crate::{
    id::SkuId,
    money::Money,
    sale::{SubjectKind, Window},
};

fn offer(id: u64, currency: &str) -> Offer {
    let price = Money { amount: 100, currency: currency.parse().unwrap() };
    Offer {
        paused: false,
        id: OfferId::new(id).unwrap(),
        sku: SkuId::new(1).unwrap(),
        title: "x".into(),
        price,
        allotment: 5,
        rate_per_s: 9,
    }
}

fn lane(id: u64, offers: &[u64]) -> Lane {
    let offers = offers.iter().map(|&id| offer(id, "CNY")).collect();
    Lane { paused: false, id: LaneId::new(id).unwrap(), partition: PartitionId(0), limit_per_buyer: 2, offers }
}

fn sale(id: u64, version: u32, lanes: &[Lane]) -> Sale {
    Sale {
        id: SaleId::new(id).unwrap(),
        tenant: TenantId::new(7).unwrap(),
        version,
        title: "s".into(),
        window: Window { opens_at_ms: 1, closes_at_ms: 2 },
        paused: false,
        buyer_rate_per_s: 1,
        shard_map_version: 1,
        limit_by: SubjectKind::Account,
        members_only: false,
        visible_from_ms: 0,
        orders: crate::sale::OrderTerms::default(),
        lanes: lanes.to_vec(),
    }
}

/// The owners after these sales were taken in, in this order; lanes that `in_ledger` names have a
/// row there.
fn owners(sales: &[Sale], in_ledger: &[u64]) -> Owners {
    let mut owners = Owners::default();
    for sale in sales {
        for (lane, offer) in sale.offers() {
            let row =
                LedgerLane { tenant: sale.tenant, partition: lane.partition, limit_per_buyer: lane.limit_per_buyer };
            let ledger = in_ledger.contains(&lane.id.get()).then_some(row);
            owners.lanes.entry(lane.id).or_insert(LaneOwner { sale: sale.id, ledger });
            owners.offers.entry(offer.id).or_insert((sale.id, lane.id));
        }
    }
    owners
}

fn told(adopted: &Adopted) -> Vec<String> {
    adopted.contradictions.iter().map(ToString::to_string).collect()
}

#[test]
fn a_sound_sale_stays_as_it_is() {
    let known = sale(1, 1, &[lane(11, &[111])]);
    let found = sale(1, 2, &[lane(11, &[111]), lane(12, &[112, 113])]);
    for known in [None, Some(&known)] {
        let adopted = adopt(&found, known, &owners(&known.cloned().into_iter().collect::<Vec<_>>(), &[11]));
        assert_eq!((adopted.sale, adopted.contradictions), (found.clone(), vec![]));
    }
}

#[test]
fn what_others_own_goes_and_the_rest_stays() {
    let owners = owners(&[sale(2, 1, &[lane(22, &[300])])], &[22]);
    let adopted = adopt(&sale(3, 4, &[lane(33, &[300, 301]), lane(22, &[302])]), None, &owners);
    assert_eq!(adopted.sale, sale(3, 5, &[lane(33, &[301])]));
    assert_eq!(told(&adopted), ["300 is an offer of sale 2", "22 is a lane of sale 2"]);
    let nothing = adopt(&sale(3, 4, &[lane(33, &[300])]), None, &owners);
    assert_eq!(nothing.sale, sale(3, 5, &[]), "a sale may lose everything");
}

/// Two versions put one new offer into two new lanes: it stays in the first.
#[test]
fn an_offer_stays_in_the_lane_that_had_it_first() {
    let first = sale(1, 2, &[lane(11, &[111]), lane(12, &[300])]);
    let second = sale(1, 2, &[lane(11, &[111]), lane(13, &[300])]);
    let adopted = adopt(&second, None, &owners(std::slice::from_ref(&first), &[11, 12]));
    assert_eq!(adopted.sale, Sale { version: 3, ..first.clone() });
    assert_eq!(told(&adopted), ["300 is published in lane 12 and stays there"]);
    // With the first version known, the second is one of the same version with other content.
    let adopted = adopt(&second, Some(&first), &owners(std::slice::from_ref(&first), &[]));
    assert_eq!((&adopted.sale, told(&adopted).len()), (&Sale { version: 3, ..first }, 1));
}

#[test]
fn what_a_ledger_holds_of_a_lane_stays() {
    let known = sale(1, 1, &[lane(11, &[111])]);
    let owners = owners(std::slice::from_ref(&known), &[11]);
    let mut found = sale(1, 2, &[lane(11, &[111])]);
    (found.lanes[0].partition, found.lanes[0].limit_per_buyer) = (PartitionId(3), 9);
    let adopted = adopt(&found, None, &owners);
    let mut kept = Sale { version: 3, ..known.clone() };
    kept.lanes[0].limit_per_buyer = 9;
    assert_eq!((&adopted.sale, adopted.contradictions.len()), (&kept, 1), "the limit changes by a record (R16)");
    let stranger = Sale { tenant: TenantId::new(8).unwrap(), version: 2, ..known.clone() };
    assert_eq!(adopt(&stranger, None, &owners).sale.lanes, []);
    let kept = adopt(&stranger, Some(&known), &owners);
    assert_eq!(
        (&kept.sale, told(&kept)),
        (&Sale { version: 3, ..known }, vec!["the sale is tenant 7's and stays so".to_owned()])
    );
}

#[test]
fn currencies_stay_and_nothing_vanishes() {
    let known = sale(1, 1, &[lane(11, &[111, 112]), lane(12, &[113])]);
    let mut found = sale(1, 2, &[lane(11, &[111])]);
    found.lanes[0].offers[0] = offer(111, "EUR");
    let adopted = adopt(&found, Some(&known), &owners(std::slice::from_ref(&known), &[]));
    assert_eq!(adopted.sale, Sale { version: 3, ..known });
    assert_eq!(adopted.contradictions.len(), 3, "{:?}", told(&adopted));
}

fn any_sale() -> impl Strategy<Value = Sale> {
    let lanes = prop::collection::vec((1..6_u64, prop::collection::vec(1..8_u64, 0..4)), 0..4);
    (1..4_u64, 1..4_u32, 7..9_u64, lanes).prop_map(|(id, version, tenant, lanes)| {
        let lanes: Vec<Lane> = lanes.iter().map(|(id, offers)| lane(*id, offers)).collect();
        Sale { tenant: TenantId::new(tenant).unwrap(), ..sale(id, version, &lanes) }
    })
}

proptest! {
    /// Whatever is published in whatever order: each id has one owner, who never changes; what is
    /// adopted is adopted again as it is.
    #[test]
    fn owners_never_change(found in prop::collection::vec(any_sale(), 1..12)) {
        let mut taken: BTreeMap<SaleId, Sale> = BTreeMap::new();
        let mut owned = Owners::default();
        for found in found {
            let known = taken.get(&found.id);
            if known.is_some_and(|known| known.version > found.version || *known == found) {
                continue;
            }
            let Adopted { sale, contradictions } = adopt(&found, known, &owned);
            prop_assert_eq!(contradictions.is_empty(), sale == found);
            prop_assert!(known.is_none_or(|known| known.version < sale.version && known.tenant == sale.tenant));
            for (lane, offer) in sale.offers() {
                let owner = *owned.offers.entry(offer.id).or_insert((sale.id, lane.id));
                prop_assert_eq!(owner, (sale.id, lane.id));
                let ledger = Some(LedgerLane { tenant: sale.tenant, partition: lane.partition, limit_per_buyer: lane.limit_per_buyer });
                let owner = *owned.lanes.entry(lane.id).or_insert(LaneOwner { sale: sale.id, ledger });
                prop_assert_eq!((owner.sale, owner.ledger), (sale.id, ledger));
            }
            let next = Sale { version: sale.version + 1, ..sale.clone() };
            prop_assert_eq!(adopt(&next, Some(&sale), &owned).contradictions, vec![]);
            taken.insert(sale.id, sale);
        }
    }
}
