//! The end of a life that goes well: the goods have arrived, and the after-sale window passes. A
//! row beside the order says when, from the moment on at which the goods leave; so the clock reads
//! no order row before its time.

use domain::{
    id::OrderId,
    order::{Status, Transition},
    shard::ShardId,
};
use kit::{
    access::Permission,
    api::{Access, Call, Route},
    http::{Body, Mount, Response},
};
use store::sql::{Tx as _, Value, stored};
use utoipa::OpenApi;

use super::{
    beside::DELIVERED,
    ports::Kinds,
    refusals::Stepped,
    refused::Refused,
    service::Life,
    shown::OrderNow,
    step::{Step, Told},
};

/// Orders of one transaction: their rows are locked meanwhile.
const BATCH: u32 = 100;
/// When an order is looked at again whose lane is not in the ledger.
const NO_LANE_MS: u64 = 3_600_000;

const DUE: &str = "SELECT order_id FROM completions WHERE due_at <= ? ORDER BY due_at LIMIT ?";
const LATER: &str = "UPDATE completions SET due_at = ? WHERE order_id = ?";

#[derive(OpenApi)]
#[openapi(paths(deliver))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    vec![Mount::post(
        "/v1/merchant/orders/{order_id}/delivered",
        "order_delivered",
        Route::new(Access::Needs(Permission::WriteOrders), |life, call| Box::pin(deliver(life, call))),
    )]
}

/// The goods have arrived: the after-sale window begins. Repeated it answers the same.
#[utoipa::path(
    post, path = "/v1/merchant/orders/{order_id}/delivered", operation_id = "order_delivered", tag = "orders",
    security(("merchant" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = OrderNow), Stepped)
)]
async fn deliver<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, order) = Life::<K>::of_merchant(call)?;
    let who = call.actor.who.to_string();
    let mut step = life.begin(order).await?.ok_or_else(Refused::not_found)?.of_shop(tenant)?;
    match step.row.status {
        Status::Completed => {}
        Status::Fulfilled => {
            if !step.was_told(DELIVERED).await? {
                step.arrived(&who, None).await?;
            }
        }
        _ => {
            let detail = "only what was sent arrives; `current` shows the order";
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
    }
    Ok(OrderNow::ok(&step.commit().await?))
}

impl<K: Kinds> Life<K> {
    /// Completes orders of a shard whose after-sale window is over, a batch of them. How many were
    /// looked at: a whole batch means that more may wait.
    ///
    /// # Errors
    /// [`Refused`] when a database fails; the next call goes on.
    pub async fn complete_due(&self, shard: ShardId) -> Result<bool, Refused> {
        let now_ms = self.now_ms();
        let found = self.orders().beside(shard, DUE, vec![stored(now_ms)?.into(), BATCH.into()]).await?;
        let is_full = found.len() == BATCH as usize;
        let found = found.into_iter().map(|mut row| row.id(OrderId::new)).collect::<Result<Vec<_>, _>>()?;
        if found.is_empty() {
            return Ok(false);
        }
        let rows = self.orders().find(&found).await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in rows.values() {
            match self.partition(row).await {
                Ok(partition) => due.push((row.order, partition)),
                Err(error @ Refused::NoLane(_)) => {
                    tracing::error!(%error, "an order cannot be completed");
                    let later = vec![Value::from(stored(now_ms + NO_LANE_MS)?), row.order.stored().into()];
                    self.orders().change_beside(shard, LATER, later).await?;
                }
                Err(error) => return Err(error),
            }
        }
        // Rows are locked in the order of their ids, as everybody locks them.
        due.sort_unstable_by_key(|(order, _)| *order);
        let mut tx = self.orders().begin_in(shard).await?;
        for (order, partition) in due {
            let Some(row) = self.orders().lock(&mut tx, order).await? else { continue };
            let mut step = Step { tx, row, partition, now_ms };
            if step.row.status == Status::Fulfilled {
                self.take(&mut step, Transition::Complete, Told { who: "clock", ..Told::default() }).await?;
            } else {
                step.complete_never().await?;
            }
            tx = step.tx;
        }
        tx.commit().await?;
        Ok(is_full)
    }
}
