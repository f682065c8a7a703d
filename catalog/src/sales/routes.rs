//! The routes of sales.

use kit::{
    api::{Call, tagged},
    clock::Clock as _,
    http::{Body, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use store::sql::{Row, SqlError, Tx, Value, stored};
use utoipa::OpenApi;

use super::{
    LANES, OFFERS, SALES,
    bodies::{NewSale, SaleChange, SaleClone, moment, window},
    edit::{Edit, edit, valid},
    history::{self, Version},
    life::Step,
    publishing::terms_of,
    resolve::{self, Fresh},
    row::{COLUMNS, Kept, Shown, shown_of},
    settle::give_all_back,
    terms::Terms,
};
use crate::{
    change::{Answer, Begun, Change},
    document::{Changed, Created, Page, Read, Stepped},
    ports::Ports,
    reading::Reading,
    refused::Refused,
    service::Catalog,
    stock::By,
};

/// Purchases a second from one buyer, of a sale that does not say.
const BUYER_RATE_PER_S: u32 = 5;

#[derive(OpenApi)]
#[openapi(paths(
    list,
    create,
    show,
    change,
    remove,
    publish,
    pause,
    resume,
    close,
    clone,
    versions,
    super::check::now,
    super::check::last
))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// All sales by number, or the one of a code.
#[utoipa::path(
    get, path = "/v1/merchant/sales", operation_id = "merchant_sales", tag = "sales", security(("merchant" = [])),
    params(("code" = Option<String>, Query, description = "The one with this code."), PageAsked),
    responses((status = 200, body = inline(Page<Shown>)), Read)
)]
pub(super) async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["code", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let of = (call.actor.tenant, catalog.clock().now_ms());
    Ok(reply::json(StatusCode::OK, &page(catalog.sql(), of, query.get("code"), &asked).await?))
}

/// Sales by number; the one of this code, where it is given. `of`: the tenant, and the time, by
/// which states follow.
///
/// # Errors
/// `invalid_request` for a cursor of somebody else; [`Refused::Sql`].
pub(crate) async fn page(
    db: &dyn Reading,
    (tenant, now_ms): (u32, u64),
    code: Option<&str>,
    asked: &PageAsked,
) -> Result<Page<Shown>, Refused> {
    let mut text = format!("SELECT {COLUMNS} FROM sales WHERE tenant = ? AND sale > ?");
    let mut values: Vec<Value> = vec![tenant.into(), Page::<Shown>::after(asked)?.into()];
    if let Some(code) = code {
        text.push_str(" AND code = ?");
        values.push(code.into());
    }
    text.push_str(" ORDER BY sale LIMIT ?");
    values.push((asked.limit + 1).into());
    let rows = db.read(&text, values).await?;
    let sales = rows.into_iter().map(|row| row_of(row, now_ms)).collect::<Result<Vec<_>, _>>()?;
    let page = Page::new(sales, asked, |(number, _): &(i64, Shown)| number.to_string());
    Ok(page.map(|(_, shown)| shown))
}

/// A sale of a tenant.
///
/// # Errors
/// [`Refused::Sql`].
pub(crate) async fn find(db: &dyn Reading, (tenant, now_ms): (u32, u64), sale: i64) -> Result<Option<Shown>, Refused> {
    Ok(Kept::look(db, tenant, sale).await?.map(|kept| kept.shown(now_ms)))
}

fn row_of(row: Row, now_ms: u64) -> Result<(i64, Shown), SqlError> {
    let kept = Kept::read(row)?;
    Ok((kept.sale, kept.shown(now_ms)))
}

/// A sale.
#[utoipa::path(
    get, path = "/v1/merchant/sales/{sale}", operation_id = "merchant_sale", tag = "sales",
    security(("merchant" = [])), params(("sale" = String, Path, description = "Its number.")),
    responses((status = 200, body = Shown), Read)
)]
pub(super) async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    shown_of(catalog, call.actor.tenant, call.part("sale")?).await
}

