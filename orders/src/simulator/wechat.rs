//! WeChat Pay's side: it verifies our requests, signs its answers, seals its notices.

use bytes::Bytes;
use kit::clock::Clock;
use kit::http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use super::bank::{Bank, BankRefund, No, Opening, Outgoing, Trade};
use super::cashier;
use crate::payment::keys::{SealKey, SigningKey, VerifyingKey};
use crate::payment::{Number, PaymentState, ProviderKind, beijing};

/// WeChat's keys and its idea of a merchant.
#[derive(Debug)]
pub struct WechatSide {
    /// The merchant's number.
    pub merchant: String,
    /// The merchant's app.
    pub app_id: String,
    /// Of the merchant's certificate.
    pub merchant_key: VerifyingKey,
    /// WeChat's own, each under its serial number.
    pub keys: Vec<(String, SigningKey)>,
    /// The merchant's `APIv3` key.
    pub seal: SealKey,
    /// Of the app at the open platform.
    pub platform_secret: String,
}

/// The token of whoever has the app's secret.
const TOKEN: &str = "simulated";

/// What is asked, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Jsapi,
    H5,
    Native,
    Query,
    Close,
    Refund,
    QueryRefund,
    Share,
    Unfreeze,
    GiveBack,
}

/// A status and a body to be signed.
pub(super) type Said = (StatusCode, Option<Value>);

/// WeChat's words for a refusal.
fn no(no: No) -> Said {
    let (status, code) = match no {
        No::Absent => (StatusCode::NOT_FOUND, "ORDER_NOT_EXIST"),
        No::Paid => (StatusCode::BAD_REQUEST, "ORDERPAID"),
        No::Closed => (StatusCode::BAD_REQUEST, "ORDER_CLOSED"),
        No::Mismatch => (StatusCode::FORBIDDEN, "OUT_TRADE_NO_USED"),
        No::TooMuch | No::Invalid => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
        No::TooOften => (StatusCode::FORBIDDEN, "FREQUENCY_LIMITED"),
        No::NoFunds => (StatusCode::FORBIDDEN, "NOT_ENOUGH"),
    };
    (status, Some(json!({"code": code, "message": "refused"})))
}

fn text<'a>(body: &'a Value, path: &str) -> Result<&'a str, No> {
    body.pointer(path).and_then(Value::as_str).ok_or(No::Invalid)
}

fn number(body: &Value, path: &str) -> Result<Number, No> {
    text(body, path)?.parse().map_err(|_invalid| No::Invalid)
}

fn units(body: &Value, path: &str) -> Result<i64, No> {
    body.pointer(path).and_then(Value::as_i64).ok_or(No::Invalid)
}

impl WechatSide {
    /// Whether the merchant signed this request.
    pub(super) fn is_signed(&self, method: &str, path: &str, authorization: &str, body: &[u8]) -> bool {
        let Some(rest) = authorization.strip_prefix("WECHATPAY2-SHA256-RSA2048 ") else { return false };
        let part = |name: &str| {
            let parts = rest.split(',').filter_map(|part| part.split_once('='));
            let mut of_name = parts.filter(|(known, _)| *known == name);
            of_name.next().map(|(_, value)| value.trim_matches('"')).unwrap_or_default()
        };
        let mut text = format!("{method}\n{path}\n{}\n{}\n", part("timestamp"), part("nonce_str")).into_bytes();
        text.extend_from_slice(body);
        text.push(b'\n');
        part("mchid") == self.merchant && self.merchant_key.verifies(&text, part("signature"))
    }

    /// The headers that sign a body, by the key that was asked for, or by the first.
    pub(super) fn sign(&self, asked: Option<&str>, now_ms: u64, body: &str) -> Vec<(HeaderName, String)> {
        let key = asked.and_then(|asked| self.keys.iter().find(|(serial, _)| serial == asked)).or(self.keys.first());
        let Some((serial, key)) = key else { return Vec::new() };
        let (seconds, nonce) = (now_ms / 1_000, "simulated");
        let signature = key.sign(format!("{seconds}\n{nonce}\n{body}\n").as_bytes()).unwrap_or_default();
        vec![
            (HeaderName::from_static("wechatpay-serial"), serial.clone()),
            (HeaderName::from_static("wechatpay-timestamp"), seconds.to_string()),
            (HeaderName::from_static("wechatpay-nonce"), nonce.to_owned()),
            (HeaderName::from_static("wechatpay-signature"), signature),
        ]
    }

