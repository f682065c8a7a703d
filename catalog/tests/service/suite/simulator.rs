//! WeChat's API and a gateway of messages, as they answer: each code and each number brings about
//! what its name says.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use catalog::outside::{Outside, OutsideArgs};
use kit::http::{self, Body, Handler, Incoming, Limits, Query, Request, Response, StatusCode, reply};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The secret that WeChat and the gateway know; it has what a query must not have.
pub(crate) const SECRET: &str = "s3cret&with=signs+and%25";

/// What WeChat says besides, which no shop's page may see.
pub(crate) const SESSION_KEY: &str = "HyVFkGl5F5OQWJZZaNzBBg";

/// Longest wait of the service for an answer: one of the tests waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(3);

/// What was asked of it.
#[derive(Default)]
pub(crate) struct Seen {
    used: Mutex<HashSet<String>>,
    messages: Mutex<Vec<Value>>,
    paths: Mutex<Vec<String>>,
}

pub(crate) struct Simulator {
    pub(crate) outside: Outside,
    seen: Arc<Seen>,
    stop: CancellationToken,
}

struct Answers(Arc<Seen>);

impl Simulator {
    pub(crate) fn start() -> Self {
        let listener = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let authority = Some(listener.local_addr().unwrap().to_string());
        let (seen, stop) = (Arc::<Seen>::default(), CancellationToken::new());
        tokio::spawn(http::serve(listener, Answers(Arc::clone(&seen)), Limits::default(), stop.clone()));
        let args = OutsideArgs { wechat_authority: authority.clone(), sms_authority: authority };
        Self { outside: Outside::new(&args, DEADLINE).unwrap(), seen, stop }
    }

    /// The code of the last message to this number.
    pub(crate) fn code_for(&self, phone: &str) -> String {
        let messages = self.seen.messages.lock().unwrap();
        let last = messages.iter().rev().find(|message| message["phone"] == phone);
        last.expect("a message")["code"].as_str().unwrap().to_owned()
    }

    /// Messages sent.
    pub(crate) fn messages(&self) -> usize {
        self.seen.messages.lock().unwrap().len()
    }

    /// Paths that were asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen.paths.lock().unwrap().clone()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Providers of which none answers.
pub(crate) fn nobody() -> Outside {
    let unused = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap().local_addr().unwrap();
    let authority = Some(unused.to_string());
    Outside::new(&OutsideArgs { wechat_authority: authority.clone(), sms_authority: authority }, DEADLINE).unwrap()
}

impl Handler for Answers {
    async fn handle(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        self.0.paths.lock().unwrap().push(request.uri().path().to_owned());
        match request.uri().path() {
            "/sns/jscode2session" => self.wechat(request.uri().query(), "js_code").await,
            "/sns/oauth2/access_token" => self.wechat(request.uri().query(), "code").await,
            "/v1/messages" => self.message(request).await,
            _ => reply::empty(StatusCode::NOT_FOUND),
        }
    }
}

impl Answers {
    async fn wechat(&self, query: Option<&str>, code: &str) -> Response<Body> {
        let query = Query::parse(query, &["appid", "secret", code, "grant_type"]).unwrap();
        let get = |name| query.get(name).unwrap_or_default();
        let said =
            |errcode: i64| reply::text(StatusCode::OK, json!({ "errcode": errcode, "errmsg": "no" }).to_string());
        if get("secret") != SECRET || get("grant_type") != "authorization_code" {
            return said(40125);
        }
        let code = get(code);
        if !self.0.used.lock().unwrap().insert(code.to_owned()) {
            return said(40163);
        }
        match code.split_once('_') {
            Some(("user", name)) => {
                // One user may log in many times, each with a code of its own.
                let openid = format!("o-{}", name.split('_').next().unwrap());
                let body = json!({ "openid": openid, "session_key": SESSION_KEY, "unionid": "u" });
                reply::text(StatusCode::OK, body.to_string())
            }
            Some(("error", number)) => said(number.parse().unwrap()),
            Some(("status", status)) => reply::empty(status.parse().unwrap()),
            _ if code == "slow" => std::future::pending().await,
            _ if code == "nameless" => reply::text(StatusCode::OK, json!({ "session_key": "x" }).to_string()),
            _ => reply::text(StatusCode::OK, "{\"openid\":\"o-"),
        }
    }

    async fn message(&self, request: Request<Incoming>) -> Response<Body> {
        let is_known = http::bearer(request.headers()) == Some(SECRET);
        let body = http::read_body(request.into_body(), 10_000, DEADLINE).await.unwrap();
        let message: Value = serde_json::from_slice(&body).unwrap();
        let phone = message["phone"].as_str().unwrap().to_owned();
        self.0.messages.lock().unwrap().push(message);
        match phone.as_str() {
            _ if !is_known => reply::empty(StatusCode::UNAUTHORIZED),
            "+8613900000422" => reply::empty(StatusCode::UNPROCESSABLE_ENTITY),
            "+8613900000500" => reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
            "+8613900000999" => std::future::pending().await,
            _ => reply::empty(StatusCode::ACCEPTED),
        }
    }
}
