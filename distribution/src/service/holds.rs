//! Holds: the shop keeps a person's withdrawals, or an order's payouts, back until it releases
//! them. Both say why.

use domain::id::{BuyerId, OrderId, TenantId};
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Page, Read},
    change::Begun,
};
use crate::people;

const COLUMNS: &str = "hold, person, order_id, reason, held_at, held_by, released_at, released_by, released_why";
const INSERT: &str = "INSERT INTO holds (tenant, hold, person, order_id, reason, held_at, held_by) \
                      VALUES (?, ?, ?, ?, ?, ?, ?)";
const OPEN: &str = "SELECT hold FROM holds WHERE tenant = ? AND person = ? AND order_id = ? AND released_at IS NULL";
const LINE: &str = "SELECT order_id FROM order_lines WHERE order_id = ? AND tenant = ?";
const DUE: &str = "SELECT due_at FROM receipts WHERE order_id = ?";
const RELEASE: &str = "UPDATE holds SET released_at = ?, released_by = ?, released_why = ? \
                       WHERE tenant = ? AND hold = ?";

/// What shall be held: a person or an order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewHold {
    /// Whose withdrawals, a decimal string. What is earned goes on.
    #[schema(pattern = "^[1-9][0-9]{0,18}$", nullable = false)]
    person: Option<String>,
    /// Which order's payouts, a decimal string: they stay pending.
    #[schema(pattern = "^[1-9][0-9]{0,18}$", nullable = false)]
    order_id: Option<String>,
    /// Why; kept in the history. No personal data.
    #[schema(min_length = 1, max_length = 191)]
    reason: String,
}

/// Why a hold ends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Release {
    /// Kept in the history. No personal data.
    #[schema(min_length = 1, max_length = 191)]
    reason: String,
}

/// A hold.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct HoldShown {
    /// Its number, a decimal string.
    hold: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    person: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    order_id: Option<String>,
    reason: String,
    /// RFC 3339.
    held_at: String,
    /// Who: `user:7`, `key:7`.
    held_by: String,
    /// RFC 3339; missing while it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    released_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    released_by: Option<String>,
    /// Why it was released.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    released_why: Option<String>,
}

impl HoldShown {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        let (hold, person, order) = (row.int()?.to_string(), row.int()?, row.int()?);
        Ok(Self {
            hold,
            person: (person != 0).then(|| person.to_string()),
            order_id: (order != 0).then(|| order.to_string()),
            reason: row.text()?,
            held_at: rfc3339(row.number()?),
            held_by: row.text()?,
            released_at: row.time_or_null()?.map(rfc3339),
            released_by: row.text_or_null()?,
            released_why: row.text_or_null()?,
        })
    }
}

#[derive(OpenApi)]
#[openapi(paths(list, hold, release))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    const PATH: &str = "/v1/merchant/commissions/holds";
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(PATH, "commission_holds", Route::new(read, |service, call| Box::pin(list(service, call)))),
        Mount::post(PATH, "hold_commissions", Route::new(write, |service, call| Box::pin(hold(service, call)))),
        Mount::post(
            "/v1/merchant/commissions/holds/{hold}/release",
            "release_commissions",
            Route::new(write, |service, call| Box::pin(release(service, call))),
        ),
    ]
}

/// Holds, the newest first, with those that were released.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/holds", operation_id = "commission_holds", tag = "commissions",
    security(("merchant" = [])), params(PageAsked), responses((status = 200, body = inline(Page<HoldShown>)), Read)
)]
async fn list<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, asked) = (Distribution::<K>::tenant(call)?, call.page()?);
    let query = format!("SELECT {COLUMNS} FROM holds WHERE tenant = ? AND hold < ? ORDER BY hold DESC LIMIT ?");
    let before = Page::<HoldShown>::after(&asked, i64::MAX)?;
    let params = vec![Value::from(tenant.stored()), before.into(), (asked.limit + 1).into()];
    let rows = service.sql().rows(&query, params).await?;
    let rows = rows.into_iter().map(HoldShown::read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(rows, &asked, |shown| shown.hold.clone())))
}

