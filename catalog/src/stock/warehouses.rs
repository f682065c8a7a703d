//! Warehouses. One that ever held stock is closed, not removed: its ledger stays.

use async_graphql::Enum;
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

use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    numbers::Numbered,
    ports::Ports,
    reading::Reading,
    refused::Refused,
    service::Catalog,
};

const WAREHOUSES: Numbered = Numbered("warehouse");

pub(super) const ONE: &str = "SELECT warehouse, code, name, state, version, created_at FROM inventory_warehouses \
                   WHERE tenant = ? AND warehouse = ?";
const LIST: &str = "SELECT warehouse, code, name, state, version, created_at FROM inventory_warehouses \
                    WHERE tenant = ? AND warehouse > ? ORDER BY warehouse LIMIT ?";
const INSERT: &str = "INSERT INTO inventory_warehouses (tenant, warehouse, code, name, state, version, created_at) \
                      VALUES (?, ?, ?, ?, 'open', 1, ?)";
const UPDATE: &str = "UPDATE inventory_warehouses SET name = ?, state = ?, version = ? \
                      WHERE tenant = ? AND warehouse = ?";
const STOCKED: &str = "SELECT 1 FROM inventory_levels WHERE tenant = ? AND warehouse = ? LIMIT 1";
const REMOVE: [&str; 2] = [
    "DELETE FROM inventory_places WHERE tenant = ? AND warehouse = ?",
    "DELETE FROM inventory_warehouses WHERE tenant = ? AND warehouse = ?",
];

/// Whether a warehouse takes stock in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, Enum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WarehouseState {
    /// It does.
    Open,
    /// What lies there may leave; nothing is received or transferred into it.
    Closed,
}

impl WarehouseState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Open, Self::Closed].into_iter().find(|state| state.as_str() == text)
    }
}

/// A warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Warehouse {
    /// Its number, as a decimal string.
    id: String,
    /// Its name for programs; stays.
    code: String,
    /// Its name for people.
    name: String,
    state: WarehouseState,
    /// Rises with each change; also the ETag.
    version: u64,
    /// When it was made, RFC 3339.
    created_at: String,
}

/// A new warehouse.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWarehouse {
    /// Its name for programs; one of its own in the tenant.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    code: String,
    /// Its name for people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// What changes of a warehouse; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WarehouseChange {
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    state: Option<WarehouseState>,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, create, change, remove))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadStock), Access::Needs(WriteStock));
    let one = "/v1/warehouses/{warehouse}";
    vec![
        Mount::get("/v1/warehouses", "warehouses", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::post(
            "/v1/warehouses",
            "new_warehouse",
            Route::new(write, |catalog, call| Box::pin(create(catalog, call))),
        ),
        Mount::get(one, "warehouse", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::patch(one, "change_warehouse", Route::new(write, |catalog, call| Box::pin(change(catalog, call)))),
        Mount::delete(one, "remove_warehouse", Route::new(write, |catalog, call| Box::pin(remove(catalog, call)))),
    ]
}

/// The tenant's warehouses, by number.
#[utoipa::path(
    get, path = "/v1/warehouses", operation_id = "warehouses", tag = "stock", security(("merchant" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<Warehouse>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    Ok(reply::json(StatusCode::OK, &page(catalog.sql(), call.actor.tenant, &asked).await?))
}

/// Warehouses by number.
///
/// # Errors
/// `invalid_request` for a cursor of somebody else; [`Refused::Sql`].
pub(crate) async fn page(db: &dyn Reading, tenant: u32, asked: &PageAsked) -> Result<Page<Warehouse>, Refused> {
    let after = Page::<Warehouse>::after(asked)?;
    let rows = db.read(LIST, vec![tenant.into(), after.into(), (asked.limit + 1).into()]).await?;
    let warehouses = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::new(warehouses, asked, |warehouse| warehouse.id.clone()))
}

/// A warehouse.
#[utoipa::path(
    get, path = "/v1/warehouses/{warehouse}", operation_id = "warehouse", tag = "stock", security(("merchant" = [])),
    params(("warehouse" = String, Path, description = "Its number.")),
    responses((status = 200, body = Warehouse), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: u32 = call.part("warehouse")?;
    let rows = catalog.sql().rows(ONE, vec![call.actor.tenant.into(), number.into()]).await?;
    let warehouse = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("warehouse"))?;
    Ok(tagged(reply::json(StatusCode::OK, &warehouse), warehouse.version))
}

