//! Personal data of buyers: sealed under a key per buyer, shown to who may read it, gone with the
//! key. The number outlives it, so that orders and money still add up.

use kit::{
    access::Permission::{ReadBuyers, WriteBuyers},
    api::{Access, Call, Route, tagged},
    clock::rfc3339,
    http::{Body, Mount, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::session::secret;
use crate::{
    change::Begun,
    document::{Changed, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
    vault::Person,
};

const BUYER: &str = "SELECT kind, created_at, erased_at FROM buyers WHERE tenant = ? AND buyer = ?";
const PROFILE: &str = "SELECT version, sealed FROM buyer_profiles WHERE tenant = ? AND buyer = ?";
const NEW_PROFILE: &str = "INSERT INTO buyer_profiles (sealed, version, tenant, buyer) VALUES (?, ?, ?, ?)";
const OTHER_PROFILE: &str = "UPDATE buyer_profiles SET sealed = ?, version = ? WHERE tenant = ? AND buyer = ?";
pub(super) const NO_PROFILE: &str = "DELETE FROM buyer_profiles WHERE tenant = ? AND buyer = ?";
pub(super) const NO_EXPORTS: &str = "DELETE FROM buyer_exports WHERE tenant = ? AND buyer = ?";
const EXPORT: &str = "SELECT sealed FROM buyer_exports WHERE tenant = ? AND buyer = ? AND number = ?";

/// What a shop keeps of a buyer; what is left out is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuyerProfile {
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// As E.164 writes it.
    #[schema(pattern = "^\\+[1-9][0-9]{6,14}$", nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[schema(min_length = 1, max_length = 500, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

/// A buyer, without personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Buyer {
    /// The number that orders carry, as a decimal string.
    id: String,
    /// What the number counts as: `account`, `phone` or `id_hash`.
    limit_by: String,
    /// When it was given, RFC 3339.
    created_at: String,
    /// When the personal data was erased, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    erased_at: Option<String>,
    /// Of the personal data; 0 where there never was any. Also the ETag.
    version: u64,
}

/// A buyer with all that is kept of him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct WholeBuyer {
    #[serde(flatten)]
    buyer: Buyer,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    profile: Option<BuyerProfile>,
}

#[derive(OpenApi)]
#[openapi(paths(show, put, exported))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadBuyers), Access::Needs(WriteBuyers));
    vec![
        Mount::get("/v1/buyers/{buyer}", "buyer", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::put(
            "/v1/buyers/{buyer}/profile",
            "put_buyer_profile",
            Route::new(write, |catalog, call| Box::pin(put(catalog, call))),
        ),
        Mount::get(
            "/v1/buyers/{buyer}/exports/{export}",
            "buyer_export",
            Route::new(read, |catalog, call| Box::pin(exported(catalog, call))),
        ),
    ]
}

/// A buyer, with the personal data that the shop keeps of him.
#[utoipa::path(
    get, path = "/v1/buyers/{buyer}", operation_id = "buyer", tag = "buyers", security(("merchant" = [])),
    params(("buyer" = String, Path, description = "The buyer's number.")),
    responses((status = 200, body = WholeBuyer), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let whole = catalog.whole_buyer(call.actor.tenant, call.part("buyer")?).await?;
    let version = whole.buyer.version;
    Ok(secret(tagged(reply::json(StatusCode::OK, &whole), version)))
}

/// Sets what the shop keeps of a buyer.
#[utoipa::path(
    put, path = "/v1/buyers/{buyer}/profile", operation_id = "put_buyer_profile", tag = "buyers",
    security(("merchant" = [])), request_body = BuyerProfile,
    params(("buyer" = String, Path, description = "The buyer's number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, description = "Without what was set.", body = Buyer), Changed)
)]
async fn put<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: i64 = call.part("buyer")?;
    let (profile, expected): (BuyerProfile, _) = (call.json()?, call.expected_version()?);
    let known = catalog.whole_buyer(call.actor.tenant, number).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    let before = lock(&mut change.tx, tenant, number).await?;
    Refused::unless_seen(expected, before.version, &before)?;
    let before = before.present()?;
    if known.buyer.version == before.version && known.profile.as_ref() == Some(&profile) {
        return Ok(tagged(reply::json(StatusCode::OK, &before), before.version));
    }
    let after = Buyer { version: before.version + 1, ..before.clone() };
    let text = serde_json::to_string(&profile).map_err(|error| Refused::Broken(error.to_string()))?;
    let person = (tenant, Person::Buyer(number));
    let sealed = catalog.vault().seal(&mut change.tx, catalog.random(), person, &text).await?;
    let statement = if before.version == 0 { NEW_PROFILE } else { OTHER_PROFILE };
    let row = vec![sealed.into(), stored(after.version)?.into(), tenant.into(), number.into()];
    change.tx.exec(statement, row).await?;
    change.replace("buyer.profile", target(number), Some(&before), (&after, after.version)).await
}

