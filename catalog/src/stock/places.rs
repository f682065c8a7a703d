//! Places in a warehouse: zones, and bins within zones. One with stock is not removed, nor a zone
//! with bins.

use kit::{
    access::Permission::{ReadStock, WriteStock},
    api::{Access, Call, Route, tagged},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::warehouses;
use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    numbers::Numbered,
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const PLACES: Numbered = Numbered("place");

const COLUMNS: &str = "place, warehouse, kind, zone, code, version, created_at";
const INSERT: &str = "INSERT INTO inventory_places (tenant, place, warehouse, kind, zone, code, version, created_at) \
                      VALUES (?, ?, ?, ?, ?, ?, 1, ?)";
const UPDATE: &str = "UPDATE inventory_places SET code = ?, zone = ?, version = ? WHERE tenant = ? AND place = ?";
const REMOVE: &str = "DELETE FROM inventory_places WHERE tenant = ? AND place = ?";
const HELD: [(&str, &str); 2] = [
    ("SELECT 1 FROM inventory_positions WHERE tenant = ? AND bin = ? LIMIT 1", "stock lies in this bin: move it first"),
    ("SELECT 1 FROM inventory_places WHERE tenant = ? AND zone = ? LIMIT 1", "this zone has bins: remove them first"),
];
const CODE_TAKEN: &str = "another place of this kind in the warehouse has this code; choose another one";

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlaceKind {
    /// A part of a warehouse.
    Zone,
    /// A place within a zone, where units lie.
    Bin,
}

impl PlaceKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Bin => "bin",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Zone, Self::Bin].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A zone or a bin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Place {
    /// Its number, as a decimal string.
    id: String,
    warehouse_id: String,
    kind: PlaceKind,
    /// Of a bin: its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    zone_id: Option<String>,
    /// One of its own among the zones, or the bins, of the warehouse.
    code: String,
    /// Rises with each change; also the ETag.
    version: u64,
    /// When it was made, RFC 3339.
    created_at: String,
}

/// A new zone or bin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPlace {
    kind: PlaceKind,
    /// One of its own among the zones, or the bins, of the warehouse.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    code: String,
    /// Of a bin: the number of its zone.
    #[schema(pattern = "^[1-9][0-9]{0,9}$", nullable = false)]
    zone_id: Option<String>,
}

/// What changes of a place; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceChange {
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", nullable = false)]
    code: Option<String>,
    /// Of a bin: the number of another zone.
    #[schema(pattern = "^[1-9][0-9]{0,9}$", nullable = false)]
    zone_id: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, create, change, remove))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadStock), Access::Needs(WriteStock));
    let (all, one) = ("/v1/warehouses/{warehouse}/places", "/v1/warehouses/{warehouse}/places/{place}");
    vec![
        Mount::get(all, "places", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::post(all, "new_place", Route::new(write, |catalog, call| Box::pin(create(catalog, call)))),
        Mount::get(one, "place", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::patch(one, "change_place", Route::new(write, |catalog, call| Box::pin(change(catalog, call)))),
        Mount::delete(one, "remove_place", Route::new(write, |catalog, call| Box::pin(remove(catalog, call)))),
    ]
}

/// Zones and bins of a warehouse, by number.
#[utoipa::path(
    get, path = "/v1/warehouses/{warehouse}/places", operation_id = "places", tag = "stock",
    security(("merchant" = [])), params(("warehouse" = String, Path, description = "Its number."), PageAsked),
    responses((status = 200, body = inline(Page<Place>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (warehouse, asked): (u32, _) = (call.part("warehouse")?, call.page()?);
    let (tenant, after) = (call.actor.tenant, Page::<Place>::after(&asked)?);
    if catalog.sql().rows(warehouses::ONE, vec![tenant.into(), warehouse.into()]).await?.is_empty() {
        return Err(Refused::not_found("warehouse"));
    }
    let query = format!(
        "SELECT {COLUMNS} FROM inventory_places WHERE tenant = ? AND warehouse = ? AND place > ? ORDER BY place LIMIT ?"
    );
    let values = vec![tenant.into(), warehouse.into(), after.into(), (asked.limit + 1).into()];
    let rows = catalog.sql().rows(&query, values).await?;
    let places = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(places, &asked, |place| place.id.clone())))
}

/// A zone or a bin.
#[utoipa::path(
    get, path = "/v1/warehouses/{warehouse}/places/{place}", operation_id = "place", tag = "stock",
    security(("merchant" = [])),
    params(
        ("warehouse" = String, Path, description = "Its number."),
        ("place" = String, Path, description = "Its number.")
    ),
    responses((status = 200, body = Place), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let rows = catalog.sql().rows(&one(), of(call)?).await?;
    let place = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("place"))?;
    Ok(tagged(reply::json(StatusCode::OK, &place), place.version))
}

/// Makes a zone or a bin.
#[utoipa::path(
    post, path = "/v1/warehouses/{warehouse}/places", operation_id = "new_place", tag = "stock",
    security(("merchant" = [])), request_body = NewPlace,
    params(("warehouse" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 201, body = Place), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let warehouse: u32 = call.part("warehouse")?;
    let asked: NewPlace = call.json()?;
    if (asked.kind == PlaceKind::Bin) != asked.zone_id.is_some() {
        return Err(Refused::field("zone_id", "a bin has one, a zone none"));
    }
    let number = catalog.numbers().take(PLACES).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    warehouses::hold(&mut change.tx, tenant, warehouse, None).await?;
    if let Some(zone) = &asked.zone_id {
        hold_zone(&mut change.tx, tenant, warehouse, zone).await?;
    }
    let place = Place {
        id: number.to_string(),
        warehouse_id: warehouse.to_string(),
        kind: asked.kind,
        zone_id: asked.zone_id,
        code: asked.code,
        version: 1,
        created_at: rfc3339(change.now_ms),
    };
    let row = vec![
        tenant.into(),
        number.into(),
        warehouse.into(),
        place.kind.as_str().into(),
        zone_of(&place).into(),
        place.code.as_str().into(),
        stored(change.now_ms)?.into(),
    ];
    if !change.tx.insert_absent(INSERT, row).await? {
        return Err(Refused::conflict(CODE_TAKEN));
    }
    change.record("place.create", format!("place:{number}"), None, Some(&place))?;
    change.commit(Answer::created(format!("/v1/warehouses/{warehouse}/places/{number}"), &place)?).await
}

