//! Alipay, RSA2 by public keys: wap, page and precreate; query, close, refund, notices.
//! (D) <https://opendocs.alipay.com/open/203/105286>

/// What is signed of parameters.
pub(crate) mod form;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::id::TenantId;
use domain::money::{Currency, Money};
use kit::client::{Ask, Client};
use kit::clock::Clock;
use kit::http::header;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::form::Form;
use super::keys::{KeyError, SigningKey, VerifyingKey};
use super::{
    Charge, Closed, Doubt, Event, Failed, Forged, Method, Notice, Number, Opened, Payment, PaymentState, Provider,
    ProviderKind, Reason, Received, Refund, RefundOrder, RefundState, amount, beijing, words,
};

/// Decimal places of the yuan, in which Alipay writes amounts.
const PLACES: u8 = 2;
const CURRENCY: &str = "CNY";

/// Alipay's own states. `TRADE_CLOSED` says both that nothing was paid and that all was refunded:
/// the time of the payment tells them apart.
const STATES: [(&str, PaymentState); 4] = [
    ("WAIT_BUYER_PAY", PaymentState::Waiting),
    ("TRADE_SUCCESS", PaymentState::Paid),
    ("TRADE_FINISHED", PaymentState::Paid),
    ("TRADE_CLOSED", PaymentState::Closed),
];

/// A merchant's account.
#[derive(Debug)]
pub struct Account {
    /// Whose it is.
    pub tenant: TenantId,
    /// The merchant's app.
    pub app_id: String,
    /// The merchant's id, `2088…`, which notices name.
    pub seller_id: String,
    /// The app's private key.
    pub key: SigningKey,
    /// Alipay's public keys for this app: more than one while they are being changed.
    pub alipay_keys: Vec<VerifyingKey>,
    /// Where browsers go, such as `https://openapi.alipay.com/gateway.do`.
    pub gateway: String,
    /// Where notices go.
    pub notify_url: String,
}

impl Account {
    fn verifies(&self, text: &[u8], signature: &str) -> bool {
        self.alipay_keys.iter().any(|key| key.verifies(text, signature))
    }
}

/// All accounts, by their app: a notice names it, and is believed by the keys of that account
/// alone.
#[derive(Debug, Default)]
pub struct Ring {
    accounts: HashMap<String, Arc<Account>>,
}

impl Ring {
    /// Adds an account.
    ///
    /// # Errors
    ///
    /// [`KeyError::SerialTaken`] where another account has its app; the old one stays.
    pub fn add(&mut self, account: &Arc<Account>) -> Result<(), KeyError> {
        if self.accounts.get(&account.app_id).is_some_and(|other| !Arc::ptr_eq(other, account)) {
            return Err(KeyError::SerialTaken(account.app_id.clone()));
        }
        self.accounts.insert(account.app_id.clone(), Arc::clone(account));
        Ok(())
    }

    /// Who sent a notice, and what it says.
    ///
    /// # Errors
    ///
    /// [`Forged`].
    pub fn verify(&self, received: Received<'_>) -> Result<Notice, Forged> {
        let form = Form::parse(received.body).ok_or(Forged::NotSigned)?;
        let signature = form.get("sign").ok_or(Forged::NotSigned)?;
        if form.get("sign_type") != Some("RSA2") {
            return Err(Forged::NotSigned);
        }
        let account = form.get("app_id").and_then(|app| self.accounts.get(app)).ok_or(Forged::UnknownKey)?;
        if !account.verifies(form.signed_of_notice().as_bytes(), signature) {
            return Err(Forged::WrongSignature);
        }
        // Signed in another charset, the same bytes say something else. Absent it is UTF-8.
        if form.get("charset").is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
            return Err(Forged::Unreadable);
        }
        let event = event(account, &form).ok_or(Forged::Unreadable)?;
        let id = form.get("notify_id").ok_or(Forged::Unreadable)?.to_owned();
        Ok(Notice { provider: ProviderKind::Alipay, id, tenant: account.tenant, event })
    }
}

/// Alipay takes 256 characters, and none of `/`, `=`, `&`.
fn subject(text: &str) -> String {
    text.chars().filter(|character| !matches!(character, '/' | '=' | '&')).take(256).collect()
}

fn money(text: &str) -> Option<Money> {
    let currency: Currency = CURRENCY.parse().ok()?;
    Some(Money { amount: amount::parse(text, PLACES).ok()?, currency })
}

/// What the word says; `was_paid`: there is a time of payment.
fn state(word: &str, was_paid: bool) -> Option<PaymentState> {
    let state = STATES.iter().find(|(known, _)| *known == word).map(|(_, state)| *state)?;
    Some(if was_paid && state == PaymentState::Closed { PaymentState::Paid } else { state })
}

