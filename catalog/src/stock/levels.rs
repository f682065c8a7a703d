//! The routes of levels: lists; thresholds; and the compare-and-set of what was counted.

use std::collections::BTreeSet;

use kit::{
    access::Permission::{ReadStock, WriteStock},
    api::{Access, Call, Route, tagged},
    clock::Clock as _,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply, wrong_parameter},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::Deserialize;
use store::sql::{Sql as _, Tx, loaded, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    book::{Book, Note},
    key::{By, Key},
    level::Act,
    names,
    shown::{self, Codes, StockLevel, Wanted},
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// What was counted. One of the expected members is given, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StockSet {
    /// The SKU's code.
    #[schema(min_length = 1, max_length = 64)]
    sku: String,
    /// The warehouse's code.
    #[schema(min_length = 1, max_length = 64)]
    warehouse: String,
    /// How many lie there.
    #[schema(minimum = 0, maximum = 1000000000000_i64)]
    on_hand: i64,
    /// How many lay there when they were counted.
    #[schema(minimum = 0, maximum = 1000000000000_i64, nullable = false)]
    expected_on_hand: Option<i64>,
    /// The level's version when they were counted; 0 when there was none.
    #[schema(minimum = 0, maximum = 9007199254740991_i64, nullable = false)]
    expected_version: Option<i64>,
    /// Why, for the ledger.
    #[schema(max_length = 200, nullable = false)]
    reason: Option<String>,
    /// A number of the merchant's, for the ledger.
    #[schema(max_length = 191, nullable = false)]
    reference: Option<String>,
}

/// When stock is low.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StockThreshold {
    /// Below so many available units; null for never.
    #[schema(minimum = 1, maximum = 1000000000000_i64, required = true)]
    threshold: Option<i64>,
}

#[derive(OpenApi)]
#[openapi(paths(list, of_sku, show, set, set_threshold))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadStock), Access::Needs(WriteStock));
    vec![
        Mount::get("/v1/stock", "stock", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::post("/v1/stock/set", "set_stock", Route::new(write, |catalog, call| Box::pin(set(catalog, call)))),
        Mount::get(
            "/v1/stock/{sku}",
            "stock_of_sku",
            Route::new(read, |catalog, call| Box::pin(of_sku(catalog, call))),
        ),
        Mount::get(
            "/v1/stock/{sku}/{warehouse}",
            "stock_level",
            Route::new(read, |catalog, call| Box::pin(show(catalog, call))),
        ),
        Mount::put(
            "/v1/stock/{sku}/{warehouse}/threshold",
            "set_stock_threshold",
            Route::new(write, |catalog, call| Box::pin(set_threshold(catalog, call))),
        ),
    ]
}

/// Stock, by SKU and warehouse.
#[utoipa::path(
    get, path = "/v1/stock", operation_id = "stock", tag = "stock", security(("merchant" = [])),
    params(
        ("sku" = Option<String>, Query, description = "A SKU's code."),
        ("warehouse" = Option<String>, Query, description = "A warehouse's code."),
        ("low" = Option<bool>, Query, description = "`true`: below its threshold; `false`: not."),
        PageAsked
    ),
    responses((status = 200, body = inline(Page<StockLevel>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["sku", "warehouse", "low", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let low = match query.get("low") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(wrong_parameter("low", "give `true` or `false`").into()),
    };
    let wanted = Wanted { sku: query.get("sku"), warehouse: query.get("warehouse"), low };
    let of = (call.actor.tenant, stored(catalog.clock().now_ms())?);
    Ok(reply::json(StatusCode::OK, &shown::page(catalog.sql(), of, wanted, &asked).await?))
}

/// Stock of a SKU in each warehouse.
#[utoipa::path(
    get, path = "/v1/stock/{sku}", operation_id = "stock_of_sku", tag = "stock", security(("merchant" = [])),
    params(("sku" = String, Path, description = "Its number."), PageAsked),
    responses((status = 200, body = inline(Page<StockLevel>)), Read)
)]
async fn of_sku<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let sku: u32 = call.part("sku")?;
    let asked = call.page()?;
    let known = catalog.sql().rows(names::SKU, vec![call.actor.tenant.into(), sku.into()]).await?;
    if known.is_empty() {
        return Err(Refused::not_found("SKU"));
    }
    let of = (call.actor.tenant, stored(catalog.clock().now_ms())?);
    Ok(reply::json(StatusCode::OK, &shown::page_of_sku(catalog.sql(), of, sku.into(), &asked).await?))
}

/// Stock of a SKU in a warehouse, with its bins and batches.
#[utoipa::path(
    get, path = "/v1/stock/{sku}/{warehouse}", operation_id = "stock_level", tag = "stock",
    security(("merchant" = [])),
    params(
        ("sku" = String, Path, description = "Its number."),
        ("warehouse" = String, Path, description = "Its number.")
    ),
    responses((status = 200, body = StockLevel), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let key = Key { warehouse: call.part::<u32>("warehouse")?.into(), sku: call.part::<u32>("sku")?.into() };
    let (tenant, now_ms) = (call.actor.tenant, stored(catalog.clock().now_ms())?);
    let level = shown::find(catalog.sql(), (tenant, now_ms), key).await?;
    let level = level.ok_or_else(|| Refused::not_found("stock of this SKU in this warehouse"))?;
    let version = loaded(level.version)?;
    Ok(tagged(reply::json(StatusCode::OK, &level), version))
}

