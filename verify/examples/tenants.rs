//! Many shops in one deployment: what making, publishing, reading and starting them costs.
//!
//!     cargo run --release -p verify --example tenants -- [--tenants 1000] [--sales 10]
//!     . stack/env && cargo run --release -p verify --example tenants -- --production
//!
//! Each shop has a product, stock and its sales, made over HTTP as a merchant's program would. The
//! clients run on the same machine, so that every figure is a bound from the worse side.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use kit::{
    clock::{Clock as _, SystemClock},
    metrics::ProcessSample,
};
use serde_json::{Value, json};
use verify::{
    child::{Child, wait_until},
    embedded::Embedded,
    funnel::Merchants,
    pages::STATEMENTS,
    services::Services,
    wire::{Outcome, Wire, request},
};

/// Clients that write at once, each on a connection of its own.
const WRITERS: usize = 8;
/// Clients that read at once.
const READERS: usize = 32;
/// How long pages are read.
const READING: Duration = Duration::from_secs(5);
/// Longest wait for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(300);
const MIB: u64 = 1024 * 1024;

/// What many shops in one deployment cost.
#[derive(Debug, Parser)]
struct Args {
    /// Shops.
    #[arg(long, default_value_t = 1_000)]
    tenants: usize,
    /// Sales of each.
    #[arg(long, default_value_t = 10)]
    sales: usize,
    /// Redis, Kafka and MySQL of the stack instead of one process and its folder.
    #[arg(long)]
    production: bool,
}

/// The services of a deployment, as they run now.
struct Running {
    services: BTreeMap<&'static str, Child>,
    merchants: Merchants,
    shoppers: SocketAddr,
}

/// Where they remember.
enum Deployment {
    Embedded(Embedded),
    Production(Box<Services>),
}

impl Deployment {
    fn start(&self) -> anyhow::Result<Running> {
        match self {
            Self::Embedded(embedded) => {
                let mut server = embedded.serve_with(&["--no-demo"])?;
                embedded.wait_ready(&mut server)?;
                let merchants = embedded.merchants()?;
                Ok(Running { services: [("flashsale", server)].into(), merchants, shoppers: embedded.address() })
            }
            Self::Production(services) => {
                let (catalog, merchants) = services.catalog()?;
                let writer = services.order_writer(&[])?;
                let mut engine = services.engine()?;
                services.wait_ready(&mut engine)?;
                let running = [("catalog", catalog), ("order-writer", writer), ("engine", engine)].into();
                Ok(Running { services: running, merchants, shoppers: services.engine_address() })
            }
        }
    }

    /// Statements that databases answered so far to the process that shows pages.
    fn statements(&self) -> anyhow::Result<f64> {
        match self {
            Self::Embedded(embedded) => embedded.metric(STATEMENTS),
            Self::Production(services) => services.engine_metric(STATEMENTS),
        }
    }
}

impl Running {
    fn memory(&self) -> anyhow::Result<String> {
        let of = |(name, child): (&&str, &Child)| -> anyhow::Result<String> {
            let sample = ProcessSample::of_pid(child.id())?;
            Ok(format!("{name} {} MiB ({} at most)", sample.resident_bytes / MIB, sample.resident_peak_bytes / MIB))
        };
        Ok(self.services.iter().map(of).collect::<anyhow::Result<Vec<_>>>()?.join(", "))
    }

    fn kill(self) -> anyhow::Result<()> {
        self.services.into_values().try_for_each(|mut child| child.kill())
    }
}

/// A merchant's connection.
struct Client<'a> {
    wire: Wire,
    merchants: &'a Merchants,
}

impl<'a> Client<'a> {
    fn new(merchants: &'a Merchants) -> anyhow::Result<Self> {
        Ok(Self { wire: Wire::connect(merchants.address)?, merchants })
    }

    fn post(&mut self, tenant: Option<&str>, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut more = format!("Idempotency-Key: {}\r\n", uuid::Uuid::new_v4());
        if let Some(tenant) = tenant {
            more += &format!("Flashsale-Tenant: {tenant}\r\n");
        }
        self.wire.send(request(&format!("POST {path}"), &self.merchants.key, &more, &body.to_string()))?;
        match self.wire.answer() {
            Outcome::Answered { status: 200 | 201, body, .. } => Ok(serde_json::from_str(&body)?),
            other => bail!("POST {path}: {other:?}"),
        }
    }
}

/// A published sale and whose it is.
struct Sale {
    tenant: String,
    id: String,
}

fn id_of(made: &Value) -> anyhow::Result<String> {
    Ok(made["id"].as_str().context("what was made has an id")?.to_owned())
}

/// A shop with stock for its sales, which are drafts yet.
fn make_shop(client: &mut Client<'_>, number: usize, sales: usize) -> anyhow::Result<Vec<Sale>> {
    let shop = json!({ "code": format!("shop-{number}"), "name": format!("Shop {number}"), "plan": "unlimited" });
    let tenant = id_of(&client.post(None, "/v1/tenants", &shop)?)?;
    let mut post = |path: &str, body: Value| client.post(Some(&tenant), path, &body);
    post("/v1/warehouses", json!({ "code": "MAIN", "name": "Main" }))?;
    let product = id_of(&post("/v1/products", json!({ "code": "KETTLE", "title": "Kettle" }))?)?;
    let sku = json!({ "code": "RED", "price": { "amount": 9_900, "currency": "CNY" } });
    post(&format!("/v1/products/{product}/skus"), sku)?;
    let line = json!({ "kind": "receive", "sku": "RED", "warehouse": "MAIN", "units": 100 * sales });
    post("/v1/stock/movements", json!({ "lines": [line] }))?;
    let draft = |at: usize| -> anyhow::Result<Sale> {
        let offer = json!({ "sku": "RED", "warehouse": "MAIN", "allotment": 100 });
        let terms = json!({
            "code": format!("sale-{at}"), "title": format!("Sale {at}"),
            "opens_at": "2026-01-01T00:00:00Z", "closes_at": "2050-01-01T00:00:00Z",
            "lanes": [{ "code": "main", "limit_per_buyer": 1, "offers": [offer] }],
        });
        let id = id_of(&post("/v1/merchant/sales", terms)?)?;
        Ok(Sale { tenant: tenant.clone(), id })
    };
    (0..sales).map(draft).collect()
}

