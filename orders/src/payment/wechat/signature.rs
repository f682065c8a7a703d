//! WECHATPAY2-SHA256-RSA2048: what is signed of a request, of an answer or notice, and of the
//! parameters by which a page starts to pay. Each part ends with a newline.

use std::sync::Arc;

use kit::http::{HeaderMap, HeaderName};
use kit::random::{NoRandomness, Random};

use super::{Account, Ring};
use crate::payment::Forged;
use crate::payment::keys::KeyError;

pub(super) const SERIAL: HeaderName = HeaderName::from_static("wechatpay-serial");
const TIMESTAMP: HeaderName = HeaderName::from_static("wechatpay-timestamp");
const NONCE: HeaderName = HeaderName::from_static("wechatpay-nonce");
const SIGNATURE: HeaderName = HeaderName::from_static("wechatpay-signature");
/// Before the signature of a probe, which is wrong on purpose.
const PROBE: &str = "WECHATPAY/SIGNTEST/";
/// How far a signature's time may be from ours, as WeChat's pages say.
const TOLERANCE_S: u64 = 300;

/// 32 characters that were never used before.
pub(super) fn nonce(random: &impl Random) -> Result<String, NoRandomness> {
    Ok(random.bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The `Authorization` of a request.
pub(super) fn authorization(
    account: &Account,
    method: &str,
    path: &str,
    seconds: u64,
    nonce: &str,
    body: &str,
) -> Result<String, KeyError> {
    let signature = account.key.sign(format!("{method}\n{path}\n{seconds}\n{nonce}\n{body}\n").as_bytes())?;
    Ok(format!(
        "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
         timestamp=\"{seconds}\",serial_no=\"{}\"",
        account.merchant, account.certificate_serial
    ))
}

/// Whose key signed these very bytes.
pub(super) fn owner<'a>(
    ring: &'a Ring,
    headers: &HeaderMap,
    body: &[u8],
    now_ms: u64,
) -> Result<&'a Arc<Account>, Forged> {
    let one = |name: HeaderName| {
        let mut sent = headers.get_all(name).iter();
        let value = sent.next().and_then(|value| value.to_str().ok()).ok_or(Forged::NotSigned)?;
        if sent.next().is_some() { Err(Forged::NotSigned) } else { Ok(value) }
    };
    let (serial, timestamp, nonce, signature) = (one(SERIAL)?, one(TIMESTAMP)?, one(NONCE)?, one(SIGNATURE)?);
    if signature.starts_with(PROBE) {
        return Err(Forged::Probe);
    }
    let seconds: u64 = timestamp.parse().map_err(|_malformed| Forged::NotSigned)?;
    if (now_ms / 1_000).abs_diff(seconds) > TOLERANCE_S {
        return Err(Forged::Stale);
    }
    let (account, key) = ring.keys.get(serial).ok_or(Forged::UnknownKey)?;
    let mut text = format!("{timestamp}\n{nonce}\n").into_bytes();
    text.extend_from_slice(body);
    text.push(b'\n');
    if key.verifies(&text, signature) { Ok(account) } else { Err(Forged::WrongSignature) }
}

/// What a page hands to `requestPayment`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JsapiParameters {
    /// The app.
    pub app_id: String,
    /// Seconds since 1970, as text.
    pub time_stamp: String,
    /// Random.
    pub nonce_str: String,
    /// `prepay_id=…`, valid for two hours.
    pub package: String,
    /// `RSA`.
    pub sign_type: &'static str,
    /// Of the four above.
    pub pay_sign: String,
}

impl JsapiParameters {
    pub(super) fn sign(account: &Account, prepay_id: &str, seconds: u64, nonce: String) -> Result<Self, KeyError> {
        let (app_id, package) = (account.app_id.clone(), format!("prepay_id={prepay_id}"));
        let pay_sign = account.key.sign(format!("{app_id}\n{seconds}\n{nonce}\n{package}\n").as_bytes())?;
        Ok(Self { app_id, time_stamp: seconds.to_string(), nonce_str: nonce, package, sign_type: "RSA", pay_sign })
    }
}
