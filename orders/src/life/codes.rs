//! Redeem codes: imported by the shop for an offer, one a unit, sealed. That a paid order is to get
//! its codes is written with its payment; which ones it gets, in a transaction of the first
//! shard under the order's id; that it has them, in one of its shard. Whoever dies between two of
//! these is gone on from: an order that has codes gets the same again. Codes that ran out leave the
//! paid order waiting, and somebody is called.

use domain::{
    id::{OfferId, OrderId, TenantId},
    order::{OrderRow, Status, Transition},
    shard::ShardId,
};
use kit::{
    access::Permission::WriteOrders,
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::{Sql as _, Tx as _, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    beside::SET,
    goods::{Kind, State, key},
    handover::offer_of,
    ports::Kinds,
    refusals::{Asked, Stepped},
    refused::Refused,
    service::Life,
    shown::{OrderNow, secret},
    step::Told,
};

/// Codes of one import.
const IMPORT_MAX: usize = 1_000;
/// Bytes of an import.
const IMPORT_BYTES: usize = 256 * 1024;
/// How long who gives codes may be silent until another goes on.
const CLAIMED_MS: u64 = 15_000;
/// When an order is looked at again that found no codes.
const OUT_MS: u64 = 5_000;
/// Handovers of a shard that are looked at at once.
const AT_ONCE: u32 = 64;

const DUE: &str = "SELECT order_id, state, next_at FROM handovers WHERE next_at <= ? ORDER BY next_at LIMIT ?";
/// Takes it: of two who try, one does.
const CLAIM: &str = "UPDATE handovers SET next_at = ? WHERE order_id = ? AND next_at = ?";

const NEXT: &str = "SELECT COALESCE(MAX(number), 0) + 1 FROM redeem_codes WHERE tenant = ? AND offer = ?";
const ADD: &str =
    "INSERT INTO redeem_codes (tenant, offer, number, digest, sealed, order_id) VALUES (?, ?, ?, ?, ?, 0)";
const OF_ORDER: &str =
    "SELECT sealed FROM redeem_codes WHERE tenant = ? AND offer = ? AND order_id = ? ORDER BY number";
const FREE: &str =
    "SELECT number FROM redeem_codes WHERE tenant = ? AND offer = ? AND order_id = 0 ORDER BY number LIMIT ?";
const GIVE: &str =
    "UPDATE redeem_codes SET order_id = ? WHERE tenant = ? AND offer = ? AND number = ? AND order_id = 0";
const WITHDRAWN: &str = "SELECT order_id FROM code_withdrawals WHERE order_id = ?";
const WITHDRAW: &str = "INSERT INTO code_withdrawals (order_id) VALUES (?)";
const COUNT_FREE: &str = "SELECT COUNT(*) FROM redeem_codes WHERE tenant = ? AND offer = ? AND order_id = 0";
const COUNT_GIVEN: &str = "SELECT COUNT(*) FROM redeem_codes WHERE tenant = ? AND offer = ? AND order_id > 0";
const COUNT_WITHDRAWN: &str = "SELECT COUNT(*) FROM redeem_codes c JOIN code_withdrawals w ON w.order_id = c.order_id \
                               WHERE c.tenant = ? AND c.offer = ?";

/// Codes to import.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Import {
    /// As buyers redeem them. One that the offer has already is not added again.
    #[schema(min_items = 1, max_items = 1000)]
    codes: Vec<RedeemCode>,
}

/// A code.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(min_length = 1, max_length = 120)]
struct RedeemCode(String);

/// What an import came to.
#[derive(Debug, Serialize, ToSchema)]
struct Imported {
    /// Codes that are new.
    added: u64,
    /// Codes that the offer had.
    known: u64,
}

/// The codes of an order.
#[derive(Debug, Serialize, ToSchema)]
struct CodesShown {
    #[serde(flatten)]
    #[schema(inline)]
    order: OrderNow,
    /// One a unit; empty while they are on their way, and where they were withdrawn.
    codes: Vec<String>,
}

