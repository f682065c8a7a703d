//! How a shop looks: name, logo, colours, texts, and the domain at which it is found. Its pages ask
//! for it while they run, so that a change needs no release.

use std::collections::BTreeSet;

use kit::{
    access::Permission::{ReadSettings, WriteSettings},
    api::{Access, Call, Route, tagged},
    digest::sha256,
    http::{Body, HeaderValue, Mount, Response, StatusCode, header, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx as _, Value};
use utoipa::{OpenApi, ToSchema};

use crate::{
    change::{Answer, Begun},
    document::{Changed, Read},
    images,
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// How long pages and proxies may show a branding without asking again.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=60");

const COLUMNS: &str = "code, name, branding, domain, version";
const UPDATE: &str = "UPDATE tenants SET branding = ?, domain = ?, version = version + 1 WHERE tenant = ?";

/// A colour with the name of its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrandingColour)]
pub(crate) struct Colour {
    /// Where the shop's pages use it: `primary`.
    #[schema(pattern = "^[a-z][a-z0-9_]{0,31}$")]
    name: String,
    #[schema(pattern = "^#[0-9a-fA-F]{6}$")]
    value: String,
}

/// A text with the name of its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrandingText)]
pub(crate) struct Text {
    /// Where the shop's pages show it: `footer`.
    #[schema(pattern = "^[a-z][a-z0-9_]{0,31}$")]
    name: String,
    #[schema(max_length = 500)]
    value: String,
}

/// How a shop is to look. What is left out is taken away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBranding {
    /// Its name for buyers; left out: the tenant's.
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    name: Option<String>,
    /// Its logo, an address in the web; or `logo_image`.
    #[schema(pattern = r"^https://[!#-;=?-\[\]_a-z~]{1,1000}$", nullable = false)]
    logo_url: Option<String>,
    /// Its logo, the hash of an image that the tenant uploaded.
    #[schema(pattern = "^[0-9a-f]{64}$", nullable = false)]
    logo_image: Option<String>,
    #[serde(default)]
    #[schema(max_items = 32)]
    colours: Vec<Colour>,
    #[serde(default)]
    #[schema(max_items = 50)]
    texts: Vec<Text>,
    /// The host name of its pages, in small letters; of one tenant only.
    #[schema(
        pattern = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$",
        max_length = 191,
        nullable = false
    )]
    domain: Option<String>,
}

/// As it is stored. What a newer program stored beyond it is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Look {
    name: Option<String>,
    logo_url: Option<String>,
    logo_image: Option<String>,
    colours: Vec<Colour>,
    texts: Vec<Text>,
}

/// How a shop looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Branding {
    /// The tenant's code.
    tenant: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    logo_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    logo_image: Option<String>,
    colours: Vec<Colour>,
    texts: Vec<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    domain: Option<String>,
    /// Of the tenant, which has its branding; rises with each change of it; also the ETag. Missing
    /// on the public route.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    version: Option<u64>,
}

#[derive(OpenApi)]
#[openapi(paths(show, put, public))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadSettings), Access::Needs(WriteSettings));
    vec![
        Mount::get("/v1/branding", "branding", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::put("/v1/branding", "put_branding", Route::new(write, |catalog, call| Box::pin(put(catalog, call)))),
        Mount::get(
            "/v1/branding/{shop}",
            "public_branding",
            Route::new(Access::Public, |catalog, call| Box::pin(public(catalog, call))),
        )
        .for_pages(),
    ]
}

/// How the tenant's shop looks.
#[utoipa::path(
    get, path = "/v1/branding", operation_id = "branding", tag = "tenants", security(("merchant" = [])),
    responses((status = 200, body = Branding), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let rows = catalog.sql().rows(&by("tenant"), vec![call.actor.tenant.into()]).await?;
    let (branding, version) =
        rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("tenant"))?;
    Ok(tagged(reply::json(StatusCode::OK, &branding), version))
}

