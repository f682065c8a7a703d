//! What there is of SKUs, and where it lies.

use async_graphql::{ID, SimpleObject};
use serde::Deserialize;

use super::asking::{Thing, Whole};
use crate::stock::warehouses::WarehouseState;

/// What there is of a SKU in a warehouse.
#[derive(SimpleObject, Deserialize)]
pub(super) struct StockLevel {
    sku_id: ID,
    /// The SKU's code.
    sku: String,
    warehouse_id: ID,
    /// The warehouse's code.
    warehouse: String,
    /// Units that lie there.
    on_hand: Whole,
    /// Of these, allotted to offers.
    allotted: Whole,
    /// Of these, accepted by buyers and still to be shipped.
    unshipped: Whole,
    /// Units of batches that are expired.
    expired: Whole,
    /// On hand without the expired, the allotted and the unshipped; never below zero.
    available: Whole,
    /// Below this it is low.
    threshold: Option<Whole>,
    /// Whether it went below its threshold.
    low: bool,
    /// Rises with each change.
    version: u64,
    /// RFC 3339.
    changed_at: String,
}

/// A warehouse.
#[derive(SimpleObject, Deserialize)]
pub(super) struct Warehouse {
    /// Its number.
    id: ID,
    /// The merchant's own code.
    code: String,
    /// Its name for people.
    name: String,
    state: WarehouseState,
    /// Rises with each change.
    version: u64,
    /// RFC 3339.
    created_at: String,
}

impl Thing for StockLevel {}

impl Thing for Warehouse {}
