//! All products and SKUs as a file, as a job: what the import reads, so that importing an export
//! changes nothing. A line is a SKU with its product, or a product that has none.

use kit::{
    access::Permission::ReadProducts,
    api::{Access, Call, Route},
    http::{Body, Mount, Response},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::sql::{Row, Sql as _, SqlError};
use utoipa::OpenApi;

use super::line;
use crate::{
    document::Created,
    jobs::{self, End, Format, Job, Kind, NewJob, Progress, Shown},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const NAME: &str = "products_export";

/// Most products and most SKUs of a piece.
const LINES: u32 = 2_000;

// Two queries by their keys: what a database makes of a join depends on its figures of the tables.
const PRODUCTS: &str = "SELECT product, code, title, description, state, attributes, images, fields FROM products \
                        WHERE tenant = ? AND product >= ? ORDER BY product LIMIT ?";
const SKUS: &str = "SELECT product, sku, code, price, currency, barcode, weight_g, state, attributes, images FROM skus \
                    WHERE tenant = ? AND product >= ? AND product <= ? AND (product > ? OR sku > ?) \
                    ORDER BY product, sku LIMIT ?";

#[derive(Debug, Serialize, Deserialize)]
struct Options {
    format: Format,
}

#[derive(OpenApi)]
#[openapi(paths(export))]
struct Document;

/// Its part of the OpenAPI document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let route = Route::new(Access::Needs(ReadProducts), |catalog, call| Box::pin(export(catalog, call)));
    vec![Mount::post("/v1/products/export", "export_products", route)]
}

/// Its job.
pub(super) fn kind<P: Ports>() -> Kind<P> {
    Kind { name: NAME, needs: ReadProducts, piece: |catalog, job| Box::pin(piece(catalog, job)) }
}

/// Writes all products and SKUs into a file, as a job; `/v1/jobs/{job}/result` gives it.
#[utoipa::path(
    post, path = "/v1/products/export", operation_id = "export_products", tag = "products",
    security(("merchant" = [])),
    params(("format" = inline(Format), Query, description = "How the file is written."), IdempotencyKey),
    responses((status = 202, description = "A job does it.", body = Shown), Created)
)]
async fn export<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let format = Format::of(call)?;
    let count = "SELECT COUNT(*) FROM products WHERE tenant = ?";
    let rows = catalog.sql().rows(count, vec![call.actor.tenant.into()]).await?;
    let row = rows.into_iter().next();
    let total = row.ok_or_else(|| SqlError::Broken("a count has no row".into()))?.number()?;
    jobs::accept(catalog, call, NewJob { kind: NAME, options: Options { format }, input: None, total }).await
}

/// The line that was written last: the number of its product, and of its SKU or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    product: i64,
    sku: i64,
}

impl Place {
    fn read(position: &str) -> Option<Self> {
        if position.is_empty() {
            return Some(Self { product: 0, sku: 0 });
        }
        let (product, sku) = position.split_once(':')?;
        Some(Self { product: product.parse().ok()?, sku: sku.parse().ok()? })
    }
}

async fn piece<P: Ports>(catalog: &Catalog<P>, job: &Job) -> Result<Option<Job>, Refused> {
    let Options { format } = serde_json::from_str(&job.options).map_err(|error| Refused::Broken(error.to_string()))?;
    let after = Place::read(&job.position);
    let after = after.ok_or_else(|| Refused::Broken(format!("job {} has no position", job.number)))?;
    let page = Page::read(catalog, job.tenant, after).await?;
    let is_first = job.position.is_empty();
    let written = tokio::task::spawn_blocking(move || write(page, after, format, is_first)).await;
    let written = written.map_err(|error| Refused::Broken(error.to_string()))??;
    let Some(work) = jobs::begin(catalog, job).await? else { return Ok(None) };
    let done = job.done + written.products;
    let progress = Progress {
        position: format!("{}:{}", written.last.product, written.last.sku),
        done,
        // Products come and go while others are written.
        total: if written.is_last { done } else { job.total.max(done) },
        output: written.output,
        end: written.is_last.then_some(End::Done),
        ..Progress::default()
    };
    work.commit(progress).await
}

/// Products one after the other, and SKUs of them: all, or as many as a page has.
struct Page {
    products: Vec<(i64, ExportProduct)>,
    skus: Vec<(Place, ExportSku)>,
    has_all_products: bool,
    has_all_skus: bool,
}

impl Page {
    async fn read<P: Ports>(catalog: &Catalog<P>, tenant: u32, after: Place) -> Result<Self, SqlError> {
        let keys = vec![tenant.into(), after.product.into(), LINES.into()];
        let rows = catalog.sql().rows(PRODUCTS, keys).await?;
        let products = rows.into_iter().map(read_product).collect::<Result<Vec<_>, _>>()?;
        let last = products.last().map_or(after.product, |(number, _)| *number);
        let from = after.product.into();
        let keys = vec![tenant.into(), from, last.into(), after.product.into(), after.sku.into(), LINES.into()];
        let rows = catalog.sql().rows(SKUS, keys).await?;
        let skus = rows.into_iter().map(read_sku).collect::<Result<Vec<_>, _>>()?;
        let is_less = |length: usize| length < usize::try_from(LINES).unwrap_or(usize::MAX);
        Ok(Self { has_all_products: is_less(products.len()), has_all_skus: is_less(skus.len()), products, skus })
    }
}