/// Makes a sale: a draft, which nobody else sees.
#[utoipa::path(
    post, path = "/v1/merchant/sales", operation_id = "new_sale", tag = "sales", security(("merchant" = [])),
    request_body = NewSale, params(IdempotencyKey), responses((status = 201, body = Shown), Created)
)]
pub(super) async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: NewSale = call.json()?;
    let (opens_at, closes_at) = window(Some(&asked.opens_at), Some(&asked.closes_at))?;
    let sale = catalog.numbers().take(SALES).await?;
    let fresh = Fresh::take(catalog.numbers(), &asked.lanes).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    let lanes = resolve::lanes(&mut change.tx, tenant, asked.lanes, None, fresh).await?;
    let terms = Terms {
        title: asked.title.0,
        opens_at: opens_at.unwrap_or_default(),
        closes_at: closes_at.unwrap_or_default(),
        paused: false,
        buyer_rate_per_s: asked.buyer_rate_per_s.unwrap_or(BUYER_RATE_PER_S),
        limit_by: asked.limit_by,
        members_only: asked.members_only,
        visible_from: moment("visible_from", asked.visible_from.as_deref())?,
        payment_window_s: asked.payment_window_s.unwrap_or(0),
        fulfilment: asked.fulfilment,
        after_sale_days: asked.after_sale_days,
        lanes,
    };
    add(change, (sale, asked.code.0, asked.template), terms, &call.actor.who.to_string(), "sale.create").await
}

/// Makes a draft like another sale, or like an earlier version of it.
#[utoipa::path(
    post, path = "/v1/merchant/sales/{sale}/clone", operation_id = "clone_sale", tag = "sales",
    security(("merchant" = [])), request_body = SaleClone,
    params(("sale" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 201, body = Shown), Created)
)]
pub(super) async fn clone<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, number): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let asked: SaleClone = call.json()?;
    let (opens_at, closes_at) = window(Some(&asked.opens_at), Some(&asked.closes_at))?;
    let newest = Kept::find(catalog.sql(), tenant, number).await?;
    let mut terms = match asked.version.filter(|version| *version != newest.version) {
        None => newest.terms,
        Some(version) => terms_of(catalog, (tenant, number, version)).await?,
    };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let sale = catalog.numbers().take(SALES).await?;
    let mut lanes = catalog.numbers().take_many(LANES, count(terms.lanes.len())).await?;
    let mut offers = catalog.numbers().take_many(OFFERS, count(terms.offers().count())).await?;
    for lane in &mut terms.lanes {
        lane.id = lanes.next().unwrap_or_default();
        for offer in &mut lane.offers {
            offer.id = offers.next().unwrap_or_default();
        }
    }
    terms.title = asked.title.map_or(terms.title, |title| title.0);
    terms.opens_at = opens_at.unwrap_or_default();
    terms.closes_at = closes_at.unwrap_or_default();
    (terms.paused, terms.visible_from) = (false, None);
    let change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    add(change, (sale, asked.code.0, false), terms, &call.actor.who.to_string(), "sale.clone").await
}

/// Adds a draft.
async fn add<T: Tx>(
    mut change: Change<T>,
    (sale, code, is_template): (i64, String, bool),
    terms: Terms,
    actor: &str,
    action: &'static str,
) -> Result<Response<Body>, Refused> {
    let (tenant, now_ms) = (change.tenant(), change.now_ms);
    valid((tenant, sale), &terms)?;
    let kept = Kept {
        sale,
        code,
        is_template,
        terms,
        version: 1,
        published: 0,
        is_due: false,
        is_owed: false,
        is_settled: false,
        created_at: now_ms,
        updated_at: now_ms,
    };
    if !kept.insert(&mut change.tx, tenant, (action, actor)).await? {
        return Err(Refused::conflict("another sale of this tenant has this code; choose another one"));
    }
    let shown = kept.shown(now_ms);
    change.record(action, format!("sale:{sale}"), None, Some(&shown))?;
    let answer = Answer::created(format!("/v1/merchant/sales/{sale}"), &shown)?;
    Ok(tagged(change.commit(answer).await?, 1))
}

