//! Both providers' sides on one port, and our adapters to them. Keys are made once a run.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use domain::id::TenantId;
use domain::money::Money;
use kit::client::{Client, ClientLimits};
use kit::clock::{Clock as _, ManualClock};
use kit::http::{self, HeaderMap, HeaderValue, Limits, RequestMetrics, Router, Table};
use kit::metrics::Registry;
use kit::random::SeededRandom;
use orders::payment::keys::{SealKey, SigningKey, VerifyingKey};
use orders::payment::{Charge, Method, Number, Received, RefundOrder, alipay, wechat};
use orders::simulator::{AlipaySide, Bank, Post, Simulated, Simulator, WechatSide};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const NOW_MS: u64 = 1_795_852_800_000;
pub(crate) const MERCHANT: &str = "1900000001";
pub(crate) const APP: &str = "2021000000000001";
pub(crate) const SELLER: &str = "2088000000000156";
pub(crate) const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0119000000010001";
pub(crate) const SERIAL: &str = "5157F09EFDC096DE15EBE81A47057A7200000001";
pub(crate) const SEAL: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const NOTIFY_URL: &str = "http://127.0.0.1:9/v1/payments/notify";

/// Base64 of private keys: the merchant's, WeChat's old, WeChat's new, Alipay's, a stranger's.
fn made() -> &'static [String; 5] {
    static KEYS: OnceLock<[String; 5]> = OnceLock::new();
    KEYS.get_or_init(|| std::array::from_fn(|_| SigningKey::generate().unwrap().private_base64().unwrap()))
}

pub(crate) fn key(at: usize) -> SigningKey {
    SigningKey::from_pem(&made()[at]).unwrap()
}

pub(crate) fn public_text(at: usize) -> String {
    key(at).public_base64().unwrap()
}

pub(crate) fn public(at: usize) -> VerifyingKey {
    VerifyingKey::from_pem(&public_text(at)).unwrap()
}

pub(crate) fn tenant(id: u64) -> TenantId {
    id.to_string().parse().unwrap()
}

pub(crate) fn number(text: &str) -> Number {
    text.parse().unwrap()
}

pub(crate) fn cny(amount: i64) -> Money {
    Money { amount, currency: "CNY".parse().unwrap() }
}

pub(crate) fn wechat_account(id: u64, merchant: &str) -> Arc<wechat::Account> {
    Arc::new(wechat::Account {
        tenant: tenant(id),
        merchant: merchant.to_owned(),
        app_id: "wx0000000000000001".to_owned(),
        certificate_serial: "MERCHANTSERIAL".to_owned(),
        key: key(0),
        seal: SealKey::new(SEAL).unwrap(),
        answers_signed_by: Some(PUBLIC_KEY_ID.to_owned()),
        notify_url: NOTIFY_URL.to_owned(),
        platform_secret: None,
    })
}

pub(crate) fn alipay_account(id: u64) -> Arc<alipay::Account> {
    Arc::new(alipay::Account {
        tenant: tenant(id),
        app_id: APP.to_owned(),
        seller_id: SELLER.to_owned(),
        key: key(0),
        alipay_keys: vec![public(4), public(3)],
        gateway: "https://openapi.alipay.com/gateway.do".to_owned(),
        notify_url: NOTIFY_URL.to_owned(),
    })
}

pub(crate) fn charge(text: &str, amount: i64, method: Method) -> Charge {
    Charge {
        number: number(text),
        amount: cny(amount),
        description: "shoes <red> & \"blue\"".to_owned(),
        expires_ms: NOW_MS + 600_000,
        method,
        return_url: Some("https://shop.example/orders/7".to_owned()),
        is_shared: false,
    }
}

pub(crate) fn refund(of: &str, text: &str, amount: i64, paid: i64) -> RefundOrder {
    RefundOrder {
        refund_number: number(text),
        number: number(of),
        amount: cny(amount),
        paid: cny(paid),
        reason: "too small".to_owned(),
    }
}

