//! What there is, as its routes show it; thresholds; and the compare-and-set of what was counted.

use std::collections::BTreeSet;

use kit::{
    access::Permission::{ReadStock, WriteStock},
    api::{Access, Call, Route, tagged},
    clock::{Clock as _, rfc3339},
    http::{Body, Mount, PageAsked, Response, StatusCode, reply, wrong_parameter},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::{Row, Sql, SqlError, Tx, Value, loaded, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    book::{Book, By, Key, Note},
    level::{Act, Level, Position, Spot},
    names,
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Levels, with the codes of what they are of, which are there as long as the level is: the joins
/// are outer ones so that the levels are read first, in their order. The first parameter is the
/// time.
const LEVELS: &str = "SELECT l.sku, s.code, l.warehouse, w.code, l.on_hand, l.allotted, l.unshipped, \
     COALESCE((SELECT CAST(SUM(p.units) AS SIGNED) FROM inventory_positions p JOIN inventory_batches b \
     ON b.tenant = p.tenant AND b.batch = p.batch WHERE p.tenant = l.tenant AND p.warehouse = l.warehouse \
     AND p.sku = l.sku AND b.expires_at <= ?), 0), l.threshold, l.is_low, l.version, l.changed_at \
     FROM inventory_levels l \
     LEFT JOIN skus s ON s.tenant = l.tenant AND s.sku = l.sku \
     LEFT JOIN inventory_warehouses w ON w.tenant = l.tenant AND w.warehouse = l.warehouse WHERE l.tenant = ?";
const POSITIONS: &str = "SELECT p.bin, i.code, p.batch, b.code, p.units, b.expires_at FROM inventory_positions p \
                         LEFT JOIN inventory_places i ON i.tenant = p.tenant AND i.place = p.bin \
                         LEFT JOIN inventory_batches b ON b.tenant = p.tenant AND b.batch = p.batch \
                         WHERE p.tenant = ? AND p.warehouse = ? AND p.sku = ?";

/// What there is of a SKU in a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct StockLevel {
    sku_id: String,
    /// The SKU's code.
    sku: String,
    warehouse_id: String,
    /// The warehouse's code.
    warehouse: String,
    /// Units that lie there.
    on_hand: i64,
    /// Of these, allotted to offers.
    allotted: i64,
    /// Of these, accepted by buyers and still to be shipped.
    unshipped: i64,
    /// Units of batches that are expired.
    expired: i64,
    /// On hand without the expired, the allotted and the unshipped; never below zero.
    available: i64,
    /// Below this it is low.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    threshold: Option<i64>,
    /// Whether it went below its threshold.
    low: bool,
    /// Rises with each change; also the ETag.
    version: i64,
    /// RFC 3339.
    changed_at: String,
    /// Of one level: what lies in which bin and of which batch, what expires first first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    positions: Option<Vec<StockPosition>>,
}

/// Units in a bin, of a batch, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct StockPosition {
    /// The bin's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bin: Option<String>,
    /// The batch's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    batch: Option<String>,
    units: i64,
    /// From then on they are not available; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<String>,
}

/// The codes of a level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes<'a> {
    pub(super) sku: &'a str,
    pub(super) warehouse: &'a str,
}

impl StockLevel {
    /// A level of a book.
    pub(super) fn of(
        key: Key,
        codes: Codes<'_>,
        (level, version): (&Level, i64),
        now_ms: i64,
    ) -> Result<Self, SqlError> {
        Ok(Self {
            sku_id: key.sku.to_string(),
            sku: codes.sku.to_owned(),
            warehouse_id: key.warehouse.to_string(),
            warehouse: codes.warehouse.to_owned(),
            on_hand: level.units.on_hand,
            allotted: level.units.allotted,
            unshipped: level.units.unshipped,
            expired: level.expired(now_ms),
            available: level.available(now_ms).max(0),
            threshold: level.threshold,
            low: level.is_low(now_ms),
            version,
            changed_at: rfc3339(loaded(now_ms)?),
            positions: None,
        })
    }

    fn read(mut row: Row) -> Result<Self, SqlError> {
        let (sku_id, sku, warehouse_id, warehouse) = (row.int()?, row.text()?, row.int()?, row.text()?);
        let (on_hand, allotted, unshipped, expired) = (row.int()?, row.int()?, row.int()?, row.int()?);
        Ok(Self {
            sku_id: sku_id.to_string(),
            sku,
            warehouse_id: warehouse_id.to_string(),
            warehouse,
            on_hand,
            allotted,
            unshipped,
            expired,
            available: (on_hand - expired - allotted - unshipped).max(0),
            threshold: row.int_or_null()?,
            low: row.int()? != 0,
            version: row.int()?,
            changed_at: rfc3339(row.number()?),
            positions: None,
        })
    }

