//! Cancelling: by the buyer, who has not paid, and by the merchant, who pays back what was paid. An
//! open attempt is closed at its provider first: while it can be paid, no unit goes back.

use domain::{
    id::OrderId,
    order::{OrderRow, Status, Transition},
};
use kit::{
    access::Permission,
    api::{Access, Call, Route, lacking},
    http::{Body, Mount, Response, StatusCode, reply},
};
use utoipa::OpenApi;

use super::{
    attempts::Attempt,
    ports::Kinds,
    refunds::begin_refund,
    refusals::Stepped,
    refused::Refused,
    service::Life,
    shown::OrderNow,
    step::{Step, Told},
};

#[derive(OpenApi)]
#[openapi(paths(cancel, cancel_of_merchant))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    let merchant = Access::Needs(Permission::WriteOrders);
    vec![
        Mount::post(
            "/v1/orders/{order_id}/cancel",
            "cancel_order",
            Route::new(Access::Public, |life, call| Box::pin(cancel(life, call))),
        )
        .for_pages(),
        Mount::post(
            "/v1/merchant/orders/{order_id}/cancel",
            "cancel_order_of_merchant",
            Route::new(merchant, |life, call| Box::pin(cancel_of_merchant(life, call))),
        ),
    ]
}

/// Cancels an unpaid order; its units go back, and the buyer may buy again. Repeated it answers the
/// same. `202`: a payment that may still come is being closed first, or the order has no row yet
/// and is cancelled as soon as it has.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/cancel", operation_id = "cancel_order", tag = "orders",
    security(("buyer" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = OrderNow), (status = 202, body = OrderNow), Stepped)
)]
async fn cancel<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, buyer, order) = life.buyer(call)?;
    let Some(step) = life.begin(order).await? else { return life.wish_cancel(order, (tenant, buyer)).await };
    let step = step.of(tenant, buyer)?;
    match step.row.status {
        Status::Cancelled => Ok(OrderNow::ok(&step.row)),
        Status::PendingPayment => cancel_unpaid(life, step, "buyer").await,
        _ => Err(stands_otherwise(&step)),
    }
}

/// Cancels an order that was not shipped; what was paid is refunded.
#[utoipa::path(
    post, path = "/v1/merchant/orders/{order_id}/cancel", operation_id = "cancel_order_of_merchant", tag = "orders",
    security(("merchant" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = OrderNow), (status = 202, body = OrderNow), Stepped)
)]
async fn cancel_of_merchant<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, order) = Life::<K>::of_merchant(call)?;
    let who = call.actor.who.to_string();
    let step = life.begin(order).await?;
    let mut step = step.filter(|step| step.row.tenant == tenant).ok_or_else(Refused::not_found)?;
    match step.row.status {
        Status::Cancelled | Status::Refunding | Status::Refunded => Ok(OrderNow::ok(&step.row)),
        Status::PendingPayment => cancel_unpaid(life, step, &who).await,
        Status::Paid if !call.actor.permissions.has(Permission::WritePayments) => {
            Err(lacking(Permission::WritePayments).into())
        }
        Status::Paid => {
            begin_refund(life, &mut step, (None, "cancelled by the shop", None), &who).await?;
            let row = step.commit().await?;
            life.wake().notify_one();
            Ok(OrderNow::ok(&row))
        }
        _ => Err(stands_otherwise(&step)),
    }
}

fn stands_otherwise<S: store::sql::Sql>(step: &Step<S>) -> Refused {
    Refused::conflict("this order cannot be cancelled any more; `current` shows it", &OrderNow::of(&step.row))
}

async fn cancel_unpaid<K: Kinds>(life: &Life<K>, step: Step<K::Sql>, who: &str) -> Result<Response<Body>, Refused> {
    let (row, live) = ask_cancel(life, step, Told { who, ..Told::default() }).await?;
    let Some(live) = live else { return Ok(OrderNow::ok(&row)) };
    // What does not come about here is done by the work beside the requests.
    life.look(&live).await?;
    after_closing(life, row.order).await
}

/// Cancels an unpaid order, or has its open attempt closed first, which is given then. `told`: by
/// whom, and why.
pub(super) async fn ask_cancel<K: Kinds>(
    life: &Life<K>,
    mut step: Step<K::Sql>,
    told: Told<'_>,
) -> Result<(OrderRow, Option<Attempt>), Refused> {
    let Some(mut live) = step.attempts().await?.into_iter().find(Attempt::is_live) else {
        life.take(&mut step, Transition::Cancel, told).await?;
        return Ok((step.commit().await?, None));
    };
    if live.after_close.is_none() {
        live.after_close = Some(Status::Cancelled);
        live.schedule(step.now_ms);
        step.save_attempt(&live).await?;
        step.tell(Told { what: "cancel_asked", ..told }).await?;
    }
    Ok((step.commit().await?, Some(live)))
}

async fn after_closing<K: Kinds>(life: &Life<K>, order: OrderId) -> Result<Response<Body>, Refused> {
    let row = life.orders().find(&[order]).await?.remove(&order).ok_or_else(Refused::not_found)?;
    match row.status {
        Status::Cancelled => Ok(OrderNow::ok(&row)),
        Status::PendingPayment => Ok(reply::json(StatusCode::ACCEPTED, &OrderNow::of(&row))),
        _ => Err(Refused::conflict("the buyer has paid meanwhile; `current` shows the order", &OrderNow::of(&row))),
    }
}
