//! Events of this service, on their way to the topic `catalog-events`: rows in the transaction of
//! what they tell, in the order of the commits. `GET /v1/stock/events` pages through them.

use std::sync::LazyLock;

use kit::{
    access::Permission::ReadStock,
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
};
use serde::Serialize;
use serde_json::Value;
use store::sql::{Insert, Lock, Row, Sql as _, SqlError, Tx};
use utoipa::{OpenApi, ToSchema};

use crate::{
    document::{Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// A level went below its threshold.
pub(crate) const LOW_STOCK: &str = "flashsale.catalog.low_stock.v1";

const HEAD: &str = "SELECT sequence FROM catalog_event_heads WHERE tenant = ?";
const FIRST_HEAD: &str = "INSERT INTO catalog_event_heads (tenant, sequence) VALUES (?, 0)";
const MOVE_HEAD: &str = "UPDATE catalog_event_heads SET sequence = ? WHERE tenant = ?";
const LIST: &str = "SELECT tenant, sequence, kind, subject, at_ms, data FROM catalog_events \
                    WHERE tenant = ? AND sequence > ? ORDER BY sequence LIMIT ?";
static APPEND: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO catalog_events (tenant, sequence, kind, subject, at_ms, data) VALUES [(?, ?, ?, ?, ?, ?),]",
    )
});

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its CloudEvents type.
    pub(crate) kind: &'static str,
    /// To what: `sku:17/warehouse:3`.
    pub(crate) subject: String,
    /// More of it. No personal data.
    pub(crate) data: Value,
}

/// Adds events. It locks the tenant's last one, so it comes after all locks but the audit log's.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(crate) async fn append<T: Tx>(tx: &mut T, tenant: u32, now_ms: i64, events: Vec<Event>) -> Result<(), SqlError> {
    if events.is_empty() {
        return Ok(());
    }
    tx.insert_absent(FIRST_HEAD, vec![tenant.into()]).await?;
    let head = tx.lock_rows(HEAD, vec![tenant.into()], Lock::Wait).await?.into_iter().next();
    let mut sequence = head.ok_or_else(|| SqlError::Broken("the end of a tenant's events vanished".into()))?.int()?;
    let mut rows = Vec::with_capacity(events.len() * APPEND_COLUMNS);
    for Event { kind, subject, data } in events {
        sequence += 1;
        let data = data.to_string();
        rows.extend([
            tenant.into(),
            sequence.into(),
            kind.into(),
            subject.as_str().into(),
            now_ms.into(),
            data.as_str().into(),
        ]);
    }
    tx.insert(&APPEND, rows).await?;
    tx.exec(MOVE_HEAD, vec![sequence.into(), tenant.into()]).await.map(|_rows| ())
}

const APPEND_COLUMNS: usize = 6;

/// An event, as CloudEvents 1.0 writes it in JSON.
#[derive(Debug, Serialize, ToSchema)]
struct CatalogEvent {
    /// `1.0`.
    specversion: &'static str,
    /// Rises with each event of the tenant, a decimal string.
    id: String,
    /// `/tenants/7`.
    source: String,
    /// `flashsale.catalog.low_stock.v1`.
    #[serde(rename = "type")]
    kind: String,
    /// What it is about: `sku:17/warehouse:3`.
    subject: String,
    /// RFC 3339.
    time: String,
    /// `application/json`.
    datacontenttype: &'static str,
    /// Of `low_stock`: `sku_id`, `warehouse_id`, `available` and `threshold`.
    #[schema(value_type = Object)]
    data: Value,
}

#[derive(OpenApi)]
#[openapi(paths(list))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let read = Access::Needs(ReadStock);
    vec![Mount::get(
        "/v1/stock/events",
        "stock_events",
        Route::new(read, |catalog, call| Box::pin(list(catalog, call))),
    )]
}

/// What happened to stock, oldest first. To follow, give the `id` of the last event as `cursor`.
#[utoipa::path(
    get, path = "/v1/stock/events", operation_id = "stock_events", tag = "stock", security(("merchant" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<CatalogEvent>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let after = Page::<CatalogEvent>::after(&asked)?;
    let rows = catalog.sql().rows(LIST, vec![call.actor.tenant.into(), after.into(), (asked.limit + 1).into()]).await?;
    let events = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(events, &asked, |event| event.id.clone())))
}

fn read(mut row: Row) -> Result<CatalogEvent, SqlError> {
    Ok(CatalogEvent {
        specversion: "1.0",
        source: format!("/tenants/{}", row.int()?),
        id: row.int()?.to_string(),
        kind: row.text()?,
        subject: row.text()?,
        time: rfc3339(row.number()?),
        datacontenttype: "application/json",
        data: row.text_as("JSON", |text| serde_json::from_str(text).ok())?,
    })
}
