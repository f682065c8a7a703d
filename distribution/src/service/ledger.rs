//! The ledger as the shop reads it: entries, what an order pays and why, and what was put aside.

use domain::id::OrderId;
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply, wrong_parameter},
};
use serde::Serialize;
use serde_json::value::RawValue;
use store::sql::{Row, Sql as _, SqlError, Value};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Page, Read},
};
use crate::{
    book::{COLUMNS, NOTES, Note, Posted},
    days,
};

const LINE: &str = "SELECT buyer, sale, quantity, net, currency, ordered_at FROM order_lines \
                    WHERE order_id = ? AND tenant = ?";
const EVALUATIONS: &str = "SELECT sequence, plan_version, refunded, at_ms, trace FROM evaluations \
                           WHERE order_id = ? AND tenant = ? ORDER BY at_ms, sequence";
const MATURES: &str = "SELECT matures_at FROM receipts WHERE order_id = ? AND tenant = ?";
const PARKED: &str = "SELECT parked_at, order_id, cause, kind, partition_id, log_offset, item FROM parked_records \
                      WHERE tenant = ? AND parked_at <= ? AND (parked_at < ? OR partition_id > ? \
                      OR (partition_id = ? AND (log_offset > ? OR (log_offset = ? AND item > ?)))) \
                      ORDER BY parked_at DESC, partition_id, log_offset, item LIMIT ?";

/// What an entry moves on one account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LineShown {
    /// `expense`, `pending:7`, ...
    account: String,
    /// Minor units; all of an entry sum to zero.
    amount: i64,
}

/// An entry.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntryShown {
    /// `payout`, `mature`, `withdrawal`, `adjustment`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// The order, or the number of the withdrawal or adjustment.
    subject: String,
    /// The plan's rule; empty where none paid.
    rule: String,
    lines: Vec<LineShown>,
    /// Of an adjustment: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Of an adjustment: who asked for it, then who else approved it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    by: Vec<String>,
    /// RFC 3339.
    at: String,
    #[serde(skip)]
    at_ms: u64,
}

/// What an order pays and why.
#[derive(Debug, Serialize, ToSchema)]
struct OrderShown {
    order_id: String,
    /// The buyer's number.
    buyer: String,
    sale_id: String,
    quantity: u32,
    /// Minor units.
    net: i64,
    currency: String,
    /// RFC 3339.
    ordered_at: String,
    /// RFC 3339; missing until the goods are received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    matures_at: Option<String>,
    evaluations: Vec<EvaluationShown>,
    entries: Vec<EntryShown>,
}

/// One evaluation, of the payment or of a refund.
#[derive(Debug, Serialize, ToSchema)]
struct EvaluationShown {
    /// Sequence of the event.
    sequence: u32,
    plan_version: u32,
    /// Refunded of the line up to then, minor units.
    refunded: i64,
    /// RFC 3339.
    at: String,
    /// Who got what and why, who was passed over, what was rounded.
    #[schema(value_type = Vec<Object>)]
    trace: Box<RawValue>,
}

/// A record or an event that was put aside.
#[derive(Debug, Serialize, ToSchema)]
struct ParkedShown {
    order_id: String,
    cause: String,
    kind: String,
    partition: u32,
    offset: String,
    /// RFC 3339.
    parked_at: String,
    #[serde(skip)]
    cursor: String,
}

/// Whether the closed days hang together.
#[derive(Debug, Serialize, ToSchema)]
struct Verified {
    holds: bool,
    /// The first day that does not follow, days since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    broken_day: Option<i64>,
}

#[derive(OpenApi)]
#[openapi(paths(list, order, parked, verify))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    let read = Access::Needs(Permission::ReadPayments);
    vec![
        Mount::get(
            "/v1/merchant/commissions/ledger",
            "commission_ledger",
            Route::new(read, |service, call| Box::pin(list(service, call))),
        ),
        Mount::get(
            "/v1/merchant/commissions/ledger/verification",
            "verify_commissions",
            Route::new(read, |service, call| Box::pin(verify(service, call))),
        ),
        Mount::get(
            "/v1/merchant/commissions/orders/{order_id}",
            "commission_order",
            Route::new(read, |service, call| Box::pin(order(service, call))),
        ),
        Mount::get(
            "/v1/merchant/commissions/parked",
            "commission_parked",
            Route::new(read, |service, call| Box::pin(parked(service, call))),
        ),
    ]
}

fn shown(mut row: Row) -> Result<EntryShown, SqlError> {
    let posted = Posted::read(&mut row)?;
    let Note { reason, by } = Note::read(&mut row)?;
    let rule = match posted.entry.cause() {
        crate::ledger::Cause::Payout(key) | crate::ledger::Cause::Mature(key) => key.to.rule.clone(),
        _ => String::new(),
    };
    let lines = posted.entry.lines().iter();
    Ok(EntryShown {
        kind: posted.kind.as_str(),
        subject: posted.subject().to_string(),
        rule,
        lines: lines.map(|(account, amount)| LineShown { account: account.word(), amount: *amount }).collect(),
        reason,
        by,
        at: rfc3339(posted.at_ms),
        at_ms: posted.at_ms,
    })
}

