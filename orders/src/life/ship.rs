//! Goods on their way: sent by the shop, received by the buyer.

use domain::order::{Status, Transition};
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    http::{Body, Mount, Response},
};
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

use super::{
    ports::Kinds,
    refusals::{Asked, Stepped},
    refused::Refused,
    service::Life,
    shown::OrderNow,
    step::Told,
};

/// A parcel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Parcel {
    /// Who carries it.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,32}$")]
    carrier: String,
    /// The carrier's number.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    number: String,
}

#[derive(OpenApi)]
#[openapi(paths(ship, receive))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    vec![
        Mount::post(
            "/v1/merchant/orders/{order_id}/ship",
            "ship_order",
            Route::new(Access::Needs(Permission::WriteOrders), |life, call| Box::pin(ship(life, call))),
        ),
        Mount::post(
            "/v1/orders/{order_id}/receive",
            "receive_order",
            Route::new(Access::Public, |life, call| Box::pin(receive(life, call))),
        )
        .for_pages(),
    ]
}

/// The goods are with the carrier. Repeated with another parcel it adds that to the timeline.
#[utoipa::path(
    post, path = "/v1/merchant/orders/{order_id}/ship", operation_id = "ship_order", tag = "orders",
    security(("merchant" = [])), request_body = Parcel,
    params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = OrderNow), Asked)
)]
async fn ship<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, order) = Life::<K>::of_merchant(call)?;
    let asked: Parcel = call.json()?;
    let who = call.actor.who.to_string();
    let step = life.begin(order).await?;
    let mut step = step.filter(|step| step.row.tenant == tenant).ok_or_else(Refused::not_found)?;
    let told = Told { who: &who, what: "parcel", number: Some(&asked.number), amount: None, why: Some(&asked.carrier) };
    let status = step.row.status;
    match status {
        Status::Paid if step.handover().await?.is_some() => {
            let detail = "no carrier brings this order: it is picked up, or redeemed by codes";
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
        Status::Paid => life.take(&mut step, Transition::Fulfil, told).await?,
        // The same parcel once more is the same request.
        Status::Fulfilled if step.has_parcel(&asked.number, &asked.carrier).await? => {}
        Status::Fulfilled => step.tell(told).await?,
        _ => {
            let detail = "only what is paid is sent; `current` shows the order";
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
    }
    Ok(OrderNow::ok(&step.commit().await?))
}

/// The buyer has the goods. Repeated it answers the same.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/receive", operation_id = "receive_order", tag = "orders",
    security(("buyer" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = OrderNow), Stepped)
)]
async fn receive<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, buyer, order) = life.buyer(call)?;
    let step = life.begin(order).await?;
    let mut step =
        step.filter(|step| step.row.tenant == tenant && step.row.buyer == buyer).ok_or_else(Refused::not_found)?;
    match step.row.status {
        Status::Completed => {}
        Status::Fulfilled => {
            life.take(&mut step, Transition::Complete, Told { who: "buyer", ..Told::default() }).await?;
        }
        _ => {
            let detail = "only what was sent is received; `current` shows the order";
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
    }
    Ok(OrderNow::ok(&step.commit().await?))
}
