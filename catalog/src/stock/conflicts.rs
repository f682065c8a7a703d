//! Levels that a feed brought below what is promised: listed until they are not any more. Nothing
//! is promised of them meanwhile.

use std::sync::LazyLock;

use kit::{
    access::Permission::ReadStock,
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply, wrong_parameter},
};
use serde::Serialize;
use store::sql::{Fixed, Insert, Row, Sql as _, SqlError, Tx};
use utoipa::{OpenApi, ToSchema};

use super::{
    key::{By, Key, exec, put},
    level::Units,
};
use crate::{
    document::{Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

static OPEN: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO inventory_conflicts (tenant, conflict, warehouse, sku, source, on_hand, promised, opened_at, \
         resolved_at) VALUES [(?, ?, ?, ?, ?, ?, ?, ?, NULL),]",
    )
});
static RESOLVE: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new("UPDATE inventory_conflicts SET resolved_at = ? WHERE tenant = ? AND conflict IN ([?,])")
});
const LIST: &str = "SELECT c.conflict, c.sku, s.code, c.warehouse, w.code, c.source, c.on_hand, c.promised, \
                    c.opened_at, c.resolved_at FROM inventory_conflicts c \
                    LEFT JOIN skus s ON s.tenant = c.tenant AND s.sku = c.sku \
                    LEFT JOIN inventory_warehouses w ON w.tenant = c.tenant AND w.warehouse = c.warehouse \
                    WHERE c.tenant = ? AND c.conflict > ?";

/// Opens and resolves conflicts.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn write<T: Tx>(
    tx: &mut T,
    by: &By,
    source: &str,
    opened: &[(i64, Key, Units)],
    resolved: &[i64],
) -> Result<(), SqlError> {
    let mut rows = Vec::new();
    for (conflict, key, units) in opened {
        rows.extend([
            by.tenant.into(),
            (*conflict).into(),
            key.warehouse.into(),
            key.sku.into(),
            source.into(),
            units.on_hand.into(),
            units.promised().into(),
            by.now_ms.into(),
        ]);
    }
    put(tx, &OPEN, rows).await?;
    exec(tx, &RESOLVE, &[by.now_ms.into(), by.tenant.into()], resolved).await
}

/// A conflict: a feed says that less is on hand than was promised.
#[derive(Debug, Serialize, ToSchema)]
struct StockConflict {
    /// Its number, a decimal string.
    id: String,
    sku_id: String,
    /// Its code; missing once it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sku: Option<String>,
    warehouse_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warehouse: Option<String>,
    /// Whose feed it was.
    source: String,
    /// What it gave.
    on_hand: i64,
    /// Units that were allotted or unshipped then.
    promised: i64,
    /// `open`, or `resolved` once on hand covers what is promised again.
    #[schema(example = "open")]
    state: &'static str,
    /// RFC 3339.
    opened_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    resolved_at: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(list))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let route = Route::new(Access::Needs(ReadStock), |catalog, call| Box::pin(list(catalog, call)));
    vec![Mount::get("/v1/stock/conflicts", "stock_conflicts", route)]
}

/// Conflicts, oldest first.
#[utoipa::path(
    get, path = "/v1/stock/conflicts", operation_id = "stock_conflicts", tag = "stock", security(("merchant" = [])),
    params(("state" = Option<String>, Query, description = "`open` or `resolved`; both when it is left out."), PageAsked),
    responses((status = 200, body = inline(Page<StockConflict>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["state", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let state = match query.get("state") {
        None => "",
        Some("open") => " AND c.resolved_at IS NULL",
        Some("resolved") => " AND c.resolved_at IS NOT NULL",
        Some(_) => return Err(wrong_parameter("state", "give `open` or `resolved`").into()),
    };
    let after = Page::<StockConflict>::after(&asked)?;
    let statement = format!("{LIST}{state} ORDER BY c.conflict LIMIT ?");
    let values = vec![call.actor.tenant.into(), after.into(), (asked.limit + 1).into()];
    let rows = catalog.sql().rows(&statement, values).await?;
    let conflicts = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(conflicts, &asked, |conflict| conflict.id.clone())))
}

fn read(mut row: Row) -> Result<StockConflict, SqlError> {
    let (id, sku_id, sku) = (row.int()?.to_string(), row.int()?.to_string(), row.text_or_null()?);
    let (warehouse_id, warehouse) = (row.int()?.to_string(), row.text_or_null()?);
    let (source, on_hand, promised, opened_at) = (row.text()?, row.int()?, row.int()?, rfc3339(row.number()?));
    let resolved_at = row.time_or_null()?.map(rfc3339);
    let state = if resolved_at.is_some() { "resolved" } else { "open" };
    Ok(StockConflict {
        id,
        sku_id,
        sku,
        warehouse_id,
        warehouse,
        source,
        on_hand,
        promised,
        state,
        opened_at,
        resolved_at,
    })
}
