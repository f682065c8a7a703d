//! Login by WeChat: the code that the mini-program or the page got, exchanged for who this is. The
//! session key that comes along is dropped unread.

use kit::{
    api::{Access, Call, Route},
    client::Ask,
    http::{Body, Mount, Response},
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{OpenApi, ToSchema};

use super::{
    providers::{Opened, ProviderKind},
    session::{BuyerSession, LoginRefused, of_shop},
};
use crate::{outside::Missed, ports::Ports, refused::Refused, service::Catalog};

/// Longest name of a user that WeChat gives; its own have 28 characters.
const OPENID_LEN_MAX: usize = 128;

/// WeChat counts a user's codes by the minute.
const TOO_OFTEN_AFTER: Duration = Duration::from_secs(60);

/// Where the code comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WechatApp {
    /// `wx.login` of a mini-program.
    #[default]
    MiniProgram,
    /// OAuth of a page within WeChat, scope `snsapi_base`.
    Page,
}

/// Who logs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WechatLogin {
    /// The shop's code.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,63}$")]
    tenant: String,
    /// What WeChat gave; good for one use.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,128}$")]
    code: String,
    #[serde(default)]
    #[schema(inline)]
    app: WechatApp,
}

/// What both of WeChat's calls answer, as far as it is ours to read.
#[derive(Deserialize)]
struct Exchanged {
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    openid: String,
}

#[derive(OpenApi)]
#[openapi(paths(log_in))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let log_in = Route::new(Access::Public, |catalog, call| Box::pin(log_in(catalog, call)));
    vec![Mount::post("/v1/buyer-sessions/wechat", "wechat_login", log_in).for_pages()]
}

/// Logs a buyer in by WeChat.
///
/// A code is good for one use: where no answer came, get another code.
#[utoipa::path(
    post, path = "/v1/buyer-sessions/wechat", operation_id = "wechat_login", tag = "buyers", security(()),
    request_body = WechatLogin, responses((status = 200, body = BuyerSession), LoginRefused)
)]
async fn log_in<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let WechatLogin { tenant, code, app } = call.json()?;
    let tenant = catalog.open_shop(&tenant).await?;
    let kind = match app {
        WechatApp::MiniProgram => ProviderKind::WechatMiniProgram,
        WechatApp::Page => ProviderKind::WechatPage,
    };
    let Opened { app_id, secret } = catalog.credentials(tenant, kind).await?;
    let path = match app {
        WechatApp::MiniProgram => format!(
            "/sns/jscode2session?appid={app_id}&secret={}&js_code={code}&grant_type=authorization_code",
            encoded(&secret)
        ),
        WechatApp::Page => format!(
            "/sns/oauth2/access_token?appid={app_id}&secret={}&code={code}&grant_type=authorization_code",
            encoded(&secret)
        ),
    };
    let openid = exchange(catalog, tenant, path).await?;
    // Who it is differs from app to app.
    let subject = catalog.login_subject(tenant, "login-wechat", &format!("{app_id} {openid}"));
    Ok(of_shop(call, tenant, catalog.log_in(call, tenant, subject).await?))
}

/// The user whose code this was.
async fn exchange<P: Ports>(catalog: &Catalog<P>, tenant: u32, path: String) -> Result<String, Refused> {
    let outside = catalog.outside();
    let wechat = outside.wechat.as_ref().ok_or_else(|| Refused::not_found("login in this shop"))?;
    let answer = outside.ask(wechat, &Ask::get(path)).await.map_err(|missed| missed.into_problem("wechat"))?;
    let unreadable = || Missed::Away("its answer cannot be read").into_problem("wechat");
    let Exchanged { errcode, openid } = answer.json().map_err(|_| unreadable())?;
    let problem = match errcode {
        0 if (1..=OPENID_LEN_MAX).contains(&openid.len()) => return Ok(openid),
        0 => unreadable(),
        -1 => Missed::Away("it says that it is busy").into_problem("wechat"),
        40029 | 40163 => Problem::new(Code::Unauthenticated, "this code is wrong, used or too old; get another one"),
        45011 => {
            let detail = "WeChat: this user logs in too often; come back in a minute";
            Problem::new(Code::RateLimited, detail).with_retry_after(TOO_OFTEN_AFTER)
        }
        40226 => Problem::new(Code::Forbidden, "WeChat holds this user for a risk, and lets nobody log him in"),
        errcode => {
            tracing::warn!(tenant, errcode, "WeChat refuses a shop's credentials");
            Problem::new(Code::Conflict, "WeChat refuses this shop's credentials; the shop has to set them again")
        }
    };
    Err(problem.into())
}

/// A text as a part of a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_adds_no_parameter_of_its_own() {
        assert_eq!(encoded("aZ0-_.~"), "aZ0-_.~");
        assert_eq!(encoded("a&b=c?#%é"), "a%26b%3Dc%3F%23%25%C3%A9");
    }
}