#[derive(OpenApi)]
#[openapi(paths(import, show))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    vec![
        Mount::post(
            "/v1/merchant/order-handovers/{offer_id}/codes",
            "import_codes",
            Route::new(Access::Needs(WriteOrders), |life, call| Box::pin(import(life, call))).with_body(IMPORT_BYTES),
        ),
        Mount::get(
            "/v1/orders/{order_id}/codes",
            "order_codes",
            Route::new(Access::Public, |life, call| Box::pin(show(life, call))),
        )
        .for_pages(),
    ]
}

/// Adds redeem codes to an offer whose goods are codes. Repeated it adds nothing.
#[utoipa::path(
    post, path = "/v1/merchant/order-handovers/{offer_id}/codes", operation_id = "import_codes", tag = "orders",
    security(("merchant" = [])), request_body = Import,
    params(("offer_id" = String, Path, description = "The offer.")),
    responses((status = 200, body = Imported), Asked)
)]
async fn import<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, offer) = offer_of(call)?;
    let Import { codes } = call.json()?;
    if codes.len() > IMPORT_MAX {
        return Err(Problem::new(Code::TooLarge, format!("give at most {IMPORT_MAX} codes at once")).into());
    }
    let mut tx = life.own()?.begin().await?;
    life.lock_codes(&mut tx, (tenant, offer)).await?;
    let first = tx.rows(NEXT, key(tenant, offer)).await?.into_iter().next();
    let mut next: i64 = first.map(|mut row| row.int()).transpose()?.unwrap_or(1);
    let mut added = 0;
    for RedeemCode(code) in &codes {
        let digest = life.vault().digest("redeem code", code);
        let mut row = key(tenant, offer);
        let sealed = life.vault().seal_own(&life.ports().random, code)?;
        row.extend([next.into(), digest.as_str().into(), sealed.into()]);
        if tx.insert_absent(ADD, row).await? {
            added += 1;
            next += 1;
        }
    }
    tx.commit().await?;
    life.wake().notify_one();
    Ok(reply::json(StatusCode::OK, &Imported { added, known: codes.len() as u64 - added }))
}

/// The redeem codes of an order.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/codes", operation_id = "order_codes", tag = "orders",
    security(("buyer" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = CodesShown), Stepped)
)]
async fn show<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, buyer, order) = life.buyer(call)?;
    let row = life.orders().find(&[order]).await?.remove(&order);
    let row = row.filter(|row| (row.tenant, row.buyer) == (tenant, buyer)).ok_or_else(Refused::not_found)?;
    let Some(handover) = life.handover(order).await?.filter(|handover| handover.kind == Kind::Code) else {
        return Err(Refused::conflict("this order has no codes; `current` shows it", &OrderNow::of(&row)));
    };
    let mut codes = Vec::new();
    if handover.state == State::Given {
        for mut found in life.own()?.rows(OF_ORDER, of_order(&row)).await? {
            codes.push(life.vault().open_own(&found.bytes()?)?);
        }
    }
    Ok(secret(reply::json(StatusCode::OK, &CodesShown { order: OrderNow::of(&row), codes })))
}

fn of_order(row: &OrderRow) -> Vec<Value> {
    let mut values = key(row.tenant, row.offer);
    values.push(row.order.stored().into());
    values
}

