//! The routes of sales.

use kit::{
    api::{Call, tagged},
    clock::Clock as _,
    http::{Body, PageAsked, Response, StatusCode, reply, wrong_parameter},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Deserializer, Serialize};
use store::sql::{Row, Sql as _, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    LANES, OFFERS, SALES,
    history::{self, Difference, Version, differences},
    life::Step,
    publishing::{deliver, planned, terms_of},
    resolve::{self, Fresh},
    row::{COLUMNS, Kept, Shown},
    settle::{give_all_back, take},
    terms::{AskedLane, FulfilBy, LimitBy, Terms, epoch_ms},
};
use crate::{
    change::{Answer, Begun, Change},
    document::{Changed, Created, Page, Read},
    plans::{Quota, room_for},
    ports::Ports,
    products::{
        rules::Flaws,
        texts::{Code, Title},
    },
    refused::Refused,
    service::Catalog,
    stock::By,
};

/// Purchases a second from one buyer, of a sale that does not say.
const BUYER_RATE_PER_S: u32 = 5;

const NO_MOMENT: &str = "is no moment; give it as in 2027-01-31T12:00:00Z";

/// A new sale: a draft, until it is published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSale {
    /// The merchant's own code; one of its own in the tenant.
    code: Code,
    title: Title,
    /// The first moment at which it sells; RFC 3339.
    #[schema(max_length = 35, format = DateTime)]
    opens_at: String,
    /// The first moment at which it sells no more; RFC 3339.
    #[schema(max_length = 35, format = DateTime)]
    closes_at: String,
    /// Purchases admitted a second from one buyer; 5 when it is left out.
    #[schema(minimum = 1, maximum = 1000000, nullable = false)]
    buyer_rate_per_s: Option<u32>,
    /// What its limits count; stays once it is published.
    #[serde(default)]
    limit_by: LimitBy,
    /// Sells to members alone.
    #[serde(default)]
    members_only: bool,
    /// From when on shoppers may see it, RFC 3339, at most `opens_at`; always when it is left out.
    #[schema(max_length = 35, format = DateTime, nullable = false)]
    visible_from: Option<String>,
    /// Seconds that a buyer has to pay; the deployment's default when it is left out.
    #[schema(minimum = 60, maximum = 2592000, nullable = false)]
    payment_window_s: Option<u32>,
    #[serde(default)]
    fulfilment: FulfilBy,
    /// Days in which an order may be returned.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 366)]
    after_sale_days: u16,
    #[schema(min_items = 1, max_items = 1000)]
    lanes: Vec<AskedLane>,
    /// It is cloned, and never published itself.
    #[serde(default)]
    template: bool,
}

/// What changes of a sale; what is left out stays. Lanes, when they are given, are all of them: a
/// published lane or offer may not vanish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaleChange {
    #[schema(nullable = false)]
    title: Option<Title>,
    #[schema(max_length = 35, format = DateTime, nullable = false)]
    opens_at: Option<String>,
    #[schema(max_length = 35, format = DateTime, nullable = false)]
    closes_at: Option<String>,
    #[schema(minimum = 1, maximum = 1000000, nullable = false)]
    buyer_rate_per_s: Option<u32>,
    #[schema(nullable = false)]
    limit_by: Option<LimitBy>,
    #[schema(nullable = false)]
    members_only: Option<bool>,
    /// Null for always.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 35, format = DateTime)]
    visible_from: Option<Option<String>>,
    #[schema(minimum = 60, maximum = 2592000, nullable = false)]
    payment_window_s: Option<u32>,
    #[schema(nullable = false)]
    fulfilment: Option<FulfilBy>,
    #[schema(minimum = 0, maximum = 366, nullable = false)]
    after_sale_days: Option<u16>,
    #[schema(min_items = 1, max_items = 1000, nullable = false)]
    lanes: Option<Vec<AskedLane>>,
}

/// A sale like another one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaleClone {
    /// The code of the new one.
    code: Code,
    /// That of the other when it is left out.
    #[schema(nullable = false)]
    title: Option<Title>,
    #[schema(max_length = 35, format = DateTime)]
    opens_at: String,
    #[schema(max_length = 35, format = DateTime)]
    closes_at: String,
    /// Of which version; the newest when it is left out.
    #[schema(minimum = 1, maximum = 9007199254740991_i64, nullable = false)]
    version: Option<u64>,
}

/// What a publication would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRun {
    /// The sale as it would be.
    sale: Shown,
    /// Against what is published now.
    changes: Vec<Difference>,
}

