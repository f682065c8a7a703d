//! How sales sell, as the merchants' service shows it, against the ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::Value;
use store::{
    shards::Store,
    sql::{Sql, SqlError},
};

use crate::child::wait_until;

pub use crate::merchants::{Merchants, answered};

/// How long the figures may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// The totals of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals(Value);

impl Totals {
    /// A figure by its name; 0 where there is none.
    pub fn figure(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or(0)
    }

    /// Units in live orders.
    pub fn live(&self) -> u64 {
        self.figure("accepted_units").saturating_sub(self.figure("released_units"))
    }

    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.0["refused"].as_object().map_or(0, |codes| codes.values().filter_map(Value::as_u64).sum())
    }

    /// How many purchases came to an end.
    pub fn ended(&self) -> u64 {
        self.refused() + self.figure("reserved") + self.figure("repeated")
    }
}

/// What the ledger says: units sold of each offer, and each sale with its tenant.
#[derive(Debug, Clone, Default)]
pub struct Sold {
    /// By the offer's number.
    pub offers: BTreeMap<String, u64>,
    /// Sale and tenant.
    pub sales: BTreeSet<(u64, u32)>,
}

impl Sold {
    /// Reads it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of<S: Sql>(store: &Store<S>) -> Result<Self, SqlError> {
        let lanes = store.ledger.all_lanes().await?;
        let offers = lanes.iter().flat_map(|lane| &lane.offers);
        let offers = offers.map(|offer| (offer.offer.to_string(), offer.sold)).collect();
        Ok(Self { offers, sales: lanes.iter().map(|lane| (lane.sale.get(), lane.tenant.number())).collect() })
    }
}

impl Merchants {
    /// The totals of all offers of these sales that something is counted of, by number.
    ///
    /// # Errors
    /// When there is no good answer. A sale that the service has not taken in yet has no offers.
    pub fn totals(&self, sold: &Sold) -> anyhow::Result<BTreeMap<String, Totals>> {
        let mut totals = BTreeMap::new();
        for (sale, tenant) in &sold.sales {
            let path = format!("/v1/merchant/sales/{sale}/funnel");
            let (status, funnel) = self.ask("GET", &path, &tenant.to_string(), &Value::Null)?;
            ensure!(status == 200 || status == 404, "sale {sale}: {status} {funnel}");
            for offer in funnel["offers"].as_array().into_iter().flatten() {
                let number = offer["offer"].as_str().context("an offer without a number")?;
                totals.insert(number.to_owned(), Totals(offer["totals"].clone()));
            }
        }
        Ok(totals)
    }

    /// Waits until the live units of every offer are the ledger's units sold, and `rest` holds;
    /// returns the totals then.
    ///
    /// # Errors
    /// When they do not agree in time; both are in the error.
    pub fn agree(
        &self,
        sold: &Sold,
        rest: impl Fn(&BTreeMap<String, Totals>) -> bool,
    ) -> anyhow::Result<BTreeMap<String, Totals>> {
        let mut shown = BTreeMap::new();
        let agreed = wait_until("the funnel agrees with the ledger", PATIENCE, || {
            // A service that starts does not answer yet.
            let Ok(totals) = self.totals(sold) else { return Ok(false) };
            shown = totals;
            let live = |offer: &str| shown.get(offer).map_or(0, Totals::live);
            Ok(sold.offers.iter().all(|(offer, units)| live(offer) == *units) && rest(&shown))
        });
        agreed.with_context(|| format!("{sold:?}\n{shown:#?}"))?;
        Ok(shown)
    }
}
