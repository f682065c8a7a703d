//! Products and SKUs from a file, as a job: each piece reads some lines, looks at what is there by
//! the codes in them, and writes what is new or other. A line that is wrong is listed, and the job
//! goes on past it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    ops::Range,
    sync::LazyLock,
};

use kit::{
    access::Permission::WriteProducts,
    api::{Access, Call, Route},
    http::{Body, Mount, Response},
    openapi::IdempotencyKey,
    problem::{Code as ProblemCode, Problem},
};
use serde_json::{Map, Value as Json};
use store::sql::{Fixed, Insert, Lock, Sql as _, SqlError, Tx, Value};
use utoipa::OpenApi;

use super::{
    PRODUCT_COLUMNS, PRODUCTS, Product, ProductState, SKU_COLUMNS, SKUS, Sku, SkuState, fields, insert,
    line::{Cut, Layout, Line, SkuLine},
    product::ProductChange,
    rules::{Flaws, known_images},
    texts::Code,
};
use crate::{
    document::Created,
    jobs::{self, End, Flaw, Format, Job, Kind, NewJob, Progress, Received, Shown},
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

const NAME: &str = "products_import";

/// Largest file.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Lines of a piece: few round trips for each, and a transaction that is short.
const LINES: usize = 2_000;

// By the index of codes, and so locked in its order: an ORDER BY has SQLite walk all of a tenant's.
static KNOWN_PRODUCTS: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new(format!("SELECT {PRODUCT_COLUMNS} FROM products WHERE tenant = ? AND code IN ([?,])")));
static KNOWN_SKUS: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new(format!("SELECT {SKU_COLUMNS} FROM skus WHERE tenant = ? AND code IN ([?,])")));
static COUNT_PRODUCTS: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("SELECT COUNT(*) FROM products WHERE tenant = ? AND code IN ([?,])"));
static COUNT_SKUS: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("SELECT COUNT(*) FROM skus WHERE tenant = ? AND code IN ([?,])"));
static DROP_PRODUCTS: LazyLock<Fixed> =
    LazyLock::new(|| Fixed::new("DELETE FROM products WHERE tenant = ? AND product IN ([?,])"));
static DROP_SKUS: LazyLock<Fixed> = LazyLock::new(|| Fixed::new("DELETE FROM skus WHERE tenant = ? AND sku IN ([?,])"));
static INSERT_PRODUCTS: LazyLock<Insert> = LazyLock::new(|| Insert::new(insert("products", PRODUCT_COLUMNS, true)));
static INSERT_SKUS: LazyLock<Insert> = LazyLock::new(|| Insert::new(insert("skus", SKU_COLUMNS, true)));

#[derive(OpenApi)]
#[openapi(paths(import))]
struct Document;

/// Its part of the OpenAPI document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let route = Route::new(Access::Needs(WriteProducts), |catalog, call| Box::pin(import(catalog, call)));
    vec![Mount::post("/v1/products/import", "import_products", route.with_upload(FILE_BYTES_MAX))]
}

/// Its job.
pub(super) fn kind<P: Ports>() -> Kind<P> {
    Kind { name: NAME, needs: WriteProducts, piece: |catalog, job| Box::pin(piece(catalog, job)) }
}

/// Makes and changes products and SKUs by their codes, as a job. What a line leaves out stays; what
/// a file does not name stays too.
#[utoipa::path(
    post, path = "/v1/products/import", operation_id = "import_products", tag = "products",
    security(("merchant" = [])),
    request_body(
        description = "UTF-8, at most 64 MiB. CSV: the first line names the columns, as the export has them; a column \
                       that is left out stays as it is, an empty cell of `description` and `barcode` empties them. \
                       JSON lines: an object with these members a line.",
        content((String = "text/csv"), (String = "application/jsonl"))
    ),
    params(("format" = inline(Format), Query, description = "How the file is written."), IdempotencyKey),
    responses((status = 202, description = "A job does it.", body = Shown), Created)
)]
async fn import<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let format = Format::of(call)?;
    let input = Received::of(catalog, call).await?;
    let layout = Layout::of(format, input.head()).map_err(|flaws| {
        let detail = "this is no such file; see `errors`. Nothing was done";
        Problem { field_errors: flaws.0, ..Problem::new(ProblemCode::InvalidRequest, detail) }
    });
    let (options, total) = match layout {
        Ok(layout) => (layout, input.len()),
        Err(problem) => {
            input.forget(catalog).await;
            return Err(problem.into());
        }
    };
    jobs::accept(catalog, call, NewJob { kind: NAME, options, input: Some(input), total }).await
}