/// Changes a zone or a bin.
#[utoipa::path(
    patch, path = "/v1/warehouses/{warehouse}/places/{place}", operation_id = "change_place", tag = "stock",
    security(("merchant" = [])), request_body = PlaceChange,
    params(
        ("warehouse" = String, Path, description = "Its number."),
        ("place" = String, Path, description = "Its number."),
        ("If-Match" = Option<String>, Header)
    ),
    responses((status = 200, body = Place), Changed)
)]
async fn change<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (warehouse, of): (u32, _) = (call.part("warehouse")?, of(call)?);
    let asked: PlaceChange = call.json()?;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    if let Some(zone) = &asked.zone_id {
        hold_zone(&mut change.tx, tenant, warehouse, zone).await?;
    }
    let before = hold(&mut change.tx, of, expected).await?;
    if asked.zone_id.is_some() && before.kind == PlaceKind::Zone {
        return Err(Refused::field("zone_id", "a bin has one, a zone none"));
    }
    let after = Place {
        code: asked.code.unwrap_or_else(|| before.code.clone()),
        zone_id: asked.zone_id.or_else(|| before.zone_id.clone()),
        ..before.clone()
    };
    if after == before {
        return Ok(tagged(change.commit(Answer::ok(&before)?).await?, before.version));
    }
    let after = Place { version: before.version + 1, ..after };
    let row = vec![
        after.code.as_str().into(),
        zone_of(&after).into(),
        stored(after.version)?.into(),
        tenant.into(),
        number(&after.id).into(),
    ];
    match change.tx.exec(UPDATE, row).await {
        Err(SqlError::KeyTaken(_)) => return Err(Refused::conflict(CODE_TAKEN)),
        updated => updated?,
    };
    change.replace("place.change", format!("place:{}", after.id), Some(&before), (&after, after.version)).await
}

/// Removes a bin in which nothing lies, or a zone without bins.
#[utoipa::path(
    delete, path = "/v1/warehouses/{warehouse}/places/{place}", operation_id = "remove_place", tag = "stock",
    security(("merchant" = [])),
    params(
        ("warehouse" = String, Path, description = "Its number."),
        ("place" = String, Path, description = "Its number."),
        ("If-Match" = Option<String>, Header)
    ),
    responses((status = 204, description = "It is gone."), Changed)
)]
async fn remove<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let of = of(call)?;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    // Whoever puts units into a bin, or a bin into a zone, holds this lock too.
    let before = hold(&mut change.tx, of, expected).await?;
    let place: Vec<Value> = vec![tenant.into(), number(&before.id).into()];
    for (query, why) in HELD {
        if !change.tx.rows(query, place.clone()).await?.is_empty() {
            return Err(Refused::conflict(why));
        }
    }
    change.tx.exec(REMOVE, place).await?;
    change.record("place.remove", format!("place:{}", before.id), Some(&before), None)?;
    change.commit(Answer::gone()).await
}

/// A place of the tenant, locked, in the version that is expected.
async fn hold<T: Tx>(tx: &mut T, of: Vec<Value>, expected: Option<u64>) -> Result<Place, Refused> {
    let rows = tx.lock_rows(&one(), of, Lock::Wait).await?;
    let place = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("place"))?;
    Refused::unless_seen(expected, place.version, &place)?;
    Ok(place)
}

/// Holds the zone that a body names.
async fn hold_zone<T: Tx>(tx: &mut T, tenant: u32, warehouse: u32, zone: &str) -> Result<(), Refused> {
    let of = vec![tenant.into(), warehouse.into(), number(zone).into()];
    match hold(tx, of, None).await {
        Ok(place) if place.kind == PlaceKind::Zone => Ok(()),
        Ok(_) | Err(Refused::Problem(_)) => Err(Refused::field("zone_id", "the warehouse has no such zone")),
        Err(fault) => Err(fault),
    }
}

/// What [`one`] takes.
fn of(call: &Call<'_>) -> Result<Vec<Value>, Refused> {
    let (warehouse, place): (u32, u32) = (call.part("warehouse")?, call.part("place")?);
    Ok(vec![call.actor.tenant.into(), warehouse.into(), place.into()])
}

fn one() -> String {
    format!("SELECT {COLUMNS} FROM inventory_places WHERE tenant = ? AND warehouse = ? AND place = ?")
}

/// A number that was checked or made here; one that is too large is of nothing.
fn number(id: &str) -> i64 {
    id.parse().unwrap_or_default()
}

fn zone_of(place: &Place) -> i64 {
    place.zone_id.as_deref().map_or(0, number)
}

fn read(mut row: Row) -> Result<Place, SqlError> {
    let (id, warehouse_id) = (row.int()?.to_string(), row.int()?.to_string());
    let (kind, zone) = (row.text_as("kind of place", PlaceKind::read)?, row.int()?);
    Ok(Place {
        id,
        warehouse_id,
        kind,
        zone_id: (zone != 0).then(|| zone.to_string()),
        code: row.text()?,
        version: row.number()?,
        created_at: rfc3339(row.number()?),
    })
}
