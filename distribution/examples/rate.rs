//! How many paid orders a second one consumer evaluates and posts, at three levels. On a file in a
//! folder, or with `--features live` and `FLASHSALE_MYSQL_URL` on MySQL:
//!
//! ```text
//! cargo run --release -p distribution --example rate -- FOLDER [ORDERS [PEOPLE [PARTITIONS]]]
//! cargo run --release -p distribution --features live --example rate \
//!   -- mysql [ORDERS [PEOPLE [PARTITIONS]]]
//! ```
//!
//! It prints paid orders a second, and milliseconds of CPU of this process for a thousand of them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement ends with what fails, and prints")]

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use distribution::{
    database,
    intake::{CONSUMER, Intake},
    metrics::Metrics,
    plan::Plan,
};
use domain::{
    event::{EventKind, OrderEvent, Purchased},
    id::{BuyerId, OfferId, OrderId, PartitionId, SaleId, SkuId, Slot, TenantId},
    money::Money,
    record::{ORDER_EVENTS_TYPE, Topic},
};
use kit::{clock::SystemClock, metrics::Registry, random::SystemRandom};
use store::{
    consumer::Consumer,
    log::{Entry, PartitionReader, ReadError, Watermarks},
    shards::Namespace,
    sql::{Insert, Server, Sql, Tx as _, Value, sqlite},
};

/// Orders of one record, as a busy writer makes them.
const BATCH: usize = 200;

const PLAN: &str = r#"plan "three" v1 profile INTL budget 30% {
  base net_paid where not tag(flash_sale)
  rule levels: on matured walk(referral, slots 3, rate [10%, 5%, 3%])
  settle cash after receipt+15d, channel transfer, clawback full
}"#;

/// A partition in memory.
struct Held(Arc<Vec<Entry>>, usize);

impl PartitionReader for Held {
    async fn watermarks(&mut self) -> Result<Watermarks, ReadError> {
        Ok(Watermarks { low: 0, high: self.0.len() as u64 })
    }

    async fn entry_at(&mut self, _offset: u64) -> Result<Option<Entry>, ReadError> {
        Ok(None)
    }

    async fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        self.1 = usize::try_from(offset).unwrap();
        Ok(())
    }

    async fn read(&mut self, _: usize, _: usize, _: Duration) -> Result<Vec<Entry>, ReadError> {
        // A few records at once: about what comes while the last span is carried out.
        let found: Vec<Entry> = self.0.iter().skip(self.1).take(4).cloned().collect();
        self.1 += found.len();
        Ok(found)
    }
}

