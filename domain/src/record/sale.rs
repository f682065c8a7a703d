//! A sale as it travels on the topic `sales`.

use bytes::Bytes;
use prost::Message;

use super::{Flawed, RecordError, SALE_TYPE, checked, tenant_id, wire};
use crate::{
    id::{ID_MAX, LaneId, OfferId, PartitionId, SaleId, SkuId},
    money::Money,
    sale::{
        ALLOTMENT_MAX, Fulfilment, LIMIT_MAX, Lane, OFFERS_PER_LANE_MAX, Offer, OrderTerms, Sale, SubjectKind, Window,
    },
};

/// The bytes of one version of a sale.
pub fn encode_sale(sale: &Sale) -> Vec<u8> {
    wire::Sale {
        id: sale.id.get(),
        tenant: sale.tenant.number(),
        version: sale.version,
        title: sale.title.clone(),
        opens_at_ms: sale.window.opens_at_ms,
        closes_at_ms: sale.window.closes_at_ms,
        paused: sale.paused,
        buyer_rate_per_s: sale.buyer_rate_per_s,
        shard_map_version: sale.shard_map_version,
        lanes: sale.lanes.iter().map(lane_to_wire).collect(),
        limit_by: stored_kind(sale.limit_by),
        members_only: sale.members_only,
        visible_from_ms: sale.visible_from_ms,
        payment_window_s: sale.orders.payment_window_s,
        fulfilment: stored_fulfilment(sale.orders.fulfilment),
        after_sale_days: sale.orders.after_sale_days.into(),
    }
    .encode_to_vec()
}

/// Reads a sale back. It checks shape, and what ledger and lanes can hold; [`Sale::validate`] is
/// for those who publish.
///
/// # Errors
/// [`RecordError::Malformed`].
pub fn decode_sale(payload: Bytes) -> Result<Sale, RecordError> {
    checked(SALE_TYPE, payload, |w: wire::Sale| {
        Ok(Sale {
            id: SaleId::new(w.id)?,
            tenant: tenant_id(w.tenant)?,
            version: w.version,
            title: w.title,
            window: Window { opens_at_ms: w.opens_at_ms, closes_at_ms: w.closes_at_ms },
            paused: w.paused,
            buyer_rate_per_s: w.buyer_rate_per_s,
            shard_map_version: w.shard_map_version,
            limit_by: kind(w.limit_by)?,
            members_only: w.members_only,
            visible_from_ms: w.visible_from_ms,
            orders: OrderTerms {
                payment_window_s: w.payment_window_s,
                fulfilment: fulfilment(w.fulfilment)?,
                after_sale_days: u16::try_from(w.after_sale_days)
                    .map_err(|_| Flawed::Damaged(format!("{} after-sale days", w.after_sale_days)))?,
            },
            lanes: w.lanes.into_iter().map(lane_from_wire).collect::<Result<_, Flawed>>()?,
        })
        .and_then(storable)
    })
}

const fn stored_kind(kind: SubjectKind) -> u32 {
    match kind {
        SubjectKind::Account => 0,
        SubjectKind::Phone => 1,
        SubjectKind::IdHash => 2,
    }
}

const fn stored_fulfilment(kind: Fulfilment) -> u32 {
    match kind {
        Fulfilment::Express => 0,
        Fulfilment::Pickup => 1,
        Fulfilment::Code => 2,
    }
}

fn fulfilment(stored: u32) -> Result<Fulfilment, Flawed> {
    let known = Fulfilment::ALL.into_iter().find(|kind| stored_fulfilment(*kind) == stored);
    known.ok_or_else(|| Flawed::Damaged(format!("a fulfilment of kind {stored}: update this program")))
}

/// A kind that this program does not know would let each person buy under several numbers.
fn kind(stored: u32) -> Result<SubjectKind, Flawed> {
    let known = SubjectKind::ALL.into_iter().find(|kind| stored_kind(*kind) == stored);
    known.ok_or_else(|| Flawed::Damaged(format!("a limit by kind {stored}: update this program")))
}

/// A sale whose lanes no ledger or no lane could hold would stop whoever opens them.
fn storable(sale: Sale) -> Result<Sale, Flawed> {
    let Window { opens_at_ms, closes_at_ms } = sale.window;
    let fits = |offer: &Offer| {
        (1..=ALLOTMENT_MAX).contains(&offer.allotment)
            && offer.price.amount >= 0
            && offer.price.times(LIMIT_MAX).is_some()
    };
    let holds = |lane: &Lane| {
        (1..=LIMIT_MAX).contains(&lane.limit_per_buyer)
            && (1..=OFFERS_PER_LANE_MAX).contains(&lane.offers.len())
            && lane.offers.iter().all(fits)
    };
    if opens_at_ms.max(closes_at_ms) > ID_MAX {
        return Err(Flawed::Damaged("a window beyond all time".into()));
    }
    match sale.lanes.iter().find(|lane| !holds(lane)) {
        None => Ok(sale),
        Some(lane) => {
            Err(Flawed::Damaged(format!("lane {} has a limit, offers or units that no lane can have", lane.id)))
        }
    }
}

fn lane_to_wire(lane: &Lane) -> wire::Lane {
    let offers = lane.offers.iter().map(|offer| wire::Offer {
        id: offer.id.get(),
        sku: offer.sku.get(),
        title: offer.title.clone(),
        price: Some(wire::Price { amount: offer.price.amount, currency: offer.price.currency.to_string() }),
        allotment: offer.allotment,
        rate_per_s: offer.rate_per_s,
        paused: offer.paused,
    });
    wire::Lane {
        id: lane.id.get(),
        partition: lane.partition.0,
        limit_per_buyer: lane.limit_per_buyer,
        offers: offers.collect(),
        paused: lane.paused,
    }
}

fn lane_from_wire(w: wire::Lane) -> Result<Lane, Flawed> {
    let offers = w.offers.into_iter().map(|w| {
        let price = w.price.ok_or_else(|| Flawed::Damaged("an offer without a price".into()))?;
        Ok(Offer {
            id: OfferId::new(w.id)?,
            sku: SkuId::new(w.sku)?,
            title: w.title,
            price: Money { amount: price.amount, currency: price.currency.parse()? },
            allotment: w.allotment,
            rate_per_s: w.rate_per_s,
            paused: w.paused,
        })
    });
    Ok(Lane {
        id: LaneId::new(w.id)?,
        partition: PartitionId(w.partition),
        limit_per_buyer: w.limit_per_buyer,
        paused: w.paused,
        offers: offers.collect::<Result<_, Flawed>>()?,
    })
}
