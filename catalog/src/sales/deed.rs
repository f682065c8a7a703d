//! What is done to a sale without a request: a step of its life, or another value of one member.

use kit::clock::Clock as _;
use store::sql::{Sql, stored};

use super::{
    check,
    edit::{Asked, Edit, apply},
    life::State,
    row::{COLUMNS, Kept},
    terms::{LaneTerms, OfferTerms, Terms},
};
use crate::{change::Change, ports::Ports, products::texts::Price, refused::Refused, service::Catalog};

/// What is done.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Publish,
    Pause,
    Resume,
    Close,
    Set(Setting),
}

/// Another value of one member of a lane, or of its offer.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The lane's code; it may be left out where only one comes into question.
    pub(crate) lane: Option<String>,
    /// The SKU's code, for what is an offer's.
    pub(crate) sku: Option<String>,
    pub(crate) to: To,
}

/// The value.
#[derive(Debug, Clone)]
pub(crate) enum To {
    Price(Price),
    Allotment(u64),
    Rate(u32),
    Limit(u32),
    Paused(bool),
}

/// Does it in the change that `change` begins, with all that stands in it already; `None`: it is
/// not to be done any more. Whether it was done.
///
/// # Errors
/// As a request for it; nothing is done then. [`Refused::Sql`].
pub(crate) async fn act<P: Ports>(
    catalog: &Catalog<P>,
    change: impl AsyncFnOnce() -> Result<Option<Change<<P::Sql as Sql>::Tx>>, Refused>,
    (tenant, sale): (u32, i64),
    deed: Deed,
) -> Result<bool, Refused> {
    let before = Kept::find(catalog.sql(), tenant, sale).await?;
    let red = match deed {
        Deed::Publish => check::before_publishing(catalog, tenant, &before).await?,
        _ => Vec::new(),
    };
    let edit = match deed {
        Deed::Publish => Edit::Publish,
        Deed::Pause => Edit::Pause(true),
        Deed::Resume => Edit::Pause(false),
        Deed::Close => Edit::Close,
        Deed::Set(setting) => Edit::Set(setting),
    };
    let Some(change) = change().await? else { return Ok(false) };
    let asked = Asked { edit, expected: None, is_dry: false, red };
    apply(catalog, change, sale, asked).await.map(|_answer| true)
}

/// A sale, as far as a stop goes.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) sale: i64,
    pub(crate) code: String,
    pub(crate) state: State,
}

/// The sales of a tenant that buyers know and whose window is not over, or the one that is named,
/// whatever its state.
///
/// # Errors
/// `not_found`; [`Refused::Sql`].
pub(crate) async fn summaries<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    sale: Option<i64>,
) -> Result<Vec<Summary>, Refused> {
    let now_ms = catalog.clock().now_ms();
    let of = |kept: Kept| Summary { sale: kept.sale, state: kept.state(now_ms), code: kept.code };
    if let Some(sale) = sale {
        return Ok(vec![of(Kept::find(catalog.sql(), tenant, sale).await?)]);
    }
    let query = format!("SELECT {COLUMNS} FROM sales WHERE tenant = ? AND closes_at > ? ORDER BY sale");
    let rows = catalog.sql().rows(&query, vec![tenant.into(), stored(now_ms)?.into()]).await?;
    let kept = rows.into_iter().map(Kept::read).collect::<Result<Vec<_>, _>>()?;
    let is_known = |of: &Summary| matches!(of.state, State::Published | State::Open | State::Paused);
    Ok(kept.into_iter().map(of).filter(is_known).collect())
}

/// When the window of a sale is over, in milliseconds since 1970.
///
/// # Errors
/// `not_found`; [`Refused::Sql`].
pub(crate) async fn closes_at<P: Ports>(catalog: &Catalog<P>, tenant: u32, sale: i64) -> Result<u64, Refused> {
    Ok(Kept::find(catalog.sql(), tenant, sale).await?.terms.closes_at)
}

impl Setting {
    /// Sets it in these terms.
    ///
    /// # Errors
    /// `conflict` when there is no such lane or offer, or several.
    pub(super) fn apply(self, terms: &mut Terms) -> Result<(), Refused> {
        let Self { lane, sku, to } = self;
        let lanes = terms.lanes.iter_mut().filter(|of| lane.as_ref().is_none_or(|lane| *lane == of.code));
        if let To::Limit(limit) = to {
            one_lane(lanes)?.limit_per_buyer = limit;
            return Ok(());
        }
        let offers = lanes.flat_map(|lane| &mut lane.offers).filter(|of| sku.as_ref() == Some(&of.sku));
        let offer = one_offer(offers)?;
        match to {
            To::Price(price) => offer.price = price,
            To::Allotment(units) => offer.allotment = units,
            To::Rate(rate) => offer.rate_per_s = rate,
            To::Paused(paused) => offer.paused = paused,
            To::Limit(_) => {}
        }
        Ok(())
    }
}

fn one_lane<'t>(mut lanes: impl Iterator<Item = &'t mut LaneTerms>) -> Result<&'t mut LaneTerms, Refused> {
    match (lanes.next(), lanes.next()) {
        (Some(lane), None) => Ok(lane),
        (None, _) => Err(Refused::conflict("the sale has no such lane")),
        _ => Err(Refused::conflict("the sale has several lanes: name one")),
    }
}

fn one_offer<'t>(mut offers: impl Iterator<Item = &'t mut OfferTerms>) -> Result<&'t mut OfferTerms, Refused> {
    match (offers.next(), offers.next()) {
        (Some(offer), None) => Ok(offer),
        (None, _) => Err(Refused::conflict("the sale has no offer of this SKU in this lane")),
        _ => Err(Refused::conflict("the SKU stands in several lanes: name one")),
    }
}
