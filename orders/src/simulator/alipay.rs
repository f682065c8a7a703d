//! Alipay's side: it verifies our requests, signs its answers and its notices.

use bytes::Bytes;
use domain::money::Money;
use kit::clock::Clock;
use serde_json::{Value, json};

use super::bank::{Bank, No, Opening, Outgoing, Trade};
use crate::payment::alipay::form::Form;
use crate::payment::keys::{SigningKey, VerifyingKey};
use crate::payment::{Number, PaymentState, ProviderKind, amount, beijing};

const PLACES: u8 = 2;

/// Alipay's key and its idea of a merchant.
#[derive(Debug)]
pub struct AlipaySide {
    /// The merchant's app.
    pub app_id: String,
    /// The merchant's id.
    pub seller_id: String,
    /// Of the merchant's app.
    pub merchant_key: VerifyingKey,
    /// Alipay's own.
    pub key: SigningKey,
}

/// What comes of a request.
pub(super) enum Said {
    /// An answer to be signed, under this name.
    Answer(String, Value),
    /// The browser is sent to the page of this trade.
    Page(Box<Trade>),
}

/// Alipay's words for a refusal.
fn no(no: No) -> Value {
    let code = match no {
        No::Absent => "ACQ.TRADE_NOT_EXIST",
        No::Paid => "ACQ.TRADE_HAS_SUCCESS",
        No::Closed => "ACQ.TRADE_HAS_CLOSE",
        No::Mismatch => "ACQ.CONTEXT_INCONSISTENT",
        No::TooMuch => "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
        No::TooOften => "isv.app-call-limited",
        No::NoFunds => "ACQ.SELLER_BALANCE_NOT_ENOUGH",
        No::Invalid => "ACQ.INVALID_PARAMETER",
    };
    json!({"code": "40004", "msg": "Business Failed", "sub_code": code, "sub_msg": "refused"})
}

impl AlipaySide {
    /// Reads a request; `None`: not signed by the merchant.
    pub(super) fn read(&self, body: &[u8]) -> Option<Form> {
        let form = Form::parse(body)?;
        let is_signed = self.merchant_key.verifies(form.signed_of_request().as_bytes(), form.get("sign")?);
        (is_signed && form.get("app_id") == Some(&self.app_id)).then_some(form)
    }

    /// Carries a request out.
    pub(super) fn answer<C: Clock>(&self, bank: &Bank<C>, form: &Form) -> Said {
        let method = form.get("method").unwrap_or_default();
        let name = format!("{}_response", method.replace('.', "_"));
        match self.carry_out(bank, form, method) {
            Ok(Said::Answer(_, mut value)) => {
                value["code"] = json!("10000");
                value["msg"] = json!("Success");
                Said::Answer(name, value)
            }
            Ok(page) => page,
            Err(refusal) => Said::Answer(name, no(refusal)),
        }
    }

    fn carry_out<C: Clock>(&self, bank: &Bank<C>, form: &Form, method: &str) -> Result<Said, No> {
        let account = &self.app_id;
        let content: Value =
            serde_json::from_str(form.get("biz_content").unwrap_or_default()).map_err(|_| No::Invalid)?;
        let text = |name: &str| content[name].as_str().unwrap_or_default();
        let number: Number = text("out_trade_no").parse().map_err(|_invalid| No::Invalid)?;
        let answer = |value| Ok(Said::Answer(String::new(), value));
        match method {
            "alipay.trade.wap.pay" | "alipay.trade.page.pay" | "alipay.trade.precreate" => {
                let currency = "CNY".parse().map_err(|_invalid| No::Invalid)?;
                let units = amount::parse(text("total_amount"), PLACES).map_err(|_invalid| No::Invalid)?;
                let opening = Opening {
                    provider: ProviderKind::Alipay,
                    number,
                    amount: Money { amount: units, currency },
                    description: text("subject").to_owned(),
                    expires_ms: beijing::read_plain(text("time_expire")).ok_or(No::Invalid)?,
                    notify_url: form.get("notify_url").unwrap_or_default().to_owned(),
                    return_url: form.get("return_url").unwrap_or_default().to_owned(),
                    is_shared: false,
                };
                let trade = bank.open(account, opening)?;
                if method == "alipay.trade.precreate" {
                    let code = format!("https://qr.alipay.com/{}", trade.provider_number);
                    return answer(json!({"out_trade_no": trade.opening.number.as_str(), "qr_code": code}));
                }
                Ok(Said::Page(Box::new(trade)))
            }
            "alipay.trade.query" => answer(told(&bank.trade(account, &number)?)),
            "alipay.trade.close" => {
                bank.close(account, &number)?;
                answer(json!({"out_trade_no": number.as_str()}))
            }
            "alipay.trade.refund" => {
                let refund: Number = text("out_request_no").parse().map_err(|_invalid| No::Invalid)?;
                let units = amount::parse(text("refund_amount"), PLACES).map_err(|_invalid| No::Invalid)?;
                let change = if bank.find_refund(account, &refund).is_ok() { "N" } else { "Y" };
                bank.refund(account, &number, &refund, units)?;
                answer(json!({"out_trade_no": number.as_str(), "fund_change": change}))
            }
            "alipay.trade.fastpay.refund.query" => {
                let refund = text("out_request_no").parse().map_err(|_invalid| No::Invalid)?;
                let Ok(refund) = bank.find_refund(account, &refund) else { return answer(json!({})) };
                answer(json!({
                    "out_trade_no": number.as_str(),
                    "out_request_no": refund.refund_number.as_str(),
                    "refund_amount": amount::write(refund.amount, PLACES),
                    "refund_status": "REFUND_SUCCESS",
                }))
            }
            _ => Err(No::Invalid),
        }
    }

