//! The tenant's own fields of a product: a JSON Schema that the tenant writes, which every write of
//! a product keeps to. It refers to nothing, so that checking a product always ends.

use kit::{
    access::Permission::{ReadProducts, WriteSettings},
    api::{Access, Call, Route, tagged},
    http::{Body, Mount, Response, StatusCode, reply},
    problem::FieldError,
    schema::Schema,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx as _};
use utoipa::{OpenApi, ToSchema};

use super::{from_json, rules::Flaws, texts::Code};
use crate::{
    change::Begun,
    document::{Changed, Page, Read},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Largest schema, in bytes.
const SCHEMA_BYTES_MAX: usize = 16 * 1024;

/// How deep it may nest.
const DEPTH_MAX: usize = 32;

/// Members that lead out of a schema or back into it.
const REFERENCES: [&str; 8] =
    ["$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"];

/// Products that one page of the check looks at.
const LOOKED_AT: u32 = 500;

const LOOK: &str = "SELECT schema_json, version FROM product_fields WHERE tenant = ?";
const ADD: &str = "INSERT INTO product_fields (tenant, schema_json, version) VALUES (?, ?, 1)";
const UPDATE: &str = "UPDATE product_fields SET schema_json = ?, version = version + 1 WHERE tenant = ?";
const PRODUCTS: &str = "SELECT product, code, fields FROM products WHERE tenant = ? AND product > ? \
                        ORDER BY product LIMIT ?";

/// The schema of a tenant's own fields.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ProductFields {
    /// A JSON Schema, draft 2020-12, of an object.
    #[schema(value_type = Object)]
    schema: Json,
    /// Rises with each change; also the ETag. 0 until there is one: then products have no fields of
    /// their own.
    version: u64,
}

impl ProductFields {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self { schema: from_json(&row.text()?)?, version: row.number()? })
    }

    /// A tenant's before it wrote one.
    fn none() -> Self {
        Self { schema: json!({ "type": "object", "maxProperties": 0 }), version: 0 }
    }

    /// Ready to check products.
    ///
    /// # Errors
    /// [`Refused::Broken`] for a stored schema that this program does not take.
    pub(super) fn compiled(&self) -> Result<Schema, Refused> {
        let compiled = Schema::of_stranger(&self.schema);
        compiled.map_err(|error| Refused::Broken(format!("the stored schema of product fields is {error}")))
    }
}

/// A schema to be put.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductFieldsChange {
    /// A JSON Schema, draft 2020-12, of an object, at most 16 KiB. It has no references; its
    /// patterns have no lookaround and no references to groups.
    #[schema(value_type = Object)]
    schema: Json,
}

/// A product that breaks the schema.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldViolation {
    /// Its number, as a decimal string.
    product: String,
    /// Its code.
    code: Code,
    /// What is wrong.
    errors: Vec<FieldError>,
}

/// A page of the check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldViolations {
    items: Vec<FieldViolation>,
    /// Of the next page, which looks at further products; missing when all were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(show, put, violations))]
struct Document;

/// Its part of the OpenAPI document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadProducts), Access::Needs(WriteSettings));
    vec![
        Mount::get(
            "/v1/product-fields",
            "product_fields",
            Route::new(read, |catalog, call| Box::pin(show(catalog, call))),
        ),
        Mount::put(
            "/v1/product-fields",
            "put_product_fields",
            Route::new(write, |catalog, call| Box::pin(put(catalog, call))),
        ),
        Mount::get(
            "/v1/product-fields/violations",
            "product_field_violations",
            Route::new(read, |catalog, call| Box::pin(violations(catalog, call))),
        ),
    ]
}

/// The schema of the tenant's own fields of a product.
#[utoipa::path(
    get, path = "/v1/product-fields", operation_id = "product_fields", tag = "products",
    security(("merchant" = [])), responses((status = 200, body = ProductFields), Read)
)]
async fn show<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let fields = of(catalog, call.actor.tenant).await?;
    Ok(tagged(reply::json(StatusCode::OK, &fields), fields.version))
}

