//! What is done to a sale without a request: a step of its life, or another value of one member.

use store::sql::Sql;

use super::{
    check,
    edit::{Asked, Edit, apply},
    row::Kept,
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

/// When the window of a sale is over, in milliseconds since 1970.
///
/// # Errors
/// `not_found`; [`Refused::Sql`].
pub(crate) async fn closes_at<P: Ports>(catalog: &Catalog<P>, tenant: u32, sale: i64) -> Result<u64, Refused> {
    Ok(Kept::find(catalog.sql(), tenant, sale).await?.terms.closes_at)
}