/// Holds a person's withdrawals or an order's payouts, from the answer on. A bill that is out
/// already is followed to its end.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/holds", operation_id = "hold_commissions", tag = "commissions",
    security(("merchant" = [])), request_body = NewHold, params(IdempotencyKey),
    responses((status = 201, body = HoldShown), Changed)
)]
async fn hold<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let asked: NewHold = call.json()?;
    if asked.person.is_some() == asked.order_id.is_some() {
        let one = || "give a person or an order, one of them".to_owned();
        return Err(Refused::fields([("person".to_owned(), one()), ("order_id".to_owned(), one())]));
    }
    let nobody = || Refused::conflict("this person is no distributor of this shop");
    let no_order = || Refused::conflict("this order is none of those of this shop that pay commissions");
    let person: Option<BuyerId> = asked.person.map(|id| id.parse()).transpose().map_err(|_| nobody())?;
    let order: Option<OrderId> = asked.order_id.map(|id| id.parse()).transpose().map_err(|_| no_order())?;
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tx = &mut change.tx;
    if let Some(person) = person {
        people::lock(tx, (tenant, person)).await?.ok_or_else(nobody)?;
    }
    if let Some(order) = order {
        // What matures an order locks its line too: after this it either has, or sees the hold.
        let key = vec![order.stored().into(), tenant.stored().into()];
        tx.lock_rows(LINE, key, Lock::Wait).await?.pop().ok_or_else(no_order)?;
        let due = tx.rows(DUE, vec![order.stored().into()]).await?.pop();
        if let Some(mut row) = due
            && row.int_or_null()?.is_none()
        {
            return Err(Refused::conflict("this order's payouts have matured: hold the people who have them"));
        }
    }
    let (person, order) = (person.map_or(0, BuyerId::stored), order.map_or(0, OrderId::stored));
    let key = vec![tenant.stored().into(), person.into(), order.into()];
    if let Some(mut open) = tx.rows(OPEN, key).await?.pop() {
        return Err(Refused::conflict(format!("hold {} keeps this back already", open.int()?)));
    }
    let row = vec![
        tenant.stored().into(),
        change.number.into(),
        person.into(),
        order.into(),
        (&*asked.reason).into(),
        stored(change.now_ms)?.into(),
        (&*change.who).into(),
    ];
    change.tx.exec(INSERT, row).await?;
    let shown = HoldShown {
        hold: change.number.to_string(),
        person: (person != 0).then(|| person.to_string()),
        order_id: (order != 0).then(|| order.to_string()),
        reason: asked.reason,
        held_at: rfc3339(change.now_ms),
        held_by: change.who.clone(),
        released_at: None,
        released_by: None,
        released_why: None,
    };
    let what = ("commissions.hold", format!("hold:{}", change.number));
    change.commit(what, None, (StatusCode::CREATED, &shown)).await
}

/// Holds a person's withdrawals, where nothing does and the person is a distributor.
pub(super) async fn hold_person<T: Tx>(
    tx: &mut T,
    (tenant, person): (TenantId, BuyerId),
    number: i64,
    (who, reason, now_ms): (&str, &str, u64),
) -> Result<(), Refused> {
    let is_one = people::lock(tx, (tenant, person)).await?.is_some();
    let key = vec![tenant.stored().into(), person.stored().into(), 0_i64.into()];
    if !is_one || !tx.rows(OPEN, key).await?.is_empty() {
        return Ok(());
    }
    let row = vec![
        tenant.stored().into(),
        number.into(),
        person.stored().into(),
        0_i64.into(),
        reason.into(),
        stored(now_ms)?.into(),
        who.into(),
    ];
    Ok(tx.exec(INSERT, row).await.map(drop)?)
}

/// Releases a hold: what it kept back goes on within seconds, unless another one keeps it.
#[utoipa::path(
    post, path = "/v1/merchant/commissions/holds/{hold}/release", operation_id = "release_commissions",
    tag = "commissions", security(("merchant" = [])), request_body = Release,
    params(("hold" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 200, body = HoldShown), Changed)
)]
async fn release<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, number): (_, u64) = (Distribution::<K>::tenant(call)?, call.part("hold")?);
    let asked: Release = call.json()?;
    let number = stored(number).map_err(|_| Refused::not_found("hold"))?;
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let query = format!("SELECT {COLUMNS} FROM holds WHERE tenant = ? AND hold = ?");
    let key = vec![tenant.stored().into(), number.into()];
    let row = change.tx.lock_rows(&query, key, Lock::Wait).await?.pop();
    let before = HoldShown::read(row.ok_or_else(|| Refused::not_found("hold"))?)?;
    if before.released_at.is_some() {
        return Err(Refused::conflict("this hold is released already"));
    }
    let params = vec![
        stored(change.now_ms)?.into(),
        (&*change.who).into(),
        (&*asked.reason).into(),
        tenant.stored().into(),
        number.into(),
    ];
    change.tx.exec(RELEASE, params).await?;
    let after = HoldShown {
        released_at: Some(rfc3339(change.now_ms)),
        released_by: Some(change.who.clone()),
        released_why: Some(asked.reason),
        ..before.clone()
    };
    let what = ("commissions.release", format!("hold:{number}"));
    change.commit(what, Some(&before), (StatusCode::OK, &after)).await
}
