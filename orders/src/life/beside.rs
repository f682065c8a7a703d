//! What stands beside an order from its payment on: how its goods reach the buyer, and when its
//! after-sale window ends.

use std::{sync::PoisonError, time::Duration};

use domain::id::{OfferId, OrderId, TenantId};
use kit::clock::Clock as _;
use store::sql::{Lock, Sql, SqlError, Tx as _, Value, stored};

use super::{
    goods::{Handover, Kind, OFFER, OfferKind, State, key},
    ports::Kinds,
    refused::Refused,
    service::Life,
    step::{Step, Told},
};

/// From a change of an offer's kind until it counts: every process has heard of it by then.
pub(super) const FROM_MS: u64 = 10_000;
/// How long a process believes what it read of an offer.
const KEPT: Duration = Duration::from_secs(5);
/// Offers that a process remembers.
const KEPT_MAX: usize = 10_000;
const _: () = assert!(KEPT.as_millis() < FROM_MS as u128);
/// From the moment on at which the goods leave, where nobody says that they arrived: 15 days.
pub(super) const AFTER_SENT_MS: u64 = 15 * DAY_MS;
/// The after-sale window, from the arrival on: 7 days, as Chinese law has it for distance selling.
const AFTER_SALE_MS: u64 = 7 * DAY_MS;
const DAY_MS: u64 = 86_400_000;

const BEGIN: &str = "INSERT INTO handovers (order_id, kind, state, tries, next_at) VALUES (?, ?, 1, 0, ?)";
const LOOK: &str = "SELECT kind, state, tries FROM handovers WHERE order_id = ?";
pub(super) const SET: &str = "UPDATE handovers SET state = ?, next_at = ? WHERE order_id = ? AND state = ?";
/// Codes that nobody gave yet are not given any more; those that were are withdrawn.
const WITHDRAW: &str =
    "UPDATE handovers SET state = 3, next_at = ? WHERE order_id = ? AND kind = 3 AND state IN (1, 2)";
const RECIPIENT: &str = "SELECT order_id FROM recipients WHERE order_id = ?";
const NEVER: &str = "DELETE FROM completions WHERE order_id = ?";

/// In the timeline.
pub(super) const DELIVERED: &str = "delivered";

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

    /// Waits for a recipient that is being said at this moment by who saw no row yet: nobody is
    /// said after the goods were sent.
    pub(super) async fn hold_recipient(&mut self) -> Result<(), SqlError> {
        self.tx.lock_rows(RECIPIENT, vec![self.row.order.stored().into()], Lock::Wait).await.map(drop)
    }

    /// The buyer has the goods: from now on the after-sale window passes.
    pub(super) async fn arrived(&mut self, who: &str, why: Option<&str>) -> Result<(), SqlError> {
        self.tell(Told { who, what: DELIVERED, why, ..Told::default() }).await?;
        self.complete_at(self.now_ms + AFTER_SALE_MS).await
    }

    /// It is completed then, unless something else happens before.
    pub(super) async fn complete_at(&mut self, due_ms: u64) -> Result<(), SqlError> {
        let row = vec![self.row.order.stored().into(), stored(due_ms)?.into()];
        self.tx.upsert("completions", &["order_id"], &["due_at"], row).await
    }

    /// The clock has nothing to complete any more.
    pub(super) async fn complete_never(&mut self) -> Result<(), SqlError> {
        self.tx.exec(NEVER, vec![self.row.order.stored().into()]).await.map(drop)
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
}