    /// An answer with the signature of its inner text, or of something else, or none.
    pub(super) fn write_answer(&self, name: &str, value: &Value, is_right: bool, is_signed: bool) -> String {
        let inner = value.to_string();
        if !is_signed {
            return format!("{{\"{name}\":{inner}}}");
        }
        let text = if is_right { inner.clone() } else { format!("{inner} ") };
        let signature = self.key.sign(text.as_bytes()).unwrap_or_default();
        format!("{{\"{name}\":{inner},\"sign\":\"{signature}\"}}")
    }

    /// A notice, as a form. A forged one is signed, and changed then.
    pub(super) fn write(&self, outgoing: &Outgoing, now_ms: u64) -> Option<Bytes> {
        let trade = &outgoing.trade;
        let paid = amount::write(trade.opening.amount.amount, PLACES);
        let (now, paid_at) = (beijing::plain(now_ms), beijing::plain(trade.paid_ms?));
        let is_all_back = trade.refunded == trade.opening.amount.amount;
        let mut form = Form::default();
        for (name, value) in [
            ("notify_time", now.as_str()),
            ("notify_type", "trade_status_sync"),
            ("notify_id", &outgoing.id),
            ("charset", "utf-8"),
            ("version", "1.0"),
            ("app_id", &self.app_id),
            ("seller_id", &self.seller_id),
            ("out_trade_no", trade.opening.number.as_str()),
            ("trade_no", &trade.provider_number),
            ("trade_status", if is_all_back { "TRADE_CLOSED" } else { "TRADE_SUCCESS" }),
            ("total_amount", &paid),
            ("gmt_payment", &paid_at),
            ("buyer_id", "2088000000000000"),
            ("subject", &trade.opening.description),
        ] {
            form.set(name, value);
        }
        if let Some(refund) = &outgoing.refund {
            form.set("refund_fee", &amount::write(trade.refunded, PLACES));
            form.set("gmt_refund", &format!("{now}.123"));
            form.set("out_biz_no", refund.refund_number.as_str());
        }
        form.set("sign", &self.key.sign(form.signed_of_notice().as_bytes()).ok()?);
        form.set("sign_type", "RSA2");
        if outgoing.is_forged {
            form.set("total_amount", &amount::write(trade.opening.amount.amount + 1, PLACES));
        }
        Some(form.encoded().into())
    }
}

/// What the answer to a query says. All refunded is closed, as at Alipay.
fn told(trade: &Trade) -> Value {
    let is_all_back = trade.refunded == trade.opening.amount.amount;
    let state = match trade.state {
        PaymentState::Waiting => "WAIT_BUYER_PAY",
        PaymentState::Paid if !is_all_back => "TRADE_SUCCESS",
        PaymentState::Paid | PaymentState::Closed => "TRADE_CLOSED",
    };
    let mut told = json!({
        "out_trade_no": trade.opening.number.as_str(),
        "trade_no": trade.provider_number,
        "trade_status": state,
        "total_amount": amount::write(trade.opening.amount.amount, PLACES),
    });
    if let Some(paid_ms) = trade.paid_ms {
        told["send_pay_date"] = json!(beijing::plain(paid_ms));
    }
    told
}
