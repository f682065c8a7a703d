//! By what a shop's pages log buyers in: the shop's credentials with each provider. A secret is
//! sealed when it comes, and never shown again.

use kit::{
    access::Permission::{ReadSettings, WriteSettings},
    api::{Access, Call, Route, tagged},
    http::{Body, Mount, Response, StatusCode, reply},
    problem::{Code, Problem},
    token::is_same_secret,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use crate::{
    change::{Answer, Begun, Change},
    document::{Changed, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const LIST: &str = "SELECT kind, app_id, version FROM login_providers WHERE tenant = ? ORDER BY kind";
const ONE: &str = "SELECT kind, app_id, version FROM login_providers WHERE tenant = ? AND kind = ?";
const SECRET: &str = "SELECT app_id, sealed_secret FROM login_providers WHERE tenant = ? AND kind = ?";
const INSERT: &str =
    "INSERT INTO login_providers (app_id, sealed_secret, version, tenant, kind) VALUES (?, ?, ?, ?, ?)";
const UPDATE: &str =
    "UPDATE login_providers SET app_id = ?, sealed_secret = ?, version = ? WHERE tenant = ? AND kind = ?";
const REMOVE: &str = "DELETE FROM login_providers WHERE tenant = ? AND kind = ?";

/// What logs buyers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProviderKind {
    /// A WeChat mini-program: `wx.login` and `jscode2session`.
    WechatMiniProgram,
    /// A page within WeChat: OAuth, `snsapi_base`.
    WechatPage,
    /// A code sent to a phone.
    Phone,
}

impl ProviderKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::WechatMiniProgram => "wechat_mini_program",
            Self::WechatPage => "wechat_page",
            Self::Phone => "phone",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::WechatMiniProgram, Self::WechatPage, Self::Phone].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A provider, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LoginProvider {
    kind: ProviderKind,
    /// The app id there; for phones the name of the sender.
    app_id: String,
    /// Rises with each change; also the ETag.
    version: u64,
}

/// The providers of a shop.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoginProviders {
    items: Vec<LoginProvider>,
}

/// The shop's credentials with a provider.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderCredentials {
    /// The app id there; for phones the name of the sender.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    app_id: String,
    /// Its secret there; never shown again.
    #[schema(pattern = "^[!-~]{1,256}$", write_only)]
    secret: String,
}

/// ProviderCredentials to be used.
pub(super) struct Opened {
    pub(super) app_id: String,
    pub(super) secret: String,
}

#[derive(OpenApi)]
#[openapi(paths(list, put, remove))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadSettings), Access::Needs(WriteSettings));
    let one = "/v1/login-providers/{kind}";
    vec![
        Mount::get(
            "/v1/login-providers",
            "login_providers",
            Route::new(read, |catalog, call| Box::pin(list(catalog, call))),
        ),
        Mount::put(one, "put_login_provider", Route::new(write, |catalog, call| Box::pin(put(catalog, call)))),
        Mount::delete(one, "remove_login_provider", Route::new(write, |catalog, call| Box::pin(remove(catalog, call)))),
    ]
}

impl<P: Ports> Catalog<P> {
    /// A shop's credentials with a provider; `not_found` when it has none.
    pub(super) async fn credentials(&self, tenant: u32, kind: ProviderKind) -> Result<Opened, Refused> {
        let row = self.sql().rows(SECRET, vec![tenant.into(), kind.as_str().into()]).await?.into_iter().next();
        self.opened(row.ok_or_else(|| Refused::not_found("login in this shop"))?)
    }

    fn opened(&self, mut row: Row) -> Result<Opened, Refused> {
        let app_id = row.text()?;
        let secret = String::from_utf8(self.vault().open_own(&row.bytes()?)?);
        let secret = secret.map_err(|_| Refused::Broken("the secret of a provider of logins is no text".into()))?;
        Ok(Opened { app_id, secret })
    }
}

/// By what the shop's pages log buyers in.
#[utoipa::path(
    get, path = "/v1/login-providers", operation_id = "login_providers", tag = "buyers", security(("merchant" = [])),
    responses((status = 200, body = LoginProviders), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let rows = catalog.sql().rows(LIST, vec![call.actor.tenant.into()]).await?;
    let items = rows.into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(reply::json(StatusCode::OK, &LoginProviders { items }))
}

