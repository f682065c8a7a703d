//! Who is signed in. An access token holds for minutes and is checked against its session at every
//! request; a refresh token holds once and gets the next pair. One that comes again later was
//! stolen, or its successor was: the whole session ends.
//!
//! All refresh tokens of a session share 256 random bits (its family), so that an old one is told
//! from a guess, which ends nothing. Only digests are stored.

use std::{net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use kit::{
    access::{Actor, Permissions, Who},
    api::{Access, Call, Fault as _, Route},
    clock::{Clock as _, rfc3339},
    digest::sha256,
    http::{Body, Mount, PageAsked, Response, StatusCode, bearer, reply},
    problem::{Code, Problem},
    random::Random as _,
    token::{PersonClaims, PersonSigner},
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    held,
    lockout::{Account, millis},
    person, secret,
    signing::{self, ACCESS},
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Page, Public, Read},
    numbers::Numbered,
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// The numbers of sessions.
pub(super) const SESSIONS: Numbered = Numbered("session");
/// How long a session lasts.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The answer of a refresh may be lost: the token before the newest gets another successor for as
/// long, unless its first one was used.
const LOST_ANSWER_MS: u64 = 10_000;
/// What needs a login of late needs one of the last minutes.
const FRESH_MS: u64 = 600_000;
/// Sessions of one person; the oldest gives way.
const PER_PERSON_MAX: usize = 20;
/// What refresh tokens begin with, so that one that leaked is recognised.
const PREFIX: &str = "fsr_";

const WHO: &str = "SELECT ur.role_code, r.scope FROM sessions s \
                   JOIN users u ON u.tenant = s.tenant AND u.person = s.person \
                   LEFT JOIN user_roles ur ON ur.tenant = u.tenant AND ur.person = u.person \
                   LEFT JOIN roles r ON r.tenant = ur.tenant AND r.code = ur.role_code \
                   WHERE s.tenant = ? AND s.session_number = ? AND s.person = ? AND s.expires_at > ? \
                   AND u.state = 'active'";
const AT_ADDRESS: &str = "SELECT COUNT(*) FROM users u \
                          JOIN sessions s ON s.tenant = u.tenant AND s.person = u.person \
                          WHERE u.tenant = ? AND u.email_digest = ? AND s.address = ?";
const OF_PERSON: &str = "SELECT session_number FROM sessions WHERE tenant = ? AND person = ? \
                         ORDER BY started_at DESC, session_number DESC";
const INSERT: &str = "INSERT INTO sessions (tenant, session_number, person, family_digest, refresh_digest, \
                      earlier_digest, refreshed_at, started_at, expires_at, address) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const END: &str = "DELETE FROM sessions WHERE tenant = ? AND session_number = ? AND person = ?";
const END_ALL: &str = "DELETE FROM sessions WHERE tenant = ? AND person = ? AND session_number <> ?";
const FAMILY: &str = "SELECT person, family_digest FROM sessions WHERE tenant = ? AND session_number = ?";
const NEWEST: &str = "SELECT refresh_digest, earlier_digest, refreshed_at, expires_at FROM sessions \
                      WHERE tenant = ? AND session_number = ?";
const TURN: &str = "UPDATE sessions SET refresh_digest = ?, earlier_digest = ?, refreshed_at = ? \
                    WHERE tenant = ? AND session_number = ?";
const OWN: &str = "SELECT session_number, started_at, refreshed_at, expires_at, address FROM sessions \
                   WHERE tenant = ? AND person = ? AND session_number > ? AND expires_at > ? \
                   ORDER BY session_number LIMIT ?";

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Its number, as a decimal string.
    id: String,
    /// Whether it is the one that asks.
    current: bool,
    /// When it began, RFC 3339.
    started_at: String,
    /// When it got its newest tokens, RFC 3339.
    refreshed_at: String,
    /// When it ends by itself, RFC 3339.
    expires_at: String,
    /// Where it began.
    address: String,
}

/// Tokens of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedIn {
    /// The session's number, as a decimal string.
    session: String,
    /// For `Authorization: Bearer`; also in the routes of other services.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds for which the access token holds.
    expires_in: u64,
    /// For `POST /v1/sessions/refresh`, once.
    refresh_token: String,
    /// When the session ends by itself, RFC 3339.
    refresh_expires_at: String,
}

