//! How the goods of an offer reach their buyers: sent by a carrier, picked up with a code that the
//! buyer shows, or redeemed by codes that the shop imported. The merchant says it of an offer; an
//! order has what held when it was paid.

use std::{sync::PoisonError, time::Duration};

use domain::{
    id::{OfferId, OrderId, TenantId},
    order::{Status, Transition},
};
use kit::{
    access::Permission::{ReadOrders, WriteOrders},
    api::{Access, Call, Route},
    clock::{Clock as _, rfc3339},
    http::{Body, Mount, Response, StatusCode, reply},
    problem::{Code, Problem},
    token::is_same_secret,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql, SqlError, Tx as _, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    document::{Asked, Stepped},
    ports::Kinds,
    refused::Refused,
    service::Life,
    shown::{OrderNow, secret},
    step::{Step, Told},
};

/// From a change of an offer's kind until it counts: every process has heard of it by then.
const FROM_MS: u64 = 10_000;
/// How long a process believes what it read of an offer.
const KEPT: Duration = Duration::from_secs(5);
/// Offers that a process remembers.
const KEPT_MAX: usize = 10_000;
const _: () = assert!(KEPT.as_millis() < FROM_MS as u128);
/// Wrong pickup codes of an order.
const TRIES_MAX: u32 = 10;
/// Of a pickup code: eight digits.
const PICKUP_CODES: u64 = 100_000_000;

const OFFER: &str = "SELECT kind, kind_before, from_at FROM offer_handovers WHERE tenant = ? AND offer = ?";
const BEGIN: &str = "INSERT INTO handovers (order_id, kind, state, tries, next_at) VALUES (?, ?, 1, 0, ?)";
const LOOK: &str = "SELECT kind, state, tries FROM handovers WHERE order_id = ?";
const TRIED: &str = "UPDATE handovers SET tries = tries + 1 WHERE order_id = ?";
pub(super) const SET: &str = "UPDATE handovers SET state = ?, next_at = ? WHERE order_id = ? AND state = ?";
/// Codes that nobody gave yet are not given any more; those that were are withdrawn.
const WITHDRAW: &str =
    "UPDATE handovers SET state = 3, next_at = ? WHERE order_id = ? AND kind = 3 AND state IN (1, 2)";

/// How goods reach their buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A carrier brings them.
    Express = 1,
    /// The buyer comes with a code.
    Pickup = 2,
    /// They are codes.
    Code = 3,
}

/// Where the handover of an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its buyer has nothing yet.
    Waiting = 1,
    /// He has it.
    Given = 2,
    /// It is refunded; its codes are to be withdrawn.
    Withdrawing = 3,
    /// They are.
    Withdrawn = 4,
}

impl Kind {
    fn from_stored(number: i64) -> Option<Self> {
        [Self::Express, Self::Pickup, Self::Code].into_iter().find(|kind| *kind as i64 == number)
    }
}

impl State {
    pub(super) const fn stored(self) -> i64 {
        self as i64
    }

    fn from_stored(number: i64) -> Option<Self> {
        [Self::Waiting, Self::Given, Self::Withdrawing, Self::Withdrawn].into_iter().find(|s| s.stored() == number)
    }
}

/// What an offer's row says.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfferKind {
    kind: Kind,
    before: Kind,
    from_ms: u64,
}

impl OfferKind {
    const SENT: Self = Self { kind: Kind::Express, before: Kind::Express, from_ms: 0 };

    fn read(rows: Vec<Row>) -> Result<Self, SqlError> {
        let Some(mut row) = rows.into_iter().next() else { return Ok(Self::SENT) };
        let mut kind = || row.int_as("kind of a handover", Kind::from_stored);
        let (kind, before) = (kind()?, kind()?);
        Ok(Self { kind, before, from_ms: row.number()? })
    }

    const fn at(self, now_ms: u64) -> Kind {
        if now_ms >= self.from_ms { self.kind } else { self.before }
    }
}

/// A handover's row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handover {
    pub(super) kind: Kind,
    pub(super) state: State,
    tries: u32,
}

impl Handover {
    pub(super) fn read(rows: Vec<Row>) -> Result<Option<Self>, SqlError> {
        let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
        let kind = row.int_as("kind of a handover", Kind::from_stored)?;
        Ok(Some(Self { kind, state: row.int_as("state of a handover", State::from_stored)?, tries: row.number()? }))
    }
}

/// A wish about an offer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HandoverAsked {
    kind: Kind,
}

/// How an offer's goods reach their buyers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OfferHandover {
    offer_id: String,
    kind: Kind,
    /// Of orders that are paid from then on, RFC 3339, UTC; missing where it was never changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    from: Option<String>,
    /// Codes that nobody has.
    pub(super) codes_left: u64,
    /// Codes that orders have, with those that were withdrawn.
    pub(super) codes_given: u64,
    /// Codes of refunded orders: nobody else gets them.
    pub(super) codes_withdrawn: u64,
}

/// What the buyer shows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PickupCode {
    #[schema(pattern = "^[0-9]{8}$")]
    code: String,
}

