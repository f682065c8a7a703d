//! WeChat Pay v3, direct merchants: JSAPI, H5, native; refunds; profit sharing; shipping.
//! (D) <https://pay.weixin.qq.com/wiki/doc/apiv3/wechatpay/wechatpay4_1.shtml>

/// Signatures of requests, answers and notices.
mod signature;

/// The JSON of requests and answers.
mod wire;

/// Profit sharing.
mod sharing;

/// That goods were sent, for the platform.
pub mod shipping;

use std::collections::HashMap;
use std::sync::Arc;

use domain::id::TenantId;
use kit::client::{Ask, Client};
use kit::clock::Clock;
use kit::http::{Method as HttpMethod, header};
use kit::random::Random;
use kit::settings::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::keys::{Certificate, KeyError, SealKey, SigningKey, VerifyingKey};
use super::{
    Charge, Closed, Doubt, Failed, Forged, Method, Notice, Number, Opened, Payment, Provider, Reason, Received, Refund,
    RefundOrder, words,
};

pub use self::signature::JsapiParameters;

/// A merchant's account.
#[derive(Debug)]
pub struct Account {
    /// Whose it is.
    pub tenant: TenantId,
    /// The merchant's number at WeChat Pay.
    pub merchant: String,
    /// The app that the buyer pays in.
    pub app_id: String,
    /// Of the merchant's own certificate.
    pub certificate_serial: String,
    /// The merchant's private key.
    pub key: SigningKey,
    /// Seals the resources of notices.
    pub seal: SealKey,
    /// The `PUB_KEY_ID_…` by which WeChat is asked to sign its answers, once the account is in
    /// public-key mode; `None`: by its platform certificate.
    pub answers_signed_by: Option<String>,
    /// Where notices go: an `https` URL without a query.
    pub notify_url: String,
    /// Of the app at the open platform, which is told that goods were sent; `None`: nobody is.
    pub platform_secret: Option<Secret>,
}

/// The keys that WeChat signs with, of all accounts: platform certificates and public keys side by
/// side, for answers and notices are signed by either during a switch. Found by serial number,
/// which also says whose account a notice is about. Nothing is fetched: merchants give the files.
#[derive(Debug, Default)]
pub struct Ring {
    keys: HashMap<String, (Arc<Account>, VerifyingKey)>,
    first_end_ms: Option<u64>,
}

impl Ring {
    /// Adds a public key under its `PUB_KEY_ID_…`.
    ///
    /// # Errors
    ///
    /// [`KeyError::SerialTaken`] where another account has it; the old key stays.
    pub fn add_public_key(&mut self, account: &Arc<Account>, id: &str, key: VerifyingKey) -> Result<(), KeyError> {
        if self.keys.get(id).is_some_and(|(owner, _)| !Arc::ptr_eq(owner, account)) {
            return Err(KeyError::SerialTaken(id.to_owned()));
        }
        self.keys.insert(id.to_owned(), (Arc::clone(account), key));
        Ok(())
    }

    /// Adds a platform certificate under its serial number.
    ///
    /// # Errors
    ///
    /// As [`Ring::add_public_key`].
    pub fn add_certificate(&mut self, account: &Arc<Account>, certificate: Certificate) -> Result<(), KeyError> {
        self.add_public_key(account, &certificate.serial, certificate.key)?;
        let first = self.first_end_ms.map_or(certificate.ends_at_ms, |first| first.min(certificate.ends_at_ms));
        self.first_end_ms = Some(first);
        Ok(())
    }

    /// When the first of the certificates ends, in epoch milliseconds; public keys have no end.
    #[must_use]
    pub const fn first_end_ms(&self) -> Option<u64> {
        self.first_end_ms
    }

    /// Who sent a notice, and what it says.
    ///
    /// # Errors
    ///
    /// [`Forged`].
    pub fn verify(&self, received: Received<'_>) -> Result<Notice, Forged> {
        let account = signature::owner(self, received.headers, received.body, received.now_ms)?;
        wire::notice(account, received.body)
    }
}

/// The adapter.
#[derive(Debug, Clone)]
pub struct Wechat<C, R> {
    account: Arc<Account>,
    ring: Arc<Ring>,
    client: Client,
    clock: C,
    random: R,
}

impl<C: Clock, R: Random> Wechat<C, R> {
    /// Of one account. `client` reaches `api.mch.weixin.qq.com`, by way of whatever adds TLS.
    pub fn new(account: Arc<Account>, ring: Arc<Ring>, client: Client, clock: C, random: R) -> Self {
        Self { account, ring, client, clock, random }
    }

