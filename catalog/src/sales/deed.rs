//! What is done to a sale without a request: a step of its life, or another value of one member.

use kit::clock::Clock as _;
use store::sql::{Sql, stored};

use super::{
    check,
    edit::{Asked, Edit, apply},
    life::State,
    row::{COLUMNS, Kept},
    setting::Setting,
};
use crate::{change::Change, ports::Ports, refused::Refused, service::Catalog};

/// What is done.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Publish,
    Pause,
    Resume,
    Close,
    Set(Setting),
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
