//! Orders that were accepted and have no row yet. What their buyers say of them is kept under their
//! ids, and counts once the row is there and names the same buyer.

use domain::{
    id::{BuyerId, OrderId, Slot, TenantId},
    order::Status,
    shard::ShardId,
};
use kit::http::{Body, Response, StatusCode, reply};
use store::sql::{Tx as _, Value, stored};

use super::{cancel::ask_cancel, ports::Kinds, refused::Refused, service::Life, shown::OrderNow, step::Told};

/// How long an order may be without its row. A row that comes later is the buyer's to cancel again.
const PENDING_MS: u64 = 600_000;
/// Between the clocks of the engine, which made the id, and ours.
const SLACK_MS: u64 = 5_000;
/// Between two looks for a row.
const LOOK_MS: u64 = 1_000;
/// Wishes of a shard that are looked at at once.
const AT_ONCE: u32 = 64;

const WISH: &str = "INSERT INTO cancel_wishes (order_id, tenant, buyer, next_at) VALUES (?, ?, ?, ?)";
const DUE: &str = "SELECT order_id, tenant, buyer FROM cancel_wishes WHERE next_at <= ? ORDER BY next_at LIMIT ?";
const LATER: &str = "UPDATE cancel_wishes SET next_at = ? WHERE order_id = ? AND tenant = ? AND buyer = ?";
const FORGET: &str = "DELETE FROM cancel_wishes WHERE order_id = ? AND tenant = ? AND buyer = ?";

impl<K: Kinds> Life<K> {
    /// Whether an order without a row may become one of this buyer: its id tells his slot and its
    /// time. Another one is absent.
    pub(super) fn may_be_pending(&self, order: OrderId, buyer: BuyerId) -> Result<(), Refused> {
        let (minted_ms, now_ms) = (order.minted_at_ms(), self.now_ms());
        let is_young = minted_ms <= now_ms + SLACK_MS && now_ms < minted_ms + PENDING_MS;
        if is_young && order.slot() == Slot::of(buyer) { Ok(()) } else { Err(Refused::not_found()) }
    }

    /// Keeps that a buyer calls his pending order off: it is cancelled once it has its row.
    pub(super) async fn wish_cancel(
        &self,
        order: OrderId,
        (tenant, buyer): (TenantId, BuyerId),
    ) -> Result<Response<Body>, Refused> {
        self.may_be_pending(order, buyer)?;
        let mut tx = self.orders().begin(order).await?;
        let wish = vec![order.stored().into(), tenant.stored().into(), buyer.stored().into(), 0_u32.into()];
        tx.insert_absent(WISH, wish).await?;
        tx.commit().await?;
        Ok(reply::json(StatusCode::ACCEPTED, &OrderNow::pending(order)))
    }

    /// Cancels what was called off before it had its row. How many wishes were looked at.
    ///
    /// # Errors
    /// [`Refused`] when a database fails.
    pub async fn cancel_wished(&self, shard: ShardId) -> Result<usize, Refused> {
        let due = vec![stored(self.now_ms())?.into(), AT_ONCE.into()];
        let found = self.orders().beside(shard, DUE, due).await?;
        let count = found.len();
        for mut row in found {
            let (order, tenant, buyer) = (row.id(OrderId::new)?, row.id(TenantId::new)?, row.id(BuyerId::new)?);
            let key = || [order.stored(), tenant.stored(), buyer.stored()].map(Value::from);
            let step = self.begin(order).await?;
            if step.is_none() && self.now_ms() < order.minted_at_ms() + PENDING_MS {
                let later = std::iter::once(stored(self.now_ms() + LOOK_MS)?.into()).chain(key()).collect();
                self.orders().change_beside(shard, LATER, later).await?;
                continue;
            }
            // What was paid meanwhile stays so.
            if let Some(step) = step
                && (step.row.tenant, step.row.buyer, step.row.status) == (tenant, buyer, Status::PendingPayment)
            {
                ask_cancel(self, step, Told { who: "buyer", ..Told::default() }).await?;
            }
            self.orders().change_beside(shard, FORGET, key().into()).await?;
        }
        Ok(count)
    }
}
