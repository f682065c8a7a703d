//! Lanes with their offers: added once, then changed by the log only.

use domain::id::{Epoch, LaneId, OfferId, OrderId, PartitionId, SaleId, TenantId};

use super::{LaneRow, Ledger, OfferRow};
use crate::sql::{Row, Sql, SqlError, Tx, Value, retried, stored};

// A row of a program that knew no targets has none: its allotment is what it wants. One query, so
// that lanes and offers are of one moment. LEFT: a lane without offers is still a lane.
const LANES: &str = "SELECT l.lane, l.tenant, l.sale, l.partition_id, l.epoch, l.retired_epoch, l.limit_per_buyer, \
                     COALESCE(l.limit_changed_at, 0), l.first_order, \
                     o.offer, o.allotment, COALESCE(o.target, o.allotment), o.sold, o.sale_version, o.changed_at \
                     FROM lanes l LEFT JOIN offers o ON o.lane = l.lane";
const ORDER: &str = "ORDER BY l.lane, o.offer";
// opens_at: for programs that look for order rows from there on.
const ADD_LANE: &str = "INSERT INTO lanes (lane, tenant, sale, partition_id, epoch, limit_per_buyer, opens_at) \
                        VALUES (?, ?, ?, ?, ?, ?, ?)";
const ADD_OFFER: &str =
    "INSERT INTO offers (offer, lane, allotment, target, sold, sale_version, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?)";

pub(super) const LIVING_LANES: &str =
    "SELECT lane FROM lanes WHERE (retired_epoch IS NULL OR retired_epoch <> epoch) AND lane IN ([?,])";

pub(super) const OFFERS: &str = "SELECT o.offer, o.allotment, COALESCE(o.target, o.allotment), o.sold, \
                                 o.sale_version, o.changed_at FROM offers o JOIN lanes l ON l.lane = o.lane \
                                 WHERE l.tenant = ? AND o.offer IN ([?,])";

impl<S: Sql> Ledger<S> {
    /// Those of these offers that are the tenant's and that the ledger has, in one statement for up
    /// to 512 of them.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn offers(&self, tenant: TenantId, offers: &[OfferId]) -> Result<Vec<OfferRow>, SqlError> {
        let offers: Vec<i64> = offers.iter().map(|offer| offer.stored()).collect();
        let mut found = Vec::new();
        for (query, offers) in self.texts.offers.padded(&offers) {
            let params = [tenant.stored()].into_iter().chain(offers).map(Value::from).collect();
            found.extend(self.db.rows(query, params).await?.into_iter().filter_map(|row| read_offer(row).transpose()));
        }
        found.into_iter().collect()
    }

    /// Which of these lanes are here and not retired (R14). Everything of the others is decided and
    /// stands in the rows: a lane that is not here never sold.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn living_lanes(&self, lanes: &[LaneId]) -> Result<Vec<LaneId>, SqlError> {
        let lanes: Vec<i64> = lanes.iter().map(|lane| lane.stored()).collect();
        let mut living = Vec::new();
        for (query, lanes) in self.texts.living_lanes.padded(&lanes) {
            for mut row in self.db.rows(query, lanes.into_iter().map(Value::from).collect()).await? {
                living.push(row.id(LaneId::new)?);
            }
        }
        Ok(living)
    }

    /// The lanes of a partition, by id.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn lanes(&self, partition: PartitionId) -> Result<Vec<LaneRow>, SqlError> {
        let query = format!("{LANES} WHERE l.partition_id = ? {ORDER}");
        gather(self.db.rows(&query, vec![partition.0.into()]).await?)
    }

    /// All lanes, by id: for the desk and audits.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn all_lanes(&self) -> Result<Vec<LaneRow>, SqlError> {
        gather(self.db.rows(&format!("{LANES} {ORDER}"), vec![]).await?)
    }

    /// One lane.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn lane(&self, lane: LaneId) -> Result<Option<LaneRow>, SqlError> {
        let query = format!("{LANES} WHERE l.lane = ? {ORDER}");
        gather(self.db.rows(&query, vec![lane.stored().into()]).await?).map(|mut lanes| lanes.pop())
    }

    /// Adds a lane with its offers; `false` if the lane is there, whose rows then stay as they are.
    /// `opens_at_ms`: when its sale opens as it is published now, in epoch milliseconds, for older
    /// programs.
    ///
    /// # Errors
    /// [`SqlError::KeyTaken`] when one of the offers belongs to another lane; others when the
    /// database fails.
    pub async fn add_lane(&self, row: &LaneRow, opens_at_ms: u64) -> Result<bool, SqlError> {
        retried(async || self.try_add(row, opens_at_ms).await).await
    }

    async fn try_add(&self, row: &LaneRow, opens_at_ms: u64) -> Result<bool, SqlError> {
        let mut tx = self.db.begin().await?;
        match add(&mut tx, row, opens_at_ms).await {
            Ok(true) => tx.commit().await.map(|()| true),
            undone => {
                tx.rollback().await;
                undone
            }
        }
    }
}

