//! The routes: the providers' own paths, and the cashier page.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use kit::client::{Ask, Client, ClientLimits};
use kit::clock::Clock;
use kit::http::{
    Asked, BODY_BYTES_MAX, BODY_DEADLINE, Body, HeaderName, HeaderValue, Mount, Response, Service, StatusCode, Uri,
    header, read_body, reply,
};
use kit::problem::{Code, Problem};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::accounts::SimulatedAccounts;
use super::alipay::{self, AlipaySide};
use super::bank::{Bank, Fault, Outgoing};
use super::cashier;
use super::provider::{SIGNATURE, Simulated};
use super::wechat::{Call, WechatSide};
use crate::payment::{Number, ProviderKind};

/// After so long a slow answer is given, and one that never comes given up here too.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often the bank looks for notices to send.
const NOTICES_EVERY: Duration = Duration::from_millis(200);
/// Until a notice that was not taken is sent again.
const AGAIN_MS: u64 = 15_000;
/// Notices that are on their way at once.
const SIDE_BY_SIDE: usize = 32;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route(Path);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Wechat(Call),
    Token,
    Shipping,
    Alipay,
    Cashier,
    Pay,
    Close,
    Statement,
}

/// The bank with its faces; a face that is `None` is not found.
#[derive(Debug)]
pub struct Simulator<C> {
    /// The bank.
    pub bank: Bank<C>,
    /// WeChat Pay.
    pub wechat: Option<WechatSide>,
    /// Alipay.
    pub alipay: Option<AlipaySide>,
    /// Accounts of the port, whose notices it writes.
    pub simulated: Vec<Simulated<C>>,
    /// Accounts of all tenants, for those that are not among them.
    pub accounts: Option<SimulatedAccounts<C>>,
    /// Before the paths of pages, such as `http://127.0.0.1:8080`.
    pub origin: String,
}

/// A notice, ready to be sent.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where to.
    pub url: String,
    /// Its headers.
    pub headers: Vec<(HeaderName, String)>,
    /// Its body.
    pub body: Bytes,
}

fn page(html: String) -> Response<Body> {
    reply::raw(StatusCode::OK, HeaderValue::from_static("text/html; charset=utf-8"), html)
}

