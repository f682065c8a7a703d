//! Goal: whatever bytes come, the front answers or closes; it never panics, never calls a fault its
//! own, and reserves nothing. Method: proptest against a served front with in-memory stores; the
//! bytes are noise, or a purchase with a part of it broken whose token is good but of another shop,
//! so that nothing of it may be bought.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[allow(dead_code, unreachable_pub, reason = "shared with the unit tests, each of which uses a part")]
#[path = "../src/testing.rs"]
mod testing;

use std::{net::SocketAddr, time::Duration};

use domain::id::TenantId;
use kit::http::{Limits, bind, serve};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
};
use tokio_util::sync::CancellationToken;

use testing::{MemoryStock, Shop};

/// Longest wait for the end of a connection whose client has said that it sends no more.
const PATIENCE: Duration = Duration::from_secs(60);

struct Served {
    runtime: Runtime,
    address: SocketAddr,
    stock: MemoryStock,
    purchase: Vec<u8>,
}

fn served() -> Served {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (address, stock, token) = runtime.block_on(async {
        let shop = Shop::new(10);
        let listener = bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let address = listener.local_addr().unwrap();
        let (stock, token) = (shop.stock.clone(), shop.token_of(TenantId::new(9).unwrap(), 1));
        tokio::spawn(serve(listener, shop.into_front(), Limits::default(), CancellationToken::new()));
        (address, stock, token)
    });
    let body = r#"{"offer_id":"101","quantity":1}"#;
    let purchase = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\nidempotency-key: k\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Served { runtime, address, stock, purchase: purchase.into_bytes() }
}

impl Served {
    /// All that comes back until the end of the connection.
    fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            // It may close before it has all.
            let _sent = stream.write_all(bytes).await;
            let _ended = stream.shutdown().await;
            let mut answers = Vec::new();
            let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answers)).await;
            assert!(end.is_ok(), "the connection was not closed");
            answers
        })
    }

    fn check(&self, bytes: &[u8]) -> Result<(), TestCaseError> {
        let answers = self.ask(bytes);
        let text = String::from_utf8_lossy(&answers);
        for line in text.lines().filter(|line| line.starts_with("HTTP/1.")) {
            prop_assert!(!line.contains(" 5"), "{line}");
            prop_assert!(!line.contains(" 202"), "{line}");
        }
        prop_assert!(self.stock.calls().is_empty(), "something reached a lane");
        Ok(())
    }
}

fn cases() -> TestRunner {
    TestRunner::new(Config { cases: 500, ..Config::default() })
}

#[test]
fn noise() {
    let served = served();
    cases().run(&vec(any::<u8>(), 0..600), |bytes| served.check(&bytes)).unwrap();
}

/// Some bytes of a purchase replaced, left out or doubled, several purchases in a row.
#[test]
fn damaged_purchases() {
    let served = served();
    let damage = (any::<Index>(), prop_oneof![Just(None), any::<u8>().prop_map(Some)], any::<bool>());
    cases()
        .run(&vec(vec(damage, 0..4), 1..4), |requests| {
            let mut bytes = Vec::new();
            for damages in requests {
                let mut request = served.purchase.clone();
                for (at, to, is_more) in damages {
                    let at = at.index(request.len());
                    match to {
                        Some(byte) if is_more => request.insert(at, byte),
                        Some(byte) => request[at] = byte,
                        None => drop(request.remove(at)),
                    }
                }
                bytes.extend(request);
            }
            served.check(&bytes)
        })
        .unwrap();
}

/// The proof that the tests above would see a purchase: the same bytes, undamaged, get as far as
/// the offer.
#[test]
fn an_undamaged_one_is_understood() {
    let served = served();
    let answer = String::from_utf8(served.ask(&served.purchase)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\"not_found\""), "{answer}");
}
