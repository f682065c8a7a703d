//! Closings of months: looked at, then confirmed.

use kit::{
    access::{Permission, Who},
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::{Sql as _, SqlError, Tx as _};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Read},
    change::Begun,
};
use crate::closings::{self, Closing};

/// A month and what it pays.
#[derive(Debug, Serialize, ToSchema)]
struct ClosingShown {
    /// Such as `202611`; months are UTC.
    period: String,
    plan_version: u32,
    /// Net of the month's paid lines, less what has gone back, minor units.
    net: i64,
    shares: Vec<ShareShown>,
    /// Names these shares: who confirms says it.
    seen: String,
    /// RFC 3339; missing until somebody confirms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    confirmed_at: Option<String>,
    /// `user:7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    confirmed_by: Option<String>,
    /// Who got what and why.
    #[schema(value_type = Vec<Object>)]
    trace: serde_json::Value,
}

/// What one rule pays one person.
#[derive(Debug, Serialize, ToSchema)]
struct ShareShown {
    rule: String,
    /// Missing: breakage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    person: Option<String>,
    /// Minor units.
    amount: i64,
}

/// Which shares are confirmed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Confirmed {
    /// Of the preview.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    seen: String,
}

#[derive(OpenApi)]
#[openapi(paths(show, preview, confirm))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(
            "/v1/merchant/commissions/closings/{period}",
            "commission_closing",
            Route::new(read, |service, call| Box::pin(show(service, call))),
        ),
        Mount::post(
            "/v1/merchant/commissions/closings/{period}/preview",
            "preview_commission_closing",
            Route::new(write, |service, call| Box::pin(preview(service, call))),
        ),
        Mount::post(
            "/v1/merchant/commissions/closings/{period}/confirm",
            "confirm_commission_closing",
            Route::new(write, |service, call| Box::pin(confirm(service, call))),
        ),
    ]
}

fn shown(closing: &Closing) -> Result<ClosingShown, Refused> {
    let outcome = closing.outcome.as_ref().ok_or_else(|| Refused::not_found("month that was looked at"))?;
    let shares = outcome.shares.iter().map(|share| ShareShown {
        rule: share.rule.clone(),
        person: share.person.map(|person| person.to_string()),
        amount: share.amount,
    });
    let trace = serde_json::to_value(&outcome.trace).map_err(|error| SqlError::Broken(error.to_string().into()))?;
    Ok(ClosingShown {
        period: closing.period.to_string(),
        plan_version: outcome.version,
        net: outcome.net,
        shares: shares.collect(),
        seen: outcome.seen(),
        confirmed_at: closing.confirmed.as_ref().map(|(at, _)| rfc3339(*at)),
        confirmed_by: closing.confirmed.as_ref().map(|(_, who)| who.clone()),
        trace,
    })
}

/// A month as it was looked at last, or confirmed.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/closings/{period}", operation_id = "commission_closing", tag = "commissions",
    security(("merchant" = [])), params(("period" = u32, Path, description = "A month, such as 202611.")),
    responses((status = 200, body = ClosingShown), Read)
)]
async fn show<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, period): (_, u32) = (Distribution::<K>::tenant(call)?, call.part("period")?);
    let mut tx = service.sql().begin().await?;
    let found = closings::find(&mut tx, tenant, period).await;
    tx.rollback().await;
    let closing = found?.ok_or_else(|| Refused::not_found("month that was looked at"))?;
    Ok(reply::json(StatusCode::OK, &shown(&closing)?))
}

/// Looks at what a month pays. Nothing is posted; a confirmed month shows what was confirmed.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/closings/{period}/preview", operation_id = "preview_commission_closing",
    tag = "commissions", security(("merchant" = [])),
    params(("period" = u32, Path, description = "A month, such as 202611."), IdempotencyKey),
    responses((status = 200, body = ClosingShown), Changed)
)]
async fn preview<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, period): (_, u32) = (Distribution::<K>::tenant(call)?, call.part("period")?);
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let (number, now_ms) = (change.number.unsigned_abs(), change.now_ms);
    let closing = closings::preview(&mut change.tx, tenant, (period, number), now_ms).await?;
    let answer = shown(&closing)?;
    change.commit(("commissions.preview", format!("closing:{period}")), None, (StatusCode::OK, &answer)).await
}

/// A person of the shop confirms the shares that were seen: they are posted, and can be withdrawn.
/// The month is never opened again.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/closings/{period}/confirm", operation_id = "confirm_commission_closing",
    tag = "commissions", security(("merchant" = [])), request_body = Confirmed,
    params(("period" = u32, Path, description = "A month, such as 202611."), IdempotencyKey),
    responses((status = 200, body = ClosingShown), Changed)
)]
async fn confirm<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, period): (_, u32) = (Distribution::<K>::tenant(call)?, call.part("period")?);
    let asked: Confirmed = call.json()?;
    if !matches!(call.actor.who, Who::Person(_)) {
        return Err(Problem::new(Code::Forbidden, "a person confirms: sign in, a key may not").into());
    }
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let by = (change.who.clone(), change.now_ms, change.number);
    let closing = closings::confirm(&mut change.tx, tenant, (period, &asked.seen), (&by.0, by.1, by.2)).await?;
    let answer = shown(&closing)?;
    change.commit(("commissions.confirm", format!("closing:{period}")), None, (StatusCode::OK, &answer)).await
}
