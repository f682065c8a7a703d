//! Movements: what people and programs do to stock, up to a hundred lines at a time, all or
//! nothing; and the ledger of all of them.

mod lines;

use kit::{
    access::Permission::{ReadStock, WriteStock},
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    problem::{Code, FieldError, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::{Row, Sql as _, SqlError, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{book::Book, key::By};
use crate::{
    change::{Answer, Begun},
    document::{Created, Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const LEDGER: &str = "SELECT m.movement, m.kind, m.sku, s.code, m.warehouse, w.code, i.code, b.code, m.on_hand_change, \
                      m.allotted_change, m.unshipped_change, m.on_hand, m.allotted, m.unshipped, m.reference, \
                      m.reason, m.actor, m.at_ms FROM inventory_movements m \
                      LEFT JOIN skus s ON s.tenant = m.tenant AND s.sku = m.sku \
                      LEFT JOIN inventory_warehouses w ON w.tenant = m.tenant AND w.warehouse = m.warehouse \
                      LEFT JOIN inventory_places i ON i.tenant = m.tenant AND i.place = m.bin \
                      LEFT JOIN inventory_batches b ON b.tenant = m.tenant AND b.batch = m.batch \
                      WHERE m.tenant = ?";
const OF_SKU: &str = " AND m.sku = (SELECT sku FROM skus WHERE tenant = ? AND code = ?)";
const OF_WAREHOUSE: &str =
    " AND m.warehouse = (SELECT warehouse FROM inventory_warehouses WHERE tenant = ? AND code = ?)";

/// What a line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LineKind {
    /// Units come from a supplier.
    Receive,
    /// Units come back from a buyer.
    Return,
    /// Units go to another warehouse or bin.
    Transfer,
    /// A count or a loss, with its reason: `units` may be below zero.
    Adjust,
    /// Unshipped units leave: from the bin and batch that are named, or what expires first.
    Ship,
}

impl LineKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Return => "return",
            Self::Transfer => "transfer",
            Self::Adjust => "adjust",
            Self::Ship => "ship",
        }
    }
}

/// What is to be moved, all or nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMovements {
    /// Done one after the other.
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<MovementLine>,
}

/// One of them. Warehouses, bins, SKUs and batches are named by their codes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MovementLine {
    kind: LineKind,
    #[schema(min_length = 1, max_length = 64)]
    sku: String,
    #[schema(min_length = 1, max_length = 64)]
    warehouse: String,
    /// How many; below zero in an adjustment alone.
    #[schema(minimum = -1000000000, maximum = 1000000000)]
    units: i64,
    /// Where in the warehouse.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", nullable = false)]
    bin: Option<String>,
    /// Of which batch.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", nullable = false)]
    batch: Option<String>,
    /// Of a transfer: where to; the same warehouse when it is left out.
    #[schema(min_length = 1, max_length = 64, nullable = false)]
    to_warehouse: Option<String>,
    /// Of a transfer: into which bin.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", nullable = false)]
    to_bin: Option<String>,
    /// A number of the merchant's: of a delivery, a return, a parcel.
    #[schema(max_length = 191, nullable = false)]
    reference: Option<String>,
    /// Why; an adjustment has one.
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    reason: Option<String>,
}

/// What was moved.
#[derive(Debug, Serialize, ToSchema)]
struct MovementsMade {
    /// In the order of the lines; a line may have come to several.
    movements: Vec<MovementMade>,
}

/// A movement that was made, and what there was after it.
#[derive(Debug, Serialize, ToSchema)]
struct MovementMade {
    id: String,
    kind: &'static str,
    sku_id: String,
    warehouse_id: String,
    #[serde(flatten)]
    figures: MovementFigures,
}

/// How a movement changed a level, and what there was after it.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct MovementFigures {
    on_hand_change: i64,
    allotted_change: i64,
    unshipped_change: i64,
    /// After it, as are the next two; before it: without its change.
    on_hand: i64,
    allotted: i64,
    unshipped: i64,
}

/// A row of the ledger.
#[derive(Debug, Serialize, ToSchema)]
struct StockMovement {
    /// Its number, a decimal string; rises by one within a tenant.
    id: String,
    /// `receive`, `return`, `transfer`, `adjust`, `ship`, `set`, `feed`, `allocate`, `give_back`,
    /// `accept` or `release`.
    kind: String,
    sku_id: String,
    /// Its code; missing once it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sku: Option<String>,
    warehouse_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warehouse: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    batch: Option<String>,
    #[serde(flatten)]
    figures: MovementFigures,
    /// A number of the merchant's; empty where there is none.
    reference: String,
    /// Why; empty where it was not said.
    reason: String,
    /// Who: `user:7`, `key:3`.
    actor: String,
    /// RFC 3339.
    at: String,
}

#[derive(OpenApi)]
#[openapi(paths(list, create))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadStock), Access::Needs(WriteStock));
    vec![
        Mount::get(
            "/v1/stock/movements",
            "stock_movements",
            Route::new(read, |catalog, call| Box::pin(list(catalog, call))),
        ),
        Mount::post(
            "/v1/stock/movements",
            "new_stock_movements",
            Route::new(write, |catalog, call| Box::pin(create(catalog, call))),
        ),
    ]
}

