//! The routes of products.

use std::collections::HashSet;

use kit::{
    access::Permission::{ReadProducts, WriteProducts},
    api::{Access, Call, Route, tagged},
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    schema::Schema,
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use store::sql::{Lock, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    PRODUCT_COLUMNS, PRODUCTS, Product, ProductState, fields, insert,
    rules::{Flaws, known_images},
    texts::{Attribute, Code, Description, ImageReference, Title},
    to_json,
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Read},
    ports::Ports,
    reading::Reading,
    refused::Refused,
    service::Catalog,
};

const UPDATE: &str = "UPDATE products SET title = ?, description = ?, state = ?, attributes = ?, images = ?, \
                      fields = ?, version = ?, updated_at = ? WHERE tenant = ? AND product = ?";
const DELETE: &str = "DELETE FROM products WHERE tenant = ? AND product = ?";
const DELETE_ALL_SKUS: &str = "DELETE FROM skus WHERE tenant = ? AND product = ?";
const ARCHIVE_ALL_SKUS: &str = "UPDATE skus SET state = 'archived', version = version + 1, updated_at = ? \
                                WHERE tenant = ? AND product = ? AND state <> 'archived'";
const SKUS_USED: &str = "SELECT used FROM skus WHERE tenant = ? AND product = ? ORDER BY sku";

/// A new product.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProduct {
    /// The merchant's own code; one of its own in the tenant.
    code: Code,
    title: Title,
    #[serde(default)]
    description: Description,
    /// `draft`, unless it is given.
    #[schema(nullable = false)]
    state: Option<ProductState>,
    #[serde(default)]
    #[schema(max_items = 50)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    #[schema(max_items = 20)]
    images: Vec<ImageReference>,
    /// By the schema of `/v1/product-fields`.
    #[serde(default)]
    #[schema(value_type = Object)]
    fields: Map<String, Json>,
}

/// What changes of a product; what is left out stays, and what is given stands for all of the
/// member.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductChange {
    #[schema(nullable = false)]
    pub(super) title: Option<Title>,
    #[schema(nullable = false)]
    pub(super) description: Option<Description>,
    #[schema(nullable = false)]
    pub(super) state: Option<ProductState>,
    #[schema(nullable = false, max_items = 50)]
    pub(super) attributes: Option<Vec<Attribute>>,
    #[schema(nullable = false, max_items = 20)]
    pub(super) images: Option<Vec<ImageReference>>,
    #[schema(value_type = Option<Object>, nullable = false)]
    pub(super) fields: Option<Map<String, Json>>,
}

impl ProductChange {
    /// The product with the change; `None` when it is as it was.
    pub(super) fn of(self, before: &Product, now_ms: u64) -> Option<Product> {
        let mut after = before.clone();
        after.title = self.title.unwrap_or(after.title);
        after.description = self.description.unwrap_or(after.description);
        after.state = self.state.unwrap_or(after.state);
        after.attributes = self.attributes.unwrap_or(after.attributes);
        after.images = self.images.unwrap_or(after.images);
        after.fields = self.fields.unwrap_or(after.fields);
        if after == *before {
            return None;
        }
        Some(Product { version: before.version + 1, updated_at: now_ms, ..after })
    }

    fn flaws(&self, schema: &Schema, images: &HashSet<String>) -> Flaws {
        let mut flaws = Flaws::default();
        flaws.of_attributes("attributes", self.attributes.as_deref().unwrap_or_default());
        flaws.of_images("images", self.images.as_deref().unwrap_or_default(), images);
        if let Some(fields) = &self.fields {
            flaws.of_fields("fields", schema, &Json::Object(fields.clone()));
        }
        flaws
    }
}

#[derive(OpenApi)]
#[openapi(paths(list, show, create, change, remove))]
struct Document;

/// Its part of the OpenAPI document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadProducts), Access::Needs(WriteProducts));
    vec![
        Mount::get("/v1/products", "products", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::post("/v1/products", "new_product", Route::new(write, |catalog, call| Box::pin(create(catalog, call)))),
        Mount::get(
            "/v1/products/{product}",
            "product",
            Route::new(read, |catalog, call| Box::pin(show(catalog, call))),
        ),
        Mount::patch(
            "/v1/products/{product}",
            "change_product",
            Route::new(write, |catalog, call| Box::pin(change(catalog, call))),
        ),
        Mount::delete(
            "/v1/products/{product}",
            "remove_product",
            Route::new(write, |catalog, call| Box::pin(remove(catalog, call))),
        ),
    ]
}