#[derive(OpenApi)]
#[openapi(paths(list, create, show, change, remove, publish, pause, resume, close, clone, versions))]
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
    let mut text = format!("SELECT {COLUMNS} FROM sales WHERE tenant = ? AND sale > ?");
    let mut values: Vec<Value> = vec![call.actor.tenant.into(), Page::<Shown>::after(&asked)?.into()];
    if let Some(code) = query.get("code") {
        text.push_str(" AND code = ?");
        values.push(code.into());
    }
    text.push_str(" ORDER BY sale LIMIT ?");
    values.push((asked.limit + 1).into());
    let now_ms = catalog.clock().now_ms();
    let rows = catalog.sql().rows(&text, values).await?;
    let sales = rows.into_iter().map(|row| row_of(row, now_ms)).collect::<Result<Vec<_>, _>>()?;
    let page = Page::new(sales, &asked, |(number, _): &(i64, Shown)| number.to_string());
    Ok(reply::json(StatusCode::OK, &page.map(|(_, shown)| shown)))
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

async fn shown_of<P: Ports>(catalog: &Catalog<P>, tenant: u32, sale: i64) -> Result<Response<Body>, Refused> {
    let kept = Kept::find(catalog.sql(), tenant, sale).await?;
    Ok(tagged(reply::json(StatusCode::OK, &kept.shown(catalog.clock().now_ms())), kept.version))
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

/// What is done to the terms of a sale.
enum Edit {
    Change(SaleChange, Fresh),
    Publish,
    Pause(bool),
    Close,
}

impl Edit {
    fn step(&self) -> Step {
        match self {
            Self::Change(..) => Step::Change,
            Self::Publish => Step::Publish,
            Self::Pause(true) => Step::Pause,
            Self::Pause(false) => Step::Resume,
            Self::Close => Step::Close,
        }
    }

    async fn of<T: Tx>(self, change: &mut Change<T>, before: &Kept) -> Result<Terms, Refused> {
        let mut terms = before.terms.clone();
        match self {
            Self::Publish => {}
            Self::Pause(paused) => terms.paused = paused,
            Self::Close => {
                // Closed before it opened, it was open for no moment.
                terms.opens_at = terms.opens_at.min(change.now_ms.saturating_sub(1));
                terms.closes_at = change.now_ms;
            }
            Self::Change(asked, fresh) => {
                let (opens_at, closes_at) = window(asked.opens_at.as_deref(), asked.closes_at.as_deref())?;
                terms.title = asked.title.map_or(terms.title, |title| title.0);
                terms.opens_at = opens_at.unwrap_or(terms.opens_at);
                terms.closes_at = closes_at.unwrap_or(terms.closes_at);
                terms.buyer_rate_per_s = asked.buyer_rate_per_s.unwrap_or(terms.buyer_rate_per_s);
                terms.limit_by = asked.limit_by.unwrap_or(terms.limit_by);
                terms.members_only = asked.members_only.unwrap_or(terms.members_only);
                if let Some(visible_from) = asked.visible_from {
                    terms.visible_from = moment("visible_from", visible_from.as_deref())?;
                }
                terms.payment_window_s = asked.payment_window_s.unwrap_or(terms.payment_window_s);
                terms.fulfilment = asked.fulfilment.unwrap_or(terms.fulfilment);
                terms.after_sale_days = asked.after_sale_days.unwrap_or(terms.after_sale_days);
                if let Some(lanes) = asked.lanes {
                    let tenant = change.tenant();
                    terms.lanes = resolve::lanes(&mut change.tx, tenant, lanes, Some(&before.terms), fresh).await?;
                }
            }
        }
        Ok(terms)
    }
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
    responses((status = 200, body = Shown), Changed)
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
    responses((status = 200, body = Shown), Changed)
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
    responses((status = 200, body = Shown), Changed)
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
    responses((status = 200, body = Shown), Changed)
)]
pub(super) async fn close<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    edit(catalog, call, Edit::Close).await
}

