//! The routes of SKUs.

use std::{collections::HashSet, sync::LazyLock};

use kit::{
    access::Permission::{ReadProducts, WriteProducts},
    api::{Access, Call, Route, tagged},
    http::{Body, Mount, PageAsked, Response, StatusCode, reply},
    openapi::IdempotencyKey,
};
use serde::Deserialize;
use store::sql::{Fixed, Lock, Sql as _, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    SKU_COLUMNS, SKUS, Sku, SkuState, insert, product,
    rules::{Flaws, known_images},
    texts::{Attribute, Barcode, Code, ImageReference, Price},
    to_json,
};
use crate::{
    change::{Answer, Begun},
    document::{Changed, Created, Page, Pages, Read},
    ports::Ports,
    reading::{Reading, with},
    refused::Refused,
    service::Catalog,
};

const UPDATE: &str = "UPDATE skus SET price = ?, currency = ?, barcode = ?, weight_g = ?, state = ?, attributes = ?, \
                      images = ?, version = ?, updated_at = ? WHERE tenant = ? AND sku = ?";
const DELETE: &str = "DELETE FROM skus WHERE tenant = ? AND sku = ?";
/// The first SKUs of each product. Their places come from an index alone, so that a product with
/// very many SKUs costs no more than their numbers.
static OF_PRODUCTS: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new(format!(
        "SELECT {SKU_COLUMNS} FROM skus WHERE tenant = ? AND sku IN (SELECT sku FROM (SELECT sku, ROW_NUMBER() \
         OVER (PARTITION BY product ORDER BY sku) AS place FROM skus WHERE tenant = ? AND sku > ? \
         AND product IN ([?,])) placed WHERE place <= ?) ORDER BY sku"
    ))
});

/// A new SKU.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSku {
    /// The merchant's own code; one of its own in the tenant.
    code: Code,
    price: Price,
    #[serde(default)]
    barcode: Barcode,
    /// In grams; 0 where it is not known.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    weight_g: i64,
    #[serde(default)]
    #[schema(max_items = 50)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    #[schema(max_items = 20)]
    images: Vec<ImageReference>,
}

/// What changes of a SKU; what is left out stays, and what is given stands for all of the member.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SkuChange {
    #[schema(nullable = false)]
    pub(super) price: Option<Price>,
    #[schema(nullable = false)]
    pub(super) barcode: Option<Barcode>,
    /// In grams; 0 where it is not known.
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000_000)]
    pub(super) weight_g: Option<i64>,
    #[schema(nullable = false)]
    pub(super) state: Option<SkuState>,
    #[schema(nullable = false, max_items = 50)]
    pub(super) attributes: Option<Vec<Attribute>>,
    #[schema(nullable = false, max_items = 20)]
    pub(super) images: Option<Vec<ImageReference>>,
}

impl SkuChange {
    /// The SKU with the change; `None` when it is as it was.
    pub(super) fn of(self, before: &Sku, now_ms: u64) -> Option<Sku> {
        let mut after = before.clone();
        after.price = self.price.unwrap_or(after.price);
        after.barcode = self.barcode.unwrap_or(after.barcode);
        after.weight_g = self.weight_g.unwrap_or(after.weight_g);
        after.state = self.state.unwrap_or(after.state);
        after.attributes = self.attributes.unwrap_or(after.attributes);
        after.images = self.images.unwrap_or(after.images);
        if after == *before {
            return None;
        }
        Some(Sku { version: before.version + 1, updated_at: now_ms, ..after })
    }

    fn flaws(&self, images: &HashSet<String>) -> Flaws {
        let mut flaws = Flaws::default();
        if let Some(price) = &self.price {
            flaws.of_currency("price.currency", &price.currency);
        }
        flaws.of_attributes("attributes", self.attributes.as_deref().unwrap_or_default());
        flaws.of_images("images", self.images.as_deref().unwrap_or_default(), images);
        flaws
    }
}

#[derive(OpenApi)]
#[openapi(paths(list, of_product, show, create, change, remove))]
struct Document;

/// Its part of the OpenAPI document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadProducts), Access::Needs(WriteProducts));
    vec![
        Mount::get("/v1/skus", "skus", Route::new(read, |catalog, call| Box::pin(list(catalog, call)))),
        Mount::get(
            "/v1/products/{product}/skus",
            "skus_of_product",
            Route::new(read, |catalog, call| Box::pin(of_product(catalog, call))),
        ),
        Mount::post(
            "/v1/products/{product}/skus",
            "new_sku",
            Route::new(write, |catalog, call| Box::pin(create(catalog, call))),
        ),
        Mount::get("/v1/skus/{sku}", "sku", Route::new(read, |catalog, call| Box::pin(show(catalog, call)))),
        Mount::patch(
            "/v1/skus/{sku}",
            "change_sku",
            Route::new(write, |catalog, call| Box::pin(change(catalog, call))),
        ),
        Mount::delete(
            "/v1/skus/{sku}",
            "remove_sku",
            Route::new(write, |catalog, call| Box::pin(remove(catalog, call))),
        ),
    ]
}

