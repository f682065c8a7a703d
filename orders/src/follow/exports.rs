//! All orders that a list would show, as a file. A piece of it and the place where the next one
//! begins are one transaction, so that whoever goes on after a kill writes no order twice and
//! leaves none out; a piece is all that is ever in memory.

use std::time::Duration;

use bytes::Bytes;
use domain::id::{OrderId, TenantId};
use kit::{
    api::Call,
    clock::{Clock as _, rfc3339},
    digest::sha256,
    http::{Body, HeaderValue, Query, Response, StatusCode, header, reply},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::{Row, Sql, SqlError, Tx as _, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    cells,
    list::{self, FILTERS},
    service::Following,
    shown::{Keyed, Read},
};
use crate::life::{Kinds, Refused};

/// Orders of a piece, at most: some 200 KB.
const PIECE_ORDERS: usize = 1_000;
/// Pause after a piece: buyers come first.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks for an export to write.
const LOOK: Duration = Duration::from_secs(1);
/// How long who writes an export may be silent until another goes on.
const LEASE_MS: u64 = 30_000;
/// How long a file is kept.
const KEPT_MS: u64 = 24 * 3_600_000;
/// Exports of a tenant that are being written, at most.
const OPEN_MAX: u32 = 3;
/// Bytes of the parameters, at most.
const FILTER_MAX: usize = 500;
/// Exports that are looked at, or deleted, at once.
const LOOKED_AT: u32 = 16;

const COLUMNS: &str = "SELECT tenant, export, filter, before_id, written, bytes, pieces, created_at, lease_until, \
                       ended_at FROM order_exports";
const COUNT_OPEN: &str = "SELECT COUNT(*) FROM order_exports WHERE tenant = ? AND ended_at = 0";
const NEXT: &str = "SELECT COALESCE(MAX(export), 0) + 1 FROM order_exports WHERE tenant = ?";
const INSERT: &str = "INSERT INTO order_exports (tenant, export, request_key, filter, before_id, written, bytes, pieces, \
                      created_at, lease_until, ended_at) VALUES (?, ?, ?, ?, ?, 0, 0, 0, ?, 0, 0)";
// Takes it: of two who try, one does.
const CLAIM: &str =
    "UPDATE order_exports SET lease_until = ? WHERE tenant = ? AND export = ? AND lease_until = ? AND ended_at = 0";
// The fence: who moves it has the orders from there on for itself.
const MOVE: &str = "UPDATE order_exports SET before_id = ?, written = ?, bytes = ?, pieces = ?, lease_until = ?, \
                    ended_at = ? WHERE tenant = ? AND export = ? AND before_id = ? AND pieces = ? AND ended_at = 0";
const PIECE: &str = "INSERT INTO order_export_pieces (tenant, export, piece, content) VALUES (?, ?, ?, ?)";
const CONTENT: &str = "SELECT content FROM order_export_pieces WHERE tenant = ? AND export = ? AND piece = ?";
const FORGET_PIECE: &str = "DELETE FROM order_export_pieces WHERE tenant = ? AND export = ? AND piece = ?";
const FORGET: &str = "DELETE FROM order_exports WHERE tenant = ? AND export = ?";

/// An export, as its row says.
#[derive(Debug, Clone)]
struct Export {
    tenant: TenantId,
    number: i64,
    filter: String,
    /// Orders below this id are still to be written.
    before: u64,
    written: u64,
    bytes: u64,
    pieces: u64,
    created_ms: u64,
    lease_until: i64,
    /// 0 until it is whole.
    ended_ms: u64,
}

/// An export of orders.
#[derive(Debug, Serialize, ToSchema)]
struct OrderExport {
    /// Its number in the shop.
    id: String,
    /// `running` or `done`.
    state: &'static str,
    /// Orders written so far.
    orders: u64,
    /// Bytes of them.
    bytes: u64,
    /// RFC 3339, UTC.
    created_at: String,
    /// When it was whole. A day later it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_at: Option<String>,
}

impl From<&Export> for OrderExport {
    fn from(export: &Export) -> Self {
        Self {
            id: export.number.to_string(),
            state: if export.ended_ms == 0 { "running" } else { "done" },
            orders: export.written,
            bytes: export.bytes,
            created_at: rfc3339(export.created_ms),
            ended_at: (export.ended_ms > 0).then(|| rfc3339(export.ended_ms)),
        }
    }
}

#[derive(OpenApi)]
#[openapi(paths(export, show, file))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Writes the orders that a list of these parameters shows into a file.
///
/// As a job, newest first. The same Idempotency-Key gets the same export.
#[utoipa::path(
    post, path = "/v1/merchant/order-exports", operation_id = "export_orders", tag = "orders",
    security(("merchant" = [])),
    params(
        IdempotencyKey,
        ("sale_id" = Option<String>, Query, nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
        ("offer_id" = Option<String>, Query, nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
        ("buyer_id" = Option<String>, Query, nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
        ("status" = Option<String>, Query, nullable = false, pattern = "^[a-z_]{1,20}$"),
        ("from" = Option<String>, Query, description = "RFC 3339.", nullable = false, max_length = 40),
        ("to" = Option<String>, Query, description = "RFC 3339.", nullable = false, max_length = 40),
    ),
    responses((status = 202, body = OrderExport), Read, Keyed)
)]
pub(super) async fn export<K: Kinds>(following: &Following<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Following::<K>::tenant(call)?;
    let digest = sha256(call.idempotency_key()?.as_bytes());
    let key: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let (asked, _limit) = list::read(&call.query(&FILTERS)?, tenant)?;
    let filter = call.target().split_once('?').map_or("", |(_, query)| query);
    if filter.len() > FILTER_MAX {
        return Err(Problem::new(Code::InvalidRequest, format!("give at most {FILTER_MAX} bytes of parameters")).into());
    }
    let db = following.blocks().db();
    let known = async || {
        let of_key = format!("{COLUMNS} WHERE tenant = ? AND request_key = ?");
        one(db, &of_key, vec![tenant.stored().into(), (&*key).into()]).await
    };
    let mut export = known().await?;
    if export.is_none() {
        let open: u32 = number(db, COUNT_OPEN, tenant).await?;
        if open >= OPEN_MAX {
            let detail = format!("{OPEN_MAX} exports of this shop are being written; come back when one is done");
            return Err(Problem::new(Code::RateLimited, detail).with_retry_after(LOOK).into());
        }
        let next: i64 = number(db, NEXT, tenant).await?;
        let now_ms = following.clock().now_ms();
        // What is promised from now on belongs to the next export.
        let before = stored(asked.before.min(OrderId::floor_at(now_ms)))?;
        let row = vec![tenant.stored().into(), next.into(), (&*key).into(), filter.into(), before.into()];
        let row = row.into_iter().chain([stored(now_ms)?.into()]).collect();
        // Where another came first with this key or number, that one stands: by the key it is
        // found, by the number the request comes again.
        db.insert_absent(INSERT, row).await?;
        export = known().await?;
    }
    let export = export.ok_or_else(|| SqlError::LockWait("another export took its number; repeat it".into()))?;
    if export.filter != filter {
        let detail = "this Idempotency-Key was used for an export of other parameters";
        return Err(Problem::new(Code::IdempotencyMismatch, detail).into());
    }
    Ok(reply::json(StatusCode::ACCEPTED, &OrderExport::from(&export)))
}

/// How far an export is.
#[utoipa::path(
    get, path = "/v1/merchant/order-exports/{export}", operation_id = "order_export", tag = "orders",
    security(("merchant" = [])), params(("export" = String, Path, description = "Its number.")),
    responses((status = 200, body = OrderExport), Read)
)]
pub(super) async fn show<K: Kinds>(following: &Following<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    call.query(&[])?;
    Ok(reply::json(StatusCode::OK, &OrderExport::from(&own(following, call).await?)))
}

