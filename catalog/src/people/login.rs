//! Signing in. Whoever fails learns nothing: not whether the tenant, the person or the password was
//! wrong, by no word and by no time that it takes.

use bytes::Bytes;
use kit::{
    api::{Access, Call, Route},
    clock::Clock as _,
    http::{Body, Mount, Response},
    problem::{Code, Problem},
    random::Random as _,
};
use serde::Deserialize;
use store::sql::{Lock, Sql as _, Tx as _};
use utoipa::{OpenApi, ToSchema};

use super::{
    held,
    lockout::{self, Account},
    password,
    person::{self, SECOND_FACTOR_ON},
    second_factor::{self, Shown},
    secret,
    sessions::{self, SESSIONS},
    signing,
};
use crate::{change::Answer, document::Public, memory::Turn, ports::Ports, refused::Refused, service::Catalog};

const TENANT: &str = "SELECT tenant FROM tenants WHERE code = ?";
const USER: &str = "SELECT person, password, totp, totp_secret FROM users \
                    WHERE tenant = ? AND email_digest = ? AND state = 'active'";
const LOCK_USER: &str =
    "SELECT password, totp, totp_step FROM users WHERE tenant = ? AND person = ? AND state = 'active'";
const REHASH: &str = "UPDATE users SET password = ? WHERE tenant = ? AND person = ?";

/// What proves a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The code of the person's tenant.
    #[schema(min_length = 1, max_length = 64)]
    tenant: String,
    #[schema(min_length = 1, max_length = 254)]
    email: String,
    #[schema(min_length = 1, max_length = 256)]
    password: String,
    /// Of the authenticator app, where the person has a second factor.
    #[schema(pattern = "^[0-9]{6}$", nullable = false)]
    totp: Option<String>,
    /// Instead of `totp`, once.
    #[schema(pattern = "^[a-z2-7]{5}-[a-z2-7]{5}$", nullable = false)]
    recovery_code: Option<String>,
}

/// A person of this address, as far as a login needs.
struct Known {
    person: i64,
    password: String,
    totp: i64,
    totp_secret: Bytes,
}

#[derive(OpenApi)]
#[openapi(paths(login))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let login = Route::new(Access::Public, |catalog, call| Box::pin(login(catalog, call)));
    vec![Mount::post("/v1/sessions", "new_session", login)]
}

/// Signs in. After five failures an account waits longer each time, also for who knows its
/// password; `Retry-After` says how long.
#[utoipa::path(
    post, path = "/v1/sessions", operation_id = "new_session", tag = "sessions", request_body = Login,
    responses((status = 201, body = sessions::SignedIn), Public)
)]
async fn login<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: Login = call.json()?;
    let rows = catalog.sql().rows(TENANT, vec![asked.tenant.as_str().into()]).await?;
    let tenant = rows.into_iter().next().map_or(Ok(0), |mut row| row.number())?;
    let account = person::account(catalog, tenant, &asked.email);
    lockout::check(catalog.sql(), &account, catalog.clock().now_ms()).await?;
    let is_known = sessions::is_known(catalog.sql(), &account, call.address).await?;
    let turn = catalog.memory().turns.enter(call.address, is_known, catalog.clock().monotonic()).await?;
    // Guesses that wait at the same time are counted one after the other.
    lockout::check(catalog.sql(), &account, catalog.clock().now_ms()).await?;
    let known = find(catalog, &account).await?;
    let stored = known.as_ref().map_or("", |known| &known.password);
    let is_right = turn.is_right(&asked.password, stored).await?;
    let Some(known) = known.filter(|_| is_right) else {
        return Err(failed(catalog, call, &account).await?);
    };
    let shown = Shown::of(asked.totp, asked.recovery_code);
    if known.totp == SECOND_FACTOR_ON && shown.is_none() {
        let problem = Problem::new(Code::Unauthenticated, "this account has a second factor: give `totp` too");
        return Err(problem.with_field("totp", "is missing; or give a `recovery_code`").into());
    }
    match start(catalog, call, (&account, &known), (&turn, &asked.password, shown)).await? {
        Some(response) => Ok(response),
        None => Err(failed(catalog, call, &account).await?),
    }
}

