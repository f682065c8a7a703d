//! The feed of an ERP: what is on hand, line by line. Of each source, SKU and warehouse only a
//! higher version changes anything, so that lines may come late, twice, or in another order.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use kit::{
    access::Permission::WriteStock,
    api::{Access, Call, Route},
    http::{Body, Mount, Response, check_json},
    openapi::IdempotencyKey,
    schema,
};
use serde::{Deserialize, Serialize};
use store::sql::{Fixed, Insert, SqlError, Tx, stored};
use tokio::{
    sync::Semaphore,
    task::{spawn_blocking, yield_now},
};
use utoipa::{OpenApi, ToSchema};

use super::{
    book::{Book, Note, by_warehouse},
    key::{By, Key, exec, put_new},
    level::Act,
    names,
};
use crate::{
    change::{Answer, Begun},
    document::Created,
    ports::Ports,
    refused::Refused,
    service::Catalog,
};

/// Largest body.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Lines that are looked at before others have their turn of the thread.
const LINES_AT_A_TIME: usize = 256;

/// Bodies that are checked at a time, beside the threads that answer buyers.
static CHECKING: Semaphore = Semaphore::const_new(1);

static KNOWN: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new(
        "SELECT sku, version, on_hand FROM inventory_feed \
         WHERE tenant = ? AND source = ? AND warehouse = ? AND sku IN ([?,])",
    )
});
static REMOVE: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new("DELETE FROM inventory_feed WHERE tenant = ? AND source = ? AND warehouse = ? AND sku IN ([?,])")
});
static PUT: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO inventory_feed (tenant, source, warehouse, sku, version, on_hand, at_ms) \
         VALUES [(?, ?, ?, ?, ?, ?, ?),]",
    )
});

/// What an ERP says is on hand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StockFeed {
    /// Who says it; versions count by themselves for each source.
    #[schema(pattern = "^[a-z0-9][a-z0-9_.-]{0,63}$")]
    source: String,
    #[schema(min_items = 1, max_items = 5000)]
    lines: Vec<FeedLine>,
}

/// What is on hand of a SKU in a warehouse.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedLine {
    /// The SKU's code.
    #[schema(min_length = 1, max_length = 64)]
    sku: String,
    /// The warehouse's code.
    #[schema(min_length = 1, max_length = 64)]
    warehouse: String,
    /// How many lie there.
    #[schema(minimum = 0, maximum = 1000000000000_i64)]
    on_hand: i64,
    /// Rises with each change of the line at its source.
    #[schema(minimum = 1, maximum = 9007199254740991_i64)]
    version: i64,
    /// How many the source believes to lie here so far; the line changes nothing when it is wrong.
    #[schema(minimum = 0, maximum = 1000000000000_i64, nullable = false)]
    expected_on_hand: Option<i64>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FeedOutcome {
    /// It is on hand now.
    Applied,
    /// It is on hand now, and is less than what is promised: see `/v1/stock/conflicts`.
    Conflict,
    /// It was on hand already, or the same line came before.
    Unchanged,
    /// A higher version came before, or the same with another figure.
    Stale,
    /// `expected_on_hand` is not what is on hand.
    Unexpected,
    /// There is no SKU of this code.
    UnknownSku,
    /// There is no warehouse of this code.
    UnknownWarehouse,
}

/// What became of a feed.
#[derive(Debug, Default, Serialize, ToSchema)]
struct FeedTaken {
    /// Lines by what became of them.
    applied: u32,
    conflict: u32,
    unchanged: u32,
    stale: u32,
    unexpected: u32,
    unknown: u32,
    /// Each line but the applied ones, in their order.
    lines: Vec<FeedLineTaken>,
}

/// What became of a line that was not just applied.
#[derive(Debug, Serialize, ToSchema)]
struct FeedLineTaken {
    /// Its place among the lines, from 0.
    line: usize,
    outcome: FeedOutcome,
    /// What is on hand now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    on_hand: Option<i64>,
    /// The highest version of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    version: Option<i64>,
}

/// The figures of [`FeedTaken`], for the audit log.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    source: &'a str,
    applied: u32,
    conflict: u32,
    first_movement: i64,
    movements: usize,
}