/// All products by number, or the one of a code.
#[utoipa::path(
    get, path = "/v1/products", operation_id = "products", tag = "products", security(("merchant" = [])),
    params(
        ("code" = Option<String>, Query, description = "The one with this code."),
        ("state" = inline(Option<ProductState>), Query, description = "Those in this state."),
        PageAsked
    ),
    responses((status = 200, body = inline(Page<Product>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["code", "state", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let filter = (query.get("code"), query.get("state"));
    Ok(reply::json(StatusCode::OK, &page(catalog.sql(), call.actor.tenant, filter, &asked).await?))
}

/// Products by number; those of this code and in this state, where they are given.
///
/// # Errors
/// `invalid_request` for a cursor of somebody else or a state that is none; [`Refused::Sql`].
pub(crate) async fn page(
    db: &dyn Reading,
    tenant: u32,
    (code, state): (Option<&str>, Option<&str>),
    asked: &PageAsked,
) -> Result<Page<Product>, Refused> {
    let mut text = format!("SELECT {PRODUCT_COLUMNS} FROM products WHERE tenant = ? AND product > ?");
    let mut keys: Vec<Value> = vec![tenant.into(), Page::<Product>::after(asked)?.into()];
    if let Some(code) = code {
        text.push_str(" AND code = ?");
        keys.push(code.into());
    }
    if let Some(state) = state {
        let state = ProductState::read(state);
        let state = state.ok_or_else(|| kit::http::wrong_parameter("state", "give draft, active or archived"))?;
        text.push_str(" AND state = ?");
        keys.push(state.as_str().into());
    }
    text.push_str(" ORDER BY product LIMIT ?");
    keys.push((asked.limit + 1).into());
    let products = db.read(&text, keys).await?.into_iter().map(Product::read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::new(products, asked, |product: &Product| product.id.to_string()))
}

/// A product.
#[utoipa::path(
    get, path = "/v1/products/{product}", operation_id = "product", tag = "products", security(("merchant" = [])),
    params(("product" = String, Path, description = "Its number.")), responses((status = 200, body = Product), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: i64 = call.part("product")?;
    let product = find(catalog.sql(), call.actor.tenant, number).await?;
    let product = product.ok_or_else(|| Refused::not_found("product"))?;
    Ok(tagged(reply::json(StatusCode::OK, &product), product.version))
}

/// A product of a tenant.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(crate) async fn find(db: &dyn Reading, tenant: u32, number: i64) -> Result<Option<Product>, SqlError> {
    let rows = db.read(&one(), vec![tenant.into(), number.into()]).await?;
    rows.into_iter().next().map(Product::read).transpose()
}

/// Makes a product.
#[utoipa::path(
    post, path = "/v1/products", operation_id = "new_product", tag = "products", security(("merchant" = [])),
    request_body = NewProduct, params(IdempotencyKey), responses((status = 201, body = Product), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: NewProduct = call.json()?;
    let tenant = call.actor.tenant;
    let given = ProductChange {
        attributes: Some(asked.attributes),
        images: Some(asked.images),
        fields: Some(asked.fields),
        ..ProductChange::default()
    };
    check(catalog, tenant, &given).await?;
    let id = catalog.numbers().take(PRODUCTS).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let product = Product {
        id,
        code: asked.code,
        title: asked.title,
        description: asked.description,
        state: asked.state.unwrap_or(ProductState::Draft),
        attributes: given.attributes.unwrap_or_default(),
        images: given.images.unwrap_or_default(),
        fields: given.fields.unwrap_or_default(),
        version: 1,
        created_at: change.now_ms,
        updated_at: change.now_ms,
    };
    let statement = insert("products", PRODUCT_COLUMNS, false);
    if !change.tx.insert_absent(&statement, product.values(tenant)?).await? {
        return Err(Refused::conflict("another product of this tenant has this code; choose another one"));
    }
    change.record("product.create", format!("product:{id}"), None, Some(&product))?;
    let answer = Answer::created(format!("/v1/products/{id}"), &product)?;
    Ok(tagged(change.commit(answer).await?, product.version))
}

/// Changes a product. What changes nothing leaves its version as it is.
#[utoipa::path(
    patch, path = "/v1/products/{product}", operation_id = "change_product", tag = "products",
    security(("merchant" = [])), request_body = ProductChange,
    params(("product" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Product), Changed)
)]
async fn change<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: i64 = call.part("product")?;
    let asked: ProductChange = call.json()?;
    let (tenant, expected) = (call.actor.tenant, call.expected_version()?);
    check(catalog, tenant, &asked).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let before = locked(&mut change.tx, tenant, number).await?;
    Refused::unless_seen(expected, before.version, &before)?;
    let Some(after) = asked.of(&before, change.now_ms) else {
        return Ok(tagged(reply::json(StatusCode::OK, &before), before.version));
    };
    save(&mut change.tx, tenant, &after).await?;
    change.replace("product.change", format!("product:{number}"), Some(&before), (&after, after.version)).await
}

