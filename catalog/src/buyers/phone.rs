//! Login by a code sent to a phone: six digits, good for five minutes, five tries and one use. Only
//! keyed digests of number and code are kept, and those until the code expires.

use domain::sale::SubjectKind;
use kit::{
    api::{Access, Call, Route},
    client::Ask,
    clock::{Clock as _, rfc3339},
    http::{Body, Mount, Response, StatusCode, reply},
    problem::{Code, Problem},
    random::Random as _,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Sql as _, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    providers::{Opened, ProviderKind},
    rates::{PER_ADDRESS, PER_PHONE, network},
    session::{BuyerSession, LoginRefused, of_shop},
};
use crate::{outside::Missed, ports::Ports, refused::Refused, service::Catalog};

const CODE_MS: u64 = 5 * 60 * 1_000;
const TRIES_MAX: i64 = 5;
const CODES: u32 = 1_000_000;

const LOOK: &str = "SELECT code, tries, expires_at FROM phone_codes WHERE tenant = ? AND phone = ?";
const TRIED: &str = "UPDATE phone_codes SET tries = tries + 1 WHERE tenant = ? AND phone = ?";
const USED: &str = "DELETE FROM phone_codes WHERE tenant = ? AND phone = ?";
const PURGE: &str = "DELETE FROM phone_codes WHERE expires_at < ?";

/// Where a code is sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhoneCodeWanted {
    /// The shop's code.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,63}$")]
    tenant: String,
    /// As E.164 writes it.
    #[schema(pattern = "^\\+[1-9][0-9]{6,14}$")]
    phone: String,
}

/// A code is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PhoneCodeSent {
    /// Until when it is good, RFC 3339.
    expires_at: String,
}

/// What the number counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PhoneLoginAs {
    /// An account of the shop.
    #[default]
    Account,
    /// The phone number itself, for sales that count those.
    Phone,
}

/// Who logs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhoneLogin {
    /// The shop's code.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,63}$")]
    tenant: String,
    /// As E.164 writes it.
    #[schema(pattern = "^\\+[1-9][0-9]{6,14}$")]
    phone: String,
    /// The code that came.
    #[schema(pattern = "^[0-9]{6}$")]
    code: String,
    #[serde(default)]
    #[schema(inline)]
    limit_by: PhoneLoginAs,
}

/// What the gateway is asked to send.
#[derive(Serialize)]
struct Message<'a> {
    app_id: &'a str,
    phone: &'a str,
    code: &'a str,
    expires_in_s: u64,
}

#[derive(OpenApi)]
#[openapi(paths(send, log_in))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let send = Route::new(Access::Public, |catalog, call| Box::pin(send(catalog, call)));
    let log_in = Route::new(Access::Public, |catalog, call| Box::pin(log_in(catalog, call)));
    vec![
        Mount::post("/v1/phone-codes", "phone_codes", send).for_pages(),
        Mount::post("/v1/buyer-sessions/phone", "phone_login", log_in).for_pages(),
    ]
}

/// Sends a code to a phone.
///
/// One a minute and ten a day for a number. Another one takes the place of the one before.
#[utoipa::path(
    post, path = "/v1/phone-codes", operation_id = "phone_codes", tag = "buyers", security(()),
    request_body = PhoneCodeWanted, responses((status = 202, body = PhoneCodeSent), LoginRefused)
)]
async fn send<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let PhoneCodeWanted { tenant, phone } = call.json()?;
    let tenant = catalog.open_shop(&tenant).await?;
    let credentials = catalog.credentials(tenant, ProviderKind::Phone).await?;
    let now_ms = catalog.clock().now_ms();
    let code = format!("{:06}", u32::from_le_bytes(catalog.random().bytes()?) % CODES);
    let address = network(call.address);
    let counted = PER_PHONE.map(|rate| (rate, phone.as_str())).into_iter();
    let counted: Vec<_> = counted.chain(PER_ADDRESS.map(|rate| (rate, address.as_str()))).collect();
    let expires_ms = now_ms + CODE_MS;
    let mut tx = catalog.sql().begin().await?;
    catalog.count(&mut tx, (tenant, now_ms), &counted).await?;
    let row = vec![
        tenant.into(),
        catalog.digest(tenant, "phone-code", &phone).as_str().into(),
        catalog.code_digest(tenant, &phone, &code).as_str().into(),
        0_i64.into(),
        stored(expires_ms)?.into(),
    ];
    tx.upsert("phone_codes", &["tenant", "phone"], &["code", "tries", "expires_at"], row).await?;
    // Counted before it is sent: whoever breaks off here asks for no message more than he may.
    tx.commit().await?;
    deliver(catalog, tenant, &credentials, (&phone, &code)).await?;
    Ok(reply::json(StatusCode::ACCEPTED, &PhoneCodeSent { expires_at: rfc3339(expires_ms) }))
}

