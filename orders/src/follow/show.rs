use domain::{
    id::{OrderId, TenantId},
    order::{OrderRow, Status},
};
use kit::{
    api::Call,
    clock::rfc3339,
    http::{Body, Response, StatusCode, reply},
};
use serde::Serialize;
use store::{
    orders::Orders,
    sql::{Row, Sql, SqlError},
};
use utoipa::{OpenApi, ToSchema};

use super::{
    service::Following,
    shown::{MerchantOrder, Read},
};
use crate::{
    life::{Kinds, Refused},
    payment::{attempt::AttemptState, pacer::RefundPhase},
};

/// Lines of each kind that are shown, at most: the newest.
const LINES_MAX: u32 = 200;

const TIMELINE: &str = "SELECT happened_at, who, what, number, amount, why FROM timeline WHERE order_id = ? \
                        ORDER BY entry DESC LIMIT ?";
const ATTEMPTS: &str = "SELECT attempt, provider, method, number, provider_number, state, amount, created_at, paid_at \
                        FROM attempts WHERE order_id = ? ORDER BY attempt DESC LIMIT ?";
const REFUNDS: &str = "SELECT refund, attempt, number, provider_number, state, amount, reason, created_at, done_at \
                       FROM refunds WHERE order_id = ? ORDER BY refund DESC LIMIT ?";

/// A line of an order's timeline.
#[derive(Debug, Serialize, ToSchema)]
struct Line {
    /// RFC 3339, UTC; missing where nothing tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    at: Option<String>,
    /// `buyer`, `user:7`, `key:7`, `operator`, `clock`, `service`, or a provider; missing where
    /// nothing tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    who: Option<String>,
    /// What was done.
    what: String,
    /// Ours, the provider's or the carrier's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    number: Option<String>,
    /// In minor units of the order's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    amount: Option<i64>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    why: Option<String>,
}

/// A try to pay.
#[derive(Debug, Serialize, ToSchema)]
struct ShownAttempt {
    /// Counted within the order.
    attempt: u32,
    provider: String,
    method: String,
    /// By which the provider was asked.
    number: String,
    /// The provider's own: of the transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    provider_number: Option<String>,
    /// `created`, `open`, `paid`, `closing`, `closed` or `unknown`.
    state: &'static str,
    /// In minor units of the order's currency.
    amount: i64,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    paid_at: Option<String>,
}

/// Money on its way back.
#[derive(Debug, Serialize, ToSchema)]
struct ShownRefund {
    /// Counted within the order.
    refund: u32,
    /// Of which attempt.
    attempt: u32,
    /// By which the provider is asked.
    number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    provider_number: Option<String>,
    /// `waiting`, `accepted`, `done` or `failed`.
    state: &'static str,
    /// In minor units of the order's currency.
    amount: i64,
    reason: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    done_at: Option<String>,
}

/// An order, with all that was done with it.
#[derive(Debug, Serialize, ToSchema)]
struct MerchantOrderShown {
    #[serde(flatten)]
    #[schema(inline)]
    order: MerchantOrder,
    /// Oldest first.
    timeline: Vec<Line>,
    /// Oldest first.
    attempts: Vec<ShownAttempt>,
    /// Oldest first.
    refunds: Vec<ShownRefund>,
}

#[derive(OpenApi)]
#[openapi(paths(show))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// An order of the shop, with its timeline.
///
/// Who did what and why, with the provider's numbers: as the service wrote it down, with what the
/// row itself tells. Of each list the newest 200.
#[utoipa::path(
    get, path = "/v1/merchant/orders/{order_id}", operation_id = "merchant_order", tag = "orders",
    security(("merchant" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = MerchantOrderShown), Read)
)]
pub(super) async fn show<K: Kinds>(following: &Following<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    call.query(&[])?;
    let (tenant, order) = (Following::<K>::tenant(call)?, Following::<K>::order(call)?);
    let row = own(following.orders(), tenant, order).await?.ok_or_else(Refused::not_found)?;
    let timeline = lines(following.orders(), order, TIMELINE, line).await?;
    let shown = MerchantOrderShown {
        order: MerchantOrder::from(&row),
        timeline: with_row(&row, timeline),
        attempts: lines(following.orders(), order, ATTEMPTS, attempt).await?,
        refunds: lines(following.orders(), order, REFUNDS, refund).await?,
    };
    Ok(reply::json(StatusCode::OK, &shown))
}

