//! Units of orders that were called off after their sale was settled. No lane sells them any more;
//! their release lowers what the ledger says was sold, and by so much the warehouse has again. What
//! was seen of the ledger and the movement change in one transaction, under a reference that names
//! both figures: whoever dies, or looks twice, books a unit once.

use domain::id::LaneId;
use kit::clock::Clock as _;
use store::sql::{Sql as _, SqlError, Tx, Value, stored};

use crate::{
    ports::Ports,
    refused::Refused,
    service::Catalog,
    stock::{By, Share, take_back},
};

/// Offers that one round looks at.
const ROUND_MAX: u32 = 200;
/// Between two looks at an offer, at first; later a hundredth of the time since its settlement.
const LOOK_MS: i64 = 60_000;
const LOOK_SHARE: i64 = 100;
/// How long after its settlement an offer is looked at.
const WATCHED_MS: i64 = 180 * 86_400_000;

const KEEP: &str = "INSERT INTO sale_sold (tenant, sale, offer, lane, warehouse, sku, sold, settled_at, next_at) \
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const DUE: &str = "SELECT tenant, sale, offer, lane, warehouse, sku, sold, settled_at FROM sale_sold WHERE next_at <= ? \
                   ORDER BY next_at LIMIT ?";
const SEEN: &str =
    "UPDATE sale_sold SET sold = ?, next_at = ? WHERE tenant = ? AND sale = ? AND offer = ? AND sold = ?";
const FORGET: &str = "DELETE FROM sale_sold WHERE tenant = ? AND sale = ? AND offer = ?";

/// What an offer of a settled sale sold of a warehouse.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sold {
    pub(super) sale: i64,
    pub(super) offer: i64,
    pub(super) lane: i64,
    /// Its units are those that were sold.
    pub(super) share: Share,
}

/// From now on what comes back of it is the warehouse's.
///
/// # Errors
/// [`SqlError`]; roll back.
pub(super) async fn keep<T: Tx>(tx: &mut T, by: &By, sold: Sold) -> Result<(), SqlError> {
    let Sold { sale, offer, lane, share: Share { warehouse, sku, units } } = sold;
    let row = [by.tenant.into(), sale, offer, lane, warehouse, sku, units, by.now_ms, by.now_ms + LOOK_MS];
    tx.insert_absent(KEEP, row.map(Value::from).into()).await.map(drop)
}

/// Books what came back since the last look.
///
/// # Errors
/// [`SqlError`]; the next round goes on.
pub(super) async fn round<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let now_ms = stored(catalog.clock().now_ms())?;
    for mut row in catalog.sql().rows(DUE, vec![now_ms.into(), ROUND_MAX.into()]).await? {
        let (tenant, sale, offer, lane) = (row.number()?, row.int()?, row.int()?, row.int()?);
        let share = Share { warehouse: row.int()?, sku: row.int()?, units: row.int()? };
        let (sold, settled_ms) = (Sold { sale, offer, lane, share }, row.int()?);
        if let Err(error) = look(catalog, (tenant, now_ms), sold, settled_ms).await {
            tracing::warn!(%error, tenant, sale, offer, "what came back after a sale is not booked yet; it is tried again");
            later(catalog, (tenant, now_ms), sold).await?;
        }
    }
    Ok(())
}

async fn look<P: Ports>(
    catalog: &Catalog<P>,
    (tenant, now_ms): (u32, i64),
    sold: Sold,
    settled_ms: i64,
) -> Result<(), Refused> {
    let Sold { sale, offer, share, .. } = sold;
    let age_ms = now_ms - settled_ms;
    if age_ms > WATCHED_MS {
        catalog.sql().exec(FORGET, vec![tenant.into(), sale.into(), offer.into()]).await?;
        return Ok(());
    }
    let lane = LaneId::new(sold.lane.cast_unsigned()).map_err(|error| SqlError::Broken(error.to_string().into()))?;
    let row = catalog.selling().ledger.lane(lane).await?;
    let row = row.and_then(|row| row.offers.into_iter().find(|row| row.offer.stored() == offer));
    // It sells no more: what the ledger says only falls. Without a row there is nothing to compare.
    let now = row.map_or(Ok(share.units), |row| stored(row.sold))?.min(share.units);
    let next_ms = now_ms + LOOK_MS.max(age_ms / LOOK_SHARE);
    let mut tx = catalog.sql().begin().await?;
    let seen = [now, next_ms, tenant.into(), sale, offer, share.units].map(Value::from);
    if tx.exec(SEEN, seen.into()).await? != 1 {
        // Another was quicker.
        tx.rollback().await;
        return Ok(());
    }
    if now < share.units {
        let by = By { tenant, actor: "settlement".to_owned(), now_ms };
        let reference = format!("sale:{sale}:{offer}:returned:{}-{now}", share.units);
        take_back(&mut tx, &by, &reference, offer, &[Share { units: share.units - now, ..share }]).await?;
    }
    Ok(tx.commit().await?)
}

/// Not at once again.
async fn later<P: Ports>(catalog: &Catalog<P>, (tenant, now_ms): (u32, i64), sold: Sold) -> Result<(), SqlError> {
    let units = sold.share.units;
    let seen = [units, now_ms + LOOK_MS, tenant.into(), sold.sale, sold.offer, units].map(Value::from);
    catalog.sql().exec(SEEN, seen.into()).await.map(drop)
}
