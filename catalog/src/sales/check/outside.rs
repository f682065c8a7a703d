//! What is known beyond the databases of rows: the lanes as their stock servers have them, what the
//! engines told, and whether the order service finds the shop payable.

use std::collections::{BTreeMap, HashMap};

use domain::stock::{LaneMode, LaneView};
use store::ledger::{EngineSeen, LaneRow};

use super::super::{publishing::id_of, row::Kept};
use crate::{
    ports::Ports,
    readiness::{Payable, StockLane, Units},
    refused::Refused,
    service::Catalog,
};

/// The engines that live, with the version by which each sells the sale.
///
/// # Errors
/// [`Refused::Sql`].
pub(super) async fn engines<P: Ports>(catalog: &Catalog<P>, kept: &Kept) -> Result<Vec<EngineSeen>, Refused> {
    Ok(catalog.selling().ledger.engines(id_of(kept.sale)?).await?)
}

/// The lanes that the ledger has, as their stock servers have them, by number. `away`: why one of
/// them did not answer; then no other is asked, each of which would be waited for.
pub(super) async fn stock<P: Ports>(
    catalog: &Catalog<P>,
    kept: &Kept,
    lanes: &BTreeMap<i64, (LaneRow, bool)>,
    away: &mut Option<String>,
) -> HashMap<i64, StockLane> {
    let mut found = HashMap::new();
    let Some(views) = catalog.lanes() else { return found };
    for (number, (row, _)) in lanes {
        if away.is_some() {
            break;
        }
        match views.view(row.lane).await {
            Ok(view) => drop(found.insert(*number, compared(kept, row, &view))),
            Err(error) => *away = Some(error.to_string()),
        }
    }
    found
}

/// Whether the tenant can be paid. `away`: what is known instead, because the order service did not
/// answer or is not to be waited for.
pub(super) async fn payable<P: Ports>(catalog: &Catalog<P>, tenant: u32, away: &mut Option<Payable>) -> Payable {
    if let Some(known) = away {
        return known.clone();
    }
    let Some(orders) = catalog.orders() else { return Payable::Unasked };
    match orders.has_account(tenant).await {
        Ok(true) => Payable::Yes,
        Ok(false) => Payable::No,
        Err(why) => away.insert(Payable::Silent(why)).clone(),
    }
}

/// A lane with the units of its offers at both ends.
fn compared(kept: &Kept, row: &LaneRow, view: &LaneView) -> StockLane {
    let units = row.offers.iter().map(|offer| {
        let known = view.offers.iter().find(|(known, ..)| *known == offer.offer);
        Units {
            field: field_of(kept, offer.offer.stored()),
            stock: known.map(|(_, left, allotment)| (*left, *allotment)),
            allotment: offer.allotment,
            sold: offer.sold,
        }
    });
    StockLane {
        is_open: view.mode == LaneMode::Open { epoch: row.epoch },
        journal: view.journal_len,
        units: units.collect(),
    }
}

/// Where an offer stands in the terms; empty where it does not.
fn field_of(kept: &Kept, offer: i64) -> String {
    let lanes = kept.terms.lanes.iter().enumerate();
    let mut places = lanes.flat_map(|(place, lane)| {
        lane.offers.iter().enumerate().filter(|(_, of)| of.id == offer).map(move |(at, _)| (place, at))
    });
    places.next().map(|(place, at)| format!("lanes[{place}].offers[{at}]")).unwrap_or_default()
}
