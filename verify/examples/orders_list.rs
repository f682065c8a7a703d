//! How fast a merchant's list of orders begins: millions of rows in the folder of one process, as
//! a writer leaves them, then pages over HTTP; and what buyers see of an export amid it.
//!
//!     cargo run --release -p verify --example orders_list -- [--orders 5000000]
//!
//! The rows are of one tenant and two sales, of which one has an order in a hundred thousand. They
//! are older than the topic `order-events`: the walk lists them, and its time is printed too. Then
//! rounds of purchases (`loadtest orders` in an open loop) come without and with an export of
//! `--exported` orders under way, in turn, and each prints the p99 of its buyers.
#![allow(clippy::print_stdout, reason = "a measurement prints what it measured")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use domain::{
    id::{
        BuyerId, Generation, KeyHash, LaneId, OfferId, OrderId, PartitionId, Position, PurchaseNumber, RecordId,
        SaleId, SkuId, Slot, TenantId,
    },
    money::Money,
    order::{OrderRow, Status},
    shard::{ShardId, ShardMap},
};
use kit::{
    clock::{Clock as _, SystemClock},
    metrics::ProcessSample,
};
use serde_json::Value;
use store::{
    orders::{Progress, ShardWrite, Written},
    shards::{self, Namespace},
    sql::sqlite::{Settings, SqliteServer},
};
use tokio::task::JoinSet;
use verify::{
    child::wait_until,
    embedded::Embedded,
    load_test::LoadTest,
    wire::{Outcome, Wire},
};

/// A partition that no order-writer of the folder has.
const PARTITION: PartitionId = PartitionId(4_000);
/// Rows of one write.
const ROWS: u64 = 8_192;
/// Orders of the rare sale: one in so many.
const RARE: u64 = 100_000;
/// Orders of a millisecond: as many as the writer ever wrote.
const PER_MS: u64 = 64;
const PAGES: usize = 50;
const PATIENCE: Duration = Duration::from_secs(600);

/// How fast a merchant's list of orders begins.
#[derive(Debug, Parser)]
struct Args {
    /// Rows.
    #[arg(long, default_value_t = 5_000_000)]
    orders: u64,

    /// Orders of each export.
    #[arg(long, default_value_t = 1_000_000)]
    exported: u64,

    /// Rounds of purchases without an export and as many with one; 0: none.
    #[arg(long, default_value_t = 3)]
    rounds: u32,

    /// Purchases a second of a round.
    #[arg(long, default_value_t = 5_000)]
    rate: u32,

    /// Seconds of a round: an export should take longer.
    #[arg(long, default_value_t = 15)]
    seconds: u32,
}

#[expect(clippy::print_stdout, reason = "the times")]
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (folder, clock) = (Embedded::new()?, SystemClock::new());
    let mut server = folder.serve()?;
    folder.wait_ready(&mut server)?;
    server.terminate()?;
    server.wait(PATIENCE)?;

    let begun = clock.monotonic();
    let runtime = tokio::runtime::Runtime::new()?;
    let begin_ms = clock.now_ms() - 86_400_000;
    runtime.block_on(fill(&folder, args.orders, begin_ms))?;
    println!("{} rows written in {:.1} s", args.orders, (clock.monotonic() - begun).as_secs_f64());

    let mut server = folder.serve()?;
    folder.wait_ready(&mut server)?;
    let begun = clock.monotonic();
    let key = folder.control_key()?;
    let mut client = Client { address: folder.address(), wire: Wire::connect(folder.address())?, key };
    let newest = order(args.orders - 1, begin_ms)?.order.to_string();
    wait_until("all orders are listed", PATIENCE, || {
        // A row of the last table that is walked is listed last: the page of all is right then.
        std::thread::sleep(Duration::from_millis(500));
        let page = client.get("limit=1")?;
        Ok(page["items"][0]["order_id"] == newest.as_str() && is_walked(&folder)?)
    })?;
    println!("all of them listed {:.1} s after the start", (clock.monotonic() - begun).as_secs_f64());

    show_pages(&mut client, &args, begin_ms, &newest)?;
    for round in 0..args.rounds {
        bought_beside_an_export(&folder, &mut client, &args, (begin_ms, round), server.id())?;
    }
    server.kill()
}

