//! What the service takes from outside.

use std::future::Future;

use domain::id::TenantId;
use kit::{
    access::Actor,
    clock::Clock,
    http::{HeaderMap, Method},
    problem::Problem,
    random::Random,
    token::TokenVerifier,
};
use store::{shards::Store, sql::Sql};

use super::vault::Vault;
use crate::blocks::Blocks;
use crate::payment::{Forged, Notice, Provider, ProviderKind, Received, wechat::shipping::Uploader};

/// Merchants' accounts at the providers.
pub trait Accounts: Send + Sync + 'static {
    /// One of them.
    type Provider: Provider;

    /// The account of a tenant; `None`: the tenant has none there.
    fn of(&self, tenant: TenantId, provider: ProviderKind) -> Option<Self::Provider>;

    /// Who is told that goods of a tenant were sent; `None`: no money waits for it.
    fn uploader(&self, tenant: TenantId) -> Option<Uploader>;

    /// Who sent a notice, and what it says. `account` stands in the address that it came to: it
    /// MUST do no more than choose a key.
    ///
    /// # Errors
    /// [`Forged`].
    fn verify(&self, provider: ProviderKind, account: &str, received: Received<'_>) -> Result<Notice, Forged>;
}

/// Who the merchants' people and programs are.
pub trait Staff: Send + Sync + 'static {
    /// Whom a token or key stands for; refused as the merchants' service refuses.
    fn actor(
        &self,
        token: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Actor, Box<Problem>>> + Send;
}

/// The kinds of all of it in a deployment. Nothing else differs between deployments.
pub trait Kinds: Send + Sync + 'static {
    /// The databases of rows and ledger.
    type Sql: Sql;
    /// The time.
    type Clock: Clock;
    /// Ids of records.
    type Random: Random;
    /// Accounts at providers.
    type Accounts: Accounts;
    /// Merchants' people.
    type Staff: Staff;
}

/// All of it.
pub struct Ports<K: Kinds> {
    /// Rows, with what stands beside them, and the ledger, which knows the partition of a lane.
    pub databases: Store<K::Sql>,
    /// The lists of orders, by which jobs find them.
    pub blocks: Blocks<K::Sql>,
    /// What personal data is sealed by.
    pub vault: Vault,
    /// The time.
    pub clock: K::Clock,
    /// Ids of records.
    pub random: K::Random,
    /// Accounts at providers.
    pub accounts: K::Accounts,
    /// Merchants' people.
    pub staff: K::Staff,
    /// Buyers' tokens.
    pub buyers: TokenVerifier,
}
