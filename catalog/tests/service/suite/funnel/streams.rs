//! Streams of events: what changes, told once a second.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Market, PATIENCE, of};

/// A client that reads events.
struct Client {
    wire: TcpStream,
    text: String,
}

impl Client {
    async fn open(market: &Market, last: Option<u64>) -> Self {
        let mut wire = market.rig.connect().await;
        let last = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let head = format!(
            "GET {}/stream HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\n{last}\r\n",
            market.path(),
            market.key
        );
        wire.write_all(head.as_bytes()).await.unwrap();
        Self { wire, text: String::new() }
    }

    /// More of the answer; `false` at its end.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        let read = tokio::time::timeout(PATIENCE, self.wire.read(&mut buffer)).await;
        let bytes = read.expect("in time").unwrap();
        self.text.push_str(&String::from_utf8_lossy(&buffer[..bytes]));
        bytes > 0 && !self.text.ends_with("0\r\n\r\n")
    }

    async fn status(&mut self) -> u16 {
        while !self.text.contains("\r\n") {
            assert!(self.read().await);
        }
        self.text[9..12].parse().unwrap()
    }

    /// The next event.
    async fn event(&mut self) -> Value {
        loop {
            if let Some((_, rest)) = self.text.split_once("data: ")
                && let Some((data, rest)) = rest.split_once("\n\n")
            {
                let (data, rest) = (serde_json::from_str(data).unwrap(), rest.to_owned());
                self.text = rest;
                return data;
            }
            assert!(self.read().await, "{}", self.text);
        }
    }
}

/// The first event tells all, the next ones what changed, and a client that comes again misses
/// nothing. Streams end with the drain.
#[tokio::test]
async fn a_stream_tells_what_changes_and_goes_on_where_its_client_was() {
    let mut market = Market::open().await;
    let offers = market.offers();
    market.told.tell(&market.engine(7, 1, 0, offers[0], 1));
    market.start();
    let first = offers[0].to_string();
    market.until("the first is counted", async || market.totals(of("reserved")).await.contains_key(&first)).await;
    let mut client = Client::open(&market, None).await;
    let begun = client.event().await;
    assert_eq!((&begun["offers"][0]["offer"], &begun["offers"][0]["totals"]["reserved"]), (&json!(first), &json!(1)));
    assert_eq!((&begun["seconds"][0]["at"], &begun["has_more"]), (&json!("2026-11-11T00:00:00.000Z"), &json!(false)));
    market.told.tell(&market.engine(7, 2, 1, offers[1], 2));
    let changed = client.event().await;
    let second = json!(offers[1].to_string());
    assert_eq!(changed["offers"].as_array().unwrap().len(), 1, "only what changed");
    assert_eq!((&changed["offers"][0]["offer"], &changed["seconds"][0]["reserved"]), (&second, &json!(2)));
    assert!(changed["revision"].as_u64() > begun["revision"].as_u64());
    drop(client);
    let mut again = Client::open(&market, begun["revision"].as_u64()).await;
    let missed = again.event().await;
    assert_eq!((&missed["revision"], &missed["offers"]), (&changed["revision"], &changed["offers"]));
    // A revision that is to come is of another database: all is told.
    let mut strange = Client::open(&market, Some(1_000_000)).await;
    assert_eq!(strange.event().await["offers"].as_array().unwrap().len(), 2);
    market.stop.cancel();
    while again.read().await {}
}

/// A tenant has so many streams and no more; one that is closed makes room.
#[tokio::test]
async fn streams_of_a_tenant_are_bounded() {
    let market = Market::open().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::open(&market, None).await;
        assert_eq!(client.status().await, 200);
        clients.push(client);
    }
    let refused = Client::open(&market, None).await.status().await;
    assert_eq!(refused, 429);
    clients.pop();
    market.until("there is room again", async || Client::open(&market, None).await.status().await == 200).await;
}