/// Puts the schema. Products that are there stay as they are; `/v1/product-fields/violations` lists
/// those that break it.
#[utoipa::path(
    put, path = "/v1/product-fields", operation_id = "put_product_fields", tag = "products",
    security(("merchant" = [])), request_body = ProductFieldsChange, params(("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ProductFields), Changed)
)]
async fn put<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: ProductFieldsChange = call.json()?;
    let (tenant, expected) = (call.actor.tenant, call.expected_version()?);
    // Compiling it takes a moment, and its patterns are a stranger's.
    let schema = tokio::task::spawn_blocking(move || checked(asked.schema)).await;
    let schema = schema.map_err(|error| Refused::Broken(error.to_string()))??;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let rows = change.tx.lock_rows(LOOK, vec![tenant.into()], Lock::Wait).await?;
    let before = rows.into_iter().next().map(ProductFields::read).transpose()?.unwrap_or_else(ProductFields::none);
    Refused::unless_seen(expected, before.version, &before)?;
    if before.version > 0 && before.schema == schema {
        return Ok(tagged(reply::json(StatusCode::OK, &before), before.version));
    }
    let after = ProductFields { schema, version: before.version + 1 };
    let text = after.schema.to_string();
    if before.version > 0 {
        change.tx.exec(UPDATE, vec![text.as_str().into(), tenant.into()]).await?;
    } else if !change.tx.insert_absent(ADD, vec![tenant.into(), text.as_str().into()]).await? {
        // Somebody put the first one meanwhile; the next try sees it.
        return Err(SqlError::LockWait("a schema was put at the same moment".into()).into());
    }
    change.replace("product_fields.change", "product_fields".to_owned(), Some(&before), (&after, after.version)).await
}

/// Products that break the schema: each page looks at some hundred products and lists those of them
/// that do, which may be none.
#[utoipa::path(
    get, path = "/v1/product-fields/violations", operation_id = "product_field_violations", tag = "products",
    security(("merchant" = [])), params(kit::http::PageAsked),
    responses((status = 200, body = FieldViolations), Read)
)]
async fn violations<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked = call.page()?;
    let tenant = call.actor.tenant;
    let keys = vec![tenant.into(), Page::<()>::after(&asked)?.into(), LOOKED_AT.into()];
    let schema = of(catalog, tenant).await?.compiled()?;
    let rows = catalog.sql().rows(PRODUCTS, keys).await?;
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let found = tokio::task::spawn_blocking(move || broken(rows, &schema, limit)).await;
    let found = found.map_err(|error| Refused::Broken(error.to_string()))??;
    Ok(reply::json(StatusCode::OK, &found))
}

/// Those of the products that break the schema, and where to go on.
fn broken(rows: Vec<Row>, schema: &Schema, limit: usize) -> Result<FieldViolations, SqlError> {
    let is_whole = rows.len() == usize::try_from(LOOKED_AT).unwrap_or(usize::MAX);
    let (mut items, mut last) = (Vec::new(), None);
    for mut row in rows {
        let (number, code, fields) = (row.int()?, Code(row.text()?), from_json(&row.text()?)?);
        let mut flaws = Flaws::default();
        flaws.of_fields("fields", schema, &fields);
        last = Some(number.to_string());
        if !flaws.0.is_empty() {
            items.push(FieldViolation { product: number.to_string(), code, errors: flaws.0 });
        }
        if items.len() == limit {
            return Ok(FieldViolations { items, next_cursor: last });
        }
    }
    Ok(FieldViolations { items, next_cursor: last.filter(|_| is_whole) })
}

/// The schema of a tenant.
///
/// # Errors
/// [`SqlError`] when the database fails.
pub(super) async fn of<P: Ports>(catalog: &Catalog<P>, tenant: u32) -> Result<ProductFields, SqlError> {
    let rows = catalog.sql().rows(LOOK, vec![tenant.into()]).await?;
    let found = rows.into_iter().next().map(ProductFields::read).transpose()?;
    Ok(found.unwrap_or_else(ProductFields::none))
}

/// A schema that may be kept: small, of an object, without references, with patterns that are
/// searched in linear time.
fn checked(schema: Json) -> Result<Json, Refused> {
    let wrong = |message: String| Err(Refused::field("schema", message));
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return wrong(format!("is larger than {SCHEMA_BYTES_MAX} bytes"));
    }
    if schema.get("type") != Some(&json!("object")) {
        return wrong("must say \"type\": \"object\": the fields of a product are one object".to_owned());
    }
    if let Some(reference) = reference(&schema, 0) {
        return wrong(reference);
    }
    match Schema::of_stranger(&schema) {
        Ok(_) => Ok(schema),
        Err(error) => wrong(error.to_string()),
    }
}

/// What keeps a schema from being one by itself.
fn reference(schema: &Json, depth: usize) -> Option<String> {
    if depth > DEPTH_MAX {
        return Some(format!("nests deeper than {DEPTH_MAX}"));
    }
    match schema {
        Json::Object(members) => {
            let known = REFERENCES.into_iter().find(|name| members.contains_key(*name));
            let found = known.map(|name| format!("has `{name}`: write it out, schemas here refer to nothing"));
            found.or_else(|| members.values().find_map(|member| reference(member, depth + 1)))
        }
        Json::Array(items) => items.iter().find_map(|item| reference(item, depth + 1)),
        _ => None,
    }
}