/// Hands the code to the gateway.
async fn deliver<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    Opened { app_id, secret }: &Opened,
    (phone, code): (&str, &str),
) -> Result<(), Refused> {
    let outside = catalog.outside();
    let sms = outside.sms.as_ref().ok_or_else(|| Refused::not_found("login in this shop"))?;
    let message = Message { app_id, phone, code, expires_in_s: CODE_MS / 1_000 };
    let ask = Ask::post("/v1/messages").bearer(secret).json(&message);
    let problem = match outside.ask(sms, &ask).await {
        Ok(_taken) => return Ok(()),
        Err(Missed::Refused(status @ (401 | 403))) => {
            tracing::warn!(tenant, status, "the gateway of messages refuses a shop's credentials");
            Problem::new(Code::Conflict, "the gateway refuses this shop's credentials; the shop has to set them again")
        }
        Err(Missed::Refused(400 | 404 | 422)) => {
            Problem::new(Code::InvalidRequest, "no message can be sent to this number")
                .with_field("phone", "is not reached")
        }
        Err(missed) => missed.into_problem("sms"),
    };
    Err(problem.into())
}

/// Logs a buyer in by the code that was sent to his phone.
///
/// A code is good for one use: where no answer came, ask for another one.
#[utoipa::path(
    post, path = "/v1/buyer-sessions/phone", operation_id = "phone_login", tag = "buyers", security(()),
    request_body = PhoneLogin, responses((status = 200, body = BuyerSession), LoginRefused)
)]
async fn log_in<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let PhoneLogin { tenant, phone, code, limit_by } = call.json()?;
    let tenant = catalog.open_shop(&tenant).await?;
    if !catalog.use_code(tenant, &phone, &code).await? {
        let detail = "this code is wrong, used, tried too often or too old; ask for another one";
        return Err(Problem::new(Code::Unauthenticated, detail).into());
    }
    let subject = match limit_by {
        PhoneLoginAs::Account => catalog.login_subject(tenant, "login-phone", &phone),
        PhoneLoginAs::Phone => catalog.subject(tenant, SubjectKind::Phone, &phone),
    };
    Ok(of_shop(call, tenant, catalog.log_in(call, tenant, subject).await?))
}

impl<P: Ports> Catalog<P> {
    fn code_digest(&self, tenant: u32, phone: &str, code: &str) -> String {
        self.digest(tenant, "phone-code", &format!("{phone} {code}"))
    }

    /// Removes codes that are good for nothing any more.
    pub(super) async fn purge_codes(&self) -> Result<(), SqlError> {
        let now_ms = stored(self.clock().now_ms())?;
        self.sql().exec(PURGE, vec![now_ms.into()]).await.map(|_rows| ())
    }

    /// Whether this is the code of this phone. The right one is used up by it, and each wrong one
    /// is a try, counted before the answer.
    async fn use_code(&self, tenant: u32, phone: &str, code: &str) -> Result<bool, SqlError> {
        let now_ms = self.clock().now_ms();
        let key = || vec![tenant.into(), self.digest(tenant, "phone-code", phone).as_str().into()];
        let mut tx = self.sql().begin().await?;
        let row = tx.lock_rows(LOOK, key(), Lock::Wait).await?.into_iter().next();
        let Some(mut row) = row else { return Ok(false) };
        let (known, tries, expires_ms) = (row.text()?, row.int()?, row.number::<u64>()?);
        if tries >= TRIES_MAX || now_ms >= expires_ms {
            return Ok(false);
        }
        // Digests under a secret key: how long comparing them takes tells nothing.
        let is_right = known == self.code_digest(tenant, phone, code);
        tx.exec(if is_right { USED } else { TRIED }, key()).await?;
        tx.commit().await?;
        Ok(is_right)
    }
}