async fn fill<S: Sql>(sql: &S, people: u64) {
    let plan: Plan = PLAN.parse().unwrap();
    let document = serde_json::to_string(&plan).unwrap();
    let insert = "INSERT INTO plans (tenant, version, name, from_ms, document, worst, published_at, published_by) \
                  VALUES (7, 1, 'three', 0, ?, 0, 0, 'key:1')";
    sql.insert_absent(insert, vec![(&*document).into()]).await.unwrap();
    let switch = "INSERT INTO sale_switches (sale, from_ms, tenant, is_on, who) VALUES (6, 0, 7, 1, 'key:1')";
    sql.insert_absent(switch, vec![]).await.unwrap();
    let new_people = Insert::new("INSERT INTO people (tenant, person, joined_at, version) VALUES [(7, ?, 0, 1),]");
    let standings = Insert::new(
        "INSERT INTO standings (tenant, person, from_ms, to_ms, state, kyc, who, reason) \
         VALUES [(7, ?, 0, 9223372036854775807, 'active', 1, 'key:1', ''),]",
    );
    let relations = Insert::new(
        "INSERT INTO relations (tenant, relation, person, from_ms, to_ms, parent, who, reason) \
         VALUES [(7, 1, ?, 0, 9223372036854775807, ?, 'key:1', ''),]",
    );
    let all: Vec<i64> = (1..=people.cast_signed()).collect();
    for some in all.chunks(5_000) {
        let mut tx = sql.begin().await.unwrap();
        let numbers: Vec<Value> = some.iter().map(|person| Value::from(*person)).collect();
        tx.insert(&new_people, numbers.clone()).await.unwrap();
        tx.insert(&standings, numbers).await.unwrap();
        // Ten stand below each.
        let pairs = some.iter().filter(|person| **person > 10);
        let pairs: Vec<Value> = pairs.flat_map(|person| [Value::from(*person), (person / 10).into()]).collect();
        tx.insert(&relations, pairs).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn entries(orders: usize, people: u64, partition: u32) -> Vec<Entry> {
    let now_ms = u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let unit_price = Money { amount: 9_999, currency: "CNY".parse().unwrap() };
    let purchased = Purchased { sku: SkuId::new(5).unwrap(), sale_version: 1, unit_price, reserved_at_ms: now_ms };
    let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_add(partition.into());
    let mut entries = Vec::new();
    let mut offset = 0;
    let mut made = 0;
    while made < orders {
        let (mut created, mut paid) = (Vec::new(), Vec::new());
        for _ in 0..BATCH.min(orders - made) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let buyer = BuyerId::new(1 + random % people).unwrap();
            let at_ms = now_ms + u64::try_from(made / 8).unwrap();
            let sequence = u8::try_from(made % 32).unwrap();
            let first = OrderEvent {
                order: OrderId::compose(at_ms, Slot::of(buyer), u8::try_from(partition).unwrap(), sequence).unwrap(),
                sequence: 1,
                kind: EventKind::Created,
                tenant: TenantId::new(7).unwrap(),
                sale: SaleId::new(6).unwrap(),
                offer: OfferId::new(8).unwrap(),
                buyer,
                quantity: 1,
                purchased: Some(purchased),
                reason: None,
                refunded: 0,
            };
            first.append(&mut created);
            OrderEvent { sequence: 2, kind: EventKind::Paid, purchased: None, ..first }.append(&mut paid);
            made += 1;
        }
        for payload in [created, paid] {
            entries.push(Entry { offset, id: None, kind: ORDER_EVENTS_TYPE.into(), payload: payload.into() });
            offset += 1;
        }
    }
    entries
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

async fn measure<V: Server>(server: V, namespace: &str, orders: usize, people: u64, partitions: u32) {
    let namespace = Namespace::new(namespace).unwrap();
    let sql = database::open(&server, &namespace).await.unwrap();
    fill(&sql, people).await;
    let metrics = Arc::new(Metrics::register(&Registry::new().unwrap()).unwrap());
    let share = orders / usize::try_from(partitions).unwrap();
    let logs: Vec<_> = (0..partitions).map(|partition| Arc::new(entries(share, people, partition))).collect();
    let (began, cpu_before) = (Instant::now(), cpu());
    let mut work = tokio::task::JoinSet::new();
    for (partition, log) in (0..).zip(logs) {
        let (sql, metrics) = (sql.clone(), Arc::clone(&metrics));
        work.spawn(async move {
            let reader = Held(log, 0);
            let mut consumer = Consumer::new(sql, CONSUMER, Topic::OrderEvents, PartitionId(partition), reader);
            let mut intake = Intake::new(SystemClock::new(), SystemRandom::default(), metrics);
            loop {
                match consumer.step(&mut intake, Duration::ZERO).await {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) => println!("again: {error}"),
                }
            }
        });
    }
    work.join_all().await;
    let (took, used) = (began.elapsed(), cpu() - cpu_before);
    let done = share * usize::try_from(partitions).unwrap();
    let mut rows = sql.rows("SELECT COUNT(*) FROM entries", vec![]).await.unwrap();
    let postings = rows.remove(0).int().unwrap();
    println!(
        "{done} paid orders of {people} people on {partitions} partitions: {:.0} a second, {:.0} ms of CPU for 1,000; \
         {postings} entries",
        done as f64 / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / done as f64
    );
    sql.close().await;
    store::shards::drop_all(&server, &namespace).await.unwrap();
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| "mysql".to_owned());
    let mut number = |default| arguments.next().map_or(default, |text| text.parse::<u64>().unwrap());
    let (orders, people, partitions) = (number(100_000), number(100_000), number(2));
    let (orders, partitions) = (usize::try_from(orders).unwrap(), u32::try_from(partitions).unwrap());
    if place != "mysql" {
        let now_ms =
            || u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let server = sqlite::SqliteServer::new(place.into(), Arc::new(now_ms), sqlite::Settings::default()).unwrap();
        return measure(server, "rate", orders, people, partitions).await;
    }
    #[cfg(feature = "live")]
    {
        use store::sql::mysql::{MySqlServer, Settings};
        let server = MySqlServer::new(&std::env::var("FLASHSALE_MYSQL_URL").unwrap(), Settings::default()).unwrap();
        measure(server, &format!("rate{}", std::process::id()), orders, people, partitions).await;
    }
    #[cfg(not(feature = "live"))]
    println!("MySQL needs `--features live`; or name a folder");
}
