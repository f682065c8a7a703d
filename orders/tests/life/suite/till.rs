//! Which provider a test pays at: the bank's own port, or one of the two interfaces over HTTP, with
//! keys made once a run and accounts read from a file, as a shop's are.

use std::{
    fs,
    sync::{Arc, OnceLock},
};

use domain::id::TenantId;
use kit::{
    clock::ManualClock,
    http::{self, Limits, RequestMetrics, Router, Table},
    metrics::Registry,
    random::SystemRandom,
};
use orders::{
    life::{Accounts, AllAccounts, AnyAccount},
    payment::{
        Charge, Closed, Failed, Forged, Notice, Number, Opened, Payment, Provider, ProviderKind, Received, Refund,
        RefundOrder,
        accounts::FileAccounts,
        keys::{SealKey, SigningKey, VerifyingKey},
        wechat::shipping::Uploader,
    },
    simulator::{AlipaySide, Bank, Simulated, SimulatedAccounts, Simulator, WechatSide},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::rig::{Death, DiesAfter, Rig};

const MERCHANT: &str = "1900000001";
const WECHAT_APP: &str = "wx0000000000000001";
const ALIPAY_APP: &str = "2021000000000001";
const SELLER: &str = "2088000000000156";
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0119000000010001";
/// Of the mini-program.
const PLATFORM: &str = "b6f1c0ffee";
const SEAL: &str = "0123456789abcdef0123456789abcdef";

/// A provider of tenant 7, who has no account elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Till {
    Simulated,
    Wechat,
    Alipay,
}

/// Base64 of private keys: the merchant's, and the provider's.
fn made() -> &'static [String; 2] {
    static KEYS: OnceLock<[String; 2]> = OnceLock::new();
    KEYS.get_or_init(|| std::array::from_fn(|_| SigningKey::generate().unwrap().private_base64().unwrap()))
}

fn key(at: usize) -> SigningKey {
    SigningKey::from_pem(&made()[at]).unwrap()
}

/// Verifies what the merchant signs.
pub(crate) fn merchant_key() -> VerifyingKey {
    public(0)
}

fn public(at: usize) -> VerifyingKey {
    VerifyingKey::from_pem(&key(at).public_base64().unwrap()).unwrap()
}

impl Till {
    /// As rows, timelines and paths name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
        }
    }

    /// How orders are paid there.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Wechat => "wechat_native",
            Self::Alipay => "alipay_precreate",
        }
    }

    /// A method for which the shop has no account.
    pub(crate) const fn method_elsewhere(self) -> &'static str {
        match self {
            Self::Simulated | Self::Wechat => "alipay_wap",
            Self::Alipay => "wechat_native",
        }
    }

    /// The shop's account, as the bank names it.
    pub(crate) const fn account(self) -> &'static str {
        match self {
            Self::Simulated => "7",
            Self::Wechat => MERCHANT,
            Self::Alipay => ALIPAY_APP,
        }
    }

    /// Above what its pace leaves between two requests about refunds of one order.
    pub(crate) const fn gap_ms(self) -> u64 {
        match self {
            Self::Simulated => 2_000,
            Self::Wechat => 61_000,
            Self::Alipay => 11_000,
        }
    }

    /// Its side of the interfaces.
    pub(crate) fn simulator(
        self,
        bank: &Bank<ManualClock>,
        url: &str,
        accounts: SimulatedAccounts<ManualClock>,
    ) -> Arc<Simulator<ManualClock>> {
        let (wechat, alipay) = match self {
            Self::Simulated => (None, None),
            Self::Wechat => (Some(wechat_side()), None),
            Self::Alipay => (None, Some(alipay_side())),
        };
        let (bank, origin) = (bank.clone(), url.to_owned());
        Arc::new(Simulator { bank, wechat, alipay, simulated: Vec::new(), accounts: Some(accounts), origin })
    }

    /// The shop's account, by a file as a shop writes it.
    pub(crate) fn accounts(
        self,
        (url, providers): (&str, &str),
        clock: &ManualClock,
    ) -> (FileAccounts<ManualClock, SystemRandom>, TempDir) {
        let folder = TempDir::new().unwrap();
        let tables = match self {
            Self::Simulated => String::new(),
            Self::Wechat => format!(
                "[[wechat]]\ntenant = \"7\"\nmerchant = \"{MERCHANT}\"\napp_id = \"{WECHAT_APP}\"\n\
                 certificate_serial = \"A1\"\nprivate_key = \"file:own\"\nseal_key = \"file:seal\"\n\
                 public_keys = {{ {PUBLIC_KEY_ID} = \"file:theirs\" }}\nanswers_signed_by = \"{PUBLIC_KEY_ID}\"\n\
                 platform_secret = \"file:platform\"\n"
            ),
            Self::Alipay => format!(
                "[[alipay]]\ntenant = \"7\"\napp_id = \"{ALIPAY_APP}\"\nseller_id = \"{SELLER}\"\n\
                 private_key = \"file:own\"\nalipay_keys = [\"file:theirs\"]\n"
            ),
        };
        let urls =
            format!("wechat_url = \"{providers}\"\nplatform_url = \"{providers}\"\nalipay_url = \"{providers}\"\n");
        let file = folder.path().join("accounts.toml");
        fs::write(&file, format!("public_url = \"{url}\"\n{urls}{tables}")).unwrap();
        let theirs = key(1).public_base64().unwrap();
        for (name, content) in
            [("own", made()[0].as_str()), ("theirs", &theirs), ("seal", SEAL), ("platform", PLATFORM)]
        {
            fs::write(folder.path().join(name), format!("{content}\n")).unwrap();
        }
        (FileAccounts::open(Some(file), clock.clone(), SystemRandom::default()).unwrap(), folder)
    }
}