/// A refresh token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    /// The newest of the session.
    #[schema(pattern = "^fsr_[1-9][0-9]{0,9}_[1-9][0-9]{0,18}_[A-Za-z0-9_-]{86}$")]
    refresh_token: String,
}

#[derive(OpenApi)]
#[openapi(paths(refresh, list, show, end))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let known = Access::Known;
    vec![
        Mount::get("/v1/sessions", "sessions", Route::new(known, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::get(
            "/v1/sessions/{session}",
            "session",
            Route::new(known, |catalog, call| Box::pin(show(catalog, call))),
        ),
        Mount::delete(
            "/v1/sessions/{session}",
            "end_session",
            Route::new(known, |catalog, call| Box::pin(end(catalog, call))),
        ),
        Mount::post(
            "/v1/sessions/refresh",
            "refresh_session",
            Route::new(Access::Public, |catalog, call| Box::pin(refresh(catalog, call))),
        ),
    ]
}

/// Whom a person's access token stands for: what he may do is looked up anew, so that a session
/// that ended, a user who was disabled and a role that was taken away count at once.
///
/// # Errors
/// `unauthenticated` for nobody.
pub(crate) async fn actor<P: Ports>(catalog: &Catalog<P>, token: &str) -> Result<Actor, Box<Problem>> {
    let look = async {
        let claims = signing::verify(catalog, token).await?;
        let [session, person, now] = [claims.session, claims.person, catalog.clock().now_ms()].map(stored);
        let key = vec![claims.tenant.into(), session?.into(), person?.into(), now?.into()];
        let rows = catalog.sql().rows(WHO, key).await?;
        if rows.is_empty() {
            return Err(over());
        }
        let mut permissions = Permissions::NONE;
        for mut row in rows {
            let (code, scope) = (row.text_or_null()?, row.text_or_null()?);
            let given = code.map(|code| held::permissions_of(&code, scope.as_deref()));
            permissions = permissions.and(given.unwrap_or_default());
        }
        Ok(Actor { who: Who::Person(claims.person), tenant: claims.tenant, permissions })
    };
    look.await.map_err(|refused: Refused| refused.into_problem(true))
}

/// The refusal of a session that is over, or never was.
fn over() -> Refused {
    let problem = Problem::new(Code::Unauthenticated, "the session is over; sign in again");
    problem.with_token_error("the session is over").into()
}

/// What the token of the person who asks says; for what is the person's own.
///
/// # Errors
/// `forbidden` for keys and the operator.
pub(super) async fn own<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<(PersonClaims, i64), Refused> {
    let (Who::Person(number), Some(token)) = (call.actor.who, bearer(call.headers())) else {
        return Err(Problem::new(Code::Forbidden, "this is for people who signed in, not for keys").into());
    };
    Ok((signing::verify(catalog, token).await?, stored(number)?))
}

/// As [`own`], of a session that began in the last minutes: a token that was stolen does not
/// change how its owner signs in.
///
/// # Errors
/// `forbidden` for an older one.
pub(super) async fn fresh<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<(PersonClaims, i64), Refused> {
    let (claims, person) = own(catalog, call).await?;
    let (session, now_ms) = (stored(claims.session)?, catalog.clock().now_ms());
    let rows = own_from(catalog, (claims.tenant, person), (session - 1, 1)).await?;
    let mut row = rows.into_iter().next().ok_or_else(over)?;
    let (_session, started_at): (i64, u64) = (row.int()?, row.number()?);
    if now_ms.saturating_sub(started_at) > FRESH_MS {
        return Err(Problem::new(Code::Forbidden, "this needs a login of the last 10 minutes; sign in again").into());
    }
    Ok((claims, person))
}

/// Whether the person of this account is signed in at this address.
pub(super) async fn is_known(db: &impl Sql, account: &Account, address: IpAddr) -> Result<bool, SqlError> {
    let address = address.to_string();
    let key = vec![account.tenant.into(), account.email_digest.as_str().into(), address.as_str().into()];
    let rows = db.rows(AT_ADDRESS, key).await?;
    Ok(rows.into_iter().next().map_or(Ok(0), |mut row| row.int())? > 0)
}

/// Begins a session of a person. Says its refresh token, and when it ends.
pub(super) async fn open<P: Ports, T: Tx>(
    catalog: &Catalog<P>,
    tx: &mut T,
    (tenant, person, session): (u32, i64, i64),
    (address, now_ms): (IpAddr, u64),
) -> Result<(String, u64), Refused> {
    let known = tx.rows(OF_PERSON, vec![tenant.into(), person.into()]).await?;
    for mut oldest in known.into_iter().skip(PER_PERSON_MAX - 1) {
        tx.exec(END, vec![tenant.into(), oldest.int()?.into(), person.into()]).await?;
    }
    let shown = Shown { tenant, session, family: catalog.random().bytes()?, once: catalog.random().bytes()? };
    let (now, expires_ms) = (stored(now_ms)?, now_ms + millis(LIFETIME));
    let row = vec![
        tenant.into(),
        session.into(),
        person.into(),
        digest(&shown.family).into(),
        digest(&shown.once).into(),
        Bytes::new().into(),
        now.into(),
        now.into(),
        stored(expires_ms)?.into(),
        address.to_string().as_str().into(),
    ];
    tx.exec(INSERT, row).await?;
    Ok((shown.to_text(), expires_ms))
}

/// Ends all sessions of a person but this one.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn end_all<T: Tx>(tx: &mut T, (tenant, person): (u32, i64), but: Option<u64>) -> Result<(), SqlError> {
    tx.exec(END_ALL, vec![tenant.into(), person.into(), stored(but.unwrap_or(0))?.into()]).await.map(drop)
}

