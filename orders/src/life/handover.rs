//! How the goods of an offer reach their buyers: sent by a carrier, picked up with a code that the
//! buyer shows, or redeemed by codes that the shop imported. The merchant says it of an offer; an
//! order has what held when it was paid.

use domain::{
    id::{OfferId, OrderId, TenantId},
    order::{Status, Transition},
};
use kit::{
    access::Permission::{ReadOrders, WriteOrders},
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, Response, StatusCode, reply},
    problem::{Code, Problem},
    token::is_same_secret,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Sql, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    beside::FROM_MS,
    goods::{Kind, OFFER, OfferKind, State, key},
    ports::Kinds,
    refusals::{Asked, Stepped},
    refused::Refused,
    service::Life,
    shown::{OrderNow, secret},
    step::Told,
};

/// Wrong pickup codes of an order.
const TRIES_MAX: u32 = 10;
/// Of a pickup code: eight digits.
const PICKUP_CODES: u64 = 100_000_000;

const TRIED: &str = "UPDATE handovers SET tries = tries + 1 WHERE order_id = ?";

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

impl<K: Kinds> Life<K> {
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
