//! All products and SKUs as a file, as a job: what the import reads, so that importing an export
//! changes nothing. A line is a SKU with its product, or a product that has none.

use kit::{
    access::Permission::ReadProducts,
    api::{Access, Call, Route},
    http::{Body, Bytes, Mount, Response},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::sql::{Row, Sql as _, SqlError};
use utoipa::OpenApi;

use super::line;
use crate::{
    document::Created,
    jobs::{self, End, Format, Job, Kind, NewJob, Shown, Step},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const NAME: &str = "products_export";

/// Lines of a piece.
const LINES: u32 = 2_000;

const JOINED: &str = "FROM products p LEFT JOIN skus s ON s.tenant = p.tenant AND s.product = p.product";
const COLUMNS: &str = "p.product, p.code, p.title, p.description, p.state, p.attributes, p.images, p.fields, s.sku, \
                       s.code, s.price, s.currency, s.barcode, s.weight_g, s.state, s.attributes, s.images";

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
    let count = format!("SELECT COUNT(*) {JOINED} WHERE p.tenant = ?");
    let rows = catalog.sql().rows(&count, vec![call.actor.tenant.into()]).await?;
    let row = rows.into_iter().next();
    let total = row.ok_or_else(|| SqlError::Broken("a count has no row".into()))?.number()?;
    jobs::accept(catalog, call, NewJob { kind: NAME, options: Options { format }, input: Bytes::new(), total }).await
}

async fn piece<P: Ports>(catalog: &Catalog<P>, job: &Job) -> Result<Option<Job>, Refused> {
    let Options { format } = serde_json::from_str(&job.options).map_err(|error| Refused::Broken(error.to_string()))?;
    let position = if job.position.is_empty() { "0:0" } else { &job.position };
    let after = position.split_once(':').and_then(|(product, sku)| Some((product.parse().ok()?, sku.parse().ok()?)));
    let (product, sku): (i64, i64) =
        after.ok_or_else(|| Refused::Broken(format!("job {} has no position", job.number)))?;
    let query = format!(
        "SELECT {COLUMNS} {JOINED} WHERE p.tenant = ? AND p.product >= ? AND (p.product > ? OR s.sku > ?) \
         ORDER BY p.product, s.sku LIMIT ?"
    );
    let keys = vec![job.tenant.into(), product.into(), product.into(), sku.into(), LINES.into()];
    let rows = catalog.sql().rows(&query, keys).await?;
    let is_first = job.position.is_empty();
    let written = tokio::task::spawn_blocking(move || write(rows, format, is_first)).await;
    let written = written.map_err(|error| Refused::Broken(error.to_string()))??;
    let Some(work) = jobs::begin(catalog, job).await? else { return Ok(None) };
    let done = job.done + written.lines;
    let end = (written.lines < u64::from(LINES)).then_some(End::Done);
    let step = Step {
        position: written.last.unwrap_or_else(|| position.to_owned()),
        done,
        // Products come and go while others are written.
        total: if end.is_some() { done } else { job.total.max(done) },
        output: written.output,
        end,
        ..Step::default()
    };
    work.commit(step).await
}

/// What a piece wrote.
struct Written {
    output: Vec<u8>,
    lines: u64,
    /// Where the next one begins.
    last: Option<String>,
}

/// A line, with the texts that are stored.
#[derive(Serialize)]
struct ExportLine {
    product: String,
    title: String,
    description: String,
    state: String,
    attributes: Box<RawValue>,
    images: Box<RawValue>,
    fields: Box<RawValue>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    sku: Option<ExportSku>,
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

fn write(rows: Vec<Row>, format: Format, is_first: bool) -> Result<Written, Refused> {
    let broken = |error: &dyn std::fmt::Display| Refused::Broken(format!("a line cannot be written: {error}"));
    let mut written = Written { output: Vec::new(), lines: 0, last: None };
    let mut csv = csv::Writer::from_writer(Vec::new());
    if is_first && format == Format::Csv {
        csv.write_record(line::columns()).map_err(|error| broken(&error))?;
    }
    for row in rows {
        let (place, line) = read(row)?;
        match format {
            Format::Csv => csv.write_record(cells(&line)).map_err(|error| broken(&error))?,
            Format::Jsonl => {
                serde_json::to_writer(&mut written.output, &line).map_err(|error| broken(&error))?;
                written.output.push(b'\n');
            }
        }
        written.lines += 1;
        written.last = Some(place);
    }
    if format == Format::Csv {
        written.output = csv.into_inner().map_err(|error| broken(&error))?;
    }
    Ok(written)
}

fn read(mut row: Row) -> Result<(String, ExportLine), SqlError> {
    let product = row.int()?;
    let mut line = ExportLine {
        product: row.text()?,
        title: row.text()?,
        description: row.text()?,
        state: row.text()?,
        attributes: raw(row.text()?)?,
        images: raw(row.text()?)?,
        fields: raw(row.text()?)?,
        sku: None,
    };
    let Some(sku) = row.int_or_null()? else { return Ok((format!("{product}:0"), line)) };
    line.sku = Some(ExportSku {
        sku: row.text()?,
        price: row.int()?,
        currency: row.text()?,
        barcode: row.text()?,
        weight_g: row.int()?,
        sku_state: row.text()?,
        sku_attributes: raw(row.text()?)?,
        sku_images: raw(row.text()?)?,
    });
    Ok((format!("{product}:{sku}"), line))
}

fn raw(text: String) -> Result<Box<RawValue>, SqlError> {
    RawValue::from_string(text)
        .map_err(|error| SqlError::Broken(format!("a stored value does not read: {error}").into()))
}

/// The cells of a line, in the order of the columns.
fn cells(line: &ExportLine) -> Vec<String> {
    let mut cells = vec![
        line.product.clone(),
        line.title.clone(),
        line.description.clone(),
        line.state.clone(),
        line.attributes.get().to_owned(),
        line.images.get().to_owned(),
        line.fields.get().to_owned(),
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