/// Does it for each number below `count`, several at once; results in no order.
fn side_by_side<T: Send>(
    clients: usize,
    count: usize,
    work: impl Fn(&AtomicUsize) -> anyhow::Result<Vec<T>> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..clients.min(count)).map(|_| scope.spawn(|| work(&next))).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_panic| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(all)
    })
}

fn take(next: &AtomicUsize, count: usize) -> Option<usize> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    (number < count).then_some(number)
}

fn is_shown(wire: &mut Wire, sale: &Sale) -> anyhow::Result<bool> {
    wire.send(format!("GET /v1/sales/{} HTTP/1.1\r\nHost: shop\r\n\r\n", sale.id))?;
    Ok(wire.answer().status() == 200)
}

/// Waits until shoppers see each of the sales.
fn wait_shown(shoppers: SocketAddr, sales: &[Sale]) -> anyhow::Result<()> {
    let mut wire = Wire::connect(shoppers)?;
    let mut seen = 0;
    wait_until("every sale is shown", PATIENCE, || {
        while seen < sales.len() && is_shown(&mut wire, &sales[seen])? {
            seen += 1;
        }
        Ok(seen == sales.len())
    })
}

/// Pages a second over all shops, lists and sales by turns.
fn read(shoppers: SocketAddr, sales: &[Sale]) -> anyhow::Result<f64> {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let reads = side_by_side(READERS, usize::MAX, |next| {
        let mut wire = Wire::connect(shoppers)?;
        let mut reads = 0_u64;
        while clock.monotonic() - began < READING {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let sale = &sales[number % sales.len()];
            let path =
                if number.is_multiple_of(2) { format!("?tenant={}", sale.tenant) } else { format!("/{}", sale.id) };
            wire.send(format!("GET /v1/sales{path} HTTP/1.1\r\nHost: shop\r\n\r\n"))?;
            let answer = wire.answer();
            ensure!(answer.status() == 200, "GET /v1/sales{path}: {answer:?}");
            reads += 1;
        }
        Ok(vec![reads])
    })?;
    let read = u32::try_from(reads.iter().sum::<u64>())?;
    Ok(f64::from(read) / (clock.monotonic() - began).as_secs_f64())
}

#[expect(clippy::print_stdout, reason = "what it found")]
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let deployment = if args.production {
        Deployment::Production(Box::new(Services::new("tenants")?))
    } else {
        Deployment::Embedded(Embedded::new()?)
    };
    let clock = SystemClock::new();
    let running = deployment.start()?;
    println!("before: {}", running.memory()?);

    let began = clock.monotonic();
    let sales = side_by_side(WRITERS, args.tenants, |next| {
        let mut client = Client::new(&running.merchants)?;
        let mut made = Vec::new();
        while let Some(number) = take(next, args.tenants) {
            made.extend(make_shop(&mut client, number, args.sales)?);
        }
        Ok(made)
    })?;
    let took = clock.monotonic() - began;
    println!("{} shops with {} drafts each made in {:.1} s", args.tenants, args.sales, took.as_secs_f64());

    let began = clock.monotonic();
    side_by_side(WRITERS, sales.len(), |next| {
        let mut client = Client::new(&running.merchants)?;
        while let Some(number) = take(next, sales.len()) {
            let Sale { tenant, id } = &sales[number];
            client.post(Some(tenant), &format!("/v1/merchant/sales/{id}/publish"), &json!({}))?;
        }
        Ok(Vec::<()>::new())
    })?;
    let published = clock.monotonic();
    wait_shown(running.shoppers, &sales)?;
    let (took, late) = ((published - began).as_secs_f64(), (clock.monotonic() - published).as_secs_f64());
    let rate = f64::from(u32::try_from(sales.len())?) / took;
    println!("published in {took:.1} s, {rate:.0}/s; all shown {late:.2} s after that; {}", running.memory()?);
    let before = deployment.statements()?;
    std::thread::sleep(READING);
    let idle = deployment.statements()?;
    let rate = read(running.shoppers, &sales)?;
    let [without, with] = [idle - before, deployment.statements()? - idle];
    println!("{rate:.0} pages/s over all of them; {}", running.memory()?);
    println!("statements of databases: {with:.0} meanwhile, {without:.0} in as long without a reader");

    running.kill()?;
    let began = clock.monotonic();
    let running = deployment.start()?;
    let ready = (clock.monotonic() - began).as_secs_f64();
    wait_shown(running.shoppers, &sales)?;
    let shown = (clock.monotonic() - began).as_secs_f64();
    println!("after a kill ready in {ready:.2} s, all shown in {shown:.2} s; {}", running.memory()?);
    running.kill()
}
