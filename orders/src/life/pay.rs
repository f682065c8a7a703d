//! Paying: an attempt is stored, then opened at its provider. Repeated, it is the same attempt: an
//! order has one that is open.

use std::time::Duration;

use domain::{money::Money, order::OrderRow};
use kit::{
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, Response, StatusCode, reply},
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::Tx as _;
use utoipa::{OpenApi, ToSchema};

use super::{
    attempts::{Attempt, method},
    ports::{Accounts as _, Kinds},
    refusals::Asked,
    refused::Refused,
    service::Life,
    shown::{Amount, OrderNow},
    step::Told,
};
use crate::payment::{
    Failed, Next,
    attempt::{AttemptState, window},
};

/// How long an order of an older program, which knows no time to pay, can be paid.
const PAY_MS: u64 = 900_000;
/// When to ask again after a provider's silence.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How the buyer pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PayMethod {
    /// On the page of the simulated bank.
    Simulated,
    /// Inside WeChat, by the buyer's `openid` for the shop's app.
    WechatJsapi,
    /// In a browser of a phone, outside WeChat. WeChat lets the page be opened from the address
    /// alone that this request came from.
    WechatH5,
    /// By a code that WeChat scans.
    WechatNative,
    /// In a browser of a phone.
    AlipayWap,
    /// In a browser.
    AlipayPage,
    /// By a code that Alipay scans.
    AlipayPrecreate,
}

impl PayMethod {
    const fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::WechatJsapi => "wechat_jsapi",
            Self::WechatH5 => "wechat_h5",
            Self::WechatNative => "wechat_native",
            Self::AlipayWap => "alipay_wap",
            Self::AlipayPage => "alipay_page",
            Self::AlipayPrecreate => "alipay_precreate",
        }
    }
}

/// A wish to pay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Pay {
    method: PayMethod,
    /// With `wechat_jsapi`, and with nothing else: the buyer's id for the shop's app.
    #[schema(min_length = 1, max_length = 128, pattern = "^[0-9A-Za-z_-]+$", nullable = false)]
    openid: Option<String>,
    /// By which the shop pays a part of the order.
    #[schema(nullable = false, min_length = 1, max_length = 1024)]
    voucher: Option<String>,
}

impl Pay {
    /// Who pays, where the provider is told.
    fn payer(&self, call: &Call<'_>) -> Result<Option<String>, Refused> {
        let wrong = |message| Problem::new(Code::InvalidRequest, "the body is wrong").with_field("openid", message);
        match (self.method, &self.openid) {
            (PayMethod::WechatJsapi, Some(openid)) => Ok(Some(openid.clone())),
            (PayMethod::WechatJsapi, None) => Err(wrong("is missing: give the buyer's id for the shop's app").into()),
            (_, Some(_)) => Err(wrong("belongs to the method wechat_jsapi alone").into()),
            (PayMethod::WechatH5, None) => Ok(Some(call.address.to_string())),
            (_, None) => Ok(None),
        }
    }
}

/// What a page hands to `WeixinJSBridge.invoke("getBrandWCPayRequest", …)` (with `appId`) or to
/// `wx.requestPayment` (without it).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Jsapi {
    app_id: String,
    /// Seconds since 1970, as text.
    time_stamp: String,
    nonce_str: String,
    /// `prepay_id=…`, valid for two hours: this request repeated gives a fresh one.
    package: String,
    /// `RSA`.
    sign_type: String,
    /// Of the four above, by the shop.
    pay_sign: String,
}

/// An attempt to pay, as the buyer sees it.
#[derive(Debug, Serialize, ToSchema)]
struct Payable {
    /// Of the order, as a decimal string.
    order_id: String,
    /// Ours, by which the provider knows it.
    number: String,
    #[schema(value_type = String)]
    method: &'static str,
    amount: Amount,
    /// When the provider stops accepting, RFC 3339.
    expires_at: String,
    /// By `wechat_jsapi`: how a page inside WeChat begins to pay. What it says afterwards proves
    /// nothing: the order is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jsapi: Option<Jsapi>,
    /// By `wechat_h5`, `alipay_wap`, `alipay_page` and `simulated`: the page to open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    page: Option<String>,
    /// By `wechat_native` and `alipay_precreate`: the text to show as a QR code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<String>,
}

/// What an attempt's row keeps of what was opened.
#[derive(Debug, Default, Deserialize)]
struct Kept {
    jsapi: Option<Jsapi>,
    page: Option<String>,
    code: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(pay))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    let route = Route::new(Access::Public, |life, call| Box::pin(pay(life, call)));
    vec![Mount::post("/v1/orders/{order_id}/pay", "pay_order", route).for_pages()]
}

