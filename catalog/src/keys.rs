//! API keys: by them programs act for a tenant. A key is `fsk_`, its number, and a secret, which is
//! shown once. Rotation: make a new key, then delete the old one.

mod actor;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::Timestamp;
use kit::{
    access::{
        Permission::{self, ReadKeys, WriteKeys},
        Permissions,
    },
    api::{Access, Call, Route},
    clock::rfc3339,
    digest::sha256,
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    random::Random as _,
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    numbers::Numbered,
    plans::{self, Quota},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

pub(crate) use actor::{PREFIX, actor, permissions, unknown};

const KEYS: Numbered = Numbered("key");

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

const COLUMNS: &str = "key_number, name, scope, created_by, created_at, expires_at, last_used_at";
const INSERT: &str = "INSERT INTO api_keys (key_number, tenant, name, scope, secret_hash, created_by, created_at, \
                      expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const DELETE: &str = "DELETE FROM api_keys WHERE tenant = ? AND key_number = ?";

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ApiKey {
    /// Its number, as a decimal string.
    id: String,
    /// What it is for.
    name: String,
    /// What its bearer may do.
    permissions: Vec<Permission>,
    /// Who made it: `user:7`, `key:3`, `operator`.
    created_by: String,
    /// RFC 3339.
    created_at: String,
    /// When it stops being valid; missing where it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<String>,
    /// About when it was last used, within a minute; missing where it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<String>,
    /// The key itself, a bearer token: in the first answer to the request that made it, and never
    /// again. If that answer was lost, delete the key and make another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
}

/// A new key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What its bearer may do: nothing that you may not do yourself.
    #[schema(min_items = 1, max_items = 64)]
    permissions: Vec<Permission>,
    /// When it stops being valid, RFC 3339; left out: never.
    #[schema(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,18}(Z|[+-][0-9]{2}:[0-9]{2})$", nullable = false)]
    expires_at: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(list, show, create, delete))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadKeys), Access::Needs(WriteKeys));
    vec![
        Mount::get("/v1/keys", "keys", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::post("/v1/keys", "new_key", Route::new(write, |catalog, call| Box::pin(create(catalog, call)))),
        Mount::get("/v1/keys/{key}", "key", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::delete(
            "/v1/keys/{key}",
            "delete_key",
            Route::new(write, |catalog, call| Box::pin(delete(catalog, call))),
        ),
    ]
}

/// The tenant's keys, by number, without their secrets.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "keys", tag = "keys", security(("merchant" = [])),
    params(PageAsked), responses((status = 200, body = inline(Page<ApiKey>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let query =
        format!("SELECT {COLUMNS} FROM api_keys WHERE tenant = ? AND key_number > ? ORDER BY key_number LIMIT ?");
    let params = vec![call.actor.tenant.into(), Page::<ApiKey>::after(&asked)?.into(), (asked.limit + 1).into()];
    let rows = catalog.sql().rows(&query, params).await?;
    let keys = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(StatusCode::OK, &Page::new(keys, &asked, |key| key.id.clone())))
}

/// A key, without its secret.
#[utoipa::path(
    get, path = "/v1/keys/{key}", operation_id = "key", tag = "keys", security(("merchant" = [])),
    params(("key" = String, Path, description = "Its number.")), responses((status = 200, body = ApiKey), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let rows = catalog.sql().rows(&one(), vec![call.actor.tenant.into(), call.part::<u32>("key")?.into()]).await?;
    let key = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("key"))?;
    Ok(reply::json(StatusCode::OK, &key))
}

/// Makes a key, and shows its secret this once.
#[utoipa::path(
    post, path = "/v1/keys", operation_id = "new_key", tag = "keys", security(("merchant" = [])),
    request_body = NewKey, params(IdempotencyKey), responses((status = 201, body = ApiKey), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: NewKey = call.json()?;
    let permissions: Permissions = asked.permissions.into_iter().collect();
    Refused::grant(permissions, call.actor.permissions)?;
    let expires_ms = asked.expires_at.as_deref().map(moment).transpose()?;
    let number = catalog.numbers().take(KEYS).await?;
    let secret = URL_SAFE_NO_PAD.encode(catalog.random().bytes::<SECRET_BYTES>()?);
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    if expires_ms.is_some_and(|expires_ms| expires_ms <= change.now_ms) {
        return Err(Refused::field("expires_at", "lies in the past; give a later moment, or leave it out"));
    }
    let tenant = change.tenant();
    plans::room_for(&mut change.tx, tenant, Quota::Keys).await?;
    let key = ApiKey {
        id: number.to_string(),
        name: asked.name,
        permissions: permissions.iter().collect(),
        created_by: call.actor.who.to_string(),
        created_at: rfc3339(change.now_ms),
        expires_at: expires_ms.map(rfc3339),
        last_used_at: None,
        token: None,
    };
    let row = vec![
        number.into(),
        tenant.into(),
        key.name.as_str().into(),
        permissions.to_scope().as_str().into(),
        Bytes::copy_from_slice(&sha256(secret.as_bytes())).into(),
        key.created_by.as_str().into(),
        stored(change.now_ms)?.into(),
        expires_ms.map(stored).transpose()?.into(),
    ];
    change.tx.exec(INSERT, row).await?;
    change.record("key.create", format!("key:{number}"), None, Some(&key))?;
    let shown = ApiKey { token: Some(format!("{PREFIX}{number}_{secret}")), ..key.clone() };
    change.commit(Answer::created(format!("/v1/keys/{number}"), &shown)?.keeping(&key)?).await
}

/// Revokes a key: from now on nobody acts by it.
#[utoipa::path(
    delete, path = "/v1/keys/{key}", operation_id = "delete_key", tag = "keys", security(("merchant" = [])),
    params(("key" = String, Path, description = "Its number.")), responses((status = 204, description = "It is gone."), Changed)
)]
async fn delete<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: u32 = call.part("key")?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let key = vec![change.tenant().into(), number.into()];
    let rows = change.tx.lock_rows(&one(), key.clone(), Lock::Wait).await?;
    let before = rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("key"))?;
    change.tx.exec(DELETE, key).await?;
    change.record("key.delete", format!("key:{number}"), Some(&before), None)?;
    change.commit(Answer::gone()).await
}

/// When a key ends, in milliseconds since 1970.
fn moment(text: &str) -> Result<u64, Refused> {
    let moment = text.parse::<Timestamp>().ok().and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    moment.ok_or_else(|| Refused::field("expires_at", "is no moment; give it as in 2027-01-31T12:00:00Z"))
}

fn one() -> String {
    format!("SELECT {COLUMNS} FROM api_keys WHERE tenant = ? AND key_number = ?")
}

fn read(mut row: Row) -> Result<ApiKey, SqlError> {
    let epoch = |ms: Option<i64>| ms.and_then(|ms| u64::try_from(ms).ok()).map(rfc3339);
    Ok(ApiKey {
        id: row.int()?.to_string(),
        name: row.text()?,
        permissions: Permissions::of_scope(&row.text()?).iter().collect(),
        created_by: row.text()?,
        created_at: rfc3339(row.number()?),
        expires_at: epoch(row.int_or_null()?),
        last_used_at: epoch(row.int_or_null()?),
        token: None,
    })
}