/// Changes a sale. While it runs, buyers buy by the new terms within a second.
#[utoipa::path(
    patch, path = "/v1/merchant/sales/{sale}", operation_id = "change_sale", tag = "sales",
    security(("merchant" = [])), request_body = SaleChange,
    params(("sale" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Shown), Changed)
)]
pub(super) async fn change<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: SaleChange = call.json()?;
    let fresh = Fresh::take(catalog.numbers(), asked.lanes.as_deref().unwrap_or_default()).await?;
    edit(catalog, call, Edit::Change(asked, fresh)).await
}

/// Publishes a draft: its stock is allotted, and buyers see it.
#[utoipa::path(
    post, path = "/v1/merchant/sales/{sale}/publish", operation_id = "publish_sale", tag = "sales",
    security(("merchant" = [])),
    params(
        ("sale" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header),
        ("dry_run" = Option<bool>, Query, description = "Checks all of it, shows what would be, and does nothing."),
        IdempotencyKey
    ),
    responses((status = 200, body = Shown), Stepped)
)]
pub(super) async fn publish<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    edit(catalog, call, Edit::Publish).await
}

/// Stops a sale for now.
#[utoipa::path(
    post, path = "/v1/merchant/sales/{sale}/pause", operation_id = "pause_sale", tag = "sales",
    security(("merchant" = [])),
    params(
        ("sale" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header), IdempotencyKey
    ),
    responses((status = 200, body = Shown), Stepped)
)]
pub(super) async fn pause<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    edit(catalog, call, Edit::Pause(true)).await
}

/// Lets a stopped sale go on.
#[utoipa::path(
    post, path = "/v1/merchant/sales/{sale}/resume", operation_id = "resume_sale", tag = "sales",
    security(("merchant" = [])),
    params(
        ("sale" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header), IdempotencyKey
    ),
    responses((status = 200, body = Shown), Stepped)
)]
pub(super) async fn resume<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    edit(catalog, call, Edit::Pause(false)).await
}

/// Ends a sale now. When its lanes are retired, what it did not sell returns to the warehouses.
#[utoipa::path(
    post, path = "/v1/merchant/sales/{sale}/close", operation_id = "close_sale", tag = "sales",
    security(("merchant" = [])),
    params(
        ("sale" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header), IdempotencyKey
    ),
    responses((status = 200, body = Shown), Stepped)
)]
pub(super) async fn close<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    edit(catalog, call, Edit::Close).await
}

/// Removes a draft or a template.
#[utoipa::path(
    delete, path = "/v1/merchant/sales/{sale}", operation_id = "remove_sale", tag = "sales",
    security(("merchant" = [])),
    params(("sale" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "It is gone."), Changed)
)]
pub(super) async fn remove<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let before = Kept::lock(&mut change.tx, tenant, sale).await?;
    let shown = before.shown(change.now_ms);
    Refused::unless_seen(expected, before.version, &shown)?;
    Step::Remove.allowed(before.state(change.now_ms))?;
    let by = By { tenant, actor: call.actor.who.to_string(), now_ms: stored(change.now_ms)? };
    give_all_back(&mut change.tx, &by, &before).await?;
    before.remove(&mut change.tx, tenant).await?;
    change.record(Step::Remove.action(), format!("sale:{sale}"), Some(&shown), None)?;
    change.commit(Answer::gone()).await
}

/// The versions of a sale with what each changed, the first one first.
#[utoipa::path(
    get, path = "/v1/merchant/sales/{sale}/history", operation_id = "sale_history", tag = "sales",
    security(("merchant" = [])), params(("sale" = String, Path, description = "Its number."), PageAsked),
    responses((status = 200, body = inline(Page<Version>)), Read)
)]
pub(super) async fn versions<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    history::list(catalog, call).await
}
