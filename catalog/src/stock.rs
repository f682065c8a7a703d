//! Stock: warehouses, what lies in them, and every movement of it. Levels change by movements
//! alone, in one transaction with them, so that their sum is the level. Nothing is promised that is
//! not there.

use kit::{api::Route, http::Mount};
use utoipa::openapi::OpenApi;

use crate::{ports::Ports, service::Catalog};

/// What there is of a SKU in a warehouse, and what movements do to it.
mod level;

/// Which level, and how rows are written.
mod key;

/// The levels of a transaction: locked, changed, written back.
mod book;

/// Codes and numbers.
pub(crate) mod names;

/// Warehouses.
pub(crate) mod warehouses;

/// Zones and bins.
mod places;

/// Batches.
mod batches;

/// What there is, as it is shown.
pub(crate) mod shown;

/// Its routes; thresholds; what was counted.
mod levels;

/// What is moved, and the ledger of it.
mod movements;

/// What offers have.
mod offers;

/// What an ERP says.
mod feed;

/// Less than was promised.
mod conflicts;

/// What happened, for others.
mod events;

/// Levels against what they are made of.
mod reconcile;

pub use self::{
    key::By,
    offers::{Share, accept, allocate, give_back},
    reconcile::keep,
};

pub(crate) use self::offers::{accepted, allotted, in_reach, release};

/// Its part of the OpenAPI document.
pub(crate) fn document() -> OpenApi {
    let parts = [
        places::document(),
        batches::document(),
        levels::document(),
        movements::document(),
        feed::document(),
        conflicts::document(),
        events::document(),
        reconcile::document(),
    ];
    let mut document = warehouses::document();
    parts.into_iter().for_each(|part| document.merge(part));
    document
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let parts = [
        warehouses::routes(),
        places::routes(),
        batches::routes(),
        levels::routes(),
        movements::routes(),
        feed::routes(),
        conflicts::routes(),
        events::routes(),
        reconcile::routes(),
    ];
    parts.into_iter().flatten().collect()
}
