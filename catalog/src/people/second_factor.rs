//! The second factor: enrolment with a first code, recovery codes for who lost the device, and what
//! a login shows of it.

use bytes::Bytes;
use kit::{
    access::Permission::WritePeople,
    api::{Access, Call, Route},
    digest::hex,
    http::{Body, Mount, Response},
    openapi::IdempotencyKey,
    random::Random as _,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Sql as _, SqlError, Tx, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    person::{self, SECOND_FACTOR_ON},
    secret, sessions, totp,
};
use crate::{
    change::{Answer, Begun, Change},
    document::{Changed, Created},
    ports::Ports,
    refused::Refused,
    service::Catalog,
    vault::Person,
};

/// As `users.totp` has it: none, begun and not confirmed.
const OFF: i64 = 0;
const BEGUN: i64 = 1;

/// Recovery codes of a person.
const CODES: usize = 10;

const LOOK: &str = "SELECT totp, totp_secret FROM users WHERE tenant = ? AND person = ?";
const SET: &str = "UPDATE users SET totp = ?, totp_secret = ?, totp_step = ?, version = version + 1 \
                   WHERE tenant = ? AND person = ?";
const TURN_OFF: &str = "UPDATE users SET totp = ?, totp_secret = ?, totp_step = 0, version = version + 1 \
                        WHERE tenant = ? AND person = ? AND totp <> ?";
const USE_STEP: &str = "UPDATE users SET totp_step = ? WHERE tenant = ? AND person = ?";
const ADD_CODE: &str = "INSERT INTO recovery_codes (tenant, person, digest) VALUES (?, ?, ?)";
const USE_CODE: &str = "DELETE FROM recovery_codes WHERE tenant = ? AND person = ? AND digest = ?";
const FORGET_CODES: &str = "DELETE FROM recovery_codes WHERE tenant = ? AND person = ?";

/// A secret for an authenticator app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Enrolment {
    /// Base32, to be typed.
    secret: String,
    /// `otpauth://`, to be shown as a QR code.
    uri: String,
}

/// A first code, which shows that the app has the secret.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation {
    #[schema(pattern = "^[0-9]{6}$")]
    totp: String,
}

/// Codes for who lost the device; each holds for one login.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    /// Shown once: a repeated call has none.
    recovery_codes: Vec<String>,
}

/// What a login shows.
#[derive(Debug)]
pub(super) enum Shown {
    Totp(String),
    RecoveryCode(String),
}

impl Shown {
    pub(super) fn of(totp: Option<String>, recovery_code: Option<String>) -> Option<Self> {
        totp.map(Self::Totp).or(recovery_code.map(Self::RecoveryCode))
    }
}

#[derive(OpenApi)]
#[openapi(paths(enrol, confirm, remove, reset))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (known, write) = (Access::Known, Access::Needs(WritePeople));
    vec![
        Mount::put("/v1/me/totp", "enrol_totp", Route::new(known, |catalog, call| Box::pin(enrol(catalog, call)))),
        Mount::delete("/v1/me/totp", "remove_totp", Route::new(known, |catalog, call| Box::pin(remove(catalog, call)))),
        Mount::post(
            "/v1/me/totp/confirmation",
            "confirm_totp",
            Route::new(known, |catalog, call| Box::pin(confirm(catalog, call))),
        ),
        Mount::delete(
            "/v1/users/{user}/totp",
            "reset_totp",
            Route::new(write, |catalog, call| Box::pin(reset(catalog, call))),
        ),
    ]
}

/// Opens the secret of a person.
pub(super) async fn open<P: Ports>(
    catalog: &Catalog<P>,
    (tenant, person): (u32, i64),
    sealed: &[u8],
) -> Result<Vec<u8>, Refused> {
    let text = catalog.vault().open(catalog.sql(), (tenant, Person::User(person)), sealed).await?;
    totp::of_base32(&text).ok_or_else(|| Refused::Broken("a secret of a second factor is none".to_owned()))
}

/// Whether what was shown proves the person; it is used up by that. The person's row is locked.
pub(super) async fn prove<P: Ports, T: Tx>(
    catalog: &Catalog<P>,
    tx: &mut T,
    (tenant, person): (u32, i64),
    (secret, shown, used_step): (&[u8], &Shown, u64),
    now_ms: u64,
) -> Result<bool, Refused> {
    match shown {
        Shown::Totp(code) => {
            let Some(step) = totp::step_of(secret, code, now_ms, used_step) else { return Ok(false) };
            tx.exec(USE_STEP, vec![stored(step)?.into(), tenant.into(), person.into()]).await?;
            Ok(true)
        }
        Shown::RecoveryCode(code) => {
            let digest = code_digest(catalog, (tenant, person), code);
            let used = tx.exec(USE_CODE, vec![tenant.into(), person.into(), digest.as_str().into()]).await?;
            Ok(used > 0)
        }
    }
}

/// A code has 50 random bits: its digest is keyed, so that a stolen table alone is no use.
fn code_digest<P: Ports>(catalog: &Catalog<P>, (tenant, person): (u32, i64), code: &str) -> String {
    hex(&catalog.vault().index("recovery-code", &format!("{tenant} {person} {code}")))
}

/// Deletes the recovery codes of a person.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn forget_codes<T: Tx>(tx: &mut T, (tenant, person): (u32, i64)) -> Result<(), SqlError> {
    tx.exec(FORGET_CODES, vec![tenant.into(), person.into()]).await.map(drop)
}