async fn add<T: Tx>(tx: &mut T, row: &LaneRow, opens_at_ms: u64) -> Result<bool, SqlError> {
    let params = vec![
        row.lane.stored().into(),
        row.tenant.stored().into(),
        row.sale.stored().into(),
        row.partition.0.into(),
        stored(row.epoch.0)?.into(),
        row.limit_per_buyer.into(),
        stored(opens_at_ms)?.into(),
    ];
    if !tx.insert_absent(ADD_LANE, params).await? {
        return Ok(false);
    }
    let mut offers = row.offers.clone();
    offers.sort_unstable_by_key(|offer| offer.offer);
    for offer in offers {
        let params = vec![
            offer.offer.stored().into(),
            row.lane.stored().into(),
            stored(offer.allotment)?.into(),
            stored(offer.target)?.into(),
            stored(offer.sold)?.into(),
            offer.sale_version.into(),
            offer.changed_at.into(),
        ];
        tx.exec(ADD_OFFER, params).await?;
    }
    Ok(true)
}

/// Rows of a lane follow each other.
fn gather(rows: Vec<Row>) -> Result<Vec<LaneRow>, SqlError> {
    let mut lanes: Vec<LaneRow> = Vec::new();
    for mut row in rows {
        let lane = read_lane(&mut row)?;
        let offer = read_offer(row)?;
        match lanes.last_mut() {
            Some(last) if last.lane == lane.lane => last.offers.extend(offer),
            _ => lanes.push(LaneRow { offers: offer.into_iter().collect(), ..lane }),
        }
    }
    Ok(lanes)
}

fn read_lane(row: &mut Row) -> Result<LaneRow, SqlError> {
    let (lane, tenant, sale) = (row.id(LaneId::new)?, row.id(TenantId::new)?, row.id(SaleId::new)?);
    let (partition, epoch) = (PartitionId(row.number()?), row.int()?);
    Ok(LaneRow {
        lane,
        tenant,
        sale,
        partition,
        epoch: u64::try_from(epoch).map(Epoch).map_err(|_| SqlError::Broken(format!("{epoch} is no epoch").into()))?,
        is_retired: row.int_or_null()? == Some(epoch),
        limit_per_buyer: row.number()?,
        limit_changed_at: row.int()?,
        first_order: first_order(row)?,
        offers: Vec::new(),
    })
}

fn first_order(row: &mut Row) -> Result<Option<OrderId>, SqlError> {
    let Some(order) = row.int_or_null()? else { return Ok(None) };
    let id = u64::try_from(order).ok().and_then(|order| OrderId::new(order).ok());
    id.map(Some).ok_or_else(|| SqlError::Broken(format!("{order} is no order").into()))
}

/// `None` where the lane has no offer.
fn read_offer(mut row: Row) -> Result<Option<OfferRow>, SqlError> {
    let Some(offer) = row.int_or_null()? else { return Ok(None) };
    let id = u64::try_from(offer).ok().and_then(|offer| OfferId::new(offer).ok());
    Ok(Some(OfferRow {
        offer: id.ok_or_else(|| SqlError::Broken(format!("{offer} is no offer").into()))?,
        allotment: row.number()?,
        target: row.number()?,
        sold: row.number()?,
        sale_version: row.number()?,
        changed_at: row.int()?,
    }))
}