/// The answer of who signed in, or goes on.
pub(super) fn signed_in(
    signer: &PersonSigner,
    (tenant, person, session): (u32, i64, i64),
    permissions: Permissions,
    (refresh_token, ends_ms, now_ms): (String, u64, u64),
) -> Result<SignedIn, Refused> {
    let number = |number: i64| u64::try_from(number).map_err(|error| Refused::Broken(error.to_string()));
    let expires_ms = now_ms + millis(ACCESS);
    let claims = PersonClaims { person: number(person)?, tenant, session: number(session)?, permissions, expires_ms };
    let access_token = signer.sign(&claims, now_ms).map_err(|error| Refused::Broken(error.to_string()))?;
    Ok(SignedIn {
        session: session.to_string(),
        access_token,
        token_type: "Bearer",
        expires_in: ACCESS.as_secs(),
        refresh_token,
        refresh_expires_at: rfc3339(ends_ms),
    })
}

/// What a refresh token says: `fsr_`, tenant, session, then 64 bytes.
#[derive(Clone)]
struct Shown {
    tenant: u32,
    session: i64,
    family: [u8; 32],
    once: [u8; 32],
}

impl Shown {
    fn read(text: &str) -> Option<Self> {
        let (tenant, rest) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let (session, secret) = rest.split_once('_')?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let (family, once) = secret.split_at_checked(32)?;
        let (family, once) = (family.try_into().ok()?, once.try_into().ok()?);
        Some(Self { tenant: tenant.parse().ok()?, session: session.parse().ok()?, family, once })
    }

    fn to_text(&self) -> String {
        let secret = URL_SAFE_NO_PAD.encode([self.family, self.once].concat());
        format!("{PREFIX}{}_{}_{secret}", self.tenant, self.session)
    }

    fn key(&self) -> Vec<Value> {
        vec![self.tenant.into(), self.session.into()]
    }
}

fn digest(secret: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&sha256(secret))
}