fn see(path: &str) -> Response<Body> {
    let mut response = reply::empty(StatusCode::SEE_OTHER);
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

fn not_found() -> Response<Body> {
    Problem::new(Code::NotFound, "there is no such payment").to_response()
}

impl<C: Clock> Simulator<C> {
    /// Notices that are due, each once.
    #[must_use]
    pub fn due(&self) -> Vec<Post> {
        self.bank.due().iter().filter_map(|outgoing| self.post(outgoing)).collect()
    }

    /// Sends the notices that are due, some side by side; one that is not taken is due again later.
    /// How many were taken.
    pub async fn deliver(&self, limits: ClientLimits) -> usize {
        let (mut taken, mut sending, mut shops) = (0, JoinSet::new(), HashMap::new());
        let due = self.bank.due();
        let mut due = due.into_iter().filter_map(|outgoing| Some((self.post(&outgoing)?, outgoing)));
        loop {
            while sending.len() < SIDE_BY_SIDE
                && let Some((post, outgoing)) = due.next()
            {
                // Connections are kept from one notice to the next.
                let client = |shop: &String| Client::new(shop, limits).ok();
                let shop = post.authority();
                let shop = shop.and_then(|shop| shops.entry(shop).or_insert_with_key(client).clone());
                sending.spawn(async move {
                    let is_taken = match shop {
                        Some(shop) => post.send(&shop).await,
                        None => false,
                    };
                    (is_taken, outgoing)
                });
            }
            match sending.join_next().await {
                None => return taken,
                Some(Ok((true, _))) => taken += 1,
                Some(Ok((false, outgoing))) if !outgoing.is_forged => self.bank.again(outgoing, AGAIN_MS),
                Some(_) => {}
            }
        }
    }

    /// Sends what is due until `stop`.
    pub async fn deliver_until(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(NOTICES_EVERY)).await.is_some() {
            self.deliver(ClientLimits::default()).await;
        }
    }

    fn post(&self, outgoing: &Outgoing) -> Option<Post> {
        let (now_ms, url) = (self.bank.now_ms(), outgoing.trade.opening.notify_url.clone());
        let (headers, body) = match outgoing.trade.opening.provider {
            ProviderKind::Wechat => {
                let (mut headers, body) = self.wechat.as_ref()?.write(outgoing, now_ms)?;
                headers.push((header::CONTENT_TYPE, "application/json".to_owned()));
                (headers, body)
            }
            ProviderKind::Alipay => {
                let kind = "application/x-www-form-urlencoded; charset=utf-8".to_owned();
                (vec![(header::CONTENT_TYPE, kind)], self.alipay.as_ref()?.write(outgoing, now_ms)?)
            }
            ProviderKind::Simulated => {
                let known = self.simulated.iter().find(|known| known.account() == outgoing.account).cloned();
                let any = || self.accounts.as_ref()?.account(outgoing.account.parse().ok()?);
                let owner = known.or_else(any)?;
                let (signature, body) = owner.write(outgoing)?;
                let kind = (header::CONTENT_TYPE, "application/json".to_owned());
                (vec![(SIGNATURE, signature), kind], body)
            }
        };
        Some(Post { url, headers, body })
    }

    async fn wechat(&self, call: Call, asked: Asked<'_>) -> Response<Body> {
        let Some(side) = &self.wechat else { return not_found() };
        let (head, part) = (asked.head, asked.part("number"));
        let body = match read_body(asked.body, BODY_BYTES_MAX, BODY_DEADLINE).await {
            Ok(body) => body,
            Err(error) => return Problem::from(error).to_response(),
        };
        let sent = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let authorization = sent(header::AUTHORIZATION).unwrap_or_default();
        if !side.is_signed(head.method.as_str(), path, authorization, &body) {
            return reply::json(StatusCode::UNAUTHORIZED, &serde_json::json!({"code": "SIGN_ERROR"}));
        }
        let asked_key = sent(HeaderName::from_static("wechatpay-serial"));
        let content: Value = serde_json::from_slice(&body).unwrap_or_default();
        let fault = self.bank.next_fault();
        let (status, said) = match fault {
            Some(Fault::FailsBefore) => return reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
            Some(Fault::TooOften) => (StatusCode::FORBIDDEN, Some(serde_json::json!({"code": "FREQUENCY_LIMITED"}))),
            _ => side.answer(&self.bank, call, part, &content, &self.origin),
        };
        if let Some(failure) = fails(fault).await {
            return failure;
        }
        let text = said.map(|said| said.to_string()).unwrap_or_default();
        let signed = if fault == Some(Fault::WrongSignature) { format!("{text} ") } else { text.clone() };
        let mut response = reply::raw(status, reply::CONTENT_TYPE_JSON, text);
        if fault != Some(Fault::NotSigned) {
            for (name, value) in side.sign(asked_key, self.bank.now_ms(), &signed) {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    response.headers_mut().insert(name, value);
                }
            }
        }
        response
    }

    async fn alipay(&self, asked: Asked<'_>) -> Response<Body> {
        let Some(side) = &self.alipay else { return not_found() };
        let query = asked.query().unwrap_or_default().to_owned();
        let body = match read_body(asked.body, BODY_BYTES_MAX, BODY_DEADLINE).await {
            Ok(body) => body,
            Err(error) => return Problem::from(error).to_response(),
        };
        let sent = if body.is_empty() { query.as_bytes() } else { &body };
        let answer = |text: String| reply::raw(StatusCode::OK, reply::CONTENT_TYPE_JSON, text);
        let Some(form) = side.read(sent) else {
            let refusal =
                r#"{"error_response":{"code":"40002","msg":"Invalid Arguments","sub_code":"isv.invalid-signature"}}"#;
            return answer(refusal.to_owned());
        };
        let fault = self.bank.next_fault();
        if fault == Some(Fault::FailsBefore) {
            return reply::empty(StatusCode::INTERNAL_SERVER_ERROR);
        }
        if fault == Some(Fault::TooOften) {
            let refusal = serde_json::json!({"code": "40004", "sub_code": "isv.app-call-limited"});
            return answer(side.write_answer("error_response", &refusal, true, true));
        }
        let said = side.answer(&self.bank, &form);
        if let Some(failure) = fails(fault).await {
            return failure;
        }
        match said {
            alipay::Said::Page(trade) => see(&cashier::path(&side.app_id, &trade)),
            alipay::Said::Answer(name, value) => {
                let (is_right, is_signed) = (fault != Some(Fault::WrongSignature), fault != Some(Fault::NotSigned));
                answer(side.write_answer(&name, &value, is_right, is_signed))
            }
        }
    }

    /// The open platform, whose faults come as numbers with status 200.
    async fn platform(&self, path: Path, asked: Asked<'_>) -> Response<Body> {
        let Some(side) = &self.wechat else { return not_found() };
        let query = asked.query().unwrap_or_default().to_owned();
        let body = match read_body(asked.body, BODY_BYTES_MAX, BODY_DEADLINE).await {
            Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
            Err(error) => return Problem::from(error).to_response(),
        };
        let said = match (path, self.bank.next_fault()) {
            (_, Some(Fault::TooOften)) => serde_json::json!({"errcode": 45_009, "errmsg": "simulated"}),
            (_, Some(_)) => serde_json::json!({"errcode": -1, "errmsg": "simulated"}),
            (Path::Token, None) => side.token(&body),
            (_, None) => side.shipped(&self.bank, &query, &body),
        };
        reply::json(StatusCode::OK, &said)
    }

    fn cashier(&self, path: Path, asked: &Asked<'_>) -> Response<Body> {
        let account = asked.part("account");
        let Ok(number) = asked.part("number").parse::<Number>() else { return not_found() };
        // What does not come about shows on the page.
        match path {
            Path::Pay => drop(match cashier::plan(asked.query()) {
                Some(plan) => self.bank.pay_with(account, &number, plan),
                None => self.bank.pay(account, &number),
            }),
            Path::Close => drop(self.bank.close(account, &number)),
            _ => {}
        }
        match self.bank.trade(account, &number) {
            Err(_) => not_found(),
            Ok(trade) if path == Path::Cashier => page(cashier::page(account, &trade, asked.headers())),
            Ok(trade) => see(&cashier::path(account, &trade)),
        }
    }
}