impl<K: Kinds> Life<K> {
    /// Gives codes to orders of a shard that wait for them, and withdraws those of refunded ones.
    /// How many were looked at.
    ///
    /// # Errors
    /// [`Refused`] when a database fails; the next call goes on.
    pub async fn hand_over(&self, shard: ShardId) -> Result<usize, Refused> {
        let due = vec![stored(self.now_ms())?.into(), AT_ONCE.into()];
        let found = self.orders().beside(shard, DUE, due).await?;
        let count = found.len();
        for mut found in found {
            let (order, state, next_at) = (found.id(OrderId::new)?, found.int()?, found.int()?);
            let until = stored(self.now_ms() + CLAIMED_MS)?;
            let claim = vec![until.into(), order.stored().into(), next_at.into()];
            if self.orders().change_beside(shard, CLAIM, claim).await? != 1 {
                continue;
            }
            let Some(row) = self.orders().find(&[order]).await?.remove(&order) else { continue };
            if state == State::Withdrawing.stored() {
                self.withdraw(&row).await?;
                let done = [State::Withdrawn.stored().into(), Value::Null];
                let of = [order.stored().into(), State::Withdrawing.stored().into()];
                self.orders().change_beside(shard, SET, done.into_iter().chain(of).collect()).await?;
            } else if !self.give(&row).await? {
                tracing::error!(%order, offer = %row.offer, tenant = %row.tenant,
                    "an offer is out of redeem codes: its paid orders wait, import more");
                let later = vec![stored(self.now_ms() + OUT_MS)?.into(), order.stored().into(), until.into()];
                self.orders().change_beside(shard, CLAIM, later).await?;
            }
        }
        Ok(count)
    }

    /// `false`: there are not enough codes.
    async fn give(&self, row: &OrderRow) -> Result<bool, Refused> {
        if !self.assign(row).await? {
            return Ok(false);
        }
        let Some(mut step) = self.begin(row.order).await? else { return Ok(true) };
        // Where it was refunded meanwhile, the withdrawal stands beside it.
        if step.row.status == Status::Paid && step.set_handover(State::Waiting, State::Given).await? {
            let told = Told { who: "clock", why: Some("redeem codes"), ..Told::default() };
            self.take(&mut step, Transition::Fulfil, told).await?;
            step.commit().await?;
        }
        Ok(true)
    }

    /// Gives an order its codes, if it has none: one a unit or none at all. Whether it has them, or
    /// needs none any more.
    async fn assign(&self, row: &OrderRow) -> Result<bool, Refused> {
        let mut tx = self.own()?.begin().await?;
        self.lock_codes(&mut tx, (row.tenant, row.offer)).await?;
        let withdrawn = tx.rows(WITHDRAWN, vec![row.order.stored().into()]).await?;
        if !withdrawn.is_empty() || !tx.rows(OF_ORDER, of_order(row)).await?.is_empty() {
            return Ok(true);
        }
        let mut free = key(row.tenant, row.offer);
        free.push(row.quantity.into());
        let free = tx.rows(FREE, free).await?;
        if free.len() < row.quantity as usize {
            return Ok(false);
        }
        for mut number in free {
            let mut give = vec![Value::from(row.order.stored())];
            give.extend(key(row.tenant, row.offer));
            give.push(number.int()?.into());
            tx.exec(GIVE, give).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The codes of an order count no more: it gets none, and those that it had are nobody else's.
    async fn withdraw(&self, row: &OrderRow) -> Result<(), Refused> {
        let mut tx = self.own()?.begin().await?;
        self.lock_codes(&mut tx, (row.tenant, row.offer)).await?;
        tx.insert_absent(WITHDRAW, vec![row.order.stored().into()]).await?;
        Ok(tx.commit().await?)
    }

    /// Codes of an offer: left, given, and of those withdrawn.
    pub(super) async fn count_codes(&self, tenant: TenantId, offer: OfferId) -> Result<(u64, u64, u64), Refused> {
        let mut counts = [0; 3];
        for (count, query) in counts.iter_mut().zip([COUNT_FREE, COUNT_GIVEN, COUNT_WITHDRAWN]) {
            let rows = self.own()?.rows(query, key(tenant, offer)).await?;
            *count = rows.into_iter().next().map_or(Ok(0), |mut row| row.number())?;
        }
        Ok(counts.into())
    }
}