/// Gets the next tokens of a session for its newest refresh token, which holds once. When the
/// answer was lost, the same token gets others for 10 seconds, as long as the lost ones were not
/// used. Any other token of the session ends it.
#[utoipa::path(
    post, path = "/v1/sessions/refresh", operation_id = "refresh_session", tag = "sessions", request_body = Refresh,
    responses((status = 200, body = SignedIn), Public)
)]
async fn refresh<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: Refresh = call.json()?;
    let shown = Shown::read(&asked.refresh_token).ok_or_else(over)?;
    let known = catalog.sql().rows(FAMILY, shown.key()).await?.into_iter().next();
    let mut known = known.ok_or_else(over)?;
    let (person, family): (i64, Bytes) = (known.int()?, known.bytes()?);
    if family != digest(&shown.family) {
        return Err(over());
    }
    let signer = signing::signer(catalog).await?;
    let mut change = catalog.begin_as(call, &person::proven(shown.tenant, person)?).await?;
    let row = change.tx.lock_rows(NEWEST, shown.key(), Lock::Wait).await?.into_iter().next();
    let mut row = row.ok_or_else(over)?;
    let (newest, earlier) = (row.bytes()?, row.bytes()?);
    let (refreshed_at, expires_at): (u64, u64) = (row.number()?, row.number()?);
    if expires_at <= change.now_ms {
        return Err(over());
    }
    let came = digest(&shown.once);
    let refreshed_at = if came == newest {
        change.now_ms
    } else if came == earlier && change.now_ms.saturating_sub(refreshed_at) <= LOST_ANSWER_MS {
        refreshed_at
    } else {
        change.tx.exec(END, vec![shown.tenant.into(), shown.session.into(), person.into()]).await?;
        change.record::<()>("session.reuse", format!("session:{}", shown.session), None, None)?;
        tracing::warn!(tenant = shown.tenant, session = shown.session, "a refresh token came again: its session ended");
        change.commit(Answer::gone()).await?;
        return Err(over());
    };
    let next = Shown { once: catalog.random().bytes()?, ..shown.clone() };
    let mut turn = vec![digest(&next.once).into(), came.into(), stored(refreshed_at)?.into()];
    turn.extend(shown.key());
    change.tx.exec(TURN, turn).await?;
    let permissions = held::held(&mut change.tx, shown.tenant, person).await?;
    let of = (shown.tenant, person, shown.session);
    let answer = signed_in(&signer, of, permissions, (next.to_text(), expires_at, change.now_ms))?;
    Ok(secret(change.commit(Answer::ok(&answer)?).await?))
}

/// The sessions of the person who asks, by number.
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "sessions", tag = "sessions", security(("merchant" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<Session>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let (claims, person) = own(catalog, call).await?;
    let page = (Page::<Session>::after(&asked)?, asked.limit + 1);
    let rows = own_from(catalog, (claims.tenant, person), page).await?;
    let sessions = rows.into_iter().map(|row| read(row, &claims)).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(sessions, &asked, |session| session.id.clone())))
}

/// A session of the person who asks.
#[utoipa::path(
    get, path = "/v1/sessions/{session}", operation_id = "session", tag = "sessions", security(("merchant" = [])),
    params(("session" = String, Path, description = "Its number, or `current`.")),
    responses((status = 200, body = Session), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (claims, person) = own(catalog, call).await?;
    let number = number_of(call, &claims)?;
    let rows = own_from(catalog, (claims.tenant, person), (number.saturating_sub(1), 1)).await?;
    let session = rows.into_iter().next().map(|row| read(row, &claims)).transpose()?;
    let session = session.filter(|session| session.id == number.to_string());
    Ok(reply::json(StatusCode::OK, &session.ok_or_else(|| Refused::not_found("session"))?))
}

/// Ends a session of the person who asks: none of its tokens holds any more.
#[utoipa::path(
    delete, path = "/v1/sessions/{session}", operation_id = "end_session", tag = "sessions",
    security(("merchant" = [])), params(("session" = String, Path, description = "Its number, or `current`.")),
    responses((status = 204), Changed)
)]
async fn end<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (claims, person) = own(catalog, call).await?;
    let number = number_of(call, &claims)?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let ended = change.tx.exec(END, vec![claims.tenant.into(), number.into(), person.into()]).await?;
    if ended == 0 {
        return Err(Refused::not_found("session"));
    }
    change.record::<()>("session.end", format!("session:{number}"), None, None)?;
    change.commit(Answer::gone()).await
}

fn number_of(call: &Call<'_>, claims: &PersonClaims) -> Result<i64, Refused> {
    let named: String = call.part("session")?;
    if named == "current" { Ok(stored(claims.session)?) } else { Ok(call.part("session")?) }
}

/// At most `count` sessions of a person beyond this number.
async fn own_from<P: Ports>(
    catalog: &Catalog<P>,
    (tenant, person): (u32, i64),
    (beyond, count): (i64, u32),
) -> Result<Vec<Row>, Refused> {
    let now = stored(catalog.clock().now_ms())?;
    Ok(catalog.sql().rows(OWN, vec![tenant.into(), person.into(), beyond.into(), now.into(), count.into()]).await?)
}

fn read(mut row: Row, claims: &PersonClaims) -> Result<Session, SqlError> {
    let number: u64 = row.number()?;
    Ok(Session {
        id: number.to_string(),
        current: number == claims.session,
        started_at: rfc3339(row.number()?),
        refreshed_at: rfc3339(row.number()?),
        expires_at: rfc3339(row.number()?),
        address: row.text()?,
    })
}