/// Makes a warehouse.
#[utoipa::path(
    post, path = "/v1/warehouses", operation_id = "new_warehouse", tag = "stock", security(("merchant" = [])),
    request_body = NewWarehouse, params(IdempotencyKey), responses((status = 201, body = Warehouse), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: NewWarehouse = call.json()?;
    let number = catalog.numbers().take(WAREHOUSES).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let row = vec![
        change.tenant().into(),
        number.into(),
        asked.code.as_str().into(),
        asked.name.as_str().into(),
        stored(change.now_ms)?.into(),
    ];
    if !change.tx.insert_absent(INSERT, row).await? {
        return Err(Refused::conflict("another warehouse has this code; choose another one"));
    }
    let warehouse = Warehouse {
        id: number.to_string(),
        code: asked.code,
        name: asked.name,
        state: WarehouseState::Open,
        version: 1,
        created_at: rfc3339(change.now_ms),
    };
    change.record("warehouse.create", format!("warehouse:{number}"), None, Some(&warehouse))?;
    change.commit(Answer::created(format!("/v1/warehouses/{number}"), &warehouse)?).await
}

/// Changes a warehouse.
#[utoipa::path(
    patch, path = "/v1/warehouses/{warehouse}", operation_id = "change_warehouse", tag = "stock",
    security(("merchant" = [])), request_body = WarehouseChange,
    params(("warehouse" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Warehouse), Changed)
)]
async fn change<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: u32 = call.part("warehouse")?;
    let asked: WarehouseChange = call.json()?;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    let before = hold(&mut change.tx, tenant, number, expected).await?;
    let after = Warehouse {
        name: asked.name.unwrap_or_else(|| before.name.clone()),
        state: asked.state.unwrap_or(before.state),
        ..before.clone()
    };
    if after == before {
        return Ok(tagged(change.commit(Answer::ok(&before)?).await?, before.version));
    }
    let after = Warehouse { version: before.version + 1, ..after };
    let row = vec![
        after.name.as_str().into(),
        after.state.as_str().into(),
        stored(after.version)?.into(),
        tenant.into(),
        number.into(),
    ];
    change.tx.exec(UPDATE, row).await?;
    change.replace("warehouse.change", format!("warehouse:{number}"), Some(&before), (&after, after.version)).await
}

/// Removes a warehouse that never held stock, with its zones and bins.
#[utoipa::path(
    delete, path = "/v1/warehouses/{warehouse}", operation_id = "remove_warehouse", tag = "stock",
    security(("merchant" = [])),
    params(("warehouse" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "It is gone."), Changed)
)]
async fn remove<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: u32 = call.part("warehouse")?;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    // Whoever makes the first level of a warehouse holds this lock too.
    let before = hold(&mut change.tx, tenant, number, expected).await?;
    let place: Vec<Value> = vec![tenant.into(), number.into()];
    if !change.tx.rows(STOCKED, place.clone()).await?.is_empty() {
        return Err(Refused::conflict("this warehouse holds or held stock: set its state to `closed` instead"));
    }
    for statement in REMOVE {
        change.tx.exec(statement, place.clone()).await?;
    }
    change.record("warehouse.remove", format!("warehouse:{number}"), Some(&before), None)?;
    change.commit(Answer::gone()).await
}

/// A warehouse of the tenant, locked, in the version that is expected.
///
/// # Errors
/// `not_found`; `precondition_failed` with what is there; [`Refused::Sql`].
pub(super) async fn hold<T: Tx>(
    tx: &mut T,
    tenant: u32,
    number: u32,
    expected: Option<u64>,
) -> Result<Warehouse, Refused> {
    let rows = tx.lock_rows(ONE, vec![tenant.into(), number.into()], Lock::Wait).await?;
    let warehouse = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("warehouse"))?;
    Refused::unless_seen(expected, warehouse.version, &warehouse)?;
    Ok(warehouse)
}

fn read(mut row: Row) -> Result<Warehouse, SqlError> {
    Ok(Warehouse {
        id: row.int()?.to_string(),
        code: row.text()?,
        name: row.text()?,
        state: row.text_as("warehouse state", WarehouseState::read)?,
        version: row.number()?,
        created_at: rfc3339(row.number()?),
    })
}