async fn own<S: Sql>(orders: &Orders<S>, tenant: TenantId, order: OrderId) -> Result<Option<OrderRow>, SqlError> {
    Ok(orders.find(&[order]).await?.remove(&order).filter(|row| row.tenant == tenant))
}

async fn lines<S: Sql, T>(
    orders: &Orders<S>,
    order: OrderId,
    query: &str,
    read: impl Fn(Row) -> Result<T, SqlError>,
) -> Result<Vec<T>, SqlError> {
    let shard = orders.map().home_of_order(order).shard;
    let rows = orders.beside(shard, query, vec![order.stored().into(), LINES_MAX.into()]).await?;
    rows.into_iter().rev().map(read).collect()
}

fn line(mut row: Row) -> Result<Line, SqlError> {
    Ok(Line {
        at: Some(rfc3339(row.number()?)),
        who: Some(row.text()?),
        what: row.text()?,
        number: row.text_or_null()?,
        amount: row.int_or_null()?,
        why: row.text_or_null()?,
    })
}

fn attempt(mut row: Row) -> Result<ShownAttempt, SqlError> {
    Ok(ShownAttempt {
        attempt: row.number()?,
        provider: row.text()?,
        method: row.text()?,
        number: row.text()?,
        provider_number: row.text_or_null()?,
        state: row
            .int_as("state of an attempt", |state| AttemptState::from_stored(u8::try_from(state).ok()?))?
            .as_str(),
        amount: row.int()?,
        created_at: rfc3339(row.number()?),
        paid_at: row.time_or_null()?.map(rfc3339),
    })
}

fn refund(mut row: Row) -> Result<ShownRefund, SqlError> {
    let (refund, attempt, number) = (row.number()?, row.number()?, row.text()?);
    let (provider_number, phase) = (row.text_or_null()?, row.number().map(RefundPhase::from_stored)?);
    let state = match phase.ok_or_else(|| SqlError::Broken("a refund has a state that is none".into()))? {
        RefundPhase::Waiting => "waiting",
        RefundPhase::Accepted => "accepted",
        RefundPhase::Done => "done",
        RefundPhase::Failed => "failed",
    };
    Ok(ShownRefund {
        refund,
        attempt,
        number,
        provider_number,
        state,
        amount: row.int()?,
        reason: row.text()?,
        created_at: rfc3339(row.number()?),
        done_at: row.time_or_null()?.map(rfc3339),
    })
}

/// What the row tells by itself, beside what was written down: its beginning, how it ended where
/// nobody wrote that down, and that its units went back.
fn with_row(row: &OrderRow, written: Vec<Line>) -> Vec<Line> {
    let line = |at: Option<u64>, who: &str, what: &str| Line {
        at: at.map(rfc3339),
        who: Some(who.to_owned()),
        what: what.to_owned(),
        number: None,
        amount: None,
        why: None,
    };
    let first = match row.reason {
        None => line(Some(row.reserved_at_ms), "buyer", "created"),
        Some(reason) => Line { why: Some(reason.as_str().to_owned()), ..line(None, "service", "rejected") },
    };
    let status = row.status.as_str();
    let is_told = written.iter().any(|line| line.what == status);
    let end = match row.status {
        Status::Expired => Some(line(row.pay_by_ms, "clock", status)),
        // By an operator's command, which writes no line.
        Status::Cancelled => Some(Line { who: None, ..line(None, "", status) }),
        _ => None,
    };
    let released = row.released.map(|_| line(None, "service", "released"));
    let mut lines = vec![first];
    lines.extend(written);
    lines.extend(end.filter(|_| !is_told));
    lines.extend(released);
    lines
}
