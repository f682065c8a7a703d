//! Goal: what the first program left on real servers, in the schema of its day, this program opens,
//! upgrades, sells on and audits clean. Method: that program's own databases and log records
//! (`data/before-production`) in a fresh namespace over the stack; today's order-writer, engine and
//! catalog; buyers of before and new ones; at the end the audit of the whole namespace.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "upgrade/before.rs"]
mod before;

use std::{path::Path, time::Duration};

use before::Before;
use serde_json::Value;
use verify::{buyers::token, child::wait_until, engine_and_writer::EngineAndWriter, services::Services, wire};

/// The sale file that the first program published.
const SALE: &str = include_str!("data/before-production/sale.toml");
const TENANT: u32 = 7;
/// 12 units in a lane on partition 0, of which 4 are sold; a buyer may hold 2.
const RED: u64 = 9001;
/// 8 units in a lane on partition 2, of which 2 are sold; a buyer may hold 2.
const BLUE: u64 = 9002;
/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// An order of before: who bought, with which key, what, how much, and the id of the answer.
type Old = (u64, &'static str, u64, u32, &'static str);

const LIVE: [Old; 4] = [
    (41, "first", RED, 2, "504257725120167936"),
    (43, "first", BLUE, 2, "504257726358822912"),
    (44, "first", RED, 1, "504257726931378176"),
    (44, "second", RED, 1, "504257728021897216"),
];
const CANCELLED: Old = (42, "first", RED, 1, "504257725822066688");

/// Status and body of the answer.
fn ask(production: &EngineAndWriter, request: &str) -> (u16, Value) {
    let (status, _, body) = wire::ask(production.address(), request).unwrap().answered().unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

fn buy(production: &EngineAndWriter, buyer: u64, key: &str, offer: u64, quantity: u32) -> (u16, Value) {
    let body = format!(r#"{{"offer_id":"{offer}","quantity":{quantity}}}"#);
    ask(production, &wire::purchase(&token(production.signer(), TENANT, buyer).unwrap(), key, &body))
}

/// What an order is by its row.
fn order(production: &EngineAndWriter, buyer: u64, id: &str) -> (u16, Value) {
    let token = token(production.signer(), TENANT, buyer).unwrap();
    ask(production, &format!("GET /v1/orders/{id} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\n\r\n"))
}

/// Waits until a purchase is accepted, with the same key all the while, and returns the order's id.
fn sells(production: &EngineAndWriter, buyer: u64, key: &str, offer: u64, quantity: u32) -> String {
    let mut bought = Value::Null;
    let is_sold = || {
        let (status, answer) = buy(production, buyer, key, offer, quantity);
        bought = answer;
        Ok(status == 202)
    };
    wait_until(&format!("{offer} sells to {buyer}"), PATIENCE, is_sold)
        .unwrap_or_else(|error| panic!("{error}: {bought}"));
    bought["order_id"].as_str().unwrap().to_owned()
}

fn refuses(production: &EngineAndWriter, (buyer, key): (u64, &str), offer: u64, code: &str) {
    let (status, answer) = buy(production, buyer, key, offer, 1);
    assert_eq!((status, answer["code"].as_str()), (409, Some(code)), "{buyer}, {key}: {answer}");
}

/// R6, R13: Redis is empty; the rows remember keys, limits and what is over.
fn buyers_of_before_are_known(production: &EngineAndWriter) {
    for (buyer, key, offer, quantity, id) in LIVE {
        assert_eq!(sells(production, buyer, key, offer, quantity), id, "{buyer}, {key}");
        let (_, row) = order(production, buyer, id);
        assert_eq!(row["status"], "pending_payment", "{row}");
    }
    let (buyer, key, offer, quantity, id) = CANCELLED;
    let (_, answer) = buy(production, buyer, key, offer, quantity);
    assert_eq!((answer["order_id"].as_str(), answer["status"].as_str()), (Some(id), Some("cancelled")), "{answer}");
    for (buyer, offer) in [(41, RED), (43, BLUE), (44, RED)] {
        refuses(production, (buyer, "too-many"), offer, "limit_reached");
    }
}

/// Fresh buyers, one unit each, take so many units and no more.
fn sells_out(production: &EngineAndWriter, offer: u64, first_buyer: u64, units: u64) {
    let last = first_buyer + units;
    for buyer in first_buyer..last {
        let (status, answer) = buy(production, buyer, "after", offer, 1);
        assert_eq!(status, 202, "unit {} of {units} of {offer}: {answer}", buyer - first_buyer + 1);
    }
    refuses(production, (last, "after"), offer, "sold_out");
}

/// The names of the migrations in a folder of the store, in order.
fn known_migrations(kind: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/migrations").join(kind);
    let files = std::fs::read_dir(folder).unwrap();
    let stem = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().path().file_stem().unwrap().to_owned();
    let mut names: Vec<String> = files.map(|file| stem(file).into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn audits_clean(before: &Before, expected: &str) {
    let audit = before.audit();
    assert!(audit.holds && audit.text.contains(expected), "expected {expected:?}:\n{}", audit.text);
}

#[test]
fn what_the_first_program_left_is_upgraded_and_sold_on() {
    let services = Services::new("upgrade").unwrap();
    let before = Before::load(&services);
    assert_eq!(before.migrations("ledger"), ["001"]);
    let mut production = EngineAndWriter::over(services, &[], Services::engine).unwrap();

    buyers_of_before_are_known(&production);
    let again = sells(&production, CANCELLED.0, "again", RED, 1);
    sells_out(&production, RED, 100, 7);
    sells_out(&production, BLUE, 200, 6);
    audits_clean(&before, "2 offers, 19 order rows (18 live), 19 orders in the log, 18 buyers' entries");

    // An order of before and one of today give back a unit each, and both are sold again.
    for id in [LIVE[2].4, &again] {
        production.services.cancel(id).unwrap();
    }
    for buyer in [300, 301] {
        sells(&production, buyer, "returned", RED, 1);
    }
    refuses(&production, (302, "returned"), RED, "sold_out");

    // The first program's sale goes on with a version that this one publishes.
    assert_eq!(before.published(), [(1001, 1)]);
    production
        .services
        .publish(&SALE.replace("version = 1", "version = 2").replace("allotment = 8", "allotment = 10"))
        .unwrap();
    for buyer in [400, 401] {
        sells(&production, buyer, "more", BLUE, 1);
    }
    refuses(&production, (402, "more"), BLUE, "sold_out");
    assert_eq!(before.published(), [(1001, 2)]);

    audits_clean(&before, "2 offers, 23 order rows (20 live), 23 orders in the log, 20 buyers' entries");
    assert_eq!(before.migrations("ledger"), known_migrations("ledger"));
    for shard in ["orders_00", "orders_01"] {
        assert_eq!(before.migrations(shard), known_migrations("orders"));
    }
    production.check_running().unwrap();
    drop(production);
    before.remove();
}