async fn edit<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>, edit: Edit) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let (expected, step) = (call.expected_version()?, edit.step());
    let is_dry = step == Step::Publish && dry_run(call)?;
    let before = Kept::find(catalog.sql(), tenant, sale).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    if step == Step::Publish {
        let (now_ms, offers) = (stored(change.now_ms)?, before.terms.offers().count());
        room_for(&mut change.tx, tenant, Quota::Sales(now_ms), 1).await?;
        let offers = u32::try_from(offers).unwrap_or(u32::MAX);
        room_for(&mut change.tx, tenant, Quota::Offers(now_ms), offers).await?;
    }
    let before = Kept::lock(&mut change.tx, tenant, sale).await?;
    let shown = before.shown(change.now_ms);
    Refused::unless_seen(expected, before.version, &shown)?;
    step.allowed(before.state(change.now_ms))?;
    let terms = edit.of(&mut change, &before).await?;
    let is_to_publish = step == Step::Publish || before.is_published();
    if terms == before.terms && step != Step::Publish {
        return Ok(tagged(reply::json(StatusCode::OK, &shown), before.version));
    }
    valid((tenant, sale), &terms)?;
    let (version, updated_at) = (before.version + 1, change.now_ms);
    let mut after = Kept { terms, version, updated_at, is_due: is_to_publish, ..before.clone() };
    let mut published = None;
    if is_to_publish {
        same_sources(&before, &after)?;
        let all = catalog.selling().ledger.publications().all().await?;
        let record = planned(catalog, (tenant, sale), &after.terms, &all)?;
        published = all.into_iter().find(|known| known.id == record.id);
        let by = By { tenant, actor: call.actor.who.to_string(), now_ms: stored(change.now_ms)? };
        after.is_owed = take(&mut change.tx, &by, &after).await?;
    }
    let shown_after = after.shown(change.now_ms);
    if is_dry {
        // Dropped, the change is rolled back.
        let (known, terms) = (published.map(|known| Terms::of(&known, Some(&before.terms))), &after.terms);
        let mut changes = Vec::new();
        let known = known.map(|known| json(&known)).transpose()?;
        differences(String::new(), known.as_ref(), Some(&json(terms)?), &mut changes);
        return Ok(reply::json(StatusCode::OK, &DryRun { sale: shown_after, changes }));
    }
    let actor = call.actor.who.to_string();
    after.save(&mut change.tx, tenant, (step.action(), &actor)).await?;
    change.record(step.action(), format!("sale:{sale}"), Some(&shown), Some(&shown_after))?;
    let answer = change.commit(Answer::ok(&shown_after)?).await?;
    if !is_to_publish {
        return Ok(tagged(answer, after.version));
    }
    if let Err(error) = deliver(catalog, tenant, sale).await {
        tracing::warn!(%error, tenant, sale, "a sale is not published yet; it is tried again");
    }
    shown_of(catalog, tenant, sale).await
}

fn dry_run(call: &Call<'_>) -> Result<bool, Refused> {
    match call.query(&["dry_run"])?.get("dry_run") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(wrong_parameter("dry_run", "give true or false").into()),
    }
}

fn json(terms: &Terms) -> Result<serde_json::Value, Refused> {
    serde_json::to_value(terms).map_err(|error| Refused::Broken(error.to_string()))
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

/// The moments of a window that are given.
fn window(opens_at: Option<&str>, closes_at: Option<&str>) -> Result<(Option<u64>, Option<u64>), Refused> {
    let mut flaws = Flaws::default();
    let mut moment = |field: &str, text: Option<&str>| {
        let found = text.and_then(epoch_ms);
        if text.is_some() && found.is_none() {
            flaws.add(field, NO_MOMENT);
        }
        found
    };
    let window = (moment("opens_at", opens_at), moment("closes_at", closes_at));
    flaws.refuse().map(|()| window)
}

/// A moment, if one is given.
fn moment(field: &'static str, text: Option<&str>) -> Result<Option<u64>, Refused> {
    let read = |text| epoch_ms(text).ok_or_else(|| Refused::field(field, NO_MOMENT));
    text.map(read).transpose()
}

/// A member that is there, null or not; a missing one is `None` by default.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// The rules of a sale by itself.
fn valid((tenant, sale): (u32, i64), terms: &Terms) -> Result<(), Refused> {
    let mut flaws = Flaws::default();
    if let Err(found) = terms.draft((tenant, sale), None)?.flaws() {
        found.into_iter().for_each(|flaw| flaws.add(flaw.field, flaw.message));
    }
    flaws.refuse()
}

/// Units of an offer come from one warehouse as long as it sells.
fn same_sources(before: &Kept, after: &Kept) -> Result<(), Refused> {
    let mut flaws = Flaws::default();
    if before.is_published() {
        for (place, lane) in after.terms.lanes.iter().enumerate() {
            for (at, offer) in lane.offers.iter().enumerate() {
                let known = before.terms.offers().find(|known| known.id == offer.id);
                if known.is_some_and(|known| known.warehouse != offer.warehouse) {
                    flaws.add(
                        format!("lanes[{place}].offers[{at}].warehouse"),
                        "sells another warehouse's stock already; add the SKU in another lane for this one",
                    );
                }
            }
        }
    }
    flaws.refuse()
}