pub(crate) struct Rig {
    pub(crate) clock: ManualClock,
    pub(crate) bank: Bank<ManualClock>,
    /// The same bank, for what is not asked over HTTP.
    pub(crate) simulator: Simulator<ManualClock>,
    pub(crate) wechat: wechat::Wechat<ManualClock, SeededRandom>,
    pub(crate) alipay: alipay::Alipay<ManualClock>,
    pub(crate) simulated: Simulated<ManualClock>,
    pub(crate) client: Client,
    _stop: DropGuard,
}

fn simulator(bank: &Bank<ManualClock>, origin: &str) -> Simulator<ManualClock> {
    Simulator {
        bank: bank.clone(),
        wechat: Some(WechatSide {
            merchant: MERCHANT.to_owned(),
            app_id: "wx0000000000000001".to_owned(),
            merchant_key: public(0),
            keys: vec![(SERIAL.to_owned(), key(1)), (PUBLIC_KEY_ID.to_owned(), key(2))],
            seal: SealKey::new(SEAL).unwrap(),
            platform_secret: String::new(),
        }),
        alipay: Some(AlipaySide {
            app_id: APP.to_owned(),
            seller_id: SELLER.to_owned(),
            merchant_key: public(0),
            key: key(3),
        }),
        simulated: vec![simulated(bank, origin)],
        accounts: None,
        origin: origin.to_owned(),
    }
}

fn simulated(bank: &Bank<ManualClock>, origin: &str) -> Simulated<ManualClock> {
    Simulated::new(bank.clone(), tenant(7), "hunter22".parse().unwrap(), origin, NOTIFY_URL)
}

pub(crate) fn wechat_ring(account: &Arc<wechat::Account>) -> wechat::Ring {
    let mut ring = wechat::Ring::default();
    ring.add_public_key(account, SERIAL, public(1)).unwrap();
    ring.add_public_key(account, PUBLIC_KEY_ID, public(2)).unwrap();
    ring
}

impl Rig {
    pub(crate) fn start() -> Self {
        let clock = ManualClock::new(NOW_MS);
        let bank = Bank::new(clock.clone());
        let listener = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let origin = format!("http://{address}");
        let table = Table::of::<Simulator<ManualClock>>().unwrap();
        let metrics = RequestMetrics::register(&Registry::new().unwrap(), table.names()).unwrap();
        let router = Router::new(simulator(&bank, &origin), Arc::new(table), clock.clone(), Arc::new(metrics));
        let stop = CancellationToken::new();
        tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
        let limits = ClientLimits { answer_deadline: Duration::from_secs(2), ..ClientLimits::default() };
        let client = Client::new(&address, limits).unwrap();
        let account = wechat_account(7, MERCHANT);
        let ring = Arc::new(wechat_ring(&account));
        let wechat = wechat::Wechat::new(account, ring, client.clone(), clock.clone(), SeededRandom::new(1));
        let account = alipay_account(7);
        let mut ring = alipay::Ring::default();
        ring.add(&account).unwrap();
        let alipay = alipay::Alipay::new(account, Arc::new(ring), client.clone(), clock.clone());
        let (simulator, simulated) = (simulator(&bank, &origin), simulated(&bank, &origin));
        Self { clock, bank, simulator, wechat, alipay, simulated, client, _stop: stop.drop_guard() }
    }

    /// The notices that are due.
    pub(crate) fn notices(&self) -> Vec<Sent> {
        self.simulator.due().into_iter().map(|post| Sent::new(post, self.clock.now_ms())).collect()
    }

    /// The only one.
    pub(crate) fn notice(&self) -> Sent {
        let mut notices = self.notices();
        assert_eq!(notices.len(), 1);
        notices.remove(0)
    }
}

/// A notice as our server would hand it over.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) now_ms: u64,
}

impl Sent {
    fn new(post: Post, now_ms: u64) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in post.headers {
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
        }
        Self { headers, body: post.body, now_ms }
    }

    pub(crate) fn received(&self) -> Received<'_> {
        Received { headers: &self.headers, body: &self.body, now_ms: self.now_ms }
    }

    /// With one bit of this byte of the body flipped.
    pub(crate) fn flipped(&self, at: usize) -> Self {
        let mut body = self.body.to_vec();
        body[at] ^= 1;
        Self { body: body.into(), ..self.clone() }
    }
}
