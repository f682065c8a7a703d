//! Codes, as merchants write them, and numbers, as rows have them. Codes are the tenant's own: one
//! of another tenant is not found.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use store::sql::{Fixed, Lock, Row, SqlError, Tx, Value};

use super::key::Key;
pub(crate) use crate::reading::with;
use crate::refused::Refused;

static SKUS: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("SELECT code, sku FROM skus WHERE tenant = ? AND code IN ([?,])"));
static HELD_SKUS: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("SELECT sku FROM skus WHERE tenant = ? AND sku IN ([?,])"));
static WAREHOUSES: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new("SELECT code, warehouse, state FROM inventory_warehouses WHERE tenant = ? AND code IN ([?,])")
});
static HELD_WAREHOUSES: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("SELECT warehouse FROM inventory_warehouses WHERE tenant = ? AND warehouse IN ([?,])"));
const BIN: &str = "SELECT place FROM inventory_places WHERE tenant = ? AND warehouse = ? AND kind = 'bin' AND code = ?";
const BATCH: &str = "SELECT batch, expires_at FROM inventory_batches WHERE tenant = ? AND sku = ? AND code = ?";

/// Whether there is a SKU of this number.
pub(super) const SKU: &str = "SELECT code FROM skus WHERE tenant = ? AND sku = ?";
const WAREHOUSE: &str = "SELECT code FROM inventory_warehouses WHERE tenant = ? AND warehouse = ?";

/// A warehouse, as stock is moved into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Warehouse {
    pub(crate) number: i64,
    pub(crate) is_open: bool,
}

/// The rows of a statement that takes a list, with the parameters before the list.
pub(crate) async fn listed<T: Tx, K: Copy + Into<Value>>(
    tx: &mut T,
    statement: &Fixed,
    before: &[Value],
    keys: &[K],
) -> Result<Vec<Row>, SqlError> {
    let mut rows = Vec::new();
    for (text, chunk) in statement.padded(keys) {
        rows.extend(tx.rows(text, with(before, chunk)).await?);
    }
    Ok(rows)
}

/// As [`listed`], and locks the rows. Keys come sorted.
pub(crate) async fn locked<T: Tx>(
    tx: &mut T,
    statement: &Fixed,
    before: &[Value],
    keys: &[i64],
) -> Result<Vec<Row>, SqlError> {
    let mut rows = Vec::new();
    for (text, chunk) in statement.padded(keys) {
        rows.extend(tx.lock_rows(text, with(before, chunk), Lock::Wait).await?);
    }
    Ok(rows)
}

/// The numbers of SKUs by their codes; those that do not exist are missing.
pub(crate) async fn skus<T: Tx>(
    tx: &mut T,
    tenant: u32,
    codes: &BTreeSet<&str>,
) -> Result<HashMap<String, i64>, SqlError> {
    let codes: Vec<&str> = codes.iter().copied().collect();
    let rows = listed(tx, &SKUS, &[tenant.into()], &codes).await?;
    rows.into_iter().map(|mut row| Ok((row.text()?, row.int()?))).collect()
}

/// Warehouses by their codes.
pub(crate) async fn warehouses<T: Tx>(
    tx: &mut T,
    tenant: u32,
    codes: &BTreeSet<&str>,
) -> Result<HashMap<String, Warehouse>, SqlError> {
    let codes: Vec<&str> = codes.iter().copied().collect();
    let rows = listed(tx, &WAREHOUSES, &[tenant.into()], &codes).await?;
    let read = |mut row: Row| {
        let (code, number) = (row.text()?, row.int()?);
        Ok((code, Warehouse { number, is_open: row.text()? == "open" }))
    };
    rows.into_iter().map(read).collect()
}

/// The codes of a level's SKU and warehouse.
pub(super) async fn codes<T: Tx>(tx: &mut T, tenant: u32, key: Key) -> Result<(String, String), Refused> {
    let sku = tx.rows(SKU, vec![tenant.into(), key.sku.into()]).await?.into_iter().next();
    let warehouse = tx.rows(WAREHOUSE, vec![tenant.into(), key.warehouse.into()]).await?.into_iter().next();
    match (sku, warehouse) {
        (Some(mut sku), Some(mut warehouse)) => Ok((sku.text()?, warehouse.text()?)),
        _ => Err(Refused::not_found("SKU or warehouse")),
    }
}

/// A bin of a warehouse.
pub(crate) async fn bin<T: Tx>(tx: &mut T, tenant: u32, warehouse: i64, code: &str) -> Result<Option<i64>, SqlError> {
    // Locked: nobody removes it while units are being put there.
    let rows = tx.lock_rows(BIN, vec![tenant.into(), warehouse.into(), code.into()], Lock::Wait).await?;
    rows.into_iter().next().map(|mut row| row.int()).transpose()
}

/// A batch of a SKU, and when it expires.
pub(crate) async fn batch<T: Tx>(
    tx: &mut T,
    tenant: u32,
    sku: i64,
    code: &str,
) -> Result<Option<(i64, Option<i64>)>, SqlError> {
    let rows = tx.rows(BATCH, vec![tenant.into(), sku.into(), code.into()]).await?;
    rows.into_iter().next().map(|mut row| Ok((row.int()?, row.int_or_null()?))).transpose()
}

/// Which of these warehouses and SKUs are there; they are until the transaction ends.
pub(crate) async fn hold<T: Tx>(
    tx: &mut T,
    tenant: u32,
    warehouses: &BTreeSet<i64>,
    skus: &BTreeSet<i64>,
) -> Result<(BTreeSet<i64>, BTreeSet<i64>), SqlError> {
    let (warehouses, skus): (Vec<_>, Vec<_>) = (warehouses.iter().copied().collect(), skus.iter().copied().collect());
    let warehouses = locked(tx, &HELD_WAREHOUSES, &[tenant.into()], &warehouses).await?;
    let skus = locked(tx, &HELD_SKUS, &[tenant.into()], &skus).await?;
    let numbers = |rows: Vec<Row>| rows.into_iter().map(|mut row| row.int()).collect::<Result<BTreeSet<_>, _>>();
    Ok((numbers(warehouses)?, numbers(skus)?))
}