    /// Sends a signed request and reads the answer, which counts only under WeChat's signature.
    async fn call<T: DeserializeOwned>(
        &self,
        method: HttpMethod,
        path: String,
        body: Option<&Value>,
    ) -> Result<T, Failed> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let seconds = self.clock.now_ms() / 1_000;
        let nonce = signature::nonce(&self.random).map_err(|error| Failed::NotTaken(error.to_string()))?;
        let authorization = signature::authorization(&self.account, method.as_str(), &path, seconds, &nonce, &body)
            .map_err(|error| Failed::NotTaken(error.to_string()))?;
        let mut ask = Ask::new(method, path)
            .header(header::AUTHORIZATION, &authorization)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "flashsale");
        if let Some(id) = &self.account.answers_signed_by {
            ask = ask.header(signature::SERIAL, id);
        }
        if !body.is_empty() {
            ask = ask.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let answer = self.client.exchange(&ask).await.map_err(|error| Failed::of_client(&error))?;
        if let Some(failed) = Failed::of_status(answer.status) {
            return Err(failed);
        }
        let owner = signature::owner(&self.ring, &answer.headers, &answer.body, self.clock.now_ms());
        if !owner.is_ok_and(|owner| Arc::ptr_eq(owner, &self.account)) {
            return Err(Failed::Unknown(Doubt::BadSignature));
        }
        if answer.status.is_success() {
            // 204 has no body, and is read as JSON's nothing.
            let body = if answer.body.is_empty() { b"null".as_slice() } else { &answer.body };
            return serde_json::from_slice(body).map_err(|_malformed| Failed::Unknown(Doubt::Unreadable));
        }
        let refusal: wire::Refusal =
            serde_json::from_slice(&answer.body).map_err(|_malformed| Failed::Unknown(Doubt::Unreadable))?;
        Err(words::failed(&refusal.code))
    }

    fn path_of(&self, number: &Number) -> String {
        format!("/v3/pay/transactions/out-trade-no/{number}")
    }
}

impl<C: Clock, R: Random> Provider for Wechat<C, R> {
    async fn create(&self, charge: &Charge) -> Result<Opened, Failed> {
        let kind = match &charge.method {
            Method::WechatJsapi { .. } => "jsapi",
            Method::WechatH5 { .. } => "h5",
            Method::WechatNative => "native",
            _ => return Err(Failed::NotTaken("WeChat has no such way to pay".to_owned())),
        };
        let body = wire::prepay(&self.account, charge);
        let prepay: wire::Prepay =
            self.call(HttpMethod::POST, format!("/v3/pay/transactions/{kind}"), Some(&body)).await?;
        match (prepay.prepay_id, prepay.h5_url, prepay.code_url) {
            (Some(id), ..) => {
                let not_signed = |error: &dyn std::fmt::Display| Failed::NotTaken(error.to_string());
                let nonce = signature::nonce(&self.random).map_err(|error| not_signed(&error))?;
                let seconds = self.clock.now_ms() / 1_000;
                let parameters = JsapiParameters::sign(&self.account, &id, seconds, nonce);
                Ok(Opened::Jsapi(parameters.map_err(|error| not_signed(&error))?))
            }
            (None, Some(url), _) => Ok(Opened::Page(url)),
            (None, None, Some(code)) => Ok(Opened::Code(code)),
            (None, None, None) => Err(Failed::Unknown(Doubt::Unreadable)),
        }
    }

    async fn query(&self, number: &Number) -> Result<Payment, Failed> {
        let path = format!("{}?mchid={}", self.path_of(number), self.account.merchant);
        let order: wire::Order = self.call(HttpMethod::GET, path, None).await?;
        let payment = wire::payment(&self.account, &order).filter(|payment| payment.number == *number);
        payment.ok_or(Failed::Unknown(Doubt::Unreadable))
    }

    async fn close(&self, number: &Number) -> Result<Closed, Failed> {
        let body = serde_json::json!({"mchid": self.account.merchant});
        let closed = self.call(HttpMethod::POST, format!("{}/close", self.path_of(number)), Some(&body)).await;
        match closed {
            Ok(serde::de::IgnoredAny) | Err(Failed::Refused { reason: Reason::Closed, .. }) => Ok(Closed::Closed),
            Err(Failed::Refused { reason: Reason::Absent, .. }) => Ok(Closed::Absent),
            Err(failed) => Err(failed),
        }
    }

    async fn refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        let body = wire::refund_body(&self.account, refund);
        let told: wire::RefundTold =
            self.call(HttpMethod::POST, "/v3/refund/domestic/refunds".to_owned(), Some(&body)).await?;
        wire::refund(&told, refund).ok_or(Failed::Unknown(Doubt::Unreadable))
    }

    async fn query_refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        let path = format!("/v3/refund/domestic/refunds/{}", refund.refund_number);
        let told: wire::RefundTold = self.call(HttpMethod::GET, path, None).await?;
        wire::refund(&told, refund).ok_or(Failed::Unknown(Doubt::Unreadable))
    }

    fn verify(&self, received: Received<'_>) -> Result<Notice, Forged> {
        self.ring.verify(received)
    }
}
