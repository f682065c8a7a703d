//! Fault 22: an order-writer that freezes within a transaction holds the row of its partition's
//! progress. R2: the server ends the silent session, another writer decides, and the one that wakes
//! does no harm.

use std::time::{Duration, Instant};

use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};
use serde_json::Value;
use verify::{
    child::wait_until,
    engine_and_writer::{EngineAndWriter, Remembered},
    wire,
};

const UNITS: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(60);
/// The second writer's start, the silent session's time and one wait for a row, on a machine that
/// is busy with other things.
const TAKEN_OVER: Duration = Duration::from_secs(15);

/// Locks the tables of orders of every shard, so that a writer waits in the middle of its
/// transaction, after it moved the progress.
struct TableLocks {
    runtime: tokio::runtime::Runtime,
    shards: Vec<Conn>,
}

impl TableLocks {
    fn connect(namespace: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let opts = Opts::from_url(&std::env::var("FLASHSALE_MYSQL_URL").unwrap()).unwrap();
        let shards = (0..2).map(|shard| {
            let database = format!("{namespace}_orders_{shard:02}");
            let opts = OptsBuilder::from_opts(opts.clone()).db_name(Some(database)).prefer_socket(false);
            runtime.block_on(Conn::new(opts)).unwrap()
        });
        let shards = shards.collect();
        Self { runtime, shards }
    }

    fn run(&mut self, statement: &str) {
        for shard in &mut self.shards {
            self.runtime.block_on(shard.query_drop(statement)).unwrap();
        }
    }

    /// Whether a transaction has moved a progress and waits to insert its rows.
    fn sees_a_waiting_insert(&mut self, namespace: &str) -> bool {
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                       WHERE db LIKE ? AND command <> 'Sleep' AND info LIKE 'INSERT INTO orders%'";
        let seen = self.shards[0].exec_first::<u64, _, _>(waiting, (format!("{namespace}_orders_%"),));
        self.runtime.block_on(seen).unwrap().is_some_and(|seen| seen > 0)
    }
}

/// Sends a request of a buyer.
fn ask(production: &EngineAndWriter, request: &str, token: &str, more: &str, body: &str) -> Value {
    let asked = wire::ask(production.address(), wire::request(request, token, more, body));
    let (status, _, body) = asked.unwrap().answered().unwrap();
    assert!((200..=202).contains(&status), "{request}: {status} {body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn r2_a_writer_that_freezes_in_a_transaction_is_succeeded_within_seconds() {
    let production = EngineAndWriter::open("freezes").unwrap();
    let sale = production.publish(UNITS, -60_000).unwrap();
    let buys = |buyer| {
        let body = format!(r#"{{"offer_id":"{}","quantity":1}}"#, sale.offers[0].offer);
        let more = "Idempotency-Key: k\r\n";
        let bought = ask(&production, "POST /v1/orders", &production.token(&sale, buyer).unwrap(), more, &body);
        bought["order_id"].as_str().unwrap().to_owned()
    };
    let is_decided = |buyer, order: &str| {
        let place = format!("GET /v1/orders/{order}?offer_id={}", sale.offers[0].offer);
        Ok(ask(&production, &place, &production.token(&sale, buyer).unwrap(), "", "")["status"] == "pending_payment")
    };
    let first = buys(0);
    wait_until("the first order is decided", PATIENCE, || is_decided(0, &first)).unwrap();

    let mut locks = TableLocks::connect(production.services.namespace());
    locks.run("LOCK TABLES orders_0 WRITE, orders_1 WRITE, orders_2 WRITE, orders_3 WRITE");
    let second = buys(1);
    wait_until("the writer is within a transaction", PATIENCE, || {
        Ok(locks.sees_a_waiting_insert(production.services.namespace()))
    })
    .unwrap();
    production.writer.freeze().unwrap();
    locks.run("UNLOCK TABLES");
    let frozen = Instant::now();
    let mut successor = production.services.order_writer(&["--contend"]).unwrap();
    wait_until("the second writer decides", TAKEN_OVER, || is_decided(1, &second)).unwrap();
    println!("decided {:?} after the freeze", frozen.elapsed());

    production.writer.thaw().unwrap();
    let orders: Vec<(u32, String)> = (2..12).map(|buyer| (buyer, buys(buyer))).collect();
    for (buyer, order) in &orders {
        wait_until("orders are decided by both", PATIENCE, || is_decided(*buyer, order)).unwrap();
    }
    wait_until("the one that woke reads anew", PATIENCE, || Ok(production.writer.said("reading"))).unwrap();
    assert!(successor.ended().unwrap().is_none(), "{}", successor.tail());
    production.wait_rest(&sale).unwrap();
    let expected = Remembered { left: UNITS - 12, sold: 12, entries: 12, journal: 0, rows: 12 };
    assert_eq!(production.remembered(&sale).unwrap(), expected);
}
