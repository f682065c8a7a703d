//! The simulated bank's accounts as those of merchants, in this process and in another.

use domain::id::TenantId;
use kit::clock::Clock;

use super::ports::Accounts;
use crate::{
    payment::{Forged, Notice, Provider as _, ProviderKind, Received},
    simulator::{RemoteAccount, RemoteAccounts, Simulated, SimulatedAccounts},
};

impl<C: Clock> Accounts for SimulatedAccounts<C> {
    type Provider = Simulated<C>;

    fn of(&self, tenant: TenantId, provider: ProviderKind) -> Option<Simulated<C>> {
        (provider == ProviderKind::Simulated).then(|| self.account(tenant)).flatten()
    }

    fn verify(&self, provider: ProviderKind, account: &str, received: Received<'_>) -> Result<Notice, Forged> {
        let tenant = account.parse().ok().and_then(|tenant| self.of(tenant, provider));
        tenant.ok_or(Forged::UnknownKey)?.verify(received)
    }
}

/// `None`: there is no bank, and so nobody's account.
impl Accounts for Option<RemoteAccounts> {
    type Provider = RemoteAccount;

    fn of(&self, tenant: TenantId, provider: ProviderKind) -> Option<RemoteAccount> {
        self.as_ref().filter(|_| provider == ProviderKind::Simulated)?.account(tenant)
    }

    fn verify(&self, provider: ProviderKind, account: &str, received: Received<'_>) -> Result<Notice, Forged> {
        let tenant = account.parse().ok().and_then(|tenant| self.of(tenant, provider));
        tenant.ok_or(Forged::UnknownKey)?.verify(received)
    }
}
