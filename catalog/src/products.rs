//! Products, and the SKUs that are sold of them, by the merchant's own codes. A code is mapped to a
//! number once and stays.

/// All of them as a file.
mod export;
/// The tenant's own fields of a product.
mod fields;
/// Products and SKUs from a file.
mod import;
/// A line of such a file.
mod line;
/// The routes of products.
pub(crate) mod product;
/// What schemas cannot say.
pub(crate) mod rules;
/// The routes of SKUs.
pub(crate) mod sku;
/// Texts and their bounds.
pub(crate) mod texts;

use async_graphql::Enum;
use kit::{api::Route, http::Mount};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use store::sql::{Row, SqlError, Value, stored};
use utoipa::ToSchema;

use self::texts::{Attribute, Barcode, Code, Description, ImageReference, Price, Title};
use crate::{jobs::Kind, numbers::Numbered, ports::Ports, service::Catalog};

const PRODUCTS: Numbered = Numbered("product");
const SKUS: Numbered = Numbered("sku");

/// The columns of [`Product`] after its tenant, in its order.
const PRODUCT_COLUMNS: &str =
    "product, code, title, description, state, attributes, images, fields, version, created_at, updated_at";

/// The columns of [`Sku`] after its tenant, in its order.
const SKU_COLUMNS: &str = "sku, product, code, price, currency, barcode, weight_g, state, attributes, images, used, \
                           version, created_at, updated_at";

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = product::document();
    document.merge(sku::document());
    document.merge(fields::document());
    document.merge(import::document());
    document.merge(export::document());
    document
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let areas = [product::routes(), sku::routes(), fields::routes(), import::routes(), export::routes()];
    areas.into_iter().flatten().collect()
}

/// Its jobs.
pub(crate) fn kinds<P: Ports>() -> Vec<Kind<P>> {
    vec![import::kind(), export::kind()]
}

/// Whether a product is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, Enum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProductState {
    /// It is being written.
    Draft,
    /// It may be sold.
    Active,
    /// It was sold once, and stays for the record.
    Archived,
}

impl ProductState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Archived => "archived",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Draft, Self::Active, Self::Archived].into_iter().find(|state| state.as_str() == text)
    }
}

/// Whether a SKU may be sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, Enum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SkuState {
    /// It may.
    Active,
    /// It was once, and stays for the record.
    Archived,
}

impl SkuState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived => "archived",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Active, Self::Archived].into_iter().find(|state| state.as_str() == text)
    }
}

/// A product.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Product {
    /// Its number, as a decimal string.
    #[serde(serialize_with = "texts::decimal")]
    #[schema(value_type = String)]
    id: i64,
    /// The merchant's own code; stays.
    code: Code,
    title: Title,
    description: Description,
    state: ProductState,
    attributes: Vec<Attribute>,
    images: Vec<ImageReference>,
    /// The tenant's own fields, by the schema of `/v1/product-fields`.
    #[schema(value_type = Object)]
    fields: Map<String, Json>,
    /// Rises with each change; also the ETag.
    version: u64,
    /// RFC 3339.
    #[serde(serialize_with = "texts::moment")]
    #[schema(value_type = String)]
    created_at: u64,
    /// RFC 3339.
    #[serde(serialize_with = "texts::moment")]
    #[schema(value_type = String)]
    updated_at: u64,
}

/// What is sold of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Sku {
    /// Its number, as a decimal string.
    #[serde(serialize_with = "texts::decimal")]
    #[schema(value_type = String)]
    id: i64,
    /// The number of its product, as a decimal string.
    #[serde(serialize_with = "texts::decimal")]
    #[schema(value_type = String)]
    product: i64,
    /// The merchant's own code; stays.
    code: Code,
    price: Price,
    barcode: Barcode,
    /// In grams; 0 where it is not known.
    weight_g: i64,
    state: SkuState,
    attributes: Vec<Attribute>,
    images: Vec<ImageReference>,
    /// Whether it was ever stocked or sold: then it is archived, never deleted.
    used: bool,
    /// Rises with each change; also the ETag.
    version: u64,
    /// RFC 3339.
    #[serde(serialize_with = "texts::moment")]
    #[schema(value_type = String)]
    created_at: u64,
    /// RFC 3339.
    #[serde(serialize_with = "texts::moment")]
    #[schema(value_type = String)]
    updated_at: u64,
}

impl Product {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self {
            id: row.int()?,
            code: Code(row.text()?),
            title: Title(row.text()?),
            description: Description(row.text()?),
            state: row.text_as("product state", ProductState::read)?,
            attributes: from_json(&row.text()?)?,
            images: from_json(&row.text()?)?,
            fields: from_json(&row.text()?)?,
            version: row.number()?,
            created_at: row.number()?,
            updated_at: row.number()?,
        })
    }

    /// All columns.
    fn values(&self, tenant: u32) -> Result<Vec<Value>, SqlError> {
        Ok(vec![
            tenant.into(),
            self.id.into(),
            self.code.0.as_str().into(),
            self.title.0.as_str().into(),
            self.description.0.as_str().into(),
            self.state.as_str().into(),
            to_json(&self.attributes)?,
            to_json(&self.images)?,
            to_json(&self.fields)?,
            stored(self.version)?.into(),
            stored(self.created_at)?.into(),
            stored(self.updated_at)?.into(),
        ])
    }
}

impl Sku {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self {
            id: row.int()?,
            product: row.int()?,
            code: Code(row.text()?),
            price: Price { amount: row.int()?, currency: texts::CurrencyCode(row.text()?) },
            barcode: Barcode(row.text()?),
            weight_g: row.int()?,
            state: row.text_as("SKU state", SkuState::read)?,
            attributes: from_json(&row.text()?)?,
            images: from_json(&row.text()?)?,
            used: row.int()? != 0,
            version: row.number()?,
            created_at: row.number()?,
            updated_at: row.number()?,
        })
    }

    /// All columns.
    fn values(&self, tenant: u32) -> Result<Vec<Value>, SqlError> {
        Ok(vec![
            tenant.into(),
            self.id.into(),
            self.product.into(),
            self.code.0.as_str().into(),
            self.price.amount.into(),
            self.price.currency.0.as_str().into(),
            self.barcode.0.as_str().into(),
            self.weight_g.into(),
            self.state.as_str().into(),
            to_json(&self.attributes)?,
            to_json(&self.images)?,
            i64::from(self.used).into(),
            stored(self.version)?.into(),
            stored(self.created_at)?.into(),
            stored(self.updated_at)?.into(),
        ])
    }
}

/// A statement for one row of all columns; `many` for [`store::sql::Insert`].
fn insert(table: &str, columns: &str, many: bool) -> String {
    let marks = vec!["?"; columns.split(',').count() + 1].join(", ");
    let row = if many { format!("[({marks}),]") } else { format!("({marks})") };
    format!("INSERT INTO {table} (tenant, {columns}) VALUES {row}")
}

fn to_json(value: &impl Serialize) -> Result<Value, SqlError> {
    let text = serde_json::to_string(value).map_err(|error| SqlError::Broken(error.to_string().into()))?;
    Ok(text.as_str().into())
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SqlError> {
    serde_json::from_str(text)
        .map_err(|error| SqlError::Broken(format!("a stored value does not read: {error}").into()))
}