/// Says how the tenant's shop is to look.
#[utoipa::path(
    put, path = "/v1/branding", operation_id = "put_branding", tag = "tenants", security(("merchant" = [])),
    request_body = NewBranding, params(("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Branding), Changed)
)]
async fn put<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (domain, look) = asked(call)?;
    let expected = call.expected_version()?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    let rows = change.tx.lock_rows(&by("tenant"), vec![tenant.into()], Lock::Wait).await?;
    let mut row = rows.into_iter().next().ok_or_else(|| Refused::not_found("tenant"))?;
    let (code, name) = (row.text()?, row.text()?);
    let before = Branding::of(&code, &name, look_of(&row.text()?)?, row.text_or_null()?);
    let version: u64 = row.number()?;
    if expected.is_some_and(|expected| expected != version) {
        return Err(Refused::stale(&Branding { version: Some(version), ..before }));
    }
    let after = Branding::of(&code, &name, look.clone(), domain.clone());
    if after == before {
        return Ok(tagged(reply::json(StatusCode::OK, &Branding { version: Some(version), ..after }), version));
    }
    if let Some(image) = &look.logo_image
        && !images::has(&mut change.tx, tenant, image).await?
    {
        return Err(Refused::field("logo_image", "there is no such image: upload it first"));
    }
    let stored = serde_json::to_string(&look).map_err(|error| Refused::Broken(error.to_string()))?;
    let row = vec![stored.as_str().into(), Value::text_or_null(domain.as_deref()), tenant.into()];
    let updated = change.tx.exec(UPDATE, row).await;
    updated.map_err(|error| match error {
        SqlError::KeyTaken(_) => Refused::conflict("another tenant has this domain; give one of your own"),
        error => error.into(),
    })?;
    change.record("branding.change", format!("tenant:{tenant}"), Some(&before), Some(&after))?;
    let answer = Answer::ok(&Branding { version: Some(version + 1), ..after })?;
    Ok(tagged(change.commit(answer).await?, version + 1))
}

/// How a shop looks, for its pages: found by its domain, or by its tenant's code.
#[utoipa::path(
    get, path = "/v1/branding/{shop}", operation_id = "public_branding", tag = "tenants",
    params(("shop" = String, Path, description = "A host name, or the code of a tenant.")),
    responses((status = 200, body = Branding), (status = 304, description = "As If-None-Match names it."), Read)
)]
async fn public<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let shop: String = call.part("shop")?;
    // A code has no dot, and a host name has one.
    let column = if shop.contains('.') { "domain" } else { "code" };
    let rows = catalog.sql().rows(&by(column), vec![shop.as_str().into()]).await?;
    let (branding, _version) =
        rows.into_iter().next().map(read).transpose()?.ok_or_else(|| Refused::not_found("shop"))?;
    let response = reply::json(StatusCode::OK, &Branding { version: None, ..branding.clone() });
    // Of what it shows: a domain may go to another tenant, whose version may be the same.
    let shown = serde_json::to_vec(&branding).map_err(|error| Refused::Broken(error.to_string()))?;
    let digest: String = sha256(&shown).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    Ok(cached(response, call, &format!("\"{digest}\"")))
}

/// The answer with what caches need; without its body for whoever has it already.
fn cached(response: Response<Body>, call: &Call<'_>, tag: &str) -> Response<Body> {
    let known = call.headers().get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag);
    let mut response = if is_known { reply::empty(StatusCode::NOT_MODIFIED) } else { response };
    response.headers_mut().insert(header::CACHE_CONTROL, CACHE);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The body: its domain, and all else.
fn asked(call: &Call<'_>) -> Result<(Option<String>, Look), Refused> {
    let NewBranding { name, logo_url, logo_image, colours, texts, domain } = call.json()?;
    let mut flaws = Vec::new();
    let mut holds = |is_so: bool, member: &str, flaw| flaws.extend((!is_so).then(|| (member.to_owned(), flaw)));
    holds(logo_url.is_none() || logo_image.is_none(), "logo_image", "give either `logo_url` or `logo_image`");
    holds(are_distinct(colours.iter().map(|colour| &colour.name)), "colours", "a name comes twice");
    holds(are_distinct(texts.iter().map(|text| &text.name)), "texts", "a name comes twice");
    if !flaws.is_empty() {
        return Err(Refused::fields(flaws));
    }
    Ok((domain, Look { name, logo_url, logo_image, colours, texts }))
}

fn are_distinct<'a>(mut names: impl Iterator<Item = &'a String>) -> bool {
    let mut seen = BTreeSet::new();
    names.all(|name| seen.insert(name))
}

impl Branding {
    fn of(code: &str, name: &str, look: Look, domain: Option<String>) -> Self {
        let Look { name: own, logo_url, logo_image, colours, texts } = look;
        let name = own.unwrap_or_else(|| name.to_owned());
        Self { tenant: code.to_owned(), name, logo_url, logo_image, colours, texts, domain, version: None }
    }
}

fn by(column: &str) -> String {
    format!("SELECT {COLUMNS} FROM tenants WHERE {column} = ?")
}

fn look_of(text: &str) -> Result<Look, SqlError> {
    serde_json::from_str(text).map_err(|error| SqlError::Broken(format!("a branding: {error}").into()))
}

fn read(mut row: Row) -> Result<(Branding, u64), SqlError> {
    let (code, name) = (row.text()?, row.text()?);
    let branding = Branding::of(&code, &name, look_of(&row.text()?)?, row.text_or_null()?);
    let version = row.number()?;
    Ok((Branding { version: Some(version), ..branding }, version))
}
