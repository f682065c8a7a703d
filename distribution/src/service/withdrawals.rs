//! Withdrawals as the shop sees them: people approve and decline.

use domain::id::TenantId;
use kit::{
    access::{Permission, Who},
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::{Sql as _, Value};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Page, Read},
    change::Begun,
};
use crate::{
    settle::Happens,
    withdrawals::{self, COLUMNS, Stored, word},
};

/// A withdrawal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WithdrawalShown {
    /// Its number, a decimal string.
    pub(super) withdrawal: String,
    /// Whose money.
    person: String,
    /// Minor units.
    amount: i64,
    /// `asked`, `approved`, `sent`, `waiting`, `closing`, `paid`, `failed`.
    #[schema(value_type = String)]
    state: &'static str,
    /// People who must approve.
    needs: usize,
    /// Who has: `user:7`.
    approved: Vec<String>,
    /// RFC 3339.
    asked_at: String,
    version: u64,
}

impl WithdrawalShown {
    pub(super) fn of(stored: &Stored) -> Self {
        Self {
            withdrawal: stored.number.to_string(),
            person: stored.person.to_string(),
            amount: stored.rules.amount,
            state: word(stored.rules.state),
            needs: stored.rules.needs,
            approved: stored.rules.approved.iter().map(|user| format!("user:{user}")).collect(),
            asked_at: rfc3339(stored.asked_ms),
            version: stored.version,
        }
    }
}

#[derive(OpenApi)]
#[openapi(paths(list, approve, decline))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(
            "/v1/merchant/commissions/withdrawals",
            "withdrawals",
            Route::new(read, |service, call| Box::pin(list(service, call))),
        ),
        Mount::post(
            "/v1/merchant/commissions/withdrawals/{withdrawal}/approve",
            "approve_withdrawal",
            Route::new(write, |service, call| Box::pin(approve(service, call))),
        ),
        Mount::post(
            "/v1/merchant/commissions/withdrawals/{withdrawal}/decline",
            "decline_withdrawal",
            Route::new(write, |service, call| Box::pin(decline(service, call))),
        ),
    ]
}

/// A page of withdrawals, the newest first; of one person where one is named.
pub(super) async fn page<K: Kinds>(
    service: &Distribution<K>,
    tenant: TenantId,
    person: Option<domain::id::BuyerId>,
    asked: &PageAsked,
) -> Result<Page<WithdrawalShown>, Refused> {
    let of_person = if person.is_some() { "AND person = ?" } else { "" };
    let query = format!(
        "SELECT {COLUMNS} FROM withdrawals WHERE tenant = ? {of_person} AND withdrawal < ? \
         ORDER BY withdrawal DESC LIMIT ?"
    );
    let mut params = vec![Value::from(tenant.stored())];
    params.extend(person.map(|person| Value::from(person.stored())));
    params.extend([Page::<WithdrawalShown>::after(asked, i64::MAX)?.into(), (asked.limit + 1).into()]);
    let rows = service.sql().rows(&query, params).await?;
    let rows = rows.into_iter().map(|row| withdrawals::read(row).map(|stored| WithdrawalShown::of(&stored)));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(Page::new(rows, asked, |shown| shown.withdrawal.clone()))
}

/// All withdrawals, the newest first.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/withdrawals", operation_id = "withdrawals", tag = "commissions",
    security(("merchant" = [])), params(PageAsked),
    responses((status = 200, body = inline(Page<WithdrawalShown>)), Read)
)]
async fn list<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let page = page(service, Distribution::<K>::tenant(call)?, None, &call.page()?).await?;
    Ok(reply::json(StatusCode::OK, &page))
}

/// A person of the shop approves. Above the shop's threshold two do.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/withdrawals/{withdrawal}/approve", operation_id = "approve_withdrawal",
    tag = "commissions", security(("merchant" = [])),
    params(("withdrawal" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 200, body = WithdrawalShown), Changed)
)]
async fn approve<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let Who::Person(user) = call.actor.who else {
        let detail = "a person approves: sign in, a key may not";
        return Err(Problem::new(Code::Forbidden, detail).into());
    };
    step(service, call, Happens::Approve(user), "commissions.approve").await
}

/// Declines what no bill was made for: the money is available again.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/withdrawals/{withdrawal}/decline", operation_id = "decline_withdrawal",
    tag = "commissions", security(("merchant" = [])),
    params(("withdrawal" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 200, body = WithdrawalShown), Changed)
)]
async fn decline<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    step(service, call, Happens::Decline, "commissions.decline").await
}

async fn step<K: Kinds>(
    service: &Distribution<K>,
    call: &Call<'_>,
    happens: Happens,
    action: &'static str,
) -> Result<Response<Body>, Refused> {
    let (tenant, number): (_, u64) = (Distribution::<K>::tenant(call)?, call.part("withdrawal")?);
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let mut held = withdrawals::lock(&mut change.tx, tenant, number).await?;
    let before = WithdrawalShown::of(&held);
    let (now_ms, part) = (change.now_ms, change.number);
    withdrawals::step(&mut change.tx, &mut held, happens, (now_ms, part)).await?;
    let after = WithdrawalShown::of(&held);
    change.commit((action, format!("withdrawal:{number}")), Some(&before), (StatusCode::OK, &after)).await
}