/// An export of a buyer's personal data.
#[utoipa::path(
    get, path = "/v1/buyers/{buyer}/exports/{export}", operation_id = "buyer_export", tag = "buyers",
    security(("merchant" = [])),
    params(
        ("buyer" = String, Path, description = "The buyer's number."),
        ("export" = String, Path, description = "Its number."),
    ),
    responses((status = 200, body = WholeBuyer), Read)
)]
async fn exported<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, number, export): (_, i64, i64) = (call.actor.tenant, call.part("buyer")?, call.part("export")?);
    let rows = catalog.sql().rows(EXPORT, vec![tenant.into(), number.into(), export.into()]).await?;
    let mut row = rows.into_iter().next().ok_or_else(|| Refused::not_found("export"))?;
    let person = (tenant, Person::Buyer(number));
    let text = catalog.vault().open(catalog.sql(), person, &row.bytes()?).await?;
    Ok(secret(reply::raw(StatusCode::OK, reply::CONTENT_TYPE_JSON, text)))
}

impl Buyer {
    pub(super) const fn is_erased(&self) -> bool {
        self.erased_at.is_some()
    }

    /// The same, erased now.
    pub(super) fn erased(&self, now_ms: u64) -> Self {
        Self { erased_at: Some(rfc3339(now_ms)), version: 0, ..self.clone() }
    }

    /// Not of an erased one.
    pub(super) fn present(self) -> Result<Self, Refused> {
        match self.erased_at {
            None => Ok(self),
            Some(_) => Err(Refused::conflict("this buyer was erased; nothing is kept of him any more")),
        }
    }
}

impl<P: Ports> Catalog<P> {
    /// A buyer of a tenant, opened.
    pub(super) async fn whole_buyer(&self, tenant: u32, number: i64) -> Result<WholeBuyer, Refused> {
        let key = || vec![tenant.into(), number.into()];
        let row = self.sql().rows(BUYER, key()).await?.into_iter().next();
        let buyer = read(number, row.ok_or_else(|| Refused::not_found("buyer"))?)?;
        let profile = self.sql().rows(PROFILE, key()).await?.into_iter().next();
        let Some(mut row) = profile else { return Ok(WholeBuyer { buyer, profile: None }) };
        let (version, sealed) = (row.number()?, row.bytes()?);
        let text = self.vault().open(self.sql(), (tenant, Person::Buyer(number)), &sealed).await?;
        // What serde says of it could name what it found.
        let profile = serde_json::from_str(&text).map_err(|_| Refused::Broken("a profile cannot be read".into()))?;
        Ok(WholeBuyer { buyer: Buyer { version, ..buyer }, profile: Some(profile) })
    }
}

/// The buyer, locked: all changes of one come one after the other.
pub(super) async fn lock<T: Tx>(tx: &mut T, tenant: u32, number: i64) -> Result<Buyer, Refused> {
    let key: Vec<Value> = vec![tenant.into(), number.into()];
    let row = tx.lock_rows(BUYER, key.clone(), Lock::Wait).await?.into_iter().next();
    let buyer = read(number, row.ok_or_else(|| Refused::not_found("buyer"))?)?;
    let profile = tx.rows(PROFILE, key).await?.into_iter().next();
    let version = profile.map(|mut row| row.number()).transpose()?;
    Ok(Buyer { version: version.unwrap_or(0), ..buyer })
}

pub(super) fn target(number: i64) -> String {
    format!("buyer:{number}")
}

fn read(number: i64, mut row: Row) -> Result<Buyer, SqlError> {
    let (limit_by, created_ms) = (row.text()?, row.number()?);
    let erased_ms = row.int_or_null()?.map(u64::try_from).transpose();
    let erased_ms = erased_ms.map_err(|_| SqlError::Broken("a buyer was erased before 1970".into()))?;
    let (id, created_at) = (number.to_string(), rfc3339(created_ms));
    Ok(Buyer { id, limit_by, created_at, erased_at: erased_ms.map(rfc3339), version: 0 })
}