/// Asks for pages of each kind, many times each.
fn show_pages(client: &mut Client, args: &Args, begin_ms: u64, newest: &str) -> anyhow::Result<()> {
    let clock = SystemClock::new();
    let middle = kit::clock::rfc3339(begin_ms + args.orders / 2 / PER_MS);
    let oldest = kit::clock::rfc3339(begin_ms + (args.orders / 100 / PER_MS).max(1));
    let cursor = client.get("limit=100")?["next_cursor"].as_str().unwrap_or_default().to_owned();
    let buyer = order(args.orders / 2, begin_ms)?.buyer;
    let queries = [
        ("the first page", "limit=100".to_owned()),
        ("the second page", format!("limit=100&cursor={cursor}")),
        ("of the rare sale", "limit=100&sale_id=17".to_owned()),
        ("of one status", "limit=100&status=paid".to_owned()),
        ("of a status that none has", "limit=100&status=refunding".to_owned()),
        ("from the middle", format!("limit=100&to={middle}")),
        ("from the last hundredth", format!("limit=100&to={oldest}")),
        ("of a buyer", format!("limit=100&buyer_id={buyer}")),
        ("by order", format!("number={newest}")),
        ("by a bank's number that none has", "number=4200000000000000000000000001".to_owned()),
    ];
    for (name, query) in queries {
        let (mut times, mut items) = (Vec::new(), 0);
        for _ in 0..PAGES {
            let begun = clock.monotonic();
            let page = client.get(&query)?;
            times.push(clock.monotonic() - begun);
            items = page["items"].as_array().map_or(0, Vec::len);
        }
        times.sort_unstable();
        let ms = |at: usize| times[at].as_secs_f64() * 1_000.0;
        println!("{name}: {items} orders, median {:.1} ms, most {:.1} ms", ms(PAGES / 2), ms(PAGES - 1));
    }
    Ok(())
}

/// A round of purchases, and another amid an export: what their buyers saw, and what it held.
fn bought_beside_an_export(
    folder: &Embedded,
    client: &mut Client,
    args: &Args,
    (begin_ms, round): (u64, u32),
    server: u32,
) -> anyhow::Result<()> {
    let clock = SystemClock::new();
    let without = bought(folder, args)?;
    let to = kit::clock::rfc3339(begin_ms + args.exported / PER_MS);
    let query = format!("?from={}&to={to}", kit::clock::rfc3339(begin_ms));
    let memory = || Ok::<_, anyhow::Error>(ProcessSample::of_pid(server)?.resident_bytes >> 20);
    let (before, begun) = (memory()?, clock.monotonic());
    let made = client.ask(&format!("POST /v1/merchant/order-exports{query}"), &format!("export-{round}"))?;
    let path = format!("/v1/merchant/order-exports/{}", made["id"].as_str().context("an export without an id")?);
    let show = |client: &mut Client| client.ask(&format!("GET {path}"), "");
    wait_until("the export is under way", PATIENCE, || Ok(show(client)?["orders"].as_u64() > Some(0)))?;
    let with = bought(folder, args)?;
    let amid = show(client)?;
    let then = memory()?;
    // The connection may have been idle for longer than the server keeps one.
    client.wire = Wire::connect(client.address)?;
    wait_until("the export is whole", PATIENCE, || Ok(show(client)?["state"] == "done"))?;
    let (whole, seconds) = (show(client)?, (clock.monotonic() - begun).as_secs_f64());
    let was = if amid["state"] == "done" { "ended before the purchases: give less --seconds" } else { "amid it" };
    println!(
        "p99 of buyers at {}/s: {without:.1} ms without an export, {with:.1} ms {was} ({} of {} orders written then)",
        args.rate, amid["orders"], whole["orders"]
    );
    println!("the export took {seconds:.1} s for {} bytes; memory {before} MiB before, {then} amid it", whole["bytes"]);
    Ok(())
}

/// Buys for a round; the p99 in ms.
fn bought(folder: &Embedded, args: &Args) -> anyhow::Result<f64> {
    let buyers = args.rate * args.seconds;
    let load = LoadTest { scenario: "orders", units: buyers.into(), buyers, rate: args.rate };
    let report = folder.report_of(folder.load_test(load)?)?;
    report["latency_ms"]["p99"].as_f64().with_context(|| format!("no latency in {report}"))
}

/// Whether every table is walked to its end.
fn is_walked(folder: &Embedded) -> anyhow::Result<bool> {
    let listing = rusqlite::Connection::open(folder.data().join("shop_listing.db"))?;
    let open: i64 =
        listing.query_row("SELECT COUNT(*) FROM order_walks WHERE after_id < until_id", [], |row| row.get(0))?;
    Ok(open == 0)
}