/// The ledger, newest first.
#[utoipa::path(
    get, path = "/v1/stock/movements", operation_id = "stock_movements", tag = "stock", security(("merchant" = [])),
    params(
        ("sku" = Option<String>, Query, description = "A SKU's code."),
        ("warehouse" = Option<String>, Query, description = "A warehouse's code."),
        PageAsked
    ),
    responses((status = 200, body = inline(Page<StockMovement>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["sku", "warehouse", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let before = match Page::<StockMovement>::after(&asked)? {
        0 => i64::MAX,
        cursor => cursor,
    };
    let tenant = call.actor.tenant;
    let (mut text, mut values) = (LEDGER.to_owned(), vec![Value::from(tenant)]);
    for (code, condition) in [(query.get("sku"), OF_SKU), (query.get("warehouse"), OF_WAREHOUSE)] {
        if let Some(code) = code {
            text.push_str(condition);
            values.extend([tenant.into(), code.into()]);
        }
    }
    // A sign before the column keeps SQLite from going through the whole ledger in this order,
    // where it has the rows of the SKU together.
    let movement = if query.get("sku").is_some() { "+m.movement" } else { "m.movement" };
    text.push_str(&format!(" AND {movement} < ? ORDER BY {movement} DESC LIMIT ?"));
    values.push(before.into());
    values.push((asked.limit + 1).into());
    let rows = catalog.sql().rows(&text, values).await?;
    let movements = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(movements, &asked, |movement| movement.id.clone())))
}

/// Moves stock: every line, or none. A line that would take what is not there, or what is promised,
/// is refused with what there is.
#[utoipa::path(
    post, path = "/v1/stock/movements", operation_id = "new_stock_movements", tag = "stock",
    security(("merchant" = [])), request_body = NewMovements, params(IdempotencyKey),
    responses((status = 200, body = MovementsMade), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: NewMovements = call.json()?;
    refuse(Code::InvalidRequest, lines::wrong(&asked.lines))?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let by = By { tenant: change.tenant(), actor: call.actor.who.to_string(), now_ms: stored(change.now_ms)? };
    let (lines, wrong) = lines::resolve(&mut change.tx, by.tenant, &asked.lines).await?;
    refuse(Code::InvalidRequest, wrong)?;
    let keys = lines.iter().flat_map(lines::Line::keys).collect();
    let mut book = Book::open(&mut change.tx, by, &keys).await?;
    let flaws = lines.iter().enumerate().filter_map(|(index, line)| {
        let shortage = line.apply(&mut book).err()?;
        Some(FieldError { field: format!("lines[{index}].units").into(), message: shortage.to_string().into() })
    });
    let flaws: Vec<FieldError> = flaws.collect();
    refuse(Code::Conflict, flaws)?;
    let (first, moved) = book.close(&mut change.tx, "").await?;
    let movements = moved.iter().zip(first..).map(|(moved, number)| {
        let (change, after) = (moved.step.change, moved.step.after);
        MovementMade {
            id: number.to_string(),
            kind: moved.note.kind,
            sku_id: moved.key.sku.to_string(),
            warehouse_id: moved.key.warehouse.to_string(),
            figures: MovementFigures {
                on_hand_change: change.on_hand,
                allotted_change: change.allotted,
                unshipped_change: change.unshipped,
                on_hand: after.on_hand,
                allotted: after.allotted,
                unshipped: after.unshipped,
            },
        }
    });
    let made = MovementsMade { movements: movements.collect() };
    change.record("stock.move", format!("movements:{first}"), None, Some(&made))?;
    change.commit(Answer::ok(&made)?).await
}

/// Refuses when something is wrong with lines, and names all of it.
fn refuse(code: Code, field_errors: Vec<FieldError>) -> Result<(), Refused> {
    if field_errors.is_empty() {
        return Ok(());
    }
    let detail = format!("{} line(s) cannot be done, so nothing was; see `errors`", field_errors.len());
    Err(Problem { field_errors, ..Problem::new(code, detail) }.into())
}

fn read(mut row: Row) -> Result<StockMovement, SqlError> {
    Ok(StockMovement {
        id: row.int()?.to_string(),
        kind: row.text()?,
        sku_id: row.int()?.to_string(),
        sku: row.text_or_null()?,
        warehouse_id: row.int()?.to_string(),
        warehouse: row.text_or_null()?,
        bin: row.text_or_null()?,
        batch: row.text_or_null()?,
        figures: MovementFigures {
            on_hand_change: row.int()?,
            allotted_change: row.int()?,
            unshipped_change: row.int()?,
            on_hand: row.int()?,
            allotted: row.int()?,
            unshipped: row.int()?,
        },
        reference: row.text()?,
        reason: row.text()?,
        actor: row.text()?,
        at: rfc3339(row.number()?),
    })
}
