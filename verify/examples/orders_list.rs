//! How fast a merchant's list of orders begins: millions of rows in the folder of one process, as
//! a writer leaves them, then pages over HTTP.
//!
//!     cargo run --release -p verify --example orders_list -- [--orders 5000000]
//!
//! The rows are of one tenant and two sales, of which one has an order in a hundred thousand. They
//! are older than the topic `order-events`: the walk lists them, and its time is printed too.
#![allow(clippy::print_stdout, reason = "a measurement prints what it measured")]

use std::{sync::Arc, time::Duration};

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
use kit::clock::{Clock as _, SystemClock};
use serde_json::Value;
use store::{
    orders::{Progress, ShardWrite, Written},
    shards::{self, Namespace},
    sql::sqlite::{Settings, SqliteServer},
};
use verify::{
    child::wait_until,
    embedded::Embedded,
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
    let mut client = Client { wire: Wire::connect(folder.address())?, key };
    let newest = order(args.orders - 1, begin_ms)?.order.to_string();
    wait_until("all orders are listed", PATIENCE, || {
        // A row of the last table that is walked is listed last: the page of all is right then.
        std::thread::sleep(Duration::from_millis(500));
        let page = client.get("limit=1")?;
        Ok(page["items"][0]["order_id"] == newest.as_str() && is_walked(&folder)?)
    })?;
    println!("all of them listed {:.1} s after the start", (clock.monotonic() - begun).as_secs_f64());

    let middle = kit::clock::rfc3339(begin_ms + args.orders / 2 / PER_MS);
    let buyer = order(args.orders / 2, begin_ms)?.buyer;
    let queries = [
        ("the first page", "limit=100".to_owned()),
        ("of the rare sale", "limit=100&sale_id=17".to_owned()),
        ("of one status", "limit=100&status=paid".to_owned()),
        ("of a status that none has", "limit=100&status=refunding".to_owned()),
        ("from the middle", format!("limit=100&to={middle}")),
        ("of a buyer", format!("limit=100&buyer_id={buyer}")),
        ("by number", format!("number={newest}")),
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
    server.kill()
}

/// Whether every table is walked to its end.
fn is_walked(folder: &Embedded) -> anyhow::Result<bool> {
    let listing = rusqlite::Connection::open(folder.data().join("shop_listing.db"))?;
    let open: i64 =
        listing.query_row("SELECT COUNT(*) FROM order_walks WHERE after_id < until_id", [], |row| row.get(0))?;
    Ok(open == 0)
}

struct Client {
    wire: Wire,
    key: String,
}

impl Client {
    fn get(&mut self, query: &str) -> anyhow::Result<Value> {
        self.wire.send(format!(
            "GET /v1/merchant/orders?{query} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\n\
             Flashsale-Tenant: 7\r\n\r\n",
            self.key
        ))?;
        match self.wire.answer() {
            Outcome::Answered { status: 200, body, .. } => Ok(serde_json::from_str(&body)?),
            other => bail!("{query}: {other:?}"),
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
    for (written, from) in (0..orders).step_by(usize::try_from(ROWS)?).enumerate() {
        let written = u64::try_from(written)?;
        let rows = (from..orders.min(from + ROWS)).map(|number| order(number, begin_ms));
        let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
        for shard in (0..map.shards()).map(ShardId) {
            let here = rows.iter().filter(|row| map.home_of_order(row.order).shard == shard).cloned().collect();
            let (expected, next) = (at(written), at(written + 1));
            let write = ShardWrite { partition: PARTITION, expected, next, rows: here, released: vec![] };
            ensure!(store.orders.write(shard, write).await? == Written::Done, "a row of the folder is in the way");
        }
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
