//! Keys that sign people's tokens. A key is published for a while before it signs, so that whoever
//! keeps the published ones has it by then; an old one verifies until its last token is out. When
//! that is follows from the times at which keys were made: a row never changes.

use std::{sync::Arc, time::Duration};

use kit::{
    access::Permission::WriteTenants,
    api::{Access, Call, Route},
    clock::{Clock as _, rfc3339},
    http::{Body, HeaderValue, Mount, Response, StatusCode, header, reply},
    openapi::IdempotencyKey,
    problem::Problem,
    token::{Jwks, PersonClaims, PersonKey, PersonKeyError, PersonSigner, PersonVerifier, TokenError},
};
use serde::Serialize;
use store::sql::{Lock, Row, Sql, SqlError, Tx as _, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::lockout::millis;
use crate::{
    change::{Answer, Begun},
    document::{Created, Public},
    memory::SigningKey,
    ports::Ports,
    refused::Refused,
    service::Catalog,
    vault::Vault,
};

/// How long an access token holds.
pub(super) const ACCESS: Duration = Duration::from_secs(600);
/// A key signs once it is published for as long: longer than anybody keeps the published ones.
const LEAD: Duration = Duration::from_secs(600);
/// Beyond the last token of an old key: clocks of processes differ.
const SLACK: Duration = Duration::from_secs(60);
/// A key that is older gets a successor.
const ROTATE_AFTER: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long a process keeps the keys that it read.
const KEPT: Duration = Duration::from_secs(60);
/// A token of a key that is not known is looked for again no sooner.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long others keep them; less than the lead.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=300");

const ALL: &str = "SELECT key_number, private_key, public_key, created_at FROM signing_keys ORDER BY key_number";
const INSERT: &str = "INSERT INTO signing_keys (key_number, private_key, public_key, created_at) VALUES (?, ?, ?, ?)";
const DELETE: &str = "DELETE FROM signing_keys WHERE key_number = ?";

/// All keys, the oldest first.
struct Known(Arc<[SigningKey]>);

/// A new signing key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SigningKey)]
pub(crate) struct NewSigningKey {
    /// Its id, as in `/v1/jwks`.
    kid: String,
    /// From when on it signs, RFC 3339; until then the one before does.
    signs_from: String,
}

impl Known {
    fn read(vault: &Vault, rows: Vec<Row>) -> Result<Self, Refused> {
        let keys = rows.into_iter().map(|mut row| {
            let (number, private_key, public_key) = (row.int()?, vault.open_own(&row.bytes()?)?, row.bytes()?);
            let signer = PersonKey::new(&public_key).and_then(|key| PersonSigner::open(&private_key, &key));
            Ok(SigningKey { number, created_ms: row.number()?, signer: signer.map_err(broken)? })
        });
        keys.collect::<Result<_, Refused>>().map(Self)
    }

    /// The newest that is published for long enough; the first one signs at once.
    fn signing(&self, now_ms: u64) -> Option<&SigningKey> {
        let is_ready = |key: &&SigningKey| key.created_ms + millis(LEAD) <= now_ms;
        self.0.iter().rev().find(is_ready).or(self.0.first())
    }

    /// Those whose last token is not out yet.
    fn verifying(&self, now_ms: u64) -> Vec<PersonKey> {
        let out = self.out(now_ms);
        self.0[out..].iter().map(|key| key.signer.key().clone()).collect()
    }

    /// How many of the first are of no use any more: each ends its signing when the next begins.
    fn out(&self, now_ms: u64) -> usize {
        let last = |next: &SigningKey| next.created_ms + millis(LEAD + ACCESS + SLACK);
        self.0.iter().skip(1).take_while(|next| last(next) <= now_ms).count()
    }
}

fn broken(error: PersonKeyError) -> Refused {
    Refused::Broken(error.to_string())
}

#[derive(OpenApi)]
#[openapi(paths(jwks, rotate))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let write = Access::Needs(WriteTenants);
    vec![
        Mount::get("/v1/jwks", "jwks", Route::new(Access::Public, |catalog, call| Box::pin(jwks(catalog, call)))),
        Mount::post(
            "/v1/signing-keys",
            "new_signing_key",
            Route::new(write, |catalog, call| Box::pin(rotate(catalog, call))),
        ),
    ]
}

/// The keys, read again when they are older than this.
async fn known<P: Ports>(catalog: &Catalog<P>, age_max: Duration) -> Result<Known, Refused> {
    let (kept, now) = (&catalog.memory().signing_keys, catalog.clock().monotonic());
    if let Some(keys) = kept.known(now, age_max) {
        return Ok(Known(keys));
    }
    let known = Known::read(catalog.vault(), catalog.sql().rows(ALL, Vec::new()).await?)?;
    kept.learn(now, Arc::clone(&known.0));
    Ok(known)
}

