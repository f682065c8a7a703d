//! Images, by the SHA-256 of their bytes: the same bytes are one image, whoever uploads them, and a
//! hash never shows other bytes, so that it may be kept for ever. What is served is what its bytes
//! say, and nothing in it runs.

use std::sync::Arc;

use kit::{
    access::Permission::WriteProducts,
    api::{Access, Call, Route},
    digest::{hex, sha256},
    http::{Body, HeaderValue, Mount, Response, StatusCode, header, reply},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::{Sql, SqlError, Tx, stored};
use tokio::sync::Semaphore;
use utoipa::{OpenApi, ToSchema};

use crate::{
    change::{Answer, Begun},
    document::{Created, Read},
    media::Media,
    memory::{Images, Piece},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Largest image.
const IMAGE_BYTES_MAX: usize = 1024 * 1024;

/// Images that come at a time: each is whole in memory until it is stored.
static UPLOADS: Semaphore = Semaphore::const_new(32);

/// Most images of a tenant.
const IMAGES_MAX: i64 = 10_000;

/// For ever, by anybody: the path names the bytes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// An image that is opened as a page loads nothing and runs nothing.
const NOTHING_RUNS: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

const COUNT: &str = "SELECT COUNT(*) FROM tenant_images WHERE tenant = ?";
const ADD: &str = "INSERT INTO images (hash, media, content) VALUES (?, ?, ?)";
const ADD_OWN: &str = "INSERT INTO tenant_images (tenant, hash, created_at) VALUES (?, ?, ?)";
const OWN: &str = "SELECT hash FROM tenant_images WHERE tenant = ? AND hash = ?";
const MEDIA: &str = "SELECT media FROM images WHERE hash = ?";

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Image {
    /// The SHA-256 of its bytes, by which products name it.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
    /// What it is.
    #[schema(example = "image/png")]
    media: String,
    /// Its size.
    bytes: usize,
    /// Where everybody finds it.
    path: String,
}

#[derive(OpenApi)]
#[openapi(paths(upload, show))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let upload = Route::new(Access::Needs(WriteProducts), |catalog, call| Box::pin(upload(catalog, call)));
    let show = Route::new(Access::Public, |catalog, call| Box::pin(show(catalog, call)));
    vec![
        Mount::post("/v1/images", "new_image", upload.with_body(IMAGE_BYTES_MAX).of_few(&UPLOADS)),
        Mount::get("/v1/images/{hash}", "image", show).for_pages(),
    ]
}

/// Uploads an image: PNG, JPEG or WebP, at most 1 MiB. `Content-Type` says what the bytes are.
#[utoipa::path(
    post, path = "/v1/images", operation_id = "new_image", tag = "products", security(("merchant" = [])),
    request_body(
        description = "The bytes of the image.",
        content((String = "image/png"), (String = "image/jpeg"), (String = "image/webp"))
    ),
    params(IdempotencyKey), responses((status = 201, body = Image), Created)
)]
async fn upload<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let declared = Media::declared(call.headers());
    let media = Media::of_bytes(&call.body).filter(|media| declared == Some(*media)).ok_or_else(|| {
        let problem = Problem::new(Code::UnsupportedMediaType, "an image is PNG, JPEG or WebP, and says what it is");
        problem.with_field("Content-Type", "give image/png, image/jpeg or image/webp, as the bytes are")
    })?;
    let hash = hex(&sha256(&call.body));
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let tenant = change.tenant();
    let path = format!("/v1/images/{hash}");
    let image = Image { hash, media: media.as_str().to_owned(), bytes: call.body.len(), path: path.clone() };
    let known = change.tx.rows(MEDIA, vec![image.hash.as_str().into()]).await?;
    if known.is_empty() {
        let row = vec![image.hash.as_str().into(), media.as_str().into(), call.body.clone().into()];
        // Somebody else may upload the same bytes at the same moment: they are there all the same.
        change.tx.insert_absent(ADD, row).await?;
    }
    let own = vec![tenant.into(), image.hash.as_str().into(), stored(change.now_ms)?.into()];
    if change.tx.insert_absent(ADD_OWN, own).await? {
        let rows = change.tx.rows(COUNT, vec![tenant.into()]).await?;
        let row = rows.into_iter().next();
        if row.ok_or_else(|| SqlError::Broken("a count has no row".into()))?.int()? > IMAGES_MAX {
            let detail = format!("this tenant has {IMAGES_MAX} images, which is all there may be: use those");
            return Err(Problem::new(Code::QuotaExceeded, detail).into());
        }
        change.record("image.create", format!("image:{}", image.hash), None, Some(&image))?;
    }
    change.commit(Answer::created(path, &image)?).await
}

/// Whether this tenant uploaded the image with this hash.
///
/// # Errors
/// [`SqlError`].
pub(crate) async fn has<T: Tx>(tx: &mut T, tenant: u32, hash: &str) -> Result<bool, SqlError> {
    Ok(!tx.rows(OWN, vec![tenant.into(), hash.into()]).await?.is_empty())
}

/// An image, for everybody who has its hash.
#[utoipa::path(
    get, path = "/v1/images/{hash}", operation_id = "image", tag = "products", security(()),
    params(("hash" = String, Path, description = "The SHA-256 of its bytes, 64 small hexadecimal digits.")),
    responses(
        (status = 200, description = "Its bytes, which never change.",
            content((String = "image/png"), (String = "image/jpeg"), (String = "image/webp"))),
        (status = 304, description = "The client has it."),
        Read
    )
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let hash: String = call.part("hash")?;
    if hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Refused::not_found("image"));
    }
    let (images, db) = (Arc::clone(&catalog.memory().images), catalog.sql().clone());
    let first = images.piece(&db, &hash, 0).await?.ok_or_else(|| Refused::not_found("image"))?;
    let (media, length, tag) = (first.media, first.length, format!("\"{hash}\""));
    let mut response = if call.headers().get_all(header::IF_NONE_MATCH).iter().any(|sent| names(sent, &tag)) {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = Response::new(streamed(Streaming { images, db, hash, next: 0, first: Some(first) }));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str()));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    headers.insert(header::CONTENT_SECURITY_POLICY, NOTHING_RUNS);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// An image on its way to a client.
struct Streaming<S> {
    images: Arc<Images>,
    db: S,
    hash: String,
    /// The number of the next piece.
    next: u32,
    /// The first piece, until it is sent.
    first: Option<Piece>,
}

/// The pieces of an image, each looked for when the client has taken the one before.
fn streamed<S: Sql>(image: Streaming<S>) -> Body {
    Body::of_pieces(image, |mut image| async move {
        let piece = match image.first.take() {
            Some(first) => Ok(Some(first)),
            None => image.images.piece(&image.db, &image.hash, image.next).await,
        };
        match piece {
            Ok(piece) => piece.map(|piece| (piece.bytes, Streaming { next: image.next + 1, ..image })),
            Err(error) => {
                // The length was announced: the client sees that it broke off.
                tracing::warn!(%error, hash = image.hash, "an image broke off while it was sent");
                None
            }
        }
    })
}

/// Whether an `If-None-Match` names this tag.
fn names(sent: &HeaderValue, tag: &str) -> bool {
    let listed = sent.to_str().unwrap_or_default().split(',').map(str::trim);
    listed.map(|one| one.strip_prefix("W/").unwrap_or(one)).any(|one| one == tag || one == "*")
}