    /// What follows it in the order of a list.
    fn cursor(&self) -> String {
        format!("{}.{}", self.sku_id, self.warehouse_id)
    }
}

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

/// A statement under way: its text and its parameters.
struct Filtered {
    text: String,
    values: Vec<Value>,
}

impl Filtered {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.values.extend(values);
    }
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
        Some("true") => Some(1_i64),
        Some("false") => Some(0),
        Some(_) => return Err(wrong_parameter("low", "give `true` or `false`").into()),
    };
    let now_ms = stored(catalog.clock().now_ms())?;
    let mut filtered = Filtered { text: LEVELS.to_owned(), values: vec![now_ms.into(), call.actor.tenant.into()] };
    if let Some(sku) = query.get("sku") {
        filtered.and("s.code = ?", [sku.into()]);
    }
    if let Some(warehouse) = query.get("warehouse") {
        filtered.and("w.code = ?", [warehouse.into()]);
    }
    if let Some(low) = low {
        filtered.and("l.is_low = ?", [low.into()]);
    }
    if let Some((sku, warehouse)) = after(&asked)? {
        let past = "l.sku >= ? AND (l.sku > ? OR l.warehouse > ?)";
        filtered.and(past, [sku.into(), sku.into(), warehouse.into()]);
    }
    page(catalog, filtered, &asked).await
}

async fn page<P: Ports>(
    catalog: &Catalog<P>,
    Filtered { text, mut values }: Filtered,
    asked: &PageAsked,
) -> Result<Response<Body>, Refused> {
    values.push((asked.limit + 1).into());
    let rows = catalog.sql().rows(&format!("{text} ORDER BY l.sku, l.warehouse LIMIT ?"), values).await?;
    let levels = rows.into_iter().map(StockLevel::read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(levels, asked, StockLevel::cursor)))
}

/// The SKU and the warehouse that a page begins after.
fn after(asked: &PageAsked) -> Result<Option<(i64, i64)>, Box<Problem>> {
    let Some(cursor) = &asked.cursor else { return Ok(None) };
    let parsed = cursor.split_once('.').and_then(|(sku, warehouse)| Some((sku.parse().ok()?, warehouse.parse().ok()?)));
    parsed.map(Some).ok_or_else(PageAsked::wrong_cursor)
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
    let now_ms = stored(catalog.clock().now_ms())?;
    let mut filtered = Filtered { text: LEVELS.to_owned(), values: vec![now_ms.into(), call.actor.tenant.into()] };
    filtered.and("l.sku = ?", [sku.into()]);
    if let Some((_sku, warehouse)) = after(&asked)? {
        filtered.and("l.warehouse > ?", [warehouse.into()]);
    }
    page(catalog, filtered, &asked).await
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
    let query = format!("{LEVELS} AND l.warehouse = ? AND l.sku = ?");
    let values = vec![now_ms.into(), tenant.into(), key.warehouse.into(), key.sku.into()];
    let rows = catalog.sql().rows(&query, values).await?;
    let level = rows.into_iter().next().map(StockLevel::read).transpose()?;
    let level = level.ok_or_else(|| Refused::not_found("stock of this SKU in this warehouse"))?;
    let version = loaded(level.version)?;
    let shown = StockLevel { positions: Some(positions(catalog.sql(), tenant, key).await?), ..level };
    Ok(tagged(reply::json(StatusCode::OK, &shown), version))
}

async fn positions<S: Sql>(db: &S, tenant: u32, key: Key) -> Result<Vec<StockPosition>, SqlError> {
    let rows = db.rows(POSITIONS, vec![tenant.into(), key.warehouse.into(), key.sku.into()]).await?;
    let read = |mut row: Row| {
        let (bin, bin_code, batch, batch_code) = (row.int()?, row.text_or_null()?, row.int()?, row.text_or_null()?);
        let position = Position { spot: Spot { bin, batch }, units: row.int()?, expires_at: row.int_or_null()? };
        Ok((position, bin_code, batch_code))
    };
    let mut read = rows.into_iter().map(read).collect::<Result<Vec<_>, SqlError>>()?;
    read.sort_by_key(|(position, ..)| (position.expires_at.unwrap_or(i64::MAX), position.spot));
    let shown = read.into_iter().map(|(position, bin, batch)| {
        let expires_at = position.expires_at.map(loaded).transpose()?.map(rfc3339);
        Ok(StockPosition { bin, batch, units: position.units, expires_at })
    });
    shown.collect()
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