/// All SKUs by number, or the one of a code.
#[utoipa::path(
    get, path = "/v1/skus", operation_id = "skus", tag = "products", security(("merchant" = [])),
    params(("code" = Option<String>, Query, description = "The one with this code."), PageAsked),
    responses((status = 200, body = inline(Page<Sku>)), Read)
)]
async fn list<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&["code", "cursor", "limit"])?;
    let asked = PageAsked::of(&query)?;
    let filter = query.get("code").map(|code| ("code", code.into()));
    Ok(reply::json(StatusCode::OK, &page(catalog.sql(), call.actor.tenant, filter, &asked).await?))
}

/// The SKUs of a product, by number.
#[utoipa::path(
    get, path = "/v1/products/{product}/skus", operation_id = "skus_of_product", tag = "products",
    security(("merchant" = [])), params(("product" = String, Path, description = "Its number."), PageAsked),
    responses((status = 200, body = inline(Page<Sku>)), Read)
)]
async fn of_product<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (number, asked): (i64, _) = (call.part("product")?, call.page()?);
    let known = "SELECT 1 FROM products WHERE tenant = ? AND product = ?";
    if catalog.sql().rows(known, vec![call.actor.tenant.into(), number.into()]).await?.is_empty() {
        return Err(Refused::not_found("product"));
    }
    let filter = Some(("product", number.into()));
    Ok(reply::json(StatusCode::OK, &page(catalog.sql(), call.actor.tenant, filter, &asked).await?))
}

/// SKUs by number; those with this value in this column, where it is given.
///
/// # Errors
/// `invalid_request` for a cursor of somebody else; [`Refused::Sql`].
pub(crate) async fn page(
    db: &dyn Reading,
    tenant: u32,
    filter: Option<(&'static str, Value)>,
    asked: &PageAsked,
) -> Result<Page<Sku>, Refused> {
    let mut text = format!("SELECT {SKU_COLUMNS} FROM skus WHERE tenant = ? AND sku > ?");
    let mut keys: Vec<Value> = vec![tenant.into(), Page::<Sku>::after(asked)?.into()];
    if let Some((column, value)) = filter {
        text.push_str(&format!(" AND {column} = ?"));
        keys.push(value);
    }
    text.push_str(" ORDER BY sku LIMIT ?");
    keys.push((asked.limit + 1).into());
    let skus = db.read(&text, keys).await?.into_iter().map(Sku::read).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::new(skus, asked, |sku: &Sku| sku.id.to_string()))
}

/// Of each of these products the same page of its SKUs, by the product's number as a decimal
/// string; in one statement for up to 512 of them.
///
/// # Errors
/// As [`page`].
pub(crate) async fn of_products(
    db: &dyn Reading,
    tenant: u32,
    products: &[i64],
    asked: &PageAsked,
) -> Result<Pages<Sku>, Refused> {
    let after = Page::<Sku>::after(asked)?;
    let mut skus = Vec::new();
    for (text, products) in OF_PRODUCTS.padded(products) {
        let mut values = with(&[tenant.into(), tenant.into(), after.into()], products);
        values.push((asked.limit + 1).into());
        skus.extend(db.read(text, values).await?.into_iter().map(Sku::read));
    }
    let skus: Vec<Sku> = skus.into_iter().collect::<Result<_, _>>()?;
    Ok(Page::of_each(skus, asked, |sku| sku.product.to_string(), |sku| sku.id.to_string()))
}

/// A SKU.
#[utoipa::path(
    get, path = "/v1/skus/{sku}", operation_id = "sku", tag = "products", security(("merchant" = [])),
    params(("sku" = String, Path, description = "Its number.")), responses((status = 200, body = Sku), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: i64 = call.part("sku")?;
    let sku = find(catalog.sql(), call.actor.tenant, number).await?.ok_or_else(|| Refused::not_found("SKU"))?;
    Ok(tagged(reply::json(StatusCode::OK, &sku), sku.version))
}

/// A SKU of a tenant.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(crate) async fn find(db: &dyn Reading, tenant: u32, number: i64) -> Result<Option<Sku>, SqlError> {
    let rows = db.read(&one(), vec![tenant.into(), number.into()]).await?;
    rows.into_iter().next().map(Sku::read).transpose()
}

