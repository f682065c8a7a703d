//! Refunds by the merchant, full and partial. A partial one moves money alone; what completes the
//! refund of all that was paid is a full one, and takes the order with it.

use domain::{
    money::Money,
    order::{Status, Transition},
};
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    digest::sha256,
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{OpenApi, ToSchema};

use super::{
    attempts::Attempt,
    document::Asked,
    ports::Kinds,
    refunds::{NewRefund, RefundRow},
    refused::Refused,
    service::Life,
    shown::{Amount, OrderNow},
    step::{Step, Told},
};
use crate::payment::{
    attempt::AttemptState,
    pacer::{Pace, RefundPhase},
};

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

/// What is left of an attempt that was paid.
fn left(attempt: &Attempt, refunds: &[RefundRow]) -> i64 {
    let of_it = refunds.iter().filter(|refund| refund.attempt == attempt.attempt && refund.counts());
    of_it.fold(attempt.amount.amount, |left, refund| left.saturating_sub(refund.amount.amount))
}

/// Makes a refund of a paid order, with the order's own step where it is a full one. Its number
/// among the order's.
pub(super) async fn begin_refund<K: Kinds>(
    life: &Life<K>,
    step: &mut Step<K::Sql>,
    (amount, reason, request_key): (Option<i64>, &str, Option<&str>),
    who: &str,
) -> Result<u32, Refused> {
    let refunds = step.refunds().await?;
    let attempts = step.attempts().await?;
    let paid = attempts.iter().find(|attempt| attempt.state == AttemptState::Paid && left(attempt, &refunds) > 0);
    let is_open = matches!(step.row.status, Status::Paid | Status::Fulfilled | Status::Completed | Status::Refunding);
    let Some(paid) = paid.filter(|_| is_open) else {
        return Err(Refused::conflict("there is nothing to refund of this order", &OrderNow::of(&step.row)));
    };
    let left = left(paid, &refunds);
    let amount = Money { amount: amount.unwrap_or(left), ..paid.amount };
    if amount.amount > left {
        let current = json!({"refundable": Amount::from(Money { amount: left, ..amount })});
        return Err(Refused::conflict("more than is left of what was paid; `current` shows that", &current));
    }
    if Pace::of(paid.provider()).is_some_and(|pace| refunds.len() >= pace.per_order_max as usize) {
        let detail = "the provider allows no more refunds of one payment: refund the rest on its site";
        return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
    }
    let number = step.add_refund(paid, NewRefund { amount, reason, request_key }).await?;
    let ours = RefundRow::number(step.row.order, number)?;
    let (own, amount) = (Some(ours.as_str()), Some(amount.amount));
    let told = Told { who, what: "refund_asked", number: own, amount, why: Some(reason) };
    let transition = match step.row.status {
        Status::Paid => Transition::RefundPaid,
        Status::Fulfilled => Transition::RefundFulfilled,
        Status::Completed => Transition::RefundCompleted,
        // It is refunding: one that came to nothing is asked for anew.
        _ => return step.tell(told).await.map(|()| number).map_err(Refused::from),
    };
    if amount == Some(left) {
        life.take(step, transition, told).await?;
    } else {
        step.tell(told).await?;
    }
    Ok(number)
}