/// Refunds come to the address of payments, most of them as `TRADE_SUCCESS`: `refund_fee` with
/// `gmt_refund` tells them apart. `refund_fee` is the total of all refunds; `out_biz_no` names
/// this.
fn event(account: &Account, form: &Form) -> Option<Event> {
    if form.get("seller_id").is_some_and(|seller| seller != account.seller_id) {
        return None;
    }
    let Some(word) = form.get("trade_status") else {
        return Some(Event::Other(form.get("notify_type").unwrap_or("unknown").to_owned()));
    };
    let number: Number = form.get("out_trade_no")?.parse().ok()?;
    if let (Some(in_all), Some(_)) = (form.get("refund_fee"), form.get("gmt_refund")) {
        return Some(Event::Refund {
            number,
            refund_number: form.get("out_biz_no").and_then(|refund| refund.parse().ok()),
            state: RefundState::Done,
            amount: None,
            refunded_in_all: Some(money(in_all)?),
        });
    }
    let paid_ms = form.get("gmt_payment").and_then(beijing::read_plain);
    let state = state(word, paid_ms.is_some())?;
    let amount = match state {
        PaymentState::Paid => Some(money(form.get("total_amount")?)?),
        _ => None,
    };
    // New apps are told `buyer_open_id` alone.
    let payer = form.get("buyer_id").or_else(|| form.get("buyer_open_id")).map(str::to_owned);
    let provider_number = form.get("trade_no").map(str::to_owned);
    Some(Event::Payment(Payment { number, provider_number, state, amount, paid_ms, payer }))
}

/// The answer's members that are acted on.
#[derive(Debug, Deserialize)]
struct Told {
    code: String,
    sub_code: Option<String>,
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    trade_status: Option<String>,
    total_amount: Option<String>,
    send_pay_date: Option<String>,
    buyer_user_id: Option<String>,
    buyer_open_id: Option<String>,
    qr_code: Option<String>,
    fund_change: Option<String>,
    out_request_no: Option<String>,
    refund_amount: Option<String>,
    refund_status: Option<String>,
}

/// The adapter.
#[derive(Debug, Clone)]
pub struct Alipay<C> {
    account: Arc<Account>,
    ring: Arc<Ring>,
    client: Client,
    clock: C,
}

impl<C: Clock> Alipay<C> {
    /// Of one account. `client` reaches `openapi.alipay.com`, by way of whatever adds TLS.
    pub fn new(account: Arc<Account>, ring: Arc<Ring>, client: Client, clock: C) -> Self {
        Self { account, ring, client, clock }
    }

    /// The signed parameters of a request.
    fn signed(&self, method: &str, content: &Value, charge: Option<&Charge>) -> Result<Form, Failed> {
        let mut form = Form::default();
        let timestamp = beijing::plain(self.clock.now_ms());
        let content = content.to_string();
        for (name, value) in [
            ("app_id", self.account.app_id.as_str()),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", &timestamp),
            ("version", "1.0"),
            ("biz_content", &content),
        ] {
            form.set(name, value);
        }
        if let Some(charge) = charge {
            form.set("notify_url", &self.account.notify_url);
            form.set("return_url", charge.return_url.as_deref().unwrap_or_default());
        }
        let signature = self.account.key.sign(form.signed_of_request().as_bytes());
        form.set("sign", &signature.map_err(|error| Failed::NotTaken(error.to_string()))?);
        Ok(form)
    }

    /// Sends a signed request and reads the answer, which counts only under Alipay's signature.
    async fn call(&self, method: &str, content: &Value, charge: Option<&Charge>) -> Result<Told, Failed> {
        let form = self.signed(method, content, charge)?;
        let ask = Ask::post("/gateway.do?charset=utf-8")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded;charset=utf-8")
            .body(form.encoded());
        let answer = self.client.exchange(&ask).await.map_err(|error| Failed::of_client(&error))?;
        if let Some(failed) = Failed::of_status(answer.status) {
            return Err(failed);
        }
        let unreadable = Failed::Unknown(Doubt::Unreadable);
        // What is signed is the text of the answer's inner value as it came.
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(&answer.body).map_err(|_malformed| unreadable.clone())?;
        let name = format!("{}_response", method.replace('.', "_"));
        let raw = members.get(&name).or_else(|| members.get("error_response")).ok_or(unreadable.clone())?;
        let told: Told = serde_json::from_str(raw.get()).map_err(|_malformed| unreadable)?;
        let code = told.sub_code.as_deref().unwrap_or(&told.code);
        let signature: Option<String> = members.get("sign").and_then(|sign| serde_json::from_str(sign.get()).ok());
        let Some(signature) = signature else {
            // The gateway does not sign that it took nothing. Whoever forges that makes us ask
            // again.
            let is_of_gateway = matches!(told.code.as_str(), "40001" | "40002" | "40003" | "40006");
            return Err(match is_of_gateway && code.starts_with("isv.") {
                true => Failed::NotTaken(code.to_owned()),
                false => Failed::Unknown(Doubt::BadSignature),
            });
        };
        if !self.account.verifies(raw.get().as_bytes(), &signature) {
            return Err(Failed::Unknown(Doubt::BadSignature));
        }
        match told.code.as_str() {
            "10000" => Ok(told),
            "20000" => Err(Failed::Unknown(Doubt::ProviderFault)),
            _ => Err(words::failed(code)),
        }
    }
}