impl FeedTaken {
    fn count(&mut self, line: usize, outcome: FeedOutcome, on_hand: Option<i64>, version: Option<i64>) {
        *match outcome {
            FeedOutcome::Applied => &mut self.applied,
            FeedOutcome::Conflict => &mut self.conflict,
            FeedOutcome::Unchanged => &mut self.unchanged,
            FeedOutcome::Stale => &mut self.stale,
            FeedOutcome::Unexpected => &mut self.unexpected,
            FeedOutcome::UnknownSku | FeedOutcome::UnknownWarehouse => &mut self.unknown,
        } += 1;
        if outcome != FeedOutcome::Applied {
            self.lines.push(FeedLineTaken { line, outcome, on_hand, version });
        }
    }
}

#[derive(OpenApi)]
#[openapi(paths(take))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let route = Route::new(Access::Needs(WriteStock), |catalog, call| Box::pin(take(catalog, call)));
    vec![Mount::post("/v1/stock/feed", "feed_stock", route.with_body(BODY_BYTES_MAX))]
}

/// Takes a feed: up to 5,000 lines within 1 MiB. Each line is answered by itself; the feed may be
/// sent again, whole or in part, with the same key or another.
#[utoipa::path(
    post, path = "/v1/stock/feed", operation_id = "feed_stock", tag = "stock", security(("merchant" = [])),
    request_body = StockFeed, params(IdempotencyKey), responses((status = 200, body = FeedTaken), Created)
)]
async fn take<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let feed = read(call).await?;
    let mut change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let by = By { tenant: change.tenant(), actor: call.actor.who.to_string(), now_ms: stored(change.now_ms)? };
    let keys = keys(&mut change.tx, by.tenant, &feed.lines).await?;
    let found: BTreeSet<Key> = keys.iter().filter_map(|key| key.as_ref().ok().copied()).collect();
    let mut book = Book::open(&mut change.tx, by.clone(), &found).await?;
    let mut known = Versions::read(&mut change.tx, by.tenant, &feed.source, &found).await?;
    let mut taken = FeedTaken::default();
    for (index, (line, key)) in feed.lines.iter().zip(keys).enumerate() {
        if index % LINES_AT_A_TIME == 0 {
            yield_now().await;
        }
        let (outcome, on_hand, version) = match key {
            Ok(key) => {
                let outcome = apply(&mut book, &mut known, &feed.source, (line, key))?;
                (outcome, book.level(key).map(|(level, _)| level.units.on_hand), known.of(key))
            }
            Err(outcome) => (outcome, None, None),
        };
        taken.count(index, outcome, on_hand, version);
    }
    known.write(&mut change.tx, &by, &feed.source).await?;
    let (first_movement, moved) = book.close(&mut change.tx, &feed.source).await?;
    if !moved.is_empty() {
        let FeedTaken { applied, conflict, .. } = taken;
        let summary = Summary { source: &feed.source, applied, conflict, first_movement, movements: moved.len() };
        change.record("stock.feed", format!("feed:{}", feed.source), None, Some(&summary))?;
    }
    change.commit(Answer::ok(&taken)?).await
}

/// Checks the body, away from the threads that answer others.
async fn read(call: &Call<'_>) -> Result<StockFeed, Refused> {
    check_json(call.headers())?;
    let turn = CHECKING.acquire().await.map_err(|error| Refused::Broken(error.to_string()))?;
    let body = call.body.clone();
    let checked = spawn_blocking(move || schema::read(&body)).await;
    drop(turn);
    Ok(checked.map_err(|error| Refused::Broken(error.to_string()))??)
}

/// The level of each line, or why there is none.
async fn keys<T: Tx>(tx: &mut T, tenant: u32, lines: &[FeedLine]) -> Result<Vec<Result<Key, FeedOutcome>>, SqlError> {
    let skus: BTreeSet<&str> = lines.iter().map(|line| line.sku.as_str()).collect();
    let warehouses: BTreeSet<&str> = lines.iter().map(|line| line.warehouse.as_str()).collect();
    let skus = names::skus(tx, tenant, &skus).await?;
    let warehouses = names::warehouses(tx, tenant, &warehouses).await?;
    let key = |line: &FeedLine| {
        let warehouse = warehouses.get(&line.warehouse).ok_or(FeedOutcome::UnknownWarehouse)?.number;
        Ok(Key { warehouse, sku: *skus.get(&line.sku).ok_or(FeedOutcome::UnknownSku)? })
    };
    Ok(lines.iter().map(key).collect())
}

