//! A distributor who has left asks that what is known of the account is destroyed.

use std::collections::BTreeSet;

use kit::{
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use serde::Serialize;
use store::sql::{Sql as _, Tx as _, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Read},
    change::Begun,
};
use crate::{
    book::{Balance, Book},
    people::{self, State},
};

const FIND: &str = "SELECT asked_at, done_at FROM erasures WHERE tenant = ? AND person = ?";
const INSERT: &str = "INSERT INTO erasures (tenant, person, asked_at) VALUES (?, ?, ?)";

/// An erasure.
#[derive(Debug, Serialize, ToSchema)]
struct Erasure {
    person: String,
    /// RFC 3339.
    asked_at: String,
    /// RFC 3339; missing while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    done_at: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(ask, show))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    const PATH: &str = "/v1/commissions/erasure";
    vec![
        Mount::post(PATH, "erase", Route::new(Access::Public, |service, call| Box::pin(ask(service, call))))
            .for_pages(),
        Mount::get(PATH, "erasure", Route::new(Access::Public, |service, call| Box::pin(show(service, call))))
            .for_pages(),
    ]
}

/// Asks that reasons, verification, touches and stored answers of the own account are destroyed.
/// The account must have been left, and all of its money be paid out. Who stood below stands below
/// who stood above from then on. Entries of the ledger stay, under the number alone.
#[utoipa::path(
    post, path = "/v1/commissions/erasure", operation_id = "erase", tag = "distributors", security(("buyer" = [])),
    params(IdempotencyKey), responses((status = 202, body = Erasure), Changed)
)]
async fn ask<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let key = service.buyer(call)?;
    let mut change = match service.begin_as(call, key.0, format!("buyer:{}", key.1)).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let found = people::lock(&mut change.tx, key).await?.ok_or_else(|| Refused::not_found("distributor"))?;
    if found.standing.state != State::Left {
        return Err(Refused::conflict("leave first: POST /v1/commissions/leave"));
    }
    let owner = (key.0, key.1.get());
    let book = Book::open(&service.texts, &mut change.tx, &BTreeSet::new(), BTreeSet::from([owner])).await?;
    let Balance { pending, available, withdrawing, receivable, .. } = book.balance(owner);
    if [pending, available, withdrawing, receivable] != [0; 4] {
        return Err(Refused::conflict(format!(
            "{pending} minor units are pending, {available} available, {withdrawing} on their way, {} owed: all must \
             be paid first",
            receivable.saturating_neg()
        )));
    }
    let row = vec![Value::from(key.0.stored()), key.1.stored().into(), stored(change.now_ms)?.into()];
    if !change.tx.insert_absent(INSERT, row).await? {
        change.tx.rollback().await;
        return Ok(reply::json(StatusCode::ACCEPTED, &one(service, key).await?));
    }
    let shown = Erasure { person: key.1.to_string(), asked_at: rfc3339(change.now_ms), done_at: None };
    change.commit(("commissions.erase", format!("person:{}", key.1)), None, (StatusCode::ACCEPTED, &shown)).await
}

/// How far the own erasure is.
#[utoipa::path(
    get, path = "/v1/commissions/erasure", operation_id = "erasure", tag = "distributors", security(("buyer" = [])),
    responses((status = 200, body = Erasure), Read)
)]
async fn show<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    Ok(reply::json(StatusCode::OK, &one(service, service.buyer(call)?).await?))
}

async fn one<K: Kinds>(
    service: &Distribution<K>,
    (tenant, person): (domain::id::TenantId, domain::id::BuyerId),
) -> Result<Erasure, Refused> {
    let row = service.sql().rows(FIND, vec![tenant.stored().into(), person.stored().into()]).await?.pop();
    let mut row = row.ok_or_else(|| Refused::not_found("erasure"))?;
    let (asked_at, done_at) = (rfc3339(row.number()?), row.time_or_null()?.map(rfc3339));
    Ok(Erasure { person: person.to_string(), asked_at, done_at })
}
