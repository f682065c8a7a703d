//! Fault 23: the stock server is silent, or gone. R13: an id is answered only when the stock server
//! has confirmed it; the key is the handle.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use loadtest::sale::LoadSale;
use serde_json::Value;
use verify::{
    child::wait_until,
    engine_and_writer::{EngineAndWriter, Remembered},
    wire::{self, Outcome},
};

const UNITS: u64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// A refusal that needs no answer of anybody is at once; this is for a machine that is busy with
/// other things.
const AT_ONCE: Duration = Duration::from_secs(1);

struct Fixture {
    production: EngineAndWriter,
    sale: LoadSale,
    engines: [SocketAddr; 2],
}

impl Fixture {
    fn buys(&self, engine: SocketAddr, buyer: u32, key: &str) -> Outcome {
        let token = self.production.token(&self.sale, buyer).unwrap();
        let body = format!(r#"{{"offer_id":"{}","quantity":1}}"#, self.sale.offers[0].offer);
        wire::ask(engine, wire::purchase(&token, key, &body)).unwrap()
    }

    /// The same purchase three times on both engines at once.
    fn storms(&self, buyer: u32) -> Vec<Outcome> {
        std::thread::scope(|scope| {
            let asks: Vec<_> =
                (0..6).map(|n| scope.spawn(move || self.buys(self.engines[n % 2], buyer, "k"))).collect();
            asks.into_iter().map(|ask| ask.join().unwrap()).collect()
        })
    }

    /// The one id that all repeats get, once the lane sells again. Each front thread finds that out
    /// by itself.
    fn settles(&self, buyer: u32) -> String {
        let mut ids = BTreeSet::new();
        let are_all_told = || {
            let told: Vec<_> = self.storms(buyer).iter().map(order_of).collect();
            ids.extend(told.iter().flatten().cloned());
            Ok(told.iter().all(Option::is_some))
        };
        wait_until("each repeat has the order", PATIENCE, are_all_told).unwrap();
        assert_eq!(ids.len(), 1, "one key, one order: {ids:?}");
        ids.into_iter().next().unwrap()
    }
}

fn order_of(outcome: &Outcome) -> Option<String> {
    let Outcome::Answered { status: 202, body, .. } = outcome else { return None };
    let body: Value = serde_json::from_str(body).unwrap();
    Some(body["order_id"].as_str().unwrap().to_owned())
}

/// Nothing is promised, and nothing is answered that could be taken for an order.
fn promises_nothing(outcome: &Outcome) -> &str {
    let (503, code) = outcome.code() else { panic!("a promise that nobody made: {outcome:?}") };
    let Outcome::Answered { head, body, .. } = outcome else { panic!("{outcome:?}") };
    assert!(head.contains("retry-after:") && !head.contains("location:") && !body.contains("order_id"), "{outcome:?}");
    assert!(["outcome_unknown", "temporarily_unavailable"].contains(&code), "{outcome:?}");
    code
}

/// Two engines, one Redis: frozen with purchases on their way, then gone, then back. One id a key
/// over all answers, one order a key.
#[test]
fn r13_while_the_stock_server_is_silent_or_gone_no_order_is_told() {
    let production = EngineAndWriter::open("silent").unwrap();
    let (_second, address) = production.services.another_engine().unwrap();
    let sale = production.publish(UNITS, -60_000).unwrap();
    let engines = [production.address(), address];
    let mut fixture = Fixture { production, sale, engines };
    let knows = |engine| wait_until("it knows the sale", PATIENCE, || Ok(fixture.buys(engine, 0, "k").status() == 202));
    engines.into_iter().for_each(|engine| knows(engine).unwrap());
    let first = fixture.settles(0);

    fixture.production.services.redis.child().freeze().unwrap();
    let outcomes = fixture.storms(1);
    let codes: BTreeSet<&str> = outcomes.iter().map(promises_nothing).collect();
    assert!(codes.contains("outcome_unknown"), "what was sent is unknown: {codes:?}");
    for buyer in 0..3 {
        fixture.storms(buyer).iter().for_each(|outcome| assert!(!promises_nothing(outcome).is_empty()));
    }
    fixture.production.services.redis.child().thaw().unwrap();
    let mut orders: Vec<String> = (0..3).map(|buyer| fixture.settles(buyer)).collect();
    assert_eq!(orders[0], first);

    fixture.production.services.redis.kill().unwrap();
    // Each connection that broke, one of every front thread, may have carried the first calls; from
    // then on nothing leaves the engines.
    let is_sent_nowhere =
        || Ok(fixture.storms(3).iter().all(|outcome| promises_nothing(outcome) == "temporarily_unavailable"));
    wait_until("nothing is sent any more", PATIENCE, is_sent_nowhere).unwrap();
    for buyer in 0..5 {
        let asked = Instant::now();
        for outcome in fixture.storms(buyer) {
            assert_eq!(promises_nothing(&outcome), "temporarily_unavailable");
        }
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    }
    fixture.production.services.redis.restart().unwrap();
    orders.extend((3..5).map(|buyer| fixture.settles(buyer)));
    assert_eq!((0..3).map(|buyer| fixture.settles(buyer)).collect::<Vec<_>>(), orders[..3]);

    fixture.production.check_running().unwrap();
    fixture.production.wait_rest(&fixture.sale).unwrap();
    let rows = BTreeSet::from_iter(&orders).len();
    let sold = u64::try_from(rows).unwrap();
    let expected = Remembered { left: UNITS - sold, sold, entries: rows, journal: 0, rows };
    assert_eq!((rows, fixture.production.remembered(&fixture.sale).unwrap()), (5, expected));
}
