use domain::id::{BuyerId, OrderId, TenantId};
use kit::{
    api::Call,
    clock::Clock as _,
    http::bearer,
    problem::{Code, Problem},
    token::TokenVerifier,
};
use store::{orders::Orders, shards::Store};

use super::watchers::Watchers;
use crate::{
    blocks::Blocks,
    life::{Kinds, Refused, Vault},
};

/// What it takes from outside.
pub struct Ports<K: Kinds> {
    /// Rows, with what stands beside them.
    pub databases: Store<K::Sql>,
    /// The blocks of the list.
    pub blocks: Blocks<K::Sql>,
    /// What phones of recipients are found by.
    pub vault: Vault,
    /// The time.
    pub clock: K::Clock,
    /// Merchants' people.
    pub staff: K::Staff,
    /// Buyers' tokens.
    pub buyers: TokenVerifier,
}

/// The service.
pub struct Following<K: Kinds> {
    ports: Ports<K>,
    watchers: Watchers,
}

impl<K: Kinds> Following<K> {
    /// The service over its ports. [`follow`](super::follow()) tells it what happens.
    pub fn new(ports: Ports<K>) -> Self {
        Self { ports, watchers: Watchers::default() }
    }

    /// Merchants' people.
    pub(super) const fn staff(&self) -> &K::Staff {
        &self.ports.staff
    }

    /// The order rows.
    pub(super) const fn orders(&self) -> &Orders<K::Sql> {
        &self.ports.databases.orders
    }

    /// The blocks of the list.
    pub(super) const fn blocks(&self) -> &Blocks<K::Sql> {
        &self.ports.blocks
    }

    /// What phones of recipients are found by.
    pub(super) const fn vault(&self) -> &Vault {
        &self.ports.vault
    }

    /// The time.
    pub(super) const fn clock(&self) -> &K::Clock {
        &self.ports.clock
    }

    /// Who watches which order.
    pub(super) const fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// The tenant that somebody acts for.
    pub(super) fn tenant(call: &Call<'_>) -> Result<TenantId, Refused> {
        TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())
    }

    /// The buyer who asks.
    pub(super) fn buyer(&self, call: &Call<'_>) -> Result<(TenantId, BuyerId), Refused> {
        let token = bearer(call.headers());
        let token = token.ok_or_else(|| Problem::new(Code::Unauthenticated, "this needs a buyer's token"))?;
        let claims = self.ports.buyers.verify(token, self.clock().now_ms()).map_err(Problem::from)?;
        let (tenant, buyer) = (TenantId::new(claims.tenant.into()), BuyerId::new(claims.buyer));
        let (Ok(tenant), Ok(buyer)) = (tenant, buyer) else { return Err(Refused::not_found()) };
        Ok((tenant, buyer))
    }

    /// The order that the path names.
    pub(super) fn order(call: &Call<'_>) -> Result<OrderId, Refused> {
        Ok(call.part("order_id")?)
    }
}
