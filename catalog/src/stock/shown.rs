//! What there is, as routes and fields of GraphQL show it.

use std::sync::LazyLock;

use kit::{clock::rfc3339, http::PageAsked, problem::Problem};
use serde::Serialize;
use store::sql::{Fixed, Row, SqlError, Value, loaded};
use utoipa::ToSchema;

use super::{
    key::Key,
    level::{Level, Position, Spot},
};
use crate::{
    document::{Page, Pages},
    reading::{Reading, with},
    refused::Refused,
};

/// What is shown of levels, with the codes of what they are of, which are there as long as the
/// level is: the joins are outer ones so that the levels are read first, in their order. The first
/// parameter is the time.
const COLUMNS: &str = "SELECT l.sku, s.code, l.warehouse, w.code, l.on_hand, l.allotted, l.unshipped, \
     COALESCE((SELECT CAST(SUM(p.units) AS SIGNED) FROM inventory_positions p JOIN inventory_batches b \
     ON b.tenant = p.tenant AND b.batch = p.batch WHERE p.tenant = l.tenant AND p.warehouse = l.warehouse \
     AND p.sku = l.sku AND b.expires_at <= ?), 0), l.threshold, l.is_low, l.version, l.changed_at";
const JOINS: &str = "LEFT JOIN skus s ON s.tenant = l.tenant AND s.sku = l.sku \
                     LEFT JOIN inventory_warehouses w ON w.tenant = l.tenant AND w.warehouse = l.warehouse \
                     WHERE l.tenant = ?";
/// The first levels of each SKU.
static OF_SKUS: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new(format!(
        "{COLUMNS} FROM (SELECT i.*, ROW_NUMBER() OVER (PARTITION BY i.sku ORDER BY i.warehouse) AS place \
         FROM inventory_levels i WHERE i.tenant = ? AND i.warehouse > ? AND i.sku IN ([?,])) l {JOINS} \
         AND l.place <= ? ORDER BY l.sku, l.warehouse"
    ))
});
const POSITIONS: &str = "SELECT p.bin, i.code, p.batch, b.code, p.units, b.expires_at FROM inventory_positions p \
                         LEFT JOIN inventory_places i ON i.tenant = p.tenant AND i.place = p.bin \
                         LEFT JOIN inventory_batches b ON b.tenant = p.tenant AND b.batch = p.batch \
                         WHERE p.tenant = ? AND p.warehouse = ? AND p.sku = ?";

/// What there is of a SKU in a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct StockLevel {
    sku_id: String,
    /// The SKU's code.
    sku: String,
    warehouse_id: String,
    /// The warehouse's code.
    warehouse: String,
    /// Units that lie there.
    pub(super) on_hand: i64,
    /// Of these, allotted to offers.
    allotted: i64,
    /// Of these, accepted by buyers and still to be shipped.
    unshipped: i64,
    /// Units of batches that are expired.
    expired: i64,
    /// On hand without the expired, the allotted and the unshipped; never below zero.
    available: i64,
    /// Below this it is low.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) threshold: Option<i64>,
    /// Whether it went below its threshold.
    low: bool,
    /// Rises with each change; also the ETag.
    pub(super) version: i64,
    /// RFC 3339.
    changed_at: String,
    /// Of one level: what lies in which bin and of which batch, what expires first first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    positions: Option<Vec<StockPosition>>,
}

/// Units in a bin, of a batch, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct StockPosition {
    /// The bin's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bin: Option<String>,
    /// The batch's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    batch: Option<String>,
    units: i64,
    /// From then on they are not available; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<String>,
}

/// The codes of a level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes<'a> {
    pub(super) sku: &'a str,
    pub(super) warehouse: &'a str,
}

impl StockLevel {
    /// A level of a book.
    pub(super) fn of(
        key: Key,
        codes: Codes<'_>,
        (level, version): (&Level, i64),
        now_ms: i64,
    ) -> Result<Self, SqlError> {
        Ok(Self {
            sku_id: key.sku.to_string(),
            sku: codes.sku.to_owned(),
            warehouse_id: key.warehouse.to_string(),
            warehouse: codes.warehouse.to_owned(),
            on_hand: level.units.on_hand,
            allotted: level.units.allotted,
            unshipped: level.units.unshipped,
            expired: level.expired(now_ms),
            available: level.available(now_ms).max(0),
            threshold: level.threshold,
            low: level.is_low(now_ms),
            version,
            changed_at: rfc3339(loaded(now_ms)?),
            positions: None,
        })
    }

    fn read(mut row: Row) -> Result<Self, SqlError> {
        let (sku_id, sku, warehouse_id, warehouse) = (row.int()?, row.text()?, row.int()?, row.text()?);
        let (on_hand, allotted, unshipped, expired) = (row.int()?, row.int()?, row.int()?, row.int()?);
        Ok(Self {
            sku_id: sku_id.to_string(),
            sku,
            warehouse_id: warehouse_id.to_string(),
            warehouse,
            on_hand,
            allotted,
            unshipped,
            expired,
            available: (on_hand - expired - allotted - unshipped).max(0),
            threshold: row.int_or_null()?,
            low: row.int()? != 0,
            version: row.int()?,
            changed_at: rfc3339(row.number()?),
            positions: None,
        })
    }

    /// What follows it in the order of a list.
    fn cursor(&self) -> String {
        format!("{}.{}", self.sku_id, self.warehouse_id)
    }
}

/// Which levels are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// Of the SKU with this code.
    pub(crate) sku: Option<&'a str>,
    /// Of the warehouse with this code.
    pub(crate) warehouse: Option<&'a str>,
    /// Below their thresholds, or not.
    pub(crate) low: Option<bool>,
}