fn apply(
    book: &mut Book,
    known: &mut Versions,
    source: &str,
    (line, key): (&FeedLine, Key),
) -> Result<FeedOutcome, Refused> {
    let on_hand = book.level(key).map_or(0, |(level, _)| level.units.on_hand);
    match known.rows.get(&key).map(|row| (row.version, row.on_hand)) {
        Some((version, given)) if version == line.version && given == line.on_hand => {
            return Ok(FeedOutcome::Unchanged);
        }
        Some((version, _)) if version >= line.version => return Ok(FeedOutcome::Stale),
        _ if line.expected_on_hand.is_some_and(|expected| expected != on_hand) => return Ok(FeedOutcome::Unexpected),
        _ => {}
    }
    let note = Note { kind: "feed", reference: format!("{source}:{}", line.version), reason: String::new() };
    let steps = book.apply(key, Act::Set { on_hand: line.on_hand, is_feed: true }, &note);
    let steps = steps.map_err(|shortage| Refused::Broken(format!("a feed is always taken: {shortage}")))?;
    known.set(key, line);
    let is_short = book.level(key).is_some_and(|(level, _)| level.is_short());
    Ok(match steps {
        0 => FeedOutcome::Unchanged,
        _ if is_short => FeedOutcome::Conflict,
        _ => FeedOutcome::Applied,
    })
}

/// What a source gave last.
struct Given {
    version: i64,
    on_hand: i64,
    is_stored: bool,
    is_changed: bool,
}

/// What a source gave last, by level.
struct Versions {
    rows: HashMap<Key, Given>,
}

impl Versions {
    /// Read under the locks of the levels.
    async fn read<T: Tx>(tx: &mut T, tenant: u32, source: &str, keys: &BTreeSet<Key>) -> Result<Self, SqlError> {
        let mut rows = HashMap::with_capacity(keys.len());
        for (warehouse, skus) in by_warehouse(keys.iter().copied()) {
            let before = [tenant.into(), source.into(), warehouse.into()];
            for mut row in names::listed(tx, &KNOWN, &before, &skus).await? {
                let key = Key { warehouse, sku: row.int()? };
                let given = Given { version: row.int()?, on_hand: row.int()?, is_stored: true, is_changed: false };
                rows.insert(key, given);
            }
        }
        Ok(Self { rows })
    }

    fn of(&self, key: Key) -> Option<i64> {
        self.rows.get(&key).map(|given| given.version)
    }

    fn set(&mut self, key: Key, line: &FeedLine) {
        let is_stored = self.rows.get(&key).is_some_and(|given| given.is_stored);
        let given = Given { version: line.version, on_hand: line.on_hand, is_stored, is_changed: true };
        self.rows.insert(key, given);
    }

    async fn write<T: Tx>(self, tx: &mut T, by: &By, source: &str) -> Result<(), SqlError> {
        let mut changed: Vec<_> = self.rows.into_iter().filter(|(_, given)| given.is_changed).collect();
        changed.sort_unstable_by_key(|(key, _)| *key);
        let replaced = changed.iter().filter(|(_, given)| given.is_stored).map(|(key, _)| *key);
        for (warehouse, skus) in by_warehouse(replaced) {
            exec(tx, &REMOVE, &[by.tenant.into(), source.into(), warehouse.into()], &skus).await?;
        }
        let rows = changed.into_iter().flat_map(|(key, given)| {
            [
                by.tenant.into(),
                source.into(),
                key.warehouse.into(),
                key.sku.into(),
                given.version.into(),
                given.on_hand.into(),
                by.now_ms.into(),
            ]
        });
        put_new(tx, &PUT, rows.collect()).await
    }
}
