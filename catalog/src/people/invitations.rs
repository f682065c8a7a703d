//! One-use tokens by which a person sets a password. They come in the answer of the call that makes
//! them, because the service sends no mail.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kit::{
    api::{Access, Call, Route},
    clock::{Clock as _, rfc3339},
    digest::{hex, sha256},
    http::{Body, Mount, Response},
    random::Random,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Sql as _, SqlError, Tx, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    lockout::{self, Account, millis},
    person, sessions,
};
use crate::{change::Answer, document::Public, ports::Ports, refused::Refused, service::Catalog};

/// How long one holds.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// What they begin with, so that one that leaked is recognised.
const PREFIX: &str = "fsi_";

const WITHDRAW: &str = "DELETE FROM invitations WHERE tenant = ? AND person = ?";
const INSERT: &str = "INSERT INTO invitations (digest, tenant, person, expires_at) VALUES (?, ?, ?, ?)";
const FIND: &str = "SELECT tenant, person FROM invitations WHERE digest = ? AND expires_at > ?";
const USE: &str = "DELETE FROM invitations WHERE digest = ? AND expires_at > ?";
const LOCK_USER: &str = "SELECT email_digest FROM users WHERE tenant = ? AND person = ? AND state = 'active'";
const SET: &str = "UPDATE users SET password = ?, version = version + 1 WHERE tenant = ? AND person = ?";

/// The way to a password.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Invitation {
    /// For `POST /v1/passwords`, once. Shown once: a repeated call leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
    /// Until when it holds, RFC 3339.
    expires_at: String,
}

impl Invitation {
    /// What is kept for a repeated call.
    pub(super) fn without_token(&self) -> Self {
        Self { token: None, expires_at: self.expires_at.clone() }
    }

    /// The token.
    pub(super) fn into_token(self) -> String {
        self.token.unwrap_or_default()
    }
}

/// A password for who was invited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FirstPassword {
    /// Of the invitation.
    #[schema(pattern = "^fsi_[A-Za-z0-9_-]{43}$")]
    token: String,
    /// The password from now on.
    #[schema(min_length = 12, max_length = 256)]
    password: String,
}

#[derive(OpenApi)]
#[openapi(paths(set_password))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let set = Route::new(Access::Public, |catalog, call| Box::pin(set_password(catalog, call)));
    vec![Mount::post("/v1/passwords", "set_password", set)]
}

/// Makes an invitation in place of those that the person had.
///
/// # Errors
/// [`Refused::Sql`], [`Refused::Random`].
pub(super) async fn invite<T: Tx>(
    tx: &mut T,
    random: &impl Random,
    (tenant, person): (u32, i64),
    now_ms: u64,
) -> Result<Invitation, Refused> {
    withdraw(tx, (tenant, person)).await?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random.bytes::<32>()?));
    let expires_ms = now_ms + millis(LIFETIME);
    let row = vec![digest(&token).as_str().into(), tenant.into(), person.into(), stored(expires_ms)?.into()];
    tx.exec(INSERT, row).await?;
    Ok(Invitation { token: Some(token), expires_at: rfc3339(expires_ms) })
}

/// Ends the invitations of a person.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn withdraw<T: Tx>(tx: &mut T, (tenant, person): (u32, i64)) -> Result<(), SqlError> {
    tx.exec(WITHDRAW, vec![tenant.into(), person.into()]).await.map(drop)
}

/// A token is 256 random bits: nobody guesses one from its plain digest.
fn digest(token: &str) -> String {
    hex(&sha256(token.as_bytes()))
}

/// Sets a password by an invitation, which is used up by it. Whoever was signed in as this person
/// is no longer.
#[utoipa::path(
    post, path = "/v1/passwords", operation_id = "set_password", tag = "people", request_body = FirstPassword,
    responses((status = 204), Public)
)]
async fn set_password<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: FirstPassword = call.json()?;
    let (digest, now) = (digest(&asked.token), stored(catalog.clock().now_ms())?);
    // Without an invitation nobody makes this process hash anything.
    let key = || vec![digest.as_str().into(), now.into()];
    let found = catalog.sql().rows(FIND, key()).await?.into_iter().next();
    let mut found = found.ok_or_else(|| Refused::not_found("invitation: it was used, replaced or is over"))?;
    let (tenant, number): (u32, i64) = (found.number()?, found.int()?);
    let turn = catalog.memory().turns.enter(call.address, true, catalog.clock().monotonic()).await?;
    let password = turn.hash(&asked.password, catalog.random().bytes()?).await?;
    let mut change = catalog.begin_as(call, &person::proven(tenant, number)?).await?;
    let of = || [tenant.into(), number.into()];
    let user = change.tx.lock_rows(LOCK_USER, of().into(), Lock::Wait).await?.into_iter().next();
    let is_used_now = change.tx.exec(USE, key()).await? > 0;
    let Some(mut user) = user.filter(|_| is_used_now) else {
        return Err(Refused::not_found("invitation: it was used, replaced or is over"));
    };
    let account = Account { tenant, email_digest: user.text()? };
    let [tenant_value, person_value] = of();
    change.tx.exec(SET, vec![password.as_str().into(), tenant_value, person_value]).await?;
    sessions::end_all(&mut change.tx, (tenant, number), None).await?;
    lockout::clear(&mut change.tx, &account).await?;
    change.record::<()>("user.password", person::target(number), None, None)?;
    change.commit(Answer::gone()).await
}