async fn piece<P: Ports>(catalog: &Catalog<P>, job: &Job) -> Result<Option<Job>, Refused> {
    let layout: Layout = serde_json::from_str(&job.options).map_err(|error| Refused::Broken(error.to_string()))?;
    let from = layout.at(&job.position);
    let from = from.ok_or_else(|| Refused::Broken(format!("job {} has no position", job.number)))?;
    let window = jobs::input(catalog, job, from.byte).await?;
    let is_last = from.byte + u64::try_from(window.len() - 1).unwrap_or(u64::MAX) >= job.input_bytes;
    let schema = fields::of(catalog, job.tenant).await?.compiled()?;
    let read = tokio::task::spawn_blocking(move || {
        let mut none = Flaws::default();
        none.of_fields("fields", &schema, &Json::Object(Map::new()));
        (layout.cut(&window, from, is_last, LINES, &schema), none)
    });
    let (cut, without_fields) = read.await.map_err(|error| Refused::Broken(error.to_string()))?;
    let Cut { lines, mut flaws, failed, next, is_stuck } = cut;
    let images = known_images(catalog, job.tenant, lines.iter().flat_map(|(_, line)| line.images())).await?;
    let numbers = Free::take(catalog, job.tenant, &lines).await?;
    let Some(mut work) = jobs::begin(catalog, job).await? else { return Ok(None) };
    let mut batch = Batch::read(&mut work.tx, job.tenant, &lines, numbers, work.now_ms).await?;
    let mut counts = jobs::Counts { failed, ..jobs::Counts::default() };
    for (number, line) in lines {
        match batch.take(line, &images, &without_fields) {
            Ok(Outcome::Made) => counts.made += 1,
            Ok(Outcome::Changed) => counts.changed += 1,
            Ok(Outcome::Unchanged) => counts.unchanged += 1,
            Err(wrong) => {
                counts.failed += 1;
                let wrong = wrong.0.into_iter();
                flaws.extend(wrong.map(|flaw| Flaw {
                    line: number,
                    field: flaw.field.into_owned(),
                    message: flaw.message.into_owned(),
                }));
            }
        }
    }
    batch.write(&mut work.tx).await?;
    flaws.sort_by_key(|flaw| flaw.line);
    let stuck = format!("line {}: a record is larger than 1 MiB; is a quote not closed?", next.line);
    let end = match (is_stuck, next.byte >= job.input_bytes) {
        (true, _) => Some(End::Failed(stuck)),
        (false, true) => Some(End::Done),
        (false, false) => None,
    };
    let progress = Progress {
        position: next.to_position(),
        done: next.byte,
        total: job.input_bytes,
        counts,
        flaws,
        output: Vec::new(),
        end,
    };
    work.commit(progress).await
}

/// What came of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Unchanged,
    Changed,
    Made,
}

/// Numbers for what is new. They are taken before the transaction: it may be the only one that
/// writes.
struct Free {
    products: Range<i64>,
    skus: Range<i64>,
}

impl Free {
    async fn take<P: Ports>(catalog: &Catalog<P>, tenant: u32, lines: &[(u64, Line)]) -> Result<Self, SqlError> {
        let products = missing(catalog, tenant, &COUNT_PRODUCTS, product_codes(lines)).await?;
        let skus = missing(catalog, tenant, &COUNT_SKUS, sku_codes(lines)).await?;
        Ok(Self {
            products: catalog.numbers().take_many(PRODUCTS, products).await?,
            skus: catalog.numbers().take_many(SKUS, skus).await?,
        })
    }
}

/// How many of these codes the tenant does not have.
async fn missing<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    count: &Fixed,
    codes: Vec<&str>,
) -> Result<u32, SqlError> {
    let mut known = 0;
    for (count, codes) in count.padded(&codes) {
        let row = catalog.sql().rows(count, keyed(tenant, codes)).await?.into_iter().next();
        known += row.ok_or_else(|| SqlError::Broken("a count has no row".into()))?.number::<usize>()?;
    }
    Ok(u32::try_from(codes.len().saturating_sub(known)).unwrap_or(u32::MAX))
}

