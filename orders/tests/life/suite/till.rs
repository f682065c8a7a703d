//! Which provider a test pays at: the bank's own port, or one of the two interfaces over HTTP, with
//! keys made once a run and accounts read from a file, as a shop's are.

use std::{
    fs,
    sync::{Arc, OnceLock},
};

use kit::{
    clock::ManualClock,
    http::{self, Limits, RequestMetrics, Router, Table},
    metrics::Registry,
    random::SystemRandom,
};
use orders::{
    payment::{
        accounts::FileAccounts,
        keys::{SealKey, SigningKey, VerifyingKey},
    },
    simulator::{AlipaySide, Bank, SimulatedAccounts, Simulator, WechatSide},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const MERCHANT: &str = "1900000001";
const WECHAT_APP: &str = "wx0000000000000001";
const ALIPAY_APP: &str = "2021000000000001";
const SELLER: &str = "2088000000000156";
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0119000000010001";
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
    ) -> FileAccounts<ManualClock, SystemRandom> {
        let folder = TempDir::new().unwrap();
        let tables = match self {
            Self::Simulated => String::new(),
            Self::Wechat => format!(
                "[[wechat]]\ntenant = \"7\"\nmerchant = \"{MERCHANT}\"\napp_id = \"{WECHAT_APP}\"\n\
                 certificate_serial = \"A1\"\nprivate_key = \"file:own\"\nseal_key = \"file:seal\"\n\
                 public_keys = {{ {PUBLIC_KEY_ID} = \"file:theirs\" }}\nanswers_signed_by = \"{PUBLIC_KEY_ID}\"\n"
            ),
            Self::Alipay => format!(
                "[[alipay]]\ntenant = \"7\"\napp_id = \"{ALIPAY_APP}\"\nseller_id = \"{SELLER}\"\n\
                 private_key = \"file:own\"\nalipay_keys = [\"file:theirs\"]\n"
            ),
        };
        let urls = format!("wechat_url = \"{providers}\"\nalipay_url = \"{providers}\"\n");
        let file = folder.path().join("accounts.toml");
        fs::write(&file, format!("public_url = \"{url}\"\n{urls}{tables}")).unwrap();
        let theirs = key(1).public_base64().unwrap();
        for (name, content) in [("own", made()[0].as_str()), ("theirs", &theirs), ("seal", SEAL)] {
            fs::write(folder.path().join(name), format!("{content}\n")).unwrap();
        }
        FileAccounts::open(Some(file), clock.clone(), SystemRandom::default()).unwrap()
    }
}

fn wechat_side() -> WechatSide {
    WechatSide {
        merchant: MERCHANT.to_owned(),
        app_id: WECHAT_APP.to_owned(),
        merchant_key: public(0),
        keys: vec![(PUBLIC_KEY_ID.to_owned(), key(1))],
        seal: SealKey::new(SEAL).unwrap(),
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