async fn find<P: Ports>(catalog: &Catalog<P>, account: &Account) -> Result<Option<Known>, Refused> {
    let key = vec![account.tenant.into(), account.email_digest.as_str().into()];
    let Some(mut row) = catalog.sql().rows(USER, key).await?.into_iter().next() else { return Ok(None) };
    let (person, password) = (row.int()?, row.text()?);
    Ok(Some(Known { person, password, totp: row.int()?, totp_secret: row.bytes()? }))
}

/// Begins the session of whose password is right; `None` when the second factor is not, or the
/// person changed meanwhile.
async fn start<P: Ports>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    (account, known): (&Account, &Known),
    (turn, typed, shown): (&Turn, &str, Option<Shown>),
) -> Result<Option<Response<Body>>, Refused> {
    let (tenant, person) = (account.tenant, known.person);
    let rehashed = match password::is_outdated(&known.password) {
        true => Some(turn.hash(typed, catalog.random().bytes()?).await?),
        false => None,
    };
    let totp = match known.totp {
        SECOND_FACTOR_ON => Some(second_factor::open(catalog, (tenant, person), &known.totp_secret).await?),
        _ => None,
    };
    let (session, signer) = (catalog.numbers().take(SESSIONS).await?, signing::signer(catalog).await?);
    let mut change = catalog.begin_as(call, &person::proven(tenant, person)?).await?;
    let rows = change.tx.lock_rows(LOCK_USER, vec![tenant.into(), person.into()], Lock::Wait).await?;
    let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
    let is_unchanged = (row.text()?, row.int()?) == (known.password.clone(), known.totp);
    let used_step = row.number()?;
    let is_proven = match (&totp, &shown) {
        (None, _) => is_unchanged,
        (Some(_), None) => false,
        (Some(totp), Some(shown)) => {
            let now_ms = change.now_ms;
            let proof = (totp.as_slice(), shown, used_step);
            is_unchanged && second_factor::prove(catalog, &mut change.tx, (tenant, person), proof, now_ms).await?
        }
    };
    if !is_proven {
        change.tx.rollback().await;
        return Ok(None);
    }
    if let Some(rehashed) = rehashed {
        change.tx.exec(REHASH, vec![rehashed.as_str().into(), tenant.into(), person.into()]).await?;
    }
    lockout::clear(&mut change.tx, account).await?;
    let of = (tenant, person, session);
    let (refresh_token, ends_ms) = sessions::open(catalog, &mut change.tx, of, (call.address, change.now_ms)).await?;
    let permissions = held::held(&mut change.tx, tenant, person).await?;
    let answer = sessions::signed_in(&signer, of, permissions, (refresh_token, ends_ms, change.now_ms))?;
    change.record::<()>("session.start", format!("session:{session}"), None, None)?;
    Ok(Some(secret(change.commit(Answer::created(format!("/v1/sessions/{session}"), &answer)?).await?)))
}

/// Counts a failure; the refusal says no more than that it was one.
async fn failed<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>, account: &Account) -> Result<Refused, Refused> {
    count_failure(catalog, call, account).await?;
    let problem = Problem::new(Code::Unauthenticated, "tenant, e-mail address, password or second factor is wrong");
    Ok(problem.with_token_error("wrong login").into())
}

/// Counts a failure, of the account and of the address.
pub(super) async fn count_failure<P: Ports>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    account: &Account,
) -> Result<(), Refused> {
    catalog.memory().turns.failed(call.address, catalog.clock().monotonic());
    let mut tx = catalog.sql().begin().await?;
    let wait = lockout::count(&mut tx, account, catalog.clock().now_ms()).await?;
    tx.commit().await?;
    if !wait.is_zero() {
        tracing::info!(tenant = account.tenant, ?wait, "an account waits after failed logins");
    }
    Ok(())
}
