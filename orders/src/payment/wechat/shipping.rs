//! Tells WeChat that goods were sent: a trading mini-program's money stays frozen until then. It is
//! a call of the open platform, not of WeChat Pay: an access token instead of signatures.
//! (D) `wxa/sec/order/upload_shipping_info`

use kit::client::{Ask, Client};
use serde::Deserialize;
use serde_json::json;

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
        BUSY => Err(Failed::Unknown(Doubt::ProviderFault)),
        code if TOKENS.contains(&code) => Err(Failed::NotTaken("the access token is too old".to_owned())),
        TOO_OFTEN => Err(Failed::Refused { reason: Reason::TooOften, code: TOO_OFTEN.to_string() }),
        code => Err(Failed::Refused { reason: Reason::Invalid, code: code.to_string() }),
    }
}
