//! Merchants' accounts: the simulated bank's, in this process and in another, and beside them those
//! that a file names.

use domain::id::TenantId;
use kit::{clock::Clock, random::Random};

use super::ports::Accounts;
use crate::{
    payment::{
        Charge, Closed, Failed, Forged, Notice, Number, Opened, Payment, Provider, ProviderKind, Received, Refund,
        RefundOrder,
        accounts::FileAccounts,
        alipay::Alipay,
        wechat::{Wechat, shipping::Uploader},
    },
    simulator::{RemoteAccount, RemoteAccounts, Simulated, SimulatedAccounts},
};

/// Accounts at the providers by a file, and at the simulated bank by `simulated`.
#[derive(Debug, Clone)]
pub struct AllAccounts<S, C, R> {
    /// At the simulated bank.
    pub simulated: S,
    /// At WeChat Pay and Alipay.
    pub real: FileAccounts<C, R>,
}

/// An account at one of the providers.
#[derive(Debug, Clone)]
pub enum AnyAccount<S, C, R> {
    /// The simulated bank.
    Simulated(S),
    /// WeChat Pay.
    Wechat(Box<Wechat<C, R>>),
    /// Alipay.
    Alipay(Box<Alipay<C>>),
}

impl<S: Accounts, C: Clock, R: Random> Accounts for AllAccounts<S, C, R> {
    type Provider = AnyAccount<S::Provider, C, R>;

    fn of(&self, tenant: TenantId, provider: ProviderKind) -> Option<Self::Provider> {
        match provider {
            ProviderKind::Simulated => self.simulated.of(tenant, provider).map(AnyAccount::Simulated),
            ProviderKind::Wechat => self.real.wechat(tenant).map(Box::new).map(AnyAccount::Wechat),
            ProviderKind::Alipay => self.real.alipay(tenant).map(Box::new).map(AnyAccount::Alipay),
        }
    }

    fn uploader(&self, tenant: TenantId) -> Option<Uploader> {
        self.real.uploader(tenant)
    }

    fn verify(&self, provider: ProviderKind, account: &str, received: Received<'_>) -> Result<Notice, Forged> {
        match provider {
            ProviderKind::Simulated => self.simulated.verify(provider, account, received),
            // The key that signed says whose it is.
            ProviderKind::Wechat | ProviderKind::Alipay => self.real.verify(provider, received),
        }
    }
}

impl<S: Provider, C: Clock, R: Random> Provider for AnyAccount<S, C, R> {
    async fn create(&self, charge: &Charge) -> Result<Opened, Failed> {
        match self {
            Self::Simulated(account) => account.create(charge).await,
            Self::Wechat(account) => account.create(charge).await,
            Self::Alipay(account) => account.create(charge).await,
        }
    }

    async fn query(&self, number: &Number) -> Result<Payment, Failed> {
        match self {
            Self::Simulated(account) => account.query(number).await,
            Self::Wechat(account) => account.query(number).await,
            Self::Alipay(account) => account.query(number).await,
        }
    }

    async fn close(&self, number: &Number) -> Result<Closed, Failed> {
        match self {
            Self::Simulated(account) => account.close(number).await,
            Self::Wechat(account) => account.close(number).await,
            Self::Alipay(account) => account.close(number).await,
        }
    }

    async fn refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        match self {
            Self::Simulated(account) => account.refund(refund).await,
            Self::Wechat(account) => account.refund(refund).await,
            Self::Alipay(account) => account.refund(refund).await,
        }
    }

    async fn query_refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        match self {
            Self::Simulated(account) => account.query_refund(refund).await,
            Self::Wechat(account) => account.query_refund(refund).await,
            Self::Alipay(account) => account.query_refund(refund).await,
        }
    }

    fn verify(&self, received: Received<'_>) -> Result<Notice, Forged> {
        match self {
            Self::Simulated(account) => account.verify(received),
            Self::Wechat(account) => account.verify(received),
            Self::Alipay(account) => account.verify(received),
        }
    }
}

impl<C: Clock> Accounts for SimulatedAccounts<C> {
    type Provider = Simulated<C>;

    fn of(&self, tenant: TenantId, provider: ProviderKind) -> Option<Simulated<C>> {
        (provider == ProviderKind::Simulated).then(|| self.account(tenant)).flatten()
    }

    fn uploader(&self, _: TenantId) -> Option<Uploader> {
        None
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

    fn uploader(&self, _: TenantId) -> Option<Uploader> {
        None
    }

    fn verify(&self, provider: ProviderKind, account: &str, received: Received<'_>) -> Result<Notice, Forged> {
        let tenant = account.parse().ok().and_then(|tenant| self.of(tenant, provider));
        tenant.ok_or(Forged::UnknownKey)?.verify(received)
    }
}
