//! Accounts of every tenant at the bank: for trying out, and for the embedded deployment.

use domain::id::TenantId;
use kit::{clock::Clock, digest::hmac_sha256, settings::Secret};

use super::{bank::Bank, provider::Simulated};

/// All accounts at one bank, each with a secret of its own.
#[derive(Debug, Clone)]
pub struct SimulatedAccounts<C> {
    bank: Bank<C>,
    master: Secret,
    origin: String,
    /// Whose there are; `None`: everybody's.
    tenants: Option<Vec<TenantId>>,
}

impl<C: Clock> SimulatedAccounts<C> {
    /// Their secrets are made of `master`; `origin` stands before the paths of pages and notices,
    /// such as `http://127.0.0.1:8080`.
    pub fn new(bank: Bank<C>, master: Secret, origin: &str) -> Self {
        Self { bank, master, origin: origin.to_owned(), tenants: None }
    }

    /// The same for these tenants alone: whoever has an account here is paid in play money.
    #[must_use]
    pub fn only(self, tenants: Vec<TenantId>) -> Self {
        Self { tenants: Some(tenants), ..self }
    }

    /// A tenant's account, if it has one.
    #[must_use]
    pub fn account(&self, tenant: TenantId) -> Option<Simulated<C>> {
        if self.tenants.as_ref().is_some_and(|tenants| !tenants.contains(&tenant)) {
            return None;
        }
        let secret = secret_of(&self.master, tenant)?;
        let notify_url = format!("{}/v1/payments/simulated/notify?account={tenant}", self.origin);
        Some(Simulated::new(self.bank.clone(), tenant, secret, &self.origin, &notify_url))
    }
}

/// The secret of a tenant's account: it signs notices, and opens the bank's port.
pub(super) fn secret_of(master: &Secret, tenant: TenantId) -> Option<Secret> {
    let digest = hmac_sha256(master.expose().as_bytes(), tenant.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().parse().ok()
}
