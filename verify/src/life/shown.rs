//! What the merchants' service shows, read.

use std::time::Duration;

use anyhow::{Context, ensure};
use domain::id::{LaneId, OfferId, SaleId};
use serde_json::{Value, json};

use crate::{
    child::wait_until,
    merchants::{Merchants, Seller},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The numbers of a sale of one offer.
#[derive(Debug, Clone, Copy)]
pub struct Offered {
    /// The sale.
    pub sale: SaleId,
    /// Its lane.
    pub lane: LaneId,
    /// Its offer.
    pub offer: OfferId,
}

impl Offered {
    /// Those of a sale as it is shown.
    ///
    /// # Errors
    /// When one is missing.
    pub fn of(shown: &Value) -> anyhow::Result<Self> {
        let number = |value: &Value| Ok::<u64, anyhow::Error>(value["id"].as_str().context("no number")?.parse()?);
        let lane = &shown["terms"]["lanes"][0];
        Ok(Self {
            sale: SaleId::new(number(shown)?)?,
            lane: LaneId::new(number(lane)?)?,
            offer: OfferId::new(number(&lane["offers"][0])?)?,
        })
    }
}

/// The price of its offer.
pub(super) fn price(shown: &Value) -> Option<i64> {
    shown["terms"]["lanes"][0]["offers"][0]["price"]["amount"].as_i64()
}

/// The stock is what its movements add up to.
pub(super) fn reconciles(seller: &Seller, merchants: &Merchants) -> anyhow::Result<()> {
    let path = "/v1/stock/reconciliation";
    seller.call(merchants, ("POST", path), &json!({}))?;
    let mut run = Value::Null;
    wait_until("the stock is reconciled", PATIENCE, || {
        run = seller.get(merchants, path)?["run"].take();
        Ok(run["state"] == "done")
    })?;
    ensure!(run["found"] == 0 && run["checked"] == 1, "{run}");
    Ok(())
}

/// What was done with a sale, the first first.
pub(super) fn history(seller: &Seller, merchants: &Merchants, sale: &str) -> anyhow::Result<String> {
    let history = seller.get(merchants, &format!("{sale}/history"))?;
    let actions = history["items"].as_array().into_iter().flatten().filter_map(|item| item["action"].as_str());
    let actions: Vec<&str> = actions.map(|action| action.trim_start_matches("sale.")).collect();
    Ok(actions.join(" "))
}
