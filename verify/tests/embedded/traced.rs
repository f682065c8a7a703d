//! A trace that its caller records reaches the order-writer, through journal and log.

use std::time::Duration;

use serde_json::Value;
use verify::{
    child::{Child, wait_until},
    embedded::Embedded,
    wire,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_writer_names_the_trace_of_a_purchase_whose_caller_records_it() {
    let embedded = Embedded::new().unwrap();
    let mut command = embedded.command("serve");
    command.args(embedded.ports()).env("RUST_LOG", "warn,order_writer::events=debug");
    let mut server = Child::start("flashsale", command, embedded.scratch()).unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let buy = |buyer, trace: &str, flags: &str| {
        let more = format!("Idempotency-Key: k\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-{flags}\r\n");
        let body = r#"{"offer_id":"9001","quantity":1}"#;
        let request = wire::request("POST /v1/orders", &embedded.token(buyer).unwrap(), &more, body);
        let (status, answer) = embedded.ask(&request).unwrap();
        assert_eq!(status, 202, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["order_id"].as_str().unwrap().to_owned()
    };
    let (silent, recorded) = ("0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736");
    let of_silent = buy(42, silent, "00");
    let of_recorded = buy(43, recorded, "01");
    let is_named = || {
        let tail = server.tail();
        let of = |word: &str| tail.lines().filter(|line| line.contains(word)).count();
        assert_eq!((of(silent), of(&of_silent)), (0, 0), "nobody records that one: {tail}");
        Ok(tail.lines().any(|line| line.contains(recorded) && line.contains(&of_recorded)))
    };
    wait_until("the trace is named", PATIENCE, is_named).unwrap();
}