/// Makes a secret for an authenticator app, in place of one that was not confirmed. Needs a login
/// of the last 10 minutes.
#[utoipa::path(
    put, path = "/v1/me/totp", operation_id = "enrol_totp", tag = "sessions", security(("merchant" = [])),
    responses((status = 200, body = Enrolment), Changed)
)]
async fn enrol<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (claims, number) = sessions::fresh(catalog, call).await?;
    let tenant = claims.tenant;
    let user = person::find(catalog, tenant, number).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    person::still_is(&mut change.tx, tenant, &user, number).await?;
    if user.second_factor {
        return Err(Refused::conflict("there is a second factor; remove it first"));
    }
    let text = totp::base32(&catalog.random().bytes::<{ totp::SECRET_BYTES }>()?);
    let sealed = catalog.vault().seal(&mut change.tx, catalog.random(), (tenant, Person::User(number)), &text).await?;
    change.tx.exec(SET, vec![BEGUN.into(), sealed.into(), 0_i64.into(), tenant.into(), number.into()]).await?;
    change.record::<()>("totp.begin", person::target(number), None, None)?;
    let uri = format!("otpauth://totp/flashsale:{}?secret={text}&issuer=flashsale", escaped(&user.email));
    Ok(secret(change.commit(Answer::ok(&Enrolment { secret: text, uri })?).await?))
}

/// Turns the second factor on, and shows the recovery codes.
#[utoipa::path(
    post, path = "/v1/me/totp/confirmation", operation_id = "confirm_totp", tag = "sessions",
    security(("merchant" = [])), request_body = Confirmation, params(IdempotencyKey),
    responses((status = 201, body = RecoveryCodes), Created)
)]
async fn confirm<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: Confirmation = call.json()?;
    let (claims, number) = sessions::own(catalog, call).await?;
    let of = (claims.tenant, number);
    let key = || vec![claims.tenant.into(), number.into()];
    let row = catalog.sql().rows(LOOK, key()).await?.into_iter().next();
    let mut row = row.ok_or_else(|| Refused::not_found("user"))?;
    let (state, sealed): (i64, Bytes) = (row.int()?, row.bytes()?);
    let begun = if state == BEGUN { Some(open(catalog, of, &sealed).await?) } else { None };
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let begun = begun.ok_or_else(|| Refused::conflict("there is nothing to confirm; begin with PUT /v1/me/totp"))?;
    let row = change.tx.lock_rows(LOOK, key(), Lock::Wait).await?.into_iter().next();
    let mut row = row.ok_or_else(|| Refused::not_found("user"))?;
    if (row.int()?, row.bytes()?) != (BEGUN, sealed.clone()) {
        return Err(SqlError::LockWait("a second factor was changed meanwhile".into()).into());
    }
    let step = totp::step_of(&begun, &asked.totp, change.now_ms, 0);
    let step = step.ok_or_else(|| Refused::field("totp", "is not the code of now; see the clock of the device"))?;
    let [tenant, person] = [claims.tenant.into(), number.into()];
    change.tx.exec(SET, vec![SECOND_FACTOR_ON.into(), sealed.into(), stored(step)?.into(), tenant, person]).await?;
    forget_codes(&mut change.tx, of).await?;
    let mut recovery_codes = Vec::new();
    for _ in 0..CODES {
        let code = totp::base32(&catalog.random().bytes::<7>()?).to_lowercase();
        let code = format!("{}-{}", &code[..5], &code[5..10]);
        let digest = code_digest(catalog, of, &code);
        change.tx.exec(ADD_CODE, vec![claims.tenant.into(), number.into(), digest.as_str().into()]).await?;
        recovery_codes.push(code);
    }
    change.record::<()>("totp.on", person::target(number), None, None)?;
    let answer = Answer::created("/v1/me".to_owned(), &RecoveryCodes { recovery_codes })?;
    let answer = answer.keeping(&RecoveryCodes { recovery_codes: Vec::new() })?;
    Ok(secret(change.commit(answer).await?))
}

/// Turns the second factor off. Needs a login of the last 10 minutes.
#[utoipa::path(
    delete, path = "/v1/me/totp", operation_id = "remove_totp", tag = "sessions", security(("merchant" = [])),
    responses((status = 204), Changed)
)]
async fn remove<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (claims, number) = sessions::fresh(catalog, call).await?;
    let change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    turn_off(change, (claims.tenant, number)).await
}

/// Turns the second factor of another user off: for who lost device and recovery codes.
#[utoipa::path(
    delete, path = "/v1/users/{user}/totp", operation_id = "reset_totp", tag = "people", security(("merchant" = [])),
    params(("user" = String, Path, description = "The number.")), responses((status = 204), Changed)
)]
async fn reset<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, number): (u32, i64) = (call.actor.tenant, call.part("user")?);
    let user = person::find(catalog, tenant, number).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let granter = person::lock_people(&mut change, &call.actor).await?;
    person::still_is(&mut change.tx, tenant, &user, number).await?;
    person::may_change(&mut change.tx, tenant, (&user, None), granter).await?;
    turn_off(change, (tenant, number)).await
}

/// Where it is off already, nothing changes.
async fn turn_off<T: Tx>(mut change: Change<T>, (tenant, person): (u32, i64)) -> Result<Response<Body>, Refused> {
    if change.tx.exec(TURN_OFF, vec![OFF.into(), Bytes::new().into(), tenant.into(), person.into(), OFF.into()]).await?
        > 0
    {
        forget_codes(&mut change.tx, (tenant, person)).await?;
        change.record::<()>("totp.off", person::target(person), None, None)?;
    }
    change.commit(Answer::gone()).await
}

/// Percent-encoded (RFC 3986), but for what stands for itself.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