    /// A token of the open platform.
    pub(super) fn token(&self, body: &Value) -> Value {
        let is_its = body["appid"] == self.app_id.as_str() && body["secret"] == self.platform_secret.as_str();
        if is_its && body["grant_type"] == "client_credential" {
            json!({"access_token": TOKEN, "expires_in": 7_200})
        } else {
            json!({"errcode": 40_125, "errmsg": "simulated"})
        }
    }

    /// What was told of a shipping.
    pub(super) fn shipped<C: Clock>(&self, bank: &Bank<C>, query: &str, body: &Value) -> Value {
        let errcode = match query.strip_prefix("access_token=") {
            None | Some("") => 41_001,
            Some(TOKEN) if text(body, "/order_key/mchid") == Ok(&*self.merchant) => {
                let number = number(body, "/order_key/out_trade_no");
                let shipped = number.and_then(|number| bank.ship(&self.merchant, &number, body.clone()));
                shipped.map_or(10_060_001, |()| 0)
            }
            Some(TOKEN) => 10_060_001,
            Some(_) => 40_001,
        };
        json!({"errcode": errcode, "errmsg": "simulated"})
    }

    /// Carries a request out.
    pub(super) fn answer<C: Clock>(&self, bank: &Bank<C>, call: Call, part: &str, body: &Value, origin: &str) -> Said {
        self.carry_out(bank, call, part, body, origin).unwrap_or_else(no)
    }

    fn carry_out<C: Clock>(
        &self,
        bank: &Bank<C>,
        call: Call,
        part: &str,
        body: &Value,
        origin: &str,
    ) -> Result<Said, No> {
        let account = &self.merchant;
        let ours = || part.parse::<Number>().map_err(|_invalid| No::Absent);
        let ok = |body| (StatusCode::OK, Some(body));
        Ok(match call {
            Call::Jsapi | Call::H5 | Call::Native => {
                let trade = bank.open(account, self.opening(body)?)?;
                ok(match call {
                    Call::Jsapi => json!({"prepay_id": format!("wx{}", trade.provider_number)}),
                    Call::H5 => json!({"h5_url": format!("{origin}{}", cashier::path(account, &trade))}),
                    _ => json!({"code_url": format!("weixin://wxpay/bizpayurl?pr={}", trade.provider_number)}),
                })
            }
            Call::Query => ok(self.order(&bank.trade(account, &ours()?)?)),
            Call::Close => {
                bank.close(account, &ours()?)?;
                (StatusCode::NO_CONTENT, None)
            }
            Call::Refund => {
                let amount = units(body, "/amount/refund")?;
                let (of, refund) = (number(body, "/out_trade_no")?, number(body, "/out_refund_no")?);
                ok(refunded(&bank.refund(account, &of, &refund, amount)?, bank.now_ms()))
            }
            Call::QueryRefund => ok(refunded(&bank.find_refund(account, &ours()?)?, bank.now_ms())),
            Call::Share => {
                let receivers = body["receivers"].as_array().ok_or(No::Invalid)?;
                let total = receivers.iter().filter_map(|receiver| receiver["amount"].as_i64()).sum();
                let (of, sharing) = (text(body, "/transaction_id")?, text(body, "/out_order_no")?);
                let is_done = bank.share(account, of, sharing, total, body["unfreeze_unsplit"] == true)?;
                let state = if is_done { "FINISHED" } else { "PROCESSING" };
                // Whoever is called so takes nothing.
                let result = |receiver: &Value| if receiver["account"] == "closed" { "CLOSED" } else { "SUCCESS" };
                let results: Vec<_> = receivers.iter().map(|one| json!({"result": result(one)})).collect();
                ok(json!({"state": state, "out_order_no": sharing, "receivers": results}))
            }
            Call::Unfreeze => {
                let (of, sharing) = (text(body, "/transaction_id")?, text(body, "/out_order_no")?);
                bank.share(account, of, sharing, 0, true)?;
                ok(json!({"state": "FINISHED", "out_order_no": sharing}))
            }
            Call::GiveBack => {
                bank.give_back(account, text(body, "/out_order_no")?, units(body, "/amount")?)?;
                ok(json!({"result": "SUCCESS", "out_return_no": text(body, "/out_return_no")?}))
            }
        })
    }

