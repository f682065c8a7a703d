//! What sales take of the warehouses and give back: an offer is allotted its units before they are
//! on sale; units of a reduction come back when the ledger has let them go; the rest when the sale
//! is over and its lanes are retired. What orders give back after that waits for shipping no more:
//! whoever counts the ledger's movements marks the sale with them (`funnel`), and a round holds
//! what was accepted against the units sold, so that each unit comes back once.

use std::collections::HashMap;

use domain::id::{LaneId, OfferId};
use kit::clock::Clock as _;
use store::{
    ledger::OfferRow,
    sql::{Sql as _, SqlError, Tx, stored},
};

use super::{
    row::Kept,
    terms::{OfferTerms, Terms},
};
use crate::{
    ports::Ports,
    refused::Refused,
    service::Catalog,
    stock::{By, Share, accept, accepted, allocate, allotted, give_back, release},
};

/// Sales that one round looks at.
const ROUND_MAX: u32 = 200;

const OPEN_ACCOUNTS: &str = "SELECT tenant, sale FROM sales WHERE is_settled = 0 AND is_due = 0 AND published > 0 \
                             AND (is_owed = 1 OR closes_at <= ?) ORDER BY closes_at LIMIT ?";
const GIVEN_BACK: &str = "SELECT tenant, sale FROM sales WHERE is_owed = 1 AND is_settled = 1 LIMIT ?";
/// Looked at once more: what was given back while it was settled had no mark yet.
const SETTLED: &str = "UPDATE sales SET is_settled = 1, is_owed = 1 WHERE tenant = ? AND sale = ?";
const PAID: &str = "UPDATE sales SET is_owed = 0 WHERE tenant = ? AND sale = ? AND version = ?";

/// Who gives back, in the stock's ledger.
const SETTLEMENT: &str = "settlement";

/// Offers that sell a warehouse's stock, in the order in which levels are locked.
fn from_stock(terms: &Terms) -> Vec<(&OfferTerms, Share)> {
    let share = |offer: &OfferTerms| {
        let warehouse = offer.warehouse.as_ref()?.id;
        Some(Share { warehouse, sku: offer.sku_id, units: 0 })
    };
    let mut offers: Vec<_> = terms.offers().filter_map(|offer| Some((offer, share(offer)?))).collect();
    offers.sort_by_key(|(offer, share)| (share.warehouse, share.sku, offer.id));
    offers
}

/// Allots what the terms want beyond what their offers have. Returns whether an offer has more than
/// its terms want.
///
/// # Errors
/// `conflict` that names the SKU, what is asked for and what is available; [`Refused::Sql`].
pub(super) async fn take<T: Tx>(tx: &mut T, by: &By, kept: &Kept) -> Result<bool, Refused> {
    let mut is_owed = false;
    for (offer, share) in from_stock(&kept.terms) {
        let has = allotted(tx, by.tenant, share, offer.id).await?;
        let wanted = stored(offer.allotment)?;
        if wanted > has {
            let reference = format!("sale:{}:{}:{}", kept.sale, kept.version, offer.id);
            allocate(tx, by, &reference, offer.id, &[Share { units: wanted - has, ..share }]).await?;
        }
        is_owed |= has > wanted;
    }
    Ok(is_owed)
}

/// Gives back all that a draft has: it was about to be published, and is removed.
///
/// # Errors
/// [`Refused::Sql`].
pub(super) async fn give_all_back<T: Tx>(tx: &mut T, by: &By, kept: &Kept) -> Result<(), Refused> {
    for (offer, share) in from_stock(&kept.terms) {
        let units = allotted(tx, by.tenant, share, offer.id).await?;
        if units > 0 {
            let reference = format!("sale:{}:{}:{}:removed", kept.sale, kept.version, offer.id);
            give_back(tx, by, &reference, offer.id, &[Share { units, ..share }]).await?;
        }
    }
    Ok(())
}

/// Gives back what is owed, and settles what is over.
///
/// # Errors
/// [`Refused::Sql`]; the next round goes on.
pub(super) async fn round<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let now_ms = stored(catalog.clock().now_ms())?;
    for mut row in catalog.sql().rows(OPEN_ACCOUNTS, vec![now_ms.into(), ROUND_MAX.into()]).await? {
        let (tenant, sale): (u32, i64) = (row.number()?, row.int()?);
        if let Err(error) = settle(catalog, tenant, sale).await {
            tracing::warn!(%error, tenant, sale, "the stock of a sale is not settled yet; it is tried again");
        }
    }
    for mut row in catalog.sql().rows(GIVEN_BACK, vec![ROUND_MAX.into()]).await? {
        let (tenant, sale): (u32, i64) = (row.number()?, row.int()?);
        if let Err(error) = take_back(catalog, tenant, sale).await {
            tracing::warn!(%error, tenant, sale, "what orders gave back of a settled sale is not in the warehouse yet; \
                it is tried again");
        }
    }
    Ok(())
}