/// Removes a product with its SKUs. One of which a SKU was ever stocked or sold is archived
/// instead, with all of its SKUs; the answer shows it.
#[utoipa::path(
    delete, path = "/v1/products/{product}", operation_id = "remove_product", tag = "products",
    security(("merchant" = [])),
    params(("product" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Product), (status = 204, description = "It is gone."), Changed)
)]
async fn remove<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: i64 = call.part("product")?;
    let (tenant, expected) = (call.actor.tenant, call.expected_version()?);
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let before = locked(&mut change.tx, tenant, number).await?;
    Refused::unless_seen(expected, before.version, &before)?;
    let now_ms = change.now_ms;
    if remove_skus(&mut change.tx, tenant, number, now_ms).await? {
        change.tx.exec(DELETE, vec![tenant.into(), number.into()]).await?;
        change.record("product.remove", format!("product:{number}"), Some(&before), None)?;
        return change.commit(Answer::gone()).await;
    }
    let archived = ProductChange { state: Some(ProductState::Archived), ..ProductChange::default() };
    let after = archived.of(&before, now_ms).unwrap_or_else(|| before.clone());
    if after != before {
        save(&mut change.tx, tenant, &after).await?;
        change.record("product.archive", format!("product:{number}"), Some(&before), Some(&after))?;
    }
    let answer = Answer::ok(&after)?;
    Ok(tagged(change.commit(answer).await?, after.version))
}

/// Removes the SKUs of a product that is being removed; archives them when one was ever used, and
/// says `false`.
async fn remove_skus<T: Tx>(tx: &mut T, tenant: u32, product: i64, now_ms: u64) -> Result<bool, SqlError> {
    let key = || vec![tenant.into(), product.into()];
    let mut used = false;
    for mut row in tx.lock_rows(SKUS_USED, key(), Lock::Wait).await? {
        used |= row.int()? != 0;
    }
    if used {
        tx.exec(ARCHIVE_ALL_SKUS, [vec![stored(now_ms)?.into()], key()].concat()).await?;
    } else {
        tx.exec(DELETE_ALL_SKUS, key()).await?;
    }
    Ok(!used)
}

/// What the schema of the body does not say.
async fn check<P: Ports>(catalog: &Catalog<P>, tenant: u32, asked: &ProductChange) -> Result<(), Refused> {
    let schema = fields::of(catalog, tenant).await?.compiled()?;
    let images = known_images(catalog, tenant, asked.images.iter().flatten()).await?;
    asked.flaws(&schema, &images).refuse()
}

/// A product, locked until the transaction ends.
pub(super) async fn locked<T: Tx>(tx: &mut T, tenant: u32, number: i64) -> Result<Product, Refused> {
    let rows = tx.lock_rows(&one(), vec![tenant.into(), number.into()], Lock::Wait).await?;
    let found = rows.into_iter().next().map(Product::read).transpose()?;
    found.ok_or_else(|| Refused::not_found("product"))
}

async fn save<T: Tx>(tx: &mut T, tenant: u32, after: &Product) -> Result<(), Refused> {
    let row = vec![
        after.title.0.as_str().into(),
        after.description.0.as_str().into(),
        after.state.as_str().into(),
        to_json(&after.attributes)?,
        to_json(&after.images)?,
        to_json(&after.fields)?,
        stored(after.version)?.into(),
        stored(after.updated_at)?.into(),
        tenant.into(),
        after.id.into(),
    ];
    tx.exec(UPDATE, row).await?;
    Ok(())
}

fn one() -> String {
    format!("SELECT {PRODUCT_COLUMNS} FROM products WHERE tenant = ? AND product = ?")
}