/// What signs now. The first key of a deployment is made here; of two processes that do so, one
/// makes it.
pub(super) async fn signer<P: Ports>(catalog: &Catalog<P>) -> Result<PersonSigner, Refused> {
    let now_ms = catalog.clock().now_ms();
    if let Some(key) = known(catalog, KEPT).await?.signing(now_ms) {
        return Ok(key.signer.clone());
    }
    let (_signer, row) = new_key(catalog, 1, now_ms)?;
    catalog.sql().insert_absent(INSERT, row).await?;
    catalog.memory().signing_keys.forget();
    let known = known(catalog, KEPT).await?;
    let key = known.signing(now_ms).ok_or_else(|| Refused::Broken("the first signing key vanished".to_owned()))?;
    Ok(key.signer.clone())
}

/// What a token says, verified by the keys of now.
pub(super) async fn verify<P: Ports>(catalog: &Catalog<P>, token: &str) -> Result<PersonClaims, Refused> {
    let now_ms = catalog.clock().now_ms();
    let by = |known: Known| PersonVerifier::new(known.verifying(now_ms)).verify(token, now_ms);
    let mut verified = by(known(catalog, KEPT).await?);
    if verified == Err(TokenError::UnknownKey) {
        verified = by(known(catalog, LOOK_AGAIN).await?);
    }
    verified.map_err(|error| {
        let problem = Problem::from(error);
        if error == TokenError::Expired { problem.with_token_error("the token has expired") } else { problem }.into()
    })
}

/// A key and its row.
fn new_key<P: Ports>(catalog: &Catalog<P>, number: i64, now_ms: u64) -> Result<(PersonSigner, Vec<Value>), Refused> {
    let signer = PersonSigner::generate().map_err(broken)?;
    let sealed = catalog.vault().seal_own(catalog.random(), &signer.private_key().map_err(broken)?)?;
    let point = bytes::Bytes::copy_from_slice(signer.key().point());
    Ok((signer, vec![number.into(), sealed.into(), point.into(), stored(now_ms)?.into()]))
}

/// The public keys by which people's tokens verify.
#[utoipa::path(
    get, path = "/v1/jwks", operation_id = "jwks", tag = "sessions",
    responses((status = 200, body = Jwks), Public)
)]
async fn jwks<P: Ports>(catalog: &Catalog<P>, _call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let keys = known(catalog, KEPT).await?.verifying(catalog.clock().now_ms());
    let mut response = reply::json(StatusCode::OK, &Jwks::new(&keys));
    response.headers_mut().insert(header::CACHE_CONTROL, CACHE_CONTROL);
    Ok(response)
}

/// Makes the next signing key. It signs 10 minutes from now, when whoever keeps the published keys
/// has read it; tokens of the one before hold until they expire.
#[utoipa::path(
    post, path = "/v1/signing-keys", operation_id = "new_signing_key", tag = "tenants", security(("operator" = [])),
    params(IdempotencyKey), responses((status = 201, body = NewSigningKey), Created)
)]
async fn rotate<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let known = Known::read(catalog.vault(), change.tx.lock_rows(ALL, Vec::new(), Lock::Wait).await?)?;
    let newest = known.0.last().map_or((0, 0), |key| (key.number, key.created_ms));
    if newest.1 + millis(LEAD) > change.now_ms {
        return Err(Refused::conflict("the newest key does not sign yet; come back when it is 10 minutes old"));
    }
    let (signer, row) = new_key(catalog, newest.0 + 1, change.now_ms)?;
    if !change.tx.insert_absent(INSERT, row).await? {
        return Err(SqlError::LockWait("a signing key was made meanwhile".into()).into());
    }
    let kid = signer.key().kid().to_owned();
    change.record::<()>("signing_key.create", format!("signing_key:{kid}"), None, None)?;
    let made = NewSigningKey { kid, signs_from: rfc3339(change.now_ms + millis(LEAD)) };
    let response = change.commit(Answer::created("/v1/jwks".to_owned(), &made)?).await?;
    catalog.memory().signing_keys.forget();
    Ok(response)
}

/// Makes the next key when the newest is old, and deletes those that are of no use. Of two
/// processes that do so at once, one makes it.
pub(super) async fn keep<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let now_ms = catalog.clock().now_ms();
    let known = known(catalog, Duration::ZERO).await?;
    for key in &known.0[..known.out(now_ms)] {
        catalog.sql().exec(DELETE, vec![key.number.into()]).await?;
    }
    if let Some(newest) = known.0.last()
        && newest.created_ms + millis(ROTATE_AFTER) <= now_ms
    {
        let (signer, row) = new_key(catalog, newest.number + 1, now_ms)?;
        if catalog.sql().insert_absent(INSERT, row).await? {
            tracing::info!(kid = signer.key().kid(), "a new signing key is published");
        }
    }
    catalog.memory().signing_keys.forget();
    Ok(())
}