/// Sets what is on hand, if it is still what it was when it was counted. A change since is refused
/// with what is there now.
#[utoipa::path(
    post, path = "/v1/stock/set", operation_id = "set_stock", tag = "stock", security(("merchant" = [])),
    request_body = StockSet, params(IdempotencyKey),
    responses((status = 200, body = StockLevel), Changed, Created)
)]
async fn set<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: StockSet = call.json()?;
    if asked.expected_on_hand.is_none() && asked.expected_version.is_none() {
        return Err(Refused::field(
            "expected_on_hand",
            "give it, or `expected_version`: what you saw when you counted",
        ));
    }
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let by = By { tenant: change.tenant(), actor: call.actor.who.to_string(), now_ms: stored(change.now_ms)? };
    let (now_ms, codes) = (by.now_ms, Codes { sku: &asked.sku, warehouse: &asked.warehouse });
    let key = key_of(&mut change.tx, by.tenant, codes).await?;
    let mut book = Book::open(&mut change.tx, by, &BTreeSet::from([key])).await?;
    let shown = |book: &Book, more| {
        let (level, version) = book.level(key).ok_or_else(|| Refused::not_found("stock"))?;
        Ok::<_, Refused>(StockLevel::of(key, codes, (level, version + more), now_ms)?)
    };
    let before = shown(&book, 0)?;
    let differs = |expected: Option<i64>, found: i64| expected.is_some_and(|expected| expected != found);
    if differs(asked.expected_on_hand, before.on_hand) || differs(asked.expected_version, before.version) {
        return Err(Refused::stale(&before));
    }
    let note =
        Note { kind: "set", reference: asked.reference.unwrap_or_default(), reason: asked.reason.unwrap_or_default() };
    let steps = book.apply(key, Act::Set { on_hand: asked.on_hand, is_feed: false }, &note).map_err(|shortage| {
        let problem = Problem::new(Code::Conflict, format!("on_hand cannot be that: {shortage}"));
        Refused::from(problem.with_field("on_hand", shortage.to_string()).with_current(&before))
    })?;
    let after = shown(&book, i64::from(steps > 0))?;
    book.close(&mut change.tx, "").await?;
    if steps > 0 {
        change.record("stock.set", target(key), Some(&before), Some(&after))?;
    }
    let answer = Answer::ok(&after)?;
    Ok(tagged(change.commit(answer).await?, loaded(after.version)?))
}

/// Sets below how many available units stock is low. It may be set before there is any.
#[utoipa::path(
    put, path = "/v1/stock/{sku}/{warehouse}/threshold", operation_id = "set_stock_threshold", tag = "stock",
    security(("merchant" = [])), request_body = StockThreshold,
    params(
        ("sku" = String, Path, description = "Its number."),
        ("warehouse" = String, Path, description = "Its number."),
        ("If-Match" = Option<String>, Header)
    ),
    responses((status = 200, body = StockLevel), Changed)
)]
async fn set_threshold<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let key = Key { warehouse: call.part::<u32>("warehouse")?.into(), sku: call.part::<u32>("sku")?.into() };
    let asked: StockThreshold = call.json()?;
    let expected = call.expected_version()?.map(stored).transpose()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let by = By { tenant: change.tenant(), actor: call.actor.who.to_string(), now_ms: stored(change.now_ms)? };
    let now_ms = by.now_ms;
    let (sku, warehouse) = names::codes(&mut change.tx, by.tenant, key).await?;
    let codes = Codes { sku: &sku, warehouse: &warehouse };
    let mut book = Book::open(&mut change.tx, by, &BTreeSet::from([key])).await?;
    let (level, version) = book.level(key).ok_or_else(|| Refused::not_found("stock"))?;
    let before = StockLevel::of(key, codes, (level, version), now_ms)?;
    if expected.is_some_and(|expected| expected != version) {
        return Err(Refused::stale(&before));
    }
    book.set_threshold(key, asked.threshold);
    let is_changed = before.threshold != asked.threshold;
    let (level, version) = book.level(key).ok_or_else(|| Refused::not_found("stock"))?;
    let after = StockLevel::of(key, codes, (level, version + i64::from(is_changed)), now_ms)?;
    book.close(&mut change.tx, "").await?;
    if is_changed {
        change.record("stock.threshold", target(key), Some(&before), Some(&after))?;
    }
    let answer = Answer::ok(&after)?;
    Ok(tagged(change.commit(answer).await?, loaded(after.version)?))
}

fn target(key: Key) -> String {
    format!("stock:{}:{}", key.sku, key.warehouse)
}

/// The level of these codes.
async fn key_of<T: Tx>(tx: &mut T, tenant: u32, codes: Codes<'_>) -> Result<Key, Refused> {
    let skus = names::skus(tx, tenant, &BTreeSet::from([codes.sku])).await?;
    let warehouses = names::warehouses(tx, tenant, &BTreeSet::from([codes.warehouse])).await?;
    match (skus.get(codes.sku), warehouses.get(codes.warehouse)) {
        (Some(sku), Some(warehouse)) => Ok(Key { warehouse: warehouse.number, sku: *sku }),
        (sku, warehouse) => {
            let wrong = Problem::new(Code::InvalidRequest, "the body names what is not there; see `errors`");
            let wrong = if sku.is_none() { wrong.with_field("sku", "there is no such SKU") } else { wrong };
            let message = "there is no such warehouse";
            Err(if warehouse.is_none() { wrong.with_field("warehouse", message) } else { wrong }.into())
        }
    }
}
