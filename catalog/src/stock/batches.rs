//! Batches of a SKU: units that were made together, and expire together.

use kit::{
    access::Permission::{ReadStock, WriteStock},
    api::{Access, Call, Route, tagged},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use store::sql::{Lock, Row, Sql as _, SqlError, Tx as _, Value, loaded, stored};
use utoipa::{OpenApi, ToSchema};

use super::names;
use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    numbers::Numbered,
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const BATCHES: Numbered = Numbered("batch");

const SELECT: &str = "SELECT b.batch, b.sku, s.code, b.code, b.expires_at, b.version, b.created_at \
                      FROM inventory_batches b LEFT JOIN skus s ON s.tenant = b.tenant AND s.sku = b.sku \
                      WHERE b.tenant = ?";
const HOLD: &str = "SELECT version FROM inventory_batches WHERE tenant = ? AND batch = ?";
const INSERT: &str = "INSERT INTO inventory_batches (tenant, batch, sku, code, expires_at, version, created_at) \
                      VALUES (?, ?, ?, ?, ?, 1, ?)";
const UPDATE: &str =
    "UPDATE inventory_batches SET expires_at = ?, version = version + 1 WHERE tenant = ? AND batch = ?";

/// Latest moment that a batch may expire at, in seconds: the year 9999.
const EXPIRES_MS_MAX: i64 = 253_402_300_799_999;

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Batch {
    /// Its number, as a decimal string.
    id: String,
    sku_id: String,
    /// The SKU's code; missing once it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sku: Option<String>,
    /// One of its own among the batches of the SKU; stays.
    code: String,
    /// From then on its units are not available, RFC 3339; missing when they never expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<String>,
    /// Rises with each change; also the ETag.
    version: u64,
    /// When it was made, RFC 3339.
    created_at: String,
}

/// A new batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBatch {
    /// The SKU's code.
    #[schema(min_length = 1, max_length = 64)]
    sku: String,
    /// One of its own among the batches of the SKU.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    code: String,
    /// From then on its units are not available, RFC 3339; never when it is left out.
    #[schema(max_length = 35, nullable = false, format = DateTime)]
    expires_at: Option<String>,
}

