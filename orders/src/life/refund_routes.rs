//! Refunds by the merchant, full and partial. A partial one moves money alone; what completes the
//! refund of all that was paid is a full one, and takes the order with it.

use kit::{
    access::Permission,
    api::{Access, Call, Route},
    digest::sha256,
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{
    ports::Kinds,
    refunds::{RefundRow, begin_refund},
    refusals::Asked,
    refused::Refused,
    service::Life,
    shown::{Amount, OrderNow},
    step::Step,
};
use crate::payment::pacer::RefundPhase;

/// A wish to give money back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRefundAsked {
    /// In minor units of the order's currency; left out: all that is left.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, nullable = false)]
    amount: Option<i64>,
    /// What the buyer reads. No personal data.
    #[schema(min_length = 1, max_length = 80)]
    reason: String,
}

/// A refund.
#[derive(Debug, Serialize, ToSchema)]
struct RefundShown {
    /// Ours, by which the provider knows it.
    number: String,
    /// `waiting`, `accepted`, `done` or `failed`.
    #[schema(value_type = String)]
    state: &'static str,
    amount: Amount,
    reason: String,
    order: OrderNow,
}

#[derive(OpenApi)]
#[openapi(paths(refund))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    let route = Route::new(Access::Needs(Permission::WritePayments), |life, call| Box::pin(refund(life, call)));
    vec![Mount::post("/v1/merchant/orders/{order_id}/refunds", "refund_order", route)]
}

/// Gives money back. Accepted is not done: the order's timeline tells when the buyer has it.
#[utoipa::path(
    post, path = "/v1/merchant/orders/{order_id}/refunds", operation_id = "refund_order", tag = "orders",
    security(("merchant" = [])), request_body = NewRefundAsked,
    params(("order_id" = String, Path, description = "The order."), IdempotencyKey),
    responses((status = 201, body = RefundShown), Asked)
)]
async fn refund<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, order) = Life::<K>::of_merchant(call)?;
    let asked: NewRefundAsked = call.json()?;
    let key = request_key(call)?;
    let step = life.begin(order).await?;
    let mut step = step.filter(|step| step.row.tenant == tenant).ok_or_else(Refused::not_found)?;
    let earlier = step.refunds().await?.into_iter().find(|refund| refund.request_key.as_deref() == Some(&key));
    if let Some(earlier) = earlier {
        let is_same = asked.amount.is_none_or(|amount| amount == earlier.amount.amount);
        if !is_same || asked.reason != earlier.reason {
            let detail = "this Idempotency-Key came with another refund of this order; give a new one";
            return Err(Problem::new(Code::IdempotencyMismatch, detail).into());
        }
        return shown(&step, &earlier);
    }
    let who = call.actor.who.to_string();
    let number = begin_refund(life, &mut step, (asked.amount, &asked.reason, Some(&key)), &who).await?;
    let made = step.refunds().await?.into_iter().find(|refund| refund.refund == number);
    let made = made.ok_or_else(Refused::not_found)?;
    let response = shown(&step, &made)?;
    step.commit().await?;
    life.wake().notify_one();
    Ok(response)
}

/// The key of a request, of one caller among all.
fn request_key(call: &Call<'_>) -> Result<String, Refused> {
    let key = format!("{}\n{}", call.actor.who, call.idempotency_key()?);
    Ok(sha256(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn shown<S: store::sql::Sql>(step: &Step<S>, refund: &RefundRow) -> Result<Response<Body>, Refused> {
    let state = match refund.phase {
        RefundPhase::Waiting => "waiting",
        RefundPhase::Accepted => "accepted",
        RefundPhase::Done => "done",
        RefundPhase::Failed => "failed",
    };
    let number = RefundRow::number(refund.order, refund.refund)?.to_string();
    let (amount, reason) = (refund.amount.into(), refund.reason.clone());
    let order = OrderNow::of(&step.row);
    Ok(reply::json(StatusCode::CREATED, &RefundShown { number, state, amount, reason, order }))
}