/// Entries of one distributor, the newest first. Entries of the same millisecond stay on one page.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/ledger", operation_id = "commission_ledger", tag = "commissions",
    security(("merchant" = [])), params(("person" = String, Query, description = "The distributor."), PageAsked),
    responses((status = 200, body = inline(Page<EntryShown>)), Read)
)]
async fn list<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let query = call.query(&["person", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let person: Option<domain::id::BuyerId> = query.get("person").and_then(|person| person.parse().ok());
    let person = person.ok_or_else(|| wrong_parameter("person", "give a distributor's number"))?;
    let entries = of_person(service, (tenant, person), &asked).await?;
    Ok(reply::json(StatusCode::OK, &entries))
}

/// A page of a person's entries.
pub(super) async fn of_person<K: Kinds>(
    service: &Distribution<K>,
    (tenant, person): (domain::id::TenantId, domain::id::BuyerId),
    asked: &PageAsked,
) -> Result<Page<EntryShown>, Refused> {
    let before = Page::<EntryShown>::after(asked, i64::MAX)?;
    // A page ends with a whole millisecond, so that its time is a cursor.
    let query = format!(
        "SELECT {COLUMNS}, {NOTES} FROM entries WHERE tenant = ? AND person = ? AND at_ms < ? AND at_ms >= COALESCE((\
         SELECT at_ms FROM entries WHERE tenant = ? AND person = ? AND at_ms < ? ORDER BY at_ms DESC LIMIT 1 \
         OFFSET ?), 0) ORDER BY at_ms DESC, subject, kind, sequence, rule_name"
    );
    let (tenant, person) = (Value::from(tenant.stored()), Value::from(person.stored()));
    let params =
        vec![tenant.clone(), person.clone(), before.into(), tenant, person, before.into(), (asked.limit - 1).into()];
    let entries = service.sql().rows(&query, params).await?;
    let entries = entries.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let whole = PageAsked { limit: u32::try_from(entries.len()).unwrap_or(u32::MAX), ..asked.clone() };
    let next = (entries.len() >= limit).then(|| entries.last().map(|entry| entry.at_ms.to_string())).flatten();
    Ok(Page::new(entries, &whole, |_| String::new()).with_next(next))
}

/// What an order pays, why, and what became of it.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/orders/{order_id}", operation_id = "commission_order", tag = "commissions",
    security(("merchant" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = OrderShown), Read)
)]
async fn order<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, order): (_, OrderId) = (Distribution::<K>::tenant(call)?, call.part("order_id")?);
    let key = || vec![Value::from(order.stored()), tenant.stored().into()];
    let line = service.sql().rows(LINE, key()).await?.into_iter().next();
    let mut line = line.ok_or_else(|| Refused::not_found("order among those that pay commissions"))?;
    let matures = service.sql().rows(MATURES, key()).await?.into_iter().next();
    let matures = matures.map(|mut row| row.number()).transpose()?;
    let evaluations = service.sql().rows(EVALUATIONS, key()).await?;
    let entries = format!(
        "SELECT {COLUMNS}, {NOTES} FROM entries WHERE tenant = ? AND subject = ? AND kind IN (1, 2) \
         ORDER BY at_ms, kind, sequence, rule_name, person"
    );
    let entries = service.sql().rows(&entries, vec![tenant.stored().into(), order.stored().into()]).await?;
    let (buyer, sale, quantity) = (line.int()?.to_string(), line.int()?.to_string(), line.number()?);
    let answer = OrderShown {
        order_id: order.to_string(),
        buyer,
        sale_id: sale,
        quantity,
        net: line.int()?,
        currency: line.text()?,
        ordered_at: rfc3339(line.number()?),
        matures_at: matures.map(rfc3339),
        evaluations: evaluations.into_iter().map(evaluation).collect::<Result<_, SqlError>>()?,
        entries: entries.into_iter().map(shown).collect::<Result<_, SqlError>>()?,
    };
    Ok(reply::json(StatusCode::OK, &answer))
}

fn evaluation(mut row: Row) -> Result<EvaluationShown, SqlError> {
    let (sequence, plan_version, refunded) = (row.number()?, row.number()?, row.int()?);
    let (at, trace) = (rfc3339(row.number()?), RawValue::from_string(row.text()?));
    let trace = trace.map_err(|error| SqlError::Broken(format!("a trace does not read: {error}").into()))?;
    Ok(EvaluationShown { sequence, plan_version, refunded, at, trace })
}

/// Events that were put aside, the newest first.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/parked", operation_id = "commission_parked", tag = "commissions",
    security(("merchant" = [])), params(PageAsked), responses((status = 200, body = inline(Page<ParkedShown>)), Read)
)]
async fn parked<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, asked) = (Distribution::<K>::tenant(call)?, call.page()?);
    let ([at_ms, partition, offset, item], _) = Page::<ParkedShown>::place(&asked, [i64::MAX; 4])?;
    let shown = |mut row: Row| {
        let (parked_ms, order_id, cause): (u64, _, _) = (row.number()?, row.int()?.to_string(), row.text()?);
        let (kind, partition, offset): (_, u32, _) = (row.text()?, row.number()?, row.int()?.to_string());
        let cursor = format!("{parked_ms}.{partition}.{offset}.{}", row.int()?);
        Ok(ParkedShown { order_id, cause, kind, partition, offset, parked_at: rfc3339(parked_ms), cursor })
    };
    let mut params: Vec<Value> = vec![tenant.stored().into(), at_ms.into(), at_ms.into()];
    params.extend([partition, partition, offset, offset, item].map(Value::from));
    params.push((asked.limit + 1).into());
    let rows = service.sql().rows(PARKED, params).await?;
    let rows = rows.into_iter().map(shown).collect::<Result<Vec<_>, SqlError>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(rows, &asked, |parked| parked.cursor.clone())))
}

/// Computes the hashes of all closed days anew.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/ledger/verification", operation_id = "verify_commissions",
    tag = "commissions", security(("merchant" = [])), responses((status = 200, body = Verified), Read)
)]
async fn verify<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let broken = days::verify(service.sql(), Distribution::<K>::tenant(call)?).await?;
    let answer = Verified { holds: broken.is_none(), broken_day: broken.map(|broken| broken.day) };
    Ok(reply::json(StatusCode::OK, &answer))
}