    fn opening(&self, body: &Value) -> Result<Opening, No> {
        if text(body, "/mchid")? != self.merchant || text(body, "/appid")? != self.app_id {
            return Err(No::Invalid);
        }
        let currency = text(body, "/amount/currency")?.parse().map_err(|_invalid| No::Invalid)?;
        Ok(Opening {
            provider: ProviderKind::Wechat,
            number: number(body, "/out_trade_no")?,
            amount: domain::money::Money { amount: units(body, "/amount/total")?, currency },
            description: text(body, "/description")?.to_owned(),
            expires_ms: beijing::read_with_offset(text(body, "/time_expire")?).ok_or(No::Invalid)?,
            notify_url: text(body, "/notify_url")?.to_owned(),
            return_url: String::new(),
            is_shared: body["settle_info"]["profit_sharing"] == true,
        })
    }

    fn order(&self, trade: &Trade) -> Value {
        let state = match (trade.state, trade.refunded) {
            (PaymentState::Waiting, _) => "NOTPAY",
            (PaymentState::Paid, 0) => "SUCCESS",
            (PaymentState::Paid, _) => "REFUND",
            (PaymentState::Closed, _) => "CLOSED",
        };
        let amount = trade.opening.amount;
        let mut order = json!({
            "appid": self.app_id,
            "mchid": self.merchant,
            "out_trade_no": trade.opening.number.as_str(),
            "trade_state": state,
            "amount": {"total": amount.amount, "currency": amount.currency.as_str()},
        });
        if let Some(paid_ms) = trade.paid_ms {
            order["transaction_id"] = json!(trade.provider_number);
            order["success_time"] = json!(beijing::with_offset(paid_ms));
            order["payer"] = json!({"openid": "o_simulated"});
        }
        order
    }

    /// A notice: its signing headers and its body. A forged one is signed, and changed then.
    pub(super) fn write(&self, outgoing: &Outgoing, now_ms: u64) -> Option<(Vec<(HeaderName, String)>, Bytes)> {
        let (kind, resource) = match &outgoing.refund {
            None => ("TRANSACTION.SUCCESS", self.order(&outgoing.trade)),
            Some(refund) => {
                let mut told = refunded(refund, u64::MAX);
                told["refund_status"] = told["status"].take();
                told.as_object_mut()?.remove("status");
                told["mchid"] = json!(self.merchant);
                ("REFUND.SUCCESS", told)
            }
        };
        let nonce = format!(
            "{:012}",
            outgoing.id.bytes().fold(now_ms % 1_000_000, |sum, byte| sum * 7 % 999_983 + u64::from(byte))
        );
        let associated = kind.split('.').next()?.to_lowercase();
        let sealed = self.seal.seal(&nonce, &associated, resource.to_string().as_bytes())?;
        let envelope = json!({
            "id": outgoing.id,
            "create_time": beijing::with_offset(now_ms),
            "resource_type": "encrypt-resource",
            "event_type": kind,
            "summary": "simulated",
            "resource": {
                "original_type": associated,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": sealed,
                "associated_data": associated,
                "nonce": nonce,
            },
        });
        let body = envelope.to_string();
        let serial = self.keys.get(outgoing.key).map(|(serial, _)| serial.as_str());
        let headers = self.sign(serial, now_ms, &body);
        Some((headers, if outgoing.is_forged { format!("{body} ").into() } else { body.into() }))
    }
}

fn refunded(refund: &BankRefund, now_ms: u64) -> Value {
    json!({
        "refund_id": refund.provider_number,
        "out_refund_no": refund.refund_number.as_str(),
        "out_trade_no": refund.number.as_str(),
        "status": if now_ms >= refund.done_ms { "SUCCESS" } else { "PROCESSING" },
        "amount": {"refund": refund.amount, "total": refund.amount, "currency": "CNY"},
    })
}