/// Makes a SKU of a product.
#[utoipa::path(
    post, path = "/v1/products/{product}/skus", operation_id = "new_sku", tag = "products",
    security(("merchant" = [])), request_body = NewSku,
    params(("product" = String, Path, description = "Its number."), IdempotencyKey),
    responses((status = 201, body = Sku), Created)
)]
async fn create<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: i64 = call.part("product")?;
    let asked: NewSku = call.json()?;
    let tenant = call.actor.tenant;
    let given = SkuChange {
        price: Some(asked.price.clone()),
        attributes: Some(asked.attributes),
        images: Some(asked.images),
        ..SkuChange::default()
    };
    check(catalog, tenant, &given).await?;
    let id = catalog.numbers().take(SKUS).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    // Its lock keeps the product from being removed meanwhile.
    product::locked(&mut change.tx, tenant, number).await?;
    let sku = Sku {
        id,
        product: number,
        code: asked.code,
        price: asked.price,
        barcode: asked.barcode,
        weight_g: asked.weight_g,
        state: SkuState::Active,
        attributes: given.attributes.unwrap_or_default(),
        images: given.images.unwrap_or_default(),
        used: false,
        version: 1,
        created_at: change.now_ms,
        updated_at: change.now_ms,
    };
    if !change.tx.insert_absent(&insert("skus", SKU_COLUMNS, false), sku.values(tenant)?).await? {
        return Err(Refused::conflict("another SKU of this tenant has this code; choose another one"));
    }
    change.record("sku.create", format!("sku:{id}"), None, Some(&sku))?;
    let answer = Answer::created(format!("/v1/skus/{id}"), &sku)?;
    Ok(tagged(change.commit(answer).await?, sku.version))
}

/// Changes a SKU. What changes nothing leaves its version as it is.
#[utoipa::path(
    patch, path = "/v1/skus/{sku}", operation_id = "change_sku", tag = "products", security(("merchant" = [])),
    request_body = SkuChange,
    params(("sku" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Sku), Changed)
)]
async fn change<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: i64 = call.part("sku")?;
    let asked: SkuChange = call.json()?;
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
    change.replace("sku.change", format!("sku:{number}"), Some(&before), (&after, after.version)).await
}

/// Removes a SKU. One that was ever stocked or sold is archived instead; the answer shows it.
#[utoipa::path(
    delete, path = "/v1/skus/{sku}", operation_id = "remove_sku", tag = "products", security(("merchant" = [])),
    params(("sku" = String, Path, description = "Its number."), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Sku), (status = 204, description = "It is gone."), Changed)
)]
async fn remove<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let number: i64 = call.part("sku")?;
    let (tenant, expected) = (call.actor.tenant, call.expected_version()?);
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let before = locked(&mut change.tx, tenant, number).await?;
    Refused::unless_seen(expected, before.version, &before)?;
    if !before.used {
        change.tx.exec(DELETE, vec![tenant.into(), number.into()]).await?;
        change.record("sku.remove", format!("sku:{number}"), Some(&before), None)?;
        return change.commit(Answer::gone()).await;
    }
    let archived = SkuChange { state: Some(SkuState::Archived), ..SkuChange::default() };
    let after = archived.of(&before, change.now_ms).unwrap_or_else(|| before.clone());
    if after != before {
        save(&mut change.tx, tenant, &after).await?;
        change.record("sku.archive", format!("sku:{number}"), Some(&before), Some(&after))?;
    }
    let answer = Answer::ok(&after)?;
    Ok(tagged(change.commit(answer).await?, after.version))
}

/// What the schema of the body does not say.
async fn check<P: Ports>(catalog: &Catalog<P>, tenant: u32, asked: &SkuChange) -> Result<(), Refused> {
    let images = known_images(catalog, tenant, asked.images.iter().flatten()).await?;
    asked.flaws(&images).refuse()
}

async fn locked<T: Tx>(tx: &mut T, tenant: u32, number: i64) -> Result<Sku, Refused> {
    let rows = tx.lock_rows(&one(), vec![tenant.into(), number.into()], Lock::Wait).await?;
    rows.into_iter().next().map(Sku::read).transpose()?.ok_or_else(|| Refused::not_found("SKU"))
}

async fn save<T: Tx>(tx: &mut T, tenant: u32, after: &Sku) -> Result<(), Refused> {
    let row = vec![
        after.price.amount.into(),
        after.price.currency.0.as_str().into(),
        after.barcode.0.as_str().into(),
        after.weight_g.into(),
        after.state.as_str().into(),
        to_json(&after.attributes)?,
        to_json(&after.images)?,
        stored(after.version)?.into(),
        stored(after.updated_at)?.into(),
        tenant.into(),
        after.id.into(),
    ];
    tx.exec(UPDATE, row).await?;
    Ok(())
}

fn one() -> String {
    format!("SELECT {SKU_COLUMNS} FROM skus WHERE tenant = ? AND sku = ?")
}
