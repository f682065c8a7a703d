//! The service: what its handlers share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    id::{BuyerId, LaneId, OfferId, OrderId, PartitionId, TenantId},
    order::OrderRow,
    shard::ShardId,
};
use kit::{
    api::Call,
    clock::Clock as _,
    http::bearer,
    metrics::{Kind, MetricsError, Registry},
    problem::{Code, Problem},
};
use store::{orders::Orders, sql::SqlError};
use tokio::sync::Notify;

use super::{
    goods::OfferKind,
    metrics::Metrics,
    ports::{Kinds, Ports},
    rates::Rates,
    refused::Refused,
    vault::Vault,
};
/// Kinds of offers that were asked for, and since when they are known.
type OfferKinds = HashMap<(TenantId, OfferId), (Duration, OfferKind)>;

/// What the handlers of this service share.
pub struct Life<K: Kinds> {
    ports: Ports<K>,
    metrics: Metrics,
    rates: Rates<K::Clock>,
    /// Of the lanes that were met: a lane stays on its partition.
    partitions: Mutex<HashMap<LaneId, PartitionId>>,
    /// Of the offers that were met, and when they were read.
    kinds: Mutex<OfferKinds>,
    /// There is something to ask a provider for.
    wake: Notify,
    /// When the last whole round of each shard's expiry began, in milliseconds of the monotonic
    /// clock.
    expired: Vec<AtomicU64>,
}

impl<K: Kinds> Life<K> {
    /// The service over its ports.
    pub fn new(ports: Ports<K>, metrics: Metrics) -> Self {
        let rates = Rates::new(&ports.clock);
        let began = millis(ports.clock.monotonic());
        let expired = (0..ports.databases.orders.map().shards()).map(|_| AtomicU64::new(began)).collect();
        let (partitions, kinds) = (Mutex::default(), Mutex::default());
        Self { ports, metrics, rates, partitions, kinds, wake: Notify::new(), expired }
    }

    /// Shows in this registry how far the expiry is.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn show(self: &Arc<Self>, registry: &Registry) -> Result<(), MetricsError> {
        let life = Arc::downgrade(self);
        registry.sampled(move |samples| {
            let Some(life) = life.upgrade() else { return };
            let help = "For how long unpaid orders past their time may have waited to be expired, at most.";
            samples.add(Kind::Gauge, "expiry_behind_seconds", help, &[], life.expiry_behind().as_secs_f64());
        })
    }

    /// All that was due when a shard's last whole round began is expired, unless its buyer is
    /// paying.
    pub(super) fn expiry_behind(&self) -> Duration {
        let oldest = self.expired.iter().map(|began| began.load(Ordering::Relaxed)).min();
        let now = self.ports.clock.monotonic();
        now.saturating_sub(Duration::from_millis(oldest.unwrap_or_else(|| millis(now))))
    }

    /// A whole round of this shard's expiry is done that began then.
    pub(super) fn note_expired(&self, shard: ShardId, began: Duration) {
        if let Some(known) = self.expired.get(usize::from(shard.0)) {
            known.fetch_max(millis(began), Ordering::Relaxed);
        }
    }

    /// Its ports.
    pub(super) fn ports(&self) -> &Ports<K> {
        &self.ports
    }

    /// The order rows.
    pub(super) fn orders(&self) -> &Orders<K::Sql> {
        &self.ports.databases.orders
    }

    /// The first shard: it has what belongs to an offer or a shop, and so to no order's shard.
    pub(super) fn own(&self) -> Result<&K::Sql, SqlError> {
        self.orders().database(ShardId(0))
    }

    /// What personal data is sealed by.
    pub(super) const fn vault(&self) -> &Vault {
        &self.ports.vault
    }

    /// How goods of the offers that were met reach their buyers.
    pub(super) const fn kinds(&self) -> &Mutex<OfferKinds> {
        &self.kinds
    }

    /// The time, in epoch milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.ports.clock.now_ms()
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How often buyers ask.
    pub(super) fn rates(&self) -> &Rates<K::Clock> {
        &self.rates
    }

    /// Wakes the work beside the requests, and waits for it.
    pub(super) fn wake(&self) -> &Notify {
        &self.wake
    }

    /// The partition that decides a lane.
    pub(super) async fn partition(&self, row: &OrderRow) -> Result<PartitionId, Refused> {
        let known = self.partitions.lock().unwrap_or_else(PoisonError::into_inner).get(&row.lane).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let lane = self.ports.databases.ledger.lane(row.lane).await?.ok_or(Refused::NoLane(row.order))?;
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).insert(row.lane, lane.partition);
        Ok(lane.partition)
    }

    /// The buyer who asks, not too often, and the order that the path names.
    pub(super) fn buyer(&self, call: &Call<'_>) -> Result<(TenantId, BuyerId, OrderId), Refused> {
        let token = bearer(call.headers());
        let token = token.ok_or_else(|| Problem::new(Code::Unauthenticated, "this needs a buyer's token"))?;
        let claims = self.ports.buyers.verify(token, self.now_ms()).map_err(Problem::from)?;
        let (tenant, buyer) = (TenantId::new(claims.tenant.into()), BuyerId::new(claims.buyer));
        let (Ok(tenant), Ok(buyer)) = (tenant, buyer) else { return Err(Refused::not_found()) };
        self.rates.take(tenant, buyer)?;
        Ok((tenant, buyer, call.part("order_id")?))
    }

    /// The tenant that somebody acts for, and the order that the path names.
    pub(super) fn of_merchant(call: &Call<'_>) -> Result<(TenantId, OrderId), Refused> {
        let tenant = TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())?;
        Ok((tenant, call.part("order_id")?))
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}