/// When a batch expires.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchChange {
    /// RFC 3339; null for never.
    #[schema(max_length = 35, required = true, format = DateTime)]
    expires_at: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, create, change))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadStock), Access::Needs(WriteStock));
    let one = "/v1/batches/{batch}";
    vec![
        Mount::get("/v1/batches", "batches", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::post("/v1/batches", "new_batch", Route::new(write, |catalog, call| Box::pin(create(catalog, call)))),
        Mount::get(one, "batch", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::patch(one, "change_batch", Route::new(write, |catalog, call| Box::pin(change(catalog, call)))),
    ]
}

/// Batches, by number.
#[utoipa::path(
    get, path = "/v1/batches", operation_id = "batches", tag = "stock", security(("merchant" = [])),
    params(("sku" = Option<String>, Query, description = "A SKU's code."), PageAsked),
    responses((status = 200, body = inline(Page<Batch>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["sku", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let after = Page::<Batch>::after(&asked)?;
    let mut values: Vec<Value> = vec![call.actor.tenant.into(), after.into()];
    let of_sku = query.get("sku").map(|sku| values.push(sku.into())).map_or("", |()| " AND s.code = ?");
    values.push((asked.limit + 1).into());
    let rows =
        catalog.sql().rows(&format!("{SELECT} AND b.batch > ?{of_sku} ORDER BY b.batch LIMIT ?"), values).await?;
    let batches = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(batches, &asked, |batch| batch.id.clone())))
}

/// A batch.
#[utoipa::path(
    get, path = "/v1/batches/{batch}", operation_id = "batch", tag = "stock", security(("merchant" = [])),
    params(("batch" = String, Path, description = "Its number.")), responses((status = 200, body = Batch), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: u32 = call.part("batch")?;
    let rows = catalog.sql().rows(&one(), vec![call.actor.tenant.into(), number.into()]).await?;
    let batch = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("batch"))?;
    Ok(tagged(reply::json(StatusCode::OK, &batch), batch.version))
}

/// Makes a batch; a movement then receives units of it.
#[utoipa::path(
    post, path = "/v1/batches", operation_id = "new_batch", tag = "stock", security(("merchant" = [])),
    request_body = NewBatch, params(IdempotencyKey), responses((status = 201, body = Batch), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: NewBatch = call.json()?;
    let expires_at = asked.expires_at.as_deref().map(moment).transpose()?;
    let number = catalog.numbers().take(BATCHES).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    let skus = names::skus(&mut change.tx, tenant, &BTreeSet::from([asked.sku.as_str()])).await?;
    let sku = *skus.get(&asked.sku).ok_or_else(|| Refused::field("sku", "there is no such SKU"))?;
    let row = vec![
        tenant.into(),
        number.into(),
        sku.into(),
        asked.code.as_str().into(),
        expires_at.into(),
        stored(change.now_ms)?.into(),
    ];
    if !change.tx.insert_absent(INSERT, row).await? {
        return Err(Refused::conflict("another batch of this SKU has this code; use that one, or choose another code"));
    }
    let batch = Batch {
        id: number.to_string(),
        sku_id: sku.to_string(),
        sku: Some(asked.sku),
        code: asked.code,
        expires_at: expires_at.map(loaded).transpose()?.map(rfc3339),
        version: 1,
        created_at: rfc3339(change.now_ms),
    };
    change.record("batch.create", format!("batch:{number}"), None, Some(&batch))?;
    change.commit(Answer::created(format!("/v1/batches/{number}"), &batch)?).await
}

/// Changes when a batch expires.
#[utoipa::path(
    patch, path = "/v1/batches/{batch}", operation_id = "change_batch", tag = "stock", security(("merchant" = [])),
    request_body = BatchChange,
    params(("batch" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Batch), Changed)
)]
async fn change<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: u32 = call.part("batch")?;
    let asked: BatchChange = call.json()?;
    let expires_at = asked.expires_at.as_deref().map(moment).transpose()?;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let of: Vec<Value> = vec![change.tenant().into(), number.into()];
    // The SKU's row is read, not locked: only the batch's own is.
    change.tx.lock_rows(HOLD, of.clone(), Lock::Wait).await?;
    let rows = change.tx.rows(&one(), of.clone()).await?;
    let before = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("batch"))?;
    Refused::unless_seen(expected, before.version, &before)?;
    let expiry = expires_at.map(loaded).transpose()?.map(rfc3339);
    if expiry == before.expires_at {
        return Ok(tagged(change.commit(Answer::ok(&before)?).await?, before.version));
    }
    let after = Batch { expires_at: expiry, version: before.version + 1, ..before.clone() };
    change.tx.exec(UPDATE, [vec![expires_at.into()], of].concat()).await?;
    change.replace("batch.change", format!("batch:{number}"), Some(&before), (&after, after.version)).await
}

fn one() -> String {
    format!("{SELECT} AND b.batch = ?")
}

/// A moment that a body names, in milliseconds since 1970.
fn moment(text: &str) -> Result<i64, Refused> {
    let parsed = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
    let fits = parsed.filter(|at_ms| (0..=EXPIRES_MS_MAX).contains(at_ms));
    fits.ok_or_else(|| Refused::field("expires_at", "give a moment as RFC 3339: 2027-06-30T00:00:00Z"))
}

fn read(mut row: Row) -> Result<Batch, SqlError> {
    let (id, sku_id, sku, code) = (row.int()?.to_string(), row.int()?.to_string(), row.text_or_null()?, row.text()?);
    let expires_at = row.time_or_null()?.map(rfc3339);
    Ok(Batch { id, sku_id, sku, code, expires_at, version: row.number()?, created_at: rfc3339(row.number()?) })
}