/// A statement under way: its text and its parameters.
struct Filtered {
    text: String,
    values: Vec<Value>,
}

impl Filtered {
    /// All levels of a tenant, as of a moment.
    fn of((tenant, now_ms): (u32, i64)) -> Self {
        let text = format!("{COLUMNS} FROM inventory_levels l {JOINS}");
        Self { text, values: vec![now_ms.into(), tenant.into()] }
    }

    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.values.extend(values);
    }

    async fn page(self, db: &dyn Reading, asked: &PageAsked) -> Result<Page<StockLevel>, Refused> {
        let Self { text, mut values } = self;
        values.push((asked.limit + 1).into());
        let rows = db.read(&format!("{text} ORDER BY l.sku, l.warehouse LIMIT ?"), values).await?;
        let levels = rows.into_iter().map(StockLevel::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::new(levels, asked, StockLevel::cursor))
    }
}

/// Levels by SKU and warehouse. `of`: the tenant, and the time, by which units expire.
///
/// # Errors
/// `invalid_request` for a cursor of somebody else; [`Refused::Sql`].
pub(crate) async fn page(
    db: &dyn Reading,
    of: (u32, i64),
    wanted: Wanted<'_>,
    asked: &PageAsked,
) -> Result<Page<StockLevel>, Refused> {
    let mut filtered = Filtered::of(of);
    if let Some(sku) = wanted.sku {
        filtered.and("s.code = ?", [sku.into()]);
    }
    if let Some(warehouse) = wanted.warehouse {
        filtered.and("w.code = ?", [warehouse.into()]);
    }
    if let Some(low) = wanted.low {
        filtered.and("l.is_low = ?", [i64::from(low).into()]);
    }
    if let Some((sku, warehouse)) = after(asked)? {
        let past = "l.sku >= ? AND (l.sku > ? OR l.warehouse > ?)";
        filtered.and(past, [sku.into(), sku.into(), warehouse.into()]);
    }
    filtered.page(db, asked).await
}

/// Levels of a SKU by warehouse.
///
/// # Errors
/// As [`page`].
pub(super) async fn page_of_sku(
    db: &dyn Reading,
    of: (u32, i64),
    sku: i64,
    asked: &PageAsked,
) -> Result<Page<StockLevel>, Refused> {
    let mut filtered = Filtered::of(of);
    filtered.and("l.sku = ?", [sku.into()]);
    if let Some((_sku, warehouse)) = after(asked)? {
        filtered.and("l.warehouse > ?", [warehouse.into()]);
    }
    filtered.page(db, asked).await
}

/// Of each of these SKUs the same page of its levels, by the SKU's number as a decimal string; in
/// one statement for up to 512 of them.
///
/// # Errors
/// As [`page`].
pub(crate) async fn of_skus(
    db: &dyn Reading,
    (tenant, now_ms): (u32, i64),
    skus: &[i64],
    asked: &PageAsked,
) -> Result<Pages<StockLevel>, Refused> {
    let after = after(asked)?.map_or(0, |(_sku, warehouse)| warehouse);
    let mut levels = Vec::new();
    for (text, skus) in OF_SKUS.padded(skus) {
        let mut values = with(&[now_ms.into(), tenant.into(), after.into()], skus);
        values.extend([tenant.into(), (asked.limit + 1).into()]);
        levels.extend(db.read(text, values).await?.into_iter().map(StockLevel::read));
    }
    let levels: Vec<StockLevel> = levels.into_iter().collect::<Result<_, _>>()?;
    Ok(Page::of_each(levels, asked, |level| level.sku_id.clone(), StockLevel::cursor))
}

/// The SKU and the warehouse that a page begins after.
fn after(asked: &PageAsked) -> Result<Option<(i64, i64)>, Box<Problem>> {
    let Some(cursor) = &asked.cursor else { return Ok(None) };
    let parsed = cursor.split_once('.').and_then(|(sku, warehouse)| Some((sku.parse().ok()?, warehouse.parse().ok()?)));
    parsed.map(Some).ok_or_else(PageAsked::wrong_cursor)
}

/// A level with its bins and batches.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn find(db: &dyn Reading, of: (u32, i64), key: Key) -> Result<Option<StockLevel>, SqlError> {
    let mut filtered = Filtered::of(of);
    filtered.and("l.warehouse = ? AND l.sku = ?", [key.warehouse.into(), key.sku.into()]);
    let rows = db.read(&filtered.text, filtered.values).await?;
    let Some(level) = rows.into_iter().next().map(StockLevel::read).transpose()? else { return Ok(None) };
    Ok(Some(StockLevel { positions: Some(positions(db, of.0, key).await?), ..level }))
}

async fn positions(db: &dyn Reading, tenant: u32, key: Key) -> Result<Vec<StockPosition>, SqlError> {
    let rows = db.read(POSITIONS, vec![tenant.into(), key.warehouse.into(), key.sku.into()]).await?;
    let read = |mut row: Row| {
        let (bin, bin_code, batch, batch_code) = (row.int()?, row.text_or_null()?, row.int()?, row.text_or_null()?);
        let position = Position { spot: Spot { bin, batch }, units: row.int()?, expires_at: row.int_or_null()? };
        Ok((position, bin_code, batch_code))
    };
    let mut read = rows.into_iter().map(read).collect::<Result<Vec<_>, SqlError>>()?;
    read.sort_by_key(|(position, ..)| (position.expires_at.unwrap_or(i64::MAX), position.spot));
    let shown = read.into_iter().map(|(position, bin, batch)| {
        let expires_at = position.expires_at.map(loaded).transpose()?.map(rfc3339);
        Ok(StockPosition { bin, batch, units: position.units, expires_at })
    });
    shown.collect()
}