/// Units that orders of a settled sale gave back: refunded before they were sent, or never paid.
async fn take_back<P: Ports>(catalog: &Catalog<P>, tenant: u32, sale: i64) -> Result<(), Refused> {
    let mut tx = catalog.sql().begin().await?;
    let kept = Kept::lock(&mut tx, tenant, sale).await?;
    // Under the lock: who marks the sale meanwhile waits, and so it is looked at again.
    let Sold { offers: ledger, .. } = sold(catalog, &kept.terms).await?;
    let by = By { tenant, actor: SETTLEMENT.to_owned(), now_ms: stored(catalog.clock().now_ms())? };
    for (offer, share) in from_stock(&kept.terms) {
        let had = accepted(&mut tx, tenant, share, offer.id).await?;
        let row = OfferId::new(offer.id.cast_unsigned()).ok().and_then(|id| ledger.get(&id));
        let Some(sold) = row.map(|row| stored(row.sold)).transpose()?.filter(|sold| *sold < had) else { continue };
        let reference = format!("sale:{sale}:{}:released:{had}-{sold}", offer.id);
        let back = release(&mut tx, &by, &reference, offer.id, Share { units: had - sold, ..share }).await?;
        if back < had - sold {
            tracing::warn!(
                tenant,
                sale,
                offer = offer.id,
                units = had - sold,
                back,
                "units that orders gave back were shipped already by a movement: they come back by a return"
            );
        }
    }
    tx.exec(PAID, vec![tenant.into(), sale.into(), stored(kept.version)?.into()]).await?;
    tx.commit().await?;
    Ok(())
}

/// What the ledger knows of the offers of a sale.
struct Sold {
    offers: HashMap<OfferId, OfferRow>,
    /// Its lanes sell no more, and never will.
    is_final: bool,
}

async fn sold<P: Ports>(catalog: &Catalog<P>, terms: &Terms) -> Result<Sold, SqlError> {
    let mut sold = Sold { offers: HashMap::new(), is_final: true };
    for lane in &terms.lanes {
        let id = LaneId::new(lane.id.cast_unsigned()).map_err(|error| SqlError::Broken(error.to_string().into()))?;
        // A lane without a row never opened, so that nothing of it was ever sold.
        let Some(row) = catalog.selling().ledger.lane(id).await? else { continue };
        sold.is_final &= row.is_retired;
        sold.offers.extend(row.offers.into_iter().map(|offer| (offer.offer, offer)));
    }
    Ok(sold)
}

async fn settle<P: Ports>(catalog: &Catalog<P>, tenant: u32, sale: i64) -> Result<(), Refused> {
    let kept = Kept::find(catalog.sql(), tenant, sale).await?;
    let now_ms = catalog.clock().now_ms();
    // The ledger is asked before the row is locked: what is retired stays so, and of a reduction
    // only what is free already comes back.
    let Sold { offers: ledger, is_final } = sold(catalog, &kept.terms).await?;
    let is_over = is_final && now_ms >= kept.terms.closes_at;
    let mut tx = catalog.sql().begin().await?;
    let locked = Kept::lock(&mut tx, tenant, sale).await?;
    if locked.version != kept.version || locked.is_due || locked.is_settled {
        tx.rollback().await;
        return Ok(());
    }
    let by = By { tenant, actor: SETTLEMENT.to_owned(), now_ms: stored(now_ms)? };
    let mut is_owed = false;
    for (offer, share) in from_stock(&kept.terms) {
        let has = allotted(&mut tx, tenant, share, offer.id).await?;
        let row = OfferId::new(offer.id.cast_unsigned()).ok().and_then(|id| ledger.get(&id));
        let (sold, effective) = row.map_or((0, 0), |row| (row.sold, row.allotment));
        let keeps = if is_over { stored(sold)? } else { stored(offer.allotment.max(effective))? };
        // References count units, so that a step that is done again is the same step.
        if has > keeps {
            let reference = format!("sale:{sale}:{}:{}:{has}-{keeps}", kept.version, offer.id);
            give_back(&mut tx, &by, &reference, offer.id, &[Share { units: has - keeps, ..share }]).await?;
        }
        if is_over && keeps > 0 {
            let reference = format!("sale:{sale}:{}:sold", offer.id);
            accept(&mut tx, &by, &reference, offer.id, &[Share { units: keeps.min(has), ..share }]).await?;
        }
        is_owed |= has.min(keeps) > stored(offer.allotment)?;
    }
    match (is_over, is_owed) {
        (true, _) => tx.exec(SETTLED, vec![tenant.into(), sale.into()]).await?,
        (false, false) => tx.exec(PAID, vec![tenant.into(), sale.into(), stored(kept.version)?.into()]).await?,
        (false, true) => 0,
    };
    tx.commit().await?;
    Ok(())
}