/// The answer of a request that was carried out and is not answered as it should be; `None`,
/// perhaps after a while, for the right answer.
async fn fails(fault: Option<Fault>) -> Option<Response<Body>> {
    match fault {
        Some(Fault::FailsAfter) => Some(reply::empty(StatusCode::INTERNAL_SERVER_ERROR)),
        Some(Fault::Slow(wait)) => {
            tokio::time::sleep(wait.min(SILENCE_MAX)).await;
            None
        }
        Some(Fault::Silent(wait)) => {
            tokio::time::sleep(wait.min(SILENCE_MAX)).await;
            Some(reply::empty(StatusCode::GATEWAY_TIMEOUT))
        }
        _ => None,
    }
}

impl Post {
    /// Host and port of who takes it.
    fn authority(&self) -> Option<String> {
        Some(self.url.parse::<Uri>().ok()?.authority()?.to_string())
    }

    /// Sends it by a client of who takes it. Whether it was taken.
    async fn send(&self, client: &Client) -> bool {
        let Ok(uri) = self.url.parse::<Uri>() else { return false };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut ask = Ask::post(path).body(self.body.clone());
        for (name, value) in &self.headers {
            ask = ask.header(name.clone(), value);
        }
        // Alipay takes the word `success` alone for an answer.
        let is_taken = |body: &[u8]| body != b"fail";
        client.exchange(&ask).await.is_ok_and(|answer| answer.status.is_success() && is_taken(&answer.body))
    }
}

impl<C: Clock> Service for Simulator<C> {
    type Route = Route;

    fn mounts() -> Vec<Mount<Route>> {
        let wechat = |call| Route(Path::Wechat(call));
        vec![
            Mount::get("/simulated/cashier/{account}/{number}", "simulated_cashier", Route(Path::Cashier)),
            Mount::post("/simulated/cashier/{account}/{number}/pay", "simulated_pay", Route(Path::Pay)),
            Mount::get("/simulated/statement/{account}", "simulated_statement", Route(Path::Statement)),
            Mount::post("/simulated/cashier/{account}/{number}/close", "simulated_close", Route(Path::Close)),
            Mount::post("/v3/pay/transactions/jsapi", "wechat_jsapi", wechat(Call::Jsapi)),
            Mount::post("/v3/pay/transactions/h5", "wechat_h5", wechat(Call::H5)),
            Mount::post("/v3/pay/transactions/native", "wechat_native", wechat(Call::Native)),
            Mount::get("/v3/pay/transactions/out-trade-no/{number}", "wechat_query", wechat(Call::Query)),
            Mount::post("/v3/pay/transactions/out-trade-no/{number}/close", "wechat_close", wechat(Call::Close)),
            Mount::post("/v3/refund/domestic/refunds", "wechat_refund", wechat(Call::Refund)),
            Mount::get("/v3/refund/domestic/refunds/{number}", "wechat_query_refund", wechat(Call::QueryRefund)),
            Mount::post("/v3/profitsharing/orders", "wechat_share", wechat(Call::Share)),
            Mount::post("/v3/profitsharing/orders/unfreeze", "wechat_unfreeze", wechat(Call::Unfreeze)),
            Mount::post("/v3/profitsharing/return-orders", "wechat_give_back", wechat(Call::GiveBack)),
            Mount::post("/cgi-bin/stable_token", "wechat_token", Route(Path::Token)),
            Mount::post("/wxa/sec/order/upload_shipping_info", "wechat_shipping", Route(Path::Shipping)),
            Mount::post("/gateway.do", "alipay_gateway", Route(Path::Alipay)),
            Mount::get("/gateway.do", "alipay_page", Route(Path::Alipay)),
        ]
    }

    async fn answer(&self, route: Route, asked: Asked<'_>) -> Response<Body> {
        match route.0 {
            Path::Statement => reply::json(StatusCode::OK, &self.bank.statement(asked.part("account"))),
            Path::Wechat(call) => self.wechat(call, asked).await,
            Path::Alipay => self.alipay(asked).await,
            Path::Token | Path::Shipping => self.platform(route.0, asked).await,
            path => self.cashier(path, &asked),
        }
    }
}