impl<C: Clock> Provider for Alipay<C> {
    async fn create(&self, charge: &Charge) -> Result<Opened, Failed> {
        let (method, product) = match charge.method {
            Method::AlipayWap => ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
            Method::AlipayPage => ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
            Method::AlipayPrecreate => ("alipay.trade.precreate", "FACE_TO_FACE_PAYMENT"),
            _ => return Err(Failed::NotTaken("Alipay has no such way to pay".to_owned())),
        };
        if charge.amount.currency.as_str() != CURRENCY {
            return Err(Failed::NotTaken(format!("Alipay takes {CURRENCY} only")));
        }
        let content = json!({
            "out_trade_no": charge.number.as_str(),
            "total_amount": amount::write(charge.amount.amount, PLACES),
            "subject": subject(&charge.description),
            "product_code": product,
            "time_expire": beijing::plain(charge.expires_ms),
        });
        if charge.method != Method::AlipayPrecreate {
            // The buyer's browser carries the request: nothing is at Alipay until it arrives there.
            let form = self.signed(method, &content, Some(charge))?;
            return Ok(Opened::Page(format!("{}?{}", self.account.gateway, form.encoded())));
        }
        let told = self.call(method, &content, Some(charge)).await?;
        told.qr_code.map(Opened::Code).ok_or(Failed::Unknown(Doubt::Unreadable))
    }

    async fn query(&self, number: &Number) -> Result<Payment, Failed> {
        let told = self.call("alipay.trade.query", &json!({"out_trade_no": number.as_str()}), None).await?;
        let read = || {
            let paid_ms = told.send_pay_date.as_deref().and_then(beijing::read_plain);
            let state = state(told.trade_status.as_deref()?, paid_ms.is_some())?;
            let amount = match state {
                PaymentState::Paid => Some(money(told.total_amount.as_deref()?)?),
                _ => None,
            };
            let is_it = told.out_trade_no.as_deref() == Some(number.as_str());
            let (provider_number, payer) =
                (told.trade_no.clone(), told.buyer_user_id.clone().or_else(|| told.buyer_open_id.clone()));
            is_it.then(|| Payment { number: number.clone(), provider_number, state, amount, paid_ms, payer })
        };
        read().ok_or(Failed::Unknown(Doubt::Unreadable))
    }

    async fn close(&self, number: &Number) -> Result<Closed, Failed> {
        match self.call("alipay.trade.close", &json!({"out_trade_no": number.as_str()}), None).await {
            Ok(_) | Err(Failed::Refused { reason: Reason::Closed, .. }) => Ok(Closed::Closed),
            Err(Failed::Refused { reason: Reason::Absent, .. }) => Ok(Closed::Absent),
            Err(failed) => Err(failed),
        }
    }

    async fn refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        let content = json!({
            "out_trade_no": refund.number.as_str(),
            "refund_amount": amount::write(refund.amount.amount, PLACES),
            "refund_reason": refund.reason,
            "out_request_no": refund.refund_number.as_str(),
        });
        let told = self.call("alipay.trade.refund", &content, None).await?;
        if told.out_trade_no.as_deref() != Some(refund.number.as_str()) {
            return Err(Failed::Unknown(Doubt::Unreadable));
        }
        // `N`: a repetition, or not yet; a query says which.
        let state = if told.fund_change.as_deref() == Some("Y") { RefundState::Done } else { RefundState::Accepted };
        let (refund_number, amount) = (refund.refund_number.clone(), Some(refund.amount));
        Ok(Refund { refund_number, provider_number: None, state, amount })
    }

    async fn query_refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        let content = json!({
            "out_trade_no": refund.number.as_str(),
            "out_request_no": refund.refund_number.as_str(),
        });
        let told = self.call("alipay.trade.fastpay.refund.query", &content, None).await?;
        let refund_number = refund.refund_number.clone();
        // Without the word there is no such refund, or it failed: asked again with its number.
        if told.refund_status.as_deref() != Some("REFUND_SUCCESS") {
            return Err(Failed::Refused { reason: Reason::Absent, code: "no refund_status".to_owned() });
        }
        let amount = told.refund_amount.as_deref().and_then(money);
        if told.out_request_no.as_deref() != Some(refund_number.as_str()) || amount != Some(refund.amount) {
            return Err(Failed::Unknown(Doubt::Unreadable));
        }
        Ok(Refund { refund_number, provider_number: None, state: RefundState::Done, amount })
    }

    fn verify(&self, received: Received<'_>) -> Result<Notice, Forged> {
        self.ring.verify(received)
    }
}