#[derive(OpenApi)]
#[openapi(paths(put_kind, show_kind, pickup_code, pick_up))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    const OFFER: &str = "/v1/merchant/order-handovers/{offer_id}";
    vec![
        Mount::put(
            OFFER,
            "put_handover",
            Route::new(Access::Needs(WriteOrders), |life, call| Box::pin(put_kind(life, call))),
        ),
        Mount::get(
            OFFER,
            "handover",
            Route::new(Access::Needs(ReadOrders), |life, call| Box::pin(show_kind(life, call))),
        ),
        Mount::get(
            "/v1/orders/{order_id}/pickup",
            "pickup_code",
            Route::new(Access::Public, |life, call| Box::pin(pickup_code(life, call))),
        )
        .for_pages(),
        Mount::post(
            "/v1/merchant/orders/{order_id}/pickup",
            "pick_up_order",
            Route::new(Access::Needs(WriteOrders), |life, call| Box::pin(pick_up(life, call))),
        ),
    ]
}

/// Says how the goods of an offer reach their buyers: orders that are paid ten seconds later or
/// after that have it.
#[utoipa::path(
    put, path = "/v1/merchant/order-handovers/{offer_id}", operation_id = "put_handover", tag = "orders",
    security(("merchant" = [])), request_body = HandoverAsked,
    params(("offer_id" = String, Path, description = "The offer.")),
    responses((status = 200, body = OfferHandover), Asked)
)]
async fn put_kind<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, offer) = offer_of(call)?;
    let HandoverAsked { kind } = call.json()?;
    let (db, now_ms) = (life.own()?, life.now_ms());
    let mut tx = db.begin().await?;
    let now = OfferKind::read(tx.lock_rows(OFFER, key(tenant, offer), Lock::Wait).await?)?;
    if now.kind != kind {
        let mut row = key(tenant, offer);
        row.extend([(kind as i64).into(), (now.at(now_ms) as i64).into(), stored(now_ms + FROM_MS)?.into()]);
        tx.upsert("offer_handovers", &["tenant", "offer"], &["kind", "kind_before", "from_at"], row).await?;
    }
    tx.commit().await?;
    Ok(reply::json(StatusCode::OK, &life.offer_handover(tenant, offer).await?))
}

/// How the goods of an offer reach their buyers, and how many codes are left.
#[utoipa::path(
    get, path = "/v1/merchant/order-handovers/{offer_id}", operation_id = "handover", tag = "orders",
    security(("merchant" = [])), params(("offer_id" = String, Path, description = "The offer.")),
    responses((status = 200, body = OfferHandover), Stepped)
)]
async fn show_kind<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, offer) = offer_of(call)?;
    Ok(reply::json(StatusCode::OK, &life.offer_handover(tenant, offer).await?))
}

pub(super) fn offer_of(call: &Call<'_>) -> Result<(TenantId, OfferId), Refused> {
    let tenant = TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())?;
    Ok((tenant, call.part("offer_id")?))
}

pub(super) fn key(tenant: TenantId, offer: OfferId) -> Vec<Value> {
    vec![tenant.stored().into(), offer.stored().into()]
}

/// The code by which the buyer picks the goods of a paid order up. Whoever has it gets them.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/pickup", operation_id = "pickup_code", tag = "orders",
    security(("buyer" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = PickupCode), Stepped)
)]
async fn pickup_code<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, buyer, order) = life.buyer(call)?;
    let row = life.orders().find(&[order]).await?.remove(&order);
    let row = row.filter(|row| (row.tenant, row.buyer) == (tenant, buyer)).ok_or_else(Refused::not_found)?;
    let handover = life.handover(order).await?.filter(|handover| handover.kind == Kind::Pickup);
    if row.status != Status::Paid || handover.is_none() {
        let detail = "only what is paid, and is to be picked up, has a code; `current` shows the order";
        return Err(Refused::conflict(detail, &OrderNow::of(&row)));
    }
    Ok(secret(reply::json(StatusCode::OK, &PickupCode { code: life.code_of(order) })))
}

/// The buyer came and showed his code: he has the goods. Repeated it answers the same.
#[utoipa::path(
    post, path = "/v1/merchant/orders/{order_id}/pickup", operation_id = "pick_up_order", tag = "orders",
    security(("merchant" = [])), request_body = PickupCode,
    params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = OrderNow), Asked)
)]
async fn pick_up<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, order) = Life::<K>::of_merchant(call)?;
    let shown: PickupCode = call.json()?;
    let who = call.actor.who.to_string();
    let mut step = life.begin(order).await?.ok_or_else(Refused::not_found)?.of_shop(tenant)?;
    let now = OrderNow::of(&step.row);
    let Some(handover) = step.handover().await?.filter(|handover| handover.kind == Kind::Pickup) else {
        return Err(Refused::conflict("this order is not picked up; `current` shows it", &now));
    };
    if handover.tries >= TRIES_MAX {
        let detail = "too many wrong codes came for this order: refund it, or ask its buyer";
        return Err(Refused::conflict(detail, &now));
    }
    if !is_same_secret(&shown.code, &life.code_of(order)) {
        step.tx.exec(TRIED, vec![order.stored().into()]).await?;
        step.tell(Told { who: &who, what: "pickup_refused", ..Told::default() }).await?;
        step.commit().await?;
        return Err(Refused::conflict("this is not the code of the order", &now));
    }
    match (step.row.status, handover.state) {
        (Status::Paid, State::Waiting) => {
            step.set_handover(State::Waiting, State::Given).await?;
            life.take(&mut step, Transition::Fulfil, Told { who: &who, ..Told::default() }).await?;
            step.arrived(&who, Some("picked up")).await?;
        }
        (Status::Fulfilled | Status::Completed, State::Given) => {}
        _ => return Err(Refused::conflict("this order is over; `current` shows it", &now)),
    }
    Ok(OrderNow::ok(&step.commit().await?))
}