/// Sets the shop's credentials with a provider.
#[utoipa::path(
    put, path = "/v1/login-providers/{kind}", operation_id = "put_login_provider", tag = "buyers",
    security(("merchant" = [])), request_body = ProviderCredentials,
    params(("kind" = ProviderKind, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = LoginProvider), Changed)
)]
async fn put<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let kind = kind(call)?;
    let asked: ProviderCredentials = call.json()?;
    let sealed = catalog.vault().seal_own(catalog.random(), asked.secret.as_bytes())?;
    let (mut change, before) = match begin(catalog, call, kind).await? {
        Ok(begun) => begun,
        Err(repeated) => return Ok(repeated),
    };
    if let Some(before) = &before {
        let row = change.tx.rows(SECRET, vec![change.tenant().into(), kind.as_str().into()]).await?;
        let known = row.into_iter().next().map(|row| catalog.opened(row)).transpose()?;
        if known.is_some_and(|known| known.app_id == asked.app_id && is_same_secret(&known.secret, &asked.secret)) {
            return Ok(tagged(reply::json(StatusCode::OK, before), before.version));
        }
    }
    let version = before.as_ref().map_or(1, |before| before.version + 1);
    let after = LoginProvider { kind, app_id: asked.app_id, version };
    let (tenant, name, number) = (change.tenant().into(), kind.as_str().into(), stored(version)?.into());
    let (app_id, sealed) = (after.app_id.as_str().into(), sealed.into());
    if before.is_some() {
        change.tx.exec(UPDATE, vec![app_id, sealed, number, tenant, name]).await?;
    } else if !change.tx.insert_absent(INSERT, vec![app_id, sealed, number, tenant, name]).await? {
        return Err(SqlError::LockWait("another call set this provider first".into()).into());
    }
    change.record("login_provider.put", target(kind), before.as_ref(), Some(&after))?;
    let answer = Answer::ok(&after)?;
    Ok(tagged(change.commit(answer).await?, version))
}

/// Ends the login by a provider.
#[utoipa::path(
    delete, path = "/v1/login-providers/{kind}", operation_id = "remove_login_provider", tag = "buyers",
    security(("merchant" = [])), params(("kind" = ProviderKind, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), Changed)
)]
async fn remove<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let kind = kind(call)?;
    let (mut change, before) = match begin(catalog, call, kind).await? {
        Ok(begun) => begun,
        Err(repeated) => return Ok(repeated),
    };
    let before = before.ok_or_else(|| Refused::not_found("login in this shop"))?;
    change.tx.exec(REMOVE, vec![change.tenant().into(), kind.as_str().into()]).await?;
    change.record("login_provider.remove", target(kind), Some(&before), None)?;
    change.commit(Answer::gone()).await
}

type Locked<P> = (Change<<<P as Ports>::Sql as Sql>::Tx>, Option<LoginProvider>);

/// A change, and what is there: locked, and of the version that the caller last saw.
async fn begin<P: Ports>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    kind: ProviderKind,
) -> Result<Result<Locked<P>, Response<Body>>, Refused> {
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(Err(response)),
    };
    let rows = change.tx.lock_rows(ONE, vec![change.tenant().into(), kind.as_str().into()], Lock::Wait).await?;
    let before = rows.into_iter().next().map(read).transpose()?;
    match (expected, &before) {
        (Some(expected), Some(before)) if expected != before.version => Err(Refused::stale(before)),
        (Some(_), None) => Err(Refused::not_found("login in this shop")),
        _ => Ok(Ok((change, before))),
    }
}

fn kind(call: &Call<'_>) -> Result<ProviderKind, Refused> {
    let name: String = call.part("kind")?;
    let kind = ProviderKind::named(&name);
    kind.ok_or_else(|| Problem::new(Code::NotFound, "there is no such kind of login").into())
}

fn target(kind: ProviderKind) -> String {
    format!("login_provider:{}", kind.as_str())
}

fn read(mut row: Row) -> Result<LoginProvider, SqlError> {
    Ok(LoginProvider {
        kind: row.text_as("kind of login", ProviderKind::named)?,
        app_id: row.text()?,
        version: row.number()?,
    })
}