fn product_codes(lines: &[(u64, Line)]) -> Vec<&str> {
    lines.iter().map(|(_, line)| line.product.0.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn sku_codes(lines: &[(u64, Line)]) -> Vec<&str> {
    let codes = lines.iter().filter_map(|(_, line)| line.sku.as_ref().map(|code| code.0.as_str()));
    codes.collect::<BTreeSet<_>>().into_iter().collect()
}

fn keyed<V: Into<Value>>(tenant: u32, keys: Vec<V>) -> Vec<Value> {
    std::iter::once(tenant.into()).chain(keys.into_iter().map(Into::into)).collect()
}

/// What is there, and what becomes of it.
struct Held<T> {
    value: T,
    is_stored: bool,
    is_written: bool,
}

impl<T> Held<T> {
    const fn stored(value: T) -> Self {
        Self { value, is_stored: true, is_written: false }
    }

    const fn new(value: T) -> Self {
        Self { value, is_stored: false, is_written: true }
    }
}

/// The products and SKUs that the lines of a piece name, by their codes.
struct Batch {
    tenant: u32,
    now_ms: u64,
    free: Free,
    /// Something that was there when numbers were counted is gone: the piece is done again.
    numbers_missing: bool,
    products: HashMap<Code, Held<Product>>,
    skus: HashMap<Code, Held<Sku>>,
}

impl Batch {
    async fn read<T: Tx>(
        tx: &mut T,
        tenant: u32,
        lines: &[(u64, Line)],
        free: Free,
        now_ms: u64,
    ) -> Result<Self, SqlError> {
        let products = locked(tx, tenant, &KNOWN_PRODUCTS, product_codes(lines), Product::read).await?;
        let skus = locked(tx, tenant, &KNOWN_SKUS, sku_codes(lines), Sku::read).await?;
        Ok(Self {
            tenant,
            now_ms,
            free,
            numbers_missing: false,
            products: held(products, |product| &product.code),
            skus: held(skus, |sku| &sku.code),
        })
    }

    /// Does what a line says, all of it or nothing.
    fn take(&mut self, line: Line, images: &HashSet<String>, without_fields: &Flaws) -> Result<Outcome, Flaws> {
        let mut flaws = Flaws::default();
        for image in line.images() {
            if image.hash().is_some_and(|hash| !images.contains(hash)) {
                flaws.add("images", format!("there is no image {}: upload it first", image.0));
            }
        }
        let (code, change, sku) = line.into_parts();
        let product = self.product(code, change, without_fields, &mut flaws);
        let number = product.as_ref().map(|(product, _)| product.id);
        let sku = sku.and_then(|sku| self.sku(sku, number, &mut flaws));
        let (Some((mut product, of_product)), true) = (product, flaws.0.is_empty()) else { return Err(flaws) };
        if of_product == Outcome::Made {
            product.id = self.number(|free| &mut free.products);
        }
        let number = product.id;
        put(&mut self.products, product.code.clone(), product, of_product);
        let Some((mut sku, of_sku)) = sku else { return Ok(of_product) };
        if of_sku == Outcome::Made {
            (sku.id, sku.product) = (self.number(|free| &mut free.skus), number);
        }
        put(&mut self.skus, sku.code.clone(), sku, of_sku);
        // The line is of the SKU: it is made anew even where its product is there.
        Ok(if of_sku == Outcome::Made { of_sku } else { of_product.max(of_sku).min(Outcome::Changed) })
    }

    /// The product with what the line says of it. A new one gets its number when the whole line is
    /// right.
    fn product(
        &self,
        code: Code,
        change: ProductChange,
        without_fields: &Flaws,
        flaws: &mut Flaws,
    ) -> Option<(Product, Outcome)> {
        if let Some(before) = self.products.get(&code) {
            return Some(match change.of(&before.value, self.now_ms) {
                Some(after) => (after, Outcome::Changed),
                None => (before.value.clone(), Outcome::Unchanged),
            });
        }
        if change.fields.is_none() {
            flaws.0.extend(without_fields.0.iter().cloned());
        }
        let Some(title) = change.title else {
            flaws.add("title", "is missing: this product is new");
            return None;
        };
        let product = Product {
            id: 0,
            code,
            title,
            description: change.description.unwrap_or_default(),
            state: change.state.unwrap_or(ProductState::Draft),
            attributes: change.attributes.unwrap_or_default(),
            images: change.images.unwrap_or_default(),
            fields: change.fields.unwrap_or_default(),
            version: 1,
            created_at: self.now_ms,
            updated_at: self.now_ms,
        };
        Some((product, Outcome::Made))
    }

    /// As [`Batch::product`].
    fn sku(&self, line: SkuLine, product: Option<i64>, flaws: &mut Flaws) -> Option<(Sku, Outcome)> {
        if let Some(before) = self.skus.get(&line.code) {
            if product != Some(before.value.product) {
                flaws.add("sku", "is of another product");
                return None;
            }
            let price = line.price(Some(&before.value.price));
            let change = super::sku::SkuChange { price, ..line.change };
            return Some(match change.of(&before.value, self.now_ms) {
                Some(after) => (after, Outcome::Changed),
                None => (before.value.clone(), Outcome::Unchanged),
            });
        }
        let price = line.price(None);
        for (field, given) in [("price", line.amount.is_some()), ("currency", line.currency.is_some())] {
            if !given {
                flaws.add(field, "is missing: this SKU is new");
            }
        }
        let change = line.change;
        let sku = Sku {
            id: 0,
            product: product?,
            code: line.code,
            price: price?,
            barcode: change.barcode.unwrap_or_default(),
            weight_g: change.weight_g.unwrap_or_default(),
            state: change.state.unwrap_or(SkuState::Active),
            attributes: change.attributes.unwrap_or_default(),
            images: change.images.unwrap_or_default(),
            used: false,
            version: 1,
            created_at: self.now_ms,
            updated_at: self.now_ms,
        };
        Some((sku, Outcome::Made))
    }

    fn number(&mut self, of: impl FnOnce(&mut Free) -> &mut Range<i64>) -> i64 {
        let next = of(&mut self.free).next();
        self.numbers_missing |= next.is_none();
        next.unwrap_or_default()
    }

    /// Writes what is new or other: rows that change are replaced whole, in a few statements.
    async fn write<T: Tx>(self, tx: &mut T) -> Result<(), SqlError> {
        if self.numbers_missing {
            return Err(SqlError::LockWait("products were removed while a file was read".into()));
        }
        let tenant = self.tenant;
        let (products, replaced) = written(self.products, |product| product.id);
        drop_rows(tx, tenant, &DROP_PRODUCTS, &replaced).await?;
        let values = products.iter().map(|product| product.values(tenant)).collect::<Result<Vec<_>, _>>()?;
        insert_rows(tx, &INSERT_PRODUCTS, values).await?;
        let (skus, replaced) = written(self.skus, |sku| sku.id);
        drop_rows(tx, tenant, &DROP_SKUS, &replaced).await?;
        let values = skus.iter().map(|sku| sku.values(tenant)).collect::<Result<Vec<_>, _>>()?;
        insert_rows(tx, &INSERT_SKUS, values).await
    }
}

fn put<T>(all: &mut HashMap<Code, Held<T>>, code: Code, value: T, outcome: Outcome) {
    match (outcome, all.get_mut(&code)) {
        (Outcome::Unchanged, _) => {}
        (_, Some(held)) => (held.value, held.is_written) = (value, true),
        (_, None) => drop(all.insert(code, Held::new(value))),
    }
}

fn held<T, K: Clone + Eq + Hash>(all: Vec<T>, key: impl Fn(&T) -> &K) -> HashMap<K, Held<T>> {
    all.into_iter().map(|value| (key(&value).clone(), Held::stored(value))).collect()
}

/// What is to be written, by number, and the numbers of the rows that it replaces.
fn written<T>(all: HashMap<Code, Held<T>>, number: impl Fn(&T) -> i64) -> (Vec<T>, Vec<i64>) {
    let mut all: Vec<Held<T>> = all.into_values().filter(|held| held.is_written).collect();
    all.sort_by_key(|held| number(&held.value));
    let replaced = all.iter().filter(|held| held.is_stored).map(|held| number(&held.value)).collect();
    (all.into_iter().map(|held| held.value).collect(), replaced)
}

async fn locked<T: Tx, V>(
    tx: &mut T,
    tenant: u32,
    query: &Fixed,
    codes: Vec<&str>,
    read: impl Fn(store::sql::Row) -> Result<V, SqlError>,
) -> Result<Vec<V>, SqlError> {
    let mut found = Vec::new();
    for (query, codes) in query.padded(&codes) {
        for row in tx.lock_rows(query, keyed(tenant, codes), Lock::Wait).await? {
            found.push(read(row)?);
        }
    }
    Ok(found)
}

async fn drop_rows<T: Tx>(tx: &mut T, tenant: u32, statement: &Fixed, numbers: &[i64]) -> Result<(), SqlError> {
    for (statement, numbers) in statement.padded(numbers) {
        tx.exec(statement, keyed(tenant, numbers)).await?;
    }
    Ok(())
}

async fn insert_rows<T: Tx>(tx: &mut T, statement: &Insert, rows: Vec<Vec<Value>>) -> Result<(), SqlError> {
    if rows.is_empty() { Ok(()) } else { tx.insert(statement, rows.into_iter().flatten().collect()).await }
}
