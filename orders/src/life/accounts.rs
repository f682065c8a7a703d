//! The simulated bank's accounts as those of merchants.

use domain::id::TenantId;
use kit::clock::Clock;

use super::ports::Accounts;
use crate::{
    payment::{Forged, Notice, Provider as _, ProviderKind, Received},
    simulator::{Simulated, SimulatedAccounts},
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