impl<S: Sql> Step<S> {
    /// How the goods of this order reach the buyer; `None`: by a carrier.
    pub(super) async fn handover(&mut self) -> Result<Option<Handover>, SqlError> {
        Handover::read(self.tx.rows(LOOK, vec![self.row.order.stored().into()]).await?)
    }

    /// Moves the handover, which has nothing left to do then. Whether it stood so.
    pub(super) async fn set_handover(&mut self, from: State, to: State) -> Result<bool, SqlError> {
        let params = vec![to.stored().into(), Value::Null, self.row.order.stored().into(), from.stored().into()];
        Ok(self.tx.exec(SET, params).await? == 1)
    }

    /// The order is refunded: its codes count no more.
    pub(super) async fn withdraw_codes(&mut self) -> Result<(), SqlError> {
        let params = vec![stored(self.now_ms)?.into(), self.row.order.stored().into()];
        self.tx.exec(WITHDRAW, params).await.map(drop)
    }
}

impl<K: Kinds> Life<K> {
    /// The order is paid: from now on its goods are to reach the buyer.
    pub(super) async fn begin_handover(&self, step: &mut Step<K::Sql>) -> Result<(), Refused> {
        let kind = self.kind_of(step.row.tenant, step.row.offer).await?.at(step.now_ms);
        let next = match kind {
            Kind::Express => return Ok(()),
            Kind::Pickup => Value::Null,
            Kind::Code => stored(step.now_ms)?.into(),
        };
        step.tx.exec(BEGIN, vec![step.row.order.stored().into(), (kind as i64).into(), next]).await?;
        self.wake().notify_one();
        Ok(())
    }

    async fn kind_of(&self, tenant: TenantId, offer: OfferId) -> Result<OfferKind, Refused> {
        let (now, known) = (self.ports().clock.monotonic(), self.kinds());
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lock().get(&(tenant, offer)).copied();
        if let Some((_, kind)) = kept.filter(|(at, _)| now.saturating_sub(*at) < KEPT) {
            return Ok(kind);
        }
        let kind = OfferKind::read(self.own()?.rows(OFFER, key(tenant, offer)).await?)?;
        let mut known = lock();
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert((tenant, offer), (now, kind));
        Ok(kind)
    }

    /// How the goods of an order reach its buyer.
    pub(super) async fn handover(&self, order: OrderId) -> Result<Option<Handover>, SqlError> {
        let shard = self.orders().map().home_of_order(order).shard;
        Handover::read(self.orders().beside(shard, LOOK, vec![order.stored().into()]).await?)
    }

    /// Follows from the order and the deployment's key: nothing of it is stored.
    fn code_of(&self, order: OrderId) -> String {
        let secret = self.vault().secret_of("pickup", &order.to_string());
        let number = secret[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        format!("{:08}", number % PICKUP_CODES)
    }

    async fn offer_handover(&self, tenant: TenantId, offer: OfferId) -> Result<OfferHandover, Refused> {
        let kind = OfferKind::read(self.own()?.rows(OFFER, key(tenant, offer)).await?)?;
        let (left, given, withdrawn) = self.count_codes(tenant, offer).await?;
        Ok(OfferHandover {
            offer_id: offer.to_string(),
            kind: kind.kind,
            from: (kind.from_ms > 0).then(|| rfc3339(kind.from_ms)),
            codes_left: left,
            codes_given: given,
            codes_withdrawn: withdrawn,
        })
    }

    /// The kind of an offer, locked: imports and gifts of its codes come one after the other.
    pub(super) async fn lock_codes(
        &self,
        tx: &mut <K::Sql as Sql>::Tx,
        (tenant, offer): (TenantId, OfferId),
    ) -> Result<(), Refused> {
        let offer_row = OfferKind::read(tx.lock_rows(OFFER, key(tenant, offer), Lock::Wait).await?)?;
        // Its orders that were paid before a change of the kind still get theirs.
        if [offer_row.kind, offer_row.before].contains(&Kind::Code) || offer_row.from_ms > 0 {
            return Ok(());
        }
        Err(Problem::new(Code::Conflict, "say first that the offer's goods are codes").into())
    }
}