/// Opens a payment of an order. Repeated it answers the same attempt.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/pay", operation_id = "pay_order", tag = "orders", security(("buyer" = [])),
    request_body = Pay, params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = Payable), Asked)
)]
async fn pay<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, buyer, order) = life.buyer(call)?;
    let asked: Pay = call.json()?;
    let payer = asked.payer(call)?;
    let step = life.begin(order).await?;
    let mut step =
        step.filter(|step| step.row.tenant == tenant && step.row.buyer == buyer).ok_or_else(Refused::not_found)?;
    if !step.is_unpaid() {
        return Err(Refused::conflict("this order is not to be paid; `current` shows it", &OrderNow::of(&step.row)));
    }
    let attempts = step.attempts().await?;
    let before = step.voucher().await?;
    let voucher = life.take_voucher(&mut step, asked.voucher.as_deref()).await?;
    let attempt = match attempts.iter().find(|attempt| attempt.is_live()) {
        Some(live) if live.after_close.is_some() => {
            return Err(Refused::conflict("this order is being cancelled", &OrderNow::of(&step.row)));
        }
        Some(live) if live.method.0 != asked.method.name() => {
            let detail = format!("a payment by {} is open until {}", live.method.0, rfc3339(live.window.expires_ms));
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
        // The address of the first request stays; another person's id would open a payment for him.
        Some(live) if asked.openid.is_some() && live.payer != payer => {
            let detail = format!("a payment by another openid is open until {}", rfc3339(live.window.expires_ms));
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
        Some(live) if before.is_none() && voucher > 0 => {
            let until = rfc3339(live.window.expires_ms);
            let detail = format!("a payment without the voucher is open until {until}: pay it, or wait");
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
        Some(live) => {
            // Unlocked before the provider is asked: what it says is a step of its own.
            step.tx.rollback().await;
            live.clone()
        }
        None => {
            let number = attempts.last().map_or(1, |last| last.attempt + 1);
            let attempt = new_attempt(life, &step.row, (asked.method, payer, voucher), (number, step.now_ms))?;
            step.add_attempt(&attempt).await?;
            let number = attempt.number()?;
            let told = Told { who: "buyer", what: "attempt", number: Some(number.as_str()), ..Told::default() };
            step.tell(Told { amount: Some(attempt.amount.amount), ..told }).await?;
            step.commit().await?;
            attempt
        }
    };
    // Asked anew each time, which gives the same attempt: what was opened before may have gone.
    let (now, failed) = life.open(&attempt).await?;
    match now.filter(|now| now.opened.is_some()) {
        Some(now) => Ok(shown(&now)?),
        None if attempt.opened.is_some() => Ok(shown(&attempt)?),
        None => Err(unopened(failed).into()),
    }
}

fn new_attempt<K: Kinds>(
    life: &Life<K>,
    row: &OrderRow,
    (asked, payer, voucher): (PayMethod, Option<String>, i64),
    (attempt, now_ms): (u32, u64),
) -> Result<Attempt, Refused> {
    let now = OrderNow::of(row);
    let method = method(asked.name()).filter(|method| life.ports().accounts.of(row.tenant, method.1).is_some());
    let method = method.ok_or_else(|| Refused::conflict("the shop takes no payment by this method", &now))?;
    let pay_by_ms = row.pay_by_ms.unwrap_or(now_ms + PAY_MS);
    let window = window(method.1, now_ms, pay_by_ms);
    let window = window.ok_or_else(|| Refused::conflict("too little time is left to pay this order", &now))?;
    let total = row.unit_price.times(row.quantity);
    let net = total.and_then(|total| Some(Money { amount: total.amount.checked_sub(voucher)?, ..total }));
    let amount = net.filter(|net| net.amount > 0);
    let amount = amount.ok_or_else(|| Refused::conflict("there is nothing to pay for this order", &now))?;
    let mut attempt = Attempt {
        order: row.order,
        attempt,
        tenant: row.tenant,
        method,
        state: AttemptState::Created,
        amount,
        opened: None,
        provider_number: None,
        window,
        after_close: None,
        paid_ms: None,
        next_ms: None,
        payer,
    };
    attempt.schedule(now_ms);
    Ok(attempt)
}

fn shown(attempt: &Attempt) -> Result<Response<Body>, store::sql::SqlError> {
    let kept: Kept = attempt.opened.as_deref().and_then(|opened| serde_json::from_str(opened).ok()).unwrap_or_default();
    let payable = Payable {
        order_id: attempt.order.to_string(),
        number: attempt.number()?.to_string(),
        method: attempt.method.0,
        amount: attempt.amount.into(),
        expires_at: rfc3339(attempt.window.expires_ms),
        jsapi: kept.jsapi,
        page: kept.page,
        code: kept.code,
    };
    Ok(reply::json(StatusCode::OK, &payable))
}

/// Why nothing was opened. The attempt stays: the next request asks with the same number.
fn unopened(failed: Option<Failed>) -> Problem {
    match failed.map(|failed| failed.next()) {
        Some(Next::Repeat) => {
            let detail = "the payment provider took nothing; nothing can be paid yet, come back";
            Problem::new(Code::TemporarilyUnavailable, detail).with_retry_after(RETRY_AFTER)
        }
        Some(Next::Stop) => Problem::new(Code::Conflict, "the payment provider refuses this payment"),
        Some(Next::Query) | None => {
            let detail = "whether the payment is open is not known: repeat this request, it asks for the same one";
            Problem::new(Code::OutcomeUnknown, detail).with_retry_after(RETRY_AFTER)
        }
    }
}