fn wechat_side() -> WechatSide {
    WechatSide {
        merchant: MERCHANT.to_owned(),
        app_id: WECHAT_APP.to_owned(),
        merchant_key: public(0),
        keys: vec![(PUBLIC_KEY_ID.to_owned(), key(1))],
        seal: SealKey::new(SEAL).unwrap(),
        platform_secret: PLATFORM.to_owned(),
    }
}

fn alipay_side() -> AlipaySide {
    let (app_id, seller_id) = (ALIPAY_APP.to_owned(), SELLER.to_owned());
    AlipaySide { app_id, seller_id, merchant_key: public(0), key: key(1) }
}

/// The providers' own interfaces, on a port of their own.
pub(crate) fn serve(simulator: Arc<Simulator<ManualClock>>, clock: &ManualClock, stop: &CancellationToken) -> String {
    let listener = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let table = Arc::new(Table::of::<Arc<Simulator<ManualClock>>>().unwrap());
    let requests = Arc::new(RequestMetrics::register(&Registry::new().unwrap(), table.names()).unwrap());
    let router = Router::new(simulator, table, clock.clone(), requests);
    tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
    url
}

/// The provider of the tests.
pub(crate) struct Dying(AnyAccount<Simulated<ManualClock>, ManualClock, SystemRandom>, Arc<Death>);

impl Dying {
    async fn then<T>(&self, point: DiesAfter, done: T) -> T {
        let dies = *self.1.point.lock().unwrap() == Some(point);
        if dies {
            self.1.reached.notify_one();
            std::future::pending::<()>().await;
        }
        done
    }
}

impl Provider for Dying {
    async fn create(&self, charge: &Charge) -> Result<Opened, Failed> {
        self.then(DiesAfter::Create, self.0.create(charge).await).await
    }

    async fn query(&self, number: &Number) -> Result<Payment, Failed> {
        self.0.query(number).await
    }

    async fn close(&self, number: &Number) -> Result<Closed, Failed> {
        self.then(DiesAfter::Close, self.0.close(number).await).await
    }

    async fn refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        self.then(DiesAfter::Refund, self.0.refund(refund).await).await
    }

    async fn query_refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        self.0.query_refund(refund).await
    }

    fn verify(&self, received: Received<'_>) -> Result<Notice, Forged> {
        self.0.verify(received)
    }
}

/// The accounts of the tests.
pub(crate) struct Tills(
    pub(crate) AllAccounts<SimulatedAccounts<ManualClock>, ManualClock, SystemRandom>,
    pub(crate) Arc<Death>,
);

impl Accounts for Tills {
    type Provider = Dying;

    fn of(&self, tenant: TenantId, provider: ProviderKind) -> Option<Dying> {
        self.0.of(tenant, provider).map(|account| Dying(account, Arc::clone(&self.1)))
    }

    fn uploader(&self, tenant: TenantId) -> Option<Uploader> {
        self.0.uploader(tenant)
    }

    fn verify(&self, provider: ProviderKind, account: &str, received: Received<'_>) -> Result<Notice, Forged> {
        self.0.verify(provider, account, received)
    }
}

impl Rig {
    /// Changes the file of accounts, and has it read. What it was.
    pub(crate) fn accounts_file(&self, change: impl FnOnce(&str) -> String) -> String {
        let (real, folder) = &self.real;
        let path = folder.path().join("accounts.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, change(&text)).unwrap();
        assert!(real.read_again().unwrap());
        text
    }
}
