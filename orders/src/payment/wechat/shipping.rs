//! Tells WeChat that goods were sent: a trading mini-program's money stays frozen until then. It is
//! a call of the open platform, not of WeChat Pay: an access token instead of signatures.
//! (D) `wxa/sec/order/upload_shipping_info`

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kit::client::{Ask, Client};
use kit::settings::Secret;
use serde::Deserialize;
use serde_json::json;

use super::Account;
use crate::payment::{Doubt, Failed, Number, Reason, beijing};

/// Within this time of the payment (D).
pub const UPLOAD_WITHIN_MS: u64 = 48 * 3_600_000;
/// When somebody is called: a working day before the end.
pub const ALARM_AFTER_MS: u64 = 36 * 3_600_000;

/// How urgent an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// There is time.
    Calm,
    /// Near the limit.
    Alarm,
    /// Beyond it.
    Late,
}

/// How urgent it is to upload the shipping of what was paid then.
#[must_use]
pub const fn urgency(paid_ms: u64, now_ms: u64) -> Urgency {
    match now_ms.saturating_sub(paid_ms) {
        0..ALARM_AFTER_MS => Urgency::Calm,
        ALARM_AFTER_MS..UPLOAD_WITHIN_MS => Urgency::Alarm,
        _ => Urgency::Late,
    }
}

/// How the goods go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parcel {
    /// By a carrier.
    Express {
        /// The platform's code of the carrier.
        carrier: String,
        /// Its number of the parcel.
        tracking: String,
        /// The recipient's phone with its middle hidden, as some carriers require.
        masked_phone: Option<String>,
    },
    /// Nothing is sent: codes.
    Virtual,
    /// The buyer comes.
    Pickup,
}

/// A shipping of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipping {
    /// The merchant's number at WeChat Pay.
    pub merchant: String,
    /// Of the payment.
    pub number: Number,
    /// The payer's id.
    pub openid: String,
    /// What it is.
    pub description: String,
    /// How it goes.
    pub parcel: Parcel,
    /// When we say so, epoch ms: a later word replaces an earlier one.
    pub at_ms: u64,
}

#[derive(Deserialize)]
struct Told {
    errcode: i64,
}

/// What the platform's numbers mean; what is not here is a refusal.
const BUSY: i64 = -1;
const SHIPPED_ALREADY: i64 = 10_060_002;
const TOKENS: [i64; 4] = [40_001, 40_014, 42_001, 41_001];
const TOO_OFTEN: i64 = 45_009;

/// Uploads a shipping. `client` reaches `api.weixin.qq.com`.
///
/// # Errors
///
/// [`Failed::NotTaken`] also where the token is too old: fetch a new one.
pub async fn upload(client: &Client, access_token: &str, shipping: &Shipping) -> Result<(), Failed> {
    let (kind, mut item) = match &shipping.parcel {
        Parcel::Express { carrier, tracking, masked_phone } => {
            let mut item = json!({"tracking_no": tracking, "express_company": carrier});
            if let Some(phone) = masked_phone {
                item["contact"] = json!({"receiver_contact": phone});
            }
            (1, item)
        }
        Parcel::Virtual => (3, json!({})),
        Parcel::Pickup => (4, json!({})),
    };
    item["item_desc"] = json!(shipping.description);
    let body = json!({
        "order_key": {
            "order_number_type": 1,
            "mchid": shipping.merchant,
            "out_trade_no": shipping.number.as_str(),
        },
        "logistics_type": kind,
        "delivery_mode": 1,
        "shipping_list": [item],
        "upload_time": beijing::with_offset(shipping.at_ms),
        "payer": {"openid": shipping.openid},
    });
    let path = format!("/wxa/sec/order/upload_shipping_info?access_token={access_token}");
    let answer = client.exchange(&Ask::post(path).json(&body)).await;
    // An error of the client may quote the path, which holds the token.
    let answer = answer.map_err(|error| match Failed::of_client(&error) {
        Failed::NotTaken(_) => Failed::NotTaken("the platform cannot be reached".to_owned()),
        failed => failed,
    })?;
    if let Some(failed) = Failed::of_status(answer.status) {
        return Err(failed);
    }
    let told: Told = answer.json().map_err(|_malformed| Failed::Unknown(Doubt::Unreadable))?;
    match told.errcode {
        0 | SHIPPED_ALREADY => Ok(()),
        code => Err(failed(code)),
    }
}

fn failed(code: i64) -> Failed {
    match code {
        BUSY => Failed::Unknown(Doubt::ProviderFault),
        code if TOKENS.contains(&code) => Failed::NotTaken("the access token is too old".to_owned()),
        TOO_OFTEN => Failed::Refused { reason: Reason::TooOften, code: TOO_OFTEN.to_string() },
        code => Failed::Refused { reason: Reason::Invalid, code: code.to_string() },
    }
}

/// Tells the platform of one account's shippings, with a token that it keeps. Clones share it.
#[derive(Clone)]
pub struct Uploader {
    merchant: String,
    app_id: String,
    secret: Secret,
    client: Client,
    /// The token, and until when it is used.
    token: Arc<Mutex<Option<(String, u64)>>>,
}

impl fmt::Debug for Uploader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploader").field("merchant", &self.merchant).finish_non_exhaustive()
    }
}

/// Before a token's end another one is asked for.
const TOKEN_MARGIN_MS: u64 = 300_000;

/// The platform's answer to who asks for a token; it gives the same to all who ask meanwhile.
#[derive(Deserialize)]
struct Given {
    access_token: Option<String>,
    /// In seconds.
    #[serde(default)]
    expires_in: u64,
    errcode: Option<i64>,
}

impl Uploader {
    /// Of an account; `None`: its money waits for no word. `client` reaches `api.weixin.qq.com`.
    #[must_use]
    pub fn new(account: &Account, client: Client) -> Option<Self> {
        let (merchant, app_id) = (account.merchant.clone(), account.app_id.clone());
        Some(Self { merchant, app_id, secret: account.platform_secret.clone()?, client, token: Arc::default() })
    }

    /// Tells of a shipping, whose merchant is this account's. Harmless to repeat.
    ///
    /// # Errors
    ///
    /// [`Failed`]; [`Failed::NotTaken`] also where the token was too old: the next call has a new
    /// one.
    pub async fn tell(&self, shipping: Shipping) -> Result<(), Failed> {
        let token = self.token(shipping.at_ms).await?;
        let told = upload(&self.client, &token, &Shipping { merchant: self.merchant.clone(), ..shipping }).await;
        if matches!(told, Err(Failed::NotTaken(_))) {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        told
    }

    async fn token(&self, now_ms: u64) -> Result<String, Failed> {
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((token, _)) = kept.filter(|(_, until_ms)| now_ms < *until_ms) {
            return Ok(token);
        }
        let body = json!({"grant_type": "client_credential", "appid": self.app_id, "secret": self.secret.expose()});
        let answer = self.client.exchange(&Ask::post("/cgi-bin/stable_token").json(&body)).await;
        let answer = answer.map_err(|error| Failed::of_client(&error))?;
        if let Some(failed) = Failed::of_status(answer.status) {
            return Err(failed);
        }
        let given: Given = answer.json().map_err(|_malformed| Failed::Unknown(Doubt::Unreadable))?;
        let Some(token) = given.access_token else { return Err(failed(given.errcode.unwrap_or_default())) };
        let until_ms = now_ms.saturating_add(given.expires_in.saturating_mul(1_000)).saturating_sub(TOKEN_MARGIN_MS);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some((token.clone(), until_ms));
        Ok(token)
    }
}