/// What a piece wrote.
struct Written {
    output: Vec<u8>,
    /// Products that it began.
    products: u64,
    last: Place,
    is_last: bool,
}

/// Writes the lines of a page, up to the last SKU that it has where it has not all.
fn write(page: Page, after: Place, format: Format, is_first: bool) -> Result<Written, Refused> {
    let until = if page.has_all_skus { i64::MAX } else { page.skus.last().map_or(0, |(place, _)| place.product) };
    let is_last = page.has_all_products && page.has_all_skus;
    let (mut products, mut last) = (0, after);
    let mut file = File::new(format, is_first)?;
    let mut skus = page.skus.into_iter().peekable();
    for (number, product) in page.products.into_iter().take_while(|(number, _)| *number <= until) {
        let was_begun = number == after.product;
        products += u64::from(!was_begun);
        let mut line = ExportLine { product, sku: None };
        while let Some((place, sku)) = skus.next_if(|(place, _)| place.product == number) {
            line.sku = Some(sku);
            file.write(&line)?;
            last = place;
        }
        if line.sku.is_none() && !was_begun {
            file.write(&line)?;
            last = Place { product: number, sku: 0 };
        }
    }
    Ok(Written { output: file.into_bytes()?, products, last, is_last })
}

/// Lines being written.
enum File {
    // Boxed: it has buffers of its own.
    Csv(Box<csv::Writer<Vec<u8>>>),
    Jsonl(Vec<u8>),
}

impl File {
    fn new(format: Format, is_first: bool) -> Result<Self, Refused> {
        if format == Format::Jsonl {
            return Ok(Self::Jsonl(Vec::new()));
        }
        let mut csv = csv::Writer::from_writer(Vec::new());
        if is_first {
            csv.write_record(line::columns()).map_err(|error| unwritten(&error))?;
        }
        Ok(Self::Csv(Box::new(csv)))
    }

    fn write(&mut self, line: &ExportLine) -> Result<(), Refused> {
        match self {
            Self::Csv(csv) => csv.write_record(cells(line)).map_err(|error| unwritten(&error)),
            Self::Jsonl(bytes) => {
                serde_json::to_writer(&mut *bytes, line).map_err(|error| unwritten(&error))?;
                bytes.push(b'\n');
                Ok(())
            }
        }
    }

    fn into_bytes(self) -> Result<Vec<u8>, Refused> {
        match self {
            Self::Csv(csv) => (*csv).into_inner().map_err(|error| unwritten(&error)),
            Self::Jsonl(bytes) => Ok(bytes),
        }
    }
}

fn unwritten(error: &dyn std::fmt::Display) -> Refused {
    Refused::Broken(format!("a line cannot be written: {error}"))
}

/// A line, with the texts that are stored.
#[derive(Serialize)]
struct ExportLine {
    #[serde(flatten)]
    product: ExportProduct,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    sku: Option<ExportSku>,
}

#[derive(Serialize)]
struct ExportProduct {
    product: String,
    title: String,
    description: String,
    state: String,
    attributes: Box<RawValue>,
    images: Box<RawValue>,
    fields: Box<RawValue>,
}

#[derive(Serialize)]
struct ExportSku {
    sku: String,
    price: i64,
    currency: String,
    barcode: String,
    weight_g: i64,
    sku_state: String,
    sku_attributes: Box<RawValue>,
    sku_images: Box<RawValue>,
}

fn read_product(mut row: Row) -> Result<(i64, ExportProduct), SqlError> {
    let number = row.int()?;
    let product = ExportProduct {
        product: row.text()?,
        title: row.text()?,
        description: row.text()?,
        state: row.text()?,
        attributes: raw(row.text()?)?,
        images: raw(row.text()?)?,
        fields: raw(row.text()?)?,
    };
    Ok((number, product))
}

fn read_sku(mut row: Row) -> Result<(Place, ExportSku), SqlError> {
    let place = Place { product: row.int()?, sku: row.int()? };
    let sku = ExportSku {
        sku: row.text()?,
        price: row.int()?,
        currency: row.text()?,
        barcode: row.text()?,
        weight_g: row.int()?,
        sku_state: row.text()?,
        sku_attributes: raw(row.text()?)?,
        sku_images: raw(row.text()?)?,
    };
    Ok((place, sku))
}

fn raw(text: String) -> Result<Box<RawValue>, SqlError> {
    RawValue::from_string(text)
        .map_err(|error| SqlError::Broken(format!("a stored value does not read: {error}").into()))
}

/// The cells of a line, in the order of the columns.
fn cells(line: &ExportLine) -> Vec<String> {
    let product = &line.product;
    let mut cells = vec![
        product.product.clone(),
        product.title.clone(),
        product.description.clone(),
        product.state.clone(),
        product.attributes.get().to_owned(),
        product.images.get().to_owned(),
        product.fields.get().to_owned(),
    ];
    match &line.sku {
        Some(sku) => cells.extend([
            sku.sku.clone(),
            sku.price.to_string(),
            sku.currency.clone(),
            sku.barcode.clone(),
            sku.weight_g.to_string(),
            sku.sku_state.clone(),
            sku.sku_attributes.get().to_owned(),
            sku.sku_images.get().to_owned(),
        ]),
        None => cells.resize(line::columns().count(), String::new()),
    }
    cells
}
