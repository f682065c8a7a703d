//! The routes of scheduled actions.

use kit::{
    api::Call,
    http::{Body, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use store::sql::{Row, Sql as _, Tx as _};
use utoipa::OpenApi;

use super::{
    ACTIONS,
    bodies::{NewAction, Shown, State},
    row::{COLUMNS, Kept},
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    ports::Ports,
    refused::Refused,
    sales,
    service::Catalog,
};

/// Actions of a sale that wait.
const WAITING_MAX: i64 = 100;

const WAITING: &str = "SELECT COUNT(*) FROM sale_actions WHERE tenant = ? AND sale = ? AND is_open = 1";

#[derive(OpenApi)]
#[openapi(paths(list, create, cancel))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The scheduled actions of a sale by number, also those that are over.
#[utoipa::path(
    get, path = "/v1/merchant/sales/{sale}/actions", operation_id = "sale_actions", tag = "sales",
    security(("merchant" = [])), params(("sale" = String, Path, description = "Its number."), PageAsked),
    responses((status = 200, body = inline(Page<Shown>)), Read)
)]
pub(super) async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let asked = PageAsked::of(&call.query(&["cursor", "limit"])?)?;
    sales::closes_at(catalog, tenant, sale).await?;
    let query = format!(
        "SELECT {COLUMNS} FROM sale_actions WHERE tenant = ? AND sale = ? AND action > ? ORDER BY action LIMIT ?"
    );
    let after = Page::<Shown>::after(&asked)?;
    let values = vec![tenant.into(), sale.into(), after.into(), (asked.limit + 1).into()];
    let rows = catalog.sql().rows(&query, values).await?.into_iter();
    let found = rows.map(|row: Row| Kept::read(row)).collect::<Result<Vec<_>, _>>()?;
    let page = Page::new(found, &asked, |kept: &Kept| kept.action.to_string());
    Ok(reply::json(StatusCode::OK, &page.map(|kept| kept.shown())))
}

/// Schedules an action. It is done at its moment with the permissions of who scheduled it.
#[utoipa::path(
    post, path = "/v1/merchant/sales/{sale}/actions", operation_id = "new_sale_action", tag = "sales",
    security(("merchant" = [])), request_body = NewAction,
    params(("sale" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 201, body = Shown), Created)
)]
pub(super) async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let asked: NewAction = call.json()?;
    asked.deed()?;
    let at = sales::epoch_ms(&asked.at)
        .ok_or_else(|| Refused::field("at", "is no moment; give it as in 2027-01-31T12:00:00Z"))?;
    sales::closes_at(catalog, tenant, sale).await?;
    let action = catalog.numbers().take(ACTIONS).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    if at <= change.now_ms {
        return Err(Refused::field("at", "is over; give a moment in the future"));
    }
    let waiting = change.tx.rows(WAITING, vec![tenant.into(), sale.into()]).await?.into_iter().next();
    if waiting.map_or(Ok(0), |mut row| row.int())? >= WAITING_MAX {
        return Err(Refused::conflict("100 actions of this sale wait already; cancel one"));
    }
    let (state, created_by) = (State::Waiting, call.actor.who.to_string());
    let reason = String::new();
    let kept = Kept { action, sale, asked, state, next_at: at, attempts: 0, reason, created_by, version: 1 };
    kept.insert(&mut change.tx, tenant, change.now_ms).await?;
    let shown = kept.shown();
    change.record("sale_action.create", format!("sale_action:{action}"), None, Some(&shown))?;
    change.commit(Answer::created(format!("/v1/merchant/sales/{sale}/actions/{action}"), &shown)?).await
}

/// Cancels an action that waits.
#[utoipa::path(
    delete, path = "/v1/merchant/sales/{sale}/actions/{action}", operation_id = "cancel_sale_action", tag = "sales",
    security(("merchant" = [])),
    params(
        ("sale" = String, Path, description = "The sale's number."),
        ("action" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)
    ),
    responses((status = 204, description = "It is not done."), Changed)
)]
pub(super) async fn cancel<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let (action, expected): (i64, _) = (call.part("action")?, call.expected_version()?);
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let before = Kept::lock(&mut change.tx, tenant, action).await?;
    if before.sale != sale {
        return Err(Refused::not_found("scheduled action"));
    }
    let shown = before.shown();
    Refused::unless_seen(expected, before.version, &shown)?;
    match before.state {
        State::Waiting => {}
        // Cancelled before: the same call again.
        State::Cancelled => return Ok(reply::empty(StatusCode::NO_CONTENT)),
        State::Done | State::Failed => return Err(Refused::conflict("the action is over; it cannot be cancelled")),
    }
    let after = Kept { state: State::Cancelled, version: before.version + 1, ..before };
    after.save(&mut change.tx, tenant, change.now_ms).await?;
    let target = format!("sale_action:{action}");
    change.record("sale_action.cancel", target, Some(&shown), Some(&after.shown()))?;
    change.commit(Answer::gone()).await
}
