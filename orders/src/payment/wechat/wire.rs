//! The JSON of WeChat Pay v3. Of an answer only what is acted on is read.

use std::borrow::Cow;

use domain::money::{Currency, Money};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Account;
use crate::payment::{
    Charge, Event, Forged, Method, Notice, Number, Payment, PaymentState, ProviderKind, Refund, RefundOrder,
    RefundState, beijing,
};

/// WeChat's own states of a payment. `REFUND`: paid, and refunds followed.
const PAYMENT_STATES: [(&str, PaymentState); 8] = [
    ("SUCCESS", PaymentState::Paid),
    ("REFUND", PaymentState::Paid),
    ("NOTPAY", PaymentState::Waiting),
    ("USERPAYING", PaymentState::Waiting),
    ("ACCEPT", PaymentState::Waiting),
    // The buyer may try again.
    ("PAYERROR", PaymentState::Waiting),
    ("CLOSED", PaymentState::Closed),
    ("REVOKED", PaymentState::Closed),
];

/// WeChat's own states of a refund.
const REFUND_STATES: [(&str, RefundState); 4] = [
    ("SUCCESS", RefundState::Done),
    ("PROCESSING", RefundState::Accepted),
    ("CLOSED", RefundState::Closed),
    ("ABNORMAL", RefundState::Abnormal),
];

fn state<S: Copy>(states: &[(&str, S)], word: &str) -> Option<S> {
    states.iter().find(|(known, _)| *known == word).map(|(_, state)| *state)
}

#[derive(Deserialize)]
pub(super) struct Refusal {
    pub(super) code: String,
}

#[derive(Deserialize)]
pub(super) struct Prepay {
    pub(super) prepay_id: Option<String>,
    pub(super) h5_url: Option<String>,
    pub(super) code_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Order {
    mchid: String,
    out_trade_no: String,
    transaction_id: Option<String>,
    trade_state: String,
    success_time: Option<String>,
    payer: Option<Payer>,
    amount: Option<Total>,
}

#[derive(Deserialize)]
struct Payer {
    openid: Option<String>,
}

#[derive(Deserialize)]
struct Total {
    total: Option<i64>,
    refund: Option<i64>,
    currency: Option<String>,
}

impl Total {
    /// Without a currency it is the yuan: notices of refunds name none.
    fn money(&self, amount: Option<i64>) -> Option<Money> {
        let currency: Currency = self.currency.as_deref().unwrap_or("CNY").parse().ok()?;
        amount.map(|amount| Money { amount, currency })
    }
}

#[derive(Deserialize)]
pub(super) struct RefundTold {
    out_refund_no: String,
    out_trade_no: String,
    refund_id: Option<String>,
    #[serde(alias = "refund_status")]
    status: String,
    amount: Total,
    mchid: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    event_type: String,
    resource: Sealed,
}

#[derive(Deserialize)]
struct Sealed {
    algorithm: String,
    ciphertext: String,
    #[serde(default)]
    associated_data: String,
    nonce: String,
}

pub(super) fn prepay(account: &Account, charge: &Charge) -> Value {
    let mut body = json!({
        "appid": account.app_id,
        "mchid": account.merchant,
        "description": shortened(&charge.description),
        "out_trade_no": charge.number.as_str(),
        "time_expire": beijing::with_offset(charge.expires_ms),
        "notify_url": account.notify_url,
        "amount": {"total": charge.amount.amount, "currency": charge.amount.currency.as_str()},
        "settle_info": {"profit_sharing": charge.is_shared},
    });
    match &charge.method {
        Method::WechatJsapi { openid } => body["payer"] = json!({"openid": openid}),
        Method::WechatH5 { client_address } => {
            body["scene_info"] = json!({"payer_client_ip": client_address, "h5_info": {"type": "Wap"}});
        }
        _ => {}
    }
    body
}

/// WeChat takes 127 characters.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(127) {
        Some((end, _)) => Cow::Owned(text[..end].to_owned()),
        None => Cow::Borrowed(text),
    }
}

/// `None`: of another account, or in words that are not known.
pub(super) fn payment(account: &Account, order: &Order) -> Option<Payment> {
    let state = state(&PAYMENT_STATES, &order.trade_state).filter(|_| order.mchid == account.merchant)?;
    Some(Payment {
        number: order.out_trade_no.parse().ok()?,
        provider_number: order.transaction_id.clone(),
        state,
        amount: match (&order.amount, state) {
            (Some(total), PaymentState::Paid) => total.money(total.total),
            _ => None,
        },
        paid_ms: order.success_time.as_deref().and_then(beijing::read_with_offset),
        payer: order.payer.as_ref().and_then(|payer| payer.openid.clone()),
    })
}

pub(super) fn refund_body(account: &Account, refund: &RefundOrder) -> Value {
    json!({
        "out_trade_no": refund.number.as_str(),
        "out_refund_no": refund.refund_number.as_str(),
        "reason": refund.reason,
        "notify_url": account.notify_url,
        "amount": {
            "refund": refund.amount.amount,
            "total": refund.paid.amount,
            "currency": refund.amount.currency.as_str(),
        },
    })
}

/// `None`: of another refund, of another amount, or in words that are not known.
pub(super) fn refund(told: &RefundTold, asked: &RefundOrder) -> Option<Refund> {
    let amount = told.amount.money(told.amount.refund);
    let is_it = told.out_refund_no == asked.refund_number.as_str()
        && told.out_trade_no == asked.number.as_str()
        && amount == Some(asked.amount);
    is_it.then_some(())?;
    Some(Refund {
        refund_number: asked.refund_number.clone(),
        provider_number: told.refund_id.clone(),
        state: state(&REFUND_STATES, &told.status)?,
        amount,
    })
}

/// What a notice of this account says, its signature verified.
pub(super) fn notice(account: &Account, body: &[u8]) -> Result<Notice, Forged> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_malformed| Forged::Unreadable)?;
    let notice =
        |event| Notice { provider: ProviderKind::Wechat, id: envelope.id.clone(), tenant: account.tenant, event };
    let (family, _) = envelope.event_type.split_once('.').unwrap_or((&envelope.event_type, ""));
    if !matches!(family, "TRANSACTION" | "REFUND") {
        return Ok(notice(Event::Other(envelope.event_type.clone())));
    }
    let sealed = &envelope.resource;
    let opened = account.seal.open(&sealed.nonce, &sealed.associated_data, &sealed.ciphertext);
    let plain = opened.filter(|_| sealed.algorithm == "AEAD_AES_256_GCM").ok_or(Forged::Unreadable)?;
    let event = if family == "TRANSACTION" {
        serde_json::from_slice(&plain).ok().and_then(|order| payment(account, &order)).map(Event::Payment)
    } else {
        serde_json::from_slice(&plain).ok().and_then(|told| refunded(account, &told))
    };
    event.map(notice).ok_or(Forged::Unreadable)
}

fn refunded(account: &Account, told: &RefundTold) -> Option<Event> {
    if told.mchid.as_ref().is_some_and(|merchant| *merchant != account.merchant) {
        return None;
    }
    Some(Event::Refund {
        number: told.out_trade_no.parse().ok()?,
        refund_number: told.out_refund_no.parse::<Number>().ok(),
        state: state(&REFUND_STATES, &told.status)?,
        amount: told.amount.money(told.amount.refund),
        refunded_in_all: None,
    })
}