struct Client {
    address: SocketAddr,
    wire: Wire,
    key: String,
}

impl Client {
    fn get(&mut self, query: &str) -> anyhow::Result<Value> {
        self.ask(&format!("GET /v1/merchant/orders?{query}"), "")
    }

    /// Asks `what`, a method and a path, with an idempotency key where one is given.
    fn ask(&mut self, what: &str, idempotency_key: &str) -> anyhow::Result<Value> {
        let more = match idempotency_key {
            "" => String::new(),
            key => format!("Idempotency-Key: {key}\r\nContent-Length: 0\r\n"),
        };
        self.wire.send(format!(
            "{what} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\nFlashsale-Tenant: 7\r\n{more}\r\n",
            self.key
        ))?;
        match self.wire.answer() {
            Outcome::Answered { status: 200 | 202, body, .. } => Ok(serde_json::from_str(&body)?),
            other => bail!("{what}: {other:?}"),
        }
    }
}

/// Writes the rows, as an order-writer does.
async fn fill(folder: &Embedded, orders: u64, begin_ms: u64) -> anyhow::Result<()> {
    let clock = SystemClock::new();
    let server = SqliteServer::new(folder.data(), Arc::new(move || clock.now_ms()), Settings::default())?;
    let namespace = Namespace::new("shop")?;
    // As the folder was made.
    let map = shards::look(&server, &namespace).await?.orders.map().clone();
    let store = shards::open(&server, &namespace, ShardMap::even(map.shards(), map.tables())?).await?;
    let at = |offset| Progress { generation: Generation(1), offset, record: RecordId::new(1 + offset).ok() };
    for shard in (0..map.shards()).map(ShardId) {
        store.orders.begin_progress(shard, PARTITION, at(0)).await?;
    }
    // Shards are files: each is filled beside the others.
    let mut filling = JoinSet::new();
    for shard in (0..map.shards()).map(ShardId) {
        let (store, map) = (store.clone(), map.clone());
        filling.spawn(async move {
            for (written, from) in (0..orders).step_by(usize::try_from(ROWS)?).enumerate() {
                let written = u64::try_from(written)?;
                let rows = (from..orders.min(from + ROWS)).map(|number| order(number, begin_ms));
                let here = |row: &anyhow::Result<OrderRow>| {
                    row.as_ref().map_or(true, |row| map.home_of_order(row.order).shard == shard)
                };
                let rows = rows.filter(here).collect::<anyhow::Result<Vec<_>>>()?;
                let (expected, next) = (at(written), at(written + 1));
                let write = ShardWrite { partition: PARTITION, expected, next, rows, released: vec![] };
                ensure!(store.orders.write(shard, write).await? == Written::Done, "a row of the folder is in the way");
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(filled) = filling.join_next().await {
        filled??;
    }
    store.close().await;
    Ok(())
}

/// An order of its own buyer.
fn order(number: u64, begin_ms: u64) -> anyhow::Result<OrderRow> {
    let (buyer, is_rare) = (BuyerId::new(1 + number)?, number.is_multiple_of(RARE));
    let at_ms = begin_ms + number / PER_MS;
    let (worker, sequence) = (u8::try_from(number / 32 % 32)?, u8::try_from(number % 32)?);
    let order = OrderId::compose(at_ms, Slot::of(buyer), worker, sequence).context("a time that ids can tell")?;
    Ok(OrderRow {
        order,
        tenant: TenantId::new(7)?,
        buyer,
        lane: LaneId::new(if is_rare { 771 } else { 770 })?,
        number: Some(PurchaseNumber(0)),
        sale: SaleId::new(if is_rare { 17 } else { 16 })?,
        sale_version: 1,
        offer: OfferId::new(if is_rare { 19 } else { 18 })?,
        sku: SkuId::new(5)?,
        quantity: 1,
        unit_price: Money { amount: 9_900, currency: "CNY".parse()? },
        key: KeyHash(u128::from(number).to_be_bytes()),
        status: Status::Paid,
        reason: None,
        position: Position { generation: Generation(1), offset: number / 256, index: u8::try_from(number % 256)? },
        released: None,
        reserved_at_ms: at_ms,
        context: Bytes::new(),
        pay_by_ms: None,
    })
}