/// The file of an export that is done: CSV, UTF-8, with a line of names.
///
/// A cell that a spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(
    get, path = "/v1/merchant/order-exports/{export}/file", operation_id = "order_export_file", tag = "orders",
    security(("merchant" = [])), params(("export" = String, Path, description = "Its number.")),
    responses((status = 200, body = String, content_type = "text/csv"),
        (status = 409, description = "it is not done yet"), Read)
)]
pub(super) async fn file<K: Kinds>(following: &Following<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    call.query(&[])?;
    let export = own(following, call).await?;
    if export.ended_ms == 0 {
        let problem = Problem::new(Code::Conflict, "the export is still being written; `current` shows how far it is");
        return Err(problem.with_current(&OrderExport::from(&export)).into());
    }
    let (db, length) = (following.blocks().db().clone(), cells::COLUMNS.len() as u64 + export.bytes);
    let body = Body::of_pieces(0, move |piece: u64| {
        let (db, export) = (db.clone(), export.clone());
        async move {
            if piece == 0 {
                return Some((Bytes::from_static(cells::COLUMNS.as_bytes()), 1));
            }
            let of = (piece <= export.pieces).then(|| content(&db, &export, piece))?;
            match of.await {
                Ok(content) => Some((content, piece + 1)),
                // Its length was announced: the client sees that it is not whole.
                Err(error) => {
                    tracing::warn!(%error, "the file of an export ends early; its client comes again");
                    None
                }
            }
        }
    });
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

async fn content<S: Sql>(db: &S, export: &Export, piece: u64) -> Result<Bytes, SqlError> {
    let mut params = export.key();
    params.push(stored(piece)?.into());
    let row = db.rows(CONTENT, params).await?.into_iter().next();
    row.ok_or_else(|| SqlError::Broken("a piece of an export is missing".into()))?.bytes()
}

/// Writes exports until the future is dropped, which may be at any moment. Any number of processes
/// may do it.
pub(super) async fn write<K: Kinds>(following: &Following<K>) {
    loop {
        if let Err(error) = look(following).await {
            tracing::warn!(%error, "an export of orders waits; it goes on by itself");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes what is to be written, and forgets what is over.
async fn look<K: Kinds>(following: &Following<K>) -> Result<(), SqlError> {
    let (db, now_ms) = (following.blocks().db(), following.clock().now_ms());
    let due = format!("{COLUMNS} WHERE ended_at = 0 AND lease_until <= ? ORDER BY lease_until LIMIT ?");
    for mut export in all(db, &due, vec![stored(now_ms)?.into(), LOOKED_AT.into()]).await? {
        let until = stored(following.clock().now_ms() + LEASE_MS)?;
        let mut claim = vec![until.into()];
        claim.extend(export.key());
        claim.push(export.lease_until.into());
        if db.exec(CLAIM, claim).await? == 1 {
            while export.ended_ms == 0 {
                let Some(next) = piece(following, &export).await? else { break };
                export = next;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let over = format!("{COLUMNS} WHERE ended_at > 0 AND ended_at < ? LIMIT ?");
    for export in all(db, &over, vec![stored(now_ms.saturating_sub(KEPT_MS))?.into(), LOOKED_AT.into()]).await? {
        for piece in 1..=export.pieces {
            let mut params = export.key();
            params.push(stored(piece)?.into());
            db.exec(FORGET_PIECE, params).await?;
        }
        db.exec(FORGET, export.key()).await?;
    }
    Ok(())
}

/// Writes a piece. The export as it is then; `None` where another process was quicker.
async fn piece<K: Kinds>(following: &Following<K>, export: &Export) -> Result<Option<Export>, SqlError> {
    let unread = |problem: Box<Problem>| SqlError::Broken(format!("an export's filter: {}", problem.detail).into());
    let query = Query::parse(Some(&export.filter), &FILTERS).map_err(|error| unread(error.into()))?;
    let (mut asked, _limit) = list::read(&query, export.tenant).map_err(unread)?;
    asked.before = export.before;
    let (rows, next) = list::page(following, &asked, PIECE_ORDERS).await?;
    let mut text = String::new();
    rows.iter().for_each(|row| cells::line(row, &mut text));
    let now_ms = following.clock().now_ms();
    let then = Export {
        before: next.map_or(0, OrderId::get),
        written: export.written + rows.len() as u64,
        bytes: export.bytes + text.len() as u64,
        // One without an order has no piece.
        pieces: export.pieces + u64::from(!rows.is_empty()),
        lease_until: stored(now_ms + LEASE_MS)?,
        ended_ms: if next.is_none() { now_ms } else { 0 },
        ..export.clone()
    };
    let mut tx = following.blocks().db().begin().await?;
    let done = async {
        let numbers = [then.before, then.written, then.bytes, then.pieces].map(stored);
        let mut moved: Vec<Value> = numbers.into_iter().map(|n| n.map(Value::from)).collect::<Result<_, _>>()?;
        moved.extend([then.lease_until.into(), stored(then.ended_ms)?.into()]);
        moved.extend(export.key());
        moved.extend([stored(export.before)?.into(), stored(export.pieces)?.into()]);
        if tx.exec(MOVE, moved).await? != 1 {
            return Ok(false);
        }
        if !rows.is_empty() {
            let mut content = export.key();
            content.extend([stored(then.pieces)?.into(), Bytes::from(text).into()]);
            tx.exec(PIECE, content).await?;
        }
        Ok(true)
    }
    .await;
    match done {
        Ok(true) => tx.commit().await.map(|()| Some(then)),
        undone => {
            tx.rollback().await;
            undone.map(|_quicker| None)
        }
    }
}

impl Export {
    fn key(&self) -> Vec<Value> {
        vec![self.tenant.stored().into(), self.number.into()]
    }

    fn read(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self {
            tenant: row.id(TenantId::new)?,
            number: row.int()?,
            filter: row.text()?,
            before: row.number()?,
            written: row.number()?,
            bytes: row.number()?,
            pieces: row.number()?,
            created_ms: row.number()?,
            lease_until: row.int()?,
            ended_ms: row.number()?,
        })
    }
}

async fn own<K: Kinds>(following: &Following<K>, call: &Call<'_>) -> Result<Export, Refused> {
    let (tenant, number): (_, u32) = (Following::<K>::tenant(call)?, call.part("export")?);
    let by_number = format!("{COLUMNS} WHERE tenant = ? AND export = ?");
    let found = one(following.blocks().db(), &by_number, vec![tenant.stored().into(), number.into()]).await?;
    Ok(found.ok_or_else(|| Problem::new(Code::NotFound, "there is no such export"))?)
}

async fn all<S: Sql>(db: &S, query: &str, params: Vec<Value>) -> Result<Vec<Export>, SqlError> {
    db.rows(query, params).await?.into_iter().map(Export::read).collect()
}

async fn one<S: Sql>(db: &S, query: &str, params: Vec<Value>) -> Result<Option<Export>, SqlError> {
    Ok(all(db, query, params).await?.pop())
}

async fn number<S: Sql, T: TryFrom<i64>>(db: &S, query: &str, tenant: TenantId) -> Result<T, SqlError> {
    let row = db.rows(query, vec![tenant.stored().into()]).await?.into_iter().next();
    row.ok_or_else(|| SqlError::Broken("a count has no row".into()))?.number()
}
